"""Peak memory of condensing many classes and large images.

Command: `python -m benchmarks.speed.sizes`.

Each problem runs one outer iteration of DSA at the paper's network width on noise, in a new process
with one thread. With more real images or iterations it takes longer, not more memory. Rows are
added to `results/sizes.csv`.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy

from benchmarks.commands import machine
from benchmarks.rows import RESULTS, Row, add_rows, read_rows
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.errors import UserError
from condense.runs.report import markdown_table
from condense.runs.run_dir import provenance

FILE = "sizes.csv"
REAL = 16
"""Real images of each class."""
CONDENSE = (
    "condense run --dataset noise.npz --method dsa --preset paper --iterations 1 --outer-loop 2 "
    f"--inner-loop 1 --batch-real {REAL} --evaluation.num-eval 0 --no-cache --quiet --out run"
)


@dataclass(frozen=True)
class Problem:
    """Classes, images per class, and height and width of the images."""

    classes: int
    ipc: int
    size: int


PROBLEMS = (Problem(1000, 1, 32), Problem(200, 10, 64), Problem(10, 10, 224))


@dataclass(frozen=True)
class Sizes:
    """Measure the peak memory of condensing."""

    width: int = 128


def write_noise(problem: Problem, path: Path) -> None:
    """An .npz file of random images for the problem, `REAL` per class."""
    draws = numpy.random.default_rng(0)
    labels = numpy.repeat(numpy.arange(problem.classes), REAL)
    shape = (problem.size, problem.size, 3)
    images = draws.integers(0, 256, (len(labels), *shape), dtype=numpy.uint8)
    test = numpy.arange(problem.classes)
    numpy.savez(path, x_train=images, y_train=labels, x_test=images[test * REAL], y_test=test)


def peak(problem: Problem, width: int) -> tuple[int, float]:
    """Peak memory (bytes) and seconds of a command in a new process.

    Raises:
        UserError: the command fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_noise(problem, Path(folder) / "noise.npz")
        flags = ["--ipc", str(problem.ipc), "--width", str(width)]
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", *CONDENSE.split(), *flags],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise UserError(f"{problem}: {said.decode(errors='replace').strip()[-500:]}")
        return _kilobytes(usage) << 10, time.perf_counter() - started


def _kilobytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss >> 10 if sys.platform == "darwin" else usage.ru_maxrss


def table(rows: Iterable[Row]) -> str:
    """Peak memory by problem."""
    heads = ["classes", "images per class", "image size", "width", "peak memory (GB)"]
    return markdown_table(
        heads,
        (
            [
                *(str(row[name]) for name in ("classes", "ipc")),
                f"{row['size']}×{row['size']}",
                str(row["width"]),
                f"{int(row['peak_bytes']) / 1e9:.1f}",
            ]
            for row in rows
        ),
    )


def run(argv: list[str]) -> None:
    """Measure, print and save."""
    settings = read_flags(Sizes, argv, "python -m benchmarks.speed.sizes")
    path = RESULTS / FILE
    for problem in PROBLEMS:
        most, seconds = peak(problem, settings.width)
        row = {
            **asdict(problem),
            "width": settings.width,
            "peak_bytes": most,
            "seconds": f"{seconds:.0f}",
            "command": f"{CONDENSE} --ipc {problem.ipc} --width {settings.width}",
            **machine(1),
            "commit": provenance()["commit"],
        }
        add_rows(path, [row])
    print(table(read_rows(path)))


if __name__ == "__main__":
    main(run)
