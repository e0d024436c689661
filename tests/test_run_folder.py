from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from condense.errors import UserError
from condense.files import atomic_write, read_json, write_json, write_tensors
from condense.journal import Checkpoint, FileJournal, History, Journal, Progress
from condense.run_folder import Interrupted, RunFolder

CONFIG = {"command": "python -m condense run", "settings": {"ipc": 1, "network": {"width": 32}}}


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()} - {".lock"}


def tensor_checkpoint(step: int) -> Checkpoint:
    return Checkpoint({"images": torch.full((2, 3), float(step))}, {"step": step})


# Atomic files


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_atomic_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    path = tmp_path / "set.npz"
    path.write_text("old")

    def write() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        write()
    assert names(tmp_path) == {"set.npz"}
    assert path.read_text() == "old"


def test_atomic_write_keeps_the_suffix_and_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with atomic_write(tmp_path / "new" / "picture.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path / "new"
        temporary.touch()
    made = tmp_path / "new" / "picture.png"
    assert made.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_full_disk_is_said_in_one_line_and_leaves_the_old_files(tmp_path: Path) -> None:
    # A limit on the size of files is the part of a full disk that needs no rights to set up.
    write_json(tmp_path / "summary.json", {"accuracy": 0.5})
    History(tmp_path / "history.csv").append(1, {"loss": 1.0})
    done = python(
        """
        import resource, sys
        from pathlib import Path
        from condense.errors import UserError
        from condense.files import write_json
        from condense.journal import History
        folder = Path(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_json(folder / "summary.json", ["x" * 2000])
        except UserError as error:
            print(error)
        history = History(folder / "history.csv")
        try:
            for step in range(2, 1000):
                history.append(step, {"loss": 0.5})
        except UserError as error:
            print(error)
        """,
        tmp_path,
    )
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"no space left to write {tmp_path / 'summary.json'}",
        f"no space left to write {tmp_path / 'history.csv'}",
    ], done.stderr
    assert "--out" in lines[0]
    assert read_json(tmp_path / "summary.json") == {"accuracy": 0.5}
    assert names(tmp_path) == {"summary.json", "history.csv"}


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*file/run"):
        RunFolder.create(tmp_path / "file" / "run", CONFIG)


def test_json_is_strict_and_ends_in_a_newline(tmp_path: Path) -> None:
    value = {"b": (1, 2.5), "a": float("nan"), "path": Path("x"), "t": torch.tensor([1, 2])}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text).items()) == [
        ("b", [1, 2.5]),
        ("a", None),
        ("path", "x"),
        ("t", [1, 2]),
    ]


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00\xff", "[" * 100_000])
def test_damaged_json_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"^[^\n]*config.json is damaged[^\n]*$"):
        read_json(path)


def test_the_same_tensors_and_metadata_give_the_same_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3).T, "a": torch.tensor([1, 2])}
    metadata = {letter: f"{letter} — “quoted”" for letter in "hgfedcba"}
    files = []
    for _ in range(10):  # the library alone would shuffle eight entries
        write_tensors(tmp_path / "x.safetensors", tensors, metadata)
        files.append((tmp_path / "x.safetensors").read_bytes())
    assert len(set(files)) == 1
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert file.metadata() == metadata
        assert torch.equal(file.get_tensor("b"), tensors["b"])
        assert torch.equal(file.get_tensor("a"), tensors["a"])


# Checkpoints


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
    with suppress(UserError):
        Checkpoint.read(path)


# The journal


def test_a_checkpoint_offered_is_what_it_was_when_offered(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "c.safetensors", every_seconds=1e9)
    images, state = torch.zeros(3), {"values": [1]}
    journal.save(Checkpoint({"images": images}, state))
    images.add_(1)
    state["values"].append(2)
    assert not journal.path.exists()
    journal.close()
    back = Checkpoint.read(journal.path)
    assert torch.equal(back.tensors["images"], torch.zeros(3))
    assert back.state == {"values": [1]}


def test_checkpoints_are_written_at_most_every_so_often(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "c.safetensors", every_seconds=0.2)
    written = set()
    for step in range(2000):
        journal.save(tensor_checkpoint(step))
        if journal.path.exists():
            written.add(journal.path.stat().st_mtime_ns)
        if len(written) == 2:
            break
    assert step > 10
    journal.flush()
    assert Checkpoint.read(journal.path).state == {"step": step}


def test_seconds_add_up_over_sessions(tmp_path: Path) -> None:
    Checkpoint({}, {}, seconds=100.0).write(tmp_path / "c.safetensors")
    journal = FileJournal(tmp_path / "c.safetensors")
    assert journal.seconds < 1
    journal.restore()
    assert 100 <= journal.seconds < 101
    journal.save(tensor_checkpoint(1))
    journal.close()
    assert 100 <= Checkpoint.read(journal.path).seconds < 101


def test_the_journal_that_does_nothing_can_be_used_like_any_other() -> None:
    with Journal() as journal:
        assert journal.restore() is None
        journal.report(1, 2, loss=0.5)
        journal.save(tensor_checkpoint(1))
        journal.flush()


def test_the_bar_shows_progress_and_figures(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("condensing") as bar:
        for step in range(1, 5):
            bar.report(step, 4, distance=12.5)
        bar.report(1, 2)  # the next of several computations
    shown = capsys.readouterr().err
    assert "condensing: 100%" in shown or "condensing: 25%" in shown.replace("  ", " ")
    assert "1/2" in shown


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("condensing", quiet=True) as bar:
        bar.report(1, 4, distance=12.5)
    assert capsys.readouterr().err == ""


# The history


def run_steps(folder: Path, start: int, stop: int) -> None:
    with FileJournal(folder / "c.safetensors", history=folder / "history.csv") as journal:
        for step in range(start, stop):
            journal.report(step + 1, 100, loss=1 / (step + 1), accuracy=step / 3)


@given(total=st.integers(1, 12), data=st.data())
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
        torn = data.draw(st.integers(0, 5))
        text = (broken / "history.csv").read_bytes()
        (broken / "history.csv").write_bytes(text[: len(text) - torn])
    run_steps(broken, kept, total)
    assert (broken / "history.csv").read_bytes() == (whole / "history.csv").read_bytes()


def test_history_by_hand(tmp_path: Path) -> None:
    history = History(tmp_path / "history.csv")
    history.append(1, {"loss": 0.1, "accuracy": 0.25})
    history.append(5, {"accuracy": 1e-9})
    assert history.path.read_text() == "step,loss,accuracy\n1,0.1,0.25\n5,,1e-09\n"
    with pytest.raises(ValueError, match="step 5"):
        history.append(5, {"loss": 0.1})
    with pytest.raises(ValueError, match="speed"):
        history.append(6, {"speed": 0.1})
    history.close()


# The folder


def test_a_run_leaves_its_config_and_a_commit(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "runs" / "a", CONFIG) as run:
        assert not run.finished
        run.write_summary({"accuracy_mean": 0.5})
        assert run.finished
    config = read_json(tmp_path / "runs" / "a" / "config.json")
    assert {key: config[key] for key in CONFIG} == CONFIG
    assert set(config) == {*CONFIG, "version", "commit"}
    assert names(run.path) == {"config.json", "summary.json"}


def test_ctrl_c_leaves_the_last_step_and_says_where(tmp_path: Path) -> None:
    def interrupted() -> None:
        with RunFolder.create(tmp_path / "run", CONFIG) as run:
            journal = run.journal()
            for step in range(1, 4):
                journal.report(step, 10, loss=0.5)
                journal.save(tensor_checkpoint(step))
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stop:
        interrupted()
    assert stop.value.path == tmp_path / "run"
    assert stop.value.command == "python -m condense run"
    with RunFolder.open(tmp_path / "run") as run:
        checkpoint = run.load_checkpoint()
        assert checkpoint is not None
        assert checkpoint.state == {"step": 3}
        run.remove_checkpoint()
        assert run.load_checkpoint() is None


def test_one_run_is_not_written_over_another(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", CONFIG).close()
    before = (tmp_path / "run" / "config.json").read_bytes()
    other = {**CONFIG, "settings": {"ipc": 10, "network": {"width": 128}}}
    with pytest.raises(UserError) as same:
        RunFolder.create(tmp_path / "run", CONFIG)
    with pytest.raises(UserError) as different:
        RunFolder.create(tmp_path / "run", other)
    assert f"go on with --resume {tmp_path / 'run'}" in str(same.value)
    assert "other settings" not in str(same.value)
    assert "settings.ipc 1 → 10, settings.network.width 32 → 128;" in str(different.value)
    assert "--out" in str(different.value)
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    RunFolder.open(tmp_path / "run").close()  # and the lock is free again


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"other files \(thesis.tex\).*--out"):
        RunFolder.create(tmp_path, CONFIG)
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run to resume"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        RunFolder.open(tmp_path)


def test_a_resumed_run_needs_the_same_images(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", {**CONFIG, "data": {"sha256": "aa", "train": 5}}).close()
    with RunFolder.open(tmp_path / "run") as run:
        run.require(data={"sha256": "aa", "train": 5})
        with pytest.raises(UserError, match=r"data\.sha256 aa → bb"):
            run.require(data={"sha256": "bb", "train": 5})


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    code = """
        import sys
        from condense.errors import UserError
        from condense.run_folder import RunFolder
        try:
            RunFolder.open(sys.argv[1]).close()
        except UserError as error:
            print(error)
        assert "torch" not in sys.modules
        """
    with RunFolder.create(tmp_path / "run", CONFIG):
        refused = python(code, tmp_path / "run")
        with pytest.raises(UserError, match="in use by another process"):
            RunFolder.create(tmp_path / "run", CONFIG)
    free = python(code, tmp_path / "run")
    assert refused.stdout.startswith(f"{tmp_path / 'run'} is in use by another process")
    assert (free.stdout, free.stderr) == ("", "")


def test_the_lock_goes_with_a_killed_process(tmp_path: Path) -> None:
    killed = python(
        """
        import os, signal, sys
        from condense.files import atomic_write
        from condense.run_folder import RunFolder
        run = RunFolder.create(sys.argv[1], {})
        with atomic_write(run.path / "x.json") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path / "run",
    )
    assert killed.returncode == -9
    assert any(name.startswith(".tmp-") for name in names(tmp_path / "run"))
    with RunFolder.open(tmp_path / "run"):
        assert names(tmp_path / "run") == {"config.json"}


KILLED_AND_RESUMED = """
    import os, random, signal, sys, time
    from pathlib import Path
    import torch
    from condense.run_folder import Checkpoint, RunFolder

    STEPS = 60

    def work(run):
        journal = run.journal(every_seconds=0.002)
        checkpoint = journal.restore()
        x = checkpoint.tensors["x"] if checkpoint else torch.zeros(20_000)
        done = checkpoint.state["done"] if checkpoint else 0
        for step in range(done, STEPS):
            x = (x * 1.1 + step).sin()
            journal.report(step + 1, STEPS, norm=float(x.norm()))
            journal.save(Checkpoint({"x": x}, {"done": step + 1}))
            time.sleep(0.0005)
        run.write_summary({"sum": float(x.sum())})

    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with RunFolder.create(folder / "whole", {}) as run:
        work(run)
    started = resumed = 0
    for number in range(6):
        path = folder / str(number)
        pid = os.fork()
        if pid == 0:
            with RunFolder.create(path, {}) as run:
                work(run)
            os._exit(0)
        while not (path / "history.csv").exists():
            time.sleep(0.001)
        time.sleep(0.01 * number)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with RunFolder.open(path) as run:
            started += not run.finished
            resumed += run.load_checkpoint() is not None
            work(run)
        for name in ("summary.json", "history.csv"):
            same = (path / name).read_bytes() == (folder / "whole" / name).read_bytes()
            assert same, (number, name)
    print(started, resumed)
    """


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, so that torch is imported once")
def test_a_run_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    done = python(KILLED_AND_RESUMED, tmp_path)
    assert done.returncode == 0, done.stderr
    started, resumed = map(int, done.stdout.split())
    assert started >= 3, "the runs were over before they were killed"
    assert resumed >= 3, "the runs were killed before they had a checkpoint"
