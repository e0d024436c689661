import itertools
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from condense.api import condense
from condense.config.methods import Coreset
from condense.config.network import Network
from condense.errors import UserError
from condense.methods import selection
from condense.methods.selection import (
    feature_network,
    greedy_herding,
    herd,
    select_randomly,
)
from condense.models.build import build
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from condense.storage.capacity import codec_of
from tests.helpers.images import blobs
from tests.helpers.methods import score

SMALL = Coreset(ipc=4, network=Network(width=4), steps=5)


def brute_force(features, count, mean=None):
    """At each step, tries every row that is left."""
    mean = features.mean(0) if mean is None else mean
    chosen = []
    for _ in range(count):
        left = [row for row in range(len(features)) if row not in chosen]
        gaps = [(mean - features[[*chosen, row]].mean(0)).norm() for row in left]
        chosen.append(left[int(torch.stack(gaps).argmin())])
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_herding_is_the_brute_force_greedy_choice(seed):
    features = torch.randn(30, 6, generator=generator(seed), dtype=torch.float64)
    assert greedy_herding(features, 8).tolist() == brute_force(features, 8)
    mean = torch.randn(6, generator=generator(seed, "mean"), dtype=torch.float64)
    assert greedy_herding(features, 8, mean).tolist() == brute_force(features, 8, mean)


def test_herding_reads_nothing_back_from_its_device():
    """On the meta device a tensor has no values: to read one is an error."""
    assert greedy_herding(torch.empty(30, 6, device="meta"), 8).shape == (8,)


def test_stored_images_approach_the_mean_of_the_real_ones(monkeypatch):
    """Chosen by what a network will see, the decoded image."""

    class Pixels(torch.nn.Module):
        def features(self, images):
            return images.flatten(1)

    data = blobs(shape=(3, 8, 8), per_class=20)
    settings = replace(SMALL, storage="ycbcr420", factor=2)
    codec = codec_of(data, settings)
    real = data.normalise(data.x_train)
    seen, real = (normalize(each.flatten(1)) for each in (codec.decode(codec.encode(real)), real))
    monkeypatch.setattr(selection, "feature_network", lambda *_: Pixels())
    monkeypatch.setattr(selection, "max_training_batch", lambda *_: None)
    for rows, chosen in zip(data.train_indices_by_class(), herd(data, settings, 4, 0), strict=True):
        assert chosen.tolist() == rows[brute_force(seen[rows], 4, real[rows].mean(0))].tolist()


def test_herding_looks_at_features_of_length_one(monkeypatch):
    """Of lengths that differ as they please, the directions alone count."""

    class Network(torch.nn.Module):
        def features(self, images):
            return images.flatten(1) * lengths[: len(images)]

    data = blobs()
    directions = normalize(data.normalise(data.x_train).flatten(1))
    lengths = torch.rand(len(data.x_train), 1, generator=generator(3)) * 9 + 0.1
    monkeypatch.setattr(selection, "feature_network", lambda *_: Network())
    monkeypatch.setattr(selection, "max_training_batch", lambda *_: None)
    for rows, chosen in zip(data.train_indices_by_class(), herd(data, SMALL, 4, 0), strict=True):
        assert chosen.tolist() == rows[greedy_herding(directions[rows], 4)].tolist()


def test_the_network_of_the_features_is_trained_by_sgd_with_momentum(data):
    """The learning rate is divided by ten after half of the steps."""
    draws = generator(3, "features")
    network = build(SMALL.network, data.shape, data.classes, draws)
    sgd = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    for step in range(6):
        sgd.param_groups[0]["lr"] = 0.01 if step < 3 else 0.001
        rows = torch.randperm(60, generator=draws)  # one batch
        sgd.zero_grad()
        logits = network(data.normalise(data.x_train[rows]))
        cross_entropy(logits, data.y_train[rows]).backward()
        sgd.step()
    found = feature_network(data, replace(SMALL, steps=6), 3, Checkpointer())
    assert not any(module.training for module in found.modules())
    for ours, theirs in zip(found.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-5)


def test_features_of_a_network_that_diverges_select_nothing(data, monkeypatch):
    def diverge(network, *_, **__):
        next(network.parameters()).data.fill_(torch.nan)

    monkeypatch.setattr(selection, "train_on_split", diverge)
    with pytest.raises(UserError, match="the training of the network of herding diverged"):
        condense(data, "herding", replace(SMALL, ipc=2))


def test_herding_of_all_rows_selects_all():
    features = torch.randn(7, 3, generator=generator(0))
    assert sorted(greedy_herding(features, 7).tolist()) == list(range(7))
    with pytest.raises(UserError, match="cannot select 8 of 7 rows"):
        greedy_herding(features, 8)


def test_herding_comes_closer_to_the_mean_than_chance():
    features = torch.randn(200, 8, generator=generator(1))
    chosen = features[greedy_herding(features, 10)].mean(0)
    random = [
        features[torch.randperm(200, generator=generator(2, i))[:10]].mean(0) for i in range(20)
    ]
    gap = (chosen - features.mean(0)).norm()
    assert all(gap < (mean - features.mean(0)).norm() for mean in random)


@pytest.mark.parametrize(
    "choose", [lambda d: select_randomly(d, 4, 0), lambda d: herd(d, SMALL, 4, 0)]
)
def test_selected_rows_are_of_their_class_and_differ(data, choose):
    rows = choose(data)
    assert rows.shape == (3, 4)
    for label, row in enumerate(rows):
        assert (data.y_train[row] == label).all()
        assert len(set(row.tolist())) == 4


def test_another_seed_selects_others(data):
    rows = [select_randomly(data, 4, seed).tolist() for seed in range(3)]
    assert all(a != b for a, b in itertools.combinations(rows, 2))


@pytest.mark.parametrize("method", ["random", "herding"])
def test_a_coreset_holds_real_images_bit_for_bit(data, method):
    small = condense(data, method, SMALL)
    pixels = (small.images * 255).round().to(torch.uint8)
    real = {image.numpy().tobytes() for image in data.x_train}
    assert all(image.numpy().tobytes() in real for image in pixels)
    torch.testing.assert_close(small.normalised(data), data.normalise(pixels), atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["random", "herding", "dsa"])
def test_a_class_with_too_few_images_is_named(method):
    data = blobs(per_class=3)
    keep = torch.ones(len(data.x_train), dtype=torch.bool)
    keep[data.train_indices_by_class()[1][0]] = False
    data = data.train_subset(keep.nonzero()[:, 0])
    with pytest.raises(UserError, match="blobs has fewer than 3 training images of b: use fewer"):
        condense(data, method, ipc=3)


def test_zero_images_are_none():
    for ipc in (0, -1):
        with pytest.raises(UserError, match="ipc must be at least 1"):
            condense(blobs(), "random", ipc=ipc)


def test_herded_images_teach_better_than_random_ones():
    settings = Coreset(ipc=1, steps=100, network=Network(width=8, depth=2))
    assert score("herding", settings) > score("random", Coreset(ipc=1)) + 0.05
