from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.continual import equal_bytes
from benchmarks.continual.equal_bytes import joined
from benchmarks.rows import read_rows
from condense.errors import UserError
from tests.helpers.split_images import write_images
from tests.helpers.tiny_streams import tasks


@pytest.mark.filterwarnings("ignore")
def test_every_strategy_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, "fashionmnist", (28, 28))
    monkeypatch.setenv("CONDENSE_DATA", str(tmp_path))
    memories = ["random, pixels", "DM, DCT"]
    flags = ["--streams", "split-fashionmnist", "--images-per-class", "2", "--preset", "smoke"]
    flags += ["--strategies", *equal_bytes.STRATEGIES, "--seeds", "1", "--results", str(tmp_path)]
    for _ in range(2):
        equal_bytes.run([*flags, "--memories", *memories])
    rows = read_rows(tmp_path / equal_bytes.FILE)
    assert [(row["strategy"], row["memory"]) for row in rows] == [
        (strategy, memory) for strategy in equal_bytes.STRATEGIES for memory in memories
    ]
    for row in rows:
        logits = 2 * 10 * int(row["memory_images"]) if row["strategy"] == "der++" else 0
        assert 0 < int(row["memory_bytes"]) - logits <= 20 * 28 * 28
        assert 0 <= float(row["accuracy"]) <= 100
    assert "| split-fashionmnist | 2 | gdumb | random, pixels | " in capsys.readouterr().out


def test_the_stream_of_whole_datasets_is_trained_by_eeil_with_one_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, shape in (("svhn", (32, 32, 3)), ("mnist", (28, 28)), ("usps", (16, 16))):
        write_images(tmp_path, name, shape)
    monkeypatch.setenv("CONDENSE_DATA", str(tmp_path))
    job = equal_bytes.job_of(
        {
            **{"stream": "svhn-mnist-usps", "images_per_class": 1, "preset": "smoke", "seed": 0},
            **{"strategy": "eeil", "memory": "random, DCT"},
        }
    )
    assert 0 <= equal_bytes.eeil(job) <= 1
    assert len(job.memory.groups) == 3 * 10
    with pytest.raises(UserError, match="needs --strategies eeil"):
        equal_bytes.run(["--streams", "svhn-mnist-usps"])


def test_tasks_are_joined_in_the_order_of_the_stream() -> None:
    first, second = tasks()[0].with_classes([3, 1]), tasks()[1].with_classes([7])
    data = joined([first, second])
    assert data.class_names == ("3", "1", "7")
    assert torch.equal(data.x_train, torch.cat([first.x_train, second.x_train]))
    assert data.y_test.tolist() == [*first.y_test.tolist(), *[2] * len(second.y_test)]


def test_an_unknown_memory_is_one_line() -> None:
    with pytest.raises(UserError, match="unknown memory 'dsa'; known: DSA, DCT"):
        equal_bytes.run(["--memories", "dsa"])
