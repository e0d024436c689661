from dataclasses import replace

import pytest
import torch

from condense import evaluation
from condense.api import condense
from condense.config.evaluation import Evaluation
from condense.config.methods import Coreset
from condense.config.network import Network
from condense.config.presets import preset
from condense.errors import UserError
from condense.evaluation import Accuracy, evaluate, schedule_of
from condense.models.build import build
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer
from condense.training.schedule import Schedule
from tests.helpers.images import blobs

QUICK = Evaluation(num_eval=3, epoch_eval_train=20, lr=0.1, batch_size=6, network=Network("mlp"))


class Kept(Checkpointer):
    def __init__(self):
        self.kept, self.reports = None, []

    def restore(self):
        return self.kept

    def save(self, checkpoint: Checkpoint):
        self.kept = checkpoint.snapshot(0.0)

    def report(self, done, total, **metrics):
        self.reports.append((done, total))


def test_mean_and_std_by_hand():
    accuracy = Accuracy((0.5, 0.7))
    assert accuracy.mean == pytest.approx(0.6)
    assert accuracy.std == pytest.approx(0.02**0.5)
    assert str(accuracy) == "60.0 ± 14.1 % (n = 2)"
    assert Accuracy((0.5,)).std == 0
    assert str(Accuracy((0.5,))) == "50.0 % (n = 1)"


def test_each_network_has_a_stream_of_its_own(data):
    small = condense(data, "random", ipc=2)
    three = evaluate(small, data, QUICK)
    assert len(three.values) == 3
    one = evaluate(small, data, Evaluation(**{**QUICK.__dict__, "num_eval": 1}))
    assert one.values == three.values[:1]


def test_an_interrupted_evaluation_goes_on(data):
    small = condense(data, "random", ipc=2)
    checkpointer = Kept()
    whole = evaluate(small, data, QUICK, checkpointer=checkpointer)
    state = {**checkpointer.kept.state, "values": list(whole.values[:2])}
    checkpointer.kept = Checkpoint({}, state)
    assert evaluate(small, data, QUICK, checkpointer=checkpointer) == whole
    assert checkpointer.reports == [(1, 3), (2, 3), (3, 3), (3, 3)]
    fewer = evaluate(small, data, replace(QUICK, num_eval=2), checkpointer=checkpointer)
    assert fewer.values == whole.values[:2]


def test_more_images_teach_better():
    data = blobs(per_class=60, classes=5, shape=(1, 12, 12))
    settings = Evaluation(
        num_eval=2, epoch_eval_train=40, batch_size=32, network=Network(width=8, depth=2)
    )
    few, many = (
        evaluate(condense(data, "random", ipc=ipc), data, settings).mean for ipc in (1, 40)
    )
    assert many > few + 0.05


def test_a_set_for_other_images_is_refused(data):
    small = condense(data, "random", ipc=1)
    with pytest.raises(UserError, match="12×12"):
        evaluate(small, blobs(shape=(1, 12, 12)), QUICK)


def test_data_without_test_images(data):
    small = condense(data, "random", ipc=1)
    untested = replace(data, x_test=data.x_test[:0], y_test=data.y_test[:0])
    with pytest.raises(UserError, match="blobs has no test images"):
        evaluate(small, untested, QUICK)


@pytest.mark.parametrize("training", [True, False])
def test_a_test_leaves_each_module_in_its_mode(data, training):
    network = build(Network(width=4, norm="batch"), data.shape, data.classes).train(training)
    network.classifier.train(not training)
    evaluation.test_accuracy(network, data)
    assert network.training == network.features.training == training
    assert network.classifier.training != training


def test_a_network_is_not_tested_without_test_images(data):
    network = build(Network("mlp"), data.shape, data.classes)
    untested = replace(data, x_test=data.x_test[:0], y_test=data.y_test[:0])
    with pytest.raises(UserError, match="blobs has no test images"):
        evaluation.test_accuracy(network, untested)


def test_networks_that_diverge_are_said(data, capsys):
    small = condense(data, "random", ipc=2)
    evaluate(small, data, replace(QUICK, lr=1e30))
    assert capsys.readouterr().err == (
        "note: 3 of 3 networks diverged in training: use a lower learning rate\n"
    )
    evaluate(replace(small, distill_lrs=torch.full((2, 2), 1e30)), data, QUICK)
    assert "3 of 3 networks diverged" in capsys.readouterr().err
    evaluate(small, data, QUICK)
    assert capsys.readouterr().err == ""


def test_arguments_of_another_class_are_refused(data):
    small = condense(data, "random", ipc=1)
    with pytest.raises(UserError, match="settings must be an Evaluation, not a Coreset"):
        evaluate(small, data, Coreset())
    with pytest.raises(UserError, match="condensed must be a CondensedSet, not an ImageData"):
        evaluate(data, small)


def test_settings_by_name_are_those_of_the_preset_with_changes(data):
    small = condense(data, "random", ipc=1, preset="smoke")
    given = preset(Evaluation, "smoke", num_eval=1, lr=0.02)
    assert evaluate(small, data, given) == evaluate(
        small, data, preset="smoke", num_eval=1, lr=0.02
    )
    with pytest.raises(UserError, match="give `settings` or single settings by name, not both"):
        evaluate(small, data, given, num_eval=2)
    with pytest.raises(UserError, match="unknown setting 'networks'"):
        evaluate(small, data, networks=2)


@pytest.mark.parametrize("name", ["paper", "cpu", "smoke"])
@pytest.mark.parametrize("length", ["steps", "epoch_eval_train"])
def test_steps_or_epochs_replace_the_length_of_any_preset(data, name, length):
    assert schedule_of(preset(Evaluation, name, **{length: 3}), 10, True).steps == 3


def test_data_by_name():
    small = condense("digits", "random", ipc=1, preset="smoke")
    assert 0 <= evaluate(small, "digits", Evaluation(**{**QUICK.__dict__, "num_eval": 1})).mean <= 1


def test_augmentation_can_be_switched_off_and_chosen(data):
    small = condense(data, "random", ipc=2)
    values = {
        evaluate(small, data, Evaluation(**{**QUICK.__dict__, **changes})).values
        for changes in (
            {},
            {"augment": "none"},
            {"augment": "siamese"},
            {"augment": "dc"},
            {"dsa_strategy": ("cutout",)},
        )
    }
    assert len(values) == 5
    with pytest.raises(UserError, match="unknown augmentation"):
        evaluate(small, data, Evaluation(dsa_strategy=("zoom",)))


def test_without_networks_there_is_no_accuracy(data):
    with pytest.raises(UserError, match="num-eval must be at least 1, not 0"):
        evaluate(condense(data, "random", ipc=1), data, Evaluation(num_eval=0))


def test_images_on_another_scale_are_brought_to_that_of_the_data(data):
    small = condense(data, "random", ipc=2)
    other = condense(data, "random", ipc=2).__class__(
        small.images, small.labels, (0.1,), (0.9,), small.class_names
    )
    assert evaluate(other, data, QUICK) == evaluate(small, data, QUICK)
    assert not torch.equal(other.normalised(), small.normalised())


def test_the_schedule_is_that_of_the_settings():
    rest = {"lr": 0.25, "momentum": 0.5, "weight_decay": 0.125, "batch_size": 4}
    expected = Schedule(steps=6, milestones=(0.5,), **rest)
    stepwise = Evaluation(epoch_eval_train=2, **rest)
    assert schedule_of(stepwise, 10, augmented=True) == expected
    cosine = Evaluation(steps=7, lr_schedule="cosine", **rest)
    assert schedule_of(cosine, 10, augmented=True) == replace(expected, steps=7, cosine=True)


@pytest.mark.parametrize(
    ("augment", "epochs"), [("independent", 1000), ("dc", 1000), ("none", 300)]
)
def test_epochs_of_the_paper(data, monkeypatch, augment, epochs):
    steps = []
    monkeypatch.setattr(
        "condense.evaluation.train", lambda *given, **rest: steps.append(given[3].steps)
    )
    small = condense(data, "random", ipc=2)
    evaluate(small, data, Evaluation(num_eval=1, augment=augment, network=Network("mlp")))
    assert steps == [epochs]
