"""Seeds of the simulation, each another course of events, none of which may break an invariant.

`CHOPMARK_SIMULATION_SEEDS` says how many, 300 where it does not. A seed that fails is named with the command that
replays it alone and shows every step.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ledger.simulation.scenario import run_seed

SEEDS = int(os.environ.get("CHOPMARK_SIMULATION_SEEDS", "300"))
_PARTS = 16
"""Tests that share the seeds, so that several processes can."""


def replay(seed: int) -> str:
    """The command that replays a seed."""
    return f"{sys.executable} -m tests.ledger.simulation --seed {seed} --trace"


@pytest.mark.parametrize("part", range(_PARTS))
def test_no_seed_breaks_an_invariant(part: int) -> None:
    outcomes = [run_seed(seed) for seed in range(part, SEEDS, _PARTS)]
    broken = [f"seed {each.seed}: {each.violation}\n    {replay(each.seed)}" for each in outcomes if each.violation]
    assert not broken, "\n".join(broken)


def test_a_seed_replays_the_same_in_another_process() -> None:
    seed = next(seed for seed in range(100) if len(run_seed(seed, with_trace=True).trace) > 1000)
    here = run_seed(seed, with_trace=True)
    command = [sys.executable, "-m", "tests.ledger.simulation", "--seed", str(seed), "--trace"]
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    root = Path(__file__).parents[3]
    there = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.splitlines()[:-1] == list(here.trace)
