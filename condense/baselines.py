"""Random and herded images in the bytes of a set: what its accuracy is compared with."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.config.evaluation import Compare, Evaluation
from condense.config.methods import Coreset, MethodSettings
from condense.config.presets import preset
from condense.config.serialization import rebuild
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.evaluation import Accuracy, evaluate
from condense.methods.selection import without_short_classes
from condense.runs.cache import Cache
from condense.runs.checkpointer import Checkpointer, Listeners
from condense.storage.capacity import images_per_class

BASELINES: dict[Compare, tuple[str, ...]] = {
    "none": (),
    "random": ("random",),
    "herding": ("herding",),
    "both": ("random", "herding"),
}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a set and its baselines are tested.

    Attributes:
        evaluation: the settings of the evaluation.
        seed: of the selection and the evaluation.
        cache: where selected sets are kept; None: nowhere.
        checkpointer: opens a checkpointer for the test of the baseline with this name.
    """

    evaluation: Evaluation
    seed: int
    cache: Cache | None
    checkpointer: Callable[[str], AbstractContextManager[Checkpointer]]


def selected(
    condensed: CondensedSet, data: ImageData, compare: Compare, preset_name: str
) -> dict[str, Coreset]:
    """The baselines of a set by method, with their settings.

    There are none if a class that is condensed has fewer images than fit into the bytes of the set.

    Raises:
        UserError: the settings recorded in the set are invalid.
    """
    names = asked(condensed, compare)
    if not names:
        return {}
    settings = coreset_settings(condensed, preset_name)
    data = without_short_classes(data, settings)
    enough = images_per_class(data, settings) <= int(data.train_counts.min())
    return dict.fromkeys(names, settings) if enough else {}


def asked(condensed: CondensedSet, compare: Compare) -> list[str]:
    """The names of the baselines that are asked for, without the method of the set itself."""
    return [name for name in BASELINES[compare] if name != condensed.provenance.get("method")]


def accuracies(
    baselines: Mapping[str, Coreset], data: ImageData, protocol: Protocol
) -> dict[str, Accuracy]:
    """The accuracy of each baseline, tested as the set."""
    found = {}
    for name, settings in baselines.items():
        with protocol.checkpointer(name) as checkpointer:
            baseline = condense(
                data,
                name,
                settings,
                seed=protocol.seed,
                cache=protocol.cache,
                checkpointer=Listeners(checkpointer),  # the checkpoints are those of the test
            )
            found[name] = evaluate(
                baseline,
                data,
                protocol.evaluation,
                seed=protocol.seed,
                checkpointer=checkpointer,
            )
    return found


def coreset_settings(condensed: CondensedSet, preset_name: str) -> Coreset:
    """The settings of a coreset in the bytes of the set, stored in the same way.

    Without recorded settings, as in a set from elsewhere, its bytes are those of the file.

    Raises:
        UserError: the recorded settings are invalid.
    """
    like = preset(Coreset, preset_name, storage="float32")
    made = condensed.provenance.get("settings")
    names = {field.name for field in dataclasses.fields(MethodSettings)}
    kept: dict[str, Any] = {"ipc": condensed.images_per_class}
    if isinstance(made, dict):
        kept = {name: value for name, value in made.items() if name in names}
    elif condensed.stored is not None:
        about = condensed.stored.metadata
        whole = condensed.classes * math.prod(condensed.shape)
        kept = {"ipc": max(1, round(condensed.bytes / whole)), "storage": about["storage"]}
        kept["factor"] = int(about.get("factor", "1"))
    try:
        return rebuild(like, kept, Path("the provenance of the set"))
    except UserError as error:
        raise UserError(f"{error}: use --compare none") from error
