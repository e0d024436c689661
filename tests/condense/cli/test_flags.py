from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

from condense.cli import device
from condense.cli.common import Common
from condense.cli.flags import parse, read_flags
from condense.cli.run import default_out, open_run
from condense.config.evaluation import Evaluation
from condense.config.methods import Coreset, GradientMatching
from condense.config.network import Network
from condense.config.presets import preset as at
from condense.errors import UserError, unknown

PROG = "python -m example run"
SETTINGS = {"dsa": GradientMatching, "random": Coreset}


@dataclass(frozen=True)
class Run:
    dataset: str = "auto"
    """Name or path."""
    method: str = "dsa"
    """How."""
    settings: tyro.conf.AvoidSubcommands[tyro.conf.OmitArgPrefixes[GradientMatching | Coreset]] = (
        field(default_factory=GradientMatching)
    )
    evaluation: Evaluation = field(default_factory=Evaluation)
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)


def defaults(preset: str, method: str = "dsa") -> Run:
    if method not in SETTINGS:
        raise unknown("method", method, SETTINGS)
    return Run(settings=at(SETTINGS[method], preset), evaluation=at(Evaluation, preset))


def parsed(*argv: str) -> Run:
    return parse(defaults, argv, PROG)


# Presets and flags


def test_a_preset_gives_the_defaults_and_a_flag_overrides_it() -> None:
    cpu = at(GradientMatching, "cpu")
    assert parsed("--preset", "cpu").settings == cpu
    assert parsed("--preset=paper").settings == GradientMatching()
    changed = parsed("--iterations", "7", "--preset", "cpu", "--width=16", "--no-cache")
    assert changed.settings == dataclasses.replace(cpu, iterations=7, network=Network(width=16))
    assert changed.evaluation == at(Evaluation, "cpu")
    assert not changed.common.cache


def test_deterministic_is_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[bool] = []
    monkeypatch.setattr(torch, "use_deterministic_algorithms", used.append)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert parsed("--device", "cpu", "--deterministic").common.deterministic
    monkeypatch.setattr(device, "choose_device", lambda _: torch.device("cuda"))
    assert not parsed().common.deterministic
    assert used == []
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    parsed("--deterministic")
    assert used == [True]
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (True, False)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_auto_is_the_preset_for_this_machine_and_says_which() -> None:
    expected = "paper" if torch.cuda.is_available() else "cpu"
    assert parsed().common.preset == expected
    assert parsed("--preset", "auto").common.preset == expected
    assert parsed("--device", "cpu").common.preset == "cpu"
    assert parsed("--device", "cpu").settings == at(GradientMatching, "cpu")


def test_the_settings_are_those_of_the_method() -> None:
    assert parsed("--method", "random", "--ipc", "3").settings == at(Coreset, "cpu", ipc=3)
    assert parsed("--method=random", "--preset=paper").settings == Coreset()
    with pytest.raises(UserError, match="unknown method 'dsb'; known: dsa, random"):
        parsed("--method", "dsb")


@pytest.mark.parametrize(
    "argv",
    [
        ["--nonsense"],
        ["--iterations", "many"],
        ["--method", "random", "--iterations", "3"],
        ["--init", "nothing"],
        ["word"],
    ],
)
def test_what_is_no_flag_or_no_value_is_said_in_a_line(argv: Sequence[str]) -> None:
    with pytest.raises(UserError) as error:
        parsed("--preset", "cpu", *argv)
    said = str(error.value)
    assert any(word in said for word in argv)
    assert "\n" not in said
    assert not set("│─╭") & set(said)


def test_a_mistyped_flag_names_the_nearest() -> None:
    with pytest.raises(
        UserError, match=r"^Unrecognized options: --iteratoins, 3; did you mean --iterations"
    ):
        parsed("--preset", "cpu", "--iteratoins", "3")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("--network.width 4", "--width or --evaluation.network.width"),
        ("--network.width=4", "--width"),
        ("--settings.network.batch_real 4", "--batch-real"),
        ("--evaluation.width 4", "--evaluation.network.width"),
        ("--epoch_eval_train 4", "--evaluation.epoch-eval-train"),
    ],
)
@pytest.mark.parametrize("columns", ["80", "250"])
def test_a_flag_of_another_group_names_that(
    words: str, meant: str, columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First: tyro proposes the same name in another group, which means something else."""
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(UserError) as error:
        parsed("--preset", "cpu", *words.split())
    assert str(error.value).startswith("Unrecognized options: ")
    assert str(error.value).endswith(f"; did you mean {meant}?")


def test_help_has_no_line_breaks_of_the_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        parsed("--help")
    shown = capsys.readouterr().out
    assert "paper: the published experiments. cpu: useful on two cores. smoke" in shown  # of a base
    assert "as in the authors' code. cosine: it falls" in shown
    for kind in (Run, GradientMatching, Common):
        assert all(not field.metadata for field in dataclasses.fields(kind)), "left as they were"


@dataclass(frozen=True)
class Draw:
    out: Path = Path("figure.png")
    folder: Path = Path("runs")


def test_a_picture_is_named_as_a_png_file() -> None:
    """Before anything is computed, which may take hours."""
    flags = ["--out", "~/a.PNG", "--folder", "b.jpg"]
    assert read_flags(Draw, flags, PROG) == Draw(Path("~/a.PNG").expanduser(), Path("b.jpg"))
    for name in ("a.jpg", "a", ""):
        with pytest.raises(UserError, match=r"^--out: .* must end with .png"):
            read_flags(Draw, ["--out", name], PROG)


def test_the_last_of_a_flag_given_twice_counts() -> None:
    twice = parsed("--preset=paper", "--preset", "smoke")
    assert twice.settings == at(GradientMatching, "smoke")


def test_flags_are_named_and_documented_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parsed("--help")
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for flag in ("--iterations", "--width", "--evaluation.num-eval", "--no-cache", "--data-root"):
        assert flag in shown
    assert "Real images per class in a step. (default: 128)" in shown  # cpu's
    assert "Folder of an interrupted run to resume; the settings are read from it." in shown


# Resume


def run_flags() -> st.SearchStrategy[list[str]]:
    flags = {
        "ipc": st.integers(1, 50),
        "iterations": st.integers(1, 9),
        "outer_loop": st.one_of(st.none(), st.integers(1, 9)).map(str),
        "lr-img": st.floats(1e-9, 1e9),
        "init": st.sampled_from(["real", "herding", "noise"]),
        "dsa_strategy": st.sampled_from(["color crop", "flip", "scale rotate cutout"]),
        "width": st.integers(1, 256),
        "evaluation.lr": st.floats(0, 1),
        "seed": st.integers(0, 10**18 - 1),
        "preset": st.sampled_from(["paper", "cpu", "smoke"]),
        "dataset": st.sampled_from(["mnist", "my images.npz", "ü"]),
        "data-root": st.just("/somewhere/else"),
    }
    chosen = st.fixed_dictionaries({}, optional=flags)
    return chosen.map(
        lambda given: [
            word
            for flag, value in given.items()
            for word in (
                f"--{flag}",
                *(str(value).split() if flag == "dsa_strategy" else [str(value)]),
            )
        ]
    )


@given(argv=run_flags())
@settings(max_examples=40, deadline=None)
def test_resume_knows_the_settings(
    tmp_path_factory: pytest.TempPathFactory, argv: list[str]
) -> None:
    out = tmp_path_factory.mktemp("run") / "run"
    first = parsed(*argv, "--out", str(out), "--no-cache")
    open_run(PROG, first, "example", data={"sha256": "aa"}).close()
    again = parsed("--resume", str(out), "--quiet")
    common = dataclasses.replace(first.common, out=None, resume=out, quiet=True)
    assert again == dataclasses.replace(first, common=common)
    assert type(again.settings) is type(first.settings)
    with open_run(PROG, again, "example", data={"sha256": "aa"}) as folder:
        assert folder.path == out


def test_settings_of_another_method_are_resumed_as_such(tmp_path: Path) -> None:
    first = parsed("--method", "random", "--steps", "77", "--out", str(tmp_path / "run"))
    open_run(PROG, first, "example").close()
    assert parsed("--resume", str(tmp_path / "run")).settings == first.settings


def test_only_what_changes_no_result_goes_with_resume(tmp_path: Path) -> None:
    open_run(PROG, parsed("--out", str(tmp_path / "run")), "example").close()
    argv = ["--resume", str(tmp_path / "run")]
    moved = parsed(*argv, "--data-root", "/moved", "--quiet", "--no-cache")
    assert moved.common.data_root == Path("/moved")
    assert not moved.common.cache
    for other in (
        ["--seed", "1"],
        ["--ipc=5"],
        ["--out", "x"],
        ["--preset=cpu"],
        ["--device=cpu"],
    ):
        with pytest.raises(UserError, match=r"^--[a-z-]+ cannot be given with --resume"):
            parsed(*argv, *other)


def test_resume_refuses_what_it_cannot_go_on_with(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(UserError, match="no run to resume"):
        parsed("--resume", str(run))
    first = parsed("--out", str(run))
    open_run(PROG, first, "example", data={"sha256": "aa"}).close()
    with pytest.raises(UserError, match=r"data\.sha256 aa → bb"):
        open_run(PROG, parsed("--resume", str(run)), "example", data={"sha256": "bb"})
    (run / "summary.json").write_text("{}")
    with pytest.raises(UserError, match="is finished"):
        open_run(PROG, parsed("--resume", str(run)), "example", data={"sha256": "aa"})
    config = json.loads((run / "config.json").read_text())
    for key, value, message in [
        ("command", "python -m other", f"another command: python -m other --resume {run}"),
        ("settings", 3, "damaged"),
        ("settings", {**config["settings"], "dataset": None, "old": 3}, "unknown setting 'old'"),
        (
            "settings",
            {**config["settings"], "settings": {"iterations": "many"}},
            "iterations cannot be 'many'",
        ),
    ]:
        (run / "config.json").write_text(json.dumps({**config, key: value}))
        with pytest.raises(UserError, match=message):
            parsed("--resume", str(run))
    (run / "config.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        parsed("--resume", str(run))


def test_what_says_nothing_about_the_result_is_not_recorded(tmp_path: Path) -> None:
    settings = []
    for name, *flags in (("a",), ("b", "--quiet"), ("c", "--data-root", ".data")):
        with open_run(PROG, parsed("--out", str(tmp_path / name), *flags), "example") as folder:
            settings.append(folder.config["settings"])
    assert settings[0] == settings[1]
    assert settings[2]["common"]["data_root"] == str(Path(".data").absolute())


def test_default_folders_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "20240131-235959")
    paths = [default_out("condense") for _ in range(3)]
    assert [str(path) for path in paths] == [
        "runs/condense-20240131-235959",
        "runs/condense-20240131-235959-2",
        "runs/condense-20240131-235959-3",
    ]
