"""`python -m tests.kills --times 100 [--seed S] [--only JOB] [--round JOB:NUMBER]`."""

from __future__ import annotations

import argparse
import itertools
import signal
import sys

from .jobs import JOBS
from .rounds import Killing


def main() -> int:
    """Kills so many runs of all jobs in turn; 1 where any ends otherwise than a whole one."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="runs that are killed (100)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--only", choices=JOBS, help="runs of this kind alone")
    parser.add_argument("--round", metavar="JOB:NUMBER", help="this one alone")
    flags = parser.parse_args()
    jobs = [flags.only] if flags.only else list(JOBS)
    rounds = ((job, number) for number in itertools.count() for job in jobs)
    chosen = list(itertools.islice(rounds, flags.times))
    if flags.round:
        job, _, number = flags.round.partition(":")
        chosen = [(job, int(number))]
    same = 0
    with Killing(flags.seed) as killing:
        for job, number in chosen:
            found = killing.round(job, number)
            same += not found.fault
            print(found, flush=True)
            if found.fault:
                print(f"  again: python -m tests.kills --seed {flags.seed} --round {job}:{number}")
    print(f"{same} of {len(chosen)} the same bytes")
    return int(same < len(chosen))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left behind
    sys.exit(main())
