"""A study's log in a file of JSON lines that knows when it has been tampered with.

Optuna's own file backend takes whatever it can parse: lines that were swapped, lost, doubled or
edited replay to another study without a word. Here every line ends in a key `chain`, a digest of
the line and of the digest before it, so that each line vouches for all before it. Optuna and its
dashboard pass over the key when they read the file.

The chain is there for damage and mistakes; it is no signature, and keeps out nobody who can compute
it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock
from optuna.storages.journal import BaseJournalBackend

from condense import UserError

_KEY, _END = b',"chain":"', b'"}\n'


class DamagedJournalError(UserError):
    """The file holds what no writer of it has left there."""


class ChainedJournal(BaseJournalBackend):
    """The log in the file `path`, which several processes of one machine may share.

    A process checks every line once: all that are there when it opens the file, and later those
    that have been added since.

    A last line without its end is dropped: a writer was killed, or the disk was full. A file that
    has lost whole lines at its end looks like one whose writer was killed before them, and goes on
    as soundly: what they told is trained again.

    Raises:
        DamagedJournalError: from every method, where a line does not follow from the one before.
        UserError: where the system refuses to read or write the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Optuna's locks are files that outlive a worker that is killed; this one goes with it.
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), poll_interval=0.005)
        # Where each line that has been checked begins, and the digest that it follows; the last
        # entry is that of the next line.
        self._lines: list[tuple[int, bytes]] = [(0, b"")]
        with self._locked(), path.open("ab"):
            pass

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """The entries from this number on."""
        try:
            with self._reading():
                return self._read(log_number_from)
        except DamagedJournalError:
            # Seen through a writer who was just replacing a torn line? Not under the lock.
            with self._locked():
                return self._read(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Adds entries, after those that others have added."""
        with self._locked(), self._path.open("rb+") as file:
            self._check_new(file)
            end, digest = self._lines[-1]
            added = b""
            for log in logs:
                body = json.dumps(log, separators=(",", ":")).encode()[:-1]
                digest = _digest(digest, body)
                added += body + _KEY + digest + _END
            file.truncate(end)  # a torn last line, lest the next be joined to it
            file.seek(end)
            file.write(added)
            file.flush()
            os.fsync(file.fileno())

    def _read(self, start: int) -> list[dict[str, Any]]:
        if self._path.stat().st_size == self._lines[-1][0] and start == len(self._lines) - 1:
            return []
        with self._path.open("rb") as file:
            self._check_new(file)
            file.seek(self._lines[start][0])
            return [json.loads(file.readline()) for _ in self._lines[start + 1 :]]

    def _check_new(self, file: BinaryIO) -> None:
        """Checks the lines that have come since the last time."""
        end, digest = self._lines[-1]
        if os.fstat(file.fileno()).st_size < end:
            raise self._damaged()
        file.seek(end)
        for line in file:
            if not line.endswith(b"\n"):
                return
            body, _, rest = line.rpartition(_KEY)
            digest = _digest(digest, body)
            if rest != digest + _END:
                raise self._damaged()
            end += len(line)
            self._lines.append((end, digest))

    def _damaged(self) -> DamagedJournalError:
        return DamagedJournalError(
            f"{self._path} is damaged, or was changed by another program: delete it to "
            "begin the search anew"
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._reading(), self._lock:
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot read or write {self._path}: {error.strerror or error}; go on with "
                "--resume when it can be"
            ) from error


def _digest(before: bytes, body: bytes) -> bytes:
    """That of a line without its digest, in hex; `before`: that of the line before it."""
    return hashlib.sha256(before + body).hexdigest()[:32].encode()
