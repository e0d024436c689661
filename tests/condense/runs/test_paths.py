"""Paths and names that the system refuses: one line each, wherever they are given."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from condense import __main__
from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.config.methods import Coreset
from condense.data.loading import available, load
from condense.data.registry import data_root
from condense.errors import UserError
from condense.runs.cache import Cache, default_root
from condense.runs.checkpoint import Checkpoint
from condense.runs.io import (
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from condense.runs.paths import user_path
from condense.runs.run_dir import RunFolder
from tests.helpers.images import blobs

LONG = "x" * 300
REFUSED = [LONG, "a/" + LONG, "~nosuchuser/x", "a\udcff", "a\0b", "loop/x"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")


def one_line(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert len(message) <= 500
    assert message.isprintable()
    return message


@pytest.mark.parametrize("given", REFUSED)
def test_what_the_system_refuses_is_said_where_it_is_given(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one_line(lambda: user_path(given, "--out")).startswith("--out: ")
    for call in (
        lambda: load(given),
        lambda: available(given),
        lambda: load("digits", Path(given)) and data_root(Path(given)),
        lambda: Cache(given),
        lambda: RunFolder.create(given, {}),
        lambda: RunFolder.open(given),
    ):
        one_line(call)
    if "\0" not in given:  # which no environment can hold
        for name, read in (("CONDENSE_CACHE", default_root), ("CONDENSE_DATA", _data_root)):
            monkeypatch.setenv(name, given)
            assert one_line(read).startswith(f"${name}: ")
    one_line(lambda: read_json(given))
    one_line(lambda: read_tensors(given))
    one_line(lambda: Checkpoint.read(given))


def _data_root() -> Path:
    return data_root(None)


@pytest.mark.parametrize("given", [given for given in REFUSED if "\0" not in given])
@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--dataset", "{}"),
        ("run", "--dataset", "digits", "--out", "{}"),
        ("run", "--dataset", "digits", "--data-root={}"),
        ("run", "--resume", "{}"),
        ("evaluate", "{}"),
        ("show", "{}"),
        ("zoo", "{}"),
        ("zoo", "mnist-dsa-1", "--out", "{}"),
    ],
)
def test_command_lines(given: str, arguments: tuple[str, ...]) -> None:
    name, *rest = (argument.format(given) for argument in arguments)
    one_line(lambda: __main__.COMMANDS[name](rest))


def test_what_is_there_and_what_may_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").touch()
    assert user_path("~/runs", "--out") == tmp_path / "runs"
    assert user_path("file/x", "--out") == Path("file/x")
    assert user_path(Path("ü"), "--out") == Path("ü")


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "mnist.npz").mkdir(parents=True)
    assert "file" in one_line(lambda: RunFolder.create("file", {}))
    assert "no run to resume" in one_line(lambda: RunFolder.open("file"))
    assert "not a file" in one_line(lambda: load("mnist", tmp_path / "folder"))
    assert "it is not a file" in one_line(lambda: read_json("folder"))
    assert "it is not a file" in one_line(lambda: CondensedSet.load("folder"))
    os.mkfifo(tmp_path / "pipe")
    assert "it is not a file" in one_line(lambda: read_json("pipe"))


def test_json_keeps_a_path_that_is_not_utf_8(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"path": Path("a\udcff"), "name": "ü"})
    assert json.loads((tmp_path / "x.json").read_bytes()) == {"path": "a\udcff", "name": "ü"}
    assert read_json(tmp_path / "x.json") == {"path": "a\udcff", "name": "ü"}


def a_set() -> CondensedSet:
    return condense(blobs(), "random", Coreset(ipc=1))


@pytest.mark.parametrize(
    ("dataset", "said"),
    [(LONG, "cannot be used"), ("a\0b", "cannot be used"), (["x"], "data set"), (5, "data set")],
)
def test_a_set_that_was_made_from_what_cannot_be(dataset: object, said: str) -> None:
    a_set().with_provenance(dataset=dataset).save("set.safetensors")
    assert said in one_line(lambda: __main__.evaluate_set(["set.safetensors", "--preset", "smoke"]))


def test_a_set_whose_names_cannot_be_written_is_not(tmp_path: Path) -> None:
    wrong = replace(a_set(), class_names=("a", "b", "\udcff"))
    assert "has bytes that are not UTF-8" in one_line(lambda: wrong.save("set.safetensors"))
    assert "provenance" in one_line(lambda: a_set().with_provenance(x="\udcff").save("s"))
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("class_names", '["a", "b", "\\ud800"]', "the class name \\ud800"),
        ("class_names", '["a", "b", "c\\n"]', "the class name c\\n"),
        ("provenance", '{"dataset": "\\ud800"}', "provenance is not valid Unicode"),
        ("provenance", "[" * 100_000, "is not a condensed set"),
    ],
)
def test_a_set_whose_names_cannot_be_shown_is_not_read(key: str, text: str, said: str) -> None:
    a_set().save("set.safetensors")
    tensors, metadata = read_tensors("set.safetensors")
    write_tensors("set.safetensors", tensors, {**metadata, key: text})
    assert said in one_line(lambda: CondensedSet.load("set.safetensors"))


def test_a_file_that_memory_cannot_hold_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    write_tensors("large.safetensors", {"a": torch.zeros(100)}, {})
    monkeypatch.setattr("condense.system.memory.available_memory", lambda: 300)
    assert "of memory" in one_line(lambda: read_tensors("large.safetensors"))


def test_the_default_folder_has_a_name_that_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    from condense.cli.run import default_out

    made = default_out("a\nb/" + LONG)
    assert made.parent == Path("runs")
    assert made.name.startswith("a-b-xxx")
    assert len(made.name) < 200
