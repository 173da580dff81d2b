"""Ids of rows that are about to be inserted, known before they are: every row's is drawn here, none by the database.

Rows of several tables name each other, and asking the database for each id costs more than the row. In a writing
transaction nobody else inserts (`Database.writing`), so the ids that follow the last one are free until it ends. A
database that counted beside that would give ids again that are taken; so the columns have no default (`models`), and a
row without an id is refused by PostgreSQL.
"""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import Connection, Select, Table, func, select


def next_ids(connection: Connection, table: Table, count: int) -> range:
    """The next ids of a table, for rows that this writing transaction inserts; those at the end
    that it leaves out are given again."""
    last = connection.execute(_last(table)).scalar() or 0
    return range(last + 1, last + 1 + count)


def next_id(connection: Connection, table: Table) -> int:
    """The next id of a table, for one row that this writing transaction inserts."""
    return next_ids(connection, table, 1)[0]


@lru_cache(maxsize=64)
def _last(table: Table) -> Select[int]:
    return select(func.max(table.c.id))
