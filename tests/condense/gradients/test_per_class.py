"""Per-class gradients against a plain loop; distances by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from condense.config.network import Network
from condense.gradients.distances import DISTANCES, layerwise_distance
from condense.gradients.per_class import (
    class_gradients,
    distance_gradient,
    matched_parameters,
    stacked_class_gradients,
)
from condense.methods.batch_norm import freeze_batch_norm
from condense.models.build import build
from condense.models.layers import NORMS
from condense.seeds import generator

SHAPE = (3, 16, 16)


def loop(network, images, classes, matched):
    """One class after the other, the way the paper writes it."""
    names, weights = zip(*matched.items(), strict=True)
    rows = []
    for own, label in zip(images, classes, strict=True):
        loss = F.cross_entropy(network(own), label.repeat(len(own)))
        rows.append(torch.autograd.grad(loss, weights, create_graph=True))
    return {name: torch.stack([row[i] for row in rows]) for i, name in enumerate(names)}


def network_and_images(norm="instance", **changes):
    settings = Network(width=8, norm=norm, **changes)
    network = build(settings, SHAPE, 5, generator(0, norm))
    images = torch.randn(5, 4, *SHAPE, generator=generator(1))
    if norm == "batch":
        freeze_batch_norm(network, images.flatten(0, 1) * 2 + 1)
    return network, images, torch.arange(5)


def reference_distance(kind, ours, theirs):
    """D of one class as the published code defines it: over a list of one tensor a parameter."""
    if kind == "layerwise":
        total = 0.0
        for a, b in zip(ours, theirs, strict=True):
            for row, other in zip(a, b, strict=True) if a.ndim > 1 else ():
                row, other = row.flatten(), other.flatten()
                total += 1 - (row @ other).item() / (row.norm() * other.norm() + 1e-6).item()
        return total
    numbers = [torch.cat([part.flatten() for part in side]) for side in (ours, theirs)]
    if kind == "mse":
        return ((numbers[0] - numbers[1]) ** 2).sum().item()
    lengths = numbers[0].norm() * numbers[1].norm() + 1e-6
    return 1 - (numbers[0] @ numbers[1] / lengths).item()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", DISTANCES)
def test_distances_count_the_parameters_that_the_published_ones_count(kind, norm):
    network, images, classes = network_and_images(norm)
    real = torch.randn(5, 6, *SHAPE, generator=generator(2))
    parameters = list(network.parameters())
    expected = []
    for label in range(5):
        sides = []
        for batch in (images[label], real[label]):
            loss = F.cross_entropy(network(batch), torch.full((len(batch),), label))
            sides.append(torch.autograd.grad(loss, parameters))
        expected.append(reference_distance(kind, *sides))
    distance = DISTANCES[kind]
    matched = matched_parameters(network, distance)
    target = stacked_class_gradients(network, list(real), classes, matched, chunk_size=4)
    found = distance(class_gradients(network, images, classes, matched), target)
    assert found.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("distance", DISTANCES.values())
@pytest.mark.parametrize("count", [1, 5])
def test_all_classes_at_once_are_the_plain_loop(norm, distance, count):
    network, images, classes = network_and_images(norm)
    images, classes = images[-count:], classes[-count:]
    matched = matched_parameters(network, distance)
    expected = loop(network, images, classes, matched)
    got = class_gradients(network, images, classes, matched)
    chunked = stacked_class_gradients(network, list(images), classes, matched, chunk_size=3)
    assert got.keys() == expected.keys() == chunked.keys()
    for name in expected:
        torch.testing.assert_close(got[name], expected[name], atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(chunked[name], expected[name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("distance", DISTANCES.values())
@pytest.mark.parametrize("count", [1, 5])
def test_the_gradient_of_the_distance_is_that_of_the_plain_loop(norm, distance, count):
    network, images, classes = network_and_images(norm)
    images, classes = images[-count:], classes[-count:]
    real = torch.randn(count, 6, *SHAPE, generator=generator(2))
    matched = matched_parameters(network, distance)
    target = stacked_class_gradients(network, list(real), classes, matched, chunk_size=6)
    moved = []
    for gradients in (class_gradients, loop):
        leaf = images.clone().requires_grad_()
        moved.append(
            torch.autograd.grad(
                distance(gradients(network, leaf, classes, matched), target).sum(), leaf
            )[0]
        )
    scale = moved[1].abs().max()
    assert scale > 0
    torch.testing.assert_close(moved[0] / scale, moved[1] / scale, atol=1e-4, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("distance", DISTANCES.values())
@pytest.mark.parametrize("max_images", [1, 3])
def test_images_of_a_class_in_chunks(norm, distance, max_images):
    network, images, classes = network_and_images(norm)
    real = torch.randn(5, 6, *SHAPE, generator=generator(2))
    matched = matched_parameters(network, distance)
    target = stacked_class_gradients(network, list(real), classes, matched, chunk_size=6)
    whole, value = distance_gradient(network, images, classes, target, distance, 4)
    cut, same = distance_gradient(network, images, classes, target, distance, max_images)
    scale = whole.abs().max()
    assert scale > 0
    torch.testing.assert_close(cut / scale, whole / scale, atol=1e-4, rtol=0)
    torch.testing.assert_close(same, value, atol=0, rtol=1e-5)


def test_classes_of_different_sizes():
    network, images, classes = network_and_images()
    unequal = [images[c][: 1 + c % 3] for c in range(5)]
    matched = matched_parameters(network, layerwise_distance)
    chunked = stacked_class_gradients(network, unequal, classes, matched, chunk_size=2)
    expected = loop(network, unequal, classes, matched)
    for name in expected:
        torch.testing.assert_close(chunked[name], expected[name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("norm", "dimensions"),
    [("instance", [4, 4, 4, 2]), ("layer", [4, 3, 3, 4, 3, 3, 4, 3, 3, 2]), ("none", [4, 4, 4, 2])],
)
def test_for_the_papers_distance_parameters_of_one_dimension_do_not_count(norm, dimensions):
    network, _, _ = network_and_images(norm)
    matched = matched_parameters(network, layerwise_distance)
    assert [value.ndim for value in matched.values()] == dimensions
    for kind in ("cosine", "mse"):
        assert matched_parameters(network, DISTANCES[kind]) == dict(network.named_parameters())


@pytest.mark.parametrize("distance", DISTANCES.values())
def test_layer_norm_in_bfloat16_can_be_matched(distance):
    network, images, classes = network_and_images("layer", precision="bfloat16")
    matched = matched_parameters(network, distance)
    target = stacked_class_gradients(
        network, list(images.flip(1) + 1), classes, matched, chunk_size=4
    )
    moved, value = distance_gradient(network, images, classes, target, distance, 4)
    assert value > 0
    assert moved.isfinite().all()
    assert moved.abs().max() > 0


def test_layerwise_distance_by_hand():
    # One class, one layer of two output nodes: the first is orthogonal, the second opposite.
    a = {"w": torch.tensor([[[1.0, 0.0], [2.0, 2.0]]])}
    b = {"w": torch.tensor([[[0.0, 3.0], [-1.0, -1.0]]])}
    opposite = 1 + 4 / (math.sqrt(8) * math.sqrt(2) + 1e-6)
    torch.testing.assert_close(DISTANCES["layerwise"](a, b), torch.tensor([1.0 + opposite]))


def test_layerwise_distance_sums_over_layers_and_reads_convolutions_by_output():
    a = {"conv": torch.zeros(1, 2, 3, 1, 1), "fc": torch.tensor([[[3.0, 4.0]]])}
    a["conv"][0, 0, 1] = 5.0
    b = {"conv": a["conv"].clone(), "fc": torch.tensor([[[4.0, 3.0]]])}
    # conv: the first node agrees (0), the second has no gradient at all (1); fc: 1 − 24/25.
    torch.testing.assert_close(DISTANCES["layerwise"](a, b), torch.tensor([1 + 1 / 25]))


def test_cosine_and_mse_by_hand():
    a = {"v": torch.tensor([[[1.0, 0.0]]]), "w": torch.tensor([[[0.0, 2.0]]])}
    b = {"v": torch.tensor([[[0.0, 1.0]]]), "w": torch.tensor([[[0.0, 2.0]]])}
    torch.testing.assert_close(DISTANCES["mse"](a, b), torch.tensor([2.0]))
    torch.testing.assert_close(DISTANCES["cosine"](a, b), torch.tensor([1 - 4 / 5]))


@pytest.mark.parametrize("distance", DISTANCES.values())
def test_classes_do_not_mix(distance):
    a = {"w": torch.randn(3, 4, 5, generator=generator(3))}
    b = {"w": torch.randn(3, 4, 5, generator=generator(4))}
    alone = [distance({"w": a["w"][[c]]}, {"w": b["w"][[c]]}) for c in range(3)]
    torch.testing.assert_close(distance(a, b), torch.cat(alone))


def test_batch_norm_goes_a_tenth_of_the_way_to_the_images_and_stays():
    network = build(Network(width=8, norm="batch"), SHAPE, 5, generator(0))
    images = torch.randn(32, *SHAPE, generator=generator(5)) * 3 + 2
    convolution, norm = network.features[0], network.features[1]
    seen = convolution(images).transpose(0, 1).flatten(1).detach()
    mean, variance = torch.zeros(8), torch.ones(8)
    for _ in range(2):
        freeze_batch_norm(network, images)
        mean, variance = 0.9 * mean + 0.1 * seen.mean(1), 0.9 * variance + 0.1 * seen.var(1)
        torch.testing.assert_close(norm.running_mean, mean)
        torch.testing.assert_close(norm.running_var, variance)
        network(images * 7)
        torch.testing.assert_close(norm.running_mean, mean)
