"""Scalars and pictures of a run for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from condense.runs.checkpointer import Checkpointer

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch.utils.tensorboard import SummaryWriter

TENSORBOARD = "tensorboard"
"""The folder of the event files in a run folder."""
PICTURES = 10
"""Pictures of the images while they are learnt, at equal distances."""


class TensorBoard(Checkpointer):
    """Writes every report as scalars, and `PICTURES` of the images that are learnt.

    A resumed run repeats the steps after its last checkpoint: TensorBoard then drops what the
    interrupted run wrote of them.

    Args:
        folder: of the event files, created on first use; no other may write there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def report(self, done: int, total: int, **metrics: float) -> None:
        """Write the metrics at step `done`."""
        writer = self._at(done)
        for name, value in metrics.items():
            writer.add_scalar(name, value, done)

    def draw(self, done: int, total: int, picture: Callable[[], Image]) -> None:
        """Write the picture if a tenth of the steps has passed."""
        if done * PICTURES // total > (done - 1) * PICTURES // total:
            import numpy as np

            pixels = np.asarray(picture().convert("RGB"))
            self._at(done).add_image("images", pixels, done, dataformats="HWC")

    def close(self) -> None:
        """Write what is not yet on disk, and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _at(self, step: int) -> SummaryWriter:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=step)
        return self._writer
