"""A captured step and an eager one are the same function."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from condense.config.methods import GradientMatching
from condense.config.network import Network
from condense.methods.gradient_matching import Matcher
from condense.models.build import build, initialise
from condense.seeds import generator
from condense.training.cuda_graphs import CapturedStep
from condense.training.loop import Step, train
from condense.training.schedule import Schedule


def recorder(runs):
    """Records on a CPU as a graph does: warms up, and then always does the same work."""

    def record(work, device):
        for _ in range(3):
            work()
        runs.append(0)
        number = len(runs) - 1

        def replay():
            runs[number] += 1
            work()

        return replay

    return record


@pytest.mark.parametrize("max_batch", [None, 5])
@pytest.mark.parametrize("soft", [False, True])
def test_the_numbers_are_those_of_an_eager_step(data, max_batch, soft):
    images = data.normalise(data.x_train)[:40]
    labels = F.one_hot(data.y_train[:40], 3).float() if soft else data.y_train[:40]
    schedule = Schedule(9, 16, 0.1, 0.9, milestones=(0.5,))
    eager = build(Network(width=4), data.shape, 3, generator(0))
    replayed = copy.deepcopy(eager)
    train(eager, images, labels, schedule, generator(1), step=Step(eager, max_batch))
    runs = []
    step = CapturedStep(replayed, max_batch, recorder(runs))
    train(replayed, images, labels, schedule, generator(1), step=step)
    assert runs == [6, 3]  # of 16 images and of 8, the last of an epoch
    for a, b in zip(eager.parameters(), replayed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_recording_outlives_the_weights(data):
    images, labels = data.normalise(data.x_train)[:8], data.y_train[:8]
    network = build(Network(width=4), data.shape, 3, generator(0))
    runs = []
    captured = CapturedStep(network, record=recorder(runs))
    captured(images, labels)
    initialise(network, generator(5))
    captured(images, labels)
    found = [parameter.grad.clone() for parameter in network.parameters()]
    Step(network)(images, labels)
    for gradient, parameter in zip(found, network.parameters(), strict=True):
        assert torch.equal(gradient, parameter.grad)
    assert runs == [2]


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
def test_what_is_recorded_is_one_graph(data):
    """No value that the launches depend on is read back on the way."""
    network = build(Network(width=4), data.shape, 3, generator(0))
    whole = torch.compile(
        lambda images, labels: F.cross_entropy(network(images), labels),
        backend="eager",
        fullgraph=True,
    )
    images, labels = data.normalise(data.x_train)[:8], data.y_train[:8]
    torch.testing.assert_close(whole(images, labels), F.cross_entropy(network(images), labels))


def test_on_a_cpu_nothing_is_recorded(data):
    settings = GradientMatching(ipc=1, network=Network(width=4), batch_real=4, cuda_graphs=True)
    assert type(Matcher(data, settings, seed=0).step) is Step


@pytest.mark.parametrize(("ranks", "kind"), [(1, CapturedStep), (2, Step)])
def test_under_torchrun_nothing_is_recorded(data, monkeypatch, ranks, kind):
    """A recorded step could not exchange its gradients with the other processes."""
    settings = GradientMatching(ipc=1, network=Network(width=4), batch_real=4, cuda_graphs=True)
    matcher = Matcher(data, settings, seed=0)
    monkeypatch.setattr("condense.methods.gradient_matching.world_size", lambda: ranks)
    matcher.data = SimpleNamespace(device=torch.device("cuda"), shape=data.shape)
    assert type(matcher._step()) is kind
