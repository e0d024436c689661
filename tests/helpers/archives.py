"""Archives of a few small images, and the message of a file that cannot be read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from condense.data.folders import read
from condense.errors import UserError

Array = npt.NDArray[Any]


def content() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (12, 8, 9, 3)).astype(np.uint8),
        "y_train": np.arange(12) % 3,
        "x_test": rng.integers(0, 256, (4, 8, 9, 3)).astype(np.uint8),
        "y_test": np.array([2, 1, 0, 0]),
    }


def archive(**changes: Array | None) -> bytes:
    """An archive with these keys changed, or left out where they are None."""
    changed = {key: value for key, value in {**content(), **changes}.items() if value is not None}
    file = io.BytesIO()
    np.savez(file, **changed)  # type: ignore[arg-type]
    return file.getvalue()


def complaint(path: Path) -> str:
    """What reading `path` says; one line that begins with the path."""
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path)).removeprefix(": ")


def images(*shape: int, dtype: Any = np.uint8) -> Array:
    return np.zeros(shape, dtype=dtype)
