"""Data sets of torch, torchvision and Hugging Face as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from condense.data.arrays import ImageArrays, checked
from condense.data.folder_layout import TEST, TRAIN
from condense.data.image_arrays import SMALLEST_SIDE, Array, check_sides
from condense.data.image_files import Fit, pixels_of
from condense.errors import UserError, one_line

LABEL_COLUMNS = ("label", "labels", "fine_label", "target")
"""Names of the column of labels in data sets of Hugging Face; the first that there is, is used."""

NUMPYS = (torch.float16, torch.float32, torch.float64)
"""Floats of PyTorch that NumPy has too."""


def read_datasets(
    train: Any, test: Any = None, size: int | None = None, fit: Fit = "crop"
) -> ImageArrays:
    """The images and labels of map-style data sets.

    Args:
        train: has a length and gives (image, label), or, as in Hugging Face's, columns by name.
            A Hugging Face `DatasetDict` gives both splits. Images are PIL images, tensors or
            arrays, not normalised; labels are integers or strings.
        test: as `train`; None: as for `checked`. If both number their classes differently, their
            labels are matched by class name.
        size: side of PIL images; None: they must have one size.
        fit: see `image_files.pixels_of`.

    Raises:
        UserError: an item is not an image with a label, or sizes differ.
    """
    if isinstance(train, Mapping) and test is None:
        train, test = _named_split(train, TRAIN), _named_split(train, TEST)
    content: dict[str, Array] = {}
    names: dict[str, list[str]] = {}
    for split, dataset in (("train", train), ("test", test)):
        if dataset is not None:
            images, labels = _read(f"the {split} data set", dataset, size, fit)
            content |= {f"x_{split}": images, f"y_{split}": labels}
            if labels.dtype.kind in "iu" and (found := _class_names(dataset)) is not None:
                names[split] = found
    if "train" in names:
        content["class_names"] = np.array(names["train"])
    if "test" in names and names.get("train", names["test"]) != names["test"]:
        for split, own in names.items():
            content[f"y_{split}"] = _named(f"the {split} data set", content[f"y_{split}"], own)
    return checked(content, "the data set")


def as_array(values: Any, called: str) -> Array:
    """Numbers or strings as an array: from a tensor, a list, an array or a table's column.

    Args:
        values: the numbers or strings.
        called: what has them; the message begins with it.

    Raises:
        UserError: they are no array, such as lists of different lengths.
    """
    try:
        if isinstance(values, list | tuple):
            values = [_readable(value) for value in values]
        array = np.asarray(_readable(values))
    except (TypeError, ValueError, RuntimeError) as reason:
        raise UserError(f"{called} cannot be read as an array ({one_line(reason)})") from None
    if array.dtype == object and all(isinstance(value, str) for value in array.flat):
        return array.astype(str)
    return array


def as_tensor(values: Any, called: str) -> Tensor:
    """Numbers as a new tensor on the CPU, which shares no memory with them.

    Args:
        values: the numbers, as for `as_array`.
        called: what has them; the message begins with it.

    Raises:
        UserError: they are no array of numbers.
    """
    array = as_array(values, called)
    try:
        return torch.from_numpy(np.array(array))
    except (TypeError, ValueError) as reason:
        raise UserError(f"{called} cannot be read as a tensor ({one_line(reason)})") from None


def _readable(values: Any) -> Any:
    """A tensor in a form that NumPy reads; other values as they are."""
    if not isinstance(values, Tensor):
        return values
    values = values.detach().cpu()
    return values.float() if values.is_floating_point() and values.dtype not in NUMPYS else values


def _named_split(splits: Mapping[str, Any], names: Sequence[str]) -> Any:
    found = {name.lower(): split for name, split in splits.items()}
    return next((found[name] for name in names if name in found), None)


def _read(called: str, dataset: Any, size: int | None, fit: Fit) -> tuple[Array, Array]:
    """Images and labels of one split."""
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise UserError(f"{called} has no length and no items: a map-style data set is expected")
    if not len(dataset):
        raise UserError(f"{called} is empty; at least one image is expected")
    images, labels = [], []
    for number in range(len(dataset)):
        image, label = _image_and_label(called, dataset[number])
        if isinstance(image, Image.Image):
            image = pixels_of(image, size, fit)
            height, width, _ = image.shape
            check_sides(f"{called} has", height, width, f": give size={SMALLEST_SIDE}")
        images.append(as_array(image, called))
        labels.append(as_array(label, called).reshape(-1))
    shapes = sorted({image.shape for image in images}, key=str)
    if {image.ndim for image in images} == {3} and {shape[2] for shape in shapes} == {1, 3}:
        images = [np.repeat(image, 3 // image.shape[2], axis=2) for image in images]
        shapes = sorted({image.shape for image in images}, key=str)
    if len(shapes) > 1:
        raise UserError(
            f"{called} has images of {len(shapes)} shapes, such as {shapes[0]} and {shapes[-1]}: "
            "give size=64 for PIL images, or a transform that makes all equal"
        )
    try:
        return np.stack(images), as_array(np.stack(labels), called)
    except ValueError as reason:
        raise UserError(f"{called} has labels of several shapes ({one_line(reason)})") from None


def _image_and_label(called: str, item: Any) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        image = next((name for name, value in item.items() if _is_image(value)), None)
        label = next((name for name in LABEL_COLUMNS if name in item), None)
        if image is None or label is None:
            raise UserError(
                f"{called} has the columns {', '.join(map(str, item))}; an image and one of "
                f"{', '.join(LABEL_COLUMNS)} are expected: use its rename_column"
            )
        return item[image], item[label]
    if not isinstance(item, Sequence) or len(item) < 2 or not _is_image(item[0]):
        raise UserError(f"{called} gives a {type(item).__name__}; (image, label) is expected")
    return item[0], item[1]


def _named(called: str, labels: Array, names: Sequence[str]) -> Array:
    """The names of labels that are positions in `names`."""
    unknown = labels[(labels < 0) | (labels >= len(names))]
    if unknown.size:
        raise UserError(
            f"{called} contains the label {unknown.flat[0]}, but has {len(names)} class names; "
            "those of both splits differ, so each label needs one"
        )
    return np.array(names)[labels]


def _is_image(value: Any) -> bool:
    return isinstance(value, Image.Image) or len(getattr(value, "shape", ())) in (2, 3)


def _class_names(dataset: Any) -> list[str] | None:
    """The class names that torchvision, a subset of it, or Hugging Face keep with a data set; a
    wrapper's own come first."""
    while dataset is not None:
        features = getattr(dataset, "features", None)
        if not isinstance(features, Mapping):
            features = {}
        columns = [features[name] for name in LABEL_COLUMNS if name in features]
        names = getattr(columns[0], "names", None) if columns else getattr(dataset, "classes", None)
        if isinstance(names, np.ndarray):
            names = names.tolist()
        if isinstance(names, Sequence) and names and all(isinstance(name, str) for name in names):
            return list(names)
        dataset = getattr(dataset, "dataset", None)  # torch.utils.data.Subset
    return None
