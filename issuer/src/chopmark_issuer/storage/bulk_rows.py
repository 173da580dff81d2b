"""Inserting and changing many rows at once, where the way from a dictionary to a statement costs more than the row.

The statement is made by SQLAlchemy from the table, once; the rows go to the driver as tuples. The types of the tables
here (integers, texts, bytes, booleans) are what the drivers take as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from sqlalchemy import Compiled, Connection, Dialect, Table, bindparam, insert, update


def insert_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]
) -> None:
    """Insert rows, each with a value for each of the columns, in the caller's transaction."""
    if rows:
        connection.exec_driver_sql(_insert_statement(table, columns, connection.dialect), rows)


def update_rows(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]
) -> None:
    """Change rows: each has a value for each of the columns, and at its end the id of the row that it changes."""
    if rows:
        connection.exec_driver_sql(_update_statement(table, columns, connection.dialect), rows)


@lru_cache(maxsize=64)
def _insert_statement(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str:
    return _positional(insert(table).compile(dialect=_counting(dialect), column_keys=columns), columns)


@lru_cache(maxsize=64)
def _update_statement(table: Table, columns: tuple[str, ...], dialect: Dialect) -> str:
    changed = update(table).where(table.c.id == bindparam("row_id")).values({name: bindparam(name) for name in columns})
    return _positional(changed.compile(dialect=_counting(dialect)), (*columns, "row_id"))


def _counting(dialect: Dialect) -> Dialect:
    """The dialect, with parameters that are told apart by their places, in which every driver takes them too."""
    if dialect.positional:
        return dialect
    counting: Callable[..., Dialect] = type(dialect)  # each takes that, their base says nothing of it
    return counting(paramstyle="format")


def _positional(compiled: Compiled, order: tuple[str, ...]) -> str:
    # in another order than is meant, values would go into other columns
    if tuple(getattr(compiled, "positiontup", None) or ()) != order:
        raise AssertionError(f"the parameters of {compiled} do not come as {order}")
    return str(compiled)
