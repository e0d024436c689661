"""A run of `python -m condense run` that is interrupted, resumed or found in the cache."""

import json
import shutil
import signal

import pytest

import condense.api
import condense.evaluation
import condense.runs.checkpointer
from condense import __main__
from condense.condensed_set import CondensedSet
from condense.runs.run_dir import Interrupted
from tests.helpers.folders import write_photos
from tests.helpers.processes import python
from tests.helpers.split_images import write_images

SMOKE = ("--preset", "smoke", "--quiet")


KILLED_AT = """
import os, runpy, signal, sys
from condense import RunFolder
from condense.runs.checkpointer import FileCheckpointer
RunFolder.checkpointer.__kwdefaults__["every_seconds"] = 0
last, save = int(sys.argv.pop(1)), FileCheckpointer.save

def save_and_die(checkpointer, checkpoint):
    save(checkpointer, checkpoint)
    if checkpoint.state.get("iteration") == last:
        os.kill(os.getpid(), signal.SIGKILL)

FileCheckpointer.save = save_and_die
runpy.run_module("condense", run_name="__main__", alter_sys=True)
"""


def test_killed_twice_and_resumed(command, tmp_path, monkeypatch):
    """From a checkpoint each time; the second is that of the last step but one."""
    arguments = (
        "condense", "run", "--dataset", "digits", "--iterations", "8", "--ipc", "2", "--no-cache",
        "--evaluation.num-eval", "1", *SMOKE,
    )  # fmt: skip
    command(*arguments, "--out", "whole")
    rerun = [*arguments, "--out", "killed"]
    monkeypatch.chdir(tmp_path)
    for last in (2, 7):
        assert python(KILLED_AT, last, *rerun[1:]).returncode == -signal.SIGKILL
        checkpoint = condense.runs.checkpointer.Checkpoint.read("killed/checkpoint.safetensors")
        assert checkpoint.state["iteration"] == last
        assert not (tmp_path / "killed" / "summary.json").exists()
        rerun = ["condense", "run", "--resume", "killed", "--quiet"]
    command(*rerun)
    for name in ("condensed.safetensors", "history.csv", "report.html"):
        whole, killed = ((tmp_path / run / name).read_bytes() for run in ("whole", "killed"))
        assert whole == killed, name
    whole, killed = (
        json.loads((tmp_path / run / "summary.json").read_text()) for run in ("whole", "killed")
    )
    assert {**whole, "seconds": 0} == {**killed, "seconds": 0}


def test_a_run_is_resumed_in_another_folder(command, tmp_path):
    """Relative paths and `auto` are then the same images as before."""
    write_photos(tmp_path / "photos")
    command("condense", "zoo", "mnist-dsa-1", "--out", "first.safetensors")
    random = ("--method", "random", "--ipc", "1", *SMOKE)
    runs = {
        "a": ("condense", "run", "--dataset", "photos", "--size", "16", *random),
        "b": ("condense", "run", *random),
        "c": ("condense", "evaluate", "a/condensed.safetensors", "--dataset", "photos", *SMOKE),
        "d": ("condense", "run", "--dataset", "mnist5k", "--init", "first.safetensors",
              "--iterations", "1", "--ipc", "1", *SMOKE),
    }  # fmt: skip
    for name, arguments in runs.items():
        size = () if name != "c" else ("--size", "16")
        command(*arguments, *size, "--out", name)
        (tmp_path / name / "summary.json").unlink()  # as if it had been killed at its end
    write_images(tmp_path / "data", "cifar10", (32, 32, 3))  # `auto` would select it now
    (tmp_path / "elsewhere").mkdir()
    for name, arguments in runs.items():
        resumed = [*arguments[:2], "--resume", f"../{name}"]
        done = command(*resumed, "--quiet", folder="elsewhere")
        assert (tmp_path / name / "summary.json").exists(), done.stderr


def test_interrupted_while_the_set_is_tested(tmp_path, monkeypatch):
    """The run still knows that it made the set, and how long that took."""
    monkeypatch.setenv("CONDENSE_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(Interrupted):  # noqa: PT012
        patch.setattr(condense.evaluation, "evaluate", interrupt)
        __main__.run(["--dataset", "digits", "--out", str(run), *SMOKE])
    kept = condense.runs.checkpointer.Checkpoint.read(run / "checkpoint.safetensors")
    before = (run / "condensed.safetensors").read_bytes()
    monkeypatch.setattr(condense.api, "condense", interrupt)
    __main__.run(["--resume", str(run), "--quiet"])
    summary = json.loads((run / "summary.json").read_text())
    assert not summary["from_cache"]
    assert summary["seconds"] >= round(kept.seconds, 1) > 0
    tested = CondensedSet.load(run / "condensed.safetensors")
    for name in ("accuracy", "accuracy_std"):
        assert tested.provenance.pop(name) == summary[f"accuracy_{name[9:] or 'mean'}"]
    assert tested.provenance.pop("evaluation")["num_eval"] == summary["num_eval"]
    tested.save(run / "condensed.safetensors")
    assert (run / "condensed.safetensors").read_bytes() == before


@pytest.mark.parametrize("damage", [None, b"half of a set"], ids=["missing", "damaged"])
def test_a_set_that_is_lost_while_it_is_tested_is_made_again(damage, tmp_path, monkeypatch, capsys):
    run, made = tmp_path / "run", tmp_path / "run" / "condensed.safetensors"
    with monkeypatch.context() as patch, pytest.raises(Interrupted):  # noqa: PT012
        patch.setattr(condense.evaluation, "evaluate", interrupt)
        __main__.run(["--dataset", "digits", "--no-cache", "--out", str(run), *SMOKE])
    before, history = made.read_bytes(), (run / "history.csv").read_bytes()
    made.unlink() if damage is None else made.write_bytes(damage)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):  # noqa: PT012
        patch.setattr(condense.evaluation, "evaluate", interrupt)
        __main__.run(["--resume", str(run), "--quiet"])
    assert (made.read_bytes(), (run / "history.csv").read_bytes()) == (before, history)
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("warning: ")
    assert said.endswith("; it is made again")


def interrupt(*arguments, **more):
    raise KeyboardInterrupt


def test_nothing_is_condensed_twice(command, tmp_path):
    for out in ("a", "b"):
        command("condense", "run", "--dataset", "digits", "--compare", "none", "--out", out, *SMOKE)
    assert (tmp_path / "a" / "history.csv").exists()
    assert not (tmp_path / "b" / "history.csv").exists()
    sets = list((tmp_path / "cache").glob("*.safetensors"))
    assert len(sets) == 1
    a, b = ((tmp_path / out / "condensed.safetensors").read_bytes() for out in "ab")
    assert a == b


def test_a_run_does_not_go_on_from_another_set(command, tmp_path):
    data = ("condense", "run", "--dataset", "digits", "--no-cache", "--evaluation.num-eval", "0")
    sets = [(*data, "--method", "random", "--seed", seed, *SMOKE) for seed in "01"]
    command(*sets[0], "--out", "start")
    learn = (
        *data,
        "--method",
        "dm",
        "--init",
        "start/condensed.safetensors",
        "--out",
        "run",
        *SMOKE,
    )
    command(*learn)
    (tmp_path / "run" / "summary.json").unlink()  # as if it had been interrupted
    command(*sets[1], "--out", "other")
    shutil.copy(tmp_path / "other" / "condensed.safetensors", tmp_path / "start")
    done = command("condense", "run", "--resume", "run", code=2)
    assert "init" in done.stderr
    command(*sets[0], "--out", "again")
    shutil.copy(tmp_path / "again" / "condensed.safetensors", tmp_path / "start")
    command("condense", "run", "--resume", "run")
