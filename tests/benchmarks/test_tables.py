"""The documents show what results/ contains, and nothing else."""

import re

import pytest

from benchmarks.continual.main_job import MainJob, commands
from benchmarks.result_files import results, stream_runs
from benchmarks.tables import (
    DOCUMENTS,
    PARTS,
    README,
    TABLES,
    continual_table,
    filled,
    mnist_table,
    search_table,
)
from tests.helpers.kept_results import stream_results


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_is_what_the_results_make_of_it(document):
    text, kept = document.read_text(encoding="utf-8"), results()
    assert len(kept) >= 98
    assert text == filled(text, kept), "run python -m benchmarks.tables"


def test_each_table_has_a_place_and_rows():
    text = "".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    marks = re.findall(r"<!-- (\w+) -->\n(.*?)<!-- end -->", text, flags=re.DOTALL)
    rows = {mark: table.count("\n") for mark, table in marks if mark in TABLES}
    assert rows.keys() == TABLES.keys(), "a table without a place"
    assert [mark for mark, count in rows.items() if count < 3] == []


def test_the_tables_of_the_readme_quote_the_results():
    tables = [line for line in README.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    quoted = set(re.findall(r"[-\d.]+\d(?: ± [\d.]+| \[[-\d., ]+\])|\d+\.\d+", "\n".join(tables)))
    assert len(quoted) > 20
    cells = DOCUMENTS[0].read_text(encoding="utf-8")
    assert not [number for number in quoted if number not in cells]


def test_continual_cells_by_hand():
    kept = stream_results(
        {
            "domain-dsa-no-distill-s0": [0.9, 0.8, 0.7],
            "domain-dsa-no-distill-s1": [0.9, 0.9, 0.9],
            "time-domain-dsa-s0": [0.0, 0.0, 0.0],
            "class-dsa-no-distill-s0": [0.0, 0.0, 0.0],
            "domain-herding-distill-s0": [0.5, 0.25, 0.125],
            "domain-dsa-factor-2-distill-s0": [0.25, 0.5, 0.75],
            "domain-dsa-factor-2-balanced-no-distill-s0": [1.0, 1.0, 1.0],
            "domain-dsa-factor-2-balanced-iterations-100-no-distill-s0": [1.0, 1.0, 1.0],
            "domain-dsa-factor-2-balanced-depth-2-no-distill-s0": [1.0, 1.0, 1.0],
        }
    )
    whole, balanced_part = PARTS["factor-1"], PARTS["factor-2-balanced"]
    all_right = "100.0 | 100.0 | 100.0 | 1 |  |  |  |  |"
    assert continual_table(kept).splitlines()[2:] == [
        f"| herding | {whole} |  |  |  |  | 50.0 | 25.0 | 12.5 | 1 |",
        f"| **DSA** | {whole} | 90.0 ± 0.0 | 85.0 ± 7.1 | 80.0 ± 14.1 | 2 |  |  |  |  |",
        f"| **DSA** | {PARTS['factor-2']} |  |  |  |  | 25.0 | 50.0 | 75.0 | 1 |",
        f"| **DSA** | {balanced_part} | {all_right}",
        f"| **DSA** | {balanced_part}, 100 iterations | {all_right}",
        f"| **DSA** | {balanced_part}, depth 2 | {all_right}",
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
    kept = {
        augment: {
            "command": "python -m condense run",
            "summary": {**summary, "accuracies": accuracies},
            "settings": {"evaluation": {"augment": augment}},
        }
        for augment, accuracies in (("independent", [0.5, 0.7]), ("none", [0.4]))
    }
    assert mnist_table(kept).splitlines()[-2:] == [
        "| 10 | yes |  |  | 60.0 ± 14.1 (1 × 2) |  |",
        "| 10 | no |  |  | 40.0 (1 × 1) |  |",
    ]


def test_every_command_has_a_name_of_its_own():
    names = [name for _, name, _ in commands(MainJob())]
    assert len(set(names)) == len(names)


def test_selected_images_have_one_run_for_all_parts_with_the_same_replay() -> None:
    names = ("herding-factor-2-balanced", "dsa-factor-2-balanced", "random", "dsa")
    kept = stream_results({f"domain-{name}-no-distill-s0": [1.0] for name in names})
    kept = {name: {**result, "name": name} for name, result in kept.items()}

    def found(memory: str, part: str) -> list[str]:
        return [result["name"] for result in stream_runs(kept, "domain", memory, False, part)]

    herded = ["domain-herding-factor-2-balanced-no-distill-s0"]
    for part in ("factor-2-balanced", "factor-2-balanced-iterations-100"):
        assert found("herding", part) == herded
    assert found("dsa", "factor-2-balanced-iterations-100") == []
    assert found("random", "factor-1-iterations-100") == ["domain-random-no-distill-s0"]
    assert found("random", "factor-2") == found("herding", "factor-1") == []
