"""Words that are no longer used for anything here, and what is used instead.

The new words are those of the published code (DatasetCondensation, IDC), Avalanche, Optuna and
PyTorch; docs/glossary.md lists them.
"""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.continual import main_job, split_streams
from benchmarks.paper import (
    figure2,
    figure3,
    figure5,
    figure6,
    table1,
    table2,
    table3,
    table4,
    table5,
    table6,
)
from benchmarks.publish import Publish
from benchmarks.speed import problem, time_to_accuracy
from condense import __main__ as condense_main
from condense.cli.flags import parse, read_flags
from continual import run as continual_run
from nas import compare, search
from tests.helpers.processes import ROOT

PACKAGES = ("condense", "continual", "nas", "benchmarks")

WORDS = {
    "formation": "factor (IDC)",
    "formations": "factor (IDC)",
    "answers": "logits",
    "asymmetric": "er_ace",
    "rehearsed": "the replay settings: factor, logits, balanced",
    "gentle": "the settings: iterations 100, lr_img, lr_net",
    "thirds": "factor 3",
    "shallow": "depth 2",
    "learner": "EEILConfig, strategy, model",
    "learners": "STRATEGIES",
    "leases": "Liveness",
    "literal": "reference",
    "competitor": "baseline",
    "competitors": "BASELINES",
    "shelve": "publish",
    "floor": "roofline",
    "departures": "overrides",
    "outcome": "TrialResult, result",
    "outcomes": "results",
    "updates": "steps",
    "drops": "milestones",
    "mirrored": "hflip",
    "sooner": "speedup",
    "budget": "timeout",
}
"""No name has one of these words, whatever the words around it."""

NAMES = {
    "note_answers": "store_logits",
    "answered_again": "der_loss",
    "memory_share": "batch_size_mem",
    "among_new": "er_ace",
    "network_epochs": "inner_loop",
    "image_lr": "lr_img",
    "image_momentum": "mom_img",
    "network_lr": "lr_net",
    "real_batch": "batch_real",
    "network_batch": "batch_train",
    "rate": "lr",
    "rates": "distill_lrs",
    "mirror": "hflip",
    "capture": "cuda_graphs",
    "Journal": "Checkpointer",
    "journal": "checkpointer",
    "journals": "checkpointers",
    "History": "CSVLog",
    "Learner": "EEILConfig",
    "Continual": "ContinualConfig",
    "Part": "TaskSpec",
    "Stream": "StreamSpec",
    "make_stream": "make_benchmark",
    "choose": "select",
    "Chosen": "Exemplars",
    "truth": "ground_truth",
    "budget_minutes": "timeout",
    "assess": "objective",
    "claim": "ask",
    "claiming": "exclusive",
    "follow": "report",
    "Side": "Augment, Backend",
    "sides": "backends",
    "Measured": "Measurement",
    "measured": "results",
    "apart": "max_rel_diff",
    "how": "config",
    "alike": "herding-er-ace, comparable",
    "pick": "selected",
    "below": "regret",
    "PLAIN": "factor-1",
    "REHEARSED": "factor-2-balanced",
    "blueprint": 'build(..., device="meta")',
    "Omega": "AugmentParams",
    "map_pieces": "chunks of training.chunking",
    "training_piece": "chunks of training.chunking",
}
"""No function, class, parameter, field, constant, flag or key has one of these names."""

NAMES_IN = {
    "condense/config/evaluation.py": {
        "strategy": "dsa_strategy",
        "networks": "num_eval",
        "epochs": "epoch_eval_train",
    },
    "condense/config/unrolled.py": {
        "steps": "distill_steps",
        "epochs": "distill_epochs",
        "weights": "init_weights",
    },
    "condense/training/schedule.py": {"batch": "batch_size", "updates": "steps"},
    "continual/storage_policy.py": {"tensors": "state_dict", "restore": "load_state_dict"},
    "continual/exemplars.py": {"span": "value_range"},
    "nas/settings.py": {"sample": "n_trials", "minutes": "timeout"},
    "nas/study.py": {"finish": "tell", "follow": "report"},
}
"""As `NAMES`, where an ordinary word was the old name of something in this file only."""

KEYS = {
    "departures": "overrides",
    "left": "n_remaining",
    "evaluated": "n_complete",
    "networks": "num_eval",
    "learner": "eeil, strategy",
    "side": "backend",
    "strategy": "dsa_strategy",
}
"""As `NAMES`, for the summary of a run and the results of the benchmarks."""

AVALANCHES = ("equal_bytes.csv", "split_streams.csv", "memory_exploration.csv")
"""Files with a column for the strategy, in Avalanche's meaning."""

NOT_OLD = {
    ("condense/runs/checkpoint.py", "alike"),
    ("benchmarks/speed/trials.py", "below"),
    ("benchmarks/continual/split_streams.py", "strategy"),
}
"""Names that are in the lists but mean something else there."""

OPTUNAS = ("nas/chained_journal.py", "nas/storage.py", "nas/study.py")
"""A journal is Optuna's word for a log of a study."""


def words(name: str) -> set[str]:
    """The words of a name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


@cache
def defined(path: Path) -> frozenset[str]:
    """The names that a module defines: of functions, classes, parameters, fields and constants."""
    names = {path.stem}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        if isinstance(node, ast.Module | ast.ClassDef):
            for statement in node.body:
                targets = statement.targets if isinstance(statement, ast.Assign) else []
                if isinstance(statement, ast.AnnAssign):
                    targets = [statement.target]
                names.update(target.id for target in targets if isinstance(target, ast.Name))
    return frozenset(names)


def stored(path: Path) -> Iterator[str]:
    """Every name that a module gives a value to, local variables and attributes too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def has_old_word(name: str) -> bool:
    found = words(name)
    return not found.isdisjoint(WORDS) or ("truth" in found and "ground" not in found)


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def is_old(name: str, file: str = "") -> bool:
    """Whether a name that a file defines is an old one."""
    if (file, name) in NOT_OLD or (file in OPTUNAS and words(name) & {"journal", "journals"}):
        return False
    return has_old_word(name) or name in NAMES or name in NAMES_IN.get(file, {})


def test_no_name_is_an_old_word() -> None:
    old = []
    for path in modules(*PACKAGES):
        file = path.relative_to(ROOT).as_posix()
        old += [f"{file}: {name}" for name in defined(path) if is_old(name, file)]
    assert old == []


def test_no_variable_and_no_test_has_an_old_word() -> None:
    old = []
    for path in modules(*PACKAGES, "tests"):
        if path == Path(__file__):
            continue
        names = {*defined(path), *stored(path)}
        old += [f"{path.relative_to(ROOT)}: {name}" for name in names if has_old_word(name)]
    assert old == []


def _help_of(kind: type[Any]) -> Callable[[], object]:
    return lambda: read_flags(kind, ["--help"], "command")


COMMANDS: dict[str, Callable[[], object]] = {
    "condense run": lambda: condense_main.run(["--help"]),
    "condense evaluate": lambda: condense_main.evaluate_set(["--help"]),
    "condense show": lambda: condense_main.show(["--help"]),
    "condense zoo": lambda: condense_main.zoo(["--help"]),
    "continual.run": lambda: parse(continual_run.defaults, ["--help"], continual_run.PROG),
    "nas.search": lambda: parse(search.defaults, ["--help"], search.PROG),
    "nas.compare": _help_of(compare.Compare),
    "main_job": _help_of(main_job.MainJob),
    "split_streams": _help_of(split_streams.SplitStreams),
    "publish": _help_of(Publish),
    "speed": _help_of(problem.Speed),
    "time_to_accuracy": _help_of(time_to_accuracy.TimeToAccuracy),
    "figure2": _help_of(figure2.Figure2),
    "figure3": _help_of(figure3.Figure3),
    "figure5": _help_of(figure5.Figure5),
    "figure6": _help_of(figure6.Figure6),
    "table1": _help_of(table1.Table1),
    "table2": _help_of(table2.Table2),
    "table3": _help_of(table3.Table3),
    "table4": _help_of(table4.Table4),
    "table5": _help_of(table5.Table5),
    "table6": _help_of(table6.Table6),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_flag_is_an_old_word(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        COMMANDS[command]()
    shown = capsys.readouterr().out
    flags = {*re.findall(r"--([\w.-]+)", shown)}
    assert flags
    names = {flag.rpartition(".")[2].removeprefix("no-").replace("-", "_") for flag in flags}
    assert [name for name in names if is_old(name)] == []
    choices = {word for group in re.findall(r"\{([^}]*)\}", shown) for word in group.split(",")}
    assert [choice for choice in choices if has_old_word(choice)] == []


def keys(value: Any) -> Iterator[str]:
    """The keys of nested JSON objects."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from keys(item)


def keys_of(path: Path) -> Iterator[str]:
    """The keys of a JSON file, the columns of a CSV file, or the metadata of a safetensors file."""
    if path.suffix == ".json":
        yield from keys(json.loads(path.read_text(encoding="utf-8")))
    elif path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            yield from next(csv.reader(file))
    else:
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        yield from keys(header)
        yield from keys(json.loads(header["__metadata__"]["provenance"]))


def test_no_key_of_a_result_or_of_the_zoo_is_an_old_word() -> None:
    files = [
        path
        for folder in ("benchmarks/results", "condense/zoo")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".json", ".csv", ".safetensors")
    ]
    assert len(files) > 100
    old = []
    for path in files:
        file = path.relative_to(ROOT).as_posix()
        allowed = {"strategy"} if path.name in AVALANCHES else set()
        for key in {*keys_of(path)}:
            if key not in allowed and (is_old(key) or key in KEYS):
                old.append(f"{file}: {key}")
        if path.suffix != ".safetensors":  # the values: command lines, and settings as text
            text = path.read_text(encoding="utf-8").replace("-", "_")
            names = {*re.findall(r"__([a-z_]+)", text), *re.findall(r"[a-z]+_[a-z_]+", text)}
            old += [f"{file}: {name}" for name in names if is_old(name)]
            old += [f"{file}: {word}" for word in words(text) & WORDS.keys()]
    assert old == []


def test_no_file_name_has_an_old_word() -> None:
    folders = [ROOT / folder for folder in (*PACKAGES, "tests", "docs")]
    paths = [
        path for folder in folders for path in folder.rglob("*") if "__pycache__" not in str(path)
    ]
    assert len(paths) > 300
    assert [str(path) for path in paths if has_old_word(path.name)] == []


def test_no_heading_has_an_old_word() -> None:
    documents = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
    ]
    headings = [
        line
        for path in documents
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("#")
    ]
    assert len(headings) > 50
    assert [line for line in headings if has_old_word(line)] == []
