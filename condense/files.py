"""Files that are whole or not there: JSON and safetensors, written atomically."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condense.errors import UserError, one_line
from condense.machine import check_memory

if TYPE_CHECKING:
    from torch import Tensor

TEMPORARY = ".tmp-"
OUT = "a run's: --out"
"""How the user says where most files are to be."""
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class WriteError(UserError):
    """A file or folder that the operating system refuses to write."""

    def __init__(self, reason: OSError, path: str | os.PathLike[str], chosen_by: str = OUT) -> None:
        super().__init__(_in_words(reason, path, chosen_by))
        self.reason, self.path = reason, path


def explain(error: OSError, path: str | os.PathLike[str], chosen_by: str = OUT) -> UserError:
    """What an operating system's refusal to write `path` means for the user, in one line."""
    return WriteError(error, path, chosen_by)


def _in_words(error: OSError, path: str | os.PathLike[str], chosen_by: str) -> str:
    if error.errno in FULL:
        return f"no space left to write {path}: free some or choose another folder ({chosen_by})"
    if error.errno in _FORBIDDEN:
        return (
            f"not allowed to write {path}: choose another folder ({chosen_by}) "
            "or change its permissions"
        )
    return f"cannot write {path}: {error.strerror or error}"


@contextmanager
def writing(path: str | os.PathLike[str], chosen_by: str = OUT) -> Iterator[None]:
    """Turns an `OSError` of the block, which writes `path`, into a `UserError`.

    What blocks within this one have said of files that they write is said anew, with the remedy of
    this one: it knows better whose they are.

    Args:
        path: a file or folder.
        chosen_by: how the user says where it is to be.
    """
    try:
        yield
    except OSError as error:
        raise explain(error, path, chosen_by) from error
    except WriteError as error:
        raise explain(error.reason, error.path, chosen_by) from error.reason


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path that becomes `path` at the end.

    It is in the same folder and has the same suffix; the block writes it. Its bytes reach the disk
    before its name does, so that `path` is at every moment, even when the power goes, the old file
    or the whole new one. When the block raises, nothing is left.

    Raises:
        UserError: no space, no permission, or any other refusal of the operating system.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(6)}-{path.name}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink()
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some systems cannot open a folder; the rename is atomic there too
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_temporaries(folder: Path, name: str = "") -> None:
    """Removes what writers of `name` (default: of any file) that were killed left in `folder`.

    Only for the one who holds the lock that all writers of these files take.
    """
    for leftover in folder.glob(f"{TEMPORARY}*{name}"):
        leftover.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Writes JSON atomically, indented, keys in the order given; NaN and infinities become null."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as temporary:
        # Bytes of a path that are not UTF-8 are escaped as JSON has it, and read back as they were.
        temporary.write_bytes((text + "\n").encode("utf-8", "backslashreplace"))


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        UserError: the file cannot be read or does not hold a JSON object.
    """
    _check_readable(path)
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: not valid JSON ({one_line(error)})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: a JSON object was expected")
    return value


def plain(value: object) -> Any:
    """`value` in terms of JSON: tuples as lists, paths as strings, arrays as nested lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes a safetensors file atomically; the same tensors and metadata give the same bytes.

    Raises:
        UserError: it cannot be written, or metadata is no text that could be read again.
    """
    from safetensors.torch import save

    for name, text in metadata.items():
        if not is_text(text):
            raise UserError(f"cannot write {path}: {name} is not valid Unicode ({text})")
    # Copies, because the library refuses tensors that share memory.
    apart = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    data = memoryview(save(apart))
    start = 8 + int.from_bytes(data[:8], "little")
    # The library shuffles metadata from one process to the next, so the header is written here.
    entries = json.loads(bytes(data[8:start]))
    header = json.dumps({"__metadata__": dict(metadata), **entries}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        file.write(data[start:])


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors (on the CPU) and the metadata of a safetensors file.

    Raises:
        UserError: there is no such file, or it is truncated or otherwise malformed.
    """
    from safetensors.torch import load

    _check_readable(path)
    try:
        # At once, because the library opens a file twice, between which another may take its place.
        data = Path(path).read_bytes()
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return tensors, dict(header.get("__metadata__") or {})
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # the library raises many kinds, among them its own
        raise UserError(f"{path} is damaged or no safetensors file ({one_line(error)})") from error


def is_text(text: str) -> bool:
    """Whether the text can be written as UTF-8: not where it stands for bytes that are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a regular file, or a link to one; not where the system refuses the path."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long a name, a folder that is closed, a NUL
        return False


def _check_readable(path: str | os.PathLike[str]) -> None:
    """UserError where there is no regular file, or where memory could not hold it."""
    if not is_file(path):
        raise UserError(f"cannot read {path}: there is no such file")
    check_memory(Path(path).stat().st_size, f"cannot read {path}: it")
