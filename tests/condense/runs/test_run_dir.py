from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from condense.errors import UserError
from condense.runs.io import WriteError, read_json
from condense.runs.run_dir import Interrupted, RunFolder
from tests.helpers.checkpoints import tensor_checkpoint
from tests.helpers.processes import python

CONFIG = {"command": "python -m condense run", "settings": {"ipc": 1, "network": {"width": 32}}}


def names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()} - {".lock", "run.log"}


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
            checkpointer = run.checkpointer()
            for step in range(1, 4):
                checkpointer.report(step, 10, loss=0.5)
                checkpointer.save(tensor_checkpoint(step))
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as stop:
        interrupted()
    assert stop.value.path == tmp_path / "run"
    assert stop.value.command == "python -m condense run"
    with RunFolder.open(tmp_path / "run") as run:
        checkpoint = run.checkpointer().restore()
        assert checkpoint is not None
        assert checkpoint.state == {"step": 3}
        run.remove_checkpoint()
        assert run.checkpointer().restore() is None


@pytest.mark.parametrize("stopped_by", ["full disk", "Ctrl-C"])
def test_a_full_disk_leaves_the_last_checkpoint_and_says_how_to_resume(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stopped_by: str,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def stopped() -> None:
        with RunFolder.create(tmp_path / "run", CONFIG) as run:
            checkpointer = run.checkpointer()
            checkpointer.save(tensor_checkpoint(1))
            checkpointer.flush()
            monkeypatch.setattr("os.fsync", full)
            checkpointer.save(tensor_checkpoint(2))
            if stopped_by == "full disk":
                checkpointer.flush()
            raise KeyboardInterrupt

    with pytest.raises(UserError, match="no space left"):
        stopped()
    again = f"resume with: python -m condense run --resume {tmp_path / 'run'}\n"
    assert capsys.readouterr().err.endswith(again)
    with RunFolder.open(tmp_path / "run") as run:
        checkpoint = run.checkpointer().restore()
        assert checkpoint is not None
        assert checkpoint.state == {"step": 1}


def test_what_could_not_be_written_after_the_summary_needs_no_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped() -> None:
        with RunFolder.create(tmp_path / "run", CONFIG) as run:
            run.write_summary({})
            raise WriteError(OSError("broken"), "run.log")

    with pytest.raises(WriteError):
        stopped()
    assert not capsys.readouterr().err


def test_one_run_is_not_written_over_another(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", CONFIG).close()
    before = (tmp_path / "run" / "config.json").read_bytes()
    other = {**CONFIG, "settings": {"ipc": 10, "network": {"width": 128}}}
    with pytest.raises(UserError) as same:
        RunFolder.create(tmp_path / "run", CONFIG)
    with pytest.raises(UserError) as different:
        RunFolder.create(tmp_path / "run", other)
    assert f"continue with --resume {tmp_path / 'run'}" in str(same.value)
    assert "other settings" not in str(same.value)
    assert "other settings: --ipc 1 → 10, --network.width 32 → 128;" in str(different.value)
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
        from condense.runs.run_dir import RunFolder
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
        from condense.runs.io import atomic_write
        from condense.runs.run_dir import RunFolder
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
    import os, signal, sys
    from pathlib import Path
    import torch
    from condense.runs.checkpoint import Checkpoint
    from condense.runs.run_dir import RunFolder

    STEPS = 60

    def work(run, last=None):
        # Kills itself in the middle of step `last`: `last` % 3 says where.
        checkpointer = run.checkpointer(every_seconds=0.0)
        checkpoint = checkpointer.restore()
        x = checkpoint.tensors["x"] if checkpoint else torch.zeros(20_000)
        done = checkpoint.state["done"] if checkpoint else 0
        for step in range(done, STEPS):
            x = (x * 1.1 + step).sin()
            die = [step == last and last % 3 == place for place in range(3)]
            die[0] and os.kill(os.getpid(), signal.SIGKILL)
            checkpointer.report(step + 1, STEPS, norm=float(x.norm()))
            die[1] and os.kill(os.getpid(), signal.SIGKILL)
            checkpointer.save(Checkpoint({"x": x}, {"done": step + 1}))
            die[2] and os.kill(os.getpid(), signal.SIGKILL)
        run.write_summary({"sum": float(x.sum())})

    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with RunFolder.create(folder / "whole", {}) as run:
        work(run)
    resumed = 0
    for number in range(6):
        path = folder / str(number)
        pid = os.fork()
        if pid == 0:
            with RunFolder.create(path, {}) as run:
                work(run, last=7 * number)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        with RunFolder.open(path) as run:
            resumed += (path / "checkpoint.safetensors").exists()
            work(run)
        for name in ("summary.json", "history.csv"):
            same = (path / name).read_bytes() == (folder / "whole" / name).read_bytes()
            assert same, (number, name)
    print(resumed)
    """


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, so that torch is imported once")
def test_a_run_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    done = python(KILLED_AND_RESUMED, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 5, "all but the one that is killed at its first step"
