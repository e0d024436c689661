from dataclasses import replace

import numpy
import pytest
import torch
from PIL import Image

from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.config.evaluation import Evaluation
from condense.config.network import Network
from condense.data.loading import load
from condense.errors import UserError
from condense.evaluation import evaluate
from condense.seeds import generator
from tests.helpers.condensed_sets import (
    a_set,
    a_set_with_lrs,
    a_set_with_rounded_labels,
    a_soft_set,
)
from tests.helpers.images import blobs
from tests.helpers.methods import same_sets


@pytest.mark.parametrize(
    "before",
    [a_set(), a_soft_set(), a_set_with_rounded_labels(), a_set_with_lrs()],
    ids=["hard", "soft", "rounded", "distill_lrs"],
)
def test_save_and_load_give_the_same_bits(tmp_path, before):
    before.save(tmp_path / "set.safetensors")
    after = CondensedSet.load(tmp_path / "set.safetensors")
    assert same_sets(after, before)
    for name in (
        "mean",
        "std",
        "class_names",
        "provenance",
        "images_per_class",
        "classes",
        "shape",
    ):
        assert getattr(after, name) == getattr(before, name)


@pytest.mark.parametrize("storage", ["float32", "pixels", "dct"])
def test_changed_images_are_saved_as_they_are(tmp_path, storage):
    made = condense(blobs(), "random", ipc=2, storage=storage, preset="smoke")
    path = tmp_path / "set.safetensors"
    for changed in (
        replace(made, images=made.images.flip(3)),
        replace(made, mean=(0.25,)),
        replace(made, images=made.images / 2, mean=(0.2,), std=(0.3,)),
        replace(made, images=made.images + 9e-4),
        replace(made, images=made.images[::2], labels=made.labels[::2]),
        replace(made, images=made.images.double() / 3),
    ):
        changed.save(path)
        kept = CondensedSet.load(path)
        assert kept.images.equal(changed.images.float())
        assert (kept.mean, kept.std) == (changed.mean, changed.std)
        assert changed.bytes == kept.bytes == 4 * changed.images.numel()
    for same in (made, replace(made, images=made.images.double())):
        same.save(path)
        assert (CondensedSet.load(path).stored is None) == (storage == "float32")
    print(made)
    made.images.mul_(0.5)
    made.save(path)
    assert CondensedSet.load(path).images.equal(made.images)


def test_numbers_of_numpy_may_be_settings(tmp_path):
    made = condense(blobs(), "random", ipc=numpy.int64(2), seed=numpy.int64(1), preset="smoke")
    made.save(tmp_path / "set.safetensors")
    about = CondensedSet.load(tmp_path / "set.safetensors").provenance
    assert (about["ipc"], about["seed"]) == (2, 1)


def test_the_same_set_makes_the_same_file(tmp_path):
    for name in ("a", "b"):
        a_set().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_fingerprint_of_images_of_any_type():
    made = a_set()
    learnt = replace(made, images=made.images.clone().requires_grad_())
    assert learnt.fingerprint() == made.fingerprint()
    half = replace(made, images=made.images.bfloat16())
    changed = replace(half, images=-half.images)
    assert len({made.fingerprint(), half.fingerprint(), changed.fingerprint()}) == 3


def test_normalised_by_hand():
    small = a_set(shape=(1, 8, 8))
    torch.testing.assert_close(small.normalised(), (small.images - 0.5) / 0.2)
    data = blobs()
    torch.testing.assert_close(small.normalised(data), (small.images - 0.5) / 0.25)


def test_from_normalised_undoes_the_normalisation():
    data = blobs()
    images = data.normalise(data.x_train[:6])
    made = CondensedSet.from_normalised(images, data.y_train[:6], data)
    torch.testing.assert_close(made.images, data.x_train[:6] / 255)
    torch.testing.assert_close(made.normalised(data), images)
    assert torch.equal(made.labels, data.y_train[:6])


def test_as_dataset_pairs_normalised_images_with_labels():
    small = a_set()
    image, label = small.as_dataset()[3]
    assert label == 1
    torch.testing.assert_close(image, small.normalised()[3])


def test_grid_has_a_row_per_class(tmp_path):
    images = torch.zeros(6, 1, 8, 8)
    images[2:4] = 0.5
    images[4:] = 7.0
    small = replace(a_set(shape=(1, 8, 8)), images=images)
    small.grid(tmp_path / "grid.png")
    picture = Image.open(tmp_path / "grid.png")
    factor = picture.height // 32
    assert picture.size == (factor * 22, factor * 32)
    centres = [picture.getpixel((6 * factor, (6 + 10 * row) * factor)) for row in range(3)]
    assert centres == [0, 128, 255]


@pytest.mark.parametrize("name", ["grid.jpg", "grid", "grid.png.gz"])
def test_a_grid_is_a_png_file(tmp_path, name):
    with pytest.raises(
        UserError, match=f"{name} must end with .png, because pictures are PNG files"
    ):
        a_set().grid(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    a_set().grid(tmp_path / "grid.PNG")


def test_a_class_with_very_many_images_is_shown_by_its_first_ones():
    many = a_set(ipc=300, shape=(1, 8, 8))
    assert many.grid().width == 2 + 199 * 10
    first = torch.arange(900).view(3, 300)[:, :199].flatten()
    few = replace(many, images=many.images[first], labels=many.labels[first])
    assert many.grid().tobytes() == few.grid().tobytes()


def test_batches_of_the_loader_depend_on_the_seed():
    condensed = a_set(ipc=4)
    first, same, other = (
        [batch for _ in range(2) for batch in condensed.loader(5, seed=seed)] for seed in (0, 0, 1)
    )
    assert len(first) == 2 * 3
    rows = torch.cat([images for images, _ in first[:3]])
    assert sorted(rows.sum((1, 2, 3)).tolist()) == sorted(
        condensed.normalised().sum((1, 2, 3)).tolist()
    )
    for (images, labels), (again, _), (others, _) in zip(first, same, other, strict=True):
        assert torch.equal(images, again)
        assert not torch.equal(images, others)
        assert labels.dtype == torch.int64
    in_order = torch.cat([labels for _, labels in condensed.loader(5, shuffle=False)])
    assert torch.equal(in_order, condensed.labels)


def test_what_a_notebook_and_a_terminal_show():
    condensed = a_set().with_provenance(dataset="<b>")
    assert repr(condensed) == (
        "CondensedSet(<b>, dsa, 3 classes, 6 images 8×8 with 3 channels, 4608 bytes)"
    )
    html = condensed._repr_html_()
    assert "&lt;b&gt;" in html
    assert 'src="data:image/png;base64,' in html


def test_rounded_labels_are_proportional_to_probabilities():
    labels = torch.tensor([[255, 0, 0], [85, 170, 0]], dtype=torch.uint8).repeat(3, 1)
    small = replace(a_set(), labels=labels)
    expected = torch.tensor([[1.0, 0, 0], [1 / 3, 2 / 3, 0]]).repeat(3, 1)
    torch.testing.assert_close(small.targets, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ()}, "class_names are not a list of names"),
        ({"class_names": ("a", "b", "a")}, "two classes have the same name"),
        ({"class_names": ("a\nb", "b", "c")}, "characters that cannot be shown"),
        ({"class_names": ("a" * 201, "b", "c")}, "longer than 200"),
        ({"images": torch.full((6, 3, 8, 8), torch.nan)}, "images hold NaN"),
        ({"images": torch.zeros(6, 3, 8, 8, dtype=torch.uint8)}, "images are torch.uint8"),
        ({"labels": torch.arange(6, dtype=torch.int32) // 2}, "labels are torch.int32"),
        ({"labels": torch.zeros(6, 3, dtype=torch.uint8)}, "no probability above 0"),
        ({"mean": (0.5,)}, "not one number per channel"),
        ({"distill_lrs": torch.ones(1, 4)}, "6 images of 3 classes for 4 steps"),
        ({"provenance": {"object": object()}}, "object has no place in JSON"),
    ],
)
def test_what_load_would_refuse_is_not_saved(tmp_path, changes, message):
    with pytest.raises(UserError, match=rf"^cannot write \S+set\.safetensors: .*{message}"):
        replace(a_set(), **changes).save(tmp_path / "set.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["set.pt", "set.pth"])
def test_the_name_of_another_kind_of_file_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=f"{name}: name it .safetensors; `export` writes"):
        a_set().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_provenance_may_be_numbers_of_numpy_and_paths(tmp_path):
    about = {
        "accuracy": numpy.float32(0.5), "std": torch.tensor(0.25), "ipc": numpy.int64(3),
        "file": tmp_path, 1: float("nan"),
    }  # fmt: skip
    small = replace(a_set(), provenance=about, mean=tuple(numpy.float32([0.5, 0.25, 0.5])))
    small.save(tmp_path / "set.safetensors")
    again = CondensedSet.load(tmp_path / "set.safetensors")
    assert again.provenance == {
        "accuracy": 0.5, "std": 0.25, "ipc": 3, "file": str(tmp_path), "1": None
    }  # fmt: skip
    assert again.mean == (0.5, 0.25, 0.5)


def test_soft_labels_go_with_the_images():
    small = a_soft_set()
    image, label = small.as_dataset()[3]
    assert torch.equal(label, small.labels[3])
    torch.testing.assert_close(image, small.normalised()[3])
    assert small.images_per_class == 2


def test_the_class_of_an_image_with_a_soft_label_is_that_it_was_made_for():
    assert a_set().hard_labels.tolist() == [0, 0, 1, 1, 2, 2]
    misleading = torch.eye(3)[[2, 1, 0, 0, 2, 1]]
    small = replace(a_set(), labels=misleading)
    assert small.hard_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert small.grid().tobytes() == a_set().grid().tobytes()


def test_certain_soft_labels_teach_what_hard_ones_do():
    data = blobs()
    hard = CondensedSet.from_normalised(data.normalise(data.x_train[:6]), data.y_train[:6], data)
    test = Evaluation(num_eval=2, epoch_eval_train=20, lr=0.1, batch_size=6, network=Network("mlp"))
    certain = replace(hard, labels=torch.eye(3)[hard.labels])
    assert evaluate(certain, data, test) == evaluate(hard, data, test)
    uncertain = replace(hard, labels=torch.full((6, 3), 1 / 3))
    assert evaluate(uncertain, data, test).mean < evaluate(hard, data, test).mean


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (blobs(shape=(1, 12, 12)), "12×12"),
        (blobs(classes=4), "a, b, c, d"),
        (blobs(shape=(3, 8, 8)), "3 channels"),
    ],
)
def test_a_set_for_other_images_does_not_fit(data, message):
    images = torch.randn(3, 1, 8, 8, generator=generator(0))
    small = CondensedSet.from_normalised(images, torch.arange(3), blobs())
    small.check_fits(blobs())
    with pytest.raises(UserError, match=message):
        small.check_fits(data)
    with pytest.raises(UserError, match="for the classes 0, 1, 2, blobs has a, b, c"):
        replace(small, class_names=(0, 1, 2)).check_fits(blobs())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_images_of_any_precision_are_tested_as_float32(dtype: torch.dtype) -> None:
    data = load("digits")
    made = condense(data, "random", ipc=1, preset="smoke", storage="float32")
    other = replace(made, images=made.images.to(dtype), labels=made.labels.int())
    rounded = replace(made, images=other.images.float())
    found = evaluate(other, data, preset="smoke", num_eval=1, steps=2)
    assert found.values == evaluate(rounded, data, preset="smoke", num_eval=1, steps=2).values


def test_lists_and_numbers_are_kept_as_tuples_and_names() -> None:
    data = load("digits")
    made = condense(data, "random", ipc=1, preset="smoke", storage="float32")
    lists = CondensedSet(made.images, made.labels, [0.5], [1], list(range(10)))  # type: ignore[arg-type]
    assert (lists.mean, lists.std, lists.class_names) == ((0.5,), (1.0,), made.class_names)
    lists.check_fits(data)
