"""The sections of report.html of `python -m continual.run`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from condense import CondensedSet
from condense.runs.changes import Change
from condense.runs.html_report import (
    Bar,
    Block,
    Cell,
    Code,
    Picture,
    Report,
    Section,
    Strips,
    Table,
    Text,
    write,
)
from condense.runs.plots import plot_history
from condense.runs.report import per_cent
from condense.runs.report_sections import (
    as_flag,
    as_flags,
    common_flags,
    provenance_section,
    settings_section,
)
from condense.runs.run_dir import HISTORY, RunFolder
from condense.strips import MOST_NUMBERS, strips
from continual.report import Matrix
from continual.settings import SELECTION_METHODS, ContinualConfig

LOAD = """from condense import CondensedSet

exemplars = CondensedSet.load("condensed-1.safetensors")   # of the first task
for images, labels in exemplars.loader(batch_size=64):
    ...                                                    # normalised"""
BASELINES = ("random", "herding")


def write_report(
    folder: RunFolder,
    settings: ContinualConfig,
    names: Sequence[str],
    summary: dict[str, Any],
    differing: Sequence[Change],
) -> None:
    """Write the report of a finished run.

    Args:
        folder: of the run, with the figures and the exemplars.
        settings: of the run.
        names: of the tasks.
        summary: the content of summary.json.
        differing: the settings that differ from the preset.
    """
    sections = [
        Section("Accuracy matrix", _matrix(names, summary["accuracy_matrix"])),
        Section("After each task", [_stages(folder.path)]),
        Section("The exemplars", _exemplars(folder.path, names)),
        *_curve(folder.path),
        Section("Use the exemplars", [Code("In the folder of this report:", LOAD)]),
        Section("What to run next", _next(folder, settings, differing)),
        settings_section(folder.config, differing),
        provenance_section(folder.config),
    ]
    final, std = summary["average_accuracy"][-1], summary["average_accuracy_std"][-1]
    figure = per_cent(final, std if len(summary["seeds"]) > 1 else None)
    report = Report(
        title=title(summary),
        command=folder.config["command"],
        figure=figure,
        about=_about(summary, names),
        bars=_bars(summary, figure, folder.config["data"]),
        note=f"Forgetting: {100 * summary['forgetting']:.1f} points. {_baselines(settings)}",
        sections=sections,
    )
    write(folder.path, report)


def title(summary: dict[str, Any]) -> str:
    """What was run, in a line."""
    kind = "with" if summary["distill"] else "without"
    return (
        f"{summary['stream']}, {summary['memory']} memory, {summary['head']} head, "
        f"{kind} distillation"
    )


def _about(summary: dict[str, Any], names: Sequence[str]) -> str:
    seeds = len(summary["seeds"])
    over = f", mean of {seeds} seeds" if seeds > 1 else ""
    return (
        f"Test accuracy averaged over the {len(names)} tasks after the last one{over}. The memory "
        f"has {summary['memory_images']} images in {summary['memory_bytes']} bytes."
    )


def _bars(summary: dict[str, Any], figure: str, data: Sequence[dict[str, Any]]) -> list[Bar]:
    matrix = summary["accuracy_matrix"]
    learnt = [row[task] for task, row in enumerate(matrix) if row[task] is not None]
    at_once = sum(learnt) / len(learnt)
    final = summary["average_accuracy"][-1]
    classes = [each["classes"] for each in data]
    # One head for all classes, or a head for each task.
    chances = [1 / (sum(classes) if summary["head"] == "class" else own) for own in classes]
    chance = sum(chances) / len(chances)
    return [
        Bar("after the last task", final, figure, main=True),
        Bar("right after each task", at_once, per_cent(at_once)),
        Bar("guessing", chance, per_cent(chance)),
    ]


def _baselines(settings: ContinualConfig) -> str:
    others = [name for name in BASELINES if name != settings.memory]
    return (
        f"Not measured in this run: {' and '.join(others)} images in the same bytes; the commands "
        "are below."
    )


def _matrix(names: Sequence[str], matrix: Matrix) -> list[Block]:
    rows = [
        [
            f"T{stage + 1}",
            *("–" if value is None else Cell(per_cent(value), value) for value in row),
        ]
        for stage, row in enumerate(matrix)
    ]
    text = Text("Test accuracy on each task (columns) after the training on each task (rows).")
    return [text, Table(rows, ["after", *names])]


def _stages(folder: Path) -> Picture:
    return Picture(folder / "stages.png", "Mean over the tasks so far, with the spread over seeds.")


def _curve(folder: Path) -> list[Section]:
    """The history, if there is one."""
    path = folder / "history.png"
    if not plot_history(path, folder / HISTORY, ("seed", "task", "stage")):
        return []
    caption = "Loss and learning rate of each epoch, both stages."
    return [Section("Curve", [Picture(path, caption)])]


def _exemplars(folder: Path, names: Sequence[str]) -> list[Block]:
    """Strips of each task."""
    blocks: list[Block] = []
    for number, name in enumerate(names, 1):
        condensed = CondensedSet.load(folder / f"condensed-{number}.safetensors")
        made = strips(condensed, MOST_NUMBERS // len(names))
        blocks.append(Strips(made.strips, f"{name}: {made.caption}"))
    return blocks


def _next(
    folder: RunFolder,
    settings: ContinualConfig,
    differing: Sequence[Change],
) -> list[Block]:
    changed = [change for change in differing if change.name not in ("seeds", "logger")]
    of_memory = [change for change in changed if change.name.startswith("condensing")]
    command = ["python -m continual.run", as_flag("stream", settings.stream)]
    command += common_flags(folder.config["settings"]["common"])
    common = " ".join(command + as_flags([each for each in changed if each not in of_memory]))
    memories = [name for name in BASELINES if name != settings.memory]
    memories += ["dsa"] if settings.memory in SELECTION_METHODS else []
    compare = "\n".join(f"{common} --memory {name}" for name in memories)
    again = [common, *as_flags(of_memory), f"--memory {settings.memory} --seeds 3"]
    return [
        Code("Where the command was run, for other memories in the same bytes:", compare),
        Code("Where the command was run, for the spread over seeds:", " ".join(again)),
    ]
