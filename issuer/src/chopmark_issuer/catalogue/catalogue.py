"""The catalogue: which licence types there are, and what their fields may hold.

A type comes as a JSON file that `licence-type.schema.json` describes: the licence type of a trust bundle
(`chopmark.licence_type`) with what only the registry needs. A type is never altered: a change of its fields is a new
schema version, and both stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from chopmark import organisation_code
from chopmark.cbor import Value
from chopmark.closed_object import ClosedObject
from chopmark.errors import FormatError
from chopmark.identifiers import region_of
from chopmark.licence_type import Field, FieldDisclosure, FieldKind, HolderBinding, LicenceType
from sqlalchemy import Connection, bindparam, func, insert, select

from chopmark_issuer.catalogue.documents import read_document
from chopmark_issuer.catalogue.terms import day_at, day_of, read_day, term_of, zone_named
from chopmark_issuer.errors import CatalogueError, ConflictError, FieldError, NotFoundError
from chopmark_issuer.lifecycle import Term
from chopmark_issuer.storage.models import LICENCE_TYPE
from chopmark_issuer.storage.row_ids import next_id

GB_T_36904 = "GB/T 36904"
_MAX_LENGTH = 500
_INTEGER_MAX = 2**53
"""Integers pass through JSON on their way."""
_SCHEMAS: Final = select(LICENCE_TYPE.c.definition).where(LICENCE_TYPE.c.type_id == bindparam("type_id"))
_SCHEMA: Final = _SCHEMAS.where(LICENCE_TYPE.c.schema_version == bindparam("schema_version"))
_NEWEST_SCHEMA: Final = _SCHEMAS.order_by(LICENCE_TYPE.c.schema_version.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class CatalogueType:
    """A licence type of the catalogue: what the bundle says of it, and what only the registry needs."""

    type: LicenceType
    zone: ZoneInfo
    max_lengths: Mapping[int, int]
    definition: bytes = field(repr=False, compare=False)

    @property
    def numbered_by_standard(self) -> bool:
        """Whether licence numbers follow GB/T 36904; otherwise the department gives them."""
        return self.type.numbering == GB_T_36904

    @property
    def hides_number(self) -> bool:
        """Whether a holder may withhold the licence number."""
        return self.type.number_disclosure is FieldDisclosure.SELECTIVE

    @property
    def type_code(self) -> str:
        """The id without its region."""
        return self.type.id.partition("/")[2]

    @property
    def selective_fields(self) -> frozenset[int]:
        """Ids of the fields that a holder may withhold."""
        return frozenset(entry.id for entry in self.type.fields if entry.disclosure is FieldDisclosure.SELECTIVE)

    def read_fields(
        self, values: Mapping[str, object], *, carried: Mapping[int, Value] | None = None
    ) -> dict[int, Value]:
        """Hold the values of a licence, by field name, against this type.

        A date is a `date`, or a text such as `2026-11-22`; it becomes days since 1970-01-01. `carried` are the
        fields of the version before, for those that `values` does not name; None as a value leaves a field out.

        Raises:
            FieldError: a field is missing, unknown, or holds what its kind does not allow.
        """
        known = {entry.name: entry for entry in self.type.fields}
        for name in values:
            if name not in known:
                raise FieldError(
                    f"the type {self.type.vct} has no such field",
                    where=f"field {name[:64]}",
                    remedy=f"Its fields are {', '.join(known)}",
                )
        carried = carried or {}
        fields: dict[int, Value] = {}
        for name, entry in known.items():
            value = values.get(name)
            if value is not None:
                fields[entry.id] = self._read(entry, value)
            elif name not in values and entry.id in carried:
                fields[entry.id] = carried[entry.id]
            elif entry.required:
                raise FieldError("the value is missing", where=f"field {name}")
        return fields

    def term(self, first_day: date, last_day: date | None, signed_at: int) -> Term:
        """The moments between which a licence of these days, signed then, is valid.

        Raises:
            FieldError: the days are in the wrong order, or a credential bound to a holder's key would begin later.
        """
        term = term_of(day_of(first_day), None if last_day is None else day_of(last_day), self.zone)
        if self.type.holder is HolderBinding.BOUND and term.begin > signed_at:
            raise FieldError(
                "a credential bound to a holder's key can not be signed before its first day",
                where="first day",
                remedy=f"Issue it on {first_day}, or let it begin today",
            )
        return term

    def day_of_issue(self, issued_on: date | None, at: int) -> int:
        """The day that a licence says it was issued on: today, in the zone of the type, unless an earlier one is given.

        Raises:
            FieldError: it is in the future.
        """
        today = day_at(at, self.zone)
        if issued_on is None:
            return today
        if day_of(issued_on) > today:
            raise FieldError("the day of issue is in the future", where="issued on")
        return day_of(issued_on)

    def _read(self, entry: Field, value: object) -> Value:
        where = f"field {entry.name}"
        longest = self.max_lengths.get(entry.id, _MAX_LENGTH)
        match entry.kind:
            case FieldKind.TEXT:
                return _text(value, longest, where)
            case FieldKind.LIST:
                if not isinstance(value, (list, tuple)) or not value:
                    raise FieldError("not a list of at least one text", where=where)
                return [_text(element, longest, where) for element in value]
            case FieldKind.DATE:
                return _day(value, where)
            case FieldKind.BOOLEAN:
                if type(value) is not bool:
                    raise FieldError("neither true nor false", where=where)
                return value
            case FieldKind.INTEGER:
                if type(value) is not int or abs(value) >= _INTEGER_MAX:
                    raise FieldError("not an integer within ±2^53", where=where)
                return value


def read_type(data: bytes, *, where: str = "licence type") -> CatalogueType:
    """Read a licence type file.

    Raises:
        CatalogueError: it is not one; the place is named.
    """
    document = read_document(data, "licence-type", where=where)
    lengths: dict[int, int] = {}
    fields: list[dict[str, Any]] = []
    for entry in document["fields"]:
        if "max_length" in entry:
            lengths[entry["id"]] = entry["max_length"]
        fields.append({name: value for name, value in entry.items() if name != "max_length"})
    bundled = {name: value for name, value in document.items() if name != "format"}
    try:
        licence_type = LicenceType.from_json(ClosedObject({**bundled, "fields": fields}, where))
    except FormatError as error:
        raise CatalogueError(error.what, where=error.where, remedy=error.remedy) from error
    zone = zone_named(licence_type.zone)
    if licence_type.numbering == GB_T_36904:
        _check_type_code(licence_type.id.partition("/")[2], where)
    return CatalogueType(licence_type, zone, MappingProxyType(lengths), data)


def add_type(connection: Connection, entry: CatalogueType, *, region: str, at: int) -> None:
    """Take a type into the catalogue; the same again changes nothing.

    Raises:
        CatalogueError: it belongs to another region, skips a schema version, or has a blank name or label.
        ConflictError: that schema version is there already, and says something else.
    """
    licence_type = entry.type
    if region_of(licence_type.id) != region:
        raise CatalogueError(
            f"{licence_type.id} is not of the region {region}", where="id", remedy=f"Begin its id with {region}/"
        )
    known = connection.execute(
        select(LICENCE_TYPE.c.definition).where(
            LICENCE_TYPE.c.type_id == licence_type.id, LICENCE_TYPE.c.schema_version == licence_type.schema
        )
    ).scalar()
    if known is not None:
        if read_type(known) != read_type(entry.definition):
            raise ConflictError(
                f"{licence_type.vct} is in the catalogue already and says something else",
                where="schema",
                remedy=f"A change is a new schema version: {licence_type.schema + 1}",
            )
        return
    labels = [
        ("name", licence_type.name),
        *((f"label of the field {item.name}", item.label) for item in licence_type.fields),
    ]
    for place, text in labels:
        if not text.zh_hans.strip() or not text.en.strip():
            raise CatalogueError("it is blank in one of the languages", where=place, remedy="Inspectors read both")
    newest = connection.execute(
        select(func.max(LICENCE_TYPE.c.schema_version)).where(LICENCE_TYPE.c.type_id == licence_type.id)
    ).scalar()
    if licence_type.schema != (newest or 0) + 1:
        raise CatalogueError(
            f"schema version {licence_type.schema} does not follow {newest or 0}", where="schema", remedy="Count from 1"
        )
    connection.execute(
        insert(LICENCE_TYPE).values(
            id=next_id(connection, LICENCE_TYPE),
            type_id=licence_type.id,
            schema_version=licence_type.schema,
            definition=entry.definition,
            added_at=at,
        )
    )


def type_in_use(connection: Connection, type_id: str) -> CatalogueType:
    """The newest schema version of a type.

    Raises:
        NotFoundError: there is no such type.
    """
    definition = connection.execute(_NEWEST_SCHEMA, {"type_id": type_id}).scalar()
    if definition is None:
        raise NotFoundError(
            f"the catalogue has no type {type_id!r}", remedy="Add it: chopmark issuer add-type FILE.json"
        )
    return _stored_type(definition)


def type_of_schema(connection: Connection, type_id: str, schema_version: int) -> CatalogueType:
    """A type in one of its schema versions.

    Raises:
        NotFoundError: there is none.
    """
    definition = connection.execute(_SCHEMA, {"type_id": type_id, "schema_version": schema_version}).scalar()
    if definition is None:
        raise NotFoundError(f"the catalogue has no schema version {schema_version} of {type_id!r}")
    return _stored_type(definition)


def all_types(connection: Connection) -> list[CatalogueType]:
    """Every type in every schema version, in the order they were added."""
    return [
        _stored_type(definition)
        for definition in connection.execute(select(LICENCE_TYPE.c.definition).order_by(LICENCE_TYPE.c.id)).scalars()
    ]


@lru_cache(maxsize=256)
def _stored_type(definition: bytes) -> CatalogueType:
    """Read a type that the catalogue took: each definition once, as holding it against its schema takes long."""
    return read_type(definition)


def _check_type_code(code: str, where: str) -> None:
    try:
        if len(code) != 21 or not code.isalnum() or not code.isascii() or code != code.upper():
            raise FormatError("a type code is an organisation code and 3 letters or digits, upper case")
        organisation_code.validate(code[:18])
    except FormatError as error:
        raise CatalogueError(
            f"{code} is not a type code of GB/T 36904: {error.what}",
            where=f"{where}, id",
            remedy='Correct it, or use the numbering "none"',
        ) from error


def _text(value: object, longest: int, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise FieldError("not a text, or an empty one", where=where)
    if len(value) > longest:
        raise FieldError(f"{len(value)} characters, above the limit of {longest}", where=where)
    if not value.isprintable() and not value.replace("\n", "").isprintable():
        raise FieldError("a character that cannot be printed", where=where)
    return value


def _day(value: object, where: str) -> int:
    if type(value) is date:
        return day_of(value)
    if not isinstance(value, str):
        raise FieldError("not a day of the form 2026-11-22", where=where)
    return day_of(read_day(value, where=where))
