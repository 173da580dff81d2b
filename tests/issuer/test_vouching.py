"""What a region remembers of the landmark files it vouched for."""

from __future__ import annotations

from typing import Any

from chopmark_issuer.storage.models import LANDMARK_VOUCHING
from sqlalchemy import select


def _bound(world: Any) -> tuple[int, int]:
    query = select(LANDMARK_VOUCHING.c.checkpoint_size, LANDMARK_VOUCHING.c.witnessed_from)
    with world.shanghai.database.reading() as connection:
        row = connection.execute(query.where(LANDMARK_VOUCHING.c.region == "CN-GD")).one()
    return row.checkpoint_size, row.witnessed_from


def test_what_a_log_shows_bounds_its_next_landmarks_even_when_it_made_none(world: Any) -> None:
    world.peer_and_publish()
    world.clock.time += 2 * 86_400
    world.guangdong.publish()
    world.shanghai.publish()
    size, witnessed = _bound(world)
    world.clock.time += 2 * 86_400
    landmarks = world.guangdong.ledger.landmark_file()
    assert world.guangdong.publish().bundle is not None
    assert world.guangdong.ledger.landmark_file() == landmarks  # bundles and vouchings end no interval
    world.shanghai.publish()
    later_size, later_witnessed = _bound(world)
    assert later_size > size
    assert later_witnessed >= witnessed + 2 * 86_400 - 900
