"""Figure 3 of the paper, continual learning by memory: `python -m benchmarks.paper.figure3`.

Draws results/figure3.png from the results of `python -m benchmarks.continual.main_job`, without
and with distillation. Dashed lines: the replay settings that are the default of DSA memories. Of
the paper's figure, only the numbers in its text are shown: the accuracy of each memory after all
three tasks, without distillation. They are at the paper's scale, ours at that of the cpu preset,
so they must not be compared point by point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.result_files import Result, results, stream_runs
from benchmarks.rows import RESULTS
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.runs.plots import new_figure, save
from continual.report import mean_and_std

STAGES = ("T1", "T2", "T3")
MEMORIES = {"random": "random", "herding": "herding", "dc": "DC", "dsa": "DSA"}
PAPER = {"herding": 94.4 - 3.7, "dc": 94.4 - 1.4, "dsa": 94.4}
"""At T3 without distillation, in per cent (§4.5: DSA, and its lead over the others)."""
PATH = RESULTS / "figure3.png"

Curve = tuple[list[float], list[float]]
"""Mean and standard deviation at each stage, in per cent."""


@dataclass(frozen=True)
class Figure3:
    """Draw the accuracy over the tasks so far after each stage, by memory."""

    out: Path = PATH
    """Path of the figure."""


LINES = {"factor-1": "-", "factor-2-balanced": ":", "factor-2-balanced-depth-2": "--"}
"""Line style of each part of the main job."""


def curve(
    kept: Mapping[str, Result], memory: str, distill: bool, part: str = "factor-1"
) -> Curve | None:
    """The curve over all seeds, with one head for all tasks; None without measurements."""
    found = stream_runs(kept, "domain", memory, distill, part)
    runs = [result["summary"]["average_accuracy"] for result in found]
    if not runs:
        return None
    return mean_and_std([[100 * value for value in run] for run in runs])


def plot(kept: Mapping[str, Result], path: Path) -> None:
    """Plot T1 to T3 by memory, without and with distillation."""
    figure = new_figure(9.5, 3.6)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, distill in zip(panels, (False, True), strict=True):
        for number, (memory, name) in enumerate(MEMORIES.items()):
            colour = f"C{number}"
            for part, line in LINES.items():
                found = curve(kept, memory, distill, part)
                if found:
                    label = name if part == "factor-1" else None
                    style = {"marker": "o", "capsize": 3, "linestyle": line}
                    axes.errorbar(STAGES, *found, **style, label=label, color=colour)
            if memory in PAPER and not distill:
                axes.scatter(["T3"], [PAPER[memory]], 60, marker="*", color=colour)
        axes.set_title("with distillation" if distill else "without distillation")
        axes.set_xlabel("learning stage")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy (%)")
    panels[0].plot([], [], "--", color="grey", label="default replay settings of DSA")
    panels[0].plot([], [], ":", color="grey", label="the same, condensed like whole images")
    panels[0].scatter([], [], 60, marker="*", color="grey", label="the paper, at its own scale")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize="small"
    )
    save(figure, path)


def run(argv: list[str]) -> None:
    """Plot the saved results."""
    out = read_flags(Figure3, argv, "python -m benchmarks.paper.figure3").out
    plot(results(), out)
    print(out)


if __name__ == "__main__":
    main(run)
