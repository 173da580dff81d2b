"""Worlds to begin with, made once for all seeds: an empty log, and logs that come close to a boundary of tiles."""

from __future__ import annotations

from functools import lru_cache
from random import Random

from chopmark_ledger.batch import Client

from tests.ledger.simulation.clients import REGION, good_entry
from tests.ledger.simulation.system_calls import simulated_system_calls
from tests.ledger.simulation.world import Setup, World

_FOUNDER = Client("founder", region=REGION)
_FIRST_FOUNDED = 1_000_000


SIZES = (1, 200, 253, 1020)
"""Entries that a log may begin with: of size 1 it is as it was created, larger ones are published and covered."""
SETUPS = tuple(
    Setup(4 if has_liar else 3, 3 if has_liar else 2, has_liar, is_post_quantum)
    for has_liar in (False, True)
    for is_post_quantum in (False, True)
)
"""Of what worlds are made, but for the settings of the log."""


def world_of_size(setup: Setup, size: int, random: Random, trace: list[str] | None) -> World:
    """A new world whose log has `size` entries."""
    world = World(setup, random, trace)
    plain = Setup(setup.witnesses, setup.quorum, setup.has_liar, setup.is_post_quantum)
    world.begin_as(_template(plain, size))
    return world


def make_all() -> None:
    """Make every world to begin with; they are kept."""
    for setup in SETUPS:
        for size in SIZES:
            _template(setup, size)


@lru_cache(maxsize=64)
def _template(setup: Setup, size: int) -> World:
    world = World(setup, Random(size))
    with simulated_system_calls(world.surroundings):
        world.create()
        world.open()
        run = world.run
        assert run is not None
        if size > 1:
            entries = [good_entry("region", _FIRST_FOUNDED + number) for number in range(size - 1)]
            run.log.append(_FOUNDER, 0, entries)
            while not run.publish(landmark_now=True):
                pass
        world.end_run()
    return world
