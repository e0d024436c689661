"""Memories of real and of condensed images at equal bytes.

Command: `python -m benchmarks.continual.equal_bytes`.

Each strategy is trained on a stream with each memory; a row of results/equal_bytes.csv is its
accuracy at the end, averaged over the tasks. A row that exists is not measured again. The
difference to the best memory of real images is paired by seed, with a 95 % interval of Student's t.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.commands import machine
from benchmarks.continual.split_streams import images_hash
from benchmarks.rows import RESULTS, Row, difference, measure_missing, read_rows, spread
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.config.evaluation import Evaluation
from condense.config.presets import preset
from condense.errors import UserError, unknown
from condense.methods.registry import METHODS
from condense.runs.report import markdown_table
from condense.runs.run_dir import provenance
from condense.validation import at_least
from continual.settings import REAL, STREAMS, Storage, eeil_preset

if TYPE_CHECKING:
    from benchmarks.continual.timed_buffer import TimedBuffer
    from condense.data.image_data import ImageData
    from continual.settings import StreamSpec

PROG = "python -m benchmarks.continual.equal_bytes"
FILE = "equal_bytes.csv"
CASE = ("stream", "images_per_class", "strategy", "memory", "seed", "preset")
"""Columns that identify a measurement."""


@dataclass(frozen=True)
class Memory:
    """A method of `condense`, and how its images are stored."""

    method: str
    storage: Storage = "dct"
    factor: int = 1
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Of the method's settings."""

    @property
    def real(self) -> bool:
        """Whether the images are real ones."""
        return not METHODS[self.method].synthetic


MEMORIES = {
    "random, pixels": Memory("random", "pixels"),
    "herding, pixels": Memory("herding", "pixels"),
    "random, factor 2, 4:2:0": Memory("random", "ycbcr420", 2),
    "random, DCT": Memory("random"),
    "herding, DCT": Memory("herding"),
    "DM, pixels": Memory("dm", "pixels"),
    "DM, DCT": Memory("dm"),
    "DM, DCT, 60 iterations": Memory("dm", changes={"iterations": 60}),
    "IDM, DCT": Memory("idm"),
    "DSA, DCT": Memory("dsa"),
    "DC, DCT": Memory("dc"),
}


@dataclass(frozen=True)
class EqualBytes:
    """Compare memories of equal bytes."""

    streams: tuple[
        Literal["split-fashionmnist", "split-cifar10", "split-cifar100", "svhn-mnist-usps"], ...
    ] = ("split-fashionmnist", "split-cifar10", "split-cifar100")
    """svhn-mnist-usps: with eeil only."""
    images_per_class: tuple[int, ...] = (1, 10)
    """Whole images per class, whose bytes a memory has."""
    memories: tuple[str, ...] = tuple(MEMORIES)
    """Names of memories."""
    strategies: tuple[Literal["gdumb", "eeil", "er-ace", "der++"], ...] = ("gdumb", "eeil")
    """gdumb: a new network trained on the memory only. The others train on each task with replay:
    eeil with the default replay settings of the stream, er-ace and der++ are Avalanche's."""
    seeds: int = 3
    """Number of seeds, from 0."""
    preset: Literal["cpu", "smoke"] = "cpu"
    show: bool = False
    """Measure nothing, only print the saved results."""
    results: Path = RESULTS
    """Folder of equal_bytes.csv."""

    def __post_init__(self) -> None:
        at_least(1, self, "seeds")
        for name in self.memories:
            if name not in MEMORIES:
                raise unknown("memory", name, MEMORIES)
        if REAL in self.streams and self.strategies != ("eeil",):
            raise UserError(f"{REAL} needs --strategies eeil: the others grow their classes")


@dataclass
class Job:
    """One memory and one stream."""

    stream: StreamSpec
    tasks: Sequence[ImageData]
    memory: TimedBuffer
    preset: str
    seed: int


def job_of(case: Row) -> Job:
    """The tasks and the buffer of a case, with the settings of its preset."""
    from benchmarks.continual.timed_buffer import TimedBuffer
    from continual.settings import condensing_preset
    from continual.tasks import load_tasks

    name, tasks = load_tasks(case["stream"])
    memory, seed = MEMORIES[case["memory"]], case["seed"]
    settings = condensing_preset(
        memory.method, case["preset"], memory.factor, storage=memory.storage
    )
    settings = replace(settings, **memory.changes)
    first = tasks[0]
    buffer = TimedBuffer(
        images_per_class=case["images_per_class"],
        storage=memory.storage,
        factor=memory.factor,
        method=memory.method,
        settings=settings,
        mean=first.mean,
        std=first.std,
        hflip=first.hflip,
        seed=seed,
    )
    return Job(STREAMS[name], tasks, buffer, case["preset"], seed)


def gdumb(job: Job) -> float:
    """Accuracy of a new network trained on the memory of all tasks, as sets are evaluated."""
    from condense import CondensedSet, evaluate
    from continual import make_benchmark

    for experience in make_benchmark(job.tasks, "class").train_stream:
        job.memory.post_adapt(SimpleNamespace(device="cpu"), experience)
    samples, data = job.memory.samples, joined(job.tasks)
    assert samples is not None
    small = CondensedSet(
        samples.pixels(), samples.labels, samples.mean, samples.std, data.class_names
    )
    settings = preset(Evaluation, job.preset, num_eval=1)
    return evaluate(small, data, settings, seed=job.seed).mean


def joined(tasks: Sequence[ImageData]) -> ImageData:
    """The classes of all tasks as one dataset, in the order of the stream."""
    import torch

    firsts = [sum(task.classes for task in tasks[:number]) for number in range(len(tasks))]
    pairs = list(zip(tasks, firsts, strict=True))
    return replace(
        tasks[0],
        x_train=torch.cat([task.x_train for task in tasks]),
        y_train=torch.cat([task.y_train + first for task, first in pairs]),
        x_test=torch.cat([task.x_test for task in tasks]),
        y_test=torch.cat([task.y_test + first for task, first in pairs]),
        class_names=tuple(name for task in tasks for name in task.class_names),
    )


def eeil(job: Job) -> float:
    """Accuracy of EEIL after the last task, averaged over the tasks."""
    from benchmarks.continual.baselines import final_accuracy
    from condense import build, generator
    from continual import EEIL, make_benchmark, with_heads
    from continual.tasks import augmentation
    from continual.testing import evaluator

    first, head, replay = job.tasks[0], job.stream.head, job.stream.replay
    config = eeil_preset(job.preset, batch_size_mem=replay.batch_size_mem, er_ace=replay.er_ace)
    network = build(config.network, first.shape, first.classes, generator(job.seed, "learner"))
    strategy = EEIL(
        model=with_heads(head, network, job.seed),
        memory=job.memory,
        config=config,
        distill=False,
        augmentation=augmentation(job.tasks),
        seed=job.seed,
        evaluator=evaluator(),
    )
    return final_accuracy(strategy, make_benchmark(job.tasks, head))


def _avalanche(kind: str) -> Callable[[Job], float]:
    def train(job: Job) -> float:
        import torch

        from benchmarks.continual.baselines import Job as Baseline
        from benchmarks.continual.baselines import train_with_buffer

        job.memory.store_logits = kind == "der++"
        config = eeil_preset(job.preset, batch_size_mem=64)
        baseline = Baseline(job.tasks, config, job.memory.images_per_class or 0, job.seed)
        with torch.random.fork_rng():
            return train_with_buffer(kind, baseline, job.memory)

    return train


STRATEGIES: dict[str, Callable[[Job], float]] = {
    "gdumb": gdumb,
    "eeil": eeil,
    "er-ace": _avalanche("er-ace"),
    "der++": _avalanche("der++"),
}


def cases(settings: EqualBytes) -> Iterator[Row]:
    """What is measured, in order."""
    for stream, images_per_class, seed, strategy, memory in product(
        settings.streams,
        settings.images_per_class,
        range(settings.seeds),
        settings.strategies,
        settings.memories,
    ):
        yield {
            "stream": stream,
            "images_per_class": images_per_class,
            "strategy": strategy,
            "memory": memory,
            "seed": seed,
            "preset": settings.preset,
        }


def measure(case: Row) -> Row:
    """Train one strategy with one memory; one row."""
    job = job_of(case)
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Avalanche warns of its own calls
        accuracy = STRATEGIES[case["strategy"]](job)
    return {
        **case,
        "accuracy": f"{100 * accuracy:.2f}",
        "memory_images": sum(map(len, job.memory.groups.values())),
        "memory_bytes": job.memory.bytes,
        "memory_cpu_seconds": f"{job.memory.seconds:.1f}",
        "cpu_seconds": f"{time.process_time() - began:.1f}",
        "images": images_hash(job.tasks),
        **provenance(),
        **machine(1),
    }


def table(rows: Sequence[Row], preset: str = "cpu") -> str:
    """Accuracy at the end at a preset, and the difference to the best real memory."""
    rows, lines = [row for row in rows if row["preset"] == preset], []
    kinds = dict.fromkeys((row["stream"], row["images_per_class"], row["strategy"]) for row in rows)
    for kind in kinds:
        memories: dict[str, dict[str, Row]] = {}
        for row in rows:
            if (row["stream"], row["images_per_class"], row["strategy"]) == kind:
                memories.setdefault(row["memory"], {})[row["seed"]] = row
        real = {name: found for name, found in memories.items() if MEMORIES[name].real}
        best = max(real, key=lambda name: fmean(_column(real[name], "accuracy")), default=None)
        for name, found in memories.items():
            gain = ""
            if best not in (None, name):
                gain = difference(_by_seed(found), _by_seed(memories[best]))
            lines.append(
                [
                    *kind,
                    name,
                    spread(_column(found, "accuracy")),
                    gain,
                    f"{fmean(_column(found, 'memory_images')):.0f}",
                    f"{fmean(_column(found, 'memory_bytes')) / 1000:.1f}",
                    f"{fmean(_column(found, 'memory_cpu_seconds')):.0f}",
                    str(len(found)),
                ]
            )
    heads = ["stream", "images per class", "strategy", "memory", "accuracy"]
    more = ["− best real memory", "images", "kB", "CPU seconds of the memory", "n"]
    return markdown_table([*heads, *more], lines)


def _by_seed(found: dict[str, Row]) -> dict[str, float]:
    return {seed: float(row["accuracy"]) for seed, row in found.items()}


def _column(found: dict[str, Row], name: str) -> list[float]:
    return [float(row[name]) for row in found.values()]


def run(argv: list[str]) -> None:
    """Measure what is missing, save each row, and print the table."""
    settings = read_flags(EqualBytes, argv, PROG)
    path = settings.results / FILE
    if not settings.show:
        import torch

        torch.set_num_threads(1)
        measure_missing(path, cases(settings), CASE, measure)
    print(table(read_rows(path), settings.preset))


if __name__ == "__main__":
    main(run)
