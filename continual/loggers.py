"""Avalanche's loggers of a run, which go on where an interrupted run was."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
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
        with TemporaryDirectory() as spare:  # the constructor empties the files of its folder
            logger = CSVLogger(spare)
            logger.close()
            headers = [(Path(spare) / name).read_text(encoding="utf-8") for name in CSV]
        logger.log_folder = str(folder)
        logger.training_file, logger.eval_file = (
            self._open(folder, name, sizes, header)
            for name, header in zip(CSV, headers, strict=True)
        )
        return logger

    def _text(self, folder: Path, sizes: Mapping[str, int]) -> TextLogger:
        return TextLogger(self._open(folder, TEXT, sizes))

    def _open(self, folder: Path, name: str, sizes: Mapping[str, int], header: str = "") -> TextIO:
        """Open a file to append to what it had at the checkpoint, which stays on disk meanwhile.

        Args:
            folder: where the file is.
            name: of the file.
            sizes: as for the class.
            header: the first lines of a new file.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.touch()
        kept = min(sizes.get(name, 0), path.stat().st_size)
        os.truncate(path, kept)
        self._files[name] = file = path.open("a", encoding="utf-8")
        if not kept:
            file.write(header)
        return file
