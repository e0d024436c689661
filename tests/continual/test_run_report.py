"""What report.html of a stream proposes does what it says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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
