"""The documents show what results/ holds, and nothing else."""

import copy
import re

import pytest

from benchmarks.continual.main_job import RESULTS, MainJob, commands
from benchmarks.result_files import results
from benchmarks.tables import (
    DOCUMENTS,
    PARTS,
    README,
    continual_table,
    filled,
    mnist_table,
    search_table,
)
from tests.helpers.kept_results import learnt


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_is_what_the_results_make_of_it(document):
    text = document.read_text(encoding="utf-8")
    assert text == filled(text, results()), "run python -m benchmarks.tables"


def test_the_tables_of_the_readme_quote_the_results():
    tables = [line for line in README.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    quoted = set(re.findall(r"[-\d.]+\d(?: ± [\d.]+| \[[-\d., ]+\])|\d+\.\d+", "\n".join(tables)))
    assert len(quoted) > 20
    (results_md,) = DOCUMENTS
    cells = results_md.read_text(encoding="utf-8")
    assert not [number for number in quoted if number not in cells]


def test_continual_cells_by_hand():
    kept = [
        learnt("dsa", False, [0.9, 0.8, 0.7]),
        learnt("dsa", False, [0.9, 0.9, 0.9]),
        learnt("dsa", False, [0.0, 0.0, 0.0], cache=False),
        learnt("herding", True, [0.5, 0.25, 0.125]),
    ]
    small = learnt("dsa", True, [0.25, 0.5, 0.75])
    small["settings"]["factor"] = 2
    rehearsed = learnt("dsa", False, [1.0, 1.0, 1.0])
    rehearsed["settings"] |= {"factor": 2, "store_logits": True, "learner": {"batch_size_mem": 64}}
    long = copy.deepcopy(rehearsed)
    long["settings"]["condensing"] = {"iterations": 100}
    ours = copy.deepcopy(rehearsed)
    ours["settings"]["condensing"] = {"lr_img": 1.0, "network": {"depth": 2}}
    assert continual_table([*kept, small, rehearsed, long, ours]).splitlines()[2:] == [
        f"| herding | {PARTS['plain']} |  |  |  |  | 50.0 | 25.0 | 12.5 | 1 |",
        f"| **DSA** | {PARTS['plain']} | 90.0 ± 0.0 | 85.0 ± 7.1 | 80.0 ± 14.1 | 2 |  |  |  |  |",
        f"| **DSA** | {PARTS['small']} |  |  |  |  | 25.0 | 50.0 | 75.0 | 1 |",
        f"| **DSA** | {PARTS['rehearsed']} | 100.0 | 100.0 | 100.0 | 1 |  |  |  |  |",
        f"| **DSA** | {PARTS['long']} | 100.0 | 100.0 | 100.0 | 1 |  |  |  |  |",
        f"| **DSA** | {PARTS['shallow']} | 100.0 | 100.0 | 100.0 | 1 |  |  |  |  |",
    ]


def test_a_search_by_hand():
    found = {"spearman_top": "0.125", "spearman_all": "0.5", "kendall_all": "0.25"}
    ends = {f"{name}{end}": "0.75" for name in found for end in ("_low", "_high")}
    about = {"images_stored": "100", "accuracy": "0.5", "regret": "0.125", "seconds_wall": "90"}
    about["top_fraction"] = "0.3"
    row = {"proxy": "dsa", **about, **found, **ends, "steps_saved": "0.0"}
    pruned = {**row, "proxy": "dsa, pruned", "steps_saved": "0.75"}
    assert search_table([row, pruned]).splitlines()[2:] == [
        "| dsa | 100 | 50.0 | 12.5 | 0.12 [0.75, 0.75] | 0.50 [0.75, 0.75] | 0.25 [0.75, 0.75] "
        "| 1.5 |"
    ]


def test_mnist_cells_by_hand():
    summary = {"method": "dc", "ipc": 10}
    kept = [
        {
            "command": "python -m condense run",
            "summary": {**summary, "accuracies": accuracies},
            "settings": {"evaluation": {"augment": augment}},
        }
        for augment, accuracies in (("independent", [0.5, 0.7]), ("none", [0.4]))
    ]
    assert mnist_table(kept).splitlines()[-2:] == [
        "| 10 | yes |  |  | 60.0 ± 14.1 (1 × 2) |  |",
        "| 10 | no |  |  | 40.0 (1 × 1) |  |",
    ]


def test_every_command_has_a_name_of_its_own():
    names = [name for _, name, _ in commands(MainJob())]
    assert len(set(names)) == len(names)


def test_every_result_says_how_it_was_measured():
    for path in RESULTS.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        for key in ("line", "machine", "torch", "date", "settings", "sha256", "seed", "version"):
            assert f'"{key}"' in text, f"{path.name} does not say its {key}"
