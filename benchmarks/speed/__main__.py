"""The engine compared with a plain version of Algorithm 1: `python -m benchmarks.speed`.

Both backends run alternately on the same images, networks and random numbers, each in its own
process: the engine with the memory setting of its commands, the reference with PyTorch's defaults.
Each round gives a ratio for each part. Median and range are printed beside the roofline and added
to results/speed.csv. With `--scaling`, both run on growing problems instead, and their time and
memory are written to results/scaling-DEVICE.csv and .png.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, get_args

import pandas as pd

from benchmarks.commands import machine
from benchmarks.rows import add_rows
from benchmarks.speed.problem import PartName, Speed
from benchmarks.workers import BACKENDS, relative_difference, roofline_of, run, worker
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.runs.io import atomic_write
from condense.runs.run_dir import provenance

if TYPE_CHECKING:
    from benchmarks.speed.roofline import Roofline


@dataclass(frozen=True)
class Measurement:
    """The measurements of one part, one per round."""

    seconds: list[tuple[float, float]]
    """Of the reference and of the engine."""
    max_rel_diff: float = 0.0
    """The largest distance of their results, relative to the length of the reference's."""

    @property
    def ratios(self) -> list[float]:
        """Speedup of the engine over the reference, by round."""
        return [reference / engine for reference, engine in self.seconds]


def alternate(settings: Speed) -> tuple[dict[str, Measurement], Roofline]:
    """Run all parts in turn, reference and engine alternately, until time is up."""
    deadline = time.monotonic() + 60 * settings.minutes
    found: dict[str, Measurement] = {}
    with worker("reference", settings) as reference, worker("engine", settings) as engine:
        roofline = engine.submit(roofline_of, settings).result()

        def both(part: PartName, number: int) -> list[tuple[float, list[float]]]:
            return [
                x.submit(run, part, number, settings.device).result() for x in (reference, engine)
            ]

        for part in settings.parts:
            both(part, 0)  # to warm up
            found[part] = Measurement([])
        for number in itertools.count(1):
            for part in settings.parts:
                if number > 1 and time.monotonic() > deadline:
                    return found, roofline
                (slow, plain), (quick, ours) = both(part, number)
                before = found[part]
                found[part] = Measurement(
                    [*before.seconds, (slow, quick)],
                    max(before.max_rel_diff, relative_difference(plain, ours)),
                )
                print(f"{number} {part}: {slow:.3f} s, {quick:.3f} s", flush=True)
    return found, roofline


def added_up(settings: Speed, found: dict[str, Measurement]) -> Measurement | None:
    """An outer iteration of the paper's length, added up from class sweeps and inner loops."""
    if not {"class sweep", "inner loop"} <= set(found):
        return None
    sweeps, epochs = settings.matching().loops()
    loops = (sweeps - 1) * epochs / settings.inner_loop
    pairs = zip(found["class sweep"].seconds, found["inner loop"].seconds, strict=False)
    return Measurement(
        [
            (sweeps * sweep[0] + loops * inner[0], sweeps * sweep[1] + loops * inner[1])
            for sweep, inner in pairs
        ],
        max(found[part].max_rel_diff for part in ("class sweep", "inner loop")),
    )


def rooflines(settings: Speed, roofline: Roofline) -> dict[str, float]:
    """The roofline of each part, in seconds."""
    synthetic, real = settings.classes * settings.ipc, settings.classes * settings.batch_real
    image = 2 * 4 * settings.channels * settings.size**2 * roofline.byte  # read, written; float32
    sweeps, epochs = settings.matching().loops()
    sweep = real * roofline.training + synthetic * roofline.matching
    step = synthetic * roofline.training
    test = settings.tested * roofline.forward
    values = (
        real * roofline.training,
        synthetic * roofline.matching,
        sweep,
        6 * (settings.batch_real + settings.ipc) * image,  # 6 operations
        6 * synthetic * image,
        settings.inner_loop * step,
        settings.num_eval * (settings.epoch_eval_train * step + test),
        sweeps * sweep + (sweeps - 1) * epochs * step,
    )
    return dict(zip(get_args(PartName), values, strict=True))


def row(settings: Speed, part: str, measurement: Measurement, roofline: float) -> dict[str, Any]:
    """The row of one part."""
    reference, engine = (median(times) for times in zip(*measurement.seconds, strict=True))
    return {
        **about(settings),
        "what": part,
        "rounds": len(measurement.seconds),
        "reference_seconds": f"{reference:.4g}",
        "engine_seconds": f"{engine:.4g}",
        "ratio": f"{median(measurement.ratios):.3f}",
        "ratio_min": f"{min(measurement.ratios):.3f}",
        "ratio_max": f"{max(measurement.ratios):.3f}",
        "roofline_seconds": f"{roofline:.4g}",
        "roofline_ratio": f"{reference / roofline:.3f}",
        "max_rel_diff": f"{measurement.max_rel_diff:.1e}",
    }


def about(settings: Speed) -> dict[str, Any]:
    """The problem, the machine and the version of a measurement."""
    return {
        **{key: value for key, value in machine(settings.threads).items() if key != "python"},
        "commit": provenance()["commit"],
        "device": _device_name(settings.device),
        "problem": settings.problem,
    }


def report(table: pd.DataFrame, roofline: Roofline) -> None:
    """Print the results."""
    first = table.iloc[0]
    print(f"\n{first['problem']}; {first['device']}, {first['threads']} threads")
    rate, copied = roofline.flops / roofline.training / 1e9, 1e-9 / roofline.byte
    print(f"roofline: convolutions at {rate:.0f} GFLOP/s, images copied at {copied:.1f} GB/s\n")
    print(table.loc[:, "what":].to_string(index=False))


def step(backend: str, settings: Speed) -> tuple[float, float]:
    """Seconds and bytes of one class sweep with one epoch of the inner loop, in a new process."""
    with worker(backend, replace(settings, inner_loop=1)) as process:
        before = process.submit(peak, settings.device).result()
        for number in range(2):  # the first to warm up
            futures = [
                process.submit(run, part, number, settings.device)
                for part in ("class sweep", "inner loop")
            ]
            seconds = sum(future.result()[0] for future in futures)
        return seconds, process.submit(peak, settings.device).result() - before


def peak(device: str) -> int:
    """Peak memory in bytes until now: of the accelerator, else of this process."""
    import resource
    import sys

    import torch

    if device != "cpu":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def compare(settings: Speed) -> None:
    """Measure, print and save."""
    found, roofline = alternate(settings)
    whole = added_up(settings, found)
    if whole and "outer iteration" not in found:
        found["outer iteration, added up"] = whole
    least = rooflines(settings, roofline)
    rows = [row(settings, part, found[part], least[part.partition(",")[0]]) for part in found]
    report(pd.DataFrame(rows), roofline)
    path = settings.results / "speed.csv"
    add_rows(path, rows)


def scale(settings: Speed) -> None:
    """Measure growing problems, save the table and plot it."""
    from benchmarks.speed.scaling import grow, plot

    table = grow(settings, step, BACKENDS, settings.minutes).assign(**about(settings))
    name = settings.results / f"scaling-{settings.device.partition(':')[0]}"
    with atomic_write(name.with_suffix(".csv")) as aside:
        table.to_csv(aside, index=False)
    plot(table, f"{settings.problem}; {_device_name(settings.device)}", name.with_suffix(".png"))


def _device_name(device: str) -> str:
    if device == "cpu":
        return device
    import torch

    return torch.cuda.get_device_name(device)


def compare_or_scale(argv: list[str]) -> None:
    """Compare the backends, or measure how they scale."""
    settings = read_flags(Speed, argv, "python -m benchmarks.speed")
    (scale if settings.scaling else compare)(settings)


if __name__ == "__main__":
    main(compare_or_scale)
