"""Ids of rows that are about to be inserted, known before they are.

Rows of several tables name each other, and asking the database for each id costs more than the row. In a writing
transaction nobody else inserts (`Database.writing`), so the ids that follow the last one are free until it ends.
"""

from __future__ import annotations

from sqlalchemy import Connection, Table, func, select


def next_ids(connection: Connection, table: Table, count: int) -> range:
    """The next ids of a table, for rows that this writing transaction inserts; those at the end
    that it leaves out are given again."""
    last = connection.execute(select(func.max(table.c.id))).scalar() or 0
    return range(last + 1, last + 1 + count)
