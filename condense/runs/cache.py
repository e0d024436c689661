"""Cache of condensed sets; the key is a hash of all inputs.

A condensed set depends only on the images, the method, its settings and the seed, so it can be
reused by every run. The cache makes a set if it is not stored yet::

    key = cache_key(data.fingerprint(), "dsa", settings, seed)
    condensed = Cache().obtain(key, load=CondensedSet.load, make=..., save=CondensedSet.save)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from condense.errors import UserError, printable
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer, FileCheckpointer
from condense.runs.io import (
    is_file,
    plain,
    remove_temporaries,
    writing,
)
from condense.runs.paths import user_path
from condense.system.notes import note, warning
from condense.validation import whole_number

ALGORITHM = 6
"""Part of every key. Increment it if a change gives other sets for the same settings (not if only
rounding differs), and remove the affected sets from the zoo."""

CHOSEN_BY = "$CONDENSE_CACHE; or none, by --no-cache"
"""How the user sets the folder; for error messages."""

SetT = TypeVar("SetT")


def cache_key(fingerprint: str, method: str, settings: object, seed: int) -> str:
    """The key of a set, 32 hexadecimal digits.

    Args:
        fingerprint: of the images, `ImageData.fingerprint()`.
        method: the name in the registry.
        settings: the dataclass of the method, or a JSON-serialisable value.
        seed: the seed of the condensation.
    """
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        settings = dataclasses.asdict(settings)
    parts = [ALGORITHM, fingerprint, method, plain(settings), whole_number("seed", seed)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def default_root() -> Path:
    """$CONDENSE_CACHE, else `sets` in the user's cache folder.

    Raises:
        UserError: the path is invalid.
    """
    named = os.environ.get("CONDENSE_CACHE")
    if named:
        return user_path(named, "$CONDENSE_CACHE")
    from platformdirs import user_cache_path

    return user_cache_path("condense", appauthor=False) / "sets"


class Cache:
    """A folder of finished sets, KEY.safetensors; several processes may use it at the same time.

    The decoded images of folders are there too (`condense.data.folder_cache`).

    Args:
        root: the folder, created on first use; default: `default_root()`.
    """

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = default_root() if root is None else user_path(root, "the cache")
        self.hits = 0
        """Number of sets found in the cache."""

    def path(self, key: str) -> Path:
        """The path of the set with this key; the file may not exist."""
        return self.root / f"{key}.safetensors"

    def obtain(
        self,
        key: str,
        *,
        load: Callable[[Path], SetT],
        make: Callable[[Checkpointer], SetT],
        save: Callable[[SetT, Path], None],
        checkpointer: Checkpointer | None = None,
    ) -> SetT:
        """Load the set with this key, or make and store it.

        Only one process makes a set; other processes wait for it. The checkpoint of an interrupted
        computation is stored in the cache, so any later run resumes from it. A run with a
        checkpoint of its own goes on from that one, even if the set is in the cache by then: so it
        ends as if it had not been interrupted.

        Args:
            key: from `cache_key`.
            load: reads a file; raises `UserError` if it is damaged; then the set is made again.
            make: makes the set; its argument is a checkpointer for reports and checkpoints.
            save: writes a file atomically.
            checkpointer: also receives the reports and the checkpoints.

        Raises:
            UserError: the folder cannot be written.
        """
        run = checkpointer or Checkpointer()
        begun = run.restore() is not None
        found = None if begun else self._look_up(key, load)
        if found is not None:
            return found
        with self.held(key, "computes the same set"):
            # Another process may have made it.
            found = None if begun else self._look_up(key, load, warn=True)
            if found is not None:
                return found
            keeping = _Partial(self._partial(key), run)
            with keeping:
                made = make(keeping)
            with writing(self.path(key), CHOSEN_BY):
                save(made, self.path(key))
            self._partial(key).unlink(missing_ok=True)
            return made

    def _look_up(self, key: str, load: Callable[[Path], SetT], warn: bool = False) -> SetT | None:
        path = self.path(key)
        if not is_file(path):
            return None
        try:
            found = load(path)
        except UserError as error:
            if warn:
                warning(f"{error}; it is computed again")
            return None
        self.hits += 1
        return found

    def _partial(self, key: str) -> Path:
        return self.root / f"{key}.partial.safetensors"

    @contextmanager
    def held(self, key: str, doing: str) -> Iterator[None]:
        """Only one process is in this block of a key; the others wait before it.

        Args:
            key: names the files of the block.
            doing: what the other process does, for the line that a waiting process prints.

        Raises:
            UserError: the folder cannot be written.
        """
        with writing(self.root, CHOSEN_BY):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / f"{key}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                print(printable(f"waiting for another process that {doing}"), file=sys.stderr)
                lock.acquire()
        try:
            remove_temporaries(self.root, f"{key}.safetensors")
            remove_temporaries(self.root, f"{key}.partial.safetensors")
            yield
        finally:
            lock.release()


class _Partial(FileCheckpointer):
    """Saves checkpoints in the cache and in the checkpointer of the current run."""

    def __init__(self, path: Path, run: Checkpointer) -> None:
        super().__init__(path, show=run)
        self._run = run

    def restore(self) -> Checkpoint | None:
        """The checkpoint of the run, else that of the cache; None if that is damaged."""
        own = self._run.restore()
        if own is not None:
            self._earlier = own.seconds
            return own
        try:
            others = super().restore()
        except UserError as error:
            warning(f"{error}; it is computed again")
            return None
        if others is not None:
            self._run.spent_before(others.seconds)
            note("continues from a checkpoint in the cache; the history of this run begins there")
        return others

    def save(self, checkpoint: Checkpoint) -> None:
        """Pass the checkpoint to both."""
        super().save(checkpoint)
        self._run.save(checkpoint)

    def flush(self) -> None:
        """Write the last checkpoint to the cache."""
        with writing(self.path, CHOSEN_BY):
            super().flush()

    def close(self) -> None:
        """Flush both; the run closes its own checkpointer."""
        self.flush()
        self._run.flush()
