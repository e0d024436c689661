from __future__ import annotations

import errno
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from condense.config.methods import Coreset, GradientMatching
from condense.config.network import Network
from condense.errors import UserError
from condense.runs.cache import Cache, cache_key, default_root
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer, FileCheckpointer
from condense.runs.io import atomic_write
from tests.helpers.processes import HANGS

KEY = cache_key("images", "dsa", GradientMatching(), 0)


def load(path: Path) -> str:
    text = path.read_text()
    if not text.startswith("set "):
        raise UserError(f"{path} is damaged")
    return text


def save(text: str, path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text)


def obtain(
    cache: Cache,
    make: Callable[[Checkpointer], str],
    checkpointer: Checkpointer | None = None,
    key: str = KEY,
) -> str:
    return cache.obtain(key, load=load, make=make, save=save, checkpointer=checkpointer)


def never(checkpointer: Checkpointer) -> str:
    raise AssertionError("the set is there")


def names(cache: Cache) -> set[str]:
    return {path.name for path in cache.root.iterdir() if path.suffix != ".lock"}


class Stopping:
    """Counts to ten, and is interrupted at some step of its first time."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.steps: list[int] = []

    def __call__(self, checkpointer: Checkpointer) -> str:
        checkpoint = checkpointer.restore()
        for step in range(checkpoint.state["done"] if checkpoint else 0, 10):
            if step == self.at and step not in self.steps:
                self.steps.append(step)
                raise KeyboardInterrupt
            self.steps.append(step)
            checkpointer.report(step + 1, 10, loss=1.0)
            checkpointer.save(Checkpoint({"x": torch.zeros(2)}, {"done": step + 1}))
        return "set of ten"


def test_a_key_depends_on_all_that_a_set_depends_on() -> None:
    settings = GradientMatching()
    keys = {
        cache_key("images", "dsa", settings, 0),
        cache_key("others", "dsa", settings, 0),
        cache_key("images", "dc", settings, 0),
        cache_key("images", "dsa", settings, 1),
        cache_key("images", "dsa", GradientMatching(ipc=1), 0),
        cache_key("images", "dsa", GradientMatching(network=Network(width=32)), 0),
        cache_key("images", "dsa", Coreset(), 0),
    }
    assert len(keys) == 7
    assert cache_key("images", "dsa", GradientMatching(), 0) in keys


def test_the_folder_is_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONDENSE_CACHE", str(tmp_path / "mine"))
    assert default_root() == tmp_path / "mine"
    assert Cache().path("k") == tmp_path / "mine" / "k.safetensors"
    assert not (tmp_path / "mine").exists()
    monkeypatch.delenv("CONDENSE_CACHE")
    assert default_root().name == "sets"


def test_a_set_is_made_once(tmp_path: Path) -> None:
    assert obtain(Cache(tmp_path), lambda checkpointer: "set 1") == "set 1"
    assert obtain(Cache(tmp_path), never) == "set 1"
    assert obtain(Cache(tmp_path), lambda checkpointer: "set 2", key="other") == "set 2"
    assert names(Cache(tmp_path)) == {f"{KEY}.safetensors", "other.safetensors"}


def test_an_interrupted_making_goes_on(tmp_path: Path) -> None:
    make = Stopping(at=4)
    with pytest.raises(KeyboardInterrupt):
        obtain(Cache(tmp_path), make)
    assert names(Cache(tmp_path)) == {f"{KEY}.partial.safetensors"}
    assert obtain(Cache(tmp_path), make) == "set of ten"
    assert make.steps == [0, 1, 2, 3, 4, *range(4, 10)]
    assert names(Cache(tmp_path)) == {f"{KEY}.safetensors"}


def test_a_run_has_its_reports_and_checkpoints_too(tmp_path: Path) -> None:
    def run_checkpointer() -> FileCheckpointer:
        return FileCheckpointer(tmp_path / "c.safetensors", history=tmp_path / "history.csv")

    make = Stopping(at=4)
    with pytest.raises(KeyboardInterrupt), run_checkpointer() as checkpointer:
        obtain(Cache(tmp_path / "cache"), make, checkpointer)
    assert Checkpoint.read(tmp_path / "c.safetensors").state == {"done": 4}
    with run_checkpointer() as checkpointer:  # resumed on another machine
        assert obtain(Cache(tmp_path / "empty"), make, checkpointer) == "set of ten"
        checkpointer.report(11, 11, loss=0.5)
    assert make.steps == [0, 1, 2, 3, 4, *range(4, 10)]
    rows = (tmp_path / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", *map(str, range(1, 12))]


def test_a_resumed_run_goes_on_although_the_set_is_in_the_cache(tmp_path: Path) -> None:
    """As another run has put it there: the history of this one would have a gap."""
    cache, run, make = Cache(tmp_path / "cache"), tmp_path / "c.safetensors", Stopping(at=4)
    with pytest.raises(KeyboardInterrupt), FileCheckpointer(run) as checkpointer:
        obtain(cache, make, checkpointer)
    obtain(cache, lambda _: "set of ten")
    with FileCheckpointer(run, history=tmp_path / "history.csv") as checkpointer:
        assert obtain(cache, make, checkpointer) == "set of ten"
    assert make.steps == [0, 1, 2, 3, 4, *range(4, 10)]
    rows = (tmp_path / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", *map(str, range(5, 11))]
    assert cache.hits == 0
    assert names(cache) == {f"{KEY}.safetensors"}


def test_a_run_that_goes_on_with_anothers_set_says_so_and_counts_its_seconds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make = Stopping(at=4)
    with pytest.raises(KeyboardInterrupt):
        obtain(Cache(tmp_path), make)
    partial = tmp_path / f"{KEY}.partial.safetensors"
    replace(Checkpoint.read(partial), seconds=100.0).write(partial)
    with FileCheckpointer(tmp_path / "c.safetensors") as checkpointer:
        obtain(Cache(tmp_path), make, checkpointer)
        assert checkpointer.seconds >= 100
    assert Checkpoint.read(tmp_path / "c.safetensors").seconds >= 100
    said = "note: continues from a checkpoint in the cache; the history of this run begins there\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("content", ["", "half a s"])
def test_a_damaged_set_is_made_anew_with_one_warning(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = Cache(tmp_path)
    cache.path(KEY).write_text(content)
    assert obtain(cache, lambda checkpointer: "set 1") == "set 1"
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert obtain(cache, never) == "set 1"
    assert capsys.readouterr().err == ""


def test_a_damaged_partial_set_is_begun_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make = Stopping(at=4)
    with pytest.raises(KeyboardInterrupt):
        obtain(Cache(tmp_path), make)
    partial = tmp_path / f"{KEY}.partial.safetensors"
    partial.write_bytes(partial.read_bytes()[:-1])
    assert obtain(Cache(tmp_path), make) == "set of ten"
    assert make.steps == [0, 1, 2, 3, 4, *range(10)]
    assert capsys.readouterr().err.startswith("warning: ")


def test_what_killed_writers_left_is_cleared_away(tmp_path: Path) -> None:
    mine = tmp_path / f".tmp-0123-{KEY}.safetensors"
    others = tmp_path / ".tmp-0123-other.safetensors"
    mine.touch()
    others.touch()  # may be in the middle of being written
    obtain(Cache(tmp_path), lambda checkpointer: "set 1")
    assert not mine.exists()
    assert others.exists()


def test_a_cache_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        obtain(Cache(tmp_path / "file" / "cache"), lambda checkpointer: "set 1")


def test_what_to_do_about_a_folder_that_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"choose another folder \(\$CONDENSE_CACHE; or none, by"):
        obtain(Cache(tmp_path / "sets"), lambda checkpointer: "set 1")


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from condense.runs.cache import Cache
        from condense.runs.io import atomic_write

        def make(checkpointer):
            print("made")
            time.sleep(0.3)
            return "set 1"

        def save(text, path):
            with atomic_write(path) as temporary:
                temporary.write_text(text)

        print(Cache(sys.argv[1]).obtain("key", load=Path.read_text, make=make, save=save))
        """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = sorted(process.communicate(timeout=HANGS)[0] for process in processes)
    assert outputs == ["made\nset 1\n", "set 1\n", "set 1\n", "set 1\n"]


@pytest.mark.parametrize("where", ["set", "checkpoint"])
def test_a_full_cache_names_the_cache_and_not_the_run(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fills it up: the set, or a checkpoint of its making."""
    cache, replaced = Cache(tmp_path / "cache"), Path.replace
    full = cache.path(KEY) if where == "set" else cache.root / f"{KEY}.partial.safetensors"

    def fill(self: Path, target: Path) -> Path:
        if Path(target) == full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replaced(self, target)

    def make(checkpointer: Checkpointer) -> str:
        checkpointer.save(Checkpoint({}, {"step": 1}))
        return "set 1"

    monkeypatch.setattr(Path, "replace", fill)
    with pytest.raises(UserError) as caught:
        obtain(cache, make)
    assert str(caught.value).startswith(f"no space left to write {full}: ")
    assert str(caught.value).endswith("($CONDENSE_CACHE; or none, by --no-cache)")
