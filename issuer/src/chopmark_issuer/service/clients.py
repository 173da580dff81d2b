"""Clients of the service: the systems of departments, what each may do, and the keys it signs its requests with.

    name         "food registry of the markets office", which its tokens bear as `iss` and `sub`
    department   the one it acts for; it sees and changes the licences of that one only
    types        the licence types it is narrowed to; all that the department holds where none are named
    rights       read      see licences, their history and credentials
                 issue     issue new ones
                 amend     renew and change
                 status    suspend, return, revoke, withdraw, annul, close
    keys         1 to 8 public keys, Ed25519 or ES256, which belong to no other client

They stand in the registry's database, and a running service knows of a change within a second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from chopmark.keys import PublicKey
from chopmark_service.json_web_key import from_jwk, thumbprint, to_jwk
from sqlalchemy import Connection, Row, bindparam, delete, insert, select

from chopmark_issuer.catalogue.catalogue import type_in_use
from chopmark_issuer.catalogue.departments import Actor, authorise
from chopmark_issuer.errors import ConflictError, FieldError, NotFoundError
from chopmark_issuer.storage.database import Database
from chopmark_issuer.storage.models import CLIENT

_MAX_KEYS: Final = 8
_MAX_NAME: Final = 100
_MAX_TYPES: Final = 1000
_LOOK_EVERY: Final = 0.5
"""Seconds between two looks at whether the clients changed."""
_NAMED: Final = select(CLIENT).where(CLIENT.c.name.in_(bindparam("names", expanding=True)))


class Right(StrEnum):
    """What a client may do with the licences of its department."""

    READ = "read"
    ISSUE = "issue"
    AMEND = "amend"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class DepartmentClient:
    """A client, and its keys by their RFC 7638 thumbprints; `types` is None where it is narrowed to none."""

    name: str
    department: str
    types: frozenset[str] | None
    rights: frozenset[Right]
    keys: Mapping[str, PublicKey]

    @property
    def owner(self) -> str:
        """Whose its kept answers are: another client of the same name, of another department, is another owner."""
        return f"{self.department} {self.name}"

    def sees(self, type_id: str) -> bool:
        """Whether it may see licences of a type of its department."""
        return self.types is None or type_id in self.types


def client_actor(connection: Connection, client: DepartmentClient, at: int) -> Actor:
    """The actor that a client is at a time: for what its department is granted then, and it is not narrowed from.

    Raises:
        NotFoundError: no such department.
    """
    actor = authorise(connection, client.department, at=at)
    return actor if client.types is None else Actor(actor.department, actor.types & client.types)


def make_client(
    name: str, department: str, *, types: Iterable[str] = (), rights: Iterable[Right], keys: Iterable[PublicKey]
) -> DepartmentClient:
    """Make a client, checked.

    Raises:
        FieldError: a blank or long name, no right, or no key or too many.
        KeyMaterialError: a key that is neither Ed25519 nor ES256.
    """
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise FieldError(f"a client's name has 1 to {_MAX_NAME} printable characters", where="client")
    known = {thumbprint(key): key for key in keys}
    if not 1 <= len(known) <= _MAX_KEYS:
        raise FieldError(f"a client has 1 to {_MAX_KEYS} keys", where="client", remedy="Give them: --jwk FILE")
    held = frozenset(rights)
    if not held:
        raise FieldError("a client without any right can do nothing", where="client", remedy="Give one: --right read")
    narrowed = frozenset(types)
    if len(narrowed) > _MAX_TYPES:
        raise FieldError(f"more than {_MAX_TYPES} types", where="client", remedy="Leave them out to mean all")
    return DepartmentClient(name, department, narrowed or None, held, known)


def add_client(connection: Connection, client: DepartmentClient, *, at: int, replace: bool = False) -> None:
    """Let a client in, or change what is known of it.

    Raises:
        NotFoundError: no such department or type.
        ConflictError: there is a client of that name, which is not to be replaced, or a key is another's.
    """
    authorise(connection, client.department, at=at)
    for type_id in client.types or ():
        type_in_use(connection, type_id)
    others = {other.name: other for other in all_clients(connection)}
    if client.name in others and not replace:
        raise ConflictError(f"there is a client {client.name!r} already", remedy="Say --replace to change it")
    for other in others.values():
        if other.name != client.name and other.keys.keys() & client.keys.keys():
            raise ConflictError(f"{other.name!r} has the same key", remedy="Give each client keys of its own")
    connection.execute(delete(CLIENT).where(CLIENT.c.name == client.name))
    connection.execute(
        insert(CLIENT).values(
            name=client.name,
            department_id=client.department,
            types=None if client.types is None else json.dumps(sorted(client.types)),
            rights=json.dumps(sorted(client.rights)),
            keys=json.dumps([to_jwk(key) for key in client.keys.values()]),
            added_at=at,
        )
    )


def remove_client(connection: Connection, name: str) -> None:
    """Let a client in no longer.

    Raises:
        NotFoundError: there is none of that name.
    """
    if connection.execute(delete(CLIENT).where(CLIENT.c.name == name)).rowcount != 1:
        raise NotFoundError(f"there is no client {name[:_MAX_NAME]!r}")


def all_clients(connection: Connection) -> list[DepartmentClient]:
    """Every client, by name."""
    return [_client(row) for row in connection.execute(select(CLIENT).order_by(CLIENT.c.name))]


def clients_named(connection: Connection, names: Iterable[str]) -> dict[str, DepartmentClient]:
    """Those of these clients that are let in, by name, as they are now."""
    rows = connection.execute(_NAMED, {"names": list(names)})
    return {row.name: _client(row) for row in rows}


class ClientTable:
    """The clients in the registry's database, as a service asks for them; for one thread.

    Args:
        database: the registry's.
        look_every: seconds between two looks at whether they changed.
        clock: answers seconds that only rise.
    """

    def __init__(
        self, database: Database, *, look_every: float = _LOOK_EVERY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._look_every = look_every
        self._clock = clock
        self._look_at = clock()
        self._rows: dict[str, tuple[Any, ...]] = {}
        self._clients: dict[str, DepartmentClient] = {}

    def find(self, name: str) -> DepartmentClient | None:
        """The client of this name, None where there is none.

        Raises:
            DatabaseError: the database cannot be used, so that nobody can be told.
        """
        now = self._clock()
        if now >= self._look_at:
            self._look()
            self._look_at = now + self._look_every
        return self._clients.get(name)

    def _look(self) -> None:
        """Read the table; what is said of a client is parsed anew only where it changed."""
        with self._database.reading() as connection:
            rows = {row.name: row for row in connection.execute(select(CLIENT))}
        self._clients = {
            name: self._clients[name] if self._rows.get(name) == tuple(row) else _client(row)
            for name, row in rows.items()
        }
        self._rows = {name: tuple(row) for name, row in rows.items()}


def _client(row: Row[Any]) -> DepartmentClient:
    where = f"client {row.name}"
    keys = [from_jwk(jwk, where=where) for jwk in json.loads(row.keys)]
    return DepartmentClient(
        row.name,
        row.department_id,
        None if row.types is None else frozenset(json.loads(row.types)),
        frozenset(map(Right, json.loads(row.rights))),
        {thumbprint(key): key for key in keys},
    )
