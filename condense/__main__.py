"""The command line: `python -m condense run | evaluate | show | export | methods | zoo`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, cast

import tyro

from condense.cli.app import dispatch, main
from condense.cli.common import Common
from condense.cli.flags import parse, read_flags
from condense.cli.images import found_again, hash_of_init, load_images
from condense.cli.ranks import as_rank
from condense.cli.run import open_run
from condense.config.evaluation import Compare, Evaluation
from condense.config.methods import GradientMatching, MethodSettings
from condense.config.presets import preset as preset_of
from condense.config.serialization import differences
from condense.errors import UserError
from condense.export.command import export_set
from condense.methods.registry import AUTO, NAMES, method_named
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import FileCheckpointer
from condense.runs.io import file_sha256, plain
from condense.runs.progress import Progress
from condense.runs.report import per_cent, text_table
from condense.runs.run_dir import CONDENSED, RunFolder
from condense.system.notes import note, warning
from condense.validation import at_least

if TYPE_CHECKING:
    from condense.condensed_set import CondensedSet
    from condense.data.image_data import ImageData
    from condense.data.registry import Known
    from condense.evaluation import Accuracy
    from condense.run_report import Tested

PROG = "python -m condense"
_FROM_CACHE = "from_cache"
"""Entry of the summary, and of the checkpoint of a run whose set is made."""
METHOD_HELP = (
    f"{', '.join(NAMES)}; `{PROG} methods` describes them. Default: auto in the "
    "cpu preset, else dsa. The settings below are those of the method that is given with --help."
)


@dataclass(frozen=True)
class Run:
    """Condense a dataset and evaluate the result."""

    dataset: str = "auto"
    """A name (mnist fashionmnist svhn usps cifar10 cifar100 digits mnist5k synthdigits), or the
    path of an .npz file or a folder. auto: cifar10 if it is available, else mnist5k."""
    method: Annotated[str, tyro.conf.arg(help=METHOD_HELP)] = "dsa"
    settings: tyro.conf.OmitArgPrefixes[MethodSettings] = field(default_factory=GradientMatching)
    evaluation: Evaluation = field(default_factory=Evaluation)
    """Evaluation of the set; --evaluation.num-eval 0 turns it off."""
    compare: Compare = "random"
    """Also test random or herded images in the bytes of the set, or both. Each takes as long as
    the evaluation of the set; none turns it off."""
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def __post_init__(self) -> None:
        method_named(self.method).check(self.settings)


@dataclass(frozen=True)
class Evaluate:
    """Train new networks on a condensed set and test them on real images."""

    set: tyro.conf.Positional[Path]
    """The condensed set: a .safetensors file, a name that `condense zoo` lists, or a .pt file of
    another repository."""
    dataset: str | None = None
    """Dataset for testing: a name or a path, as for run. Default: that the set was made from; a
    .pt file of another repository does not say that."""
    evaluation: tyro.conf.OmitArgPrefixes[Evaluation] = field(default_factory=Evaluation)
    compare: Compare = "random"
    """Also test random or herded images in the bytes of the set, or both. Each takes as long as
    the evaluation of the set; none turns it off."""
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def __post_init__(self) -> None:
        at_least(1, self.evaluation, "num_eval")


@dataclass(frozen=True)
class Show:
    """Draw a condensed set as an image grid, one row per class."""

    set: tyro.conf.Positional[Path]
    """The condensed set: a .safetensors file, a name that `condense zoo` lists, or a .pt file of
    another repository."""
    dataset: str | None = None
    """For a .pt file: the dataset with whose mean and std its images are normalised."""
    size: int | None = None
    """Side of the images of the dataset, if they differ in size."""
    fit: Literal["crop", "resize"] = "crop"
    """How they get this --size: crop or resize, as for `condense run`."""
    out: Path = Path("grid.png")
    """The PNG file to write."""


@dataclass(frozen=True)
class Methods:
    """List the methods."""


@dataclass(frozen=True)
class Zoo:
    """List the condensed sets of the package, or copy one to a file."""

    name: tyro.conf.Positional[str | None] = None
    """DATASET-METHOD-IPC of the set to copy; without it all sets are listed."""
    out: Path | None = None
    """Output file. Default: NAME.safetensors in the current folder."""


def run(argv: list[str]) -> None:
    """Condense a dataset and evaluate the result."""
    with as_rank(parse(_run_defaults, argv, f"{PROG} run")) as settings:
        _run(settings)


def _run(settings: Run) -> None:
    from condense.run_report import Tested, finish
    from condense.training.ranks import world_size

    common = settings.common
    data = load_images(settings.dataset, common)
    settings = replace(settings, dataset=found_again(settings.dataset, data))
    if world_size() > data.classes:
        note(f"{world_size()} processes: with {data.classes} classes the others match nothing")
    what = f"{data.name}-{settings.method}-{settings.settings.ipc}"
    # The ranks of torchrun have GPUs of different numbers.
    device = data.device.type
    about = {"device": device, "data": data.describe(), **hash_of_init(settings.settings)}
    with open_run(f"{PROG} run", settings, what, **about) as folder:
        condensed, seconds, from_cache = _condensed(folder, settings, data)
        condensed.grid(folder.path / "condensed.png")
        tested = Tested(None, seconds=seconds)
        if settings.evaluation.num_eval:
            tested = replace(_tested(folder, settings, condensed, data), seconds=seconds)
            accuracy = cast("Accuracy", tested.accuracy)
            condensed = condensed.with_provenance(
                accuracy=accuracy.mean,
                accuracy_std=accuracy.std,
                evaluation=plain(asdict(settings.evaluation)),
            )
            condensed.save(folder.path / CONDENSED)
        more: dict[str, Any] = {_FROM_CACHE: from_cache}
        if tested.accuracy:
            own = method_named(settings.method).own_metrics(condensed, data, settings.settings)
            for name, value in own.items():
                folder.say(f"{name.replace('_', ' ')}: {per_cent(value)}")
            more.update(own)
        base = _run_defaults(settings.method, common.preset)
        differing = differences(settings, base, without=("common", "dataset", "method"))
        finish(folder, condensed, settings.evaluation, tested, differing, **more)


def evaluate_set(argv: list[str]) -> None:
    """Train new networks on a condensed set and test them on real images."""
    with as_rank(parse(_evaluate_defaults, argv, f"{PROG} evaluate")) as settings:
        _evaluate_set(settings)


def _evaluate_set(settings: Evaluate) -> None:
    from condense.run_report import finish
    from condense.zoo import file_of

    common, path = settings.common, file_of(settings.set)
    condensed, data = _set_and_data(settings, path)
    condensed.check_fits(data)
    what = f"evaluate-{settings.set.stem}"
    about = {
        "device": data.device.type,
        "data": data.describe(),
        "set": file_sha256(path),
    }
    # The file: a name would be kept as a path, and with --resume there is no such file.
    dataset = settings.dataset and found_again(settings.dataset, data)
    kept = replace(settings, set=path, dataset=dataset)
    with open_run(f"{PROG} evaluate", kept, what, **about) as folder:
        tested = _tested(folder, settings, condensed, data)
        base = _evaluate_defaults(common.preset)
        differing = differences(settings, base, without=("common", "dataset", "set"))
        finish(folder, condensed, settings.evaluation, tested, differing)


def _set_and_data(settings: Evaluate, path: Path) -> tuple[CondensedSet, ImageData]:
    """The set, and the data that it was made from, or those of `--dataset`.

    Raises:
        UserError: the data are not known, not there any more, or other ones than then.
    """
    from condense.data.loading import available, images_of, source_of
    from condense.foreign_sets import is_foreign, load_set

    common, asked = settings.common, settings.dataset
    if is_foreign(path):
        if not asked:
            raise UserError(f"{path} does not say what it was made from: give --dataset")
        data = load_images(asked, common)
        return load_set(path, data).with_provenance(dataset=data.name), data
    condensed = load_set(path)
    about = condensed.provenance
    images = images_of(about, asked, common.size, common.fit, common.hflip)
    dataset, size, fit, hflip = images
    common = replace(common, size=size, fit=fit, hflip=hflip)
    if not dataset:
        raise UserError(f"{settings.set} does not say what it was made from: give --dataset")
    if not asked and "path" in source_of(about) and not available(dataset):
        raise UserError(
            f"{settings.set} was made from {dataset}, which is not there any more: give --dataset"
        )
    data = load_images(dataset, common)
    as_made = not asked and images == images_of(about)  # else flags change the images
    if as_made and about.get("fingerprint", data.fingerprint()) != data.fingerprint():
        raise UserError(
            f"{settings.set} was made from other images named {dataset}: give --dataset to test "
            "it on these"
        )
    return condensed.with_provenance(**{"dataset": data.name, **about}), data


def show(argv: list[str]) -> None:
    """Draw a condensed set as an image grid, one row per class."""
    settings = read_flags(Show, argv, f"{PROG} show")
    from condense.data.loading import load
    from condense.data.registry import DATASETS
    from condense.foreign_sets import load_set
    from condense.run_report import per_class
    from condense.zoo import file_of

    data: ImageData | Known | None = DATASETS.get(settings.dataset or "")
    if settings.dataset and (data is None or data.mean is None):
        data = load(settings.dataset, size=settings.size, fit=settings.fit)
    condensed = load_set(file_of(settings.set), data)
    condensed.grid(settings.out)
    about = condensed.provenance
    keys = ("dataset", "method", "ipc", "network", "seed", "accuracy", "version")
    rows = [(key, str(about[key])) for key in keys if key in about]
    sizes = [("images", per_class(condensed)), ("bytes", str(condensed.bytes))]
    print(text_table([*rows, *sizes, ("picture", str(settings.out))]))


def methods(argv: list[str]) -> None:
    """List the methods."""
    read_flags(Methods, argv, f"{PROG} methods")
    about = ((name, f"{method.summary} ({method.source})") for name, method in NAMES.items())
    print(text_table(about))


def zoo(argv: list[str]) -> None:
    """List the condensed sets of the package, or copy one to a file."""
    settings = read_flags(Zoo, argv, f"{PROG} zoo")
    from condense.zoo import load_named
    from condense.zoo_table import zoo_table

    if settings.name is None:
        print(zoo_table())
        return
    out = settings.out or Path(f"{settings.name}.safetensors")
    load_named(settings.name).save(out)
    print(out)


def _condensed(
    folder: RunFolder, settings: Run, data: ImageData
) -> tuple[CondensedSet, float, bool]:
    """The set of the run, saved in its folder; the seconds; whether it came from the cache."""
    from condense.api import condense
    from condense.condensed_set import CondensedSet

    common, path = settings.common, folder.path / CONDENSED
    cache = common.open_cache()
    with folder.checkpointer(show=Progress("condensing", quiet=common.quiet)) as checkpointer:
        done = checkpointer.restore()
        if done and _FROM_CACHE in done.state:  # the run was interrupted during the evaluation
            try:
                return CondensedSet.load(path), checkpointer.seconds, bool(done.state[_FROM_CACHE])
            except UserError as error:
                warning(f"{error}; it is made again")
                folder.remove_checkpoint()
        condensed = condense(
            data,
            settings.method,
            settings.settings,
            seed=common.seed,
            checkpointer=checkpointer,
            cache=cache,
        )
        condensed.save(path)
        from_cache = bool(cache and cache.hits)
        checkpointer.save(Checkpoint({}, {_FROM_CACHE: from_cache}))
        return condensed, checkpointer.seconds, from_cache


def _run_defaults(
    method: str | None = None,
    preset: str = "paper",
    architecture: str = "convnet",
    norm: Any = "instance",
    storage: str | None = None,
    evaluation_network_architecture: str = "convnet",
    evaluation_network_norm: Any = "instance",
    evaluation_epoch_eval_train: str | None = None,
) -> Run:
    method = method or (AUTO if preset == "cpu" else "dsa")
    chosen = method_named(method)
    network = replace(chosen.preset(preset).network, architecture=architecture, norm=norm)
    changes: dict[str, Any] = {"network": network}
    if storage is not None:
        changes["storage"] = storage
    return Run(
        method=method,
        settings=chosen.preset(preset, **changes),
        evaluation=_evaluation(
            preset,
            evaluation_network_architecture,
            evaluation_network_norm,
            evaluation_epoch_eval_train,
        ),
    )


def _evaluate_defaults(
    preset: str = "paper",
    architecture: str = "convnet",
    norm: Any = "instance",
    epoch_eval_train: str | None = None,
) -> Evaluate:
    evaluation = _evaluation(preset, architecture, norm, epoch_eval_train)
    return Evaluate(set=tyro.MISSING, evaluation=evaluation)


def _evaluation(preset: str, architecture: str, norm: Any, epochs: str | None) -> Evaluation:
    """The preset for this network; without steps if the command line gives epochs."""
    network = preset_of(Evaluation, preset).network
    changes: dict[str, Any] = {} if epochs is None else {"steps": None}
    changes["network"] = replace(network, architecture=architecture, norm=norm)
    return preset_of(Evaluation, preset, **changes)


def _tested(
    folder: RunFolder, settings: Run | Evaluate, condensed: CondensedSet, data: ImageData
) -> Tested:
    """The accuracy of the set and of its baselines; the seconds of the test of the set."""
    from condense.baselines import Protocol, accuracies, asked, selected
    from condense.evaluation import evaluate
    from condense.run_report import Tested

    common, evaluation = settings.common, settings.evaluation

    def tests(baseline: str | None = None) -> FileCheckpointer:
        name = f"evaluation-{baseline}" if baseline else "evaluation"
        bar = Progress(f"testing {baseline or 'the set'}", quiet=common.quiet)
        return folder.checkpointer(name, history=False, show=bar)

    baselines = selected(condensed, data, settings.compare, common.preset)
    enough = bool(baselines) or not asked(condensed, settings.compare)
    with tests() as checkpointer:
        accuracy = evaluate(
            condensed, data, evaluation, seed=common.seed, checkpointer=checkpointer
        )
        seconds = checkpointer.seconds
    cache = common.open_cache()
    protocol = Protocol(evaluation, common.seed, cache, tests)
    return Tested(accuracy, accuracies(baselines, data, protocol), seconds, enough)


COMMANDS = {
    "run": run,
    "evaluate": evaluate_set,
    "show": show,
    "export": export_set,
    "methods": methods,
    "zoo": zoo,
}


def entry_point() -> NoReturn:
    """Run the command of this process."""
    main(lambda argv: dispatch(PROG, COMMANDS, argv), torchrun=True)


if __name__ == "__main__":
    entry_point()
