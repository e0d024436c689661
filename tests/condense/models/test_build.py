from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from condense.config.network import Network
from condense.errors import UserError
from condense.models import layers
from condense.models.build import ARCHITECTURES, build, initialise
from condense.models.layers import (
    ACTIVATIONS,
    NORMS,
    POOLINGS,
    AveragePool,
)
from condense.seeds import generator

GREY, COLOUR = (1, 28, 28), (3, 32, 32)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("architecture", "grey", "colour"),
    [
        ("convnet", 317_706, 320_010),
        ("mlp", 118_282, 411_146),
        ("fc1", 101_770, 394_634),
        ("lenet", 61_706, 62_006),
        ("alexnet", 1_865_802, 1_872_202),
        ("vgg11", 9_229_962, 9_231_114),
        ("resnet18", 11_172_810, 11_173_962),
    ],
)
def test_parameter_counts_of_the_published_networks(architecture, grey, colour):
    assert count(build(Network(architecture), GREY, 10)) == grey
    assert count(build(Network(architecture), COLOUR, 10)) == colour


@pytest.mark.parametrize(
    ("size", "depth"),
    [(8, 3), (16, 3), (28, 3), (32, 3), (45, 3), (46, 4), (64, 4), (96, 5), (128, 5), (224, 6)],
)
def test_the_depth_follows_the_size_of_the_images(size, depth):
    shape = (1, size, 2 * size)
    assert Network().for_images(shape) == Network(depth=depth)
    assert Network(depth=2).for_images(shape) == Network(depth=2)
    network = build(Network(width=4), shape, 2)
    assert len([layer for layer in network.features if isinstance(layer, nn.Conv2d)]) == depth


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_forward_is_the_classifier_of_the_features(architecture, shape):
    network = build(Network(architecture), shape, 7, generator(0)).eval()
    images = torch.randn(2, *shape, generator=generator(1))
    logits = network(images)
    assert logits.shape == (2, 7)
    torch.testing.assert_close(logits, network.classifier(network.features(images)))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_torchvision_can_extract_the_features(architecture):
    network = build(Network(architecture), COLOUR, 7, generator(0)).eval()
    images = torch.randn(2, *COLOUR, generator=generator(1))
    extracted = create_feature_extractor(network, ["features"])(images)["features"]
    assert torch.equal(extracted, network.features(images))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_keyword_of_the_convnet(activation, norm, pooling):
    settings = Network(width=8, depth=2, activation=activation, norm=norm, pooling=pooling)
    network = build(settings, (3, 8, 8), 4, generator(0))
    network(torch.randn(3, 3, 8, 8, generator=generator(1))).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    side = 8 if pooling == "none" else 2
    second = 8 if pooling == "none" else 4
    pixels = {"none": 0, "layer": 8**2 + second**2}.get(norm, 2)
    norms = 2 * 8 * pixels
    assert count(network) == (27 + 1) * 8 + (72 + 1) * 8 + norms + (8 * side**2 + 1) * 4


@pytest.mark.parametrize("architecture", ["convnet", "vgg11", "resnet18"])
def test_layer_norm_has_a_scale_and_a_shift_for_each_element(architecture):
    network = build(Network(architecture, width=4, norm="layer"), COLOUR, 5, generator(0))
    layer = next(module for module in network.modules() if isinstance(module, nn.LayerNorm))
    shape = next(network.parameters()).shape[:1] + COLOUR[1:]
    assert layer.weight.shape == layer.bias.shape == shape
    images = torch.randn(3, *shape, generator=generator(1)) * 4 + 2
    plain = (images - images.mean((1, 2, 3), keepdim=True)) / images.std(
        (1, 2, 3), correction=0, keepdim=True
    )
    torch.testing.assert_close(layer(images), plain, atol=1e-4, rtol=0)
    with torch.no_grad():
        layer.weight[1, 2, 3], layer.bias[2, 3, 1] = 5, 7
    plain[:, 1, 2, 3] *= 5
    plain[:, 2, 3, 1] += 7
    torch.testing.assert_close(layer(images), plain, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(32, 32), (14, 14), (8, 12), (7, 7), (9, 6)])
def test_pooling_is_pytorchs_own(size):
    images = torch.randn(3, 5, *size, generator=generator(0), requires_grad=True)
    weight = torch.randn(3, 5, size[0] // 2, size[1] // 2, generator=generator(1))
    gradients = []
    for pool in (AveragePool(), nn.AvgPool2d(2)):
        pooled = pool(images)
        gradients.append(torch.autograd.grad((pooled * weight).sum(), images)[0])
        torch.testing.assert_close(pooled, nn.functional.avg_pool2d(images, 2), rtol=1e-6, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=0)


def test_wide_images_are_pooled_without_a_matrix(monkeypatch):
    monkeypatch.setattr(layers, "_pooling_matrix", None)
    images = torch.randn(2, 3, 4, 2 * layers.WIDEST_PRODUCT, generator=generator(0))
    assert torch.equal(AveragePool()(images), nn.AvgPool2d(2)(images))


def test_the_weights_follow_from_the_generator_alone():
    torch.manual_seed(1)
    first = build(Network(width=8), COLOUR, 10, generator(3))
    torch.manual_seed(2)
    second = build(Network(width=8), COLOUR, 10, generator(3))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_weights_are_initialised_without_a_generator_too():
    before = torch.get_rng_state()
    made, expected = (
        build(Network(width=8), COLOUR, 10),
        build(Network(width=8), COLOUR, 10, generator(0)),
    )
    for ours, theirs in zip(made.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(torch.get_rng_state(), before)


def test_initial_weights_are_spread_as_pytorch_spreads_them():
    network = build(Network(width=64), COLOUR, 10, generator(0))
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            drawn = module.weight.std().item()
            module.reset_parameters()
            assert drawn == pytest.approx(module.weight.std().item(), rel=0.05)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_on_the_meta_device_there_are_layers_and_shapes_without_memory(architecture):
    described = build(Network(architecture), COLOUR, 10, device="meta")
    assert all(parameter.is_meta for parameter in described.parameters())
    network = build(Network(architecture), COLOUR, 10)
    assert [p.shape for p in described.parameters()] == [p.shape for p in network.parameters()]
    assert described(torch.empty(2, *COLOUR, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("norm", NORMS)
def test_initialise_forgets_everything(norm):
    network = build(Network(width=8, norm=norm), COLOUR, 10, generator(0))
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.randn(4, *COLOUR, generator=generator(1)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    initialise(network, generator(0))
    for name, value in network.state_dict().items():
        assert torch.equal(value, fresh[name]), name


def filled(layer):
    """The layer in a network, all of its weights 7."""
    network = nn.Sequential(layer)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(7)
    return network


@pytest.mark.parametrize(
    "layer",
    [nn.Conv1d(1, 2, 3), nn.Conv3d(1, 2, 3), nn.BatchNorm1d(2), nn.BatchNorm3d(2)],
    ids=lambda layer: type(layer).__name__,
)
def test_initialise_leaves_no_weight_as_it_is(layer):
    network = filled(layer)
    initialise(network, generator(0))
    assert not any((parameter == 7).any() for parameter in network.parameters())


@pytest.mark.parametrize(
    "layer",
    [
        nn.PReLU(),
        nn.InstanceNorm2d(2, affine=True),
        nn.ConvTranspose2d(1, 1, 1),
        nn.Embedding(2, 2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_initialise_refuses_weights_that_it_does_not_know(layer):
    message = f"{type(layer).__name__}, only those of Conv1d, Conv2d"
    with pytest.raises(UserError, match=message):
        initialise(filled(layer), generator(0))


def test_what_cannot_be_built():
    with pytest.raises(UserError, match="width must be at least 1"):
        Network(width=0)
    with pytest.raises(
        UserError, match="width must be a multiple of 4 for group normalisation, not 6"
    ):
        Network(width=6, norm="group")
    Network("resnet18", width=6, norm="group")
    with pytest.raises(
        UserError, match="lenet has no normalisation: norm batch is for convnet, vgg11 and resnet18"
    ):
        Network("lenet", norm="batch")
    Network("lenet", norm="none")
    with pytest.raises(UserError, match=r"unknown norm 'foo'; known: "):
        build(Network(norm="foo"), GREY, 10)
    with pytest.raises(UserError, match="settings must be a Network, not a str"):
        build("convnet", GREY, 10)
    build(Network("resnet18", norm="batch"), (1, 8, 8), 10)
    with pytest.raises(UserError, match=r"'convnt'; known: convnet"):
        build(Network("convnt"), GREY, 10)
    with pytest.raises(UserError, match="images of 8×8 are too small"):
        build(Network(depth=4), (1, 8, 8), 10)
    with pytest.raises(UserError, match="images of 8×8 are too small"):
        build(Network("resnet18"), (1, 8, 8), 10)  # a norm of one pixel of one image


@pytest.mark.parametrize(
    ("architecture", "norm"),
    [("convnet", "instance"), ("convnet", "layer"), ("mlp", "none"), ("lenet", "none")],
)
def test_bfloat16_is_near_and_its_gradients_are_float32(architecture, norm):
    settings = Network(architecture, width=16, norm=norm)
    exact = build(settings, COLOUR, 7, generator(0))
    near = build(replace(settings, precision="bfloat16"), COLOUR, 7, generator(0))
    images = torch.randn(4, *COLOUR, generator=generator(1))
    assert near(images).dtype == torch.float32
    assert not torch.equal(near(images), exact(images))
    assert (near(images) - exact(images)).norm() < 0.1 * exact(images).norm()
    slopes = []
    for network in (exact, near):
        network(images).square().sum().backward()
        slopes.append(torch.cat([weight.grad.flatten() for weight in network.parameters()]))
    assert slopes[1].dtype == torch.float32
    assert torch.cosine_similarity(*slopes, dim=0) > 0.98


def test_features_can_be_cut():
    network = build(Network(width=4), COLOUR, 7, generator(0))
    images = torch.randn(2, *COLOUR, generator=generator(1))
    assert network.features[:1](images).shape == (2, 4, 32, 32)


def test_a_precision_is_named_and_an_unknown_one_refused():
    assert str(Network(precision="bfloat16")) == "w128-relu-instance-avg-bfloat16"
    with pytest.raises(UserError, match="unknown precision 'half'; known: float32, bfloat16"):
        build(Network(precision="half"), COLOUR, 7)


@pytest.mark.parametrize("architecture", ["convnet", "vgg11", "resnet18"])
def test_networks_with_another_norm_have_another_name(architecture):
    networks = [Network(architecture=architecture, norm=norm) for norm in NORMS]
    assert len(set(map(str, networks))) == len(networks)
    assert str(Network(architecture="resnet18")) == "resnet18"
    assert str(Network(architecture="vgg11", norm="batch")) == "vgg11-batch"


def test_looked_at_without_gradients_first_a_network_is_trained_all_the_same():
    network = build(Network(width=8, depth=2), (1, 12, 12), 3, generator(0))
    images = torch.randn(2, 1, 12, 12, generator=generator(1))
    with torch.inference_mode():
        network(images)
    network(images).sum().backward()


def test_weights_and_biases_are_drawn_as_pytorch_draws_them():
    network = build(Network(width=64, depth=2), (3, 8, 8), 10, generator(0))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = module.weight[0].numel() ** -0.5
            for drawn in (module.weight, module.bias):
                assert 0.7 * bound < drawn.abs().max() <= bound


def test_the_classic_networks_layer_by_layer():
    names = {nn.Conv2d: "c", nn.Linear: "l", nn.ReLU: "r", nn.MaxPool2d: "m", nn.Flatten: "f"}
    expected = {
        "mlp": "flrlr",
        "fc1": "flr",
        "lenet": "crmcrmflrlr",
        "alexnet": "crmcrmcrcrcrmf",
        "vgg11": "crm" * 2 + "crcrm" * 3 + "f",
    }
    for architecture, kinds in expected.items():
        features = build(Network(architecture, norm="none"), COLOUR, 5).features
        assert "".join(names[type(layer)] for layer in features) == kinds


def test_a_residual_block_by_hand():
    network = build(Network("resnet18", norm="none"), COLOUR, 5, generator(0))
    block, images = network.features[4], torch.randn(2, 64, 8, 8, generator=generator(1))
    first, second = (layer for layer in block.path if isinstance(layer, nn.Conv2d))
    (project,) = block.shortcut
    expected = second(first(images).relu()) + project(images)
    torch.testing.assert_close(block(images), expected.relu())
    assert network.features[:-2](torch.zeros(1, *COLOUR)).shape == (1, 512, 4, 4)


def test_blocks_of_the_convnet_are_in_the_order_of_the_paper():
    for activation, slope in (("relu", 0), ("leakyrelu", 0.01)):
        settings = Network(width=8, depth=1, norm="group", activation=activation)
        features = build(settings, (3, 8, 8), 4, generator(0)).features
        images = torch.randn(3, 3, 8, 8, generator=generator(1))
        normed = nn.functional.group_norm(features[0](images), 4)
        expected = nn.functional.leaky_relu(normed, slope)
        expected = nn.functional.avg_pool2d(expected, 2).flatten(1)
        torch.testing.assert_close(features(images), expected)
