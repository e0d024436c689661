from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from avalanche.models import MTSimpleMLP, SimpleMLP
from torch import nn

from condense import (
    Network,
    UserError,
    build,
    generator,
    greedy_herding,
)
from continual import HerdingBuffer, RandomBuffer
from tests.helpers.buffers import agent, counts, first
from tests.helpers.tiny_streams import TINY_EEIL, tasks


def test_herding_by_brute_force_on_the_normalised_features_of_the_model() -> None:
    buffer, learnt, data = HerdingBuffer(images_per_class=3), agent(), tasks()[0]
    buffer.post_adapt(learnt, first())
    for group, kept in buffer.groups.items():
        images = data.x_train[data.y_train == group.label]
        with torch.no_grad():
            features = F.normalize(learnt.model.features(data.normalise(images)))
        chosen: list[int] = []
        for _ in range(3):
            distances = [
                torch.inf
                if row in chosen
                else float((features[[*chosen, row]].mean(0) - features.mean(0)).norm())
                for row in range(len(images))
            ]
            chosen.append(distances.index(min(distances)))
        torch.testing.assert_close(kept.pixels(), images[chosen] / 255, atol=1e-6, rtol=0)


def test_frozen_batch_norms_stay_frozen() -> None:
    model = build(Network(width=4, norm="batch"), (3, 16, 16), 3, generator(0))
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.eval()
    buffer = HerdingBuffer(images_per_class=1, store_logits=True)
    buffer.post_adapt(SimpleNamespace(model=model, device="cpu"), first())
    assert model.training
    assert not any(norm.training for norm in norms)


@pytest.mark.parametrize("kind", [SimpleMLP, MTSimpleMLP])
def test_herding_in_the_features_of_networks_that_flatten_images(kind: Any) -> None:
    buffer, data = HerdingBuffer(images_per_class=3), tasks()[0]
    model = kind(input_size=3 * 16 * 16, hidden_size=8)
    buffer.post_adapt(SimpleNamespace(model=model, device="cpu"), first())
    assert model.training
    model.eval()  # without dropout
    for group, kept in buffer.groups.items():
        images = data.x_train[data.y_train == group.label]
        with torch.no_grad():
            features = F.normalize(model.features(data.normalise(images).flatten(1)))
        chosen = images[greedy_herding(features, 3)]
        torch.testing.assert_close(kept.pixels(), chosen / 255, atol=1e-6, rtol=0)
    assert not model.features._forward_hooks


def test_herding_in_features_that_the_forward_pass_leaves_out() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Flatten()
            self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.classifier(images)
            return logits

    buffer = HerdingBuffer(images_per_class=2)
    buffer.post_adapt(SimpleNamespace(model=Two(), device="cpu"), first())
    assert counts(buffer) == [2] * 10


def test_a_network_in_double_precision_is_given_its_own_dtype() -> None:
    found = []
    for dtype in (torch.float32, torch.float64):
        buffer = HerdingBuffer(images_per_class=2, store_logits=True)
        model = build(TINY_EEIL.network, (3, 16, 16), 10, generator(0)).to(dtype)
        buffer.update(SimpleNamespace(model=model, device="cpu", experience=first()))
        found.append(buffer.samples)
    assert torch.equal(found[0].images, found[1].images)
    torch.testing.assert_close(found[0].logits, found[1].logits)


def test_stored_logits_are_those_of_the_network_without_dropout() -> None:
    model = SimpleMLP(input_size=3 * 16 * 16, hidden_size=8, drop_rate=0.5)
    buffer = RandomBuffer(images_per_class=2, store_logits=True)
    buffer.update(SimpleNamespace(model=model, device="cpu", experience=first()))
    assert model.training
    with torch.no_grad():
        expected = model.eval()(buffer.samples.inputs())
    torch.testing.assert_close(buffer.samples.logits, expected.half(), atol=1e-3, rtol=1e-3)


def test_herding_needs_features() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))
    without = SimpleNamespace(model=model, device="cpu")
    with pytest.raises(UserError, match="needs a model with a method or module `features`"):
        HerdingBuffer(images_per_class=3).post_adapt(without, first())
