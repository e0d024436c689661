"""How long computations report what they do and keep what they have.

A computation is given a `Journal` and calls it at every step::

    checkpoint = journal.restore()            # where it stopped, or None
    for step in range(start, total):
        ...
        journal.report(step + 1, total, loss=loss)
        journal.save(Checkpoint({"images": images}, {"step": step + 1}))

`Journal` itself does nothing; `Progress` shows a bar; `FileJournal` keeps a checkpoint file and a
history. Report a step before saving it, so that no row is missing after a resume.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from condense.errors import UserError, one_line
from condense.files import is_file, plain, read_tensors, write_tensors
from condense.history import History

if TYPE_CHECKING:
    from torch import Tensor
    from tqdm import tqdm

ValueT = TypeVar("ValueT")

_UNFIT = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What it raises to go on from the checkpoint of something else."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything a computation needs to go on: named tensors, and a state that JSON can hold.

    The file holds a digest of all that, so that whatever is read is what was written. It may still
    be of another computation, or of another version of the code: who goes on from a checkpoint
    takes what it needs by `value` and `tensor`, or within `restoring`, which say so in one line.
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    """Time spent until here, over all sessions; `FileJournal` fills it in."""
    path: Path | None = None
    """The file that it was read from."""

    def snapshot(self, seconds: float) -> Checkpoint:
        """A copy that later steps cannot change: tensors cloned (on their device), state frozen."""
        tensors = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        return Checkpoint(tensors, plain(self.state), seconds)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes one safetensors file, atomically."""
        tensors = {name: tensor.detach().cpu() for name, tensor in self.tensors.items()}
        metadata = {"state": json.dumps(plain(self.state)), "seconds": repr(self.seconds)}
        write_tensors(path, tensors, {**metadata, "digest": _digest(tensors, metadata)})

    @staticmethod
    def read(path: str | os.PathLike[str]) -> Checkpoint:
        """Reads what `write` wrote; the tensors are on the CPU.

        Raises:
            UserError: the file is missing, truncated or malformed, or not as it was written.
        """
        tensors, metadata = read_tensors(path)
        read = Checkpoint(tensors, path=Path(path))
        about = {name: text for name, text in metadata.items() if name != "digest"}
        with read.restoring():
            sound = metadata.get("digest") == _digest(tensors, about)
        if not sound:
            raise UserError(f"{path} is damaged or no checkpoint: delete it to begin anew")
        with read.restoring():
            state, seconds = json.loads(metadata["state"]), float(metadata["seconds"])
            if not isinstance(state, dict) or not math.isfinite(seconds):
                raise ValueError("no state")
        return replace(read, state=state, seconds=seconds)

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Turns what a checkpoint of something else raises in the block into a `UserError`.

        The block takes from the checkpoint what it needs, and raises `ValueError` where that is
        not what it should be.
        """
        try:
            yield
        except _UNFIT as error:
            raise UserError(
                f"{self.path or 'the checkpoint'} is of something else, or of another version of "
                f"this program: delete it to begin anew ({type(error).__name__}: {one_line(error)})"
            ) from error

    def value(
        self,
        name: str,
        kind: type[ValueT],
        fits: Callable[[ValueT], bool] = lambda value: True,
    ) -> ValueT:
        """What the state holds under this name.

        Args:
            name: the key.
            kind: its type: int, list[float], a dataclass, …
            fits: says whether it can be gone on with.

        Raises:
            UserError: there is none of this type, or it does not fit.
        """
        import cattrs

        converter = cattrs.Converter()
        with self.restoring():
            kept = self.state[name]
            try:
                value = converter.structure(kept, kind)
            except Exception as error:  # cattrs has many kinds, in groups
                raise TypeError(f"{name} is another") from error
            # What is no number may be made one by `int`, so that the way back must lead here too.
            if plain(converter.unstructure(value)) != kept or not fits(value):
                raise ValueError(f"{name} cannot be {kept!r}")
        return value

    def count(self, name: str, most: int) -> int:
        """How many steps are done, of `most`: an integer of the state.

        Raises:
            UserError: it is none, or not from 0 to `most`.
        """
        return self.value(name, int, lambda done: 0 <= done <= most)

    def tensor(self, name: str, like: Tensor) -> Tensor:
        """The tensor of this name, on the device of `like`.

        Raises:
            UserError: there is none of the shape and type of `like`.
        """
        with self.restoring():
            return alike(name, self.tensors[name], like).to(like.device)


def alike(name: str, tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor itself; ValueError where its shape or type is not that of `like`."""
    if tensor.shape != like.shape or tensor.dtype != like.dtype:
        raise ValueError(
            f"{name} is {tensor.dtype} {list(tensor.shape)}, not {like.dtype} {list(like.shape)}"
        )
    return tensor


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """SHA-256 (hex) of tensors on the CPU, with their names, shapes and types, and of texts."""
    import torch

    shapes = {name: [str(t.dtype), list(t.shape)] for name, t in sorted(tensors.items())}
    digest = hashlib.sha256(json.dumps([shapes, about], sort_keys=True).encode())
    for name in shapes:
        flat = tensors[name].contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


JournalT = TypeVar("JournalT", bound="Journal")


class Journal:
    """Does nothing: what a computation is given when nobody watches and nothing is kept."""

    def restore(self) -> Checkpoint | None:
        """The checkpoint to go on from; None at a fresh start."""
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        """Offers a checkpoint; cheap, so call it at every step. Written every few seconds."""

    def spent_before(self, seconds: float) -> None:
        """Says what another run had spent on what this one goes on with."""

    def report(self, done: int, total: int, **figures: float) -> None:
        """Says that `done` of `total` steps are done, and the running figures."""

    def flush(self) -> None:
        """Writes the last checkpoint offered, if it has not been."""

    def close(self) -> None:
        """Flushes and takes the progress bar away."""

    def __enter__(self: JournalT) -> JournalT:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Progress(Journal):
    """A progress bar on stderr with rate, time left and running figures; keeps nothing.

    When `done` falls, as at the start of the next of several computations, the bar starts anew.
    """

    def __init__(self, description: str = "", *, quiet: bool = False) -> None:
        self.description = description
        self._quiet = quiet
        self._bar: tqdm[NoReturn] | None = None

    def report(self, done: int, total: int, **figures: float) -> None:
        """Moves the bar."""
        if self._quiet:
            return
        bar = self._bar or self._start(done, total)
        if done < bar.n or total != bar.total:
            bar.reset(total)
        if figures:
            bar.set_postfix(figures, refresh=False)
        bar.update(done - bar.n)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _start(self, done: int, total: int) -> tqdm[NoReturn]:
        from tqdm import tqdm

        # In a log every redraw is a line, so there they are rare.
        pause = 0.2 if sys.stderr.isatty() else 30.0
        bar: tqdm[NoReturn] = tqdm(
            desc=self.description or None,
            total=total,
            initial=done,  # what an earlier process did does not count for the rate
            mininterval=pause,
            maxinterval=max(10.0, pause),
            dynamic_ncols=True,
            leave=None,  # an outermost bar stays on the screen, a nested one goes
        )
        self._bar = bar
        return bar


class FileJournal(Journal):
    """Keeps a checkpoint file, a history where one is wanted, and passes reports on.

    Args:
        path: the checkpoint's file.
        history: the CSV file that takes a row per report; None for none.
        show: what else is told of reports, usually a `Progress`.
        every_seconds: how often a checkpoint that is offered is written at most. One that is not
            written is kept as a copy in memory until the next one comes, or `flush`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        history: str | os.PathLike[str] | None = None,
        show: Journal | None = None,
        every_seconds: float = 20.0,
    ) -> None:
        self.path = Path(path)
        self._history = History(history) if history is not None else None
        self._show = show or Journal()
        self._every = every_seconds
        self._pending: Checkpoint | None = None
        self._started = self._written = time.monotonic()
        self._earlier = 0.0

    @property
    def seconds(self) -> float:
        """Time spent over all sessions, without what an interruption threw away."""
        return self._earlier + time.monotonic() - self._started

    def restore(self) -> Checkpoint | None:
        """The checkpoint in the file, tensors on the CPU; None where there is no file."""
        if not is_file(self.path):
            return None
        checkpoint = Checkpoint.read(self.path)
        self._earlier = checkpoint.seconds
        return checkpoint

    def save(self, checkpoint: Checkpoint) -> None:
        """Keeps a copy, and writes it when the last writing is long enough ago."""
        self._pending = checkpoint.snapshot(self.seconds)
        if time.monotonic() - self._written >= self._every:
            self.flush()

    def spent_before(self, seconds: float) -> None:
        """Counts them in `seconds`."""
        self._earlier += seconds

    def report(self, done: int, total: int, **figures: float) -> None:
        """Adds a row to the history, with `done` as its step, and passes the report on."""
        if self._history is not None:
            self._history.append(done, figures)
        self._show.report(done, total, **figures)

    def flush(self) -> None:
        """Writes the last checkpoint offered, after all rows of the history."""
        if self._pending is None:
            return
        if self._history is not None:
            self._history.sync()  # a checkpoint never knows of rows that the disk does not
        self._pending.write(self.path)
        self._pending = None
        self._written = time.monotonic()

    def close(self) -> None:
        """Flushes, and closes the history and what shows reports."""
        try:
            self.flush()
        finally:
            self._show.close()
            if self._history is not None:
                self._history.close()
