"""Searches that cannot be done."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas
import pytest

from condense import (
    Network,
    UserError,
    condense,
    load,
)
from nas import Space, TrialResult, compare
from tests.helpers.tiny_searches import in_an_empty_folder, run, summary  # noqa: F401

OWN = """
from torch import nn
from nas import Space

def build(activation, shape, classes):
    return nn.Sequential(nn.Flatten(), {"relu": nn.ReLU}[activation](), nn.Linear(64, classes))

space = Space(["relu", "tanh"], build=build)
"""


def test_a_network_of_ones_own_that_fails_is_left_out_and_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("own_networks.py").write_text(OWN)
    run("--space", "own_networks:space", "--proxy", "random", "--out", "run")
    rows = pandas.read_csv("run/architectures.csv")
    assert list(rows["status"]) == ["complete", "failed"]
    assert rows["reason"].iloc[1] == "KeyError: 'tanh'"
    assert "\n  failed: tanh: KeyError: 'tanh'\n" in capsys.readouterr().out


def test_what_is_no_network_is_named_with_the_space_and_the_architecture() -> None:
    file = Path("no_networks.py").absolute()
    for returned, what in (("None", "None"), ("nn.ReLU", "an object of the type type")):
        file.write_text(f"{OWN}\nspace = Space([7], build=lambda *_: {returned})")
        with pytest.raises(UserError) as error:
            run("--space", "no_networks.py:space", "--proxy", "random", "--out", returned)
        assert str(error.value) == (
            f"none of 1 architectures of {file}:space has a score: the space's build returned "
            f"{what} for 7, not a torch.nn.Module"
        )


def test_a_ground_truth_of_other_networks_is_refused_at_once() -> None:
    """The names are the same; the file of the networks was edited."""
    Path("own_networks.py").write_text(OWN)
    own = ("--space", "own_networks:space", "--proxy", "parameters")
    run("--space", "own_networks:space", "--proxy", "whole", "--out", "whole")
    run(*own, "--ground-truth", "whole", "--out", "same")
    assert summary("same")["spearman_all_n"] == 1
    linear = "nn.Linear(64, classes)"
    for edited, said in (
        (f"{linear}, nn.ReLU()", "of a space with another `build`"),
        (f"nn.Linear(64, 8), {linear.replace('64', '8')}", "relu has 650 parameters"),
    ):
        Path("own_networks.py").write_text(OWN.replace(linear, edited))
        sys.modules.pop("own_networks")
        with pytest.raises(UserError, match=said):
            run(*own, "--ground-truth", "whole", "--out", "other")
        assert not Path("other").exists()


WIDTHS = """
from condense import Network
networks = [Network(depth=1, width=width) for width in (8, 16, 24, 32)]
known, some, none = networks[:2], networks[1:3], networks[2:]
"""


def test_a_ground_truth_of_other_architectures_is_refused_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("widths.py").write_text(WIDTHS)
    run("--space", "widths.py:known", "--proxy", "whole", "--out", "whole")
    own = ("--proxy", "random", "--ground-truth", "whole")
    with pytest.raises(UserError, match="none of the architectures of the search is in the ground"):
        run("--space", "widths.py:none", *own, "--out", "none")
    assert not Path("none").exists()
    run("--space", "widths.py:known", *own, "--out", "all", "--n-trials", "1")
    assert "ground truth" not in capsys.readouterr().err
    run("--space", "widths.py:some", *own, "--out", "some")
    assert "note: 1 of 2 architectures are in the ground truth" in capsys.readouterr().err
    assert summary("some")["spearman_all_n"] == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--proxy", "dssa"], "unknown proxy 'dssa'; known: dsa"),
        (["--proxy", "none.safetensors"], "no such file"),
        (["--dataset", "digit"], "unknown data set 'digit'"),
        (
            ["--proxy", "other.safetensors"],
            "give --image-size 6, or a set that was made from images of that size",
        ),
        (["--ground-truth", "other.csv"], "is the ground truth of other images"),
        (["--storage", "sqlite:///none/study.db"], "check that its folder exists and is writable"),
        (["--space", "own_space:slow"], "no space own_space:slow"),
        (["--space", "own_space:"], "unknown space 'own_space:'"),
        (["--space", "nas:Space"], "no space nas:Space"),
        (["--training.momentum", "-1"], "momentum must be at least 0"),
        (["--proxy", "whole", "--ground-truth", "other.csv"], "its own ground truth"),
        (["--training.images", "5"], "training.images is for proxies of real images"),
        (["--sampel", "3"], "--sampel"),
        (["--n-trials", "0"], "n-trials must be at least 1"),
        (["--training.networks", "0"], "networks must be at least 1"),
        (["--top-fraction", "0"], "top-fraction must"),
        (["--timeout", "-1"], "timeout must"),
        (["--timeout", "1e300"], "timeout must be at most"),
        (["--timeout", "nan"], "timeout must be above 0"),
        (["--top-fraction", "nan"], "top-fraction must"),
        (["--n-trials", "9" * 40], "n-trials must be at most"),
        (["--n-trials", "9" * 4000], "n-trials must be at most"),
        (["--workers", "100000"], "workers must be at most 1024"),
        (["--image-size", "2147483648"], "image-size must be at most"),
        (["--image-size", "7"], "size must be a whole number of at least 8, not 7"),
        (["--training.batch-size", "9" * 31], "batch-size must be at most"),
        (["--training.lr", "1e300"], "lr must be at most"),
        (["--training.lr", "inf"], "lr must be at least 0"),
        (["--training.weight-decay", "1e300"], "weight-decay must be at most"),
        (["--retraining.momentum", "1e300"], "momentum must be at most"),
        (["--retraining.networks", "9" * 20], "networks must be at most"),
        (["--proxy", "x" * 3000], "cannot read xxx.*: File name too long"),
        (["--proxy", "x" * 3000 + ".safetensors"], "cannot read xxx.*: File name too long"),
        (["--proxy", "~nosuchuser/x"], "unknown proxy '~nosuchuser/x'"),
        (["--proxy", "a\nb"], "unknown proxy"),
        (["--proxy", "myset"], r"myset does not end as .* \(.safetensors, .pt, .pth\): rename it"),
        (["--proxy", "made"], "made is a folder: give made/condensed.safetensors"),
        (["--proxy", "a\nb.safetensors"], "--proxy has several lines: rename the file"),
        (["--dataset", "a\nb.npz"], "--dataset has several lines: rename the file"),
        (["--proxy", "a\udcff"], "--proxy contains bytes that are not UTF-8"),
        (
            ["--ground-truth", "x" * 3000],
            "--ground-truth: xxx.* cannot be used: File name too long",
        ),
        (["--ground-truth", "/dev/zero"], "cannot read /dev/zero: it is not a file"),
        (["--ground-truth", "a\udcff"], "--ground-truth contains bytes that are not UTF-8"),
        (
            ["--storage", "sqlite:///me:secret\udcff"],
            "^--storage contains bytes that are not UTF-8: choose another name$",
        ),
        (["--storage", "x" * 3000], "cannot be reached"),
        (["--storage-timeout", "-1"], "storage-timeout must be at least 0"),
        (["--space", "my_nets.py:space"], "no such file: my_nets.py"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(flags: list[str], message: str) -> None:
    other = load("digits").resized(6, 1)
    Path("made").mkdir()
    for path in ("other.safetensors", "myset", "made/condensed.safetensors"):
        condense(other, "random", ipc=1).save(path)
    from nas import Table
    from nas.table import rows_of

    rows = rows_of(Space([Network()]), {0: TrialResult(1, 0.5)})
    Table(rows, "whole", "mnist", "0", "1", "2").write(Path("other.csv"))
    with pytest.raises(UserError, match=message) as caught:
        run("--proxy", "random", *flags, "--out", "run")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 500
    assert not Path("run").exists()


def test_compare_refuses_what_it_cannot_compare() -> None:
    own = ("--space", "own_space:quick", "--proxy", "parameters", "--n-trials", "3")
    run(*own, "--retraining.networks", "0", "--out", "one")
    run(*own, "--retraining.networks", "0", "--size", "16", "--out", "two")
    with pytest.raises(UserError, match="used different images"):
        compare.run(["one", "two"])
    with pytest.raises(UserError, match="not a finished run"):
        compare.run(["one", "three"])
    compare.run(["one", "--out", "one.png"])
    assert summary("one")["best_accuracy"] is None
