"""The main job: `python -m continual.run --memory dsa`."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from condense import RunFolder, UserError, command_line, method_named
from continual.settings import (
    LEARNERS_OWN,
    PLAIN,
    STREAMS,
    Continual,
    Stream,
    condensing_preset,
    learner_preset,
)

if TYPE_CHECKING:
    from condense import ImageData
    from continual.experiment import Outcome

PROG = "python -m continual.run"


def defaults(
    preset: str = "paper",
    memory: str = "dsa",
    stream: str = "auto",
    formation: int | str | None = None,
) -> Continual:
    """The settings that flags depart from."""
    method = method_named(memory)
    about = STREAMS.get(stream, Stream(()))
    how = about.rehearsal if method.synthetic and preset != "paper" else PLAIN
    if str(formation).isdecimal():  # what is no number is told of where all flags are read
        how = replace(how, formation=int(str(formation)))
    return Continual(
        memory=memory,
        formation=how.formation,
        answers=how.answers,
        learner=learner_preset(preset, memory_share=how.memory_share, asymmetric=how.asymmetric),
        condensing=None
        if memory in LEARNERS_OWN
        else condensing_preset(memory, preset, how.formation, about.matching),
    )


def run(argv: list[str]) -> None:
    """Learn a stream of tasks with a condensed memory."""
    settings = command_line.parse(defaults, argv, PROG)
    device = command_line.choose_device(settings.common.device)
    from continual.tasks import load_tasks

    stream, tasks = load_tasks(settings.stream, settings.common.data_root)
    settings = settings.on(STREAMS[stream])
    check_fits(settings, tasks)
    about = {
        "stream": stream,
        "device": str(device),
        "data": [task.describe() for task in tasks],
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no QP solver found")  # what a dependency wishes for
        from continual.experiment import Experiment
    with command_line.open_run(PROG, settings, f"continual-{settings.memory}", **about) as folder:
        outcomes = Experiment(settings, tasks, folder, device).run()
        finish(folder, settings, stream, tasks, outcomes, str(device))


def check_fits(settings: Continual, tasks: Sequence[ImageData]) -> None:
    """Check before anything is written that the settings go with the images.

    Raises:
        UserError: where a class has too few images, the memory is too small for the classes, or
            the images are too small for the network or the formation.
    """
    from condense import build, require_images
    from continual.tasks import small_shape

    size, classes = settings.memory_size, sum(task.classes for task in tasks)
    if size is not None and size < classes:
        raise UserError(f"--memory-size must be at least {classes}, one image for each class")
    small = small_shape(tasks[0], settings.formation)
    seen = 0
    for task in tasks:
        seen += task.classes  # a memory of a fixed size is whole from the first task on
        places = settings.images_per_class if size is None else size // seen
        try:
            require_images(task, places * settings.formation**2)
        except UserError as error:
            hint = ", or for --formation 1" if settings.formation > 1 else ""
            raise UserError(f"{error}{hint}") from error
    build(settings.learner.network, tasks[0].shape, tasks[0].classes)
    if settings.condensing:
        build(settings.condensing.network, small, tasks[0].classes)


def finish(
    folder: RunFolder,
    settings: Continual,
    stream: str,
    tasks: Sequence[ImageData],
    outcomes: Sequence[Outcome],
    device: str,
) -> None:
    """Write the pictures and the summary, and say on the screen what came out and where it is."""
    from continual import report

    names = report.short_names([task.name for task in tasks])
    averages = [report.stage_averages(outcome.matrix) for outcome in outcomes]
    mean, std = report.mean_and_std(averages)
    matrix = report.mean_matrix([outcome.matrix for outcome in outcomes])
    report.draw_matrix(folder.path / "accuracy_matrix.png", names, matrix)
    report.draw_stages(folder.path / "stages.png", names, mean, std, settings.memory)
    about = {"device": device, "preset": settings.common.preset}
    folder.write_summary({**summary(settings, stream, tasks, outcomes), **about})
    folder.remove_checkpoint()
    kind = "with" if settings.distill else "without"
    print(
        f"{stream}, {settings.memory} memory, {settings.head} head, {kind} distillation, "
        f"{len(outcomes)} seed{'s' if len(outcomes) > 1 else ''}: test accuracy over the tasks so "
        f"far\n{report.table(names, mean, std)}\n"
        f"in {sum(outcome.seconds for outcome in outcomes):.0f} s"
    )
    for path in sorted(folder.path.iterdir()):
        if not path.name.startswith("."):
            print(f"  {path}")


def summary(
    settings: Continual, stream: str, tasks: Sequence[ImageData], outcomes: Sequence[Outcome]
) -> dict[str, Any]:
    """What came out: means over the seeds, and each seed's own under `per_seed`."""
    from continual import report

    matrices = [outcome.matrix for outcome in outcomes]
    averages = [report.stage_averages(matrix) for matrix in matrices]
    forgotten = [report.forgetting(matrix) for matrix in matrices]
    mean, std = report.mean_and_std(averages)
    remembered, classes = outcomes[0].memory_images, sum(task.classes for task in tasks)
    return {
        "stream": stream,
        "memory": settings.memory,
        "head": settings.head,
        "distill": settings.distill,
        "images_per_class": remembered // classes // settings.formation**2,
        "formation": settings.formation,
        "answers": settings.answers and not method_named(settings.memory).soft_labels,
        "seeds": [outcome.seed for outcome in outcomes],
        "average_accuracy": mean,
        "average_accuracy_std": std,
        "accuracy_matrix": report.mean_matrix(matrices),
        "forgetting": statistics.fmean(forgotten),
        "memory_images": remembered,
        "memory_bytes": outcomes[0].memory_bytes,
        "seconds": round(sum(outcome.seconds for outcome in outcomes), 1),
        "per_seed": {
            "average_accuracy": averages,
            "accuracy_matrix": matrices,
            "forgetting": forgotten,
            "seconds": [round(outcome.seconds, 1) for outcome in outcomes],
        },
    }


if __name__ == "__main__":
    command_line.main(run)
