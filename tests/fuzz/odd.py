"""Odd values: what a user, a disk or a bad day might put in the place of a good one."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

DIGITS_31 = int("1234567890" * 3 + "1")
NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 0.5, -0.0, 1e300, -1e300, 1e-300, float("nan"), float("inf"), float("-inf")),
    *(2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, DIGITS_31, -DIGITS_31, 10**400, 1e30),
)
WORDS = (
    *(
        "",
        " ",
        "x",
        "none",
        "None",
        "null",
        "nan",
        "-",
        "--",
        "1,2",
        "a b",
        "a\nb",
        "ä±ς",
        "\u202e",
    ),
    *("x" * 300, "y" * 5000, "%s%n", "{}", "[", "../x", "a/b", "\udcff", "\x1b[31m", "💥"),
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"a": {"b": 1}}, [1, "x"])


def value(draws: random.Random) -> Any:
    """Of any type that JSON has."""
    return draws.choice(draws.choice((NUMBERS, WORDS, OTHERS)))


def text(number: Any) -> str:
    """A number as it is typed: also as digits where it is a large float."""
    if isinstance(number, float) and number in (1e30, 1e300):
        return f"{number:.0f}" if number == 1e30 else "1e300"
    return str(number)


PATHS = (
    *("x" * 300, "x" * 5000, "~nosuchuser/x", "~", "\udcff.npz", "\udcff", "", ".", "..x", "a\nb"),
    *("missing/x", "fifo", "fifo.npz", "folder", "file.txt", "file.npz", "loop", "empty.npz"),
    *("file.txt/x", "empty.safetensors", "file.safetensors", "folder.npz", "ä±ς", "a b", "-x"),
    *("dangling", "folder/", "./folder/../file.txt", "x/" * 400 + "x", "file.csv", "fifo.csv"),
    "fifo.safetensors",
)
"""None leads out of the case's folder: a command may write there, with all of its user's rights."""


def make_paths(folder: Path) -> None:
    """What `PATHS` name, where it is there at all."""
    for name in ("folder", "folder.npz"):
        (folder / name).mkdir()
    for name in ("file.txt", "file.npz", "file.safetensors", "file.csv"):
        (folder / name).write_text("a,b\n1,2\n")
    for name in ("empty.npz", "empty.safetensors"):
        (folder / name).touch()
    for name in ("fifo", "fifo.npz", "fifo.csv", "fifo.safetensors"):
        os.mkfifo(folder / name)
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")
