"""Mutations of JSON, CSV and safetensors that leave them readable as such."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
from collections.abc import Iterator
from typing import Any

from . import odd

DEEP = 100_000
_MARK = "nested deeply"


def mutated_json(value: Any, draws: random.Random) -> tuple[Any, str]:
    """A copy with a key renamed, dropped or added, or a value changed, somewhere within."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return odd.value(draws), "all replaced"
    inside, key = draws.choice(places)
    change = draws.choice(("drop", "rename", "replace", "replace", "replace", "swap", "nest"))
    if change == "drop":
        del inside[key]
    elif change == "rename" and isinstance(inside, dict):
        inside[_near(str(key), draws)] = inside.pop(key)
    elif change == "swap":
        other, its_key = draws.choice(places)
        inside[key], other[its_key] = copy.deepcopy((other[its_key], inside[key]))
    elif change == "nest":
        inside[key] = draws.choice((_MARK, [inside[key]], {"a": inside[key]}))
    else:
        inside[key] = odd.value(draws)
    return value, f"{change} {key!r}"


def to_json(value: Any, indent: int | None = None) -> bytes:
    """Also what is no JSON by the letter: NaN, lone surrogates, very deep lists."""
    text = json.dumps(value, indent=indent)
    return text.replace(f'"{_MARK}"', "[" * DEEP + "]" * DEEP).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value) if type(value) is list else 0)
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def _near(key: str, draws: random.Random) -> str:
    place = draws.randrange(len(key) + 1)
    return draws.choice(
        (key[:place] + "q" + key[place + 1 :], key.upper(), draws.choice(odd.WORDS))
    )


def mutated_json_lines(data: bytes, draws: random.Random) -> tuple[bytes, str]:
    """Lines of JSON, one of them mutated."""
    lines = data.splitlines()
    place = draws.randrange(len(lines))
    value, what = mutated_json(json.loads(lines[place]), draws)
    lines[place] = to_json(value)
    return b"\n".join(lines) + b"\n", f"line {place + 1}: {what}"


def mutated_csv(data: bytes, draws: random.Random) -> tuple[bytes, str]:
    """A table with a cell changed, or a column or row lost or doubled."""
    rows = list(csv.reader(io.StringIO(data.decode())))
    row, column = draws.randrange(len(rows)), draws.randrange(len(rows[0]))
    change = draws.choice(("cell", "cell", "cell", "drop column", "double column", "short row"))
    if change == "cell":
        cell = draws.choice((*map(odd.text, odd.NUMBERS), *odd.WORDS, "9" * 5000, "1" * 200_000))
        rows[row][column] = cell
    elif change == "drop column":
        rows = [[*cells[:column], *cells[column + 1 :]] for cells in rows]
    elif change == "double column":
        rows = [[*cells, cells[column]] for cells in rows]
    else:
        rows[row] = rows[row][:column]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape"), f"{change} {row}, {column}"


def mutated_tensors(data: bytes, draws: random.Random) -> tuple[bytes, str]:
    """A safetensors file whose header says something else, in its metadata or of a tensor."""
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    about = header.get("__metadata__", {})
    inside = [key for key, text in about.items() if text[:1] in ("{", "[")]
    change = draws.choice(("metadata", "metadata", "within", "within", "tensors", "drop", "header"))
    if change == "within" and inside:
        key = draws.choice(inside)
        value, what = mutated_json(json.loads(about[key]), draws)
        about[key] = to_json(value).decode()
    elif change == "metadata" and about:
        key = draws.choice(list(about))
        header["__metadata__"], what = _mutated_texts(about, draws)
    elif change == "drop" or change == "tensors":
        names = [name for name in header if name != "__metadata__"]
        if not names:
            return data[: 8 + size], "no tensors"
        header, body, what = _mutated_entry(header, body, draws.choice(names), draws)
    else:
        header, what = mutated_json(header, draws)
    text = to_json(header)
    return len(text).to_bytes(8, "little") + text + body, f"{change}: {what}"


def _mutated_texts(about: dict[str, str], draws: random.Random) -> tuple[dict[str, str], str]:
    """Metadata, which contains texts alone."""
    key = draws.choice(list(about))
    changed = dict(about)
    change = draws.choice(("drop", "rename", "replace"))
    if change == "drop":
        del changed[key]
    elif change == "rename":
        changed[_near(key, draws)] = changed.pop(key)
    else:
        words = [word for word in odd.WORDS if "\udcff" not in word]
        changed[key] = draws.choice((*words, *map(odd.text, odd.NUMBERS), "{}", "[]", "[" * DEEP))
    return changed, f"{change} {key}"


def _mutated_entry(
    header: dict[str, Any], body: bytes, name: str, draws: random.Random
) -> tuple[dict[str, Any], bytes, str]:
    """One tensor gone, or of another name, type or shape, with its bytes put right."""
    tensors = {key: entry for key, entry in header.items() if key != "__metadata__"}
    parts = {key: body[slice(*entry["data_offsets"])] for key, entry in tensors.items()}
    entry = tensors[name] = dict(tensors[name])
    change = draws.choice(("gone", "renamed", "typed", "flat", "fewer", "none", "noise"))
    if change == "gone":
        del tensors[name], parts[name]
    elif change == "renamed":
        new = _near(name, draws).replace("\udcff", "?")
        tensors[new], parts[new] = tensors.pop(name), parts.pop(name)
    elif change == "typed":
        same_size = {"F32": ("I32",), "I64": ("F64",), "U8": ("I8", "BOOL"), "F16": ("BF16",)}
        entry["dtype"] = draws.choice(same_size.get(entry["dtype"], ("U8",)))
    elif change == "flat":
        entry["shape"] = draws.choice(([_count(entry)], [1, *entry["shape"]], [*entry["shape"], 1]))
    elif change == "fewer" and entry["shape"] and entry["shape"][0]:
        keep = entry["shape"][0] // 2
        parts[name] = parts[name][: len(parts[name]) // entry["shape"][0] * keep]
        entry["shape"] = [keep, *entry["shape"][1:]]
    elif change == "none":
        entry["shape"], parts[name] = [0], b""
    else:
        parts[name] = draws.randbytes(len(parts[name]))
    found, end = {"__metadata__": header.get("__metadata__", {})}, 0
    for key, its in tensors.items():
        found[key] = {**its, "data_offsets": [end, end + len(parts[key])]}
        end += len(parts[key])
    return found, b"".join(parts[key] for key in tensors), f"{change} {name}"


def _count(entry: dict[str, Any]) -> int:
    count = 1
    for length in entry["shape"]:
        count *= length
    return count
