"""Departments of a region, their states, and what they were granted: who may issue what, when.

All rights of a department are decided here, in `check_authority`, inside the transaction that uses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chopmark import organisation_code
from chopmark.bundle_entries import Grant, Issuer, IssuerState, IssuerStatus
from chopmark.errors import FormatError
from chopmark.identifiers import ISSUER, region_of
from chopmark.licence_type import LocalisedText
from sqlalchemy import Connection, bindparam, insert, select, update

from chopmark_issuer.catalogue.catalogue import type_in_use
from chopmark_issuer.catalogue.names import check_names
from chopmark_issuer.errors import AuthorityError, ConflictError, NotFoundError, RefusedError
from chopmark_issuer.storage.models import DEPARTMENT, DEPARTMENT_STATE, GRANT
from chopmark_issuer.storage.row_ids import next_id

# Made once: each transaction that issues asks these, and to put one together takes longer than its answer.
_GRANTS: Final = select(GRANT).order_by(GRANT.c.id)
_GRANTS_OF: Final = _GRANTS.where(GRANT.c.department_id == bindparam("department"))
_STATES: Final = (
    select(DEPARTMENT_STATE)
    .where(DEPARTMENT_STATE.c.department_id == bindparam("department"))
    .order_by(DEPARTMENT_STATE.c.since)
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a department, and the licence types that this client of it may act on.

    The types narrow what the department was granted; they never widen it.
    """

    department: str
    types: frozenset[str]


def add_department(connection: Connection, identifier: str, name: LocalisedText, *, region: str, at: int) -> None:
    """Enrol a department, active from now on.

    Raises:
        RefusedError: its id is not `<region>/<organisation code>` of this region, or a name is blank.
        ConflictError: it is enrolled already.
    """
    if ISSUER.fullmatch(identifier) is None or region_of(identifier) != region:
        raise RefusedError(f"{identifier[:80]!r} is not of the form {region}/<organisation code>", where="department")
    if region == "CN" or region.startswith("CN-"):
        _check_organisation_code(identifier.partition("/")[2])
    check_names(name)
    if connection.execute(select(DEPARTMENT.c.id).where(DEPARTMENT.c.id == identifier)).first() is not None:
        raise ConflictError(f"the department {identifier} is enrolled already", where="department")
    connection.execute(
        insert(DEPARTMENT).values(id=identifier, name_zh_hans=name.zh_hans, name_en=name.en, created_at=at)
    )
    connection.execute(
        insert(DEPARTMENT_STATE).values(
            id=next_id(connection, DEPARTMENT_STATE),
            department_id=identifier,
            state=IssuerState.ACTIVE.value,
            since=at,
        )
    )


def set_state(
    connection: Connection, identifier: str, state: IssuerState, *, at: int, reason: str | None = None
) -> None:
    """Suspend, withdraw or reactivate a department from now on.

    Raises:
        NotFoundError: no such department.
        RefusedError: its last state begins no earlier: states only follow each other in time.
    """
    last = _states(connection, identifier)[-1]
    if at <= last.since:
        raise RefusedError("the state begins no later than the one before it", where=identifier)
    connection.execute(
        insert(DEPARTMENT_STATE).values(
            id=next_id(connection, DEPARTMENT_STATE),
            department_id=identifier,
            state=state.value,
            since=at,
            reason=reason,
        )
    )


def grant_type(
    connection: Connection, identifier: str, type_id: str, *, valid_from: int, valid_until: int | None
) -> None:
    """Let a department issue a licence type; the same grant again changes nothing.

    Raises:
        NotFoundError: no such department or type.
        RefusedError: the grant ends before it begins.
        ConflictError: a grant that covers part of that time exists already.
    """
    _states(connection, identifier)
    type_in_use(connection, type_id)
    if valid_until is not None and valid_until <= valid_from:
        raise RefusedError("the grant ends before it begins", where="grant")
    for known in grants(connection, identifier):
        if known.licence_type != type_id:
            continue
        if (known.not_before, known.not_after) == (valid_from, valid_until):
            return
        begins_before_end = valid_until is None or known.not_before < valid_until
        if begins_before_end and (known.not_after is None or valid_from < known.not_after):
            raise ConflictError(f"{identifier} holds a grant for {type_id} in that time already", where="grant")
    connection.execute(
        insert(GRANT).values(
            id=next_id(connection, GRANT),
            department_id=identifier,
            type_id=type_id,
            valid_from=valid_from,
            valid_until=valid_until,
        )
    )


def end_grant(connection: Connection, identifier: str, type_id: str, *, at: int) -> None:
    """End the grant that a department holds for a type now.

    Raises:
        NotFoundError: it holds none.
    """
    ended = connection.execute(
        update(GRANT)
        .where(
            GRANT.c.department_id == identifier,
            GRANT.c.type_id == type_id,
            GRANT.c.valid_from < at,
            GRANT.c.valid_until.is_(None) | (GRANT.c.valid_until > at),
        )
        .values(valid_until=at)
    )
    if ended.rowcount != 1:
        raise NotFoundError(f"{identifier} holds no grant for {type_id} now", where="grant")


def authorise(connection: Connection, identifier: str, *, at: int) -> Actor:
    """An actor for everything that the department is granted at that time.

    Raises:
        NotFoundError: no such department.
    """
    _states(connection, identifier)
    types = frozenset(grant.licence_type for grant in grants(connection, identifier) if grant.covers(at))
    return Actor(identifier, types)


def check_authority(connection: Connection, actor: Actor, type_id: str, *, at: int) -> None:
    """Check that an actor may act on licences of a type at that time.

    Raises:
        AuthorityError: the department is not active, holds no grant, or this client of it is not let to.
        NotFoundError: no such department.
    """
    state = None
    for step in _states(connection, actor.department):
        if step.since <= at:
            state = step.state
    if state is not IssuerState.ACTIVE:
        raise AuthorityError(f"the department {actor.department} is not active", where="department")
    held = grants(connection, actor.department)
    if not any(grant.licence_type == type_id and grant.covers(at) for grant in held):
        raise AuthorityError(
            f"{actor.department} holds no grant for {type_id}",
            where="grant",
            remedy="The region grants types: chopmark issuer grant",
        )
    if type_id not in actor.types:
        raise AuthorityError(f"this client of {actor.department} may not act on {type_id}", where="client")


def grants(connection: Connection, identifier: str | None = None) -> list[Grant]:
    """The grants of a department, or all, in the order they were made."""
    if identifier is None:
        rows = connection.execute(_GRANTS)
    else:
        rows = connection.execute(_GRANTS_OF, {"department": identifier})
    return [Grant(row.department_id, row.type_id, row.valid_from, row.valid_until) for row in rows]


def all_departments(connection: Connection) -> list[Issuer]:
    """Every department with its states, in the order of their enrolment."""
    rows = connection.execute(select(DEPARTMENT).order_by(DEPARTMENT.c.created_at, DEPARTMENT.c.id)).all()
    return [
        Issuer(row.id, LocalisedText(row.name_zh_hans, row.name_en), tuple(_states(connection, row.id)), None)
        for row in rows
    ]


def _check_organisation_code(code: str) -> None:
    """The number of a licence names its issuer by this code (GB/T 36904), so it has to be right before the first."""
    try:
        organisation_code.validate(code)
    except FormatError as error:
        raise RefusedError(
            f"{code[:40]!r} is not an organisation code of GB 32100: {error.what}",
            where="department",
            remedy="Compare it with the department's certificate, character by character",
        ) from error


def _states(connection: Connection, identifier: str) -> list[IssuerStatus]:
    rows = connection.execute(_STATES, {"department": identifier}).all()
    if not rows:
        raise NotFoundError(f"there is no department {identifier[:80]!r}", where="department")
    return [IssuerStatus(IssuerState(row.state), row.since, row.reason) for row in rows]
