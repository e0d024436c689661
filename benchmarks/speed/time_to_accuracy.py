"""Time until the engine's set is as good as the reference's: `python -m
benchmarks.speed.time_to_accuracy`.

The reference runs K outer iterations with the paper's settings, from real images; the accuracy of
its set is the goal. Then each variant of the engine runs until its set is as good: with the same
settings, with each change of the `cpu` preset alone, with a network in bfloat16, with all changes,
and with all changes in bfloat16. Accuracy is measured on images held out from the training split,
never on test images. Each variant is a row of results/time_to_accuracy.csv and is not measured
again.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands import cores, machine
from benchmarks.rows import RESULTS, Row, add_rows, read_rows
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.config.evaluation import Evaluation
from condense.config.methods import GradientMatching
from condense.config.network import Network
from condense.config.presets import PRESETS
from condense.config.serialization import overrides
from condense.runs.report import markdown_table
from condense.runs.run_dir import provenance
from condense.validation import at_least

if TYPE_CHECKING:
    from benchmarks.speed.trials import Case, Trial

PROG = "python -m benchmarks.speed.time_to_accuracy"

CHANGES = {
    "init herding": ("init", "herding_steps"),
    "inner loop": ("outer_loop", "inner_loop", "lr_net"),
    "lr_img": ("lr_img", "lr_img_schedule"),
    "batch_real": ("batch_real",),
}
"""The settings that the `cpu` preset changes, by name; without the number of outer iterations
and the network."""

VARIANTS = ("reference", "engine", *CHANGES, "bfloat16", "cpu preset", "cpu preset, bfloat16")
"""`engine` has the settings of the reference."""


@dataclass(frozen=True)
class TimeToAccuracy:
    """Measure the time until the engine is as good as the reference."""

    dataset: str = "mnist"
    ipc: int = 1
    iterations: int | None = None
    """Outer iterations of the reference; by default 40 for one image per class, else 2."""
    width: int = 32
    """Width of the network; by default that of the cpu preset, which is feasible on a CPU."""
    num_eval: int = 3
    """Networks that test each set."""
    epoch_eval_train: int = 300
    """Training epochs of each of these networks."""
    held_out: int = 2000
    """Training images held out for the test."""
    seed: int = 0
    minutes: float = 10.0
    """No variant is started after this time; an unfinished one is started again the next time."""
    threads: int = cores()
    data_root: Path | None = None
    """Folder of the data sets; by default $CONDENSE_DATA, else the user's cache folder."""
    results: Path = RESULTS / "time_to_accuracy.csv"
    """The table to which rows are added."""

    def __post_init__(self) -> None:
        at_least(1, self, "ipc", "iterations", "width", "num_eval", "epoch_eval_train")
        at_least(1, self, "held_out", "threads")

    @property
    def outer_iterations(self) -> int:
        """K."""
        return self.iterations or (40 if self.ipc == 1 else 2)

    def matching(self, variant: str) -> GradientMatching:
        """The settings of a variant."""
        every = "cpu preset" in variant
        ours = PRESETS["cpu"][GradientMatching]
        changes = {
            field: ours[field]
            for change, fields in CHANGES.items()
            for field in fields
            if every or change == variant
        }
        network = Network(
            width=self.width, precision="bfloat16" if "bfloat16" in variant else "float32"
        )
        return GradientMatching(self.ipc, network, iterations=self.outer_iterations, **changes)

    def case(self) -> Case:
        """The data set and the test."""
        from benchmarks.speed.trials import Case

        test = Evaluation(
            num_eval=self.num_eval,
            epoch_eval_train=self.epoch_eval_train,
            network=Network(width=self.width),
        )
        return Case(self.dataset, self.data_root, self.held_out, test, self.seed)


def key(settings: TimeToAccuracy, images: str) -> dict[str, str]:
    """Columns that must be equal in rows that are compared."""
    named = {
        **{
            "dataset": settings.dataset,
            "ipc": settings.ipc,
            "reference_iterations": settings.outer_iterations,
        },
        **{"width": settings.width, "num_eval": settings.num_eval},
        **{"epoch_eval_train": settings.epoch_eval_train},
        **{"held_out": settings.held_out, "seed": settings.seed, "threads": settings.threads},
        **{"processor": machine(settings.threads)["processor"], "images": images},
    }
    return {name: str(value) for name, value in named.items()}


def kept(settings: TimeToAccuracy, images: str) -> dict[str, Row]:
    """The saved rows with these settings on these images, by variant."""
    wanted = key(settings, images).items()
    rows = [row for row in read_rows(settings.results) if wanted <= row.items()]
    return {row["variant"]: row for row in rows}


def measure(settings: TimeToAccuracy) -> dict[str, Row]:
    """Run the variants without a row while there is time. Returns all rows, by variant.

    Raises:
        UserError: the images are not available or too few.
    """
    from benchmarks.speed.trials import engine_trial, in_a_process, reference_trial

    deadline = time.time() + 60 * settings.minutes
    case = settings.case()
    data = case.data()
    images, train = data.fingerprint(), len(data.x_train)
    for variant in VARIANTS:
        rows = kept(settings, images)
        if variant in rows:
            continue
        matching = settings.matching(variant)
        if variant == "reference":
            found = in_a_process(
                "reference", settings.threads, reference_trial, case, matching, deadline
            )
            goal = found
        else:
            goal = trial_of(rows["reference"])
            found = in_a_process(
                "engine", settings.threads, engine_trial, case, matching, goal, deadline
            )
        if found is None or goal is None:
            print(f"time is up before {variant}: run the command again, or with more --minutes")
            break
        row = row_of(variant, found, goal, matching)
        about = {"train": train, **machine(settings.threads), **provenance()}
        line = f"{PROG} {flags(settings)}"
        _add(settings.results, {**key(settings, images), **row, **about, "command": line})
    return kept(settings, images)


def row_of(variant: str, found: Trial, goal: Trial, matching: GradientMatching) -> Row:
    """The row of a variant; accuracies are between 0 and 1."""
    changed = overrides(replace(matching, iterations=GradientMatching.iterations))
    reached = found.accuracy.mean >= goal.accuracy.mean
    return {
        "variant": variant,
        "iterations": found.iterations,
        "seconds": f"{found.seconds:.2f}",
        "below_seconds": "" if found.below is None else f"{found.below:.2f}",
        "accuracies": " ".join(map(str, found.accuracy.values)),
        "reached": "yes" if reached else "no",
        "speedup": f"{goal.seconds / found.seconds:.2f}" if reached else "",
        "settings": " ".join(f"{name}={value}" for name, value in changed.items()),
    }


def trial_of(row: Row) -> Trial:
    """The trial of a row."""
    from benchmarks.speed.trials import Trial
    from condense.evaluation import Accuracy

    values = tuple(map(float, row["accuracies"].split()))
    return Trial(int(row["iterations"]), float(row["seconds"]), Accuracy(values))


def flags(settings: TimeToAccuracy) -> str:
    """The command-line flags that rows depend on."""
    named = {
        k: v for k, v in asdict(settings).items() if k not in ("minutes", "data_root", "results")
    }
    named["iterations"] = settings.outer_iterations
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in named.items())


def _add(path: Path, row: Row) -> None:
    add_rows(path, [row])
    print(f"{row['variant']}: {row['seconds']} s, {row['accuracies']}", flush=True)


def markdown(rows: dict[str, Row]) -> str:
    """The rows in Markdown: seconds until the goal was reached, and the speedup."""
    out = []
    for variant in [name for name in VARIANTS if name in rows]:
        row, trial = rows[variant], trial_of(rows[variant])
        seconds = f"{trial.seconds:.1f}" if row["reached"] == "yes" else "not reached"
        if row["below_seconds"]:
            seconds += f" (not in {float(row['below_seconds']):.1f})"
        out.append([variant, row["iterations"], seconds, str(trial.accuracy), row["speedup"]])
    header = ["variant", "iterations", "seconds", "accuracy", "speedup"]
    return markdown_table(header, out)


def run(argv: list[str]) -> None:
    """Measure the missing rows and print all."""
    settings = read_flags(TimeToAccuracy, argv, PROG)
    print(markdown(measure(settings)))


if __name__ == "__main__":
    main(run)
