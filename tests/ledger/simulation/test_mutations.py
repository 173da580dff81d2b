"""The simulation finds bugs: each of those that are planted here, within a few hundred seeds.

The seeds take another course with each change of the ledger or of the simulation, so no seed is named here.
"""

from __future__ import annotations

import re

import pytest

from tests.ledger.simulation.mutations import MUTATIONS, Mutation
from tests.ledger.simulation.scenario import run_seed
from tests.ledger.simulation.templates import make_all

_SEEDS = 800


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_planted_bug_is_noticed(mutation: Mutation) -> None:
    make_all()  # while there is no bug
    others = []
    for seed in range(_SEEDS):
        with mutation.plant():
            violation = run_seed(seed, **mutation.trouble).violation
        if violation is not None and re.search(mutation.noticed, violation):
            return
        if violation is not None:
            others.append(f"seed {seed}: {violation}")
    pytest.fail(f"{_SEEDS} seeds, and nothing was noticed but {others}")
