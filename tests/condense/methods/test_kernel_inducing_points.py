"""KIP: the regression written out, its gradient, steps, labels, resume, and that it helps."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.config.kernel import KernelInducingPoints
from condense.config.methods import Coreset
from condense.data.image_data import ImageData
from condense.data.loading import load
from condense.errors import UserError
from condense.methods.initialisation import initial_images
from condense.methods.kernel_inducing_points import (
    kernel_accuracy,
    kernel_metrics,
    regression_gradient,
    ridge_weights,
)
from condense.models.tangent_kernel import tangent_kernel
from condense.seeds import generator
from condense.training import chunking
from tests.helpers.images import blobs
from tests.helpers.methods import assert_resumes, same_sets

TINY = KernelInducingPoints(ipc=2, iterations=3, batch_real=8, reg=1e-3)


def reference_loss(images: Tensor, labels: Tensor, data: ImageData, targets: Tensor) -> Tensor:
    """½ mean (K_ts (K_ss + λ tr(K_ss) / n I)⁻¹ y_s − y_t)², with an explicit inverse, TINY's λ."""
    real = data.normalise(data.x_train[targets]).double()
    k_ss = tangent_kernel(images, images, 1, TINY.w_std, TINY.b_std)
    k_ts = tangent_kernel(real, images, 1, TINY.w_std, TINY.b_std)
    count, classes = labels.shape
    inverse = torch.linalg.inv(k_ss + 1e-3 * k_ss.trace() / count * torch.eye(count).double())
    predicted = k_ts @ inverse @ (labels - 1 / classes)
    wanted = torch.eye(classes).double()[data.y_train[targets]] - 1 / classes
    return 0.5 * (predicted - wanted).square().mean()


def support_of(data: ImageData) -> tuple[Tensor, Tensor, Tensor]:
    """Images float64 [6, c, h, w], soft labels [6, classes], and both in rows, by class."""
    images = initial_images(data, TINY, 0).double()
    noise = torch.rand(data.classes, 2, data.classes, generator=generator(0, "labels")).double()
    labels = (torch.eye(data.classes)[:, None] + noise).softmax(2)
    support = torch.cat([images.flatten(2), labels], 2)
    return images.flatten(0, 1), labels.flatten(0, 1), support


def test_loss_and_gradient_are_the_regression_written_out(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "CHUNK_BYTES", 1)
    monkeypatch.setattr("condense.methods.kernel_inducing_points.MIN_CHUNK", 4)  # several chunks
    images, labels, support = support_of(data)
    targets = torch.arange(3, 25)
    gradient, loss = regression_gradient(support, data, targets, TINY)
    leaves = images.requires_grad_(), labels.requires_grad_()
    expected = reference_loss(*leaves, data, targets)
    of_images, of_labels = torch.autograd.grad(expected, leaves)
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-9)
    rows = torch.cat([of_images.flatten(1), of_labels], 1)
    torch.testing.assert_close(gradient.flatten(0, 1), rows, rtol=1e-7, atol=1e-12)
    assert rows.abs().max() > 1e-4


def test_gradient_by_finite_differences(data: ImageData) -> None:
    _, _, support = support_of(data)
    targets = torch.arange(30)
    gradient, _ = regression_gradient(support, data, targets, TINY)
    for entry in [(0, 0, 0), (1, 1, 40), (2, 0, 63), (2, 1, 65)]:  # the last is of a label
        moved = []
        for change in (1e-5, -1e-5):
            other = support.clone()
            other[entry] += change
            moved.append(float(regression_gradient(other, data, targets, TINY)[1]))
        slope = (moved[0] - moved[1]) / 2e-5
        assert float(gradient[entry]) == pytest.approx(slope, rel=1e-5, abs=1e-10)


@pytest.mark.parametrize("learn_labels", [False, True])
def test_steps_are_the_algorithm_written_out(data: ImageData, learn_labels: bool) -> None:
    settings = replace(TINY, iterations=2, learn_labels=learn_labels)
    shuffled = torch.randperm(len(data.y_train), generator=generator(0, "shuffled"))
    data = replace(data, y_train=data.y_train[shuffled])  # so that no image is sure of its class
    made = condense(data, "kip", settings)
    images = initial_images(data, settings, 0).flatten(0, 1).requires_grad_()
    labels = torch.eye(3).repeat_interleave(2, 0).requires_grad_()
    learnt = [images, labels] if learn_labels else [images]
    adam = torch.optim.Adam(learnt, 0.04, betas=(0.9, 0.99))
    for k in range(2):
        draws = generator(0, "iteration", k)
        members = data.train_indices_by_class()
        rows = [row[torch.randperm(len(row), generator=draws)[:8]] for row in members]
        adam.zero_grad()
        reference_loss(images.double(), labels.double(), data, torch.cat(rows)).backward()
        adam.step()
        with torch.no_grad():
            labels.clamp_(min=1e-6)
            labels.div_(labels.sum(1, keepdim=True))
    torch.testing.assert_close(made.normalised(data), images.detach(), atol=1e-4, rtol=1e-3)
    if learn_labels:
        torch.testing.assert_close(made.labels, labels.detach(), atol=1e-5, rtol=1e-3)
        assert (made.labels.amax(1) < 0.999).any()
    else:
        assert torch.equal(made.labels, made.hard_labels)


def test_equal_images_of_different_classes_are_regressed_by_the_ridge() -> None:
    images = torch.ones(2, 4).double()
    weights = ridge_weights(images, torch.eye(2).double() - 0.5, TINY)
    assert weights.isfinite().all()
    with pytest.raises(UserError, match="use a larger --reg"):
        ridge_weights(images, torch.eye(2).double(), replace(TINY, reg=0.0))


@pytest.mark.parametrize("learn_labels", [False, True])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(
    data: ImageData, learn_labels: bool
) -> None:
    settings = replace(TINY, learn_labels=learn_labels, lr_img_schedule="cosine", batch_syn=1)
    assert_resumes(data, "kip", settings, stop_at=1)


def test_seeds(data: ImageData) -> None:
    first, again, other = (condense(data, "kip", TINY, seed=seed) for seed in (1, 1, 2))
    assert same_sets(first, again)
    assert not same_sets(first, other)


def test_a_set_with_learnt_labels_survives_its_file(data: ImageData, tmp_path: Any) -> None:
    small = condense(data, "kip", replace(TINY, learn_labels=True))
    small.save(tmp_path / "set.safetensors")
    assert same_sets(CondensedSet.load(tmp_path / "set.safetensors"), small)


@pytest.mark.parametrize(
    "stored",
    [{"storage": "pixels", "factor": 2}, {"storage": "ycbcr420"}, {"storage": "dct"}],
)
def test_images_are_learnt_through_every_storage(stored: dict[str, Any]) -> None:
    data = blobs(shape=(3, 8, 8))
    settings = replace(TINY, batch_syn=2, lr_img=0.3, **stored)
    made = condense(data, "kip", settings)
    assert made.stored is not None
    start = condense(data, "kip", replace(settings, lr_img=0.0))
    assert made.bytes == start.bytes
    assert (made.images - start.images).abs().max() > 0.01


def test_regression_on_the_set_is_better_than_on_random_images() -> None:
    data = load("digits")
    settings = KernelInducingPoints(ipc=1, iterations=30, batch_real=50)
    made = condense(data, "kip", settings)
    random = condense(data, "random", Coreset(ipc=1))
    assert kernel_accuracy(made, data, settings) > kernel_accuracy(random, data, settings) + 0.1


def test_the_accuracy_is_that_of_the_nearest_class_for_one_image_of_each(data: ImageData) -> None:
    """Predictions by hand, with the class means as images."""
    means = torch.stack([data.x_train[rows].float().mean(0) for rows in
                         data.train_indices_by_class()]) / 255  # fmt: skip
    small = CondensedSet(means, torch.arange(3), data.mean, data.std, data.class_names)
    images, real = small.normalised(data).double(), data.normalise(data.x_test).double()
    weights = ridge_weights(images, torch.eye(3).double() - 1 / 3, TINY)
    scores = tangent_kernel(real, images, 1, TINY.w_std, TINY.b_std) @ weights
    expected = (scores.argmax(1) == data.y_test).double().mean().item()
    assert kernel_accuracy(small, data, TINY) == pytest.approx(expected)
    assert expected > 0.9
    soft = replace(small, labels=F.one_hot(torch.arange(3), 3).float())
    assert kernel_accuracy(soft, data, TINY) == pytest.approx(expected)


def test_without_memory_for_the_kernel_of_all_images_there_is_a_note(
    data: ImageData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = condense(data, "random", Coreset(ipc=2))
    monkeypatch.setattr("condense.system.memory.available_memory", lambda: 1000)
    assert kernel_metrics(small, data, TINY) == {}
    assert "note: no kernel accuracy: the kernel of 6" in capsys.readouterr().err


def test_one_class_has_nothing_to_regress() -> None:
    with pytest.raises(UserError, match="has one class"):
        condense(blobs(classes=1), "kip", TINY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_depth": 0}, "kernel-depth must be at least 1"),
        ({"kernel_depth": 65}, "kernel-depth must be at most 64"),
        ({"w_std": 0.0}, "w-std must be above 0"),
        ({"reg": -1.0}, "reg must be at least 0"),
        ({"learn_labels": True, "labels": "soft"}, "learn-labels needs labels hard"),
        ({"learn_labels": True, "storage": "pixels"}, "learn-labels needs storage float32"),
        ({"learn_labels": True, "short_classes": "keep"}, "learn-labels needs short-classes"),
        ({"ipc": 99}, "fewer than 99"),
    ],
)
def test_settings_that_make_no_sense(
    data: ImageData, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        condense(data, "kip", **changes)


def test_the_command_lowers_the_loss_and_reports_the_accuracy_of_the_kernel(
    command: Any, tmp_path: Any
) -> None:
    said = command(
        "condense", "run", "--dataset", "digits", "--method", "kip", "--preset", "smoke",
        "--iterations", "10", "--evaluation.num-eval", "1", "--compare", "none", "--no-cache",
        "--evaluation.network.architecture", "fc1", "--out", "run", "--quiet",
    ).stdout  # fmt: skip
    with (tmp_path / "run" / "history.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 10
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert f"kernel accuracy: {100 * summary['kernel_accuracy']:.1f} %" in said
    assert summary["kernel_accuracy"] > 0.5


def test_a_device_without_float64_is_refused(
    data: ImageData, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = condense(data, "random", Coreset(ipc=2))
    monkeypatch.setattr(ImageData, "device", property(lambda self: torch.device("mps")))
    with pytest.raises(UserError, match="mps does not have: use --device cpu") as caught:
        condense(data, "kip", TINY)
    assert "\n" not in str(caught.value)
    assert kernel_metrics(made, data, TINY) == {}
    assert "no kernel accuracy: kip needs float64" in capsys.readouterr().err
