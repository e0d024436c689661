"""The engine beside Algorithm 1 written down plainly: `python -m benchmarks.speed`.

Both sides run alternately on the same images, networks and draws, each in a process of its own: the
engine with the memory setting that its commands make, the literal version as PyTorch comes. Each
round gives a ratio for each part; their median and range are printed beside the floor that the
arithmetic sets, and kept in results/speed.csv. With `--scaling` the two are run on growing
problems instead, and results/scaling-DEVICE.csv and .png show their time and memory.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd

from benchmarks.commands import machine
from benchmarks.problem import Part, Speed
from benchmarks.rows import RESULTS, read_rows, write_rows
from benchmarks.workers import SIDES, floor_of, run, worker
from condense import command_line
from condense.files import atomic_write
from condense.run_folder import provenance

if TYPE_CHECKING:
    from benchmarks.floor import Floor


@dataclass(frozen=True)
class Measured:
    """The rounds of one part."""

    seconds: list[tuple[float, float]]
    """Literal and engine."""
    apart: float = 0.0
    """The relative difference of their results, at most."""

    @property
    def ratios(self) -> list[float]:
        """How many times as long the literal version takes, round by round."""
        return [literal / engine for literal, engine in self.seconds]


def alternate(settings: Speed) -> tuple[dict[str, Measured], Floor]:
    """The parts in turns, literal and engine in turns, until time is up."""
    deadline = time.monotonic() + 60 * settings.minutes
    found: dict[str, Measured] = {}
    with worker("literal", settings) as literal, worker("engine", settings) as engine:
        floor = engine.submit(floor_of, settings).result()

        def both(part: Part, number: int) -> list[tuple[float, float]]:
            return [
                x.submit(run, part, number, settings.device).result() for x in (literal, engine)
            ]

        for part in settings.parts:
            both(part, 0)  # to warm up
            found[part] = Measured([])
        for number in itertools.count(1):
            for part in settings.parts:
                if number > 1 and time.monotonic() > deadline:
                    return found, floor
                (slow, plain), (quick, ours) = both(part, number)
                before, apart = found[part], abs(plain - ours) / max(abs(plain), 1e-30)
                found[part] = Measured([*before.seconds, (slow, quick)], max(before.apart, apart))
                print(f"{number} {part}: {slow:.3f} s, {quick:.3f} s", flush=True)
    return found, floor


def added_up(settings: Speed, found: dict[str, Measured]) -> Measured | None:
    """An outer iteration of the paper's length from its class sweeps and its inner loops."""
    if not {"class sweep", "inner loop"} <= set(found):
        return None
    sweeps, epochs = settings.matching().loops()
    loops = (sweeps - 1) * epochs / settings.updates
    pairs = zip(found["class sweep"].seconds, found["inner loop"].seconds, strict=False)
    return Measured(
        [
            (sweeps * sweep[0] + loops * inner[0], sweeps * sweep[1] + loops * inner[1])
            for sweep, inner in pairs
        ],
        max(found[part].apart for part in ("class sweep", "inner loop")),
    )


def floors(settings: Speed, floor: Floor) -> dict[str, float]:
    """The floor of each part, in seconds."""
    synthetic, real = settings.classes * settings.ipc, settings.classes * settings.real_batch
    image = 2 * 4 * settings.channels * settings.size**2 * floor.byte  # read, written; float32
    sweeps, epochs = settings.matching().loops()
    sweep = real * floor.training + synthetic * floor.matching
    update = synthetic * floor.training
    test = settings.tested * floor.forward
    values = (
        real * floor.training,
        synthetic * floor.matching,
        sweep,
        6 * (settings.real_batch + settings.ipc) * image,  # 6 operations
        6 * synthetic * image,
        settings.updates * update,
        settings.networks * (settings.epochs * update + test),
        sweeps * sweep + (sweeps - 1) * epochs * update,
    )
    return dict(zip(get_args(Part), values, strict=True))


def row(settings: Speed, part: str, measured: Measured, floor: float) -> dict[str, Any]:
    """What is kept of one part."""
    literal, engine = (median(side) for side in zip(*measured.seconds, strict=True))
    return {
        **about(settings),
        "what": part,
        "rounds": len(measured.seconds),
        "literal_seconds": f"{literal:.4g}",
        "engine_seconds": f"{engine:.4g}",
        "ratio": f"{median(measured.ratios):.3f}",
        "ratio_min": f"{min(measured.ratios):.3f}",
        "ratio_max": f"{max(measured.ratios):.3f}",
        "floor_seconds": f"{floor:.4g}",
        "floor_ratio": f"{literal / floor:.3f}",
        "apart": f"{measured.apart:.1e}",
    }


def about(settings: Speed) -> dict[str, Any]:
    """What is measured, and on what."""
    return {
        **{key: value for key, value in machine(settings.threads).items() if key != "python"},
        "commit": provenance()["commit"],
        "device": _device_name(settings.device),
        "problem": settings.problem,
    }


def report(table: pd.DataFrame, floor: Floor) -> None:
    """Print what was found."""
    first = table.iloc[0]
    print(f"\n{first['problem']}; {first['device']}, {first['threads']} threads")
    rate, copied = floor.flops / floor.training / 1e9, 1e-9 / floor.byte
    print(f"floor: convolutions at {rate:.0f} GFLOP/s, images copied at {copied:.1f} GB/s\n")
    print(table.loc[:, "what":].to_string(index=False))


def step(side: str, settings: Speed) -> tuple[float, float]:
    """Seconds and bytes of one class sweep and one epoch of the inner loop, in a new process."""
    with worker(side, replace(settings, updates=1)) as process:
        before = process.submit(peak, settings.device).result()
        for number in range(2):  # the first to warm up
            answers = [
                process.submit(run, part, number, settings.device)
                for part in ("class sweep", "inner loop")
            ]
            seconds = sum(answer.result()[0] for answer in answers)
        return seconds, process.submit(peak, settings.device).result() - before


def peak(device: str) -> int:
    """Bytes of memory in use at most until now: of the accelerator, else of this process."""
    import resource
    import sys

    import torch

    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def compare(settings: Speed) -> None:
    """Measure, print and keep."""
    found, floor = alternate(settings)
    whole = added_up(settings, found)
    if whole and "outer iteration" not in found:
        found["outer iteration, added up"] = whole
    least = floors(settings, floor)
    rows = [row(settings, part, found[part], least[part.partition(",")[0]]) for part in found]
    report(pd.DataFrame(rows), floor)
    path = RESULTS / "speed.csv"
    write_rows(path, [*read_rows(path), *rows])


def scale(settings: Speed) -> None:
    """Measure growing problems, keep the table and draw it."""
    from benchmarks.scaling import draw, grow

    table = grow(settings, step, SIDES, settings.minutes).assign(**about(settings))
    name = RESULTS / f"scaling-{settings.device.partition(':')[0]}"
    with atomic_write(name.with_suffix(".csv")) as aside:
        table.to_csv(aside, index=False)
    draw(table, f"{settings.problem}; {_device_name(settings.device)}", name.with_suffix(".png"))


def _device_name(device: str) -> str:
    if device == "cpu":
        return device
    import torch

    return torch.cuda.get_device_name(device)


def main(argv: list[str]) -> None:
    """Compare, or draw how both grow."""
    settings = command_line.read_flags(Speed, argv, "python -m benchmarks.speed")
    (scale if settings.scaling else compare)(settings)


if __name__ == "__main__":
    command_line.main(main)
