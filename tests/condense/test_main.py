"""`python -m condense …` as a user types it, on the embedded data."""

import json
import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from PIL import Image

from condense import __main__
from condense.cli.flags import parse
from condense.condensed_set import CondensedSet
from condense.config.evaluation import Evaluation
from condense.config.methods import GradientMatching
from condense.config.network import Network
from condense.config.presets import preset
from condense.methods.registry import CHOOSERS, METHODS
from condense.runs.io import read_json
from condense.zoo import load_condensed
from tests.helpers.browser import check_page
from tests.helpers.folders import write_photos
from tests.helpers.split_images import write_images

SMOKE = ("--preset", "smoke", "--quiet")


def test_run_evaluate_show(command, tmp_path):
    flags = ("--dataset", "digits", "--ipc", "2", "--tensorboard", *SMOKE)
    done = command("condense", "run", *flags, "--out", "one")
    assert "digits, dsa, 2 per class:" in done.stdout
    assert "random images in the same bytes: " in done.stdout
    assert done.stdout.splitlines()[-1] == "  one/report.html"
    check_page(tmp_path / "one" / "report.html", "random images", "guessing", "Provenance")
    assert {path.name for path in (tmp_path / "one" / "tensorboard").iterdir()} == {
        *("history", "evaluation", "evaluation-random")
    }
    assert done.stderr == ""
    made = CondensedSet.load(tmp_path / "one" / "condensed.safetensors")
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert made.provenance["accuracy"] == summary["accuracy_mean"]
    assert (summary["dataset"], summary["method"], summary["ipc"]) == ("digits", "dsa", 2)
    config = json.loads((tmp_path / "one" / "config.json").read_text())
    assert config["data"]["train"] == 1438
    assert config["settings"]["settings"]["iterations"] == 2
    changed = config["overrides"]["settings"]
    assert (changed["ipc"], changed["iterations"]) == (2, 2)
    assert "init" in config["settings"]["settings"]
    assert "init" not in changed, "as published"

    command(
        "condense", "evaluate", "one/condensed.safetensors", "--dataset", "digits",
        "--num-eval", "1", "--out", "two", *SMOKE,
    )  # fmt: skip
    tested = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert tested["num_eval"] == 1
    random = tested["baselines"]["random"]["accuracy_mean"]
    assert tested["improvement"] == {"random": tested["accuracy_mean"] - random}
    assert not list(tmp_path.glob("*/evaluation*"))

    command(
        "condense", "evaluate", "one/condensed.safetensors", "--num-eval", "1", "--out", "three",
        "--compare", "none", *SMOKE,
    )  # fmt: skip
    alone = json.loads((tmp_path / "three" / "summary.json").read_text())
    assert alone["baselines"] == {}
    assert alone["accuracies"] == tested["accuracies"]

    shown = command("condense", "show", "one/condensed.safetensors", "--out", "grid.png")
    assert "method    dsa" in shown.stdout
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    listed = command("condense", "methods").stdout
    assert [line.split()[0] for line in listed.splitlines()] == [*METHODS, *CHOOSERS]


def test_the_same_command_twice_gives_the_same_bytes(command, tmp_path):
    for out in ("a", "b"):
        command("condense", "run", "--dataset", "digits", "--out", out, "--no-cache", *SMOKE)
    for name in ("condensed.safetensors", "condensed.png", "history.csv", "report.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    a, b = (json.loads((tmp_path / out / "summary.json").read_text()) for out in "ab")
    assert {**a, "seconds": 0} == {**b, "seconds": 0}


def test_small_images_with_soft_labels(command, tmp_path):
    stored = ("--storage", "pixels", "--factor", "2", "--labels", "soft", "--teacher-steps", "3")
    flags = ("--dataset", "digits", "--method", "dm", "--iterations", "2", *SMOKE, *stored)
    said = command("condense", "run", *flags, "--out", "small").stdout
    assert "24 per class in the bytes of 10" in said
    summary = json.loads((tmp_path / "small" / "summary.json").read_text())
    assert (summary["ipc"], summary["images_per_class"]) == (10, 640 // (16 + 10))
    assert summary["bytes"] == 240 * (16 + 10) + 8
    shown = command("condense", "show", "small/condensed.safetensors").stdout
    assert "dm" in shown
    tested = ("small/condensed.safetensors", "--num-eval", "1", "--preset", "smoke", "--quiet")
    assert "24 per class" in command("condense", "evaluate", *tested).stdout


def test_the_evaluation_depends_on_its_network_and_epochs():
    def evaluation(*flags: str) -> Evaluation:
        return parse(__main__._run_defaults, ["--preset", "cpu", *flags], "test").evaluation

    network = replace(preset(Evaluation, "cpu").network, architecture="lenet")
    found = evaluation("--evaluation.network.architecture", "lenet")
    assert found == preset(Evaluation, "cpu", network=network)
    assert found.lr == 0.01
    brief = preset(Evaluation, "cpu", epoch_eval_train=3)
    assert evaluation("--evaluation.epoch-eval-train=3") == brief
    asked = parse(
        __main__._evaluate_defaults,
        ["--preset", "cpu", "--architecture", "lenet", "--epoch-eval-train", "3", "set"],
        "test",
    )
    assert asked.evaluation == replace(found, steps=None, epoch_eval_train=3)


def test_networks_without_norms_have_lower_learning_rates_at_the_cpu_preset():
    """At the rates that suit the ConvNet they diverge."""
    whole = partial(preset, GradientMatching, "cpu", storage="float32")
    bare = whole(network=Network("mlp"))
    assert (bare.lr_net, bare.lr_img, bare.iterations) == (0.01, 0.03, 20)
    own = whole(network=Network(norm="none"), lr_net=0.5)
    assert (own.lr_net, own.lr_img) == (0.5, 0.3)
    assert preset(GradientMatching, "paper", network=Network("lenet")).lr_img == 0.1
    assert preset(Evaluation, "cpu", network=Network(norm="none")).lr == 0.01
    assert preset(Evaluation, "cpu", network=Network("mlp"), lr=0.5).lr == 0.5
    usual = whole()
    assert whole(network=Network("resnet18")).lr_img == usual.lr_img
    asked = __main__._run_defaults("dsa", "cpu", "lenet")
    assert asked.settings == preset(
        GradientMatching, "cpu", network=replace(usual.network, architecture="lenet")
    )
    assert asked.evaluation == __main__._run_defaults("dsa", "cpu").evaluation


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--dataset", "digit"), "unknown data set 'digit'; known: digits"),
        (("run", "--dataset", "digit"), "; and there is no file or folder of this name"),
        (
            ("run", "--dataset", "digits", "--lr_img", "0.1"),
            "--lr-img is a setting of dsa, dc, dm, idm, kip, dd, gtn: give --method",
        ),
        (("run", "--dataset", "digits", "--method", "das"), "unknown method 'das'; known: dsa"),
        (("run", "--dataset", "nowhere/x.npz"), "x.npz"),
        (("run", "--dataset", "digits", "--ipc", "5000"), "fewer than 5000"),
        (
            ("run", "--method", "dsa", "--iteratoins", "3"),
            "options: --iteratoins, 3; did you mean --iterations",
        ),
        (("run", "--method", "dsa", "--lr-img", "nan"), "lr-img must be at least 0, not nan"),
        (("run", "--method", "dc", "--augment-real", "siamese"), "augment-real must be none"),
        (("evaluate", "x.safetensors", "--num-eval", "0"), "num-eval must be at least 1, not 0"),
        (("run", "--method", "dsa", "--init", "foo"), "unknown init 'foo'; known: "),
        (("run", "--dataset", "digits", "--evaluation.dsa-strategy", "zoom"), "'zoom'"),
        (("run", "--dataset", "digits", "--depth", "5"), "too small"),
        (("run", "--dataset", "digits", "--device", "cuda"), "no device cuda"),
        (("run", "--dataset", "digits", "--preset", "fast"), "'fast'"),
        (("evaluate", "nowhere.safetensors"), "no such file"),
        (("show", "nowhere.safetensors"), "no such file"),
        (("shw",), "unknown command 'shw'; known: show"),
        (("run", "--resume", "nowhere"), "no run to resume"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(command, tmp_path, arguments, message):
    done = command("condense", *arguments, code=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not list(tmp_path.glob("runs/*/config.json"))


def test_a_set_for_other_classes(command):
    command("condense", "run", "--dataset", "digits", "--method", "random", "--out", "a", *SMOKE)
    done = command(
        "condense", "evaluate", "a/condensed.safetensors", "--dataset", "mnist5k", code=2
    )
    assert "8×8" in done.stderr
    assert "28×28" in done.stderr


def test_a_set_is_not_tested_on_other_images_of_the_same_name(command, tmp_path):
    write_images(tmp_path / "data", "mnist", (28, 28))
    command("condense", "run", "--dataset", "mnist", "--method", "random", "--out", "a", *SMOKE)
    evaluate = ("condense", "evaluate", "a/condensed.safetensors", *SMOKE)
    write_images(tmp_path / "data", "mnist", (28, 28), per_class=12)
    done = command(*evaluate, code=2)
    assert "was made from other images named mnist: give --dataset" in done.stderr
    command(*evaluate, "--dataset", "mnist")


def test_own_signs_are_read_without_hflip(command, tmp_path):
    """Nor when the set is tested: the flag is saved with it."""
    write_photos(tmp_path / "signs")
    run = ("condense", "run", "--dataset", "signs", "--size", "16", "--method", "random")
    command(*run, "--ipc", "1", "--no-hflip", "--out", "a", *SMOKE)
    made = CondensedSet.load(tmp_path / "a" / "condensed.safetensors")
    assert made.provenance["source"]["hflip"] is False
    command("condense", "evaluate", "a/condensed.safetensors", "--out", "b", *SMOKE)
    first, second = (read_json(tmp_path / name / "config.json")["data"] for name in "ab")
    assert first["sha256"] == second["sha256"]  # depends on hflip
    done = command("condense", "evaluate", "a/condensed.safetensors", "--dataset", "signs", *SMOKE)
    assert "other images" not in done.stderr


def test_flags_that_change_the_images_are_no_other_images(command, tmp_path):
    write_photos(tmp_path / "photos")
    run = ("condense", "run", "--dataset", "photos", "--size", "16", "--method", "random")
    command(*run, "--ipc", "1", "--out", "a", *SMOKE)
    evaluate = ("condense", "evaluate", "a/condensed.safetensors", *SMOKE)
    command(*evaluate, "--no-hflip")
    done = command(*evaluate, "--size", "8", code=2)
    assert "16×16" in done.stderr


def test_help_does_without_torch(command, tmp_path):
    """A folder of that name comes first on the path of imports."""
    (tmp_path / "torch.py").write_text("raise ImportError('torch was imported')")
    for arguments in (("--help",), ("run", "--help"), ("evaluate", "--help"), ("show", "--help")):
        assert "usage" in command("condense", *arguments).stdout


def test_the_zoo_is_listed_and_given_away(command, tmp_path):
    header, *rows = command("condense", "zoo").stdout.splitlines()
    assert re.split(" {2,}", header)[3] == "accuracy (how it was measured)"
    listed = {row[0]: row[1:] for row in (re.split(" {2,}", line) for line in rows)}
    assert listed["mnist-dsa-10"] == [
        "10 per class",
        "314 kB",
        "95.4 ± 0.2 % (5 networks of width 32, 300 epochs, DSA's augmentation)",
        "d3-w32-relu-instance-avg",
    ]
    assert "width 128, 1000 epochs, augmentation of DC's authors" in listed["mnist-dc-1"][2]
    assert "1000 steps" in listed["cifar10-idm-1"][2]
    command("condense", "zoo", "mnist-dsa-10", "--out", "taken.safetensors")
    assert CondensedSet.load(tmp_path / "taken.safetensors").images_per_class == 10
    shown = command("condense", "show", "mnist-dsa-10", "--out", "named.png").stdout
    assert command("condense", "show", "taken.safetensors", "--out", "file.png").stdout == (
        shown.replace("named.png", "file.png")
    )
    done = command("condense", "zoo", "mnist-das-10", code=2)
    assert "unknown condensed set 'mnist-das-10'; known: mnist-dsa-10" in done.stderr


def test_own_photos_are_found_again_by_their_path(command, tmp_path):
    write_photos(tmp_path / "photos")
    run = ("condense", "run", "--dataset", "photos", "--method", "random", "--ipc", "1")
    done = command(*run, code=2)
    assert "add --size 16 to make all 16×16" in done.stderr
    said = command(*run, "--size", "16", "--out", "a", *SMOKE).stderr
    assert "photos: no test images: 2 of 12, 20% of each class, become the test split" in said
    made = CondensedSet.load(tmp_path / "a" / "condensed.safetensors")
    assert made.provenance["source"] == {
        "path": str(tmp_path / "photos"),
        "split": {"test_share": 0.2, "seed": 0},
        "size": 16,
        "fit": "crop",
    }
    evaluate = ("condense", "evaluate", "a/condensed.safetensors", "--num-eval", "1", *SMOKE)
    assert "photos, random" in command(*evaluate).stdout
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert (
        "photos, which is not there any more: give --dataset" in command(*evaluate, code=2).stderr
    )
    assert "photos, random" in command(*evaluate, "--dataset", "moved").stdout


def test_a_set_of_another_repository_is_shown_and_evaluated(command, tmp_path):
    small = load_condensed("mnist", ipc=1)
    torch.save({"data": [[small.normalised(), small.labels]]}, tmp_path / "res_DSA.pt")
    done = command("condense", "show", "res_DSA.pt", code=2)
    assert "res_DSA.pt: its images are normalised: give the --dataset" in done.stderr
    command("condense", "show", "res_DSA.pt", "--dataset", "mnist")
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.tobytes() == small.grid().tobytes()
    evaluate = ("condense", "evaluate", "res_DSA.pt", "--num-eval", "1", *SMOKE)
    assert "give --dataset" in command(*evaluate, code=2).stderr
    assert "mnist5k, res_DSA, 1 per class" in command(*evaluate, "--dataset", "mnist5k").stdout
