"""Channels-last memory against the usual one: `python -m benchmarks.speed.memory_formats`.

The engine has no option for the order of its tensors in memory. This measures what one could give:
a forward and a backward pass of the network of the reference in plain PyTorch, and of its
convolutions alone, in float32 and under bfloat16 autocast. Both orders are measured alternately.
Written to results/memory_formats.csv.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.commands import cores, machine
from benchmarks.rows import RESULTS, Row, write_rows
from condense.cli.app import main
from condense.cli.device import choose_device
from condense.cli.flags import read_flags
from condense.config.network import Network
from condense.runs.run_dir import provenance

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FORMATS = ("contiguous_format", "channels_last")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class MemoryFormats:
    """Measure the order of tensors in memory; the file is written anew."""

    device: str = "cpu"
    threads: int = cores()
    width: int = 128
    depth: int = 3
    classes: int = 10
    channels: int = 3
    size: int = 32
    """Image height and width in pixels."""
    images: int = 256
    """Images of a pass; by default the real images of a class in an outer iteration."""
    rounds: int = 5
    results: Path = RESULTS
    """Folder of memory_formats.csv."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.channels, self.size, self.size


def network_pass(settings: MemoryFormats, kind: torch.memory_format) -> Callable[[], object]:
    """Cross-entropy of the network of the reference, and its gradient for the weights."""
    import torch
    import torch.nn.functional as F

    network = _network(settings).to(memory_format=kind)
    images = torch.randn(settings.images, *settings.shape, device=settings.device)
    images = images.contiguous(memory_format=kind)
    labels = torch.arange(settings.images, device=settings.device) % settings.classes
    weights = list(network.parameters())
    return lambda: torch.autograd.grad(F.cross_entropy(network(images), labels), weights)


def convolutions_pass(settings: MemoryFormats, kind: torch.memory_format) -> Callable[[], object]:
    """The convolutions of this network, each on its own, and their gradients."""
    import torch

    from benchmarks.speed.roofline import convolutions

    network = _network(settings).to(memory_format=kind)
    passes = []
    for index, (layer, size) in enumerate(convolutions(network, settings.shape)):
        images = torch.randn(settings.images, *size, device=settings.device)
        # The gradient of the first layer's input is not needed.
        images = images.contiguous(memory_format=kind).requires_grad_(index > 0)
        passes.append((layer, images, [layer.weight, *([images] if index else [])]))

    def compute() -> list[tuple[Tensor, ...]]:
        found = []
        for layer, images, inputs in passes:
            out = layer(images)
            found.append(torch.autograd.grad(out, inputs, torch.ones_like(out)))
        return found

    return compute


PASSES = {"network": network_pass, "convolutions": convolutions_pass}


def measure(settings: MemoryFormats, what: str, precision: str) -> list[Row]:
    """A row for each memory format: milliseconds of a forward and backward pass."""
    import torch

    from benchmarks.speed.roofline import seconds

    device = torch.device(settings.device)
    passes = [PASSES[what](settings, getattr(torch, kind)) for kind in FORMATS]
    taken: list[list[float]] = [[] for _ in FORMATS]
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        for _ in range(settings.rounds):
            for times, compute in zip(taken, passes, strict=True):
                times.append(1000 * seconds(compute, device))
    return [
        {
            "what": what,
            "precision": precision,
            "memory_format": kind,
            "rounds": settings.rounds,
            "ms": f"{median(times):.4g}",
            "ms_min": f"{min(times):.4g}",
            "ms_max": f"{max(times):.4g}",
            "speedup": f"{median(taken[0]) / median(times):.3f}",
        }
        for kind, times in zip(FORMATS, taken, strict=True)
    ]


def about(settings: MemoryFormats) -> dict[str, Any]:
    """The machine, the version and the problem of a measurement."""
    import torch

    name = settings.device
    return {
        **machine(settings.threads),
        "commit": provenance()["commit"],
        "device": torch.cuda.get_device_name(name) if name.startswith("cuda") else name,
        "problem": f"ConvNet d{settings.depth}-w{settings.width}, {settings.images} images of "
        + "×".join(map(str, settings.shape)),
    }


def _network(settings: MemoryFormats) -> nn.Module:
    from benchmarks.speed.reference import network_of
    from condense.seeds import generator

    described = Network(width=settings.width, depth=settings.depth)
    network = network_of(described, settings.shape, settings.classes, generator(0))
    return network.to(settings.device)


def run(argv: list[str]) -> None:
    """Measure, write the file and print its rows."""
    settings = read_flags(MemoryFormats, argv, "python -m benchmarks.speed.memory_formats")
    choose_device(settings.device)
    import torch

    torch.set_num_threads(settings.threads)
    rows = []
    for what in PASSES:
        for precision in PRECISIONS:
            rows += [about(settings) | row for row in measure(settings, what, precision)]
    write_rows(settings.results / "memory_formats.csv", rows)
    for row in rows:
        print(
            f"{row['what']}, {row['precision']}, {row['memory_format']}: {row['ms']} ms "
            f"({row['ms_min']} to {row['ms_max']}), speedup {row['speedup']}"
        )


if __name__ == "__main__":
    main(run)
