"""Image sets in .npz archives, mutated."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from typing import Any

import numpy as np

from . import blind, odd

Arrays = dict[str, Any]


def draw(draws: random.Random) -> tuple[bytes, str]:
    """The bytes of an archive, and what is the matter with it."""
    arrays = _sound()
    change = draws.choice((_types, _shapes, _labels, _numbers, _names, _keys, _spliced, _blind))
    return change(arrays, draws)


def _sound() -> Arrays:
    pixels = np.random.default_rng(0)
    arrays: Arrays = {}
    for split, each in (("train", 4), ("test", 2)):
        arrays[f"x_{split}"] = pixels.integers(0, 256, (3 * each, 8, 8), dtype=np.uint8)
        arrays[f"y_{split}"] = np.arange(3).repeat(each)
    return {**arrays, "mean": np.array([0.5]), "std": np.array([0.25])}


def _packed(arrays: Arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _types(arrays: Arrays, draws: random.Random) -> tuple[bytes, str]:
    key = draws.choice(list(arrays))
    kind = draws.choice(
        ("f4", "f8", "i1", "u8", "?", "c8", "U5", "S5", "O", "M8[s]", ">i4", "i4,f4")
    )
    with np.errstate(all="ignore"):
        try:
            arrays[key] = arrays[key].astype(kind)
        except (TypeError, ValueError):
            arrays[key] = np.zeros(arrays[key].shape, kind)
    return _packed(arrays), f"{key} of type {kind}"


def _shapes(arrays: Arrays, draws: random.Random) -> tuple[bytes, str]:
    key = draws.choice(list(arrays))
    shape = draws.choice(
        ((), (0,), (1,), (3,), (0, 8, 8), (12, 8), (12, 7, 7), (12, 8, 8, 2), (12, 8, 8, 3),
         (6, 8, 8, 1, 1), (12, 1), (12, 1, 200_000), (30_000_000,), (1,) * 32, (12, 8, 9))
    )  # fmt: skip
    arrays[key] = np.zeros(shape, arrays[key].dtype)
    return _packed(arrays), f"{key} of shape {shape}"


def _labels(arrays: Arrays, draws: random.Random) -> tuple[bytes, str]:
    key = draws.choice(("y_train", "y_test"))
    kind = draws.choice((np.int64, np.uint64, np.int32, np.uint8))
    most = np.iinfo(kind)
    label = draws.choice((-1, 5, 10**9, int(most.max), int(most.min), 2**31, 2**63 - 1))
    labels = arrays[key].astype(kind)
    labels[draws.randrange(len(labels))] = min(max(label, int(most.min)), int(most.max))
    arrays[key] = labels
    return _packed(arrays), f"{key} with {label} of {kind.__name__}"


def _numbers(arrays: Arrays, draws: random.Random) -> tuple[bytes, str]:
    key, number = draws.choice(("mean", "std")), draws.choice(odd.NUMBERS)
    arrays[key] = np.array([min(float(number), 1e308) if number != 10**400 else np.inf])
    return _packed(arrays), f"{key} {arrays[key]}"


def _names(arrays: Arrays, draws: random.Random) -> tuple[bytes, str]:
    words = draws.sample(odd.WORDS, draws.choice((1, 2, 3, 3, 3)))
    arrays["class_names"] = draws.choice(
        (np.array(words), np.array([words]), np.array(["a", "a", "b"]), np.array(words, dtype="S9")
         if all(word.isascii() for word in words) else np.array(words)),
    )  # fmt: skip
    return _packed(arrays), f"class_names {str(words)[:80]}"


def _keys(arrays: Arrays, draws: random.Random) -> tuple[bytes, str]:
    key = draws.choice(list(arrays))
    new = draws.choice(("x", "X_train", "../x_train", "x_train.npy", "y" * 300, "a\nb", "ä", None))
    moved = arrays.pop(key)
    if new is not None:
        arrays[new] = moved
    return _packed(arrays), f"{key} called {new}"


def _spliced(arrays: Arrays, draws: random.Random) -> tuple[bytes, str]:
    """Headers within that say something else than what follows."""
    key = draws.choice(list(arrays))
    old, new = draws.choice(
        (
            (b"(12, 8, 8)", b"(10**9, 8, 8)"), (b"(12, 8, 8)", b"(3000000000,)"),
            (b"(12, 8, 8)", b"(1000000000, 1000)"), (b"(12, 8, 8)", b"(-1, 8, 8)"),
            (b"(12,)", b"(3000000000,)"), (b"(1,)", b"(3000000000,)"), (b"(1,)", b"(1e9,)"),
            (b"'<i8'", b"'<i9'"), (b"'|u1'", b"'|O'"), (b"'<f8'", b"'<U99999999'"),
            (b"False", b"None"), (b"'shape'", b"'shade'"), (b"{'descr'", b"[" * 20_000),
            (b"\x93NUMPY\x01", b"\x93NUMPY\x09"), (b"\x93NUMPY", b"\x94NUMPY"),
        )
    )  # fmt: skip
    compression = draws.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array))
            content = member.getvalue()
            if name == key and old in content:
                content = _with_length(content.replace(old, new, 1))
                if b"3000000000" in new and draws.random() < 0.3:
                    content += bytes(200 << 20)  # as much of it as a test may take
            archive.writestr(f"{name}.npy", content)
    return file.getvalue(), f"{key}: {old!r} for {new[:40]!r}"


def _with_length(content: bytes) -> bytes:
    """A .npy whose header's length is right again."""
    header, newline, rest = content[10:].partition(b"\n")
    length = len(header + newline)
    if length >= 2**16:
        return content
    return content[:8] + struct.pack("<H", length) + header + newline + rest


def _blind(arrays: Arrays, draws: random.Random) -> tuple[bytes, str]:
    return blind.mutated(_packed(arrays), draws)
