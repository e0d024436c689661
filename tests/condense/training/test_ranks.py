"""Work divided among processes: the results of all items, in order, in each of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from condense.training import ranks
from condense.training.chunking import class_chunks
from condense.training.ranks import divided, rank, share, wait_for_ranks, world_size
from tests.helpers.processes import HANGS, python

SCRIPT = """
import json, sys, torch
from condense.errors import UserError
from condense.training.ranks import divided, join_ranks, leave_ranks, rank, share, world_size
from condense.training.threads import map_chunks, worker_threads

join_ranks()
own = []

def square(item):
    own.append(item)
    return torch.tensor(item * item), (torch.full((item,), 0.5), torch.arange(9.0)[:2])

def nested(item):
    return sum(share(lambda some: [torch.tensor(one) for one in some], [item, item]))

device = torch.device("cpu")
each = lambda items: map(square, items)
with divided(device):
    every = share(each, range(5))
    found = [[whole.item(), *map(torch.Tensor.tolist, parts)] for whole, parts in every]
    mine = list(own)
    one = [whole.item() for whole, _ in share(each, [7])]
    inner = [whole.item() for whole in share(lambda items: map(nested, items), range(4))]
    few = [whole.item() for whole, _ in share(each, [1, 2])]
outside = len(list(share(each, [1, 2, 3])))
with worker_threads(device):
    doubled = [whole.item() for whole in map_chunks(lambda item: torch.tensor(2 * item), range(4))]
result = dict(found=found, mine=mine, one=one, inner=inner, few=few, outside=outside,
              doubled=doubled, size=world_size())
with open(f"{sys.argv[1]}/{rank()}.json", "w") as file:
    json.dump(result, file)
leave_ranks()
assert (rank(), world_size()) == (0, 1)
"""


def test_items_are_divided_and_all_processes_have_all_results(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*command, "--nproc-per-node", "3", str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(3)]
    assert [result.pop("mine") for result in results] == [[0, 3], [1, 4], [2]]
    expected = {
        "found": [[item * item, [0.5] * item, [0.0, 1.0]] for item in range(5)],
        "one": [49],
        "inner": [0, 2, 4, 6],
        "few": [1, 4],
        "outside": 3,
        "doubled": [0, 2, 4, 6],
        "size": 3,
    }
    assert results == [expected] * 3


def test_alone_nothing_is_divided() -> None:
    assert (rank(), world_size()) == (0, 1)
    wait_for_ranks()
    with divided(torch.device("cpu")):
        items = iter([3, 4])
        assert share(lambda given: given, items) is items


def test_on_a_gpu_each_process_has_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert class_chunks(10, 10, gpu) == [slice(0, 10)]
    monkeypatch.setattr("condense.training.chunking.world_size", lambda: 4)
    assert class_chunks(10, 10, gpu) == [slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 12)]
    assert class_chunks(10, 2, gpu) == class_chunks(10, 2, cpu)
    assert class_chunks(10, 10, cpu) == [slice(0, 10)]


def test_each_process_uses_another_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    monkeypatch.setattr(ranks.dist, "init_process_group", lambda backend: None)
    monkeypatch.setattr(ranks.dist, "destroy_process_group", lambda: None)
    for number in range(3):
        monkeypatch.setenv("LOCAL_RANK", str(number))
        ranks.join_ranks()
        ranks.leave_ranks()
    assert used == [0, 1, 0]


def test_processes_that_cannot_be_connected_are_an_error_of_the_user() -> None:
    done = python("""
        from condense.training.ranks import join_ranks
        join_ranks()
    """)
    assert "UserError: the processes of torchrun cannot be connected" in done.stderr
