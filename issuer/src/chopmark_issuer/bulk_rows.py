"""Inserting many rows at once, where the way from a dictionary to a statement would cost more than the row itself.

The statement is made by SQLAlchemy from the table, once; the rows go to the driver as tuples. The types of the tables
here (integers, texts, bytes, booleans) are what the driver takes as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import Connection, Dialect, Table, insert


def insert_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]
) -> None:
    """Insert rows, each with a value for each of the columns, in the caller's transaction."""
    if rows:
        connection.exec_driver_sql(_statement(table, columns, connection.dialect), rows)


@lru_cache(maxsize=64)
def _statement(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str:
    compiled = insert(table).compile(dialect=dialect, column_keys=columns)
    if tuple(compiled.positiontup or ()) != columns:  # else values would go into other columns than are meant
        raise AssertionError(f"{table.name} has its columns in another order than {columns}")
    return str(compiled)
