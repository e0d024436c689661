"""Mutations of bytes, whatever they mean."""

from __future__ import annotations

import random
from collections.abc import Callable

TOKENS = (
    *(
        b"NaN",
        b"null",
        b"-1",
        b"1e999",
        b"\x00" * 8,
        b"\xff" * 8,
        b"\n",
        b"\r\n",
        b'"',
        b"{}",
        b",",
    ),
    *(b"[" * 100_000, b"9" * 5000, b"a" * 5000, b"\xef\xbb\xbf", b"\x80", b"Infinity", b"true"),
)


def mutated(data: bytes, draws: random.Random) -> tuple[bytes, str]:
    """Bytes that differ in one to three ways, and which."""
    done = []
    for _ in range(draws.choice((1, 1, 1, 2, 3))):
        change = draws.choice(CHANGES)
        data = change(data, draws)
        done.append(change.__name__)
    return data, ", ".join(done)


def _place(data: bytes, draws: random.Random) -> int:
    return draws.randrange(len(data) + 1)


def _span(data: bytes, draws: random.Random) -> tuple[int, int]:
    begin = _place(data, draws)
    return begin, min(len(data), begin + draws.choice((1, 2, 8, 40, 400)))


def flip_bits(data: bytes, draws: random.Random) -> bytes:
    """One to eight of them."""
    changed = bytearray(data)
    for _ in range(draws.randint(1, 8) if data else 0):
        changed[draws.randrange(len(data))] ^= 1 << draws.randrange(8)
    return bytes(changed)


def change_letter(data: bytes, draws: random.Random) -> bytes:
    """One byte for a letter."""
    place = _place(data, draws)
    return data[:place] + bytes([draws.randrange(97, 123)]) + data[place + 1 :]


def truncate(data: bytes, draws: random.Random) -> bytes:
    """Anywhere, or near the end."""
    return data[: draws.choice((0, _place(data, draws), max(0, len(data) - draws.randint(1, 9))))]


def insert(data: bytes, draws: random.Random) -> bytes:
    """Some token anywhere."""
    place = _place(data, draws)
    return data[:place] + draws.choice(TOKENS) + data[place:]


def append(data: bytes, draws: random.Random) -> bytes:
    """A token, and perhaps the end of its line."""
    return data + draws.choice(TOKENS) + draws.choice((b"", b"\n"))


def remove(data: bytes, draws: random.Random) -> bytes:
    """Some bytes."""
    begin, end = _span(data, draws)
    return data[:begin] + data[end:]


def repeat(data: bytes, draws: random.Random) -> bytes:
    """Some bytes twice."""
    begin, end = _span(data, draws)
    return data[:end] + data[begin:]


def blank(data: bytes, draws: random.Random) -> bytes:
    """Some bytes zero."""
    begin, end = _span(data, draws)
    return data[:begin] + bytes(end - begin) + data[end:]


def swap_lines(data: bytes, draws: random.Random) -> bytes:
    """Two of them, or one twice."""
    lines = data.splitlines(keepends=True)
    if lines:
        one, other = (draws.randrange(len(lines)) for _ in range(2))
        lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def drop_line(data: bytes, draws: random.Random) -> bytes:
    """One of them."""
    lines = data.splitlines(keepends=True)
    if lines:
        del lines[draws.randrange(len(lines))]
    return b"".join(lines)


def repeat_line(data: bytes, draws: random.Random) -> bytes:
    """One of them."""
    lines = data.splitlines(keepends=True)
    if lines:
        place = draws.randrange(len(lines))
        lines.insert(place, lines[place])
    return b"".join(lines)


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(flip_bits, change_letter, truncate, insert, append, remove, repeat, blank),
    *(swap_lines, drop_line, repeat_line),
)
