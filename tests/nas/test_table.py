"""Tables of architectures, the ground truth in one, and the regret."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import nn

from condense import ImageData, UserError
from nas import (
    GroundTruth,
    Row,
    Space,
    Table,
    TrialResult,
)
from nas.objective import (
    sizes_of,
)
from nas.report import _regret, regret
from nas.table import rows_of
from tests.helpers.tiny_space import SPACE


def test_regret_by_hand() -> None:
    ground_truth = GroundTruth({"a": 0.5, "b": 0.75}, 1.0, steps=8, sizes={}, build_sha256="")
    assert regret(ground_truth, 0.5, None) == 0.25
    assert regret(ground_truth, 1.0, 8) == -0.25
    assert regret(ground_truth, 1.0, 200) is None, "trained otherwise, it says nothing"
    assert regret(ground_truth, None, None) is None
    assert regret(GroundTruth({}, 0.0, 0, {}, ""), 0.5, None) is None
    assert regret(None, 0.5, None) is None


def test_regret_needs_a_ground_truth_of_as_many_steps() -> None:
    found = {"regret": None, "ground_truth": {"steps": 8}, "retrained_steps": 200}
    assert _regret(found) == " after 200 steps per network (no regret: the ground truth has 8)"
    assert _regret({**found, "regret": 0.25}) == ", regret 25.0 %"
    assert _regret({**found, "ground_truth": None}) == ""


def table(proxy: str = "whole", sha: str = "abc") -> Table:
    done = {
        0: TrialResult(10, 0.5, 20, 1.25),
        2: TrialResult(12, None, 3, 0.5, pruned=True),
        1: TrialResult(0, reason="too small, alas"),
    }
    return Table(rows_of(SPACE, done), proxy, "blobs", sha, "123", SPACE.build_fingerprint, 2)


def test_tables_are_read_as_they_are_written(tmp_path: Path) -> None:
    import pandas

    assert table().sizes == {SPACE.names[0]: 10, SPACE.names[2]: 12}
    written = table().with_ground_truth({SPACE.names[0]: 0.75})
    written.write(tmp_path / "architectures.csv")
    frame = pandas.read_csv(tmp_path / "architectures.csv")
    assert frame["status"].tolist() == ["complete", "failed", "pruned"]
    assert frame["depth"].tolist() == [1, 4, 1]
    assert frame["ground_truth"][0] == 0.75
    assert math.isnan(frame["accuracy"][1])
    for path in (tmp_path, tmp_path / "architectures.csv"):
        read = Table.read(path)
        assert (read.proxy, read.dataset, read.images_sha256) == ("whole", "blobs", "abc")
        assert (read.test_sha256, read.build_sha256) == ("123", SPACE.build_fingerprint)
        assert read.networks == 2
        assert [row.reason for row in read.rows] == ["", "too small, alas", ""]
        assert read.rows[0] == Row(
            **{**vars(written.rows[0]), "factors": {"width": "8", "depth": "1"}}
        )


def test_factors_called_as_a_column_of_every_table_are_kept(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Net:
        steps: int
        architecture: str

    space = Space([Net(1, "a"), Net(2, "b")], lambda *_: nn.Identity(), "1")
    done = {index: TrialResult(10, 0.5, 20, 1.25) for index in range(2)}
    Table(rows_of(space, done), "whole", "blobs", "abc", "123", "def").write(
        tmp_path / "architectures.csv"
    )
    rows = Table.read(tmp_path).rows
    assert [row.steps for row in rows] == [20, 20]
    assert [row.architecture for row in rows] == list(space.names)
    assert rows[1].factors == {"steps (factor)": "2", "architecture (factor)": "b"}


def test_a_factor_that_is_the_name_of_its_architecture_is_kept(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Net:
        kind: str

        def __str__(self) -> str:
            return self.kind

    space = Space([Net("a"), Net("b")], lambda *_: nn.Identity(), "1")
    rows = rows_of(space, {0: TrialResult(10, 0.5, 20, 1.25)})
    Table(rows, "whole", "blobs", "abc", "123", "def").write(tmp_path / "architectures.csv")
    assert Table.read(tmp_path).rows[0].factors == {"kind": "a"}


def test_a_name_is_written_once(tmp_path: Path) -> None:
    space = Space(["a", "b"], lambda *_: nn.Identity(), "1")
    rows = rows_of(space, {0: TrialResult(10, 0.5, 20, 1.25)})
    Table(rows, "whole", "blobs", "abc", "123", "def").write(tmp_path / "architectures.csv")
    assert Table.read(tmp_path).rows[0].factors == {}


def test_a_ground_truth_of_other_networks_is_refused(data: ImageData) -> None:
    space, other = (
        Space(["a", "b"], lambda *_, n=n: nn.Linear(n, 1), str(n))  # type: ignore[misc]
        for n in (3, 4)
    )
    sizes = sizes_of(space, {"a", "b"}, data)
    assert sizes == {"a": 4, "b": 4}
    assert sizes_of(Space(["a"], lambda *_: 1 / 0), {"a"}, data) == {}, "it fails when trained"
    found = GroundTruth({"b": 0.5}, 1.0, 8, {"b": 4}, space.build_fingerprint)
    found.require_same_networks(sizes, space.build_fingerprint)
    larger = sizes_of(other, {"b"}, data)
    with pytest.raises(UserError, match="b has 4 parameters there, and 5 here"):
        found.require_same_networks(larger, space.build_fingerprint)
    with pytest.raises(UserError, match="another `build`, or another version"):
        found.require_same_networks(sizes, other.build_fingerprint)
    found.require_same_networks({"a": 7}, other.build_fingerprint)  # they share no name


def test_a_ground_truth_of_other_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "architectures.csv"
    table().write(path)
    ground_truth = GroundTruth.read(path, "abc", "blobs", "123")
    assert ground_truth == GroundTruth(
        {SPACE.names[0]: 0.5}, 1.75, 10, {SPACE.names[0]: 10}, SPACE.build_fingerprint
    )
    with pytest.raises(UserError, match="a ground truth with other test images of blobs"):
        GroundTruth.read(path, "abc", "blobs", "456")
    with pytest.raises(UserError, match=r"other images \(blobs, not mnist\)"):
        GroundTruth.read(path, "def", "mnist", "123")
    table("dsa").write(path)
    with pytest.raises(UserError, match="not a ground truth: it was measured on the proxy dsa"):
        GroundTruth.read(path, "abc", "blobs", "123")
    for content in ("", "a,b\n1,2\n", path.read_text().replace("0.5", "half")):
        path.write_text(content)
        with pytest.raises(UserError, match=r"architectures\.csv") as caught:
            GroundTruth.read(path, "abc", "blobs", "123")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot read"):
        GroundTruth.read(tmp_path / "none.csv", "abc", "blobs", "123")
