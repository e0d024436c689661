"""Settings of every command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from condense.errors import UserError
from condense.validation import check_values

if TYPE_CHECKING:
    from condense.runs.cache import Cache

LARGEST_SEED = 10**18 - 1
"""Any JSON reader keeps such an integer exactly, and incrementing it does not overflow."""


@dataclass(frozen=True)
class Common:
    """Settings of every command."""

    preset: Literal["auto", "paper", "cpu", "smoke"] = "auto"
    """Default values of the other settings; flags override them. paper: the published experiments.
    cpu: useful on two cores. smoke: runs in seconds, for tests. auto: paper on a GPU, else cpu.
    This help shows the values of cpu, or of the preset that is given with --help."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, … or mps."""
    seed: int = 0
    """The same seed gives the same result with the same version of PyTorch."""
    data_root: Path | None = None
    """Folder of the datasets. Default: $CONDENSE_DATA, else the user's cache folder."""
    size: int | None = None
    """Side of the images in pixels. Default: as they are, so your own images must have one
    size; in continual.run that of the stream, in nas.search see --image-size."""
    fit: Literal["crop", "resize"] = "crop"
    """How images get this --size. crop: the square in the middle. resize: the whole image, whose
    sides change their ratio."""
    hflip: bool = True
    """Whether mirrored images are used too. The data sets of digits never do; use --no-hflip for
    your own digits, letters and signs."""
    out: Path | None = None
    """Folder of this run. Default: a new folder in runs/, named with the time."""
    resume: Path | None = None
    """Folder of an interrupted run to resume; the settings are read from it."""
    quiet: bool = False
    """No progress bar."""
    deterministic: bool = False
    """On a GPU: bit-identical results in every run, a little slower. A CPU always gives them."""
    cache: bool = True
    """Look up condensed sets, and the decoded images of a large folder, in the cache folder before
    they are computed, and store them there."""
    tensorboard: bool = False
    """Write metrics and pictures for TensorBoard: tensorboard --logdir RUN/tensorboard."""

    def __post_init__(self) -> None:
        check_values(self)
        if not abs(self.seed) <= LARGEST_SEED:
            raise UserError("seed must be a number of at most 18 digits")

    def open_cache(self) -> Cache | None:
        """The cache folder; None with --no-cache."""
        from condense.runs.cache import Cache

        return Cache() if self.cache else None

    @property
    def reading(self) -> dict[str, Any]:
        """How images are read: arguments of `condense.load`."""
        return {"root": self.data_root, "size": self.size, "fit": self.fit, "hflip": self.hflip}


class Settings(Protocol):
    """A frozen dataclass with the common settings."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def common(self) -> Common:
        """Settings of every command."""
