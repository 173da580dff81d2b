from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chopmark.status import StatusValue
from chopmark_issuer.catalogue.catalogue import add_type, read_type
from chopmark_issuer.catalogue.departments import Actor
from chopmark_issuer.errors import AuthorityError, CatalogueError, FieldError, ImportFileError, RefusedError
from chopmark_issuer.importing import importing
from chopmark_issuer.importing.import_folder import ImportFolder
from chopmark_issuer.importing.import_history import Counts, ImportRun, import_runs
from chopmark_issuer.importing.import_plan import MAX_ROWS
from chopmark_issuer.importing.import_writing import write_plans
from chopmark_issuer.importing.importing import Importer, ImportReport
from chopmark_issuer.keys.keys import KeyFolder
from chopmark_issuer.lifecycle import Act, State
from chopmark_issuer.storage.models import (
    ACT,
    CREDENTIAL,
    IMPORT_RUN,
    IMPORTED_ROW,
    LICENCE,
    LICENCE_VERSION,
    OUTBOX,
    Table,
)
from sqlalchemy import Engine, event, func, select

pytestmark = pytest.mark.both_databases

MAPPING: dict[str, Any] = {
    "format": "chopmark/import-mapping/v1",
    "encoding": "utf-8",
    "delimiter": ",",
    "dates": "YYYY-MM-DD",
    "row": ["row"],
    "licence": "number",
    "order": ["to"],
    "act": {"column": "act", "values": {"ISSUE": "issue", "RENEW": "renew", "MOVE": "change"}},
    "issued_on": ["from"],
    "first_day": ["from"],
    "last_day": {"columns": ["to"], "when_empty": "refuse"},
    "status": {
        "column": "state",
        "values": {
            "ok": "in force",
            "revoked": {"act": "revoke", "effective_from": ["since"], "when_empty": "refuse"},
            "suspended": {"act": "suspend", "effective_from": ["since"], "when_empty": "refuse"},
            "inactive": {"act": "close", "effective_from": [], "when_empty": "end of term"},
        },
    },
    "holder": {"name": "name"},
    "fields": [{"field": "business_name", "columns": ["name"]}],
}
HEADER = ["row", "number", "act", "from", "to", "state", "since", "name", "remark"]
FIRST = ["1", "S1", "ISSUE", "2024-01-01", "2024-12-31", "ok", "", "示例一", ""]
SECOND = ["2", "S1", "RENEW", "2025-01-01", "2025-12-31", "ok", "", "示例一", ""]
THIRD = ["3", "S1", "RENEW", "2026-01-01", "2026-12-31", "ok", "", "示例一", ""]
OTHER = ["4", "S2", "ISSUE", "2026-03-01", "2027-02-28", "ok", "", "示例二", ""]


def changed(row: list[str], /, **values: str) -> list[str]:
    return [values.get(column, value) for column, value in zip(HEADER, row, strict=True)]


Run = Callable[..., ImportReport]


@pytest.fixture
def run(office: Any, tmp_path: Path) -> Run:
    def import_rows(
        *rows: list[str], mapping: dict[str, Any] = MAPPING, header: list[str] = HEADER, dry: bool = False
    ) -> ImportReport:
        path = tmp_path / "licences.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        importer = Importer(office.database, office.keys, tmp_path / "imports", clock=lambda: office.now)
        data = json.dumps(mapping).encode()
        return importer.run(office.actor(), path, type_id=office.permit_type, mapping_data=data, dry=dry)

    return import_rows


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    assert report.rows == report.issued + report.changed + report.unchanged + report.refused
    return report.issued, report.changed, report.unchanged, report.refused


def registered(office: Any) -> dict[str, int]:
    with office.database.reading() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in Table.metadata.sorted_tables
            if table is not IMPORT_RUN
        }


def runs(office: Any) -> list[ImportRun]:
    with office.database.reading() as connection:
        return import_runs(connection, limit=100)


def statuses(office: Any, number: str) -> list[StatusValue]:
    with office.database.reading() as connection:
        query = (
            select(CREDENTIAL.c.status)
            .join(LICENCE_VERSION, LICENCE_VERSION.c.id == CREDENTIAL.c.version_id)
            .where(LICENCE_VERSION.c.number == number)
            .order_by(LICENCE_VERSION.c.version)
        )
        return [StatusValue(status) for status in connection.execute(query).scalars()]


def test_rows_of_one_licence_become_its_versions_in_the_order_of_their_terms(office: Any, run: Run) -> None:
    assert counts(run(THIRD, OTHER, FIRST, SECOND)) == (4, 0, 0, 0)
    licence, versions = office.registry.licence("S1")
    assert licence.state is State.VALID
    assert [version.first_day for version in versions] == sorted(version.first_day for version in versions)
    assert [version.supersedes for version in versions] == [None, "S1", "S1"]
    assert statuses(office, "S1") == [StatusValue.SUPERSEDED, StatusValue.SUPERSEDED, StatusValue.VALID]
    after = registered(office)
    assert [after[table.name] for table in (LICENCE, LICENCE_VERSION, CREDENTIAL, OUTBOX, ACT, IMPORTED_ROW)] == [
        2, 4, 4, 4, 4, 4,
    ]  # fmt: skip


def test_the_same_file_again_changes_nothing(office: Any, run: Run) -> None:
    run(FIRST, SECOND, THIRD, OTHER)
    before = registered(office)
    assert counts(run(OTHER, THIRD, SECOND, FIRST)) == (0, 0, 4, 0)
    assert registered(office) == before


def test_a_later_edition_adds_terms_and_what_became_of_the_licence(office: Any, run: Run) -> None:
    run(FIRST, SECOND)
    ended = changed(THIRD, state="revoked", since="2026-05-01")
    assert counts(run(FIRST, SECOND, ended)) == (1, 0, 2, 0)
    assert statuses(office, "S1") == [StatusValue.SUPERSEDED, StatusValue.SUPERSEDED, StatusValue.INVALID]
    assert counts(run(FIRST, SECOND, ended)) == (0, 0, 3, 0)


def test_a_status_that_changed_is_recorded_with_its_day(office: Any, run: Run) -> None:
    run(FIRST, SECOND, THIRD)
    assert counts(run(FIRST, SECOND, changed(THIRD, state="suspended", since="2026-05-01"))) == (0, 1, 2, 0)
    assert office.registry.licence("S1")[0].state is State.SUSPENDED
    may_day = 1_777_564_800  # 2026-05-01 00:00 +08:00

    def state(at: int) -> State:
        standing = office.registry.status_as_of("S1", day=at, known_at=office.now)
        assert standing is not None
        return State(standing.state)

    assert (state(may_day - 1), state(may_day)) == (State.VALID, State.SUSPENDED)
    assert counts(run(FIRST, SECOND, THIRD)) == (0, 1, 2, 0)
    assert office.registry.licence("S1")[0].state is State.VALID


def test_the_status_of_an_earlier_term_governs_nothing(office: Any, run: Run) -> None:
    run(changed(FIRST, state="revoked", since="2024-06-01"), SECOND, THIRD)
    assert office.registry.licence("S1")[0].state is State.VALID
    assert counts(run(changed(FIRST, state="suspended", since="2024-06-01"), SECOND, THIRD)) == (0, 1, 2, 0)
    assert office.registry.licence("S1")[0].state is State.VALID


def test_a_licence_without_a_known_day_of_its_end_closes_with_its_term(office: Any, run: Run) -> None:
    run(changed(FIRST, state="inactive"), changed(OTHER, state="inactive"))
    end_of_2024 = 1_735_660_800  # 2025-01-01 00:00 +08:00
    for number, day in (("S1", end_of_2024), ("S2", office.now)):
        before = office.registry.status_as_of(number, day=day - 1, known_at=office.now)
        after = office.registry.status_as_of(number, day=day, known_at=office.now)
        assert (before.state, after.state) == (State.VALID, State.CLOSED)
        assert statuses(office, number) == [StatusValue.INVALID]


def test_a_corrected_row_of_the_term_in_force_makes_a_new_version(office: Any, run: Run) -> None:
    run(FIRST, SECOND)
    assert counts(run(FIRST, changed(SECOND, name="示例壹"))) == (0, 1, 1, 0)
    versions = office.registry.licence("S1")[1]
    assert [version.fields[1] for version in versions] == ["示例一", "示例一", "示例壹"]
    assert counts(run(FIRST, changed(SECOND, name="示例壹"))) == (0, 0, 2, 0)
    report = run(changed(FIRST, name="示例壹"), changed(SECOND, name="示例壹"))
    assert counts(report) == (0, 0, 1, 1)
    assert "superseded" in report.refusals[0].reason


def test_columns_that_the_mapping_does_not_name_may_change(run: Run) -> None:
    run(FIRST)
    assert counts(run(changed(FIRST, remark="whatever"))) == (0, 0, 1, 0)


def test_a_row_that_can_not_be_read_is_refused_alone_unless_it_may_govern(office: Any, run: Run) -> None:
    broken_first = changed(FIRST, act="?")
    report = run(broken_first, SECOND, THIRD, OTHER)
    assert counts(report) == (3, 0, 0, 1)
    assert (report.refusals[0].number, report.refusals[0].column) == (2, "act")
    report = run(["9", "S3", "ISSUE", "2025-01-01", "2025-12-31", "ok", "", "示例三", ""],
                 ["10", "S3", "RENEW", "2026-01-01", "2026-12-31", "?", "", "示例三", ""])  # fmt: skip
    assert counts(report) == (0, 0, 0, 2)
    assert [(refusal.number, refusal.column) for refusal in report.refusals] == [(2, "number"), (3, "state")]
    assert "row 3" in report.refusals[0].reason


def test_a_row_whose_place_can_not_be_told_holds_its_licence_back(run: Run) -> None:
    report = run(changed(FIRST, to="someday"), SECOND)
    assert counts(report) == (0, 0, 0, 2)


def test_nothing_is_put_before_what_the_registry_holds(run: Run) -> None:
    run(SECOND)
    report = run(FIRST, SECOND)
    assert counts(report) == (0, 0, 1, 1)
    assert report.refusals[0].column == "to"


@pytest.mark.parametrize(
    ("row", "column"),
    [
        (changed(SECOND, act="ISSUE"), "act"),
        (changed(SECOND, row="1"), "row"),
        (changed(SECOND, **{"from": "2023-06-01"}), "from"),
        (changed(SECOND, **{"from": "2026-12-01", "to": "2027-12-31"}), "from"),
        (changed(SECOND, state="revoked", since="2020-01-01"), "state"),
    ],
)
def test_a_row_that_does_not_follow_is_refused(run: Run, row: list[str], column: str) -> None:
    report = run(FIRST, row)
    assert column in [refusal.column for refusal in report.refusals]


def test_a_licence_that_was_revoked_is_not_renewed_by_a_file(office: Any, run: Run) -> None:
    run(FIRST, SECOND)
    office.registry.record(office.actor(), "S1", Act.CLOSE, at=office.now)
    report = run(FIRST, SECOND, THIRD)
    assert counts(report) == (0, 0, 2, 1)
    assert "closed" in report.refusals[0].reason


def test_a_licence_that_no_import_made_is_left_alone(office: Any, run: Run) -> None:
    office.registry.issue(office.actor(), office.permit(), at=office.now)
    report = run(changed(FIRST, number="STALL 17"))
    assert counts(report) == (0, 0, 0, 1)
    assert "no such import made" in report.refusals[0].reason


def test_a_row_that_made_another_licence_is_refused(run: Run) -> None:
    run(FIRST)
    report = run(changed(FIRST, number="S9"))
    assert counts(report) == (0, 0, 0, 1)
    assert "another licence" in report.refusals[0].reason


def test_refused_rows_can_be_corrected_and_fed_again(office: Any, run: Run, tmp_path: Path) -> None:
    report = run(FIRST, changed(SECOND, state="?"), OTHER)
    assert counts(report) == (1, 0, 0, 2)
    assert report.refused_file is not None
    assert report.refused_file.stat().st_mode & 0o777 == 0o600
    with report.refused_file.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == [*HEADER, "chopmark_row", "chopmark_column", "chopmark_reason"]
    assert {row[-3] for row in rows} == {"2", "3"}
    corrected = [[*row[:5], "ok", *row[6:]] for row in rows]
    report = run(*corrected, header=header)
    assert counts(report) == (2, 0, 0, 0)
    assert report.refused_file is None
    assert counts(run(FIRST, SECOND, OTHER)) == (0, 0, 3, 0)
    assert not [path for path in (tmp_path / "imports").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("encoding", "codec", "name"),
    [
        ("gb18030", "gb18030", "示例餐饮有限公司"),
        ("windows-1252", "cp1252", "Sample Café €"),
        ("utf-8", "utf-8-sig", "示例餐饮有限公司"),
        ("utf-8", "utf-8", "示例\r餐饮"),
    ],
)
def test_refused_rows_are_in_the_encoding_that_their_mapping_reads(
    office: Any, tmp_path: Path, encoding: str, codec: str, name: str
) -> None:
    path, row = tmp_path / "licences.csv", changed(FIRST, state="?", name="Sample", remark=name)
    with path.open("w", encoding=codec, newline="") as file:
        csv.writer(file, lineterminator="\r\n").writerows([HEADER, row])
    importer = Importer(office.database, office.keys, tmp_path / "imports", clock=lambda: office.now)
    words = {"type_id": office.permit_type, "mapping_data": json.dumps(MAPPING | {"encoding": encoding}).encode()}
    refused = importer.run(office.actor(), path, **words).refused_file
    assert refused is not None
    data = refused.read_bytes()
    assert data[:3] == (b"\xef\xbb\xbf" if codec == "utf-8-sig" else b"row")
    assert name.encode(encoding) in data
    path.write_bytes(data.replace(b",?,", b",ok,"))
    assert counts(importer.run(office.actor(), path, **words)) == (1, 0, 0, 0)


def test_a_reason_that_the_encoding_of_the_file_does_not_have_is_escaped(
    office: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **named: Any) -> None:
        raise FieldError("no 示例")

    monkeypatch.setattr(importing, "write_plans", failing)
    path = tmp_path / "licences.csv"
    with path.open("w", encoding="cp1252", newline="") as file:
        csv.writer(file).writerows([HEADER, changed(FIRST, name="Café")])
    importer = Importer(office.database, office.keys, tmp_path / "imports", clock=lambda: office.now)
    mapping = json.dumps(MAPPING | {"encoding": "windows-1252"}).encode()
    report = importer.run(office.actor(), path, type_id=office.permit_type, mapping_data=mapping)
    assert report.refused_file is not None
    assert r"no \u793a\u4f8b" in report.refused_file.read_text("cp1252")


def test_an_interrupted_import_goes_on_where_it_was(
    office: Any, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importing, "CHUNK", 1)
    real = write_plans
    calls = 0

    def failing(*arguments: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        real(*arguments, **named)
        if calls == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(importing, "write_plans", failing)
    with pytest.raises(KeyboardInterrupt):
        run(FIRST, SECOND, OTHER)
    assert registered(office)[LICENCE.name] == 1
    assert [path.name for path in (tmp_path / "imports").iterdir()] == ["lock"]
    assert counts(run(FIRST, SECOND, OTHER)) == (1, 0, 2, 0)
    last, interrupted = runs(office)
    assert (interrupted.finished_at, interrupted.counts) == (None, Counts(issued=2))
    assert (last.finished_at, last.counts) == (office.now, Counts(issued=1, unchanged=2))


def test_a_licence_that_can_not_be_signed_does_not_stop_the_others(
    office: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = write_plans

    def failing(*arguments: Any, **named: Any) -> None:
        if any(plan.licence == "S1" and plan.versions for plan in named["plans"]):
            raise FieldError("too large for a credential")
        real(*arguments, **named)

    monkeypatch.setattr(importing, "write_plans", failing)
    report = run(FIRST, SECOND, OTHER)
    assert counts(report) == (1, 0, 0, 2)
    assert report.refusals[0].reason == "it can not be signed: too large for a credential"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"a,b\n1,2\n", "lacks"),
        (b"\xff\xfe", "not utf-8"),
    ],
)
def test_a_damaged_file_is_refused_before_anything_is_written(
    office: Any, tmp_path: Path, data: bytes, reason: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(data)
    before = registered(office)
    importer = Importer(office.database, office.keys, tmp_path / "imports", clock=lambda: office.now)
    with pytest.raises(ImportFileError, match=reason):
        importer.run(office.actor(), path, type_id=office.permit_type, mapping_data=json.dumps(MAPPING).encode())
    assert registered(office) == before
    with pytest.raises(CatalogueError):
        importer.run(office.actor(), path, type_id=office.permit_type, mapping_data=b"{}")


def test_only_a_department_with_a_grant_imports_and_only_bearer_types(office: Any, tmp_path: Path) -> None:
    importer = Importer(office.database, office.keys, tmp_path / "imports", clock=lambda: office.now)
    arguments = {"type_id": office.permit_type, "mapping_data": json.dumps(MAPPING).encode()}
    forged = Actor(office.transport, frozenset({office.permit_type}))
    with pytest.raises(AuthorityError):
        importer.run(forged, tmp_path / "x.csv", **arguments)
    with pytest.raises(RefusedError, match="holders' keys"):
        importer.run(office.actor(office.transport), tmp_path / "x.csv", **arguments | {"type_id": office.driver_type})


def test_progress_is_told_up_to_the_last_row(office: Any, tmp_path: Path) -> None:
    path = tmp_path / "licences.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, FIRST, SECOND, OTHER])
    told: list[tuple[str, int, int]] = []
    importer = Importer(office.database, office.keys, tmp_path / "imports", clock=lambda: office.now)
    importer.run(
        office.actor(),
        path,
        type_id=office.permit_type,
        mapping_data=json.dumps(MAPPING).encode(),
        progress=lambda *step: told.append(step),
    )
    assert told[-1] == ("issuing", 3, 3)


def test_a_dry_run_tells_what_an_import_would_do_and_writes_nothing(office: Any, run: Run, tmp_path: Path) -> None:
    run(FIRST)
    rows = (FIRST, SECOND, changed(THIRD, state="revoked", since="2026-05-01"), changed(OTHER, act="?"))
    before = registered(office)
    keys = {path: path.read_bytes() for path in office.folder.glob("keys/*")}
    dry = run(*rows, dry=True)
    assert dry.refused_file == tmp_path / "imports" / "licences.refused-dry-run.csv"
    assert (registered(office), len(runs(office)), dry.run) == (before, 1, None)
    assert {path: path.read_bytes() for path in office.folder.glob("keys/*")} == keys
    report = run(*rows)
    assert counts(report) == counts(dry) == (2, 0, 1, 1)
    assert (report.licences, report.refusals) == (dry.licences, dry.refusals)
    assert report.refused_file is not None
    assert report.refused_file.read_bytes() == dry.refused_file.read_bytes()


def test_a_dry_run_needs_no_private_key_and_finds_what_can_not_be_signed(
    office: Any, definition: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    newer = definition(office.permit_type, numbering="none")
    newer |= {"schema": 2, "fields": [{**entry, "max_length": 4000} for entry in newer["fields"][:2]]}
    with office.database.writing() as connection:
        add_type(connection, read_type(json.dumps(newer).encode()), region="CN-GD", at=office.now)
    path = tmp_path / "licences.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, FIRST, changed(OTHER, remark="|".join(["x" * 3000] * 3))])
    fields = [
        {"field": "business_name", "columns": ["name"]},
        {"field": "scope", "columns": ["remark"], "separator": "|"},
    ]
    mapping = json.dumps(MAPPING | {"fields": fields}).encode()
    reports = []
    for keys, dry in ((KeyFolder(tmp_path / "nothing", b""), True), (office.keys, False)):
        # an index in the status list that is as long to write as the one that a dry run thinks of
        importer = Importer(
            office.database,
            keys,
            tmp_path / "imports",
            clock=lambda: office.now,
            random=lambda size: b"\x0f" + os.urandom(size - 1),
        )
        words = {"type_id": office.permit_type, "mapping_data": mapping, "dry": dry}
        reports.append(importer.run(office.actor(), path, **words))
    assert counts(reports[0]) == counts(reports[1]) == (1, 0, 0, 1)
    assert reports[0].refusals == reports[1].refusals
    assert "too many for a credential" in reports[0].refusals[0].reason


def test_a_second_import_is_refused_while_one_is_under_way(office: Any, run: Run, tmp_path: Path) -> None:
    with ImportFolder(tmp_path / "imports"), pytest.raises(RefusedError, match="under way"):
        run(FIRST)
    assert runs(office) == []
    assert counts(run(FIRST)) == (1, 0, 0, 0)


def test_a_licence_of_more_rows_than_there_are_versions_is_refused_in_parts(office: Any, run: Run) -> None:
    run(FIRST)
    many = [[f"m{row}", "S1", "RENEW", "2026-01-01", "2026-12-31", "ok", "", "示例", ""] for row in range(3 * MAX_ROWS)]
    report = run(FIRST, *many, OTHER)
    assert counts(report) == (1, 0, 1, 3 * MAX_ROWS)
    assert report.licences == 2
    assert {refusal.reason for refusal in report.refusals} == {f"more than {MAX_ROWS} rows of one licence"}


def test_one_licence_that_can_not_be_signed_costs_few_transactions(
    office: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = write_plans
    tries = 0

    def failing(*arguments: Any, **named: Any) -> None:
        nonlocal tries
        tries += 1
        if any(plan.licence == "S77" for plan in named["plans"]):
            raise FieldError("too large for a credential")
        real(*arguments, **named)

    monkeypatch.setattr(importing, "write_plans", failing)
    rows = [changed(FIRST, row=str(number), number=f"S{number}") for number in range(256)]
    assert counts(run(*rows)) == (255, 0, 0, 1)
    assert tries == 1 + 2 * 8  # halved eight times
    assert runs(office)[0].counts == Counts(issued=255, refused=1)


def test_no_query_of_an_import_goes_through_what_the_registry_holds(office: Any, run: Run) -> None:
    run(FIRST)
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert counts(run(FIRST, SECOND)) == (1, 0, 1, 0)
        assert counts(run(OTHER)) == (1, 0, 0, 0)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    large = ("imported_row", "licence", "licence_version", "holder", "act", "credential", "outbox")
    with office.database.reading() as connection:
        for statement, parameters in asked:
            if "max(" in statement or "pg_" in statement:
                continue
            if connection.dialect.name == "sqlite":
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                steps = [row.detail for row in plan if row.detail.split()[1] in large]
                gone_through = [step for step in steps if not step.startswith("SEARCH") or step.endswith("(type_id=?)")]
            else:  # so few rows are always gone through, unless that is said to cost more than anything else
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
                plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
                gone_through = [step for (step,) in plan if any(f"Seq Scan on {name} " in step for name in large)]
            assert not gone_through, statement
