"""Issuing many licences at once: each request judged by itself, and what is written of all in one statement a table.

    1 validate    each request against its type, and the actor's rights to that type
    2 number      serials drawn as a block; numbers that are taken refused
    3 prepare     credentials made up to their signatures, with status indexes drawn at random
    4 write       licences, versions, holders, the outbox; all signed in one request; credentials; acts

All of it runs in the caller's writing transaction, so that a fault leaves nothing. A request that is refused leaves
nothing either, but a gap where a serial or an index was drawn for it, and spoils none of its neighbours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chopmark.cbor import Value
from sqlalchemy import Connection, bindparam, select

from chopmark_issuer.catalogue.catalogue import CatalogueType, type_in_use
from chopmark_issuer.catalogue.departments import Actor, check_authority
from chopmark_issuer.catalogue.holders import Holder, checked_holders
from chopmark_issuer.catalogue.numbering import draw_serials, given_name, identifier_and_number
from chopmark_issuer.catalogue.terms import day_of
from chopmark_issuer.errors import ConflictError, RefusedError
from chopmark_issuer.keys.key_provider import KeyProvider
from chopmark_issuer.licences.issuing import (
    ActDraft,
    VersionDraft,
    check_binding,
    prepare_versions,
    write_acts,
    write_prepared,
)
from chopmark_issuer.licences.requests import IssuedVersion, IssueRequest
from chopmark_issuer.licences.standing import state_of_new
from chopmark_issuer.lifecycle import Act, Term
from chopmark_issuer.storage.bulk_rows import insert_rows
from chopmark_issuer.storage.models import LICENCE
from chopmark_issuer.storage.row_ids import next_ids

_LOOKED_UP_AT_ONCE = 1000
"""Identifiers in one query: a database bounds the parameters of a statement."""

_TAKEN: Final = select(LICENCE.c.identifier).where(
    LICENCE.c.type_id == bindparam("type_id"), LICENCE.c.identifier.in_(bindparam("identifiers", expanding=True))
)
_LICENCE_COLUMNS = ("id", "department_id", "type_id", "identifier", "state", "current_version", "created_at")


@dataclass(frozen=True, slots=True)
class _Checked:
    """A request that its type allows; `name` is the serial or number it names, None where a serial is drawn."""

    position: int
    request: IssueRequest
    type: CatalogueType
    fields: Mapping[int, Value]
    holders: tuple[Holder, ...]
    issued_on: int
    term: Term
    name: str | None


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A request with the identifier of its licence and the number of the first version."""

    checked: _Checked
    identifier: str
    number: str


def issue_all(
    connection: Connection,
    keys: KeyProvider,
    actor: Actor,
    requests: Sequence[IssueRequest],
    *,
    at: int,
    random: Callable[[int], bytes] = os.urandom,
) -> list[IssuedVersion | RefusedError]:
    """Issue licences; for each request, in order, what was issued or why it was refused.

    Args:
        connection: of a writing transaction.
        keys: sign the credentials.
        actor: for whom.
        requests: a few thousand at most: all of them are in memory, and other writers wait.
        at: POSIX seconds.
        random: gives so many random bytes.

    Raises:
        NotFoundError: the department is none, or has no credential key in use.
        SigningProcessError, StorageError, KeyMaterialError: its key does not sign; the transaction must be given up.
    """
    outcomes: dict[int, IssuedVersion | RefusedError] = {}
    checked = _checked(connection, actor, requests, outcomes, at=at)
    numbered = _numbered(connection, actor.department, checked, outcomes)
    licence_ids = next_ids(connection, LICENCE, len(numbered))
    drafts = [_draft(licence_id, each) for licence_id, each in zip(licence_ids, numbered, strict=True)]
    prepared = []
    licences = []
    positions = {}
    outcome_of = prepare_versions(connection, actor.department, drafts, at=at, random=random)
    for each, draft, outcome in zip(numbered, drafts, outcome_of, strict=True):
        if isinstance(outcome, RefusedError):
            outcomes[each.checked.position] = outcome
            continue
        prepared.append(outcome)
        licences.append(_licence_row(actor.department, draft, each, at))
        positions[draft.licence_id] = each.checked.position
    if licences:
        insert_rows(connection, LICENCE, _LICENCE_COLUMNS, licences)
        for written in write_prepared(connection, keys, actor.department, prepared, at=at):
            draft = written.draft
            outcomes[positions[draft.licence_id]] = IssuedVersion(
                draft.licence_id, draft.version, draft.number, written.credentials
            )
        write_acts(connection, [_act(each.draft, at) for each in prepared])
    return [outcomes[position] for position in range(len(requests))]


def _checked(
    connection: Connection,
    actor: Actor,
    requests: Sequence[IssueRequest],
    outcomes: dict[int, IssuedVersion | RefusedError],
    *,
    at: int,
) -> list[_Checked]:
    """Hold each request against its type; what is refused is put into the outcomes."""
    types: dict[str, CatalogueType | RefusedError] = {}
    checked = []
    for position, request in enumerate(requests):
        licence_type = types.get(request.type_id)
        if licence_type is None:
            licence_type = types[request.type_id] = _allowed_type(connection, actor, request.type_id, at)
        if isinstance(licence_type, RefusedError):
            outcomes[position] = licence_type
            continue
        try:
            checked.append(_check(position, request, licence_type, at))
        except RefusedError as error:
            outcomes[position] = error
    return checked


def _allowed_type(connection: Connection, actor: Actor, type_id: str, at: int) -> CatalogueType | RefusedError:
    try:
        licence_type = type_in_use(connection, type_id)
        check_authority(connection, actor, type_id, at=at)
    except RefusedError as error:
        return error
    return licence_type


def _check(position: int, request: IssueRequest, licence_type: CatalogueType, at: int) -> _Checked:
    check_binding(licence_type, request.holder_keys)
    return _Checked(
        position,
        request,
        licence_type,
        licence_type.read_fields(request.fields),
        checked_holders(request.holders),
        licence_type.day_of_issue(request.issued_on, at),
        licence_type.term(request.first_day, request.last_day, at),
        given_name(licence_type, number=request.number, serial=request.serial),
    )


def _numbered(
    connection: Connection,
    department: str,
    checked: Sequence[_Checked],
    outcomes: dict[int, IssuedVersion | RefusedError],
) -> list[_Numbered]:
    """Give each request its number; one that names a number which is taken is refused."""
    by_type: dict[str, list[_Checked]] = {}
    for each in checked:
        by_type.setdefault(each.type.type.id, []).append(each)
    numbered: list[_Numbered] = []
    for of_type in by_type.values():
        named = _with_names(connection, department, [each for each in of_type if each.name is not None], outcomes)
        used = {each.identifier for each in named}
        numbered += named
        numbered += _with_serials(connection, department, [each for each in of_type if each.name is None], used)
    numbered.sort(key=lambda each: each.checked.position)
    return numbered


def _with_names(
    connection: Connection,
    department: str,
    checked: Sequence[_Checked],
    outcomes: dict[int, IssuedVersion | RefusedError],
) -> list[_Numbered]:
    """The requests, all of one type, that name a serial or number which nobody has."""
    found: dict[str, _Numbered] = {}
    for each in checked:
        try:
            identifier, number = identifier_and_number(each.type, department, each.name or "")
        except RefusedError as error:
            outcomes[each.position] = error
            continue
        if identifier in found:
            outcomes[each.position] = _taken(identifier)
        else:
            found[identifier] = _Numbered(each, identifier, number)
    if checked:
        for identifier in _taken_identifiers(connection, checked[0].type.type.id, found):
            outcomes[found.pop(identifier).checked.position] = _taken(identifier)
    return list(found.values())


def _with_serials(
    connection: Connection, department: str, checked: Sequence[_Checked], used: set[str]
) -> list[_Numbered]:
    """The requests, all of one type, with serials drawn in turn; one that a department named before is passed over."""
    numbered: list[_Numbered] = []
    waiting = list(checked)
    while waiting:
        type_id = waiting[0].type.type.id
        drawn = [
            _Numbered(each, *identifier_and_number(each.type, department, serial))
            for each, serial in zip(waiting, draw_serials(connection, department, type_id, len(waiting)), strict=True)
        ]
        taken = used | _taken_identifiers(connection, type_id, [each.identifier for each in drawn])
        numbered += [each for each in drawn if each.identifier not in taken]
        waiting = [each.checked for each in drawn if each.identifier in taken]
    return numbered


def _taken(identifier: str) -> ConflictError:
    return ConflictError(
        "a licence of this type has that number already", where=identifier, remedy="Renew or change it instead"
    )


def _taken_identifiers(connection: Connection, type_id: str, identifiers: Iterable[str]) -> set[str]:
    wanted = list(identifiers)
    taken: set[str] = set()
    for start in range(0, len(wanted), _LOOKED_UP_AT_ONCE):
        looked_up = {"type_id": type_id, "identifiers": wanted[start : start + _LOOKED_UP_AT_ONCE]}
        taken.update(connection.execute(_TAKEN, looked_up).scalars())
    return taken


def _draft(licence_id: int, numbered: _Numbered) -> VersionDraft:
    checked = numbered.checked
    request = checked.request
    return VersionDraft(
        licence_id=licence_id,
        version=1,
        number=numbered.number,
        type=checked.type,
        fields=checked.fields,
        issued_on=checked.issued_on,
        first_day=day_of(request.first_day),
        last_day=None if request.last_day is None else day_of(request.last_day),
        term=checked.term,
        holders=checked.holders,
        holder_keys=request.holder_keys,
    )


def _licence_row(department: str, draft: VersionDraft, numbered: _Numbered, at: int) -> tuple[object, ...]:
    return (
        draft.licence_id,
        department,
        draft.type.type.id,
        numbered.identifier,
        state_of_new(draft.term, at=at).value,
        draft.version,
        at,
    )


def _act(draft: VersionDraft, at: int) -> ActDraft:
    begin = draft.term.begin
    return ActDraft(draft.licence_id, draft.version, Act.ISSUE, at, begin, begin <= at)
