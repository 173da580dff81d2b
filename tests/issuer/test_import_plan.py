from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

from chopmark_issuer.catalogue.catalogue import read_type
from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.importing.import_plan import KnownLicence, KnownRow, LicencePlan, StagedRow, plan_licence
from chopmark_issuer.importing.mapping import Ending, ImportMapping, RowRefusedError, SourceRow, read_mapping
from chopmark_issuer.lifecycle import Act, RecordedAct
from hypothesis import given
from hypothesis import strategies as st

CHICAGO = Path(__file__).parents[2] / "examples" / "chicago"
DEPARTMENT = "US-IL/CHICAGO-BACP"
NOW = 1_480_600_000


def _mapping() -> ImportMapping:
    licence_type = read_type((CHICAGO / "business-licence.type.json").read_bytes())
    return read_mapping((CHICAGO / "mapping.json").read_bytes(), licence_type)


MAPPING = _mapping()


@st.composite
def staged_rows(draw: st.DrawFn) -> list[StagedRow]:
    rows = []
    for number in range(2, 2 + draw(st.integers(1, 6))):
        first_day = date(2010, 1, 1) + timedelta(days=draw(st.integers(0, 3000)))
        last_day = first_day + timedelta(days=draw(st.integers(0, 700)))
        ending = None
        if draw(st.booleans()):
            act = draw(st.sampled_from([Act.CLOSE, Act.REVOKE, Act.SUSPEND, Act.ANNUL]))
            ending = Ending(act, draw(st.none() | st.just(first_day + timedelta(days=5))))
        row: SourceRow | RowRefusedError = SourceRow(
            key=f"row {number}",
            licence="7",
            order=last_day.isoformat(),
            act=draw(st.sampled_from([Act.ISSUE, Act.RENEW, Act.CHANGE])),
            issued_on=first_day,
            first_day=first_day,
            last_day=last_day,
            ending=ending,
            holder=Holder("SAMPLE FOODS INC"),
            fields={},
            contents=json.dumps([number, str(first_day)]).encode(),
            status=repr(ending).encode(),
        )
        if draw(st.integers(0, 9)) == 0:
            row = RowRefusedError("not what it must be", where="LICENSE STATUS")
        place = None if draw(st.integers(0, 19)) == 0 else last_day.isoformat()
        rows.append(StagedRow(number, place, row))
    return rows


def plan(
    rows: list[StagedRow],
    known: KnownLicence | None = None,
    known_rows: dict[str, KnownRow] | None = None,
    *,
    hold_back: bool = False,
) -> LicencePlan:
    return plan_licence(
        "7",
        rows,
        mapping=MAPPING,
        department=DEPARTMENT,
        known=known,
        known_rows=known_rows or {},
        at=NOW,
        hold_back=hold_back,
    )


def applied(rows: list[StagedRow], done: LicencePlan) -> tuple[KnownLicence | None, dict[str, KnownRow]]:
    """What the registry holds after the plan was carried out."""
    if not done.versions:
        return None, {}
    acts = [RecordedAct(each.act, each.version, NOW, each.effective_from) for each in done.versions]
    if done.ending is not None:
        acts.append(RecordedAct(done.ending.act, done.ending.version, NOW, done.ending.effective_from))
    known = KnownLicence(
        1,
        DEPARTMENT,
        "7",
        done.versions[-1].version,
        max(each.row.order for each in done.versions),
        tuple(acts),
        {each.version: each.term for each in done.versions},
    )
    return known, {each.row.key: KnownRow(each.version, each.row.contents, each.row.status) for each in done.versions}


@given(staged_rows())
def test_every_row_is_issued_or_refused_and_versions_follow_each_other(rows: list[StagedRow]) -> None:
    done = plan(rows)
    assert len(done.versions) + len(done.refused) == len(rows)
    assert sorted([each.number for each in done.versions] + [each.number for each in done.refused]) == sorted(
        staged.number for staged in rows
    )
    assert [each.version for each in done.versions] == list(range(1, len(done.versions) + 1))
    assert [each.act is Act.ISSUE for each in done.versions] == [each.version == 1 for each in done.versions]
    begins = [each.term.begin for each in done.versions]
    assert begins == sorted(begins)
    if done.ending is not None:
        assert done.ending.version == len(done.versions)


@given(staged_rows())
def test_the_same_rows_again_make_nothing_new(rows: list[StagedRow]) -> None:
    first = plan(rows)
    known, known_rows = applied(rows, first)
    again = plan(rows, known, known_rows)
    assert (again.versions, again.ending, again.restated, again.changed) == ((), None, (), 0)
    assert again.unchanged == len(first.versions)
    assert [each.number for each in again.refused] == [each.number for each in first.refused]


@given(staged_rows())
def test_where_the_governing_row_is_refused_nothing_of_the_licence_is_taken(rows: list[StagedRow]) -> None:
    ordered = sorted(rows, key=lambda staged: (staged.order or "", staged.number))
    lost = any(isinstance(staged.row, RowRefusedError) and staged.order is None for staged in rows)
    if lost or isinstance(ordered[-1].row, RowRefusedError):
        assert plan(rows).versions == ()


@given(staged_rows())
def test_held_back_a_licence_is_taken_whole_or_not_at_all(rows: list[StagedRow]) -> None:
    taken, held = plan(rows), plan(rows, hold_back=True)
    if not taken.refused:
        assert held == taken
        return
    assert (held.versions, held.ending, len(held.refused)) == ((), None, len(rows))
    if taken.versions:
        reasons = {each.number: each for each in held.refused}
        assert [reasons[each.number] for each in taken.refused] == list(taken.refused)
        others = [each.reason for each in held.refused if each not in taken.refused]
        assert all(reason.startswith("held back: row ") for reason in others)
