"""A set in other programs: NumPy, plain torch, ImageFolder, Hugging Face datasets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import to_tensor

from condense import CondensedSet, UserError, condense, load, load_condensed
from condense.export.formats import export, folder_names
from condense.export.png import clipped
from tests.condense.test_condensed_set import a_set, a_set_with_lrs, a_soft_set


def eight_bits(condensed: CondensedSet) -> torch.Tensor:
    return (condensed.images.clamp(0, 1) * 255).round() / 255


def stored_set() -> CondensedSet:
    return condense(load("digits"), "random", ipc=2, storage="dct")


@pytest.mark.parametrize("to", ["npz", "pt"])
@pytest.mark.parametrize("made", [a_set, a_soft_set, a_set_with_lrs, stored_set])
def test_arrays_are_exactly_those_of_the_set(to, made, tmp_path: Path) -> None:
    condensed, out = made(), tmp_path / f"set.{to}"
    code = export(condensed, to, out)
    found = eval(code, {"numpy": np, "torch": torch})
    torch.testing.assert_close(torch.as_tensor(found["images"]), condensed.images, rtol=0, atol=0)
    assert torch.as_tensor(found["labels"]).tolist() == condensed.hard_labels.tolist()
    assert tuple(map(str, found["class_names"])) == condensed.class_names
    assert tuple(map(float, found["mean"])) == condensed.mean
    assert tuple(map(float, found["std"])) == condensed.std
    assert json.loads(str(found["provenance"])) == condensed.provenance
    soft = torch.as_tensor(found["soft_labels"]) if "soft_labels" in found else condensed.labels
    assert torch.equal(soft, condensed.targets)
    assert ("distill_lrs" in found) == (condensed.distill_lrs is not None)
    if condensed.distill_lrs is not None:
        assert torch.equal(torch.as_tensor(found["distill_lrs"]), condensed.distill_lrs)
    export(condensed, to, tmp_path / "again")
    assert out.read_bytes() == (tmp_path / "again").read_bytes()


@pytest.mark.parametrize("to", ["npz", "pt", "folder"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_images_of_own_optimisation_code_are_exported(to, dtype, tmp_path: Path) -> None:
    pixels = (
        torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        .to(dtype)
        .requires_grad_()
    )
    made = CondensedSet(pixels, torch.arange(2), (0.5,), (1.0,), ("a", "b"))
    export(made, to, tmp_path / "out")
    if to == "npz":
        assert np.array_equal(np.load(tmp_path / "out")["images"], pixels.detach().float())


@pytest.mark.parametrize("to", ["npz", "pt"])
def test_provenance_may_be_numbers_of_numpy(to, tmp_path: Path) -> None:
    out = tmp_path / f"set.{to}"
    code = export(a_set().with_provenance(accuracy=np.float32(0.5)), to, out)
    found = eval(code, {"numpy": np, "torch": torch})
    assert json.loads(str(found["provenance"]))["accuracy"] == 0.5


@pytest.mark.parametrize("made", [a_set, a_soft_set, lambda: load_condensed("mnist", ipc=1)])
def test_a_folder_for_image_folder(made, tmp_path: Path) -> None:
    condensed, out = made(), tmp_path / "set"
    export(condensed, "folder", out)
    found = ImageFolder(str(out / "train"))
    images = torch.stack([to_tensor(image) for image, _ in found])[:, : condensed.shape[0]]
    torch.testing.assert_close(images, eight_bits(condensed))
    assert found.targets == condensed.hard_labels.tolist()
    assert (out / "soft_labels.csv").exists() == (condensed.labels.ndim > 1)
    if condensed.labels.ndim > 1:
        rows = np.genfromtxt(out / "soft_labels.csv", delimiter=",", skip_header=1)[:, 1:]
        torch.testing.assert_close(torch.tensor(rows).float(), condensed.targets)
        lines = (out / "soft_labels.csv").read_text(encoding="utf-8").splitlines()
        files = sorted(out.rglob("*.png"), key=lambda path: path.name)
        assert [line.partition(",")[0] for line in lines] == [
            "file",
            *(path.relative_to(out).as_posix() for path in files),
        ]


def test_folder_names_keep_the_order_of_the_classes() -> None:
    assert folder_names(("cat", "dog")) == ["cat", "dog"]
    assert folder_names(("T-shirt/top", "Bag")) == ["0-T-shirt-top", "1-Bag"]
    assert folder_names(("a/b", "a:b")) == ["0-a-b", "1-a-b"]
    assert folder_names((".", "..")) == ["0-", "1-"]
    many = folder_names(tuple(map(str, range(11))))
    assert many == sorted(many)


@pytest.mark.parametrize("made", [a_set, a_soft_set])
def test_a_repository_of_the_hub(made, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    condensed, out = made(), tmp_path / "set"
    export(condensed, "parquet", out, "cc-by-4.0")
    cache = str(tmp_path / "cache")
    found = datasets.load_dataset(str(out), split="train", cache_dir=cache)
    images = torch.stack([to_tensor(row["image"]) for row in found])
    torch.testing.assert_close(images, eight_bits(condensed))
    assert found["label"][:] == condensed.hard_labels.tolist()
    assert tuple(found.features["label"].names) == condensed.class_names
    if condensed.labels.ndim > 1:
        torch.testing.assert_close(torch.tensor(found["soft_label"][:]), condensed.targets)


def test_the_card_of_the_hub(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    condensed = load_condensed("mnist", ipc=1)
    export(condensed, "parquet", tmp_path / "set", "cc-by-4.0")
    card = hub.DatasetCard.load(tmp_path / "set" / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.task_categories == ["image-classification"]
    assert card.data.size_categories == ["n<1K"]
    assert card.data.configs[0]["data_files"][0]["path"].startswith("data/train-")
    about = condensed.provenance
    for text in (
        f"**{100 * about['accuracy']:.1f} ± {100 * about['accuracy_std']:.1f} %**",
        f"| fingerprint | {about['fingerprint']} |",
        f"| num-eval | {about['evaluation']['num_eval']} |",
        f"| iterations | {about['settings']['iterations']} |",
        "# mnist, condensed by dsa",
    ):
        assert text in card.text
    numbers = {"accuracy": np.float32(0.5), "accuracy_std": torch.tensor(0.25)}
    export(replace(condensed, provenance=numbers), "parquet", tmp_path / "numbers")
    assert "**50.0 ± 25.0 %**" in (tmp_path / "numbers" / "README.md").read_text()
    once = {**numbers, "evaluation": {"num_eval": 1}}
    export(replace(condensed, provenance=once), "parquet", tmp_path / "once")
    assert "**50.0 %**" in (tmp_path / "once" / "README.md").read_text()
    unknown = replace(condensed, provenance={})
    export(unknown, "parquet", tmp_path / "unknown")
    assert "The set was not tested." in (tmp_path / "unknown" / "README.md").read_text()


def test_numbers_outside_of_black_and_white_are_counted() -> None:
    condensed = replace(a_set(), images=torch.full((6, 3, 8, 8), 0.5))
    condensed.images[:3] = -0.1
    assert clipped(condensed) == 0.5


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="exists already: choose another --out"):
        export(a_set(), "folder", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "empty").mkdir()
    export(a_set(), "folder", tmp_path / "empty")
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.tex", "empty"}
    for to in ("npz", "pt"):
        with pytest.raises(UserError, match="exists already: choose another --out"):
            export(a_set(), to, tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_bytes() == b""


def test_without_datasets_the_message_says_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(UserError, match=r'pip install "condense-toolkit\[hub\]"'):
        export(a_set(), "parquet", tmp_path / "set")
    assert not list(tmp_path.iterdir())
