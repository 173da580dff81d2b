from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from chopmark_issuer.catalogue.catalogue import add_type, all_types, read_type, type_in_use
from chopmark_issuer.errors import CatalogueError, ConflictError, FieldError, NotFoundError
from jsonschema import Draft202012Validator

pytestmark = pytest.mark.both_databases

REPOSITORY = Path(__file__).parents[2]
Definition = Callable[..., dict[str, Any]]


def encoded(definition: dict[str, Any]) -> bytes:
    return json.dumps(definition, ensure_ascii=False).encode()


def test_a_type_is_read_with_what_only_the_registry_needs(office: Any, definition: Definition) -> None:
    entry = read_type(encoded(definition(office.food_type)))
    assert entry.type.vct == f"{office.food_type}@1"
    assert entry.max_lengths == {1: 100}
    assert not entry.hides_number
    assert entry.numbered_by_standard


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"format": "chopmark/licence-type/v2"}, "format"),
        ({"id": "CN-GD"}, "id"),
        ({"id": "CN-GD/11100000MB03271698001"}, "id"),
        ({"id": "CN-GD/short"}, "id"),
        ({"schema": 0}, "schema"),
        ({"zone": "Asia/Atlantis"}, "zone"),
        ({"numbering": "ISO 9999"}, "numbering"),
        ({"challenge": True}, "challenge"),
        ({"number_disclosure": "selective"}, "number_disclosure"),
        ({"surprise": 1}, "surprise"),
        ({"name": {"en": "only English"}}, "name"),
    ],
)
def test_a_type_that_is_none_is_refused_with_the_place(
    definition: Definition, changes: dict[str, Any], place: str
) -> None:
    with pytest.raises(CatalogueError) as caught:
        read_type(encoded(definition("CN-GD/11100000MB03271699001", **changes)), where="type.json")
    assert place in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": 59},
        {"kind": "money"},
        {"name": "Business Name"},
        {"restricts": True},
        {"kind": "date", "max_length": 10},
        {"disclosure": "selective"},
        {"max_length": 0},
    ],
)
def test_a_field_that_is_none_is_refused(definition: Definition, changes: dict[str, Any]) -> None:
    document = definition("CN-GD/11100000MB03271699001")
    document["fields"][1] |= changes
    with pytest.raises(CatalogueError, match=r"fields\[1\]"):
        read_type(encoded(document))


def test_two_fields_of_one_id_are_refused(definition: Definition) -> None:
    document = definition("CN-GD/11100000MB03271699001")
    document["fields"][1]["id"] = 1
    with pytest.raises(CatalogueError, match="same id"):
        read_type(encoded(document))


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"format": 1, "format": 2}', b"\xff", b"null", b"[" * 100_000])
def test_a_file_that_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(CatalogueError):
        read_type(data)


def test_a_changed_type_needs_a_new_schema_version(office: Any, definition: Definition) -> None:
    document = definition(office.food_type)
    with office.database.writing() as connection:
        add_type(connection, read_type(encoded(document)), region="CN-GD", at=office.now)
        document["name"]["en"] = "Renamed"
        with pytest.raises(ConflictError, match="new schema version: 2"):
            add_type(connection, read_type(encoded(document)), region="CN-GD", at=office.now)
        document["schema"] = 3
        with pytest.raises(CatalogueError, match="does not follow"):
            add_type(connection, read_type(encoded(document)), region="CN-GD", at=office.now)
        document["schema"] = 2
        add_type(connection, read_type(encoded(document)), region="CN-GD", at=office.now)
    with office.database.reading() as connection:
        assert type_in_use(connection, office.food_type).type.schema == 2
        assert len(all_types(connection)) == 4


def test_a_type_of_another_region_is_refused(office: Any, definition: Definition) -> None:
    entry = read_type(encoded(definition("CN-SH/11100000MB03271699001")))
    with office.database.writing() as connection, pytest.raises(CatalogueError, match="not of the region"):
        add_type(connection, entry, region="CN-GD", at=office.now)


def test_an_unknown_type_is_named(office: Any) -> None:
    with office.database.reading() as connection, pytest.raises(NotFoundError, match="CN-GD/nothing"):
        type_in_use(connection, "CN-GD/nothing")


def test_values_are_read_by_kind(office: Any, definition: Definition) -> None:
    entry = read_type(encoded(definition(office.food_type)))
    values = {
        "business_name": "示例餐饮有限公司",
        "scope": ["hot meals", "bakery"],
        "opened_on": date(1969, 12, 31),
        "seats": 40,
        "delivers": False,
    }
    assert entry.read_fields(values) == {1: "示例餐饮有限公司", 2: ["hot meals", "bakery"], 3: -1, 4: 40, 5: False}


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({}, "business_name"),
        ({"business_name": ""}, "business_name"),
        ({"business_name": "x" * 101}, "business_name"),
        ({"business_name": "bell\x07"}, "business_name"),
        ({"business_name": 5}, "business_name"),
        ({"business_name": "A", "scope": "hot meals"}, "scope"),
        ({"business_name": "A", "scope": []}, "scope"),
        ({"business_name": "A", "opened_on": "2026-13-01"}, "opened_on"),
        ({"business_name": "A", "opened_on": "20261101"}, "opened_on"),
        ({"business_name": "A", "seats": True}, "seats"),
        ({"business_name": "A", "seats": 2**53}, "seats"),
        ({"business_name": "A", "delivers": 1}, "delivers"),
        ({"business_name": "A", "colour": "red"}, "colour"),
    ],
)
def test_a_value_that_the_type_does_not_allow_is_refused_without_repeating_it(
    definition: Definition, values: dict[str, object], place: str
) -> None:
    entry = read_type(encoded(definition("CN-GD/11100000MB03271699001")))
    with pytest.raises(FieldError) as caught:
        entry.read_fields(values)
    assert place in caught.value.where
    assert "bell" not in str(caught.value)


def test_a_restriction_can_not_be_left_out(office: Any) -> None:
    with office.database.reading() as connection:
        driver = type_in_use(connection, office.driver_type)
    with pytest.raises(FieldError, match="vehicle_class"):
        driver.read_fields({"name": "示例"})


@pytest.mark.parametrize("name", ["licence-type", "import-mapping"])
def test_the_schemas_of_the_package_stand_in_the_specifications(name: str) -> None:
    import chopmark_issuer

    shipped = Path(chopmark_issuer.__file__).parent / "catalogue" / "schemas" / f"{name}.schema.json"
    published = REPOSITORY / "specs" / "schemas" / f"{name}.schema.json"
    assert shipped.read_bytes() == published.read_bytes()
    Draft202012Validator.check_schema(json.loads(shipped.read_bytes()))


@pytest.mark.parametrize(
    "path",
    sorted((REPOSITORY / "examples").rglob("*.type.json")) + sorted((REPOSITORY / "examples" / "types").glob("*.json")),
    ids=str,
)
def test_the_example_types_are_ones(path: Path) -> None:
    assert read_type(path.read_bytes()).type.fields
