"""Atomic reading and writing of JSON and safetensors files."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condense.errors import UserError, one_line
from condense.system.memory import check_memory

if TYPE_CHECKING:
    from torch import Tensor

TEMPORARY = ".tmp-"
DIGEST = "digest"
"""Key of the metadata of a safetensors file."""
OUT = "a run's: --out"
"""How the user sets the folder of most files; for error messages."""
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


class WriteError(UserError):
    """The operating system cannot write a file or folder."""

    def __init__(self, reason: OSError, path: str | os.PathLike[str], chosen_by: str = OUT) -> None:
        super().__init__(_in_words(reason, path, chosen_by))
        self.reason, self.path = reason, path


class DamagedError(UserError):
    """A file has other content than was written."""


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
    """Turn an `OSError` of the block, which writes `path`, into a `UserError`.

    A `WriteError` of a nested block is raised again with the `chosen_by` of this block, because
    the outer block has the right advice for the user.

    Args:
        path: a file or folder.
        chosen_by: how the user sets the folder.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(error, path, chosen_by) from error
    except WriteError as error:
        raise WriteError(error.reason, error.path, chosen_by) from error.reason


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an error of the operating system in the block, which reads `path`, into a `UserError`.

    A NUL byte in the path is such an error too, although it raises a `ValueError`.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {reason}") from error


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path; it is renamed to `path` at the end of the block.

    It is in the same folder and has the same suffix; the block writes it. The data is synced to
    disk before the rename, so `path` is always the complete old or the complete new file, even
    after a power failure. If the block raises, the temporary file is removed. Of a symbolic link
    the target is written.

    Raises:
        UserError: `path` is a folder or a device; no space, no permission, or another error of the
            operating system.
    """
    with writing(path):
        path = Path(os.path.realpath(path))
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        if path.exists() and not path.is_file():  # a rename would replace /dev/null
            raise FileExistsError(errno.EEXIST, "it is not a file", str(path))
        temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(6)}-{path.name}")
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
    """Remove temporary files of killed writers of `name` (default: of any file) from `folder`.

    The caller must hold the lock that all writers of these files use.
    """
    for leftover in folder.glob(f"{TEMPORARY}*{name}"):
        leftover.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Write JSON atomically, indented, keys in the given order; NaN and infinities become null."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as temporary:
        # Bytes of a path that are not UTF-8 become JSON escapes and are read back unchanged.
        temporary.write_bytes((text + "\n").encode("utf-8", "backslashreplace"))


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: the file cannot be read or is not a JSON object.
    """
    text = read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: not valid JSON ({one_line(error)})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged: a JSON object was expected")
    return value


def plain(value: object) -> Any:
    """`value` as JSON types: tuples as lists, paths as strings, arrays as nested lists."""
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
    """Write a safetensors file atomically; the same tensors and metadata give the same bytes.

    The metadata also get a digest, with which `read_tensors` detects a damaged file.

    Raises:
        UserError: it cannot be written, or metadata is not valid Unicode.
    """
    from safetensors.torch import save

    about = {name: text for name, text in metadata.items() if name != DIGEST}
    for name, text in about.items():
        if not is_text(text):
            raise UserError(f"cannot write {path}: {name} is not valid Unicode ({text})")
    # Copies, because safetensors refuses tensors that share memory.
    copies = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    data = memoryview(save(copies))
    start = 8 + int.from_bytes(data[:8], "little")
    # safetensors writes metadata in random order, so the header is written here.
    entries = json.loads(bytes(data[8:start]))
    about[DIGEST] = _digest(entries, about, data[start:])
    write_safetensors(path, {"__metadata__": about, **entries}, data[start:])


def write_safetensors(
    path: str | os.PathLike[str], header: Mapping[str, Any], data: memoryview
) -> None:
    """Write a safetensors file atomically from its parts, without a copy of the data.

    Args:
        path: the file.
        header: `__metadata__`, and the entry of each tensor, as the format has them.
        data: the bytes of all tensors.

    Raises:
        UserError: it cannot be written.
    """
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        file.write(data)


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors (on the CPU) and the metadata of a safetensors file.

    Raises:
        UserError: the file does not exist, is truncated or malformed, or its digest is of another
            content. Files of other programs have no digest.
    """
    from safetensors.torch import load

    # Read once: safetensors opens a file twice, and it may be replaced in between.
    data = _read_bytes(path)
    try:
        tensors = load(data)
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        metadata = dict(header.pop("__metadata__", None) or {})
        digest = metadata.get(DIGEST)
        if digest is not None:
            about = {name: text for name, text in metadata.items() if name != DIGEST}
            if digest != _digest(header, about, memoryview(data)[start:]):
                raise ValueError("its digest is of another content")
        return tensors, metadata
    except Exception as error:  # safetensors raises many types, some its own
        raise DamagedError(
            f"{path} is damaged or not a safetensors file ({one_line(error)})"
        ) from error


def _digest(entries: Mapping[str, Any], metadata: Mapping[str, str], data: memoryview) -> str:
    """SHA-256 (hex) of a safetensors file: entries of the tensors, metadata and data."""
    digest = hashlib.sha256(json.dumps([entries, metadata], sort_keys=True).encode())
    digest.update(data)
    return digest.hexdigest()


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file, with its line ends unchanged.

    Raises:
        UserError: the file cannot be read, or is not UTF-8.
    """
    try:
        return _read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged: not UTF-8 ({one_line(error)})") from error


def is_text(text: str) -> bool:
    """Whether the text can be encoded as UTF-8; false for surrogate escapes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(name: str, text: str) -> None:
    """Check that a text can be written to a file or a terminal.

    Raises:
        UserError: it contains bytes that are not UTF-8, as some old file names do.
    """
    if not is_text(text):
        # The text is not quoted: it may contain a password.
        raise UserError(f"{name} contains bytes that are not UTF-8: choose another name")


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of the content of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a regular file or a link to one; false if the path is invalid."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # name too long, folder not accessible, NUL byte
        return False


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a regular file that is not larger than the free memory."""
    path = Path(path)
    with reading(path):
        if not path.is_file():  # reading from a pipe would block
            found = "it is not a file" if path.exists() else "there is no such file"
            raise UserError(f"cannot read {path}: {found}")
        check_memory(path.stat().st_size, f"cannot read {path}: it")
        return path.read_bytes()
