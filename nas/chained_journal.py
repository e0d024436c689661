"""An Optuna journal file of JSON lines that detects changed lines.

Optuna's own file backend accepts every line that it can parse: swapped, lost, doubled or edited
lines silently give another study. Here every line ends in a key `chain`, a digest of the line and
of the previous digest, so that each line verifies all lines before it. Optuna and its dashboard
ignore the key when they read the file. Their own lines, a note for example, do not have it: such a
line is verified by the next one that has.

The chain detects damage and mistakes. It is not a signature: anybody can compute it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from optuna.storages.journal import BaseJournalBackend

from condense import UserError
from nas.journal_lock import JournalLock

_KEY, _END = b',"chain":"', b'"}\n'


class DamagedJournalError(UserError):
    """The file contains lines that no writer of it has written."""


class ChainedJournal(BaseJournalBackend):
    """The log in the file `path`, which several processes of one machine may share.

    Other programs may add lines with Optuna's file backend, also while a search runs.

    A process checks every line once: first all lines of the file, later the added ones.

    An incomplete last line is dropped: a writer was killed, or the disk was full. A file that lost
    whole lines at its end is equal to one whose writer was killed before them; the lost results are
    trained again.

    Raises:
        DamagedJournalError: from every method, if a line does not match the one before.
        UserError: if the system cannot read or write the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = JournalLock(path)
        # The start of each checked line and the digest before it; the last entry is for the next
        # line.
        self._lines: list[tuple[int, bytes]] = [(0, b"")]
        self._pending: list[bytes] | None = None
        with self._locked(), path.open("ab"):
            pass

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        """The log entries from this number on."""
        if self._pending is not None:
            new = self._pending[max(0, log_number_from - len(self._lines) + 1) :]
            old = self._read(log_number_from) if log_number_from < len(self._lines) else []
            return old + [json.loads(body + b"}") for body in new]
        try:
            with self._reading():
                return self._read(log_number_from)
        except DamagedJournalError:
            # A writer may just have replaced an incomplete line: read again under the lock.
            with self._locked():
                return self._read(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append log entries after those of other processes."""
        bodies = [json.dumps(log, separators=(",", ":")).encode()[:-1] for log in logs]
        if self._pending is not None:
            self._pending += bodies
            return
        with self._locked():
            self._append(bodies)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """No other process appends within the context; what this one appends is written at its
        end, at once."""
        with self._locked():
            with self._path.open("rb") as file:
                self._check_new(file)
            self._pending = []
            try:
                yield
            finally:
                bodies, self._pending = self._pending, None
                if bodies:
                    self._append(bodies)

    def _append(self, bodies: list[bytes]) -> None:
        with self._path.open("rb+") as file:
            self._check_new(file)
            end, digest = self._lines[-1]
            added = b""
            for body in bodies:
                digest = _digest(digest, body)
                added += body + _KEY + digest + _END
            file.truncate(end)  # drop an incomplete last line
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
        """Check the lines added since the last call."""
        end, digest = self._lines[-1]
        if os.fstat(file.fileno()).st_size < end:
            raise self._damaged()
        file.seek(end)
        for line in file:
            if not line.endswith(b"\n"):
                return
            body, _, rest = line.rpartition(_KEY)
            own = _digest(digest, body)
            if rest == own + _END:
                digest = own
            elif _is_of_another_program(line):
                digest = _digest(digest, line)
            else:
                raise self._damaged()
            end += len(line)
            self._lines.append((end, digest))

    def _damaged(self) -> DamagedJournalError:
        return DamagedJournalError(
            f"{self._path} is damaged, or was changed by another program: delete it to "
            "restart the search"
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._reading(), self._lock.held():
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot read or write {self._path}: {error.strerror or error}; continue with "
                "--resume later"
            ) from error


def _is_of_another_program(line: bytes) -> bool:
    """Whether this is a whole line as Optuna's file backend writes it."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(entry, dict) and "op_code" in entry and "chain" not in entry


def _digest(before: bytes, body: bytes) -> bytes:
    """The digest (hex) of a line's body and of `before`, the digest of the line before it."""
    return hashlib.sha256(before + body).hexdigest()[:32].encode()
