"""The folder of a run: config, lock, checkpoint, history, summary.

::

    with RunFolder.create(out, config) as run:        # or RunFolder.open(out) to resume
        with run.checkpointer(show=Progress("condensing")) as checkpointer:
            ...
        run.write_summary({...})
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from condense.distribution import version
from condense.errors import UserError
from condense.runs.checkpointer import Checkpointer, FileCheckpointer, Listeners
from condense.runs.closing import Closing
from condense.runs.io import (
    TEMPORARY,
    WriteError,
    is_file,
    plain,
    read_json,
    remove_temporaries,
    write_json,
    writing,
)
from condense.runs.paths import user_path
from condense.runs.report_sections import flag
from condense.runs.run_log import RUN_LOG, LoggedProgress, RunLog
from condense.runs.tensorboard import TENSORBOARD, TensorBoard
from condense.system.notes import note
from condense.system.scripts import resume_command

CONFIG = "config.json"
SUMMARY = "summary.json"
HISTORY = "history.csv"
CONDENSED = "condensed.safetensors"
"""The condensed set of a run that makes one."""
_LOCK = ".lock"
_DIFFERENCES_SHOWN = 3


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM in a run that can be resumed, with its path and command."""

    def __init__(self, path: Path, command: str) -> None:
        super().__init__(str(path))
        self.path = path
        self.command = command


class RunFolder(Closing):
    """The folder of one run, locked until `close` (or the end of `with`).

    Use `create` or `open`. The lock is released when the process ends, in whichever way.
    """

    def __init__(self, path: Path, lock: FileLock, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.tensorboard = False
        """Whether reports are also written for TensorBoard; set it before the first of them."""
        self.log = RunLog(path / RUN_LOG)
        """The file run.log."""
        self._lock = lock
        self._checkpointers: list[FileCheckpointer] = []
        self._new = False

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any]) -> RunFolder:
        """Create the folder of a new run and write `config` with `provenance()` to config.json.

        Raises:
            UserError: another process uses the folder, it contains a run or other files, or it
                cannot be written.
        """
        path = user_path(path, "--out")
        _check_nothing_foreign(path)
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
        lock = _acquire(path)
        new = not (path / CONFIG).exists()
        try:
            if not new:
                raise _already_there(path, plain(config))
            remove_temporaries(path)
            full = plain({**config, **provenance()})
            write_json(path / CONFIG, full)
            made = cls(path, lock, full)
            made._new = True
            made.log.write(f"started: {full.get('command')}, version {full['version']}")
            return made
        except BaseException:
            if new:
                _remove_if_empty(path)
            lock.release()
            raise

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open the folder of an interrupted run, to resume it.

        Raises:
            UserError: there is no run, its config is damaged, or another process uses the folder.
        """
        path = user_path(path, "--resume")
        if not is_file(path / CONFIG):
            raise UserError(f"{path} contains no run to resume (no {CONFIG})")
        lock = _acquire(path)
        try:
            remove_temporaries(path)
            return cls(path, lock, read_json(path / CONFIG))
        except BaseException:
            lock.release()
            raise

    @property
    def finished(self) -> bool:
        """Whether the summary (written last) exists, and its `n_remaining` is 0 or not set."""
        summary = self.path / SUMMARY
        return is_file(summary) and not read_json(summary).get("n_remaining")

    def require(self, **entries: Any) -> None:
        """Check that the config has these entries, such as the images of a resumed run.

        Raises:
            UserError: entries differ; the message names them.
        """
        kept = {key: self.config.get(key) for key in entries}
        differing = _differences(kept, plain(entries))
        if differing:
            raise UserError(
                f"{self.path} cannot be resumed, its inputs differ: " + _in_words(differing)
            )

    def checkpointer(
        self,
        name: str = "checkpoint",
        *,
        history: bool = True,
        show: Checkpointer | None = None,
        every_seconds: float = 20.0,
    ) -> FileCheckpointer:
        """A checkpointer that writes NAME.safetensors and, with `history`, history.csv.

        A run has one history, so only one checkpointer may write it. Open checkpointers are
        flushed when the folder is closed, so Ctrl-C loses no step. Reports are also written to
        run.log, and for TensorBoard if that is asked for.
        """
        made = FileCheckpointer(
            self._checkpoint(name),
            history=self.path / HISTORY if history else None,
            show=Listeners(*([show] if show else []), *self._logs(name, history)),
            every_seconds=every_seconds,
        )
        self._checkpointers.append(made)
        return made

    def say(self, text: str) -> None:
        """Print a text, and write it to run.log."""
        print(text)
        self.log.write(text)

    def remove_checkpoint(self, name: str = "checkpoint") -> None:
        """Remove a checkpoint that is no longer needed."""
        self._checkpoint(name).unlink(missing_ok=True)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json, which marks the run as finished: write it last.

        With an entry `n_remaining` that is not 0 the run is not finished and can be resumed.
        """
        write_json(self.path / SUMMARY, summary)

    def close(self) -> None:
        """Flush the checkpointers and release the lock."""
        self._leave(None)

    def _leave(self, error: BaseException | None) -> None:
        """As `close`; what a user's mistake has left behind is removed.

        Where something could not be written, a note says how to resume, once that is mended.

        Raises:
            Interrupted: Ctrl-C or SIGTERM has ended the block, and the run is not finished.
        """
        last = error
        try:
            self._close_checkpointers()
            if isinstance(error, UserError) and self._new:
                _remove_if_empty(self.path)
            if self.log.used and self.path.exists():
                with suppress(UserError):  # the disk is full: that is being reported already
                    self.log.write(_end(error))
        except WriteError as problem:
            last = problem
            raise
        finally:
            self._lock.release()
            if isinstance(last, WriteError) and is_file(self.path / CONFIG) and not self.finished:
                again = resume_command(self.config.get("command", ""), self.path)
                note(f"what was done is kept; resume with: {again}")
        if isinstance(error, KeyboardInterrupt) and not self.finished:
            raise Interrupted(self.path, self.config.get("command", "")) from error

    def _close_checkpointers(self) -> None:
        try:
            for checkpointer in self._checkpointers:
                checkpointer.close()
        finally:
            self._checkpointers = []

    def _logs(self, name: str, history: bool) -> list[Checkpointer]:
        """What receives the reports of a checkpointer, besides the progress bar."""
        logs: list[Checkpointer] = [LoggedProgress(self.log, "step" if history else name)]
        if self.tensorboard:
            # Each has its own folder: a new event file hides later steps of all others there.
            folder = self.path / TENSORBOARD / ("history" if history else name)
            logs.append(TensorBoard(folder))
        return logs

    def _checkpoint(self, name: str) -> Path:
        return self.path / f"{name}.safetensors"


def _remove_if_empty(path: Path) -> None:
    """Remove the folder of a failed run if it contains only a config, a log and a lock."""
    own = {CONFIG, RUN_LOG, _LOCK}
    with suppress(OSError):
        if {item.name for item in path.iterdir()} <= own:
            for name in own:
                (path / name).unlink(missing_ok=True)
            path.rmdir()


def _end(error: BaseException | None) -> str:
    """How a run ended, for its log."""
    if error is None:
        return "ended"
    return f"stopped: {type(error).__name__}{f': {error}' if isinstance(error, UserError) else ''}"


def provenance() -> dict[str, str | None]:
    """The code of a run: `version`, and `commit` if it runs from a git checkout."""
    return {"version": version(), "commit": _commit()}


def _commit() -> str | None:
    """The commit of the checkout, with `-dirty` if files differ from it."""
    here = Path(__file__)
    git = ["git", "-C", str(here.parent)]
    try:
        # A virtual environment may be inside the checkout of another project.
        ours = [*git, "ls-files", "--error-unmatch", here.name]
        subprocess.run(ours, check=True, capture_output=True)
        name = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(name, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _acquire(path: Path) -> FileLock:
    lock = FileLock(path / _LOCK, timeout=0)
    with writing(path):
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(
                f"{path} is in use by another process: wait for it or choose another --out"
            ) from error
    return lock


def _check_nothing_foreign(path: Path) -> None:
    with writing(path):
        if not path.exists() or (path / CONFIG).exists():
            return
        foreign = sorted(
            item.name
            for item in path.iterdir()
            if item.name != _LOCK and not item.name.startswith(TEMPORARY)
        )
    if foreign:
        raise UserError(
            f"{path} contains other files ({', '.join(foreign[:_DIFFERENCES_SHOWN])}"
            f"{', …' if len(foreign) > _DIFFERENCES_SHOWN else ''}): choose another --out"
        )


def _already_there(path: Path, config: Mapping[str, Any]) -> UserError:
    kept = read_json(path / CONFIG)
    apart = {*provenance(), "overrides"}  # these follow from the settings
    before, after = ({k: v for k, v in one.items() if k not in apart} for one in (kept, config))
    differing = _differences(before, after)
    if differing:
        return UserError(
            f"{path} contains a run with other settings: {_in_words(differing)}; "
            f"choose another --out, or resume that run with --resume {path}"
        )
    if (path / SUMMARY).is_file():
        return UserError(
            f"{path} contains this run already, and it is finished: choose another --out"
        )
    return UserError(
        f"{path} contains this run already: continue with --resume {path}, or choose another --out"
    )


def _differences(old: Any, new: Any, name: str = "") -> list[str]:
    """A line for each entry of the nested mappings that differs: `name old → new`."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return [] if old == new else [f"{_flag(name)} {_short(old)} → {_short(new)}"]
    return [
        line
        for key in dict.fromkeys([*old, *new])
        for line in _differences(
            old.get(key, "unset"), new.get(key, "unset"), f"{name}.{key}" if name else key
        )
    ]


def _flag(name: str) -> str:
    """An entry of config.json; a setting as a flag is written."""
    if not name.startswith("settings."):
        return name
    return f"--{flag(name.removeprefix('settings.').removeprefix('common.'))}"


def _in_words(differing: list[str]) -> str:
    more = len(differing) - _DIFFERENCES_SHOWN
    shown = ", ".join(differing[:_DIFFERENCES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:20] + "…"
