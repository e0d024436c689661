"""Other programs that write the journal of a search."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import nas.journal_lock
from condense import UserError
from nas.chained_journal import ChainedJournal
from nas.journal_lock import JournalLock
from nas.storage import JOURNAL
from tests.helpers.processes import HANGS
from tests.helpers.tiny_studies import result, shared


def note(folder: Path, text: str) -> None:
    """Save a note on the study, as optuna-dashboard does."""
    storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    (study,) = storage.get_all_studies()
    storage.set_study_system_attr(study._study_id, "dashboard:note_str:0", text)


def train_one(folder: Path, score: float) -> None:
    study = shared(folder)
    study.fill()
    trial = study.ask()
    assert trial is not None
    study.tell(trial, result(score))
    study.close()


def test_a_search_goes_on_after_a_note(tmp_path: Path) -> None:
    train_one(tmp_path, 0.5)
    running = shared(tmp_path)
    for text in ("first", 'a "chain":"', "last"):
        note(tmp_path, text)
    trial = running.ask()
    assert trial is not None
    running.tell(trial, result(0.25))
    scores = [found.score for found in shared(tmp_path).done().values()]
    assert scores == [0.5, 0.25]
    storage = JournalStorage(JournalFileBackend(str(tmp_path / JOURNAL)))
    (study,) = storage.get_all_studies()
    assert study.system_attrs == {"dashboard:note_str:0": "last"}


DAMAGES: dict[str, Callable[[list[bytes], int], list[bytes]]] = {
    "lost": lambda lines, place: lines[:place] + lines[place + 1 :],
    "edited": lambda lines, place: [line.replace(b"mine", b"ours") for line in lines],
    "moved": lambda lines, place: [lines[place], *lines[:place], *lines[place + 1 :]],
    "doubled": lambda lines, place: lines[: place + 1] + lines[place:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_note_is_verified_by_the_lines_after_it(tmp_path: Path, damage: str) -> None:
    """It may be a trial: then the later lines would be about other ones."""
    train_one(tmp_path, 0.5)
    note(tmp_path, "mine")
    train_one(tmp_path, 0.25)
    lines = (tmp_path / JOURNAL).read_bytes().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if b"mine" in line)
    assert place < len(lines) - 1
    (tmp_path / JOURNAL).write_bytes(b"".join(DAMAGES[damage](lines, place)))
    with pytest.raises(UserError, match="is damaged"):
        shared(tmp_path)


def test_another_program_waits_while_lines_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = ChainedJournal(tmp_path / "log"), JournalFileBackend(str(tmp_path / "log"))
    waits = Event()

    def sleep(_: float) -> None:
        waits.set()
        time.sleep(0.001)

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
    monkeypatch.setattr("optuna.storages.journal._file.time", clock)
    with ThreadPoolExecutor(1) as threads:
        with own.exclusive():
            own.append_logs([{"op_code": 1}])
            written = threads.submit(other.append_logs, [{"op_code": 3}])
            assert waits.wait(HANGS)
            own.append_logs([{"op_code": 2}])
        written.result()
    assert [entry["op_code"] for entry in own.read_logs(0)] == [1, 2, 3]
    assert not list(tmp_path.glob("log.*"))


def test_the_lock_file_of_a_killed_worker_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "log.lock").symlink_to(".log.lock")
    with JournalLock(tmp_path / "log").held():
        assert (tmp_path / "log.lock").is_symlink()
    assert not (tmp_path / "log.lock").is_symlink()


@pytest.mark.parametrize("link", [True, False])
def test_the_lock_file_of_another_program_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    lock = tmp_path / "log.lock"
    if link:
        lock.symlink_to("runs/log")
    else:
        lock.touch()
    seconds, held = itertools.count(), []

    def sleep(_: float) -> None:
        held.append(lock.is_symlink() or lock.exists())

    clock = SimpleNamespace(monotonic=lambda: next(seconds), sleep=sleep)
    monkeypatch.setattr(nas.journal_lock, "time", clock)
    with JournalLock(tmp_path / "log").held():
        assert lock.readlink() == Path(".log.lock")
    assert held == [True] * 30 + [False], "it was left by a killed program"


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "symlink_to", refused)
    ChainedJournal(tmp_path / "log").append_logs([{"op_code": 1}])
    assert json.loads((tmp_path / "log").read_bytes())["op_code"] == 1
