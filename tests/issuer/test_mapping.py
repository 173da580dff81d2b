from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from chopmark_issuer.catalogue.catalogue import CatalogueType, read_type
from chopmark_issuer.errors import CatalogueError
from chopmark_issuer.importing.mapping import Ending, ImportMapping, RowRefusedError, read_mapping
from chopmark_issuer.lifecycle import Act
from hypothesis import given
from hypothesis import strategies as st

EXAMPLES = Path(__file__).parents[2] / "examples"
Definition = Callable[..., dict[str, Any]]

MAPPING: dict[str, Any] = {
    "format": "chopmark/import-mapping/v1",
    "encoding": "utf-8",
    "delimiter": ",",
    "dates": "DD.MM.YYYY",
    "row": ["number", "from"],
    "licence": "number",
    "order": ["to", "from"],
    "act": {"column": "what", "values": {"new": "issue", "again": "renew", "moved": "change"}},
    "issued_on": ["issued", "from"],
    "first_day": ["from"],
    "last_day": {"columns": ["to"], "when_empty": "no end"},
    "status": {
        "column": "state",
        "values": {
            "ok": "in force",
            "gone": {"act": "close", "effective_from": ["since"], "when_empty": "end of term"},
            "taken": {"act": "revoke", "effective_from": ["since"], "when_empty": "refuse"},
        },
    },
    "holder": {"name": "holder", "code": "code", "code_kind": "001"},
    "fields": [
        {"field": "business_name", "columns": ["holder"]},
        {"field": "scope", "columns": ["scope"], "separator": "|"},
        {"field": "opened_on", "columns": ["opened"]},
        {"field": "seats", "columns": ["seats"]},
        {"field": "delivers", "columns": ["delivers"], "values": {"yes": "true", "no": "false"}},
    ],
}
ROW = {
    "number": " STALL 7 ",
    "from": "01.02.2026",
    "to": "31.01.2027",
    "what": "new",
    "issued": "",
    "state": "ok",
    "since": "",
    "holder": "示例餐饮有限公司",
    "code": "11440000MB2D0P8Q30",
    "scope": "hot meals | bakery |",
    "opened": "",
    "seats": "12",
    "delivers": "yes",
}


@pytest.fixture
def stall(definition: Definition) -> CatalogueType:
    return read_type(json.dumps(definition("CN-GD/stall-permit", numbering="none")).encode())


@pytest.fixture
def mapping(stall: CatalogueType) -> ImportMapping:
    return read_mapping(json.dumps(MAPPING).encode(), stall)


def test_a_row_is_read_as_a_term_of_a_licence(mapping: ImportMapping) -> None:
    row = mapping.read(ROW)
    assert (row.key, row.licence, row.order) == ("STALL 7\x1f01.02.2026", "STALL 7", "2027-01-31 2026-02-01")
    assert (row.act, row.first_day, row.last_day) == (Act.ISSUE, date(2026, 2, 1), date(2027, 1, 31))
    assert row.issued_on == date(2026, 2, 1)
    assert row.ending is None
    assert (row.holder.code, row.holder.code_kind) == ("11440000MB2D0P8Q30", "001")
    assert row.fields == {1: "示例餐饮有限公司", 2: ["hot meals", "bakery"], 4: 12, 5: True}


def test_what_became_of_a_licence_is_read_with_its_day(mapping: ImportMapping) -> None:
    assert mapping.read(ROW | {"state": "taken", "since": "05.06.2026"}).ending == Ending(Act.REVOKE, date(2026, 6, 5))
    assert mapping.read(ROW | {"state": "gone"}).ending == Ending(Act.CLOSE, None)
    assert mapping.read(ROW | {"to": ""}).last_day is None


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"number": ""}, "number"),
        ({"number": "x" * 201}, "number"),
        ({"from": ""}, "from"),
        ({"from": "2026-02-01"}, "from"),
        ({"from": "30.02.2026"}, "from"),
        ({"from": "01.02.２０２６"}, "from"),
        ({"to": "31.01.2026"}, "to"),
        ({"what": "else"}, "what"),
        ({"state": ""}, "state"),
        ({"state": "taken"}, "since"),
        ({"holder": " "}, "holder"),
        ({"holder": "x" * 101}, "holder"),
        ({"code": "11440000MB2D0P8Q31"}, "code"),
        ({"seats": "-1"}, "seats"),
        ({"seats": "1_0"}, "seats"),
        ({"delivers": "maybe"}, "delivers"),
        ({"opened": "soon"}, "opened"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_column_without_its_value(
    mapping: ImportMapping, changes: dict[str, str], column: str
) -> None:
    with pytest.raises(RowRefusedError) as caught:
        mapping.read(ROW | changes)
    assert caught.value.where == column
    for value in changes.values():
        assert not value.strip() or value not in str(caught.value.what)


def test_a_row_that_nothing_names_is_refused(mapping: ImportMapping) -> None:
    with pytest.raises(RowRefusedError, match="nothing names"):
        mapping.read_key(ROW | {"number": "", "from": " "})


def test_contents_and_status_change_apart(mapping: ImportMapping) -> None:
    before = mapping.read(ROW)
    ended = mapping.read(ROW | {"state": "taken", "since": "05.06.2026"})
    renamed = mapping.read(ROW | {"holder": "另一示例有限公司"})
    untrimmed = mapping.read(ROW | {"holder": " 示例餐饮有限公司 "})
    assert (before.contents == ended.contents, before.status == ended.status) == (True, False)
    assert (before.contents == renamed.contents, before.status == renamed.status) == (False, True)
    assert (before.contents, before.status) == (untrimmed.contents, untrimmed.status)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "chopmark/import-mapping/v2"),
        (("encoding",), "utf-16"),
        (("dates",), "D.M.YY"),
        (("row",), []),
        (("act",), {"always": "suspend"}),
        (("act",), {"column": "what", "values": {}}),
        (("last_day", "when_empty"), "guess"),
        (("status", "values"), {"ok": {"act": "renew", "effective_from": [], "when_empty": "refuse"}}),
        (("holder",), {"name": "holder", "code": "code"}),
        (("fields",), [{"field": "scope", "columns": ["scope"]}]),
        (("fields",), [*MAPPING["fields"], {"field": "colour", "columns": ["scope"]}]),
        (("fields",), [*MAPPING["fields"], {"field": "seats", "columns": ["scope"]}]),
        (("fields",), [{"field": "business_name", "columns": ["holder"], "separator": "|"}]),
        (("surprise",), 1),
    ],
)
def test_a_mapping_that_is_none_or_does_not_fit_the_type_is_refused(
    stall: CatalogueType, path: tuple[str, ...], value: object
) -> None:
    document = json.loads(json.dumps(MAPPING))
    target = document
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    with pytest.raises(CatalogueError):
        read_mapping(json.dumps(document).encode(), stall)


def test_a_type_numbered_by_standard_takes_serials_only(definition: Definition) -> None:
    food = read_type(json.dumps(definition("CN-GD/11100000MB03271699001")).encode())
    mapping = read_mapping(json.dumps(MAPPING).encode(), food)
    assert mapping.read_licence({"number": "2430599"}) == "2430599"
    with pytest.raises(RowRefusedError, match="serial"):
        mapping.read_licence({"number": "STALL 7"})


@pytest.mark.parametrize("name", ["chicago", "new-york"])
def test_the_example_mappings_fit_their_types(name: str) -> None:
    licence_type = read_type((EXAMPLES / name / "business-licence.type.json").read_bytes())
    assert read_mapping((EXAMPLES / name / "mapping.json").read_bytes(), licence_type).columns


@given(st.fixed_dictionaries({column: st.text(max_size=12) for column in ROW}))
def test_whatever_a_row_holds_it_is_read_or_refused_by_a_column(values: dict[str, str]) -> None:
    try:
        places = {HYPOTHESIS_MAPPING.read(values).licence and "number"}
    except RowRefusedError as error:
        places = {error.where}
    assert places <= ROW.keys()


def _hypothesis_mapping() -> ImportMapping:
    text = (EXAMPLES / "chicago" / "business-licence.type.json").read_text(encoding="utf-8")
    licence_type = read_type(text.encode())
    fields = [
        {"field": entry.name, "columns": ["opened" if entry.kind == "date" else "holder"]}
        for entry in licence_type.type.fields
    ]
    return read_mapping(json.dumps(MAPPING | {"fields": fields}).encode(), licence_type)


HYPOTHESIS_MAPPING = _hypothesis_mapping()
