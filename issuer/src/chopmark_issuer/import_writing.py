"""What an import reads from the registry about a chunk of licences, and how it writes what was planned for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, insert, select, update

from chopmark_issuer.catalogue import CatalogueType
from chopmark_issuer.import_plan import (
    ELSEWHERE,
    KnownLicence,
    KnownRow,
    LicencePlan,
    PlannedVersion,
    StagedRow,
)
from chopmark_issuer.issuing import ActDraft, VersionDraft, write_acts, write_versions
from chopmark_issuer.key_provider import KeyProvider
from chopmark_issuer.lifecycle import State
from chopmark_issuer.mapping import SourceRow
from chopmark_issuer.models import IMPORTED_ROW, LICENCE, LICENCE_VERSION
from chopmark_issuer.numbering import identifier_and_number, next_number
from chopmark_issuer.records import histories
from chopmark_issuer.standing import refresh_standing
from chopmark_issuer.terms import day_of


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
    rows = select(IMPORTED_ROW).where(
        IMPORTED_ROW.c.type_id == licence_type.type.id,
        IMPORTED_ROW.c.licence_id.in_(names) | IMPORTED_ROW.c.row_key.in_(owners),
    )
    for row in connection.execute(rows):
        last[row.licence_id] = max(last.get(row.licence_id, ""), row.sort_key)
        name = owners.get(row.row_key)
        if name is not None:
            version = row.version if names.get(row.licence_id) == name else ELSEWHERE
            known.rows.setdefault(name, {})[row.row_key] = KnownRow(version, row.contents, row.status)
    past = histories(connection, list(names))
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
    ids = {name: licence.id for name, licence in known.items()}
    ids |= _new_licences(connection, department, licence_type, [p for p in plans if p.licence not in ids], at)
    drafts: list[VersionDraft] = []
    acts: list[ActDraft] = []
    sources: list[dict[str, object]] = []
    touched: dict[int, int] = {}
    for plan in plans:
        if not (plan.versions or plan.ending or plan.restated):
            continue
        licence_id = ids[plan.licence]
        before = known.get(plan.licence)
        first = identifier_and_number(licence_type, department, plan.licence)[1]
        number = None if before is None else before.number
        touched[licence_id] = 0 if before is None else before.current_version
        for planned in plan.versions:
            superseded, number = number, first if number is None else next_number(licence_type, number, planned.version)
            drafts.append(_draft(licence_id, licence_type, planned, number, superseded))
            due = planned.effective_from <= at
            acts.append(ActDraft(licence_id, planned.version, planned.act, at, planned.effective_from, due))
            sources.append(_source(licence_type, licence_id, planned.row, planned.version))
            touched[licence_id] = planned.version
        if plan.ending is not None:
            ending = plan.ending
            due = ending.effective_from <= at
            acts.append(ActDraft(licence_id, ending.version, ending.act, at, ending.effective_from, due, "imported"))
        restated = [{"row": row.key, "said": row.status} for row in plan.restated]
        if restated:
            connection.execute(
                update(IMPORTED_ROW)
                .where(IMPORTED_ROW.c.type_id == licence_type.type.id, IMPORTED_ROW.c.row_key == bindparam("row"))
                .values(status=bindparam("said")),
                restated,
            )
    if not touched:
        return
    write_versions(connection, keys, department, drafts, at=at, random=random)
    write_acts(connection, acts)
    _write_sources(connection, licence_type, sources)
    connection.execute(
        update(LICENCE).where(LICENCE.c.id == bindparam("row_id")).values(current_version=bindparam("newest")),
        [{"row_id": licence_id, "newest": version} for licence_id, version in touched.items()],
    )
    refresh_standing(connection, list(touched), at=at)


def _new_licences(
    connection: Connection, department: str, licence_type: CatalogueType, plans: Sequence[LicencePlan], at: int
) -> dict[str, int]:
    plans = [plan for plan in plans if plan.versions]
    if not plans:
        return {}
    statement = insert(LICENCE).returning(LICENCE.c.id, sort_by_parameter_order=True)
    rows = [
        {
            "department_id": department,
            "type_id": licence_type.type.id,
            "identifier": identifier_and_number(licence_type, department, plan.licence)[0],
            "state": State.VALID.value,
            "current_version": 1,
            "created_at": at,
        }
        for plan in plans
    ]
    ids = connection.execute(statement, rows).scalars()
    return {plan.licence: licence_id for plan, licence_id in zip(plans, ids, strict=True)}


def _draft(
    licence_id: int, licence_type: CatalogueType, planned: PlannedVersion, number: str, superseded: str | None
) -> VersionDraft:
    row = planned.row
    return VersionDraft(
        licence_id=licence_id,
        version=planned.version,
        number=number,
        type=licence_type,
        fields=licence_type.read_fields(row.fields),
        issued_on=day_of(row.issued_on),
        first_day=day_of(row.first_day),
        last_day=None if row.last_day is None else day_of(row.last_day),
        term=planned.term,
        holders=(row.holder,),
        holder_keys=(),
        supersedes=superseded,
    )


def _source(licence_type: CatalogueType, licence_id: int, row: SourceRow, version: int) -> dict[str, object]:
    return {
        "type_id": licence_type.type.id,
        "row_key": row.key,
        "licence_id": licence_id,
        "version": version,
        "sort_key": row.order,
        "contents": row.contents,
        "status": row.status,
    }


def _write_sources(connection: Connection, licence_type: CatalogueType, sources: Sequence[dict[str, object]]) -> None:
    """Remember rows; one that was changed takes the place of what it was."""
    if not sources:
        return
    keys = [source["row_key"] for source in sources]
    query = select(IMPORTED_ROW.c.row_key).where(
        IMPORTED_ROW.c.type_id == licence_type.type.id, IMPORTED_ROW.c.row_key.in_(keys)
    )
    there = set(connection.execute(query).scalars())
    new = [source for source in sources if source["row_key"] not in there]
    if new:
        connection.execute(insert(IMPORTED_ROW), new)
    changed = [
        {"row": source["row_key"], "now": source["version"], "place": source["sort_key"]}
        | {"said": source["contents"], "became": source["status"]}
        for source in sources
        if source["row_key"] in there
    ]
    if changed:
        connection.execute(
            update(IMPORTED_ROW)
            .where(IMPORTED_ROW.c.type_id == licence_type.type.id, IMPORTED_ROW.c.row_key == bindparam("row"))
            .values(
                version=bindparam("now"),
                sort_key=bindparam("place"),
                contents=bindparam("said"),
                status=bindparam("became"),
            ),
            changed,
        )
