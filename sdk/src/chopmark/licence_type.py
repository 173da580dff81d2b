"""A licence type of a trust bundle: its fields, who holds it, how fresh its status must be (`specs/trust-bundle.md`).

Names, labels and kinds of fields come from here, never from the QR. Sample:

    {"id": "CN-GD/11100000000013338W032", "schema": 1, "name": {"zh-Hans": "食品经营许可证", "en": "Food licence"},
     "fields": [{"id": 1, "name": "business_name", "label": {"zh-Hans": "经营者名称", "en": "Business"},
                 "kind": "text", "disclosure": "always", "required": true, "restricts": false}],
     "holder": "bearer", "freshness": "trade", "zone": "Asia/Shanghai", "challenge": false,
     "numbering": "GB/T 36904", "status": true}
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from chopmark.closed_object import ClosedObject
from chopmark.errors import FormatError
from chopmark.identifiers import TYPE_ID

FORBIDDEN_FIELD = 59
"""The simple value under which redaction digests stand; as a field id it would be mistaken for it."""
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_ZONE = re.compile(r"[A-Za-z]+(?:[/_+-][A-Za-z0-9]+)*", re.ASCII)


class FieldKind(StrEnum):
    """What a field's value is; a date is an integer, days since 1970-01-01."""

    TEXT = "text"
    DATE = "date"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    LIST = "list"


_TYPES: dict[FieldKind, type] = {
    FieldKind.TEXT: str,
    FieldKind.DATE: int,
    FieldKind.INTEGER: int,
    FieldKind.BOOLEAN: bool,
    FieldKind.LIST: list,
}
_TEXT_ONLY = frozenset({str})


class FieldDisclosure(StrEnum):
    """Whether the holder may withhold a field."""

    ALWAYS = "always"
    SELECTIVE = "selective"


class HolderBinding(StrEnum):
    """Whether credentials of a type carry the holder's key."""

    BOUND = "bound"
    BEARER = "bearer"


class FreshnessClass(StrEnum):
    """How old status may be (`specs/verification.md`, "Two times")."""

    SAFETY = "safety"
    TRADE = "trade"


@dataclass(frozen=True, slots=True)
class LocalisedText:
    """A name or label in the two languages of the registry."""

    zh_hans: str
    en: str

    @classmethod
    def from_json(cls, members: ClosedObject) -> LocalisedText:
        """Read `{"zh-Hans": …, "en": …}`."""
        text = cls(members.text("zh-Hans"), members.text("en"))
        members.close()
        return text

    def to_json(self) -> dict[str, Any]:
        """Write what `from_json` reads."""
        return {"zh-Hans": self.zh_hans, "en": self.en}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a licence; one that `restricts` (conditions, disqualifications) is always shown and required."""

    id: int
    name: str
    label: LocalisedText
    kind: FieldKind
    disclosure: FieldDisclosure
    required: bool
    restricts: bool
    value_type: type = dataclasses.field(init=False, repr=False, compare=False)
    """What a value of this kind is in Python; the elements of a list are texts."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value_type", _TYPES[self.kind])

    def accepts(self, value: object) -> bool:
        """Whether a value is of this field's kind; a list is one of texts."""
        if type(value) is not self.value_type:
            return False
        return type(value) is not list or _TEXT_ONLY.issuperset(map(type, value))

    @classmethod
    def from_json(cls, members: ClosedObject) -> Field:
        """Read a field."""
        entry = cls(
            members.integer("id", minimum=0, maximum=2**32 - 1),
            members.text("name", pattern=_FIELD_NAME),
            LocalisedText.from_json(members.object("label")),
            members.choice("kind", FieldKind),
            members.choice("disclosure", FieldDisclosure),
            members.flag("required"),
            members.flag("restricts"),
        )
        members.close()
        if entry.id == FORBIDDEN_FIELD:
            raise FormatError("59 marks redacted fields and is no field id", where=members.place("id"))
        if entry.restricts and not (entry.required and entry.disclosure is FieldDisclosure.ALWAYS):
            raise FormatError(
                "a field that restricts must be required and always shown",
                where=members.where,
                remedy='set "disclosure": "always" and "required": true',
            )
        return entry

    def to_json(self) -> dict[str, Any]:
        """Write what `from_json` reads."""
        return {
            "id": self.id,
            "name": self.name,
            "label": self.label.to_json(),
            "kind": self.kind.value,
            "disclosure": self.disclosure.value,
            "required": self.required,
            "restricts": self.restricts,
        }


@dataclass(frozen=True, slots=True)
class LicenceType:
    """One schema version of a licence type; `status` is false where the type exempts its credentials from it.

    `number_disclosure` says whether the holder may withhold the licence number; in JSON it is left out for `always`.
    """

    id: str
    schema: int
    name: LocalisedText
    fields: tuple[Field, ...]
    holder: HolderBinding
    freshness: FreshnessClass
    zone: str
    challenge: bool
    numbering: str
    status: bool
    number_disclosure: FieldDisclosure = FieldDisclosure.ALWAYS
    field_by_id: Mapping[int, Field] = dataclasses.field(init=False, repr=False, compare=False)
    always_shown: tuple[Field, ...] = dataclasses.field(init=False, repr=False, compare=False)
    vct: str = dataclasses.field(init=False, repr=False, compare=False)
    """The claim that names this type and schema version: `CN-GD/11100000000013338W032@1`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "field_by_id", MappingProxyType({entry.id: entry for entry in self.fields}))
        shown = tuple(entry for entry in self.fields if entry.disclosure is FieldDisclosure.ALWAYS)
        object.__setattr__(self, "always_shown", shown)
        object.__setattr__(self, "vct", f"{self.id}@{self.schema}")

    def field(self, identifier: int) -> Field | None:
        """The field with that id."""
        return self.field_by_id.get(identifier)

    @classmethod
    def from_json(cls, members: ClosedObject) -> LicenceType:
        """Read a licence type."""
        identifier = members.text("id", pattern=TYPE_ID)
        schema = members.integer("schema", minimum=1, maximum=999_999_999)
        name = LocalisedText.from_json(members.object("name"))
        fields = tuple(Field.from_json(ClosedObject(value, where)) for value, where in members.array("fields"))
        for attribute in ("id", "name"):
            if len({getattr(entry, attribute) for entry in fields}) != len(fields):
                raise FormatError(f"two fields have the same {attribute}", where=members.where)
        licence_type = cls(
            identifier,
            schema,
            name,
            fields,
            members.choice("holder", HolderBinding),
            members.choice("freshness", FreshnessClass),
            members.text("zone", pattern=_ZONE),
            members.flag("challenge"),
            members.text("numbering"),
            members.flag("status"),
            members.choice("number_disclosure", FieldDisclosure)
            if members.has("number_disclosure")
            else FieldDisclosure.ALWAYS,
        )
        if licence_type.holder is HolderBinding.BEARER and (
            len(licence_type.always_shown) < len(fields) or licence_type.number_disclosure is not FieldDisclosure.ALWAYS
        ):
            raise FormatError("a bearer type hides nothing", where=members.where)
        if licence_type.challenge and licence_type.holder is HolderBinding.BEARER:
            raise FormatError("a bearer type has no holder key to answer a challenge", where=members.place("challenge"))
        members.close()
        return licence_type

    def to_json(self) -> dict[str, Any]:
        """Write what `from_json` reads."""
        value: dict[str, Any] = {
            "id": self.id,
            "schema": self.schema,
            "name": self.name.to_json(),
            "fields": [entry.to_json() for entry in self.fields],
            "holder": self.holder.value,
            "freshness": self.freshness.value,
            "zone": self.zone,
            "challenge": self.challenge,
            "numbering": self.numbering,
            "status": self.status,
        }
        if self.number_disclosure is FieldDisclosure.SELECTIVE:
            value["number_disclosure"] = self.number_disclosure.value
        return value
