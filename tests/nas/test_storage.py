from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

import nas.chained_journal
import nas.storage
from condense import UserError
from nas.chained_journal import ChainedJournal
from nas.storage import JOURNAL, database_storage
from nas.urls import without_secrets
from tests.helpers.tiny_studies import result, shared


@pytest.fixture
def journal(tmp_path: Path) -> bytes:
    """That of a study with two architectures done and one that is being trained."""
    study = shared(tmp_path, first_rung=2)
    study.fill()
    for score in (0.5, 0.25):
        trial = study.ask()
        assert trial is not None
        study.report(trial, 2, score)
        study.tell(trial, result(score))
    assert study.ask() is not None
    study.close()
    return (tmp_path / JOURNAL).read_bytes()


def test_a_torn_line_is_mended(tmp_path: Path, journal: bytes) -> None:
    (tmp_path / JOURNAL).write_bytes(journal + b'{"op_code": 6, "tri')
    again = shared(tmp_path)
    assert again.fill()
    assert again.ask() is not None
    # And what another process leaves that is killed while this one is at work.
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code": 6, "tri')
    assert len(again.done()) == 2
    assert again.ask() is not None
    assert len(shared(tmp_path).done()) == 2


def lines_with(journal: bytes, **changes: Any) -> bytes:
    """The journal with other values in the first line that has them."""
    lines = [json.loads(line) for line in journal.splitlines()]
    line = next(line for line in lines if changes.keys() <= line.keys())
    line.update(changes)
    written = [json.dumps(line, separators=(",", ":")) for line in lines]
    return ("\n".join(written) + "\n").encode()


def reordered(journal: bytes, *order: int) -> bytes:
    lines = journal.splitlines(keepends=True)
    return b"".join(lines[place] for place in order) + b"".join(lines[max(order) + 1 :])


NOTE = b'{"op_code":3,"worker_id":"a","study_id":0,"system_attr":{"note":"mine"}}\n'
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "nested": lambda journal: journal + b"[" * 100_000 + b"\n",
    "null": lambda journal: lines_with(journal, intermediate_values=None),
    "another score": lambda journal: lines_with(journal, values=[0.75]),
    "torn, with an end": lambda journal: journal + b'{"op_code": 6, "tri\n',
    "empty line": lambda journal: journal + b"\n",
    "garbage": lambda journal: journal + bytes(range(256)),
    "nothing but garbage": lambda _: b"\x80\xff\0\n" * 9,
    "zeros": lambda journal: bytes(len(journal)) + b"\n",
    "another end of a line": lambda journal: journal.replace(b":", b"\r", 1),
    "other ends of lines": lambda journal: journal.replace(b"\n", b"\r\n"),
    "swapped": lambda journal: reordered(journal, 0, 1, 2, 4, 3),
    "doubled": lambda journal: reordered(journal, 0, 1, 1),
    "one less": lambda journal: reordered(journal, 0, 1, 3),
    "no beginning": lambda journal: reordered(journal, 1, 2),
    "the last once more": lambda journal: journal + journal.splitlines(keepends=True)[-1],
    "one without digest": lambda journal: re.sub(rb',"chain":"[0-9a-f]+"', b"", journal, count=1),
    "no operation": lambda journal: journal + b'{"worker_id":"a"}\n',
    "an incomplete operation": lambda journal: journal + b'{"op_code":3,"worker_id":"a"}\n',
    "a line of another program inside": lambda journal: reordered(NOTE + journal, 1, 0, 2),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_journal_knows_when_it_was_tampered_with(
    tmp_path: Path, journal: bytes, damage: str
) -> None:
    damaged = DAMAGES[damage](journal)
    assert damaged != journal
    (tmp_path / JOURNAL).write_bytes(damaged)
    with pytest.raises(
        UserError, match=r"study.log is damaged, .*: delete it to restart"
    ) as caught:
        shared(tmp_path)
    assert len(str(caught.value)) < 500
    assert (tmp_path / JOURNAL).read_bytes() == damaged, "it is left as it is"


def mutated(journal: bytes, draws: random.Random) -> bytes:
    """The journal with a byte changed, a piece taken out, put in twice or moved, or cut short."""
    start, end = sorted(draws.sample(range(len(journal)), 2))
    place = draws.randrange(len(journal))
    kind = draws.randrange(5)
    if kind == 0:
        return journal[:place] + bytes([draws.randrange(256)]) + journal[place + 1 :]
    if kind == 1:
        return journal[:place]
    rest = journal[:start] + journal[end:]
    if kind == 2:
        return rest
    return (journal if kind == 3 else rest)[:place] + journal[start:end] + journal[place:]


def test_no_mutation_passes_for_another_study(tmp_path: Path, journal: bytes) -> None:
    """What cannot be told from a kill is a beginning of the journal, maybe with a torn line."""
    draws, path = random.Random(0), tmp_path / "study"
    refused = 0
    for _ in range(300):
        content = mutated(journal, draws)
        path.write_bytes(content)
        whole = content[: content.rfind(b"\n") + 1]
        if journal.startswith(whole):
            assert len(ChainedJournal(path).read_logs(0)) == whole.count(b"\n")
        else:
            refused += 1
            with pytest.raises(UserError, match="is damaged"):
                ChainedJournal(path).read_logs(0)
    assert 200 < refused < 300


def test_a_journal_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search appends thousands of lines, so none of them may cost a look at all the others."""
    one, other = ChainedJournal(tmp_path / "log"), ChainedJournal(tmp_path / "log")
    digests = []
    digest = nas.chained_journal._digest

    def counted(before: bytes, body: bytes) -> bytes:
        digests.append(body)
        return digest(before, body)

    monkeypatch.setattr(nas.chained_journal, "_digest", counted)
    for number in range(100):
        (one, other)[number % 2].append_logs([{"op_code": number}, {"op_code": number}])
        assert len(one.read_logs(2 * number)) == 2
    assert len(digests) <= 3 * 200
    assert [entry["op_code"] for entry in other.read_logs(195)] == [97, 98, 98, 99, 99]
    again = ChainedJournal(tmp_path / "log")
    assert len(again.read_logs(0)) == 200


def test_a_journal_that_is_changed_under_way(tmp_path: Path, journal: bytes) -> None:
    study = shared(tmp_path)
    (tmp_path / JOURNAL).write_bytes(journal[: len(journal) // 2])
    with pytest.raises(UserError, match="is damaged"):
        study.fill()
    (tmp_path / JOURNAL).unlink()
    with pytest.raises(UserError, match=r"cannot read or write .*study.log: No such file"):
        study.fill()
    assert not (tmp_path / JOURNAL).exists()


def test_a_journal_that_is_none(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).mkdir()
    with pytest.raises(UserError, match=r"cannot read or write .*study.log: Is a directory"):
        shared(tmp_path)
    (tmp_path / JOURNAL).rmdir()
    ChainedJournal(tmp_path / JOURNAL).append_logs([{"op_code": 99}])
    with pytest.raises(UserError, match="another version of Optuna"):
        shared(tmp_path)


def test_storages_that_cannot_be_used(tmp_path: Path) -> None:
    urls = (f"sqlite:///{tmp_path / 'none' / 'study.db'}", "nonsense", "", "nosuch://host/study")
    for url in (*urls, "sqlite:///" + "x" * 3000, "postgresql://host:port/db"):
        with pytest.raises(UserError, match="cannot be reached") as caught:
            database_storage(url)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


def test_a_database_in_memory_is_refused() -> None:
    """Each worker would have its own, and wait for the others for ever."""
    for url in ("sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"):
        with pytest.raises(UserError, match="is in the memory of one process: give it a file"):
            database_storage(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///study.db", "sqlite:///study.db"),
        ("sqlite:////home/me/a study.db", "sqlite:////home/me/a study.db"),
        ("postgresql://me:secret@host:5432/study", "postgresql://me:…@host:5432/study"),
        ("mysql+pymysql://me:sec%2Fret@[::1]:5/db", "mysql+pymysql://me:…@[::1]:5/db"),
        ("postgresql:///db?user=me&password=secret", "postgresql:///db?…"),
        ("postgresql://host/db?sslpassword=secret", "postgresql://host/db?…"),
        ("postgresql://host/db?secret", "postgresql://host/db?…"),
        ("sqlite:///x.db?token=secret", "sqlite:///x.db?…"),
        ("postgresql:///db&password=secret", "postgresql://…"),
        ("postgresql://me:p@secret@host/db", "postgresql://…"),
        ("postgresql://me:p/secret@host/db", "postgresql://…"),
        ("postgresql://me:p@secret?x@host/db", "postgresql://…"),
        ("postgresql://host/db?password=p@secret", "postgresql://…"),
        ("postgresql://host:secret/db", "postgresql://…"),
        ("me:secret@host/db", "…"),
        ("postgresql:me:secret@host/db", "…"),
        ("user=me password=secret", "…"),
    ],
)
def test_secrets_of_a_storage_are_not_shown(
    url: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert without_secrets(url) == shown

    def failing(*_: object) -> Any:
        raise RuntimeError(f"connection to {url} failed, SECRET is no password of me\n")

    monkeypatch.setattr(nas.storage, "_open_database", failing)
    with pytest.raises(UserError) as caught:
        database_storage(url)
    assert ("secret" in str(caught.value).lower()) == ("sec" not in url)
    assert f"the storage {shown} cannot be reached: " in str(caught.value)


def test_what_a_driver_says_is_shown_where_it_tells_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_: object) -> Any:
        raise RuntimeError("connection refused\nby the host")

    monkeypatch.setattr(nas.storage, "_open_database", failing)
    with pytest.raises(
        UserError, match="cannot be reached: connection refused; give a database URL"
    ):
        database_storage("postgresql://me:secret@host/db?sslmode=require")


def test_a_url_that_was_not_kept_whole_has_to_be_given_again() -> None:
    with pytest.raises(UserError, match="give --storage again"):
        database_storage(without_secrets("sqlite:///x.db?timeout=5"))


def test_a_missing_driver_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for driver in ("psycopg", "pymysql", "MySQLdb"):
        monkeypatch.setitem(sys.modules, driver, None)
    for url, mend in (
        ("postgresql+psycopg://host/db", r'"condense-toolkit\[postgres\]"$'),
        ("mysql+pymysql://host/db", r'"condense-toolkit\[mysql\]"$'),
        ("mysql://host/db", r'"condense-toolkit\[mysql\]", and give mysql\+pymysql://…$'),
    ):
        with pytest.raises(UserError, match=f"driver is not installed; pip install {mend}"):
            database_storage(url)


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Any:
        raise OperationalError("SELECT 1", {}, Exception("fe_sendauth: no password supplied"))

    monkeypatch.setattr(nas.storage, "_open_database", failing)
    with pytest.raises(
        UserError, match="no password supplied; check that it is running, and give its whole URL"
    ):
        database_storage("postgresql://me@host/db")


def test_a_file_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("no database" * 100)
    with pytest.raises(UserError, match="file is not a database"):
        database_storage(f"sqlite:///{tmp_path / 'study.db'}")
