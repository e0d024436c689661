from __future__ import annotations

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DataError, OperationalError

import nas.retrying
from nas.retrying import Retrying, StorageFailedError

URL = "postgresql://me:secret@host/study"


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.pauses = 1000.0, list[float]()
        monkeypatch.setattr(nas.retrying.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(nas.retrying.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def away(*_: object) -> None:
    raise OperationalError("SELECT 1", {}, Exception("server closed the connection\nat once"))


class AwayAtFirst:
    """A call that fails this many times, as Optuna reports it."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, answer: int) -> int:
        self.left -= 1
        if self.left >= 0:
            try:
                away()
            except OperationalError as error:
                raise StorageInternalError("An exception is raised during the commit.") from error
        return answer


def test_a_call_is_repeated_with_growing_pauses(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Retrying(URL, 600)(AwayAtFirst(9), 5) == 5
    assert clock.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    shown = capsys.readouterr().err
    assert shown.splitlines() == [
        "the storage postgresql://me:…@host/study cannot be reached: "
        "(builtins.Exception) server closed the connection; trying again for 600 s"
    ]


def test_a_call_is_given_up_after_the_time(clock: Clock) -> None:
    retrying = Retrying(URL, 25)
    with pytest.raises(
        StorageFailedError, match=r"could not be reached for 25 s: .*closed the connection; cont"
    ):
        retrying(retrying, away)  # also within another one, only once
    assert clock.now == 1025
    assert retrying.seconds_reachable == 0
    clock.now += 7
    assert retrying.seconds_reachable == 7


def test_what_the_database_refuses_is_not_repeated(clock: Clock) -> None:
    def refused() -> None:
        raise DataError("INSERT", {}, Exception("value too long for type character varying(512)"))

    with pytest.raises(StorageFailedError, match=r"reports an error: .*value too long for type"):
        Retrying(URL, 600)(refused)
    assert clock.pauses == []


def test_other_errors_are_not_its_own(clock: Clock) -> None:
    with pytest.raises(ZeroDivisionError):
        Retrying(URL, 600)(lambda: 1 / 0)
    assert clock.pauses == []
