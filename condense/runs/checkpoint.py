"""Checkpoints: named tensors and a JSON state in one file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from condense.errors import UserError, one_line
from condense.runs.io import (
    DIGEST,
    DamagedError,
    plain,
    read_tensors,
    write_tensors,
)

if TYPE_CHECKING:
    from torch import Tensor

ValueT = TypeVar("ValueT")

_UNFIT = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors when restoring a checkpoint of another computation."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a computation: named tensors, and a JSON-serialisable `state`.

    A damaged file is detected by its digest. A valid checkpoint may still be of another computation
    or another version of the code. Read it with `value` and `tensor`, or within `restoring`: they
    turn such errors into a one-line `UserError`.
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    """Time spent so far, over all sessions; set by `FileCheckpointer`."""
    path: Path | None = None
    """The file it was read from."""

    def snapshot(self, seconds: float) -> Checkpoint:
        """A copy that later steps do not change: tensors cloned on their device, state copied."""
        tensors = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        return Checkpoint(tensors, plain(self.state), seconds)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file atomically."""
        tensors = {name: tensor.detach().cpu() for name, tensor in self.tensors.items()}
        metadata = {"state": json.dumps(plain(self.state)), "seconds": repr(self.seconds)}
        write_tensors(path, tensors, metadata)

    @staticmethod
    def read(path: str | os.PathLike[str]) -> Checkpoint:
        """Read a file written by `write`; the tensors are on the CPU.

        Raises:
            UserError: the file is missing or damaged, or not a checkpoint.
        """
        try:
            tensors, metadata = read_tensors(path)
        except DamagedError as error:
            raise UserError(f"{error}: delete it to start again") from error
        read = Checkpoint(tensors, path=Path(path))
        if DIGEST not in metadata:
            raise UserError(f"{path} is damaged or not a checkpoint: delete it to start again")
        with read.restoring():
            state, seconds = json.loads(metadata["state"]), float(metadata["seconds"])
            if not isinstance(state, dict) or not math.isfinite(seconds):
                raise ValueError("no state")
        return replace(read, state=state, seconds=seconds)

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Turn errors of the block into a `UserError`: the checkpoint does not fit.

        The block reads from the checkpoint, and raises `ValueError` if a value is invalid.
        """
        try:
            yield
        except _UNFIT as error:
            raise UserError(
                f"{self.path or 'the checkpoint'} belongs to another computation, or to another "
                "version of this program: delete it to start again "
                f"({type(error).__name__}: {one_line(error)})"
            ) from error

    def value(
        self,
        name: str,
        kind: type[ValueT],
        fits: Callable[[ValueT], bool] = lambda value: True,
    ) -> ValueT:
        """The value with this name in `state`.

        Args:
            name: the key.
            kind: its type: int, list[float], a dataclass, …
            fits: whether the value is valid.

        Raises:
            UserError: it is missing, has another type, or is invalid.
        """
        import cattrs

        converter = cattrs.Converter()
        with self.restoring():
            kept = self.state[name]
            try:
                value = converter.structure(kept, kind)
            except Exception as error:  # cattrs raises many types, in groups
                raise TypeError(f"{name} is another") from error
            # `int` also converts values that are not numbers, so the round trip is checked too.
            if plain(converter.unstructure(value)) != kept or not fits(value):
                raise ValueError(f"{name} cannot be {kept!r}")
        return value

    def count(self, name: str, most: int) -> int:
        """The number of completed steps, an integer in `state`.

        Raises:
            UserError: it is missing, not an integer, or not from 0 to `most`.
        """
        return self.value(name, int, lambda done: 0 <= done <= most)

    def tensor(self, name: str, like: Tensor) -> Tensor:
        """The tensor with this name, on the device of `like`.

        Raises:
            UserError: it is missing, or its shape or dtype differs from `like`.
        """
        with self.restoring():
            return alike(name, self.tensors[name], like).to(like.device)


def alike(name: str, tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor itself; ValueError if its shape or dtype differs from `like`."""
    if tensor.shape != like.shape or tensor.dtype != like.dtype:
        raise ValueError(
            f"{name} is {tensor.dtype} {list(tensor.shape)}, not {like.dtype} {list(like.shape)}"
        )
    return tensor
