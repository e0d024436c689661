"""What we want to know of a GPU, in a given time: `python -m benchmarks.gpu --minutes 9`.

In this order: the device; the fast paths against the slow ones; two deterministic runs; the speed
comparison; memory formats; seconds per outer iteration of the paper; then DSA with the published
settings for the rest of the time. A part that ends by itself leaves NAME.json in the folder of
results. A second call with the same folder does only what is missing, and goes on with runs from
their checkpoints.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.commands import cores, machine
from benchmarks.rows import RESULTS
from condense.cli.app import main
from condense.cli.device import choose_device
from condense.cli.flags import read_flags
from condense.runs.io import read_json, write_json
from condense.runs.run_dir import CONDENSED, CONFIG, SUMMARY, provenance
from condense.validation import at_least

PROG = "python -m benchmarks.gpu"
SHARE = 0.25
"""Of the time that is left, the most for one of the parts before DSA."""
FLUSH_SECONDS = 30.0
"""After the signal that ends a part, for its checkpoint."""
IPCS, ITERATIONS = (1, 10, 50), 2
"""Images per class, and iterations, of the outer iterations that are timed."""
TINY = "--width 8 --ipc 2 --batch-real 8 --num-eval 2 --size 16"


@dataclass(frozen=True)
class Gpu:
    """Measure a GPU in a given time, and go on with DSA at the paper's settings."""

    minutes: float = 9.0
    """All parts together; what is not finished then goes on in the next call."""
    device: str = "cuda"
    preset: Literal["paper", "smoke"] = "paper"
    """smoke: small networks and few iterations, to try the command out."""
    dataset: str = "cifar10"
    """For the outer iterations and DSA."""
    out: Path = RESULTS / "gpu"
    """Folder of the results."""

    def __post_init__(self) -> None:
        at_least(0, self, "minutes")


def device_of(name: str) -> dict[str, Any]:
    """The device and the software."""
    import torch

    about: dict[str, Any] = {**machine(cores()), **provenance(), "device": name}
    if name.startswith("cuda"):
        found = torch.cuda.get_device_properties(name)
        about |= {
            "device": found.name,
            "memory_bytes": found.total_memory,
            "capability": f"{found.major}.{found.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return about


def speeds(settings: Gpu) -> Iterator[tuple[str, str]]:
    """Name and flags of each variant of the engine in the speed comparison."""
    yield "float32", ""
    if settings.device.startswith("cuda"):
        yield "cuda-graphs", "--cuda-graphs"
        yield "bfloat16", "--precision bfloat16"
        yield "bfloat16-cuda-graphs", "--precision bfloat16 --cuda-graphs"


def commands(settings: Gpu) -> Iterator[tuple[str, str]]:
    """Name and arguments of `python -m` of each part, except DSA; `OUT` is the part's folder."""
    speed = f"benchmarks.speed --device {settings.device} --results OUT --minutes"
    for name, flags in speeds(settings):
        yield f"fast-and-slow-{name}", f"{speed} 0 {TINY} {flags}"
    for number in (1, 2):
        tiny = dsa(replace(settings, dataset="digits", preset="smoke"), 10)
        yield f"deterministic-{number}", f"{tiny} --deterministic --out OUT/run"
    for name, flags in speeds(settings):
        size = TINY if settings.preset == "smoke" else ""
        yield f"speed-{name}", f"{speed} 0.25 {size} {flags}"
    small = "--width 8 --images 8 --size 16" if settings.preset == "smoke" else ""
    yield (
        "memory-formats",
        f"benchmarks.speed.memory_formats --device {settings.device} --results OUT {small}",
    )
    for ipc in IPCS:
        yield (
            f"outer-iterations-{ipc}",
            f"{dsa(settings, ipc)} --iterations {ITERATIONS} --evaluation.num-eval 0 --out OUT/run",
        )


def dsa(settings: Gpu, ipc: int) -> str:
    """DSA with the published settings."""
    return (
        f"condense run --dataset {settings.dataset} --method dsa --preset {settings.preset} "
        f"--ipc {ipc} --device {settings.device} --compare none --no-cache --quiet"
    )


def run_part(folder: Path, arguments: str, seconds: float) -> tuple[dict[str, Any], bool]:
    """Run `python -m ARGUMENTS` for at most these seconds, then end it as a job scheduler does.

    Returns:
        Command, exit code, seconds, and the last lines of what it printed; whether it ended by
        itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = [word.replace("OUT", str(folder), 1) for word in arguments.split()]
    command = [sys.executable, "-m", *given]
    began, complete = time.monotonic(), True
    with (folder / "log.txt").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            complete = _ended(process) == 0  # it may just have been ready
        log.seek(0)
        said = log.read().splitlines()[-40:]
    spent = round(time.monotonic() - began, 1)
    found = {
        "command": f"python -m {arguments}",
        "code": process.returncode,
        "seconds": spent,
        "said": said,
    }
    return found, complete


def _ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process after SIGTERM, or SIGKILL if that is not enough."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(FLUSH_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def measure_part(out: Path, name: str, arguments: str, seconds: float) -> str:
    """Run a part, or resume its run, for at most these seconds; a line about it.

    NAME.json is written if it ended by itself, so that the next call leaves it out.
    """
    found, complete = run_part(out / name, resumed(out / name, arguments), seconds)
    if complete:
        write_json(out / f"{name}.json", found)
    last = "" if found["code"] == 0 else " ".join(found["said"][-1:])
    state = "exit code" if complete else "not finished, the next call goes on; exit code"
    return f"{name}: {state} {found['code']}, {found['seconds']} s {last}".rstrip()


def measure(settings: Gpu, report: Callable[[str], None] = print) -> None:
    """All parts whose result is missing, while there is time."""
    deadline = time.monotonic() + 60 * settings.minutes
    out = settings.out
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "device.json", device_of(settings.device))
    for name, arguments in commands(settings):
        left = deadline - time.monotonic()
        done = (out / f"{name}.json").exists() or (out / name / "run" / SUMMARY).exists()
        if done or left <= 0:
            continue
        report(measure_part(out, name, arguments, SHARE * left))
    same = identical(out)
    if same is not None:
        write_json(out / "deterministic.json", {"same_bytes": same})
        report(f"two deterministic runs: {'the same' if same else 'different'} bytes")
    left = deadline - time.monotonic()
    if not (out / "dsa" / "run" / SUMMARY).exists() and left > 0:
        report(measure_part(out, "dsa", f"{dsa(settings, 10)} --out OUT/run", left))
    for line in iteration_times(out):
        report(line)


def resumed(folder: Path, arguments: str) -> str:
    """The arguments of a part, or those that resume the run in its folder."""
    if (folder / "run" / CONFIG).exists():
        return "condense run --quiet --resume OUT/run"
    return arguments


def identical(out: Path) -> bool | None:
    """Whether the two deterministic runs gave the same set; None if one is missing."""
    files = [out / f"deterministic-{number}" / "run" / CONDENSED for number in (1, 2)]
    if not all(file.exists() for file in files):
        return None
    from condense.condensed_set import CondensedSet

    one, two = (CondensedSet.load(file).images for file in files)
    return bool((one == two).all())


def iteration_times(out: Path) -> Iterator[str]:
    """Seconds per outer iteration of each finished measurement."""
    for ipc in IPCS:
        summary = out / f"outer-iterations-{ipc}" / "run" / SUMMARY
        if summary.exists():
            seconds = read_json(summary)["seconds"] / ITERATIONS
            yield f"{ipc} per class: {seconds:.2f} s per outer iteration"


def run(argv: list[str]) -> None:
    """Measure, and print a line for each part."""
    settings = read_flags(Gpu, argv, PROG)
    choose_device(settings.device)
    measure(settings)


if __name__ == "__main__":
    main(run)
