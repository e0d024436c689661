"""What report.html of a stream proposes does what it says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from condense.cli.flags import parse
from condense.config.serialization import differences, record
from condense.runs.html_report import Code
from continual import report
from continual.run import PROG, defaults, spec_of
from continual.run_report import _next
from tests.helpers import command_lines

pytestmark = pytest.mark.filterwarnings("ignore:.* found in sys.modules")
STREAM = "a b.npz:classes=2"


def test_the_next_runs_are_of_the_same_images_and_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = "--preset smoke --size 12 --fit resize --head task --no-distill --width 8 --factor 2"
    own = ["--no-hflip", "--memory", "dm", "--condensing.iterations", "3", "--stream", STREAM]
    settings = parse(defaults, [*flags.split(), *own], PROG)
    base = defaults("smoke", "dm", STREAM).on(spec_of(STREAM))
    differing = differences(settings, base, without=("common", "stream", "memory"))
    folder: Any = SimpleNamespace(config={"settings": record(settings)})
    blocks = _next(folder, settings, differing)
    proposed = [block for block in blocks if isinstance(block, Code)]
    assert all(block.about.startswith("Where the command was run") for block in proposed)
    code = "\n".join(block.code for block in proposed)
    *others, again = [command_lines.parse(line, monkeypatch) for line in code.splitlines()]
    assert [other.memory for other in others] == ["random", "herding"]
    assert (again.seeds, again.condensing) == (3, settings.condensing)
    for found in (*others, again):
        assert found.eeil == settings.eeil
        for name in ("stream", "head", "distill", "storage", "factor"):
            assert getattr(found, name) == getattr(settings, name)
        for name in ("preset", "size", "fit", "hflip"):
            assert getattr(found.common, name) == getattr(settings.common, name)


def test_figures_of_data_sets_with_odd_names(tmp_path: Path) -> None:
    names = ["a$_$b", "_c"]
    report.plot_matrix(tmp_path / "matrix.png", names, [[0.5, None], [0.4, 0.6]])
    report.plot_stages(tmp_path / "stages.png", names, [0.5, 0.5], [0.0, 0.1], "$d$")
    assert (tmp_path / "matrix.png").stat().st_size > 0


def test_figures_of_many_tasks_have_a_largest_size(tmp_path: Path) -> None:
    """That of 200 tasks took 11 GB."""
    names = [f"{2 * task},{2 * task + 1}" for task in range(60)]
    report.plot_matrix(tmp_path / "matrix.png", names, [[0.5] * 60] * 60)
    report.plot_stages(tmp_path / "stages.png", names, [0.5] * 60, [0.0] * 60, "dsa")
    for figure in ("matrix.png", "stages.png"):
        assert max(Image.open(tmp_path / figure).size) <= 1600


@pytest.mark.parametrize(
    ("count", "name", "shown"),
    [(3, "synthdigits", 3), (4, "photographs of birds", 4), (10, "90-99", 10), (60, "10,11", 20)],
)
def test_names_of_tasks_do_not_overlap_in_figures(
    count: int, name: str, shown: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(report, "save", lambda figure, path: drawn.append(figure))
    names, values = [name] * count, [0.5] * count
    report.plot_matrix(tmp_path, names, [values] * count)
    report.plot_stages(tmp_path, names, values, values, "dsa")
    for figure in drawn:
        figure.draw_without_rendering()
        labels = figure.axes[0].get_xticklabels()
        if labels[0].get_rotation() == 0:
            extents = [label.get_window_extent() for label in labels]
            assert not any(left.overlaps(right) for left, right in pairwise(extents))
        assert len(labels) == shown
