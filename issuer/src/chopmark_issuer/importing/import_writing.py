"""What an import reads from the registry about a chunk of licences, and how it writes what was planned for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chopmark.credential import Claims, StatusReference, draft_credential
from chopmark.errors import FormatError
from chopmark.status import StatusValue
from sqlalchemy import Connection, Row, bindparam, func, select, update

from chopmark_issuer.catalogue.catalogue import CatalogueType
from chopmark_issuer.catalogue.numbering import identifier_and_number, next_number
from chopmark_issuer.catalogue.terms import day_of
from chopmark_issuer.errors import FieldError
from chopmark_issuer.importing.import_plan import (
    ELSEWHERE,
    KnownLicence,
    KnownRow,
    LicencePlan,
    PlannedVersion,
    StagedRow,
)
from chopmark_issuer.importing.mapping import SourceRow
from chopmark_issuer.keys.key_provider import KeyProvider
from chopmark_issuer.keys.keys import InventoryUse, key_in_use
from chopmark_issuer.licences.issuing import ActDraft, VersionDraft, write_acts, write_versions
from chopmark_issuer.licences.records import History, histories
from chopmark_issuer.licences.standing import refresh_standing, standing_of
from chopmark_issuer.licences.status_lists import LIST_SIZE
from chopmark_issuer.lifecycle import RecordedAct, Standing, wire_status
from chopmark_issuer.storage.bulk_rows import insert_rows
from chopmark_issuer.storage.models import IMPORTED_ROW, LICENCE, LICENCE_VERSION, REGION, STATUS_LIST
from chopmark_issuer.storage.row_ids import next_ids

_LICENCE_COLUMNS: Final = ("id", "department_id", "type_id", "identifier", "state", "current_version", "created_at")
_SOURCE_COLUMNS: Final = ("type_id", "row_key", "licence_id", "version", "sort_key", "contents", "status")
_Source = tuple[str, str, int, int, str, bytes, bytes]


@dataclass(frozen=True, slots=True)
class KnownLicences:
    """What the registry holds of some licences, by the name that the file gives them."""

    licences: dict[str, KnownLicence] = field(default_factory=dict)
    rows: dict[str, dict[str, KnownRow]] = field(default_factory=dict)


def known_licences(
    connection: Connection, licence_type: CatalogueType, department: str, chunk: Sequence[tuple[str, list[StagedRow]]]
) -> KnownLicences:
    """What the registry holds of the licences of a chunk, and of its rows, whichever licence they made.

    Raises:
        FieldError: a name that no licence number can be made from.
    """
    identifiers = {identifier_and_number(licence_type, department, name)[0]: name for name, _ in chunk if name}
    of_type = LICENCE.c.type_id == licence_type.type.id
    found = connection.execute(
        select(LICENCE, LICENCE_VERSION.c.number)
        .join(
            LICENCE_VERSION,
            (LICENCE_VERSION.c.licence_id == LICENCE.c.id) & (LICENCE_VERSION.c.version == LICENCE.c.current_version),
        )
        .where(of_type, LICENCE.c.identifier.in_(identifiers))
    ).all()
    names = {row.id: identifiers[row.identifier] for row in found}
    owners = {staged.row.key: name for name, rows in chunk for staged in rows if isinstance(staged.row, SourceRow)}
    known = KnownLicences()
    last: dict[int, str] = {}
    for row in _imported_rows(connection, licence_type, list(names), list(owners)):
        last[row.licence_id] = max(last.get(row.licence_id, ""), row.sort_key)
        name = owners.get(row.row_key)
        if name is not None:
            version = row.version if names.get(row.licence_id) == name else ELSEWHERE
            known.rows.setdefault(name, {})[row.row_key] = KnownRow(version, row.contents, row.status)
    past = histories(connection, list(names)) if names else {}
    for row in found:
        known.licences[names[row.id]] = KnownLicence(
            row.id,
            row.department_id,
            row.number,
            row.current_version,
            last.get(row.id),
            past[row.id].acts,
            past[row.id].terms,
        )
    return known


def _imported_rows(
    connection: Connection, licence_type: CatalogueType, licence_ids: Sequence[int], keys: Sequence[str]
) -> Iterator[Row[Any]]:
    """The rows that made these licences, and those of these keys; some twice.

    Two queries, each by its own index: one with OR goes through every row of the type.
    """
    if licence_ids:
        yield from connection.execute(select(IMPORTED_ROW).where(IMPORTED_ROW.c.licence_id.in_(licence_ids)))
    if keys:
        of_type = IMPORTED_ROW.c.type_id == licence_type.type.id
        yield from connection.execute(select(IMPORTED_ROW).where(of_type, IMPORTED_ROW.c.row_key.in_(keys)))


def write_plans(
    connection: Connection,
    keys: KeyProvider,
    department: str,
    *,
    licence_type: CatalogueType,
    plans: Sequence[LicencePlan],
    known: Mapping[str, KnownLicence],
    at: int,
    random: Callable[[int], bytes],
) -> None:
    """Write what was planned for some licences, in the caller's transaction.

    Raises:
        FieldError: a licence cannot be signed.
        NotFoundError: the department has no credential key in use.
    """
    plans = [plan for plan in plans if plan.versions or plan.ending or plan.restated]
    if not plans:
        return
    standings = {plan.licence: _new_standing(plan, at) for plan in plans if plan.licence not in known}
    ids = {name: licence.id for name, licence in known.items()}
    ids |= _new_licences(connection, department, licence_type, plans, standings=standings, at=at)
    drafts: list[VersionDraft] = []
    acts: list[ActDraft] = []
    sources: tuple[list[_Source], list[_Source]] = ([], [])
    restated: list[dict[str, object]] = []
    touched: dict[int, int] = {}
    for plan in plans:
        licence_id, before, standing = ids[plan.licence], known.get(plan.licence), standings.get(plan.licence)
        drafts += _drafts(licence_type, department, plan, before, licence_id=licence_id, standing=standing)
        for planned in plan.versions:
            due = planned.effective_from <= at
            acts.append(ActDraft(licence_id, planned.version, planned.act, at, planned.effective_from, due))
            sources[planned.corrects].append(_source(licence_type, licence_id, planned.row, planned.version))
        if plan.ending is not None:
            ending = plan.ending
            due = ending.effective_from <= at
            acts.append(ActDraft(licence_id, ending.version, ending.act, at, ending.effective_from, due, "imported"))
        restated += ({"row": row.key, "said": row.status} for row in plan.restated)
        if before is not None:
            touched[licence_id] = plan.versions[-1].version if plan.versions else before.current_version
    write_versions(connection, keys, department, drafts, at=at, random=random)
    write_acts(connection, acts)
    _write_sources(connection, *sources)
    if restated:
        connection.execute(
            update(IMPORTED_ROW)
            .where(IMPORTED_ROW.c.type_id == licence_type.type.id, IMPORTED_ROW.c.row_key == bindparam("row"))
            .values(status=bindparam("said")),
            restated,
        )
    if touched:
        connection.execute(
            update(LICENCE).where(LICENCE.c.id == bindparam("row_id")).values(current_version=bindparam("newest")),
            [{"row_id": licence_id, "newest": version} for licence_id, version in touched.items()],
        )
        refresh_standing(connection, list(touched), at=at)


def try_plans(
    connection: Connection,
    department: str,
    *,
    licence_type: CatalogueType,
    plans: Sequence[LicencePlan],
    known: Mapping[str, KnownLicence],
    at: int,
) -> None:
    """Find out whether what was planned can be signed, without signing it; nothing is written.

    Raises:
        FieldError: a licence cannot be signed.
        NotFoundError: the department has no credential key in use.
    """
    key = key_in_use(connection, owner=department, use=InventoryUse.CREDENTIAL, at=at).public_key
    place = _place(connection) if licence_type.type.status else None
    for plan in plans:
        for draft in _drafts(licence_type, department, plan, known.get(plan.licence)):
            days = (draft.term.begin, draft.term.end)
            claims = Claims(
                department, licence_type.type.vct, at, draft.number, *days, None, None, place, None, draft.fields
            )
            try:
                draft_credential(key, claims)
            except FormatError as error:
                raise FieldError(f"the credential can not be signed: {error.what}", where=error.where) from error


def _place(connection: Connection) -> StatusReference:
    """A place in a status list that is as long to write as the one that would be drawn."""
    host = connection.execute(select(REGION.c.host)).scalar_one()
    newest = connection.execute(select(func.max(STATUS_LIST.c.number))).scalar() or 1
    return StatusReference(LIST_SIZE - 1, f"https://{host}/status/{newest}")


def _new_standing(plan: LicencePlan, at: int) -> Standing:
    """Where a licence stands that begins with this plan."""
    acts = [RecordedAct(each.act, each.version, at, each.effective_from) for each in plan.versions]
    if plan.ending is not None:
        acts.append(RecordedAct(plan.ending.act, plan.ending.version, at, plan.ending.effective_from))
    return standing_of(History(tuple(acts), {each.version: each.term for each in plan.versions}), at=at)


def _new_licences(
    connection: Connection,
    department: str,
    licence_type: CatalogueType,
    plans: Sequence[LicencePlan],
    *,
    standings: Mapping[str, Standing],
    at: int,
) -> dict[str, int]:
    plans = [plan for plan in plans if plan.licence in standings]
    if not plans:
        return {}
    ids = dict(zip((plan.licence for plan in plans), next_ids(connection, LICENCE, len(plans)), strict=True))
    type_id = licence_type.type.id
    rows = [
        (
            ids[plan.licence],
            department,
            type_id,
            identifier_and_number(licence_type, department, plan.licence)[0],
            standings[plan.licence].state.value,
            plan.versions[-1].version,
            at,
        )
        for plan in plans
    ]
    insert_rows(connection, LICENCE, _LICENCE_COLUMNS, rows)
    return ids


def _drafts(
    licence_type: CatalogueType,
    department: str,
    plan: LicencePlan,
    before: KnownLicence | None,
    *,
    licence_id: int = 0,
    standing: Standing | None = None,
) -> Iterator[VersionDraft]:
    """The versions that a plan makes, each numbered after the one before it."""
    if not plan.versions:
        return
    number = None if before is None else before.number
    first = identifier_and_number(licence_type, department, plan.licence)[1]
    for planned in plan.versions:
        superseded, number = number, first if number is None else next_number(licence_type, number, planned.version)
        status = StatusValue.VALID if standing is None else wire_status(standing, planned.version)
        yield _draft(licence_id, licence_type, planned, (superseded, number), status)


def _draft(
    licence_id: int,
    licence_type: CatalogueType,
    planned: PlannedVersion,
    numbers: tuple[str | None, str],
    status: StatusValue,
) -> VersionDraft:
    row = planned.row
    return VersionDraft(
        licence_id=licence_id,
        version=planned.version,
        number=numbers[1],
        type=licence_type,
        fields=row.fields,
        issued_on=day_of(row.issued_on),
        first_day=day_of(row.first_day),
        last_day=None if row.last_day is None else day_of(row.last_day),
        term=planned.term,
        holders=(row.holder,),
        holder_keys=(),
        supersedes=numbers[0],
        status=status,
    )


def _source(licence_type: CatalogueType, licence_id: int, row: SourceRow, version: int) -> _Source:
    return (licence_type.type.id, row.key, licence_id, version, row.order, row.contents, row.status)


def _write_sources(connection: Connection, new: Sequence[_Source], changed: Sequence[_Source]) -> None:
    """Remember rows; one that was changed takes the place of what it was."""
    insert_rows(connection, IMPORTED_ROW, _SOURCE_COLUMNS, new)
    if changed:
        connection.execute(
            update(IMPORTED_ROW)
            .where(IMPORTED_ROW.c.type_id == bindparam("of_type"), IMPORTED_ROW.c.row_key == bindparam("row"))
            .values(
                version=bindparam("now"),
                sort_key=bindparam("place"),
                contents=bindparam("said"),
                status=bindparam("became"),
            ),
            [
                {"of_type": type_id, "row": key, "now": version, "place": order, "said": contents, "became": status}
                for type_id, key, _, version, order, contents, status in changed
            ],
        )
