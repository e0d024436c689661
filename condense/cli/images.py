"""The images of a command, and the set to start from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from condense.cli.common import Common
from condense.cli.device import choose_device
from condense.config.methods import LearnedImages, MethodSettings
from condense.runs.io import file_sha256, is_file
from condense.runs.paths import user_path
from condense.runs.progress import Progress

if TYPE_CHECKING:
    from condense.data.image_data import ImageData


def load_images(dataset: str, common: Common) -> ImageData:
    """The images of `--dataset`, with the size and on the device of the command.

    Args:
        dataset: a name or a path, as for `load`; auto: cifar10 if it is available, else mnist5k.
        common: the common settings.

    Raises:
        UserError: as `load`, or there is no such device.
    """
    from condense.data.loading import load, load_or_embedded

    device = choose_device(common.device)
    if dataset == "auto":
        return load_or_embedded(["cifar10"], ["mnist5k"], **common.reading)[0].to(device)
    cache = common.open_cache()
    with reading_bar(common) as bar:
        data = load(dataset, **common.reading, cache=cache, progress=bar)
    return data.to(device)


def found_again(dataset: str, data: ImageData) -> str:
    """`--dataset` for a resumed run, in any folder: a name, or an absolute path.

    Args:
        dataset: as for `load_images`.
        data: what it returned.
    """
    from condense.data.loading import from_anywhere

    return from_anywhere(data.name if dataset == "auto" else dataset)


def reading_bar(common: Common) -> Progress:
    """The progress bar of the images of a folder; in a log file it would say little."""
    return Progress("reading images", quiet=common.quiet or not sys.stderr.isatty())


def hash_of_init(settings: MethodSettings) -> dict[str, str]:
    """SHA-256 (hex) of the set of `--init`, by name for a run folder, so that the run does not go
    on from another set; empty without one. Condensing says what is wrong with another path.

    Raises:
        UserError: as `user_path`.
    """
    if not (isinstance(settings, LearnedImages) and settings.reads_files):
        return {}
    path = user_path(settings.init, "--init")
    return {"init": file_sha256(path)} if is_file(path) else {}
