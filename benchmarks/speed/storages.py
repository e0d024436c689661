"""What a search costs beside the training: `python -m benchmarks.speed.storages`.

For each storage and number of trials: the seconds that enqueueing them takes, and the milliseconds
of CPU time in which a worker takes a trial and stores its result, with the reading of the others'.
Added to results/storages.csv.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.commands import machine
from benchmarks.rows import RESULTS, measure_missing, read_rows
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.runs.run_dir import provenance
from nas.urls import without_secrets

ROUNDS, PER_ROUND = 5, 40


@dataclass(frozen=True)
class Storages:
    """Measure the storages of searches; what is in the file is not measured again."""

    trials: tuple[int, ...] = (100, 720, 5000)
    """Numbers of trials."""
    url: str | None = None
    """URL of a database to measure too, such as postgresql+psycopg://…; the studies stay in it."""


def run(argv: list[str]) -> None:
    """Measure, and print the rows."""
    settings = read_flags(Storages, argv, "python -m benchmarks.speed.storages")
    kinds = {"journal": None, "sqlite": "sqlite:///study.db"}
    if settings.url:
        kinds[without_secrets(settings.url).partition(":")[0].partition("+")[0]] = settings.url
    cases = [{"storage": kind, "trials": count} for kind in kinds for count in settings.trials]
    path = RESULTS / "storages.csv"
    measure_missing(
        path,
        cases,
        ("storage", "trials"),
        lambda case: {**case, **measure(kinds[case["storage"]], case["trials"]), **about()},
    )
    for row in read_rows(path):
        print(
            f"{row['storage']}, {row['trials']} trials: {row['fill_seconds']} s to enqueue, "
            f"{row['cpu_ms']} ms of CPU per trial"
        )


def about() -> dict[str, Any]:
    """The machine and the version."""
    return {**machine(1), "commit": provenance()["commit"]}


def measure(url: str | None, count: int) -> dict[str, Any]:
    """One row: a new study with this number of trials."""
    from torch import nn

    from nas import SharedStudy, Space, TrialResult

    space = Space([f"network {number}" for number in range(count)], build=lambda *_: nn.Identity())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        place = f"sqlite:///{folder / 'study.db'}" if url == "sqlite:///study.db" else url
        name = f"benchmark-{time.time_ns()}"
        study = SharedStudy(space, range(count), name=name, folder=folder, url=place)
        with closing(study):
            began = time.perf_counter()
            study.fill()
            filling = time.perf_counter() - began
            spent = []
            for _ in range(min(ROUNDS, count // PER_ROUND)):
                started = time.process_time()
                for _ in range(PER_ROUND):
                    trial = study.ask()
                    assert trial is not None
                    study.tell(trial, TrialResult(7, 0.5, 3, 0.5))
                    study.known()
                spent.append(1000 * (time.process_time() - started) / PER_ROUND)
    return {
        "fill_seconds": f"{filling:.2f}",
        "cpu_ms": f"{median(spent):.2f}",
        "cpu_ms_min": f"{min(spent):.2f}",
        "cpu_ms_max": f"{max(spent):.2f}",
    }


if __name__ == "__main__":
    main(run)
