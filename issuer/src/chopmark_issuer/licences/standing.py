"""Keeping what is shown of a licence, its state and the statuses of its credentials, at what its acts add up to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chopmark.status import StatusValue
from sqlalchemy import Connection, bindparam, select, update

from chopmark_issuer.errors import LifecycleError
from chopmark_issuer.licences.records import History, histories
from chopmark_issuer.lifecycle import Standing, State, Term, state_as_of, wire_status
from chopmark_issuer.storage.database import Database
from chopmark_issuer.storage.models import ACT, CREDENTIAL, LICENCE, LICENCE_VERSION

_CHUNK: Final = 1000
"""Licences of one transaction when acts fall due."""


def refresh_standing(connection: Connection, licence_ids: Sequence[int], *, at: int) -> dict[int, Standing]:
    """Set state and statuses of licences to what their acts add up to at that time, in the caller's transaction.

    Raises:
        LifecycleError: the clock is behind an act of theirs: what was revoked must not come back to life by that.
    """
    found: dict[int, Standing] = {}
    states = []
    statuses = []
    stored = _stored_statuses(connection, licence_ids)
    for licence_id, history in histories(connection, licence_ids).items():
        check_clock(history, at)
        standing = standing_of(history, at=at)
        found[licence_id] = standing
        states.append({"row_id": licence_id, "new_state": standing.state.value})
        for credential_id, version, status, withdrawn in stored.get(licence_id, ()):
            wanted = StatusValue.INVALID if withdrawn else wire_status(standing, version)
            if wanted != status:
                statuses.append({"row_id": credential_id, "new_status": int(wanted)})
    if states:
        connection.execute(
            update(LICENCE).where(LICENCE.c.id == bindparam("row_id")).values(state=bindparam("new_state")), states
        )
    if statuses:
        connection.execute(
            update(CREDENTIAL).where(CREDENTIAL.c.id == bindparam("row_id")).values(status=bindparam("new_status")),
            statuses,
        )
    return found


def standing_of(history: History, *, at: int) -> Standing:
    """Where a licence stands by what is known of it at that time."""
    standing = state_as_of(history.acts, history.terms, at=at, known_at=at)
    if standing is None:  # it begins later: until then nothing speaks against it but its own first day
        return Standing(State.VALID, min(history.terms))
    return standing


def state_of_new(term: Term, *, at: int) -> State:
    """The state of a licence that is issued now for that term, as `refresh_standing` would find it; its credentials
    show valid, as nothing speaks against one that has not begun, or has ended, but its own days."""
    return State.EXPIRED if term.ended(at) else State.VALID


def check_clock(history: History, at: int) -> None:
    """Check that a time is not before what was recorded of a licence.

    Raises:
        LifecycleError: it is.
    """
    if any(act.learned_at > at for act in history.acts):
        raise LifecycleError(
            "the clock is behind what the registry recorded", where="clock", remedy="Correct the clock"
        )


def apply_due_acts(database: Database, *, at: int) -> int:
    """Let acts that were recorded ahead take effect; answers how many licences they concerned."""
    concerned = 0
    while True:
        with database.writing() as connection:
            due = ~ACT.c.applied & (ACT.c.effective_from <= at)
            licence_ids = list(
                connection.execute(select(ACT.c.licence_id).where(due).distinct().limit(_CHUNK)).scalars()
            )
            if not licence_ids:
                return concerned
            refresh_standing(connection, licence_ids, at=at)
            connection.execute(update(ACT).where(due, ACT.c.licence_id.in_(licence_ids)).values(applied=True))
            concerned += len(licence_ids)


def _stored_statuses(
    connection: Connection, licence_ids: Sequence[int]
) -> dict[int, list[tuple[int, int, StatusValue, bool]]]:
    """Of each licence: credential id, version, status, and whether the credential was withdrawn."""
    query = (
        select(
            LICENCE_VERSION.c.licence_id,
            LICENCE_VERSION.c.version,
            CREDENTIAL.c.id,
            CREDENTIAL.c.status,
            CREDENTIAL.c.withdrawn_at,
        )
        .join(LICENCE_VERSION, LICENCE_VERSION.c.id == CREDENTIAL.c.version_id)
        .where(LICENCE_VERSION.c.licence_id.in_(licence_ids))
    )
    found: dict[int, list[tuple[int, int, StatusValue, bool]]] = {}
    for row in connection.execute(query):
        found.setdefault(row.licence_id, []).append(
            (row.id, row.version, StatusValue(row.status), row.withdrawn_at is not None)
        )
    return found
