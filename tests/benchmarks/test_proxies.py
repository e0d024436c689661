from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.paper import proxies
from benchmarks.rows import read_rows, write_rows
from condense import UserError
from nas import convnets

ACCURACIES = (0.5, 0.6, 0.7, 0.4)


def write_ground_truth(results: Path, names=("a", "b", "c", "d"), accuracies=ACCURACIES) -> None:
    write_rows(
        results / proxies.GROUND_TRUTH,
        [
            {"architecture": name, "ground_truth": value}
            for name, value in zip(names, accuracies, strict=True)
        ],
    )


def a_row(proxy: str, seed: int, *accuracies: float) -> dict[str, str]:
    return {
        "proxy": proxy,
        "storage": "dct",
        "ipc": "1",
        "preset": "cpu",
        "seed": str(seed),
        "accuracies": " ".join(map(str, accuracies)),
        "images_stored": "100",
        "seconds_search": "60",
    }


def test_correlations_and_regret_by_hand(tmp_path: Path) -> None:
    write_ground_truth(tmp_path)
    rows = [
        {**a_row("random", 0, 0.9, 0.9, 0.9, 0.9), "preset": "smoke"},
        a_row("random", 0, 0.2, 0.3, 0.1, 0.1),
        a_row("dm", 0, 0.2, 0.3, 0.4, 0.1),
        a_row("dm", 1, 0.2, 0.4, 0.3, 0.1),
    ]
    random, dm = proxies.table(rows, tmp_path).splitlines()[2:]
    assert random == "| random | dct | 1 | 100 | 0.11 |  | 10.0 | 1.0 | 1 |"
    assert "| dm | dct | 1 | 100 | 0.90 ± 0.14 | +0.89 [" in dm
    assert dm.endswith("| 5.0 ± 7.1 | 1.0 ± 0.0 | 2 |")
    assert spearmanr((0.2, 0.3, 0.1, 0.1), ACCURACIES).statistic == pytest.approx(
        0.5 / (4.5 * 5) ** 0.5
    )


def test_the_difference_of_equal_proxies_is_zero_with_certainty() -> None:
    accuracies, scores = np.arange(9.0), np.arange(9.0) % 5
    found = proxies.difference({"0": scores}, {"0": 2 * scores, "1": accuracies}, accuracies)
    assert found == "+0.00 [+0.00, +0.00]"
    assert proxies.difference({"0": scores}, {}, accuracies) == ""


def test_searches_are_run_once_and_give_a_row_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = convnets()
    sample = [space.names[index] for index in space.order()[:6]]
    sample = [name for name in sample if not name.startswith("d4")]  # too deep for 8×8 pixels
    write_ground_truth(tmp_path, sample, [0.1 * place for place in range(len(sample))])
    flags = ["--proxies", "random", "--seeds", "1", "--workers", "1", "--preset", "smoke"]
    flags += ["--ipc", "1", "--dataset", "digits"]
    flags += ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path)]
    proxies.run(flags)
    (row,) = read_rows(tmp_path / proxies.FILE)
    assert len(row["accuracies"].split()) == len(sample) == 4
    assert "| random | dct | 1 | " in capsys.readouterr().out
    write_ground_truth(tmp_path, ["d9", *sample[1:]], [0.5] * 4)
    with pytest.raises(UserError, match="has no accuracy of d9"):
        proxies.run([*flags, "--storages", "pixels"])
    proxies.run([*flags, "--show"])
    assert read_rows(tmp_path / proxies.FILE) == [row]
