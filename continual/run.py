"""The main job: `python -m continual.run --memory dsa`."""

from __future__ import annotations

import statistics
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from condense import RunFolder, UserError, method_named
from condense.cli.app import main
from condense.cli.device import choose_device
from condense.cli.flags import parse
from condense.cli.images import reading_bar
from condense.cli.run import open_run
from condense.config.serialization import differences
from condense.runs.report import list_files
from condense.system.notes import note
from continual.own_streams import is_own, own_spec
from continual.settings import (
    EEIL_REPLAY,
    SELECTION_METHODS,
    STREAMS,
    ContinualConfig,
    Storage,
    StreamSpec,
    condensing_preset,
    eeil_preset,
    memory_method,
)

if TYPE_CHECKING:
    from condense import ImageData
    from continual.experiment import SeedResult

PROG = "python -m continual.run"


def defaults(
    preset: str = "paper",
    memory: str = "dsa",
    stream: str = "auto",
    storage: Storage | None = None,
    factor: int | str | None = None,
    batch_size: int | str | None = None,
    head: str = "auto",
) -> ContinualConfig:
    """The default settings; flags override them."""
    method = memory_method(memory)
    about = spec_of(stream)
    replay = EEIL_REPLAY if preset == "paper" else about.replay
    if str(factor).isdecimal():  # other values raise when all flags are parsed
        replay = replace(replay, factor=int(str(factor)))
    if storage is not None or replay.factor > 1 or method.whole_images:
        replay = replace(replay, storage=storage or "pixels")
    if head not in ("auto", "class"):  # the shared labels of the others are old and new at once
        replay = replace(replay, er_ace=False)
    if str(batch_size).isdecimal() and replay.batch_size_mem is not None:
        replay = replace(replay, batch_size_mem=int(str(batch_size)) // 2 or None)
    return ContinualConfig(
        memory=memory,
        storage=replay.storage,
        factor=replay.factor,
        store_logits=replay.store_logits,
        eeil=eeil_preset(preset, batch_size_mem=replay.batch_size_mem, er_ace=replay.er_ace),
        condensing=None
        if memory in SELECTION_METHODS
        else condensing_preset(memory, preset, replay.factor, about.each, replay.storage),
    )


def spec_of(stream: str, tasks: Sequence[ImageData] | None = None) -> StreamSpec:
    """The defaults for a stream; with its tasks also the head, for one of the user's data sets."""
    return own_spec(stream, tasks) if is_own(stream) else STREAMS.get(stream, StreamSpec(()))


def run(argv: list[str]) -> None:
    """Train on a stream of tasks with a condensed memory."""
    settings = parse(defaults, argv, PROG)
    device = choose_device(settings.common.device)
    from continual.tasks import found_again, load_tasks

    common = settings.common
    cache = common.open_cache()
    with reading_bar(common) as bar:
        stream, tasks = load_tasks(settings.stream, **common.reading, cache=cache, progress=bar)
    settings = replace(settings, stream=found_again(settings.stream, stream))
    settings = settings.on(spec_of(settings.stream, tasks))
    check_fits(settings, tasks)
    about = {
        "stream": stream,
        "device": str(device),
        "data": [task.describe() for task in tasks],
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no QP solver found")  # from a dependency of Avalanche
        from continual.experiment import Experiment
    with open_run(PROG, settings, f"continual-{settings.memory}", **about) as folder:
        results = Experiment(settings, tasks, folder, device).run()
        finish(folder, settings, stream, tasks, results, str(device))


def check_fits(settings: ContinualConfig, tasks: Sequence[ImageData]) -> None:
    """Check that the settings fit the images, before any file is written.

    Raises:
        UserError: if a class has no image, the memory is too small for the classes, a shared head
            is for fewer classes than a task has, or the images are too small for the network or the
            factor.
    """
    from condense import build, require_images
    from condense.data.labels import listed
    from continual.tasks import small_shape

    size, least = settings.memory_size, _least_memory(settings, tasks)
    if size is not None and size < least:
        raise UserError(
            f"--memory-size must be at least {least}, one image for each class and task"
        )
    most = max(tasks, key=lambda task: task.classes)
    if settings.head == "domain" and most.classes > tasks[0].classes:
        raise UserError(
            f"--head domain has one head for the {tasks[0].classes} classes of the first task, and "
            f"{most.name} has {most.classes}: choose --head task or --head class"
        )
    if settings.head == "class":
        _note_on_classes(tasks)
    small = small_shape(tasks[0], settings.factor)
    for task in tasks:
        require_images(task, 1, "give it some, or leave it out")
    build(settings.eeil.network, tasks[0].shape, tasks[0].classes, device="meta")
    if settings.condensing:
        seen_shape = small if settings.storage == "pixels" else tasks[0].shape
        build(settings.condensing.network, seen_shape, tasks[0].classes, device="meta")
    if short := _short_classes(settings, tasks):
        note(
            f"after their task the memory takes all training images of {listed(short)}, which do "
            "not fill the share of a class"
        )


def _note_on_classes(tasks: Sequence[ImageData]) -> None:
    """Say what is unusual about the classes, where each of a task is a new one."""
    from condense.data.labels import listed

    times = Counter(name for task in tasks for name in task.class_names)
    if shared := [name for name, count in times.items() if count > 1]:
        note(
            f"several tasks have {listed(shared)}: with --head class each is a class of its own "
            "(--head domain gives one label to classes that all tasks have in the same order)"
        )
    if any(task.classes == 1 for task in tasks):
        note("a head with the single output of a task of one class is not distilled")


def _short_classes(settings: ContinualConfig, tasks: Sequence[ImageData]) -> list[str]:
    """The classes whose images do not fill their share of the memory after their task."""
    from condense.methods.selection import large_classes

    parts = settings.factor**2 if settings.storage == "pixels" else 1
    names: dict[str, None] = {}
    seen = 0
    for task in tasks:
        seen += task.classes  # a fixed-size memory is full from the first task
        size = settings.memory_size
        count = settings.images_per_class if size is None else size // seen
        large = large_classes(task, count * parts)
        names |= {name: None for label, name in enumerate(task.class_names) if label not in large}
    return list(names)


def _least_memory(settings: ContinualConfig, tasks: Sequence[ImageData]) -> int:
    """Whole images in which each class of each task has at least one.

    With head domain the tasks share labels: each label has the same share, and label 0 is in every
    task.
    """
    classes = [task.classes for task in tasks]
    return max(classes) * len(classes) if settings.head == "domain" else sum(classes)


def finish(
    folder: RunFolder,
    settings: ContinualConfig,
    stream: str,
    tasks: Sequence[ImageData],
    results: Sequence[SeedResult],
    device: str,
) -> None:
    """Write the figures and the summary; print the results and the paths of the files."""
    from continual import report
    from continual.run_report import title, write_report

    names = report.short_names([task.name for task in tasks])
    averages = [report.stage_averages(result.matrix) for result in results]
    mean, std = report.mean_and_std(averages)
    matrix = report.mean_matrix([result.matrix for result in results])
    report.plot_matrix(folder.path / "accuracy_matrix.png", names, matrix)
    report.plot_stages(folder.path / "stages.png", names, mean, std, settings.memory)
    about = {"device": device, "preset": settings.common.preset}
    found = {**summary(settings, stream, tasks, results), **about}
    base = defaults(settings.common.preset, settings.memory, stream).on(spec_of(stream, tasks))
    differing = differences(settings, base, without=("common", "stream", "memory"))
    write_report(folder, settings, names, found, differing)
    folder.write_summary(found)
    folder.remove_checkpoint()
    folder.say(
        f"{title(found)}, {len(results)} seed{'s' if len(results) > 1 else ''}: test accuracy over "
        f"the tasks so far\n{report.table(names, mean, std if len(results) > 1 else None)}\n"
        f"in {sum(result.seconds for result in results):.0f} s"
    )
    print(list_files(folder.path))


def summary(
    settings: ContinualConfig,
    stream: str,
    tasks: Sequence[ImageData],
    results: Sequence[SeedResult],
) -> dict[str, Any]:
    """Contents of summary.json: means over the seeds; `per_seed` has the results of each seed."""
    from continual import report

    matrices = [result.matrix for result in results]
    averages = [report.stage_averages(matrix) for matrix in matrices]
    forgotten = [report.forgetting(matrix) for matrix in matrices]
    mean, std = report.mean_and_std(averages)
    size, classes = settings.memory_size, sum(task.classes for task in tasks)
    return {
        "stream": stream,
        "memory": settings.memory,
        "head": settings.head,
        "distill": settings.distill,
        "images_per_class": settings.images_per_class if size is None else size // classes,
        "storage": settings.storage,
        "factor": settings.factor,
        "store_logits": settings.store_logits
        and not method_named(settings.memory).soft_labels(settings.condensing),
        "seeds": [result.seed for result in results],
        "average_accuracy": mean,
        "average_accuracy_std": std,
        "accuracy_matrix": report.mean_matrix(matrices),
        "forgetting": statistics.fmean(forgotten),
        "memory_images": results[0].memory_images,
        "memory_bytes": results[0].memory_bytes,
        "seconds": round(sum(result.seconds for result in results), 1),
        "per_seed": {
            "average_accuracy": averages,
            "accuracy_matrix": matrices,
            "forgetting": forgotten,
            "seconds": [round(result.seconds, 1) for result in results],
        },
    }


def entry_point() -> NoReturn:
    """Run the command of this process."""
    main(run)


if __name__ == "__main__":
    entry_point()
