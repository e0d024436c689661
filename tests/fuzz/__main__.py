"""`python -m tests.fuzz --minutes N [--seed S] [--cases N] [--only KIND] [--case KIND:NUMBER]`."""

from __future__ import annotations

import argparse
import itertools
import random
import signal
import sys
import time
from collections import defaultdict
from pathlib import Path

from .case import KINDS, Name
from .session import Failure, Session


def main() -> int:
    """Runs cases until the time is up; 1 where any has failed."""
    flags = _flags()
    seed = random.SystemRandom().randrange(10**6) if flags.seed is None else flags.seed
    print(f"seed {seed}", flush=True)
    if flags.case:
        kind, _, number = flags.case.partition(":")
        with Session(seed, keep=flags.keep) as session:
            failure = session.run(Name(seed, kind, int(number)))
        print(failure.ended.err + str(failure) if failure else "passes")
        return int(failure is not None)
    kinds = (flags.only,) if flags.only else KINDS
    with Session(seed, learning=not flags.no_learning, keep=flags.keep) as session:
        count, failures = _fuzz(session, kinds, flags)
    _tell(count, failures)
    return int(bool(failures))


def _fuzz(
    session: Session, kinds: tuple[str, ...], flags: argparse.Namespace
) -> tuple[int, list[Failure]]:
    began, failures, count = time.monotonic(), [], 0
    for name in itertools.islice(session.names(kinds), flags.cases):
        if flags.minutes is not None and time.monotonic() - began > 60 * flags.minutes:
            break
        failure = session.run(name)
        count += 1
        if failure:
            failures.append(failure)
            print(f"\n{failure}", flush=True)
        if count % 100 == 0:
            spent = time.monotonic() - began
            print(f"{count} cases, {len(failures)} failed, {spent:.0f} s", file=sys.stderr)
    return count, failures


def _tell(count: int, failures: list[Failure]) -> None:
    """The faults, each once, with the shortest command line that met it."""
    alike: dict[str, list[Failure]] = defaultdict(list)
    for failure in failures:
        alike[_kind(failure)].append(failure)
    print(f"\n{count} cases, {len(failures)} failed in {len(alike)} ways")
    for kind, found in sorted(alike.items(), key=lambda item: -len(item[1])):
        shortest = min(found, key=lambda failure: sum(map(len, failure.case.arguments)))
        print(f"\n{len(found)} × {kind}\n{shortest}")


def _kind(failure: Failure) -> str:
    """Where it was, of a traceback; else the beginning of what is wrong."""
    fault = failure.fault
    if fault.startswith("exit"):
        error = fault.split()[2] if len(fault.split()) > 2 else ""
        return f"{error} {fault.rpartition('(')[2].rstrip(')')}"
    return " ".join(word for word in fault.split()[:3] if not word.replace(".", "").isdigit())


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, help="stop after so many")
    parser.add_argument("--cases", type=int, help="stop after so many")
    parser.add_argument("--seed", type=int, help="drawn and printed where it is not given")
    parser.add_argument("--only", choices=KINDS, help="cases of this kind alone")
    parser.add_argument("--case", metavar="KIND:NUMBER", help="this case alone")
    parser.add_argument("--keep", type=Path, help="a folder that takes those of cases that fail")
    parser.add_argument("--no-learning", action="store_true", help="leave continual.run out")
    flags = parser.parse_args()
    if flags.minutes is None and flags.cases is None and flags.case is None:
        flags.minutes = 1.0
    return flags


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind
    sys.exit(main())
