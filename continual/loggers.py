"""Avalanche's loggers of a run, which go on where an interrupted run was."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TextIO

from avalanche.logging import BaseLogger, CSVLogger, TensorboardLogger, TextLogger
from torch.utils.tensorboard import SummaryWriter

from condense.runs.closing import Closing
from condense.runs.io import writing
from condense.runs.tensorboard import TENSORBOARD

TEXT = "log.txt"
CSV = ("training_results.csv", "eval_results.csv")
"""The names that Avalanche gives to its files."""


class Loggers(Closing):
    """The loggers of one seed: files in RUN/avalanche-seed-N, events in RUN/tensorboard.

    Args:
        kinds: tensorboard, csv or text.
        run: the run folder.
        seed: of the strategy.
        sizes: what `sizes` returned at the checkpoint from which the run resumes; what was
            written after it is dropped, and written again. Empty: a new start.
        iteration: the number of training iterations before.

    Raises:
        UserError: a file cannot be written.
    """

    def __init__(
        self,
        kinds: Collection[str],
        run: Path,
        seed: int,
        sizes: Mapping[str, int],
        iteration: int = 0,
    ) -> None:
        name = f"avalanche-seed-{seed}"
        self.loggers: list[BaseLogger] = []
        self._files: dict[str, TextIO] = {}
        self._writer: SummaryWriter | None = None
        with writing(run):
            if "tensorboard" in kinds:
                self.loggers.append(self._tensorboard(run / TENSORBOARD / name, iteration))
            if "csv" in kinds:
                self.loggers.append(self._csv(run / name, sizes))
            if "text" in kinds:
                self.loggers.append(self._text(run / name, sizes))

    def sizes(self) -> dict[str, int]:
        """The bytes of each file, for a checkpoint; what is written so far is on disk then."""
        if self._writer is not None:
            self._writer.flush()
        for file in self._files.values():
            file.flush()
        return {name: file.tell() for name, file in self._files.items()}

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        if self._writer is not None:
            self._writer.close()

    def _tensorboard(self, folder: Path, iteration: int) -> TensorboardLogger:
        logger = TensorboardLogger(folder)
        logger.writer.close()
        # TensorBoard hides what an interrupted run wrote after this iteration.
        logger.writer = self._writer = SummaryWriter(str(folder), purge_step=iteration + 1)
        return logger

    def _csv(self, folder: Path, sizes: Mapping[str, int]) -> CSVLogger:
        before = {name: _read(folder / name, sizes.get(name, 0)) for name in CSV}
        logger = CSVLogger(folder)  # empties the files
        self._files.update(zip(CSV, (logger.training_file, logger.eval_file), strict=True))
        for name, content in before.items():
            if content:
                self._files[name].seek(0)
                self._files[name].write(content)
        return logger

    def _text(self, folder: Path, sizes: Mapping[str, int]) -> TextLogger:
        before = _read(folder / TEXT, sizes.get(TEXT, 0))
        folder.mkdir(parents=True, exist_ok=True)
        self._files[TEXT] = file = (folder / TEXT).open("w", encoding="utf-8")
        file.write(before)
        return TextLogger(file)


def _read(path: Path, size: int) -> str:
    """The first bytes of a file; empty if there is no such file."""
    return path.read_bytes()[:size].decode("utf-8", "replace") if path.is_file() else ""
