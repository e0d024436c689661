"""Nothing is condensed twice: finished sets by a hash of what they depend on.

A condensed set depends on the images, the method, its settings and the seed, not on what it is
for. So whoever needs one asks the cache, which makes it when it is not there::

    key = cache_key(data.fingerprint(), "dsa", settings, seed)
    condensed = Cache().obtain(key, load=CondensedSet.load, make=..., save=CondensedSet.save)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import operator
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from condense.errors import UserError
from condense.files import is_file, plain, remove_temporaries, writing
from condense.journal import Checkpoint, FileJournal, Journal
from condense.paths import user_path

ALGORITHM = 3
"""Part of every key: raise it with a change that makes other sets from the same settings, not with
one that only rounds otherwise, and take the sets that would now be others out of the zoo."""

CHOSEN_BY = "$CONDENSE_CACHE; or none, by --no-cache"
"""How the user says where the sets are to be."""

SetT = TypeVar("SetT")


def cache_key(fingerprint: str, method: str, settings: object, seed: int) -> str:
    """A name, 32 hexadecimal digits, for the set that these make.

    Args:
        fingerprint: of the images, `ImageData.fingerprint()`.
        method: as in the registry.
        settings: the method's dataclass, or what JSON can hold.
        seed: of the condensation.
    """
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        settings = dataclasses.asdict(settings)
    parts = [ALGORITHM, fingerprint, method, plain(settings), operator.index(seed)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def default_root() -> Path:
    """$CONDENSE_CACHE, else `sets` in the user's cache folder.

    Raises:
        UserError: no folder could have this path.
    """
    named = os.environ.get("CONDENSE_CACHE")
    if named:
        return user_path(named, "$CONDENSE_CACHE")
    from platformdirs import user_cache_path

    return user_cache_path("condense", appauthor=False) / "sets"


class Cache:
    """A folder of finished sets, KEY.safetensors, that several processes may use at once.

    Args:
        root: the folder, made when first needed; `default_root()` where not given.
    """

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = default_root() if root is None else user_path(root, "the cache")
        self.hits = 0
        """Sets that have been found rather than made."""

    def path(self, key: str) -> Path:
        """Where the set of this key is, or would be."""
        return self.root / f"{key}.safetensors"

    def obtain(
        self,
        key: str,
        *,
        load: Callable[[Path], SetT],
        make: Callable[[Journal], SetT],
        save: Callable[[SetT, Path], None],
        journal: Journal | None = None,
    ) -> SetT:
        """The set of this key, from its file or else made and put there.

        One process makes it, others that want it wait. What an interrupted making had reached is
        kept beside it, so that the next one goes on from there, whatever run it belongs to.

        Args:
            key: from `cache_key`.
            load: reads a file; raises `UserError` where it is damaged, and the set is made anew.
            make: makes the set, with a journal to report to and to keep checkpoints in.
            save: writes a file, atomically.
            journal: is told of the making's reports, and offered its checkpoints too.

        Raises:
            UserError: the folder cannot be written.
        """
        found = self._look_up(key, load)
        if found is not None:
            return found
        with self._held(key):
            found = self._look_up(key, load, warn=True)  # may have been made meanwhile
            if found is not None:
                return found
            keeping = _Partial(self._partial(key), journal or Journal())
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
                print(f"warning: {error}; it is made anew", file=sys.stderr)
            return None
        self.hits += 1
        return found

    def _partial(self, key: str) -> Path:
        return self.root / f"{key}.partial.safetensors"

    @contextmanager
    def _held(self, key: str) -> Iterator[None]:
        with writing(self.root, CHOSEN_BY):
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / f"{key}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                print("waiting for another process that makes the same set", file=sys.stderr)
                lock.acquire()
        try:
            remove_temporaries(self.root, f"{key}.safetensors")
            remove_temporaries(self.root, f"{key}.partial.safetensors")
            yield
        finally:
            lock.release()


class _Partial(FileJournal):
    """Keeps a making's checkpoints in the cache, and in the journal of the run it belongs to."""

    def __init__(self, path: Path, run: Journal) -> None:
        super().__init__(path, show=run)
        self._run = run

    def restore(self) -> Checkpoint | None:
        """The run's own checkpoint, else the one in the cache; None where it is damaged."""
        own = self._run.restore()
        if own is not None:
            self._earlier = own.seconds
            return own
        try:
            others = super().restore()
        except UserError as error:
            print(f"warning: {error}; it is begun anew", file=sys.stderr)
            return None
        if others is not None:
            self._run.spent_before(others.seconds)
        return others

    def save(self, checkpoint: Checkpoint) -> None:
        """Offers the checkpoint to both."""
        super().save(checkpoint)
        self._run.save(checkpoint)

    def flush(self) -> None:
        """Writes the last checkpoint offered to the cache."""
        with writing(self.path, CHOSEN_BY):
            super().flush()

    def close(self) -> None:
        """Flushes both; the run closes its own journal."""
        self.flush()
        self._run.flush()
