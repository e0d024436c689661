"""Spaces of a user: in a file or in a module, and the fingerprint of their `build`."""

from __future__ import annotations

import pickle
import sys
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from condense import Network, UserError, generator
from nas import Space, space_named
from nas.objective import count_parameters, make_network
from tests.helpers.images import blobs

OWN = """
from torch import nn
from nas import Space
from my_layers import width

def build(hidden, shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.Linear(hidden, classes))

space = Space(["4", "16"], build=build)
"""


def test_a_space_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "nets"
    folder.mkdir()
    (folder / "my_nets_in_a_file.py").write_text(OWN)
    (folder / "my_layers.py").write_text("width = 3")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    for path in ("nets/my_nets_in_a_file.py", folder / "my_nets_in_a_file.py"):
        assert space_named(f"{path}:space").names == ("4", "16")
    with pytest.raises(UserError, match=r"no such file: nets/none.py; --space is FILE.py:NAME"):
        space_named("nets/none.py:space")
    with pytest.raises(UserError, match="has no attribute 'spaces'"):
        space_named("nets/my_nets_in_a_file.py:spaces")


@pytest.mark.parametrize("name", ["nas", "condense", "json"])
def test_a_file_with_the_name_of_another_module_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / f"{name}.py").write_text("from condense import Network\nspace = [Network()]\n")
    before = sys.modules[name]
    with pytest.raises(UserError, match=rf"there is another module {name} .*: rename the file$"):
        space_named(f"{tmp_path}/{name}.py:space")
    assert sys.modules[name] is before


def test_a_file_with_the_name_of_a_module_that_is_not_imported_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path / "installed"), *sys.path])
    for folder in ("installed", "mine"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "nets_twice.py").write_text("space = []")
    with pytest.raises(UserError, match=r"there is another module nets_twice .*installed"):
        space_named(f"{tmp_path}/mine/nets_twice.py:space")
    assert "nets_twice" not in sys.modules


def test_modules_beside_the_file_replace_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers get this `sys.path` before they import `nas`, and find the file there."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "nets_beside_another.py").write_text(OWN.replace("my_layers", "layers_beside"))
    (tmp_path / "layers_beside.py").write_text("width = 3")
    (tmp_path / "nas.py").write_text("raise RuntimeError")
    before = list(sys.path)
    space = space_named(f"{tmp_path}/nets_beside_another.py:space")
    assert sys.path == [*before, str(tmp_path)]
    pickled = pickle.dumps(space.build)
    assert pickle.loads(pickled) is space.build
    del sys.modules["nets_beside_another"]
    assert pickle.loads(pickled).__module__ == "nets_beside_another", "as in another process"


def test_a_space_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets_by_name.py").write_text(
        "from torch import nn\n"
        "from condense import Network\n"
        "from nas import Space\n"
        "networks = (Network(depth=depth) for depth in (1, 2))\n"
        "def build(hidden, shape, classes):\n"
        "    inputs = shape[0] * shape[1] * shape[2]\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(),\n"
        "                         nn.Linear(hidden, classes))\n"
        "def mlps():\n"
        "    return Space([4, 16], build)\n"
        "number = 7\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "nets_by_name", raising=False)
    assert space_named("nets_by_name:networks").factors == {"depth": (1, 2)}
    mlps = space_named("nets_by_name:mlps")
    assert mlps.factors == {"architecture": ("4", "16")}
    images = blobs()
    assert count_parameters(mlps, 1, images) == 64 * 16 + 16 + 16 * 3 + 3
    before = torch.random.get_rng_state()
    one, same = (make_network(mlps, 0, images, generator(3, "a")) for _ in range(2))
    other = make_network(mlps, 0, images, generator(4, "a"))
    weights = [next(network.parameters()) for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(before, torch.random.get_rng_state())
    for wrong in (
        "nets_by_name:number",
        "nets_by_name:none",
        "no_such_module:x",
        "convnet",
    ):
        with pytest.raises(UserError) as caught:
            space_named(wrong)
        assert "\n" not in str(caught.value)


def test_a_module_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed script finds it as `python -m nas.search` does."""
    (tmp_path / "nets_here.py").write_text(
        "from condense import Network\nnetworks = [Network(depth=1)]\n"
    )
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.chdir(tmp_path)
    assert len(space_named("nets_here:networks")) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nas.space:stratified_order", r"missing 1 required positional argument: 'factors'$"),
        ("a:b:c", "no space a:b:c: No module named 'a'"),
        (".:x", r"no space \.:x"),
        ("a\nb:x", "no space"),
        ("x" * 3000 + ":x", "No module named"),
        ("odd_nets:" + "x" * 3000, "has no attribute"),
        ("odd_nets", "unknown space"),
        ("odd_nets:endless", "has more than 100000 architectures"),
        ("odd_nets:fails", r"ZeroDivisionError: division by zero \(.*odd_nets.py:4\)"),
        ("odd_nets:ends", r"SystemExit: 5 \(.*odd_nets.py:6\)"),
        ("odd_nets:surrogates", "an architecture contains bytes that are not UTF-8"),
        ("odd_nets:long", "is not a condense.Network"),
        ("no_python:x", "SyntaxError"),
        ("no_import:x", r"RuntimeError: no,\\nno \(.*no_import.py:1\)"),
    ],
)
def test_spaces_that_cannot_be_had(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_nets.py").write_text(
        "import itertools, sys\n"
        "from nas import Space\n"
        "endless = itertools.count()\n"
        "def fails(): 1 / 0\n"
        "def ends():\n"
        "    sys.exit(5)\n"
        "def surrogates(): return Space(['a\\udcff'], build=print)\n"
        "long = ['x\\n' * 3000]\n"
    )
    (tmp_path / "no_python.py").write_text("def (")
    (tmp_path / "no_import.py").write_text("raise RuntimeError('no,\\nno')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("odd_nets", "no_python", "no_import"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(UserError, match=message) as caught:
        space_named(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 500


def fingerprint_of(source: str, folder: Path, version: str | None = None) -> str:
    path = folder / "edited_nets.py"
    path.write_text(source)
    found = space_named(f"{path}:space")
    return Space(found.architectures, found.build, version).fingerprint


def test_an_edited_build_is_another_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a search would go on with the results of the old networks."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_layers.py").write_text("width = 3")
    edited = OWN.replace("nn.Linear(64, hidden), ", "nn.Linear(64, hidden), nn.ReLU(), ")
    one, other = fingerprint_of(OWN, tmp_path), fingerprint_of(edited, tmp_path)
    assert one != other
    assert fingerprint_of(OWN, tmp_path) == one
    versions = [fingerprint_of(OWN, tmp_path, version) for version in ("1", "2")]
    assert versions[0] == fingerprint_of(edited, tmp_path, "1") != versions[1]


def test_the_source_of_a_build_of_any_kind() -> None:
    class Builder:
        def __call__(self, *_: object) -> torch.nn.Module:
            return torch.nn.Identity()

    def build(*_: object) -> torch.nn.Module:
        return torch.nn.Identity()

    here = {Space(["a"], made).fingerprint for made in (build, partial(build, 1), Builder(), print)}
    assert len(here) == 4
    assert (
        Space([Network(depth=3)]).fingerprint
        == sha256(
            b"names of VGG-11 and ResNet-18 have the norm\nd3-w128-relu-instance-avg"
        ).hexdigest()
    ), "of condense.Network only the names count, as ever"


def with_memo(*_: object, memo: list[int] = []) -> torch.nn.Module:  # noqa: B006
    memo.append(1)
    return torch.nn.Identity()


class Counting:
    def __init__(self) -> None:
        self.built = 0

    def __call__(self, *_: object) -> torch.nn.Module:
        self.built += 1
        return torch.nn.Identity()


@pytest.mark.parametrize("build", [with_memo, Counting()])
def test_what_a_build_remembers_of_its_calls_changes_nothing(build: Any) -> None:
    """Workers and later runs ask for the fingerprint before they build."""
    one, other = Space(["a"], build), Space(["a"], build)
    before = one.fingerprint, one.build_fingerprint
    build(None, (1, 8, 8), 10)
    assert (other.fingerprint, other.build_fingerprint) == before


def test_the_fingerprint_of_what_builds_does_not_depend_on_the_names() -> None:
    def build(*_: object) -> torch.nn.Module:
        return torch.nn.Identity()

    one, more = Space(["a"], build), Space(["a", "b"], build)
    assert one.fingerprint != more.fingerprint
    assert one.build_fingerprint == more.build_fingerprint
    own = {Space(["a"], build, version).build_fingerprint for version in (None, "1", "2")}
    networks = [Space([Network(depth=depth)]).build_fingerprint for depth in (1, 2)]
    assert len({*own, *networks}) == 4
