"""What it costs to start."""

from statistics import median

from processes import python

ENGINE = "import condense; condense.condense, condense.evaluate, condense.load"
"""Names of the package are imported when they are first used, so these are."""


def seconds(imports: str) -> float:
    """Processor time of a new process that imports something, which other processes do not slow."""
    code = f"import time; {imports}; print(time.process_time())"
    return median(float(python(code).stdout) for _ in range(3))


def test_importing_the_engine_costs_little_more_than_importing_torch() -> None:
    torch = seconds("import torch")
    assert seconds("import condense") < 1.3 * torch
    assert seconds(ENGINE) < 1.5 * torch
