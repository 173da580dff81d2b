"""The key inventory is asked by each issue, and finds the keys of a department without going through those of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from chopmark_issuer.catalogue.departments import grants
from chopmark_issuer.keys.keys import InventoryUse, inventory
from sqlalchemy import Engine, event

from tests.issuer.conftest import MARKETS, TRANSPORT


@contextmanager
def noted() -> Iterator[list[tuple[str, Any]]]:
    """What is asked within a `with` block."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_keys_of_a_department_are_found_by_their_index(office: Any) -> None:
    with office.database.reading() as connection:
        with noted() as asked:
            inventory(connection, owner=MARKETS)
            inventory(connection, owner=MARKETS, use=InventoryUse.STATUS)
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            assert any("USING INDEX ix_key_owner_use" in row.detail for row in plan), statement


@pytest.mark.both_databases
def test_keys_are_those_of_the_owner_and_the_use_that_are_asked_for(office: Any) -> None:
    with office.database.reading() as connection:
        found = {
            (owner, use): [(key.owner, key.use) for key in inventory(connection, owner=owner, use=use)]
            for owner in (None, MARKETS)
            for use in (None, InventoryUse.STATUS)
        }
    held = [(owner, use) for owner in (MARKETS, TRANSPORT) for use in (InventoryUse.CREDENTIAL, InventoryUse.STATUS)]
    for (owner, use), keys in found.items():
        assert sorted(keys) == sorted(key for key in held if owner in (None, key[0]) and use in (None, key[1]))


@pytest.mark.both_databases
def test_grants_of_all_are_asked_for_without_the_name_of_one(office: Any) -> None:
    with office.database.reading() as connection, noted() as asked:
        assert {grant.issuer for grant in grants(connection)} == {MARKETS, TRANSPORT}
    ((_, parameters),) = [each for each in asked if "department_grant" in each[0]]
    assert not parameters
