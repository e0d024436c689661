"""Every file of benchmarks/results/ can be read, and its columns or keys are those expected."""

from __future__ import annotations

import csv
import math
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.rows import RESULTS
from condense.runs.io import read_json
from nas.space import space_named

CSV_FILES = sorted(RESULTS.glob("*.csv"))
RUNS = sorted((RESULTS / "main_job").rglob("*.json"))

CELL = "value std n sets train seconds threads"
NUMBERS = {
    "busy.csv": "threads",
    "exploration.csv": "seed accuracy_mean num_eval",
    "figure5.csv": "k t real_mean real_min real_max synthetic_mean synthetic_min synthetic_max "
    "seed train threads",
    "gtn_curve.csv": "steps images_seen seconds threads",
    "equal_bytes.csv": "images_per_class seed accuracy memory_images memory_bytes "
    "memory_cpu_seconds cpu_seconds threads",
    "frontier.csv": "ipc seed width images_per_class bytes cpu_seconds threads",
    "memory_formats.csv": "threads rounds ms ms_min ms_max speedup",
    "memory_exploration.csv": "factor images_per_class seed svhn mnist average seconds threads",
    "scaling-*.csv": "value seconds bytes threads",
    "speed.csv": "threads rounds reference_seconds engine_seconds ratio ratio_min ratio_max "
    "roofline_seconds roofline_ratio max_rel_diff",
    "own_images.csv": "ipc size seed train test classes images_per_class seconds threads",
    "split_exploration.csv": "factor images_per_class seed T1 T2 T3 T4 T5 seconds threads",
    "split_streams.csv": "images_per_class seed final_average forgetting memory_images "
    "memory_bytes seconds threads",
    "proxies.csv": "ipc seed images_stored steps seconds_search seconds_proxy threads",
    "ranks.csv": "width threads",
    "sizes.csv": "classes ipc size width peak_bytes seconds threads",
    "table1.csv": CELL,
    "table2.csv": f"ipc {CELL}",
    "table3.csv": CELL,
    "table4.csv": CELL,
    "table5.csv": CELL,
    "table6.csv": "accuracy regret n_complete seconds_search seconds_proxy seconds_wall workers "
    "images_stored steps steps_saved ground_truth_steps ground_truth_architectures image_size "
    "train seed threads",
    "table6-architectures.csv": "parameters ground_truth",
    "storages.csv": "trials fill_seconds cpu_ms cpu_ms_min cpu_ms_max threads",
    "time_to_accuracy.csv": "ipc reference_iterations width num_eval epoch_eval_train held_out "
    "seed threads iterations seconds train",
}
"""Columns with a finite number in every row, by file."""
LISTS = {
    "busy.csv": "seconds",
    "frontier.csv": "accuracies",
    "gtn_curve.csv": "accuracies",
    "own_images.csv": "accuracies herding random",
    "proxies.csv": "accuracies",
    "ranks.csv": "seconds",
    "split_streams.csv": "accuracies",
    "time_to_accuracy.csv": "accuracies",
}
"""Columns with several numbers."""
RUN_KEYS = {"line", "machine", "command", "version", "commit", "settings", "overrides", "data"}
SUMMARY_KEYS = {
    "python -m condense run": {"dataset", "method", "ipc", "network", "accuracies", "num_eval"},
    "python -m continual.run": {"stream", "memory", "head", "distill", "average_accuracy"},
}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def columns(kinds: dict[str, str], path: Path) -> list[str]:
    return [name for kind in kinds if fnmatch(path.name, kind) for name in kinds[kind].split()]


def test_there_are_results() -> None:
    assert len(CSV_FILES) >= 14
    assert len(RUNS) >= 98


@pytest.mark.parametrize("path", CSV_FILES, ids=lambda path: path.name)
def test_the_columns_of_a_table_have_their_types(path: Path) -> None:
    rows, numbers = rows_of(path), columns(NUMBERS, path)
    assert numbers, f"add the columns of {path.name} to NUMBERS"
    assert rows
    for row in rows:
        assert None not in row, "too many cells"
        assert None not in row.values(), "too few cells"
        lone = row.get("n") == "1"  # one network has no standard deviation
        values = [float(row[name]) for name in numbers if not (lone and name == "std")]
        values += [float(cell) for name in columns(LISTS, path) for cell in row[name].split()]
        assert all(map(math.isfinite, values)), row
    if path.name != "table6-architectures.csv":
        assert {"date", "torch"} <= rows[0].keys()
        assert "processor" in rows[0] or path.name == "exploration.csv"


def test_the_architectures_of_table_6_are_in_the_space() -> None:
    names = {row["architecture"] for row in rows_of(RESULTS / "table6-architectures.csv")}
    assert len(names) == 36
    assert names <= {*space_named("convnets").names}
    assert {row["selected"] for row in rows_of(RESULTS / "table6.csv")} <= names


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_a_run_has_its_keys(path: Path) -> None:
    found = read_json(path)
    assert found.keys() >= RUN_KEYS
    assert found["machine"].keys() >= {"date", "processor", "threads", "python", "torch"}
    assert found["command"] in found["line"]
    assert found["settings"]["common"]["seed"] == int(path.stem.rpartition("-s")[2])
    summary = found["summary"]
    assert summary.keys() >= SUMMARY_KEYS[found["command"]]
    accuracies = summary.get("accuracies") or summary["average_accuracy"]
    assert accuracies
    assert all(0 < accuracy < 1 for accuracy in accuracies)
    images = found["data"] if isinstance(found["data"], list) else [found["data"]]
    assert all(re.fullmatch("[0-9a-f]{64}", about["sha256"]) for about in images)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.png")), ids=lambda path: path.name)
def test_a_figure_can_be_opened(path: Path) -> None:
    with Image.open(path) as picture:
        assert min(picture.size) > 100
