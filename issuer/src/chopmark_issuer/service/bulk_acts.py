"""Acts on many licences at once, a few statements for all of them, each licence judged by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from chopmark_issuer.catalogue.catalogue import type_in_use
from chopmark_issuer.catalogue.departments import Actor, check_authority
from chopmark_issuer.errors import ConflictError, LifecycleError, NotFoundError, RefusedError
from chopmark_issuer.licences.issuing import ActDraft, write_acts
from chopmark_issuer.licences.records import History, histories
from chopmark_issuer.licences.standing import check_clock, refresh_standing
from chopmark_issuer.lifecycle import TRANSITIONS, Act, State, next_state, state_as_of
from chopmark_issuer.service.api_requests import ActRequest, moment
from chopmark_issuer.storage.models import LICENCE, LICENCE_VERSION


def record_all(
    connection: Connection,
    actor: Actor,
    numbers: Sequence[str],
    act: Act,
    *,
    at: int,
    request: ActRequest,
    type_id: str | None = None,
) -> list[State | RefusedError]:
    """Record one act on several licences; for each number, in order, the state that its licence reached, or why not.

    In the caller's transaction, for acts that make no version. A number that stands twice is refused the second time,
    unless the act may be done twice. What is refused leaves nothing behind.

    Args:
        connection: of a writing transaction.
        actor: who acts; licences of other departments are not there for it.
        numbers: a thousand at most.
        act: what is done.
        at: POSIX seconds.
        request: from when, and why.
        type_id: where licences of several types have those numbers.
    """
    outcomes: dict[int, State | RefusedError] = {}
    rows = _newest(connection, actor, numbers, type_id)
    allowed: dict[str, int | RefusedError] = {}
    drafts: list[ActDraft] = []
    places: dict[int, int] = {}
    known = histories(connection, [row.id for found in rows.values() for row in found])
    for place, number in enumerate(numbers):
        try:
            row = _only(rows.get(number, ()), number)
            if row.id in places:
                raise ConflictError("the number stands twice", where=number)
            effective_from = _effective_from(connection, actor, row.type_id, allowed, request=request, at=at)
            drafts.append(_draft(row, known[row.id], act, at=at, effective_from=effective_from, reason=request.reason))
            places[row.id] = place
        except RefusedError as error:
            outcomes[place] = error
    if drafts:
        part = connection.begin_nested()
        write_acts(connection, drafts)
        reached = refresh_standing(connection, [draft.licence_id for draft in drafts], at=at)
        wrong = {
            draft.licence_id: reached[draft.licence_id].state
            for draft in drafts
            if draft.applied and not _as_expected(reached[draft.licence_id].state, act)
        }
        if wrong:  # what a later act overtakes is taken back, and all others done again without it
            part.rollback()
            done = [numbers[places[draft.licence_id]] for draft in drafts if draft.licence_id not in wrong]
            again = iter(record_all(connection, actor, done, act, at=at, request=request, type_id=type_id))
            for draft in drafts:
                outcomes[places[draft.licence_id]] = (
                    _overtaken(wrong[draft.licence_id]) if draft.licence_id in wrong else next(again)
                )
        else:
            part.commit()
            for draft in drafts:
                outcomes[places[draft.licence_id]] = reached[draft.licence_id].state
    return [outcomes[place] for place in range(len(numbers))]


def _newest(connection: Connection, actor: Actor, numbers: Sequence[str], type_id: str | None) -> dict[str, list[Any]]:
    """The actor's own licences that have, or in an earlier version had, one of these numbers, by it."""
    numbered = LICENCE_VERSION.alias("numbered")
    newest = LICENCE_VERSION.alias("newest")
    query = (
        select(
            numbered.c.number.label("asked"),
            LICENCE.c.id,
            LICENCE.c.department_id,
            LICENCE.c.type_id,
            LICENCE.c.current_version,
            newest.c.number,
        )
        .join(LICENCE, LICENCE.c.id == numbered.c.licence_id)
        .join(newest, (newest.c.licence_id == LICENCE.c.id) & (newest.c.version == LICENCE.c.current_version))
        .where(numbered.c.number.in_(numbers))
        .distinct()
    )
    found: dict[str, list[Any]] = {}
    for row in connection.execute(query):
        # asked for in the query, these would be looked up first, and all licences of the department gone through
        if row.department_id == actor.department and type_id in (None, row.type_id):
            found.setdefault(row.asked, []).append(row)
    return found


def _only(rows: Sequence[Any], number: str) -> Any:
    if not rows:
        raise NotFoundError("there is no licence of that number", where=number)
    if len(rows) > 1:
        raise ConflictError(f"{len(rows)} licences have that number", where=number, remedy="Name the licence type too")
    if rows[0].number != number:
        raise LifecycleError(
            "the number is superseded", where=number, remedy=f"The licence now has the number {rows[0].number}"
        )
    return rows[0]


def _effective_from(
    connection: Connection,
    actor: Actor,
    type_id: str,
    allowed: dict[str, int | RefusedError],
    *,
    request: ActRequest,
    at: int,
) -> int:
    """From when the act has effect on licences of a type; rights are judged once for each type."""
    found = allowed.get(type_id)
    if found is None:
        try:
            check_authority(connection, actor, type_id, at=at)
            found = at
            if request.effective_from is not None:
                found = moment(request.effective_from, type_in_use(connection, type_id).zone, where="effective_from")
        except RefusedError as error:
            found = error
        allowed[type_id] = found
    if isinstance(found, RefusedError):
        raise found
    return found


def _draft(row: Any, history: History, act: Act, *, at: int, effective_from: int, reason: str | None) -> ActDraft:
    """The act on one licence, if its state allows that; as `Registry.record` judges it."""
    check_clock(history, at)
    first = history.terms[min(history.terms)].begin
    if effective_from < first:
        raise LifecycleError("the licence begins later, the act can not have effect before", where="effective_from")
    day = max(min(at, effective_from), min(each.effective_from for each in history.acts))
    standing = state_as_of(history.acts, history.terms, at=day, known_at=at)
    assert standing is not None  # noqa: S101 - every licence was issued, and by then that has effect
    next_state(standing.state, act)
    return ActDraft(row.id, row.current_version, act, at, effective_from, effective_from <= at, reason)


def _as_expected(state: State, act: Act) -> bool:
    return state in (TRANSITIONS[act][1], State.EXPIRED)


def _overtaken(state: State) -> LifecycleError:
    return LifecycleError(
        f"dated so far back, it would leave the licence {state.value}: something later overtakes it",
        remedy="Give a later day from which it has effect",
    )
