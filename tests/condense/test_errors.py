"""What users are told: one line of bearable length, whatever it quotes, and numbers in bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condense.config.evaluation import Evaluation
from condense.config.methods import Forgetting, GradientMatching, MethodSettings
from condense.config.network import Network
from condense.config.unrolled import DatasetDistillation
from condense.errors import UserError, unknown
from condense.models.build import build
from condense.system.memory import available_memory, check_memory
from continual.settings import ContinualConfig, EEILConfig

# With the surrogates that stand for bytes that are not UTF-8.
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@settings(deadline=None)
@given(ANY_TEXT, st.integers(1, 300))
def test_a_message_is_one_line_of_bearable_length(text: str, times: int) -> None:
    message = str(UserError(f"{text * times}: delete it"))
    assert len(message) <= 500
    assert len(message.splitlines()) == 1
    message.encode()
    assert message.isprintable()


def test_a_short_message_is_left_as_it_is() -> None:
    assert str(UserError("ς_θ ± “ü”")) == "ς_θ ± “ü”"


def test_of_a_long_message_beginning_and_end_stay() -> None:
    message = str(UserError(f"cannot read {'x' * 4000}.npz: there is no such file"))
    assert message.startswith("cannot read xxx")
    assert message.endswith("xxx.npz: there is no such file")
    many = str(UserError("it contains " + "a b " * 4000 + ": choose another"))
    assert many.startswith("it contains a b")
    assert many.endswith(": choose another")


def test_a_long_unknown_name_is_shortened() -> None:
    message = str(unknown("data set", "m" * 10**6, ["mnist", "digits"]))
    assert message.startswith("unknown data set 'mmm")
    assert message.endswith("known: mnist, digits")


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (Network, {"width": 10**6}, "width must be at most 65536, not 1000000"),
        (Network, {"width": 2**63}, "width must be at most 2147483647, not 9223372036854775808"),
        (Network, {"depth": 10**30}, "depth must be at most 2147483647"),
        (Network, {"depth": 65}, "depth must be at most 64, not 65"),
        (MethodSettings, {"ipc": 10**30}, "ipc must be at most 2147483647"),
        (MethodSettings, {"ipc": 10**5000}, "ipc must be at most 2147483647, not a number of 5001"),
        (GradientMatching, {"batch_train": 10**30}, "batch-train must be at most"),
        (GradientMatching, {"lr_net": 1e300}, "lr-net must be at most 3e+38, not 1e+300"),
        (GradientMatching, {"lr_net": 10**400}, "lr-net must be at most"),
        (GradientMatching, {"lr_net": "x" * 9999}, "lr-net must be a number, not 'xxx"),
        (Forgetting, {"weight_decay": 1e300}, "weight-decay must be at most 3e+38"),
        (Evaluation, {"num_eval": 10**18}, "num-eval must be at most 2147483647"),
        (Evaluation, {"epoch_eval_train": 10**30}, "epoch-eval-train must be at most"),
        (DatasetDistillation, {"distill_lr": 1e300}, "distill-lr must be at most"),
        (
            DatasetDistillation,
            {"distill_epochs": 2**31 - 1},
            "distill-epochs × distill-steps must be at most 100000",
        ),
        (EEILConfig, {"epochs": 10**30}, "epochs must be at most"),
        (EEILConfig, {"temperature": 1e300}, "temperature must be at most"),
        (EEILConfig, {"weight_decay": "x"}, "weight-decay must be a number"),
        (ContinualConfig, {"images_per_class": 10**30}, "images-per-class must be at most"),
        (ContinualConfig, {"memory_size": 10**30}, "memory-size must be at most"),
        (ContinualConfig, {"factor": 10**30}, "factor must be at most"),
        (ContinualConfig, {"seeds": 10**30}, "seeds must be at most"),
    ],
)
def test_numbers_have_bounds(kind: type, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        kind(**wrong)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value)) <= 500


def test_a_network_that_is_too_large_says_how_large(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"has [0-9,]{14} parameters, above 2,147,483,647: choose"):
        build(Network(width=30_000, depth=3, norm="none"), (3, 32, 32), 10, device="meta")
    monkeypatch.setattr("condense.system.memory.available_memory", lambda: 10**6)
    build(Network(width=8), (3, 32, 32), 10, device="meta")
    with pytest.raises(UserError, match=r"has 1,789,706 parameters: choose a smaller --width or"):
        build(Network(width=256, depth=4), (3, 32, 32), 10, device="meta")


def test_memory_is_known_and_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    available = available_memory()
    assert available is None or available > 0
    monkeypatch.setattr("condense.system.memory.available_memory", lambda: 2 * 10**9)
    check_memory(2 * 10**9, "it")
    with pytest.raises(UserError, match=r"^it needs 2\.1 GB of memory; 2\.0 GB are free$"):
        check_memory(2_100_000_000, "it")
    monkeypatch.setattr("condense.system.memory.available_memory", lambda: None)
    check_memory(10**18, "it")
