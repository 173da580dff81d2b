"""Replays seeds of the simulation: `python -m tests.ledger.simulation --seed N --trace`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.ledger.simulation.scenario import run_seed


def main() -> int:
    """Run the seeds that are asked for; answers how many broke an invariant, at most 100."""
    parser = argparse.ArgumentParser(prog="python -m tests.ledger.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds, from that one on")
    parser.add_argument("--trace", action="store_true", help="print every step")
    arguments = parser.parse_args()
    broken = 0
    began = time.process_time()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        outcome = run_seed(seed, with_trace=arguments.trace)
        for line in outcome.trace:
            print(line)
        if outcome.violation is not None:
            broken += 1
            print(f"seed {seed}: {outcome.violation}")
    took = time.process_time() - began
    print(f"{arguments.count} seeds, {broken} broken, {1000 * took / arguments.count:.1f} ms each")
    return min(broken, 100)


if __name__ == "__main__":
    sys.exit(main())
