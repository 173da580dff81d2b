"""Finding licences of a department: by number, holder, state and type, a page at a time.

    number        in full; that of any version
    holder_code   in full, of the newest version
    holder_name   in full, or the beginning of it from 2 characters on, of the newest version
    state         where the licence stands now; `expired` by time, whether anybody told or not
    type          its id

Pages are in the order in which licences were entered; a page goes on after the last licence of the one before, so that
what is added meanwhile moves nothing. Of what holders have alike at most 10,000 in the whole registry are
looked through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, func, select

from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.errors import RefusedError
from chopmark_issuer.lifecycle import State
from chopmark_issuer.service.clients import DepartmentClient
from chopmark_issuer.storage.models import ACT, HOLDER, LICENCE, LICENCE_VERSION

MAX_PAGE: Final = 200
MAX_ALIKE: Final = 10_000
"""Holders, of whatever department, that one search looks through; there is no index by department and name."""
_BEYOND: Final = "\U0010ffff"
"""Sorts after every character that a name may go on with."""
_NEWEST: Final = LICENCE.join(
    LICENCE_VERSION,
    and_(LICENCE_VERSION.c.licence_id == LICENCE.c.id, LICENCE_VERSION.c.version == LICENCE.c.current_version),
)
_ACTS: Final = select(ACT).where(ACT.c.licence_id == bindparam("licence_id")).order_by(ACT.c.id)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; None where nothing is said."""

    number: str | None = None
    holder_code: str | None = None
    holder_name: str | None = None
    state: State | None = None
    type_id: str | None = None
    after: int = 0
    limit: int = 50

    @property
    def is_narrow(self) -> bool:
        """Whether it names what only few licences have."""
        return any(each is not None for each in (self.number, self.holder_code, self.holder_name))


@dataclass(frozen=True, slots=True)
class Found:
    """A licence that was found, as its newest version has it; days are days since 1970-01-01."""

    id: int
    type_id: str
    state: State
    version: int
    number: str
    issued_on: int
    first_day: int
    last_day: int | None
    holders: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class ActOfLicence:
    """An act as the history of a licence shows it; times are POSIX seconds."""

    kind: str
    version: int
    learned_at: int
    effective_from: int
    reason: str | None


def find_licences(connection: Connection, client: DepartmentClient, wanted: Wanted, *, at: int) -> list[Found]:
    """The licences of a client's department that it may see, and that are looked for, at most `limit` of them."""
    query = (
        select(
            LICENCE.c.id,
            LICENCE.c.type_id,
            LICENCE.c.state,
            LICENCE_VERSION.c.id.label("version_id"),
            LICENCE_VERSION.c.version,
            LICENCE_VERSION.c.number,
            LICENCE_VERSION.c.issued_on,
            LICENCE_VERSION.c.first_day,
            LICENCE_VERSION.c.last_day,
            LICENCE_VERSION.c.ends,
        )
        .select_from(_NEWEST)
        .where(LICENCE.c.id > wanted.after)
        .order_by(LICENCE.c.id)
        .limit(wanted.limit)
    )
    department: ColumnElement[str] = LICENCE.c.department_id
    type_id: ColumnElement[str] = LICENCE.c.type_id
    # What few licences have is looked up first: of an expression there is no index that a database might prefer.
    if wanted.is_narrow:
        department = department.concat("")
    if wanted.is_narrow or wanted.state is not None:
        type_id = type_id.concat("")
    query = query.where(department == client.department)
    if wanted.type_id is not None:
        query = query.where(type_id == wanted.type_id)
    if client.types is not None:
        query = query.where(LICENCE.c.type_id.concat("").in_(sorted(client.types)))
    of_holder = _of_holder(wanted)
    if wanted.number is not None:
        numbered = select(LICENCE_VERSION.c.licence_id).where(LICENCE_VERSION.c.number == wanted.number)
        query = query.where(LICENCE.c.id.in_(numbered))
    elif of_holder:
        alike = select(HOLDER.c.version_id).where(of_holder[0]).limit(MAX_ALIKE + 1)
        if connection.execute(select(func.count()).select_from(alike.subquery())).scalar_one() > MAX_ALIKE:
            raise RefusedError(
                f"more than {MAX_ALIKE:,} holders are alike in that", where="search", remedy="Name more of the holder"
            )
        held = select(LICENCE_VERSION.c.licence_id).where(LICENCE_VERSION.c.id.in_(alike))
        query = query.where(LICENCE.c.id.in_(held))
    for condition in of_holder:
        query = query.where(exists().where(HOLDER.c.version_id == LICENCE_VERSION.c.id, condition))
    ended = and_(LICENCE_VERSION.c.ends.is_not(None), LICENCE_VERSION.c.ends <= at)
    if wanted.state is State.VALID:
        query = query.where(LICENCE.c.state == State.VALID.value, ~ended)
    elif wanted.state is State.EXPIRED:
        query = query.where(LICENCE.c.state.in_([State.VALID.value, State.EXPIRED.value]), ended)
    elif wanted.state is not None:
        query = query.where(LICENCE.c.state == wanted.state.value)
    rows = connection.execute(query).all()
    holders = _holders(connection, [row.version_id for row in rows])
    return [_found(row, holders, at) for row in rows]


def _of_holder(wanted: Wanted) -> list[ColumnElement[bool]]:
    """What is said of a holder; the code, which fewer have, first."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.holder_code is not None:
        conditions.append(HOLDER.c.code == wanted.holder_code)
    if wanted.holder_name is not None:
        conditions.append(and_(HOLDER.c.name >= wanted.holder_name, HOLDER.c.name < wanted.holder_name + _BEYOND))
    return conditions


def acts_of(connection: Connection, licence_id: int) -> list[ActOfLicence]:
    """The acts on a licence, in the order in which they were recorded."""
    rows = connection.execute(_ACTS, {"licence_id": licence_id})
    return [ActOfLicence(row.kind, row.version, row.learned_at, row.effective_from, row.reason) for row in rows]


def _found(row: Any, holders: dict[int, tuple[Holder, ...]], at: int) -> Found:
    state = State(row.state)
    if state is State.VALID and row.ends is not None and row.ends <= at:
        state = State.EXPIRED
    return Found(
        row.id,
        row.type_id,
        state,
        row.version,
        row.number,
        row.issued_on,
        row.first_day,
        row.last_day,
        holders.get(row.version_id, ()),
    )


def _holders(connection: Connection, version_ids: Sequence[int]) -> dict[int, tuple[Holder, ...]]:
    found: dict[int, tuple[Holder, ...]] = {}
    query = select(HOLDER).where(HOLDER.c.version_id.in_(version_ids)).order_by(HOLDER.c.version_id, HOLDER.c.position)
    for row in connection.execute(query):
        found[row.version_id] = (*found.get(row.version_id, ()), Holder(row.name, row.code, row.code_kind))
    return found
