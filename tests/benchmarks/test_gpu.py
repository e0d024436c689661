"""The measurements of a GPU, tried on the CPU: all parts in their time, and a second call."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu
from benchmarks.gpu import Gpu, commands, dsa, measure, measure_part, resumed, run_part, speeds
from benchmarks.speed.memory_formats import MemoryFormats
from benchmarks.speed.problem import Speed
from condense.__main__ import Run, _run_defaults
from condense.cli.flags import parse, read_flags
from condense.runs.io import read_json

SERVER = "http.server 0 --bind 127.0.0.1"
"""It does not end by itself."""
DIGITS = Gpu(minutes=600, device="cpu", preset="smoke", dataset="digits")


@pytest.mark.parametrize("preset", ["paper", "smoke"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_all_commands_are_valid(preset: Any, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("condense.cli.flags.set_determinism", lambda common: None)
    settings = Gpu(device=device, preset=preset)
    assert len(list(speeds(settings))) == {"cpu": 1, "cuda": 4}[device]
    for _, arguments in [*commands(settings), ("dsa", dsa(settings, 10))]:
        module, *flags = arguments.split()
        if module == "benchmarks.speed":
            assert read_flags(Speed, flags, module).device == device
        elif module == "benchmarks.speed.memory_formats":
            assert read_flags(MemoryFormats, flags, module).device == device
        else:
            parsed = parse(_run_defaults, flags[1:], "python -m condense run")
            assert isinstance(parsed, Run)
            assert (parsed.method, parsed.common.device) == ("dsa", device)


@pytest.mark.xdist_group("gpu")
def test_parts_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Gpu(**{**vars(DIGITS), "out": tmp_path})
    some = list(itertools.islice(commands(settings), 1, 3))
    monkeypatch.setattr(gpu, "commands", lambda settings: some)
    lines: list[str] = []
    measure(settings, lines.append)
    assert [line.partition(":")[0] for line in lines] == [
        "deterministic-1",
        "deterministic-2",
        "two deterministic runs",
        "dsa",
    ]
    assert lines[2].endswith("the same bytes")
    assert read_json(tmp_path / "dsa.json")["code"] == 0, lines
    assert (tmp_path / "dsa" / "run" / "condensed.safetensors").exists()
    assert read_json(tmp_path / "device.json")["device"] == "cpu"
    again: list[str] = []
    measure(settings, again.append)
    assert [line.partition(":")[0] for line in again] == ["two deterministic runs"]


def test_each_part_has_a_share_of_the_time_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    given: dict[str, float] = {}

    def run(folder: Path, arguments: str, seconds: float) -> tuple[dict[str, Any], bool]:
        given[folder.name] = seconds
        now[0] += seconds
        return {"code": 0, "seconds": seconds, "said": []}, True

    monkeypatch.setattr(gpu, "run_part", run)
    monkeypatch.setattr(gpu.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(gpu, "commands", lambda settings: [("first", ""), ("second", "")])
    measure(Gpu(minutes=10, device="cpu", out=tmp_path), lambda line: None)
    assert given == {"first": 150.0, "second": 112.5, "dsa": 337.5}
    given.clear()
    measure(Gpu(minutes=1, device="cpu", out=tmp_path), lambda line: None)
    assert given == {"dsa": 60.0}


def test_a_part_that_takes_too_long_ends_as_a_run_does(tmp_path: Path) -> None:
    found, complete = run_part(tmp_path, SERVER, 0.1)
    assert (found["code"], complete) == (-signal.SIGTERM, False)


def test_a_part_that_ignores_the_signal_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "FLUSH_SECONDS", 0.1)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the process inherits it
    try:
        found, complete = run_part(tmp_path, SERVER, 0.1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (found["code"], complete) == (-signal.SIGKILL, False)


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    found, complete = run_part(tmp_path / "OUT of here", "compileall -q -l OUT", 600)
    assert (found["code"], complete, found["said"]) == (0, True, [])


def test_a_part_with_a_summary_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed before its NAME.json was written."""
    monkeypatch.setattr(gpu, "commands", lambda settings: [("first", "no.such.module")])
    for name in ("first", "dsa"):
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / name / "run" / "summary.json").write_text("{}")
    measure(Gpu(minutes=10, device="cpu", out=tmp_path), pytest.fail)


def test_a_part_that_takes_too_long_is_not_done(tmp_path: Path) -> None:
    """Else the next call would leave it out."""
    line = measure_part(tmp_path, "slow", SERVER, 0.1)
    assert line.startswith("slow: not finished, the next call goes on; exit code -15")
    assert not (tmp_path / "slow.json").exists()
    assert measure_part(tmp_path, "quick", "platform", 600).startswith("quick: exit code 0")
    assert read_json(tmp_path / "quick.json")["code"] == 0


def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    arguments = f"{dsa(Gpu(), 10)} --out OUT/run"
    assert resumed(tmp_path, arguments) == arguments
    (tmp_path / "run").mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text("{}")
    assert resumed(tmp_path, arguments) == "condense run --quiet --resume OUT/run"
