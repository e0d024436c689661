from __future__ import annotations

import pytest
import torch

from condense.cli.device import choose_device
from condense.errors import UserError


def test_devices_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UserError, match="unknown device 'gpu'"):
        choose_device("gpu")
    with pytest.raises(UserError, match=r"no device cuda:99 here .*--device cpu"):
        choose_device("cuda:99")
    with pytest.raises(UserError, match="no device meta here"):
        choose_device("meta")
