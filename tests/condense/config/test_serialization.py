from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from condense.config.methods import Coreset, GradientMatching
from condense.config.serialization import rebuild, record
from condense.errors import UserError


@dataclass(frozen=True)
class Settings:
    number: int = 1
    method: Any = field(default_factory=GradientMatching)
    nothing: Any = None


def test_a_record_is_rebuilt() -> None:
    settings = Settings(2, Coreset(ipc=3))
    kept = json.loads(json.dumps(record(settings)))
    assert rebuild(Settings(method=Coreset()), kept, Path("config.json")) == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("method", value) for value in (None, 1e-300, "dsa", [], {"ipc": "x"}, {"epochs": 1})),
        *(("nothing", value) for value in (0, 1e-300, "", {})),
        *(("number", value) for value in (None, "x", [])),
        ("other", 1),
    ],
)
def test_a_value_of_another_type_is_one_line(name: str, value: object) -> None:
    with pytest.raises(UserError, match=r"config\.json") as caught:
        rebuild(Settings(), {name: value}, Path("config.json"))
    assert "\n" not in str(caught.value)
