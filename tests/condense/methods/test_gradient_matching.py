"""Algorithm 1: one step by hand, resume, seeds, and that it does what it is for."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from condense.api import condense
from condense.augment.operations import OPERATIONS
from condense.augment.params import AugmentParams
from condense.config.methods import Coreset, GradientMatching, published_loops
from condense.config.network import Network
from condense.errors import UserError
from condense.gradients.distances import EPSILON
from condense.methods.gradient_matching import Matcher
from condense.methods.optimisation import learning_rate
from condense.methods.registry import METHODS
from condense.models.build import build, initialise
from condense.runs.cache import Cache
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from tests.helpers.methods import score

TINY = GradientMatching(
    ipc=2, network=Network(width=4), iterations=3, outer_loop=2, inner_loop=2, batch_real=8
)


def reference_step(data, settings, images, k):
    """The first step (t = 0) of the k-th initialisation, class by class, as Algorithm 1 has it."""
    draws = generator(0, "outer", k)
    network = build(settings.network, data.shape, data.classes, draws)
    weights = [p for p in network.parameters() if p.ndim > 1]
    members = [torch.where(data.y_train == c)[0] for c in range(data.classes)]
    rows = [rows[torch.randperm(len(rows), generator=draws)] for rows in members]
    strategy = tuple(OPERATIONS)
    chosen = torch.randint(len(strategy), (data.classes,), generator=draws).tolist()
    numbers = torch.rand(data.classes, 1, 3, generator=draws)
    gradient = torch.zeros_like(images)
    total = 0.0
    for c in range(data.classes):
        augment = OPERATIONS[strategy[chosen[c]]]
        real = data.normalise(data.x_train[rows[c][: settings.batch_real]])
        synthetic = images[c].clone().requires_grad_()
        losses = [
            F.cross_entropy(network(augment(images, numbers[c])), torch.full((len(images),), c))
            for images in (real, synthetic)
        ]
        of_real = torch.autograd.grad(losses[0], weights)
        of_synthetic = torch.autograd.grad(losses[1], weights, create_graph=True)
        distance = torch.zeros(())
        for g_real, g_synthetic in zip(of_real, of_synthetic, strict=True):
            for a, b in zip(g_real.flatten(1), g_synthetic.flatten(1), strict=True):
                distance = distance + 1 - (a @ b) / (a.norm() * b.norm() + EPSILON)
        gradient[c] = torch.autograd.grad(distance, synthetic)[0]
        total += distance.item()
    return gradient, total


def test_a_step_is_algorithm_1_written_out(data):
    settings = replace(TINY, outer_loop=1)
    matcher = Matcher(data, settings, seed=0)
    images = matcher.initial_images()
    gradient, distance = reference_step(data, settings, images, k=5)
    synthetic = matcher.synthetic(images)
    synthetic.step(synthetic.sample(None, generator(0)), torch.ones_like(images), lr=0.0)
    mean = matcher.outer_iteration(synthetic, k=5)
    velocity = synthetic.state()["optimizer.0.momentum_buffer"]
    assert mean == pytest.approx(distance / 3, rel=1e-4)
    torch.testing.assert_close(velocity, 0.5 + gradient, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(synthetic.images(), images - 0.1 * velocity)


def test_a_sampled_step_matches_the_sampled_images_alone(data):
    part = Matcher(data, replace(TINY, batch_syn=1, outer_loop=1), seed=0)
    images = part.initial_images()
    synthetic = part.synthetic(images)
    mean = part.outer_iteration(synthetic, k=5)
    draws = generator(0, "outer", 5)
    initialise(part.network, draws)
    columns = torch.stack([torch.randperm(2, generator=draws)[:1] for _ in range(3)])
    chosen = torch.arange(3)[:, None], columns
    gradient, distance = part.match(images[chosen], draws)
    assert mean == float(distance / 3)
    velocity = synthetic.state()["optimizer.0.momentum_buffer"]
    assert torch.equal(velocity[chosen], gradient)
    velocity[chosen] = 0
    assert not velocity.any()


def test_a_step_in_bfloat16_points_the_same_way(data):
    gradients, distances = [], []
    for precision in ("float32", "bfloat16"):
        settings = replace(TINY, network=Network(width=16, precision=precision))
        matcher = Matcher(data, settings, seed=0)
        initialise(matcher.network, generator(0))
        gradient, distance = matcher.match(matcher.initial_images(), generator(0, "step"))
        gradients.append(gradient.flatten())
        distances.append(float(distance))
    assert gradients[1].dtype == torch.float32
    assert not torch.equal(*gradients)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95
    assert distances[1] == pytest.approx(distances[0], rel=0.02)


def test_no_update_of_the_network_after_the_last_step(data):
    trained = []
    matcher = Matcher(data, TINY, seed=0)
    matcher.train_network = lambda *_: trained.append(1)  # type: ignore[method-assign]
    matcher.outer_iteration(matcher.synthetic(matcher.initial_images()), 0)
    assert len(trained) == TINY.outer_loop - 1


def test_the_network_is_trained_on_the_synthetic_set(data):
    matcher = Matcher(data, replace(TINY, inner_loop=30, lr_net=0.1), seed=0)
    images = matcher.initial_images()
    loss = lambda: F.cross_entropy(matcher.network(images.flatten(0, 1)), matcher.labels).item()  # noqa: E731
    matcher.outer_iteration(matcher.synthetic(images), 0)
    before = loss()
    matcher.train_network(images, generator(1))
    assert loss() < before


@pytest.mark.parametrize(("real", "synthetic"), [("siamese", "none"), ("none", "independent")])
def test_the_network_is_trained_on_augmented_images_if_the_synthetic_ones_are(
    data, monkeypatch, real, synthetic
):
    transforms = []
    monkeypatch.setattr(
        "condense.methods.gradient_matching.train",
        lambda *_, transform, **__: transforms.append(transform),
    )
    settings = replace(TINY, augment_real=real, augment_synthetic=synthetic)
    matcher = Matcher(data, settings, seed=0)
    matcher.train_network(matcher.initial_images(), generator(0))
    assert [transform is not None for transform in transforms] == [synthetic != "none"]


def test_independent_images_have_numbers_of_their_own(data, monkeypatch):
    applied = []
    apply = AugmentParams.apply

    def noted(self, groups):
        applied.append((len(groups[0]), self.numbers.shape[1]))
        return apply(self, groups)

    monkeypatch.setattr(AugmentParams, "apply", noted)
    for augment, rows in (("independent", (8, 2)), ("siamese", (1, 1))):
        settings = replace(TINY, augment_real=augment, augment_synthetic=augment)
        matcher = Matcher(data, settings, seed=0)
        images = matcher.initial_images()
        initialise(matcher.network, generator(1))
        matcher.match(images, generator(2))
        # Of the 8 real and the 2 synthetic images of a class.
        assert set(applied) == {(8, rows[0]), (2, rows[1])}
        applied.clear()


class KilledError(Exception):
    pass


class Kept(Checkpointer):
    """Keeps the last checkpoint in memory, and stops the computation at a step."""

    def __init__(self, stop_at=None):
        self.stop_at, self.kept = stop_at, None

    def restore(self):
        return self.kept

    def save(self, checkpoint: Checkpoint):
        self.kept = checkpoint.snapshot(0.0)
        if self.kept.state["iteration"] == self.stop_at:
            raise KilledError


@pytest.mark.parametrize("stop_at", [1, 2])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(data, stop_at, norm):
    settings = replace(TINY, network=Network(width=4, norm=norm))
    checkpointer = Kept(stop_at)
    with pytest.raises(KilledError):
        condense(data, "dsa", settings, checkpointer=checkpointer)
    checkpointer.stop_at = None
    resumed = condense(data, "dsa", settings, checkpointer=checkpointer)
    assert torch.equal(resumed.images, condense(data, "dsa", settings).images)


def test_seeds(data):
    first, again, other = (condense(data, "dsa", TINY, seed=seed).images for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_global_random_state_is_neither_read_nor_changed(data):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = condense(data, "dsa", TINY).images
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(first, condense(data, "dsa", TINY).images)


@pytest.mark.parametrize("init", ["real", "herding", "noise"])
def test_what_the_images_start_from(data, init):
    settings = replace(TINY, init=init, herding_steps=3)
    images = Matcher(data, settings, seed=0).initial_images()
    assert images.shape == (3, 2, 1, 8, 8)
    real = {data.normalise(image).numpy().tobytes() for image in data.x_train}
    assert all((i.numpy().tobytes() in real) == (init != "noise") for i in images.flatten(0, 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"distance": "cosine"},
        {"distance": "mse"},
        {"augment_real": "independent", "augment_synthetic": "independent"},
        {"augment_real": "none", "augment_synthetic": "independent"},
        {"network": Network("mlp")},
        {"network": Network(width=4, norm="batch")},
        {"network": Network(width=4, depth=1, norm="none", pooling="none", activation="sigmoid")},
    ],
)
def test_every_variant_moves_the_images(data, changes):
    settings = replace(TINY, iterations=1, lr_img=1.0, **changes)
    small = condense(data, "dsa", settings)
    assert small.images.isfinite().all()
    start = Matcher(data, settings, 0).initial_images().flatten(0, 1)
    moved = (small.normalised(data) - start).flatten(1).abs().amax(1)
    assert (moved > 1e-6).all()


def test_dc_is_dsa_without_augmentation(data):
    unaugmented = replace(TINY, augment_real="none", augment_synthetic="none")
    dc = condense(data, "dc", unaugmented).images
    assert torch.equal(dc, condense(data, "dsa", unaugmented).images)
    assert not torch.equal(dc, condense(data, "dsa", TINY).images)


@pytest.mark.parametrize("method", ["dsa", "dc"])
def test_the_set_teaches_better_than_random_images(method):
    changes = {"iterations": 10, "outer_loop": 5, "inner_loop": 2, "lr_img": 1.0, "lr_net": 0.1}
    network = Network(width=8, depth=2)
    settings = METHODS[method].preset("smoke", ipc=1, network=network, **changes)
    assert score(method, settings) > score("random", Coreset(ipc=1)) + 0.05


@pytest.mark.parametrize(
    ("ipc", "loops"),
    [(1, (1, 1)), (10, (10, 50)), (50, (50, 10)), (25, (25, 22)), (2, (2, 6)), (100, (50, 10))],
)
def test_loops_of_the_published_experiments(ipc, loops):
    assert published_loops(ipc) == loops
    assert GradientMatching(ipc=ipc).loops() == loops
    assert GradientMatching(ipc=ipc, outer_loop=3).loops() == (3, loops[1])


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("dsa", {"outer_loop": 0}, "outer-loop must be at least 1"),
        ("dsa", {"inner_loop": -1}, "inner-loop must be at least 0"),
        ("dsa", {"distance": "l2"}, "unknown distance 'l2'"),
        ("dsa", {"ipc": 0}, "ipc must be at least 1"),
        ("dsa", {"dsa_strategy": ("zoom",)}, "unknown augmentation 'zoom'"),
        ("dsa", {"outr": 3}, "unknown setting 'outr'; known: outer"),
        ("das", {}, "unknown method 'das'; known: dsa"),
    ],
)
def test_settings_that_make_no_sense(data, method, changes, message):
    with pytest.raises(UserError, match=message):
        condense(data, method, **changes)


def test_the_cache_knows_what_a_set_depends_on(data, tmp_path):
    cache = Cache(tmp_path)
    first = condense(data, "dsa", TINY, cache=cache)
    again = condense(replace(data, name="other"), "dsa", TINY, cache=cache)
    assert cache.hits == 1
    assert torch.equal(first.images, again.images)
    assert again.provenance == {**first.provenance, "dataset": "other"}
    renamed = condense(replace(data, class_names=("x", "y", "z")), "dsa", TINY, cache=cache)
    assert (cache.hits, renamed.class_names) == (2, ("x", "y", "z"))
    # A mirrored digit is another sign, so flip is not drawn, and other images come out.
    digits = condense(replace(data, hflip=False), "dsa", TINY, cache=cache)
    assert cache.hits == 2
    assert not torch.equal(first.images, digits.images)
    plain = replace(TINY, augment_real="none", augment_synthetic="none")
    for changes in (
        {"seed": 1},
        {"settings": replace(TINY, lr_img=0.2)},
        {"settings": plain},
        {"method": "dc", "settings": plain},
    ):
        arguments = {"method": "dsa", "settings": TINY, **changes}
        condense(data, cache=cache, **arguments)
        assert cache.hits == 2


def test_another_methods_settings_are_refused(data):
    with pytest.raises(UserError, match=r"augment-real must be none for .*, not siamese"):
        condense(data, "dc", TINY)
    with pytest.raises(UserError, match="settings must be a Coreset, not a GradientMatching"):
        condense(data, "random", TINY)


def test_what_diverges_is_said_at_once_and_not_kept(data, tmp_path, monkeypatch):
    seen = []

    class Watching(Checkpointer):
        def report(self, done, total, **metrics):
            seen.append(done)

    wild = replace(TINY, iterations=50, lr_img=1e30)
    with pytest.raises(UserError, match="diverged at iteration"):
        condense(data, "dsa", wild, checkpointer=Watching(), cache=Cache(tmp_path))
    assert len(seen) < 10
    monkeypatch.setattr(
        Matcher,
        "outer_iteration",
        lambda self, synthetic, k: float(synthetic.planes[0].data.fill_(torch.inf)[0, 0, 0, 0, 0]),
    )
    monkeypatch.setattr("condense.methods.optimisation.require_finite", lambda *_: None)
    with pytest.raises(UserError, match="diverged: the images are not finite"):
        condense(data, "dsa", TINY, cache=Cache(tmp_path))
    assert all(".partial" in path.name for path in tmp_path.glob("*.safetensors"))


def test_lr_img_falls_along_half_a_cosine(data):
    settings = replace(TINY, iterations=2, lr_img=2.0, lr_img_schedule="cosine")
    assert [learning_rate(settings, k) for k in (0, 1)] == pytest.approx([1 + 2**-0.5, 1 - 2**-0.5])
    matcher = Matcher(data, settings, seed=0)
    images = matcher.initial_images()
    synthetic = matcher.synthetic(images)
    matcher.outer_loop = 1
    matcher.outer_iteration(synthetic, 1)
    velocity = synthetic.state()["optimizer.0.momentum_buffer"]
    torch.testing.assert_close(synthetic.images(), images - (1 - 2**-0.5) * velocity)


@pytest.mark.parametrize("method", ["dsa", "dc"])
def test_one_class_has_nothing_to_match(data, method):
    with pytest.raises(UserError, match="nothing to match; choose --method dm"):
        condense(data.with_classes([1]), method, preset="smoke", ipc=1)
