"""PyTorch's modes as they are at its start, whatever those of the caller are.

Networks are trained within a computation whose result depends only on its arguments: a caller may
be in `torch.no_grad`, `torch.inference_mode` or `torch.autocast`, or have set another default dtype
or device. Some of these modes are those of a thread, so the threads of `worker_threads` would
compute in others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

AUTOCASTING = ("cpu", "cuda", "mps", "xpu")
"""The types of device whose autocast is switched off."""


@contextmanager
def plain_torch() -> Iterator[None]:
    """In this block gradients are recorded, and new tensors are float32 and on the CPU; there is no
    autocast. Also a decorator.

    The default dtype is that of all threads of the process. It is set only if it is another, so
    calls in several threads leave each other alone in a program that never changed it.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.enable_grad())
        for kind in AUTOCASTING:
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        # The context slows every operation down, as the caller's default device already does.
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        if dtype != torch.float32:
            modes.callback(torch.set_default_dtype, dtype)
            torch.set_default_dtype(torch.float32)
        yield
