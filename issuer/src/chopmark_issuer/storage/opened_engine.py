"""What the two kinds of database do differently when a transaction begins; all else is SQL that both understand.

sqlite_engine        a file of this machine
postgresql_engine    a database, or a schema of one, that is this registry's alone
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from chopmark_issuer.errors import DatabaseError

PATIENCE: Final = 60
"""Seconds that a transaction waits for another writer: an import commits every few hundred milliseconds."""
WRITES: Final = "chopmark_writes"
"""The option of a connection by which its engine knows that the transaction it begins is to write."""


class ServiceHold(Protocol):
    """The right to run the service of a registry, until it is released."""

    def keep(self) -> None:
        """See that it is still held, and take it again where the server has forgotten it.

        Raises:
            ConflictError: somebody else has it by now.
            DatabaseError: the server cannot be asked.
        """
        ...

    def release(self) -> None:
        """Give it back; doing so twice is harmless."""
        ...


@dataclass(frozen=True, slots=True)
class OpenedEngine:
    """An engine, and how its transactions begin.

    Args:
        engine: whose transactions that have the option `WRITES` hold the lock of the one writer from their beginning.
        where: names the database in messages, without a password.
        reading: options of a connection for a transaction that sees one state throughout.
        turn: what is held around a transaction that writes.
        failure: the error for what went wrong, and whether that was within the commit.
        hold: takes the right to run the service; None where the lock of the folder is all that there is to it.
        advice: what its operator should set otherwise, if anything.
    """

    engine: Engine
    where: str
    reading: Mapping[str, Any]
    turn: Callable[[], AbstractContextManager[None]]
    failure: Callable[[DBAPIError, bool], DatabaseError]
    hold: Callable[[], ServiceHold | None] = lambda: None
    advice: Callable[[], str | None] = lambda: None


def too_long_written(where: str) -> DatabaseError:
    """The error of who waited for others in vain."""
    return DatabaseError(f"others have written for {PATIENCE} s", where=where, remedy="Try again later")
