"""How soon the engine's sets are as good as the literal version's: `python -m
benchmarks.time_to_accuracy`.

The literal version runs K outer iterations as the paper has them, from real images, and the
accuracy of its set is the goal. Then the engine runs until its set is as good: with the same
settings, with each choice of the `cpu` preset alone, with a network in bfloat16, with all choices,
and with these in bfloat16. Accuracy is measured on images held out of the training split, never on
test images. Each is a row of results/time_to_accuracy.csv, and what has a row is not measured
again.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import cores, machine
from benchmarks.rows import RESULTS, Row, markdown, read_rows, write_rows
from condense import command_line
from condense.errors import at_least
from condense.presets import PRESETS, preset
from condense.recorded import departures
from condense.run_folder import provenance
from condense.settings import Evaluation, GradientMatching, Network

if TYPE_CHECKING:
    from benchmarks.trials import Case, Trial

PROG = "python -m benchmarks.time_to_accuracy"

CHOICES = {
    "herded start": ("init", "herding_updates"),
    "inner loop": ("inner", "network_epochs", "network_lr"),
    "image rate": ("image_lr", "image_schedule"),
    "real batch": ("real_batch",),
}
"""What the `cpu` preset chooses of its own, but for the number of outer iterations and the network:
the settings of each choice."""

VARIANTS = ("literal", "engine", *CHOICES, "bfloat16", "all choices", "all choices, bfloat16")
"""engine: the literal version's settings."""


@dataclass(frozen=True)
class TimeToAccuracy:
    """Measure how soon the engine is as good as the literal version."""

    dataset: str = "mnist"
    ipc: int = 1
    outer: int | None = None
    """Outer iterations of the literal version; by default 40 of one image per class, of more 2."""
    width: int = 32
    """Of the network: that of the cpu preset, with which this is feasible."""
    networks: int = 3
    """That each set is tested with."""
    epochs: int = 300
    """That each of them is trained for."""
    held_out: int = 2000
    """Training images that they are tested on."""
    seed: int = 0
    minutes: float = 10.0
    """Nothing is begun after this time; what is under way then is begun anew the next time."""
    threads: int = cores()
    data_root: Path | None = None
    """Folder of the data sets; by default $CONDENSE_DATA, else the user's cache folder."""
    results: Path = RESULTS / "time_to_accuracy.csv"
    """The table to which rows are added."""

    def __post_init__(self) -> None:
        at_least(1, self, "ipc", "outer", "width", "networks", "epochs", "held_out", "threads")

    @property
    def iterations(self) -> int:
        """K."""
        return self.outer or (40 if self.ipc == 1 else 2)

    def matching(self, variant: str) -> GradientMatching:
        """The settings of a variant."""
        every = "all choices" in variant
        ours = PRESETS["cpu"][GradientMatching]
        changes = {
            field: ours[field]
            for choice, fields in CHOICES.items()
            for field in fields
            if every or choice == variant
        }
        network = Network(
            width=self.width, precision="bfloat16" if "bfloat16" in variant else "float32"
        )
        return GradientMatching(self.ipc, network, outer=self.iterations, **changes)

    def case(self) -> Case:
        """What is condensed, and the test."""
        from benchmarks.trials import Case

        test = preset(Evaluation, "cpu", networks=self.networks, epochs=self.epochs)
        test = replace(test, network=Network(width=self.width))
        return Case(self.dataset, self.data_root, self.held_out, test, self.seed)


def key(settings: TimeToAccuracy, images: str) -> dict[str, str]:
    """What rows that may be compared have in common."""
    named = {
        **{"dataset": settings.dataset, "ipc": settings.ipc, "outer": settings.iterations},
        **{"width": settings.width, "networks": settings.networks, "epochs": settings.epochs},
        **{"held_out": settings.held_out, "seed": settings.seed, "threads": settings.threads},
        **{"processor": machine(settings.threads)["processor"], "images": images},
    }
    return {name: str(value) for name, value in named.items()}


def kept(settings: TimeToAccuracy, images: str) -> dict[str, Row]:
    """The rows that have been measured with these settings on these images, by variant."""
    wanted = key(settings, images).items()
    rows = [row for row in read_rows(settings.results) if wanted <= row.items()]
    return {row["variant"]: row for row in rows}


def measure(settings: TimeToAccuracy) -> dict[str, Row]:
    """Run what has no row yet while there is time; all rows, by variant.

    Raises:
        UserError: where images cannot be had or are too few.
    """
    from benchmarks.trials import engine_trial, in_a_process, literal_trial

    deadline = time.time() + 60 * settings.minutes
    case = settings.case()
    data = case.data()
    images, train = data.fingerprint(), len(data.x_train)
    for variant in VARIANTS:
        rows = kept(settings, images)
        if variant in rows:
            continue
        matching = settings.matching(variant)
        if variant == "literal":
            found = in_a_process(
                "literal", settings.threads, literal_trial, case, matching, deadline
            )
            goal = found
        else:
            goal = trial_of(rows["literal"])
            found = in_a_process(
                "engine", settings.threads, engine_trial, case, matching, goal, deadline
            )
        if found is None or goal is None:
            print(f"no time for {variant}: run this again, with more --minutes if need be")
            break
        row = row_of(variant, found, goal, matching)
        about = {"train": train, **machine(settings.threads), **provenance()}
        line = f"{PROG} {flags(settings)}"
        _add(settings.results, {**key(settings, images), **row, **about, "command": line})
    return kept(settings, images)


def row_of(variant: str, found: Trial, goal: Trial, matching: GradientMatching) -> Row:
    """What is kept of a variant; accuracies are fractions of one."""
    changed = departures(replace(matching, outer=GradientMatching.outer))
    reached = found.accuracy.mean >= goal.accuracy.mean
    return {
        "variant": variant,
        "iterations": found.iterations,
        "seconds": f"{found.seconds:.2f}",
        "below_seconds": "" if found.below is None else f"{found.below:.2f}",
        "accuracies": " ".join(map(str, found.accuracy.values)),
        "reached": "yes" if reached else "no",
        "sooner": f"{goal.seconds / found.seconds:.2f}" if reached else "",
        "settings": " ".join(f"{name}={value}" for name, value in changed.items()),
    }


def trial_of(row: Row) -> Trial:
    """What a row was made of."""
    from benchmarks.trials import Trial
    from condense.evaluation import Accuracy

    values = tuple(map(float, row["accuracies"].split()))
    return Trial(int(row["iterations"]), float(row["seconds"]), Accuracy(values))


def flags(settings: TimeToAccuracy) -> str:
    """Those that the rows depend on, as they are typed."""
    named = {
        k: v for k, v in asdict(settings).items() if k not in ("minutes", "data_root", "results")
    }
    named["outer"] = settings.iterations
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in named.items())


def _add(path: Path, row: Row) -> None:
    write_rows(path, [*read_rows(path), row])
    print(f"{row['variant']}: {row['seconds']} s, {row['accuracies']}", flush=True)


def lines(rows: dict[str, Row]) -> str:
    """The rows in Markdown: seconds in which the goal was reached, and how much sooner."""
    out = []
    for variant in [name for name in VARIANTS if name in rows]:
        row, trial = rows[variant], trial_of(rows[variant])
        seconds = f"{trial.seconds:.1f}" if row["reached"] == "yes" else "not reached"
        if row["below_seconds"]:
            seconds += f" (not in {float(row['below_seconds']):.1f})"
        out.append([variant, row["iterations"], seconds, str(trial.accuracy), row["sooner"]])
    header = ["variant", "iterations", "seconds", "accuracy", "times as soon"]
    return "\n".join(markdown(header, out))


def run(argv: list[str]) -> None:
    """Measure what has not been measured, and print all that has been."""
    settings = command_line.read_flags(TimeToAccuracy, argv, PROG)
    print(lines(measure(settings)))


if __name__ == "__main__":
    command_line.main(run)
