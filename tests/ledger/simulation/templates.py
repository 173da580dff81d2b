"""Worlds to begin with, made once for all seeds: an empty log, and logs that come close to a boundary of tiles."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from random import Random

from chopmark_ledger.batch import Client

from tests.ledger.simulation.clients import REGION, good_entry
from tests.ledger.simulation.system_calls import simulated_system_calls
from tests.ledger.simulation.world import Setup, World

_FOUNDER = Client("founder", region=REGION)
_FIRST_FOUNDED = 1_000_000


def world_of_size(setup: Setup, size: int, random: Random, trace: list[str] | None) -> World:
    """A world whose log has `size` entries, published and covered by landmarks; of size 1 it is as it was created."""
    ordinary = replace(setup, landmark_interval=900, max_unpublished=500_000)
    world = World(setup, random, trace)
    world.begin_as(_template(ordinary, size))
    return world


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
