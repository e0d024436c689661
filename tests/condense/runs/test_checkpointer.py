from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from condense.errors import UserError
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer, FileCheckpointer
from condense.runs.csv_log import CSVLog
from condense.runs.progress import Progress
from tests.helpers.checkpoints import tensor_checkpoint


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    tensors = {
        "float": torch.tensor([float("nan"), -0.0, 1e-45, float("inf")]),
        "int": torch.tensor(2**62),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 3),
        "strided": torch.arange(12).reshape(3, 4)[:, ::2],
    }
    tensors["shared"] = tensors["float"]
    state = {"step": 3, "nested": {"values": [0.1, None, "ü"]}}
    Checkpoint(tensors, state, 1.5).write(tmp_path / "c.safetensors")
    back = Checkpoint.read(tmp_path / "c.safetensors")
    assert back.state == state
    assert back.seconds == 1.5
    assert back.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back.tensors[name].dtype == tensor.dtype
        torch.testing.assert_close(back.tensors[name], tensor, rtol=0, atol=0, equal_nan=True)


@pytest.fixture(scope="module")
def checkpoint_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("fuzz") / "checkpoint.safetensors"
    tensor_checkpoint(7).write(path)
    return path, path.read_bytes()


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_truncated_checkpoint_is_said_in_one_line(
    checkpoint_file: tuple[Path, bytes], data: st.DataObject
) -> None:
    path, whole = checkpoint_file
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(UserError, match=r"^[^\n]*checkpoint.safetensors is damaged[^\n]*$"):
        Checkpoint.read(path)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_mangled_checkpoint_raises_nothing_but_a_user_error(
    checkpoint_file: tuple[Path, bytes], data: st.DataObject
) -> None:
    path, whole = checkpoint_file
    mangled = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        mangled[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(mangled))
    try:
        back = Checkpoint.read(path)
    except UserError:
        return
    assert (back.state, back.seconds) == ({"step": 7}, 0.0)
    assert torch.equal(back.tensors["images"], torch.full((2, 3), 7.0))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"step", b"stop"),  # in the state
        (b": 7}", b": 8}"),
        (b"images", b"imagos"),
        (b"F32", b"I32"),
        (b"[2,3]", b"[3,2]"),
        (b"seconds", b"secands"),
        (b':"0.0"', b':"1.0"'),
        (b"digest", b"digits"),
    ],
)
def test_a_checkpoint_that_has_been_changed_is_not_gone_on_with(
    checkpoint_file: tuple[Path, bytes], old: bytes, new: bytes
) -> None:
    path, whole = checkpoint_file
    assert old in whole
    path.write_bytes(whole.replace(old, new))
    with pytest.raises(UserError, match=r"^[^\n]*is damaged[^\n]*delete it to start again$"):
        Checkpoint.read(path)


def test_a_checkpoint_offered_is_what_it_was_when_offered(tmp_path: Path) -> None:
    checkpointer = FileCheckpointer(tmp_path / "c.safetensors", every_seconds=1e9)
    images, state = torch.zeros(3), {"values": [1]}
    checkpointer.save(Checkpoint({"images": images}, state))
    images.add_(1)
    state["values"].append(2)
    assert not checkpointer.path.exists()
    checkpointer.close()
    back = Checkpoint.read(checkpointer.path)
    assert torch.equal(back.tensors["images"], torch.zeros(3))
    assert back.state == {"values": [1]}


def test_checkpoints_are_written_at_most_every_so_often(tmp_path: Path) -> None:
    checkpointer = FileCheckpointer(tmp_path / "c.safetensors", every_seconds=0.2)
    written = set()
    for step in range(2000):
        checkpointer.save(tensor_checkpoint(step))
        if checkpointer.path.exists():
            written.add(checkpointer.path.stat().st_mtime_ns)
        if len(written) == 2:
            break
    assert step > 10
    checkpointer.flush()
    assert Checkpoint.read(checkpointer.path).state == {"step": step}


def test_seconds_add_up_over_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    Checkpoint({}, {}, seconds=100.0).write(tmp_path / "c.safetensors")
    checkpointer = FileCheckpointer(tmp_path / "c.safetensors")
    assert checkpointer.seconds == 1
    checkpointer.restore()
    assert checkpointer.seconds == 102
    checkpointer.save(tensor_checkpoint(1))
    checkpointer.close()
    assert Checkpoint.read(checkpointer.path).seconds == 103


def test_the_checkpointer_that_does_nothing_can_be_used_like_any_other() -> None:
    with Checkpointer() as checkpointer:
        assert checkpointer.restore() is None
        checkpointer.report(1, 2, loss=0.5)
        checkpointer.save(tensor_checkpoint(1))
        checkpointer.flush()


def test_the_bar_shows_progress_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("condensing") as bar:
        for step in range(1, 5):
            bar.report(step, 4, distance=12.5)
        bar.report(1, 2)  # the next of several computations
    shown = capsys.readouterr().err
    assert "condensing: 100%" in shown or "condensing: 25%" in shown.replace("  ", " ")
    assert "1/2" in shown


def test_stages_have_bars_of_their_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    history, bar = tmp_path / "history.csv", Progress("condensing")
    with FileCheckpointer(tmp_path / "c.safetensors", history=history, show=bar) as both:
        for done in range(3):
            both.stage("training network 1", 2, done)
        first = capsys.readouterr().err
        assert "training network 1: " in first
        assert first.endswith("\r"), "removed at its end"
        both.report(1, 2, distance=0.5)
        both.stage("training network 2", 4, 0)
        both.report(2, 2, distance=0.25)
        both.stage("training a teacher", 4, 0)
    shown = capsys.readouterr().err
    places = [shown.index(text) for text in ("condensing: ", "training network 2: ", "teacher: ")]
    assert places == sorted(places)
    assert shown.rstrip().endswith("distance=0.25]"), "an interrupted stage is removed too"
    assert len(history.read_text().splitlines()) == 3, "stages are no steps"


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("condensing", quiet=True) as bar:
        bar.stage("training a network", 2, 0)
        bar.report(1, 4, distance=12.5)
    assert capsys.readouterr().err == ""


# The history


def run_steps(folder: Path, start: int, stop: int) -> None:
    with FileCheckpointer(folder / "c.safetensors", history=folder / "history.csv") as checkpointer:
        for step in range(start, stop):
            checkpointer.report(step + 1, 100, loss=1 / (step + 1), accuracy=step / 3)


@given(total=st.integers(1, 25), data=st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_resumed_history_has_the_bytes_of_an_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, total: int, data: st.DataObject
) -> None:
    whole, broken = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("broken")
    run_steps(whole, 0, total)
    stopped = data.draw(st.integers(0, total))
    kept = data.draw(st.integers(0, min(stopped, total - 1)))
    run_steps(broken, 0, stopped)
    if stopped > kept:  # the last row may be half there, but not one that the checkpoint knows of
        text = (broken / "history.csv").read_bytes()
        torn = data.draw(st.integers(0, len(text.splitlines(keepends=True)[-1])))
        (broken / "history.csv").write_bytes(text[: len(text) - torn])
    run_steps(broken, kept, total)
    assert (broken / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()


@pytest.mark.parametrize(
    "torn", ["", "st", "step,loss\n1,0.5\n2,0.5\n1", "step,loss\n1,0.5\n2,0.5\n12,"]
)
def test_a_half_written_line_is_dropped(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(torn)
    history = CSVLog(path)
    history.append(12, {"loss": 0.25})
    history.close()
    whole = torn[: torn.rfind("\n") + 1] or "step,loss\n"
    assert path.read_text() == whole + "12,0.25\n"


def test_history_by_hand(tmp_path: Path) -> None:
    history = CSVLog(tmp_path / "history.csv")
    history.append(1, {"loss": 0.1, "accuracy": 0.25})
    history.append(5, {"accuracy": 1e-9})
    assert history.path.read_text() == "step,loss,accuracy\n1,0.1,0.25\n5,,1e-09\n"
    with pytest.raises(ValueError, match="step 5"):
        history.append(5, {"loss": 0.1})
    with pytest.raises(ValueError, match="speed"):
        history.append(6, {"speed": 0.1})
    history.close()


def resumed(path: Path, before: bytes, step: int) -> str:
    """The history after a resumed run has added one step to what was there before."""
    path.write_bytes(before)
    history = CSVLog(path)
    history.append(step, {"loss": 0.25})
    history.close()
    return path.read_text()


SOUND = b"step,loss\n1,0.5\n2,nan\n3,\n"


@pytest.mark.parametrize(
    ("damaged", "lost", "kept"),
    [
        (SOUND.replace(b"2,nan\n", b"\xff\x00\r,,\n"), "a line is not a row", "1,0.5\n3,\n"),
        (SOUND.replace(b"2,nan\n", b"\xff\n\n2,x\n"), "3 lines are not rows", "1,0.5\n3,\n"),
        (SOUND.replace(b"2,nan", b"2,nan,4"), "a line is not a row", "1,0.5\n3,\n"),
        (SOUND.replace(b"2,nan", b"92,nan"), "a line is not a row", "1,0.5\n3,\n"),
        (SOUND.replace(b"3,", b"1,"), "a line is not a row", "1,0.5\n2,nan\n"),
        (SOUND.replace(b"1,0.5", b"9" * 5000 + b",1"), "a line is not a row", "2,nan\n3,\n"),
        (SOUND + b"garbage\n", "a line is not a row", "1,0.5\n2,nan\n3,\n"),
        (SOUND.replace(b"loss", b"gain"), "its first line does not name the columns", ""),
        (SOUND.replace(b"step", b"\xff"), "its first line does not name the columns", ""),
        (b"\n" + SOUND, "its first line does not name the columns", ""),
    ],
)
def test_a_damaged_history_keeps_its_rows_and_says_what_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damaged: bytes, lost: str, kept: str
) -> None:
    path = tmp_path / "history.csv"
    assert resumed(path, damaged, 4) == f"step,loss\n{kept}4,0.25\n"
    said = capsys.readouterr().err
    assert said == f"warning: {path} is damaged: {said.partition('damaged: ')[2]}"
    assert lost in said
    assert said.count("\n") == 1


def test_a_sound_history_is_gone_on_with_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resumed(tmp_path / "history.csv", SOUND, 4) == SOUND.decode() + "4,0.25\n"
    repeated = SOUND + b"4,0.5\n5,0.5\n6,0."
    assert resumed(tmp_path / "history.csv", repeated, 4) == SOUND.decode() + "4,0.25\n"
    assert capsys.readouterr().err == ""


def test_a_history_that_is_no_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "history.csv").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*history\.csv"):
        CSVLog(tmp_path / "history.csv").append(1, {"loss": 0.25})
