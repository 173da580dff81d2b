"""Reading of what the registry holds: licences, their versions, acts and credentials.

Statements that every look-up needs are made once: to put one together takes SQLAlchemy longer than SQLite takes to
answer it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chopmark import cbor
from chopmark.cbor import Value
from chopmark.credential import Credential
from chopmark.errors import FormatError
from chopmark.status import StatusValue
from sqlalchemy import Connection, String, bindparam, or_, select

from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.errors import ConflictError, DatabaseError, NotFoundError
from chopmark_issuer.lifecycle import Act, RecordedAct, State, Term
from chopmark_issuer.storage.models import ACT, CREDENTIAL, HOLDER, LICENCE, LICENCE_VERSION, OUTBOX

CREDENTIALS_OF_LICENCES = CREDENTIAL.join(LICENCE_VERSION, LICENCE_VERSION.c.id == CREDENTIAL.c.version_id).join(
    LICENCE, LICENCE.c.id == LICENCE_VERSION.c.licence_id
)
_LICENCES_OF_NUMBER: Final = (
    select(LICENCE)
    .where(
        LICENCE.c.id.in_(select(LICENCE_VERSION.c.licence_id).where(LICENCE_VERSION.c.number == bindparam("number"))),
        or_(bindparam("department", type_=String).is_(None), LICENCE.c.department_id == bindparam("department")),
        or_(bindparam("type_id", type_=String).is_(None), LICENCE.c.type_id == bindparam("type_id")),
    )
    .order_by(LICENCE.c.id)
)
_VERSIONS: Final = (
    select(LICENCE_VERSION)
    .where(LICENCE_VERSION.c.licence_id == bindparam("licence_id"))
    .order_by(LICENCE_VERSION.c.version)
)
_HOLDERS: Final = select(HOLDER).where(HOLDER.c.version_id == bindparam("version_id")).order_by(HOLDER.c.position)
_CREDENTIALS: Final = (
    select(CREDENTIAL, OUTBOX.c.log_index, OUTBOX.c.refused)
    .join(OUTBOX, OUTBOX.c.id == CREDENTIAL.c.outbox_id)
    .where(CREDENTIAL.c.version_id == bindparam("version_id"))
    .order_by(CREDENTIAL.c.id)
)


@dataclass(frozen=True, slots=True)
class Licence:
    """A licence and its newest version; `state` is what the acts known so far add up to."""

    id: int
    department: str
    type_id: str
    identifier: str
    state: State
    current_version: int
    created_at: int


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a licence; days are days since 1970-01-01."""

    id: int
    licence_id: int
    version: int
    number: str
    schema_version: int
    fields: dict[int, Value]
    issued_on: int
    first_day: int
    last_day: int | None
    term: Term
    supersedes: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A credential as it was signed; `log_index` once the log has taken it, `refused` why it does not."""

    id: int
    version_id: int
    credential: Credential
    status: StatusValue
    issued_at: int
    withdrawn_at: int | None
    log_index: int | None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """The acts of a licence, in the order they were recorded, and the terms of its versions."""

    acts: tuple[RecordedAct, ...]
    terms: dict[int, Term]


def find_licence(
    connection: Connection, number: str, *, department: str | None = None, type_id: str | None = None
) -> Licence:
    """The licence that has, or in an earlier version had, this number.

    Raises:
        NotFoundError: there is none.
        ConflictError: licences of several types have it.
    """
    wanted = {"number": number, "department": department, "type_id": type_id}
    rows = connection.execute(_LICENCES_OF_NUMBER, wanted).all()
    if not rows:
        raise NotFoundError("there is no licence of that number", where=number[:200])
    if len(rows) > 1:
        raise ConflictError(
            f"{len(rows)} licences have that number", where=number[:200], remedy="Name the licence type too"
        )
    row = rows[0]
    return Licence(
        row.id, row.department_id, row.type_id, row.identifier, State(row.state), row.current_version, row.created_at
    )


def versions(connection: Connection, licence_id: int) -> list[Version]:
    """The versions of a licence, oldest first."""
    rows = connection.execute(_VERSIONS, {"licence_id": licence_id})
    return [
        Version(
            row.id,
            row.licence_id,
            row.version,
            row.number,
            row.schema_version,
            _fields(row.fields),
            row.issued_on,
            row.first_day,
            row.last_day,
            Term(row.begins, row.ends),
            row.supersedes,
            row.created_at,
        )
        for row in rows
    ]


def holders(connection: Connection, version_id: int) -> tuple[Holder, ...]:
    """The holders of a version, in their order."""
    rows = connection.execute(_HOLDERS, {"version_id": version_id})
    return tuple(Holder(row.name, row.code, row.code_kind) for row in rows)


def credentials(connection: Connection, version_id: int) -> list[StoredCredential]:
    """The credentials of a version, oldest first."""
    rows = connection.execute(_CREDENTIALS, {"version_id": version_id})
    return [
        StoredCredential(
            row.id,
            row.version_id,
            Credential.parse(row.body),
            StatusValue(row.status),
            row.issued_at,
            row.withdrawn_at,
            row.log_index,
            row.refused,
        )
        for row in rows
    ]


def histories(connection: Connection, licence_ids: Sequence[int]) -> dict[int, History]:
    """The acts and terms of several licences."""
    acts: dict[int, list[RecordedAct]] = {licence_id: [] for licence_id in licence_ids}
    terms: dict[int, dict[int, Term]] = {licence_id: {} for licence_id in licence_ids}
    for row in connection.execute(select(ACT).where(ACT.c.licence_id.in_(licence_ids)).order_by(ACT.c.id)):
        acts[row.licence_id].append(RecordedAct(Act(row.kind), row.version, row.learned_at, row.effective_from))
    query = select(
        LICENCE_VERSION.c.licence_id, LICENCE_VERSION.c.version, LICENCE_VERSION.c.begins, LICENCE_VERSION.c.ends
    ).where(LICENCE_VERSION.c.licence_id.in_(licence_ids))
    for row in connection.execute(query):
        terms[row.licence_id][row.version] = Term(row.begins, row.ends)
    return {licence_id: History(tuple(acts[licence_id]), terms[licence_id]) for licence_id in licence_ids}


def _fields(data: bytes) -> dict[int, Value]:
    value = cbor.decode(data, where="licence fields")
    if type(value) is not dict:
        raise DatabaseError("the fields of a version are not a map", where="licence_version")
    fields: dict[int, Value] = {}
    for key, element in value.items():
        if type(key) is not int:
            raise FormatError("a field id that is not an integer", where="licence fields")
        fields[key] = element
    return fields
