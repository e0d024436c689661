"""The end of `condense run` and `condense evaluate`: summary, printed result, report.html."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from condense.baselines import asked
from condense.cli.device import choose_device
from condense.condensed_set import CondensedSet
from condense.config.evaluation import Evaluation
from condense.config.network import Network
from condense.data.loading import images_of
from condense.errors import UserError
from condense.evaluation import Accuracy
from condense.foreign_sets import is_pt
from condense.models.build import build
from condense.runs.changes import Change
from condense.runs.html_report import Bar, Block, Code, Picture, Report, Section, write
from condense.runs.io import is_file
from condense.runs.plots import plot_history
from condense.runs.report import list_files, per_cent
from condense.runs.report_sections import (
    HERE,
    as_flag,
    as_flags,
    common_flags,
    provenance_section,
    settings_section,
    settings_table,
)
from condense.runs.run_dir import CONDENSED, HISTORY, RunFolder
from condense.strips import strips
from condense.zoo import name_of, zoo_names

CURVE = "history.png"
LOAD = """from condense import {name}

small = {call}
small.images, small.labels   # pixels from 0 to 1, [n, c, h, w]
for images, labels in small.loader(batch_size=64):
    ...                      # normalised with small.mean and small.std"""


@dataclass(frozen=True)
class Tested:
    """What was measured on a set.

    Attributes:
        accuracy: of the set; None if it was not tested.
        baselines: of random and herded images in its bytes, as far as they were tested.
        seconds: for making the set, or for testing it if it was made before.
        comparable: False if a class has too few images for the baselines.
    """

    accuracy: Accuracy | None
    baselines: Mapping[str, Accuracy] = field(default_factory=dict)
    seconds: float = 0.0
    comparable: bool = True


def finish(
    folder: RunFolder,
    condensed: CondensedSet,
    evaluation: Evaluation,
    tested: Tested,
    differing: Sequence[Change],
    **more: Any,
) -> None:
    """Write the report and the summary, and print the result and the paths of the files.

    Args:
        folder: of the run.
        condensed: the set, made by the run or given to it.
        evaluation: how it was tested.
        tested: the results.
        differing: the settings that differ from the preset.
        more: further entries of the summary.
    """
    write(folder.path, _report(folder, condensed, evaluation, tested, differing))
    folder.write_summary({**_summary(folder, condensed, tested), **more})
    for name in ("checkpoint", "evaluation", *(f"evaluation-{name}" for name in tested.baselines)):
        folder.remove_checkpoint(name)
    cached = bool(more.get("from_cache"))
    folder.say(result(condensed, tested, folder.config["data"], cached=cached))
    print(list_files(folder.path))


def result(
    condensed: CondensedSet, tested: Tested, data: Mapping[str, Any], *, cached: bool = False
) -> str:
    """The result as text.

    Args:
        condensed: the set.
        tested: the results.
        data: `ImageData.describe` of the images that it was tested on.
        cached: whether the set was made before.
    """
    accuracy = tested.accuracy or "not tested"
    time = "from the cache or the zoo" if cached else f"in {tested.seconds:.0f} s"
    lines = [f"{_title(condensed, data)}: {accuracy} {time}"]
    for name, baseline in tested.baselines.items():
        alike = "number" if _learnt_labels(condensed) else "bytes"
        lines.append(f"{_named(name)} in the same {alike}: {baseline}; {_gain(tested, baseline)}")
    return "\n".join(lines)


def per_class(condensed: CondensedSet) -> str:
    """The number of images of each class, as text; short classes may have fewer."""
    few, many = (int(count) for count in condensed.hard_labels.bincount().aminmax())
    return f"{many} per class" if few == many else f"{few} to {many} per class"


def _title(condensed: CondensedSet, data: Mapping[str, Any]) -> str:
    """The set in a few words, and `data` if it was made from other images."""
    about = condensed.provenance
    size = per_class(condensed)
    if about.get("ipc") not in (None, int(condensed.hard_labels.bincount().max())):
        what = "numbers" if condensed.stored is None else "bytes"
        size += f" in the {what} of {about.get('ipc')}"
    method = about.get("method") or ("merged" if "merged" in about else None)
    own = {"name": about.get("dataset"), "sha256": about.get("fingerprint", data["sha256"])}
    other = any(data[key] != value for key, value in own.items())
    tested = f"tested on {data['name']}" if other else None
    return ", ".join(str(part) for part in (about.get("dataset"), method, size, tested) if part)


def _named(baseline: str) -> str:
    return f"{'herded' if baseline == 'herding' else baseline} images"


def _gain(tested: Tested, baseline: Accuracy, name: str = "") -> str:
    """The improvement over a baseline, as text; with its name, if it is given."""
    assert tested.accuracy is not None
    points = round(100 * (tested.accuracy.mean - baseline.mean), 1)
    if not points:
        return f"the set is level{name and f' with {name}'}"
    if not _certain(tested.accuracy, baseline):
        from_it = name and f" from {name}"
        return f"a difference of {points:+.1f} points{from_it}, uncertain with so few networks"
    better = "better" if points > 0 else "worse"
    return f"the set is {abs(points):.1f} points {better}{name and f' than {name}'}"


def _certain(ours: Accuracy, baseline: Accuracy) -> bool:
    """Whether the spread of the networks supports a difference: Welch's test, at 5 %."""
    groups = ours, baseline
    if any(len(group.values) < 2 for group in groups):
        return False
    if all(group.std == 0 for group in groups):
        return True
    from scipy import stats

    given = [(group.mean, group.std, len(group.values)) for group in groups]
    return bool(stats.ttest_ind_from_stats(*given[0], *given[1], equal_var=False).pvalue < 0.05)


def _summary(folder: RunFolder, condensed: CondensedSet, tested: Tested) -> dict[str, Any]:
    about, common = condensed.provenance, folder.config["settings"]["common"]
    accuracy, baselines = tested.accuracy, tested.baselines
    return {
        **{key: about.get(key) for key in ("dataset", "method", "ipc", "network")},
        "settings": _settings_of(condensed),
        "images_per_class": condensed.images_per_class,
        "bytes": condensed.bytes,
        "tested_on": accuracy and folder.config["data"]["name"],
        **_figures(accuracy),
        "num_eval": len(accuracy.values) if accuracy else 0,
        "baselines": {name: _figures(baseline) for name, baseline in baselines.items()},
        "improvement": {
            name: accuracy.mean - baseline.mean for name, baseline in baselines.items() if accuracy
        },
        "seconds": round(tested.seconds, 1),
        "device": str(choose_device(common["device"])),
        "preset": common["preset"],
        "seed": common["seed"],
    }


def _figures(accuracy: Accuracy | None) -> dict[str, Any]:
    return {
        "accuracy_mean": accuracy and accuracy.mean,
        "accuracy_std": accuracy and accuracy.std,
        "accuracies": accuracy and accuracy.values,
    }


def _report(
    folder: RunFolder,
    condensed: CondensedSet,
    evaluation: Evaluation,
    tested: Tested,
    differing: Sequence[Change],
) -> Report:
    accuracy = tested.accuracy
    given = _given(folder)
    sections = [Section("The images", [strips(condensed)])]
    if plot_history(folder.path / CURVE, folder.path / HISTORY):
        caption = f"The values of {HISTORY} while the images were learnt."
        sections.append(Section("Curve", [Picture(folder.path / CURVE, caption)]))
    sections += [
        *([] if is_pt(Path(given)) else [Section("Use the set", _use(given))]),
        Section("What to run next", _next(folder, condensed, tested, differing)),
        _settings(folder, condensed, differing),
        provenance_section(folder.config),
    ]
    return Report(
        title=_title(condensed, folder.config["data"]),
        command=folder.config["command"],
        figure=accuracy.figure if accuracy else f"{len(condensed.images)} images",
        about=_protocol(evaluation, condensed, accuracy),
        bars=_bars(condensed, tested) if accuracy else (),
        note=_note(condensed, tested) if accuracy else "",
        sections=sections,
    )


def _settings(folder: RunFolder, condensed: CondensedSet, differing: Sequence[Change]) -> Section:
    """The settings, with those of the method that stands behind `auto` or `whole`."""
    section = settings_section(folder.config, differing)
    asked, method = folder.config["settings"].get("method"), condensed.provenance.get("method")
    if asked in (None, method):
        return section
    folded = f"Settings of {method}, which {asked} chose"
    chosen = settings_table({"settings": _settings_of(condensed)}, folded)
    return replace(section, blocks=[*section.blocks, chosen])


def _settings_of(condensed: CondensedSet) -> Any:
    """The settings with which the set was made, in the order in which a file has them, because a
    resumed run reads its set from one."""
    return json.loads(json.dumps(condensed.provenance.get("settings"), sort_keys=True))


def _protocol(evaluation: Evaluation, condensed: CondensedSet, accuracy: Accuracy | None) -> str:
    """How the accuracy was measured, in a sentence."""
    if accuracy is None:
        return "The set was not tested."
    trained = f"{'without' if evaluation.augment == 'none' else 'with'} augmentation"
    if condensed.distill_lrs is not None:
        trained = "with its own learning rates"
    networks = len(accuracy.values)
    several = f"{networks} new networks" if networks > 1 else "one new network"
    return (
        f"Accuracy on the real test images of {several} ({evaluation.network}), trained on these "
        f"images alone, {trained}."
    )


def _bars(condensed: CondensedSet, tested: Tested) -> list[Bar]:
    assert tested.accuracy is not None
    ours, chance = tested.accuracy, 1 / condensed.classes
    baselines = tested.baselines.items()
    return [
        Bar("this set", ours.mean, ours.figure, main=True),
        *(Bar(_named(name), found.mean, found.figure) for name, found in baselines),
        Bar("guessing", chance, per_cent(chance)),
    ]


def _note(condensed: CondensedSet, tested: Tested) -> str:
    """What the baselines are, and which is missing."""
    if not tested.comparable:
        return "No baseline was measured: a class has fewer images than fill the bytes of the set."
    missing = " and ".join(map(_named, _missing(condensed, tested)))
    if not tested.baselines:
        return f"No baseline was measured: --compare both adds {missing}."
    gains = "; ".join(
        _gain(tested, baseline, _named(name)) for name, baseline in tested.baselines.items()
    )
    more = f" --compare both adds {missing}." if missing else ""
    shared = "number of images" if _learnt_labels(condensed) else "bytes"
    shared += ", storage and training" if condensed.distill_lrs is None else ""
    return f"All have the same {shared}: {gains}.{more}"


def _learnt_labels(condensed: CondensedSet) -> bool:
    """Whether labels are floats, whose bytes the baselines do not have."""
    return condensed.labels.is_floating_point()


def _missing(condensed: CondensedSet, tested: Tested) -> list[str]:
    """The baselines that `--compare both` adds."""
    return [name for name in asked(condensed, "both") if name not in tested.baselines]


def _given(folder: RunFolder) -> str:
    """The set as the commands of the page name it: its file or, in the zoo, its name."""
    if is_file(folder.path / CONDENSED):
        return CONDENSED
    return name_of(Path(folder.config["settings"]["set"]))


def _use(given: str) -> list[Block]:
    if given in zoo_names():
        dataset, method, ipc = given.rsplit("-", 2)
        where, name = "From the package:", "load_condensed"
        call = f'load_condensed("{dataset}", "{method}", {ipc})'
    else:
        where = f"{HERE}:" if given == CONDENSED else "In Python:"
        name, call = "CondensedSet", f"CondensedSet.load({json.dumps(given, ensure_ascii=False)})"
    commands = "\n".join(
        f"python -m condense export {shlex.quote(given)} --to {kind}"
        for kind in ("folder", "npz", "parquet")
    )
    return [
        Code(where, LOAD.format(name=name, call=call)),
        Code(_where(given, "As files for other programs:"), commands),
    ]


def _where(given: str, about: str) -> str:
    """A line about commands; with the folder in which they work, if they name a file in it."""
    return f"{HERE}, {about[0].lower()}{about[1:]}" if given == CONDENSED else about


def _next(
    folder: RunFolder,
    condensed: CondensedSet,
    tested: Tested,
    differing: Sequence[Change],
) -> list[Block]:
    """Commands for the set, which test it as this run has."""
    given, kept = _given(folder), folder.config["settings"]
    common = kept["common"]
    source = None if given == CONDENSED else kept["dataset"]
    asked_for = (common["size"], common["fit"], common["hflip"])
    dataset, size, fit, hflip = images_of(condensed.provenance, source, *asked_for)
    evaluate = ["python -m condense evaluate", shlex.quote(given)]
    evaluate += [*_as_flag("dataset", source), *common_flags(common)]
    same, other = _as_tested(differing), _as_tested(differing, "evaluation.network.")
    commands = [[*evaluate, *same, "--num-eval 20"] if tested.accuracy else [*evaluate, *same]]
    if tested.comparable and _missing(condensed, tested):
        commands.append([*evaluate, *same, "--compare both"])
    commands.append([*evaluate, *other, f"--architecture {_another(condensed)}"])
    search = ["python -m nas.search --proxy", shlex.quote(given), *_as_flag("dataset", dataset)]
    search += common_flags({**common, "size": size, "fit": fit, "hflip": hflip})
    # The preset cpu makes larger images smaller; a proxy needs images of its own size.
    commands.append([*search, f"--image-size {max(condensed.shape[1:])}"])
    about = "More networks, the baselines, another architecture, a search on this set:"
    return [Code(_where(given, about), "\n".join(map(" ".join, commands)))]


def _another(condensed: CondensedSet) -> str:
    """Another architecture: ResNet-18, or an MLP if the images are too small for that."""
    try:
        build(Network("resnet18"), condensed.shape, condensed.classes, device="meta")
    except UserError:
        return "mlp"
    return "resnet18"


def _as_flag(name: str, value: Any) -> list[str]:
    return [] if value is None else [as_flag(name, value)]


def _as_tested(differing: Sequence[Change], without: str = " ") -> list[str]:
    """The settings of the evaluation as flags of `condense evaluate`: without their group.

    The number of networks is left out, and settings that begin with `without`.
    """
    apart = ("evaluation.num_eval", without)
    return as_flags(
        [
            change._replace(name=change.name.rpartition(".")[2])
            for change in differing
            if change.name.startswith("evaluation.") and not change.name.startswith(apart)
        ]
    )
