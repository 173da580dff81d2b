"""Import mappings: how a row of a file becomes a term of a licence. Pure; a row that does not fit is refused by column.

A mapping is a JSON file that `import-mapping.schema.json` describes. Dates are read in the one form it names, numbers
as plain decimals; a value that a word list does not hold is refused, never guessed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, Final

from chopmark import strict
from chopmark.cbor import Value
from chopmark.errors import FormatError
from chopmark.licence_type import FieldKind

from chopmark_issuer.catalogue.catalogue import CatalogueType
from chopmark_issuer.catalogue.documents import read_document
from chopmark_issuer.catalogue.holders import Holder, checked_holders
from chopmark_issuer.errors import CatalogueError, FieldError
from chopmark_issuer.lifecycle import Act

_DATE_FORMS: Final = {
    name: re.compile(form, re.ASCII)
    for name, form in (
        ("YYYY-MM-DD", r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"),
        ("YYYY/MM/DD", r"(?P<year>[0-9]{4})/(?P<month>[0-9]{2})/(?P<day>[0-9]{2})"),
        ("YYYYMMDD", r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"),
        ("MM/DD/YYYY", r"(?P<month>[0-9]{2})/(?P<day>[0-9]{2})/(?P<year>[0-9]{4})"),
        ("DD/MM/YYYY", r"(?P<day>[0-9]{2})/(?P<month>[0-9]{2})/(?P<year>[0-9]{4})"),
        ("DD.MM.YYYY", r"(?P<day>[0-9]{2})\.(?P<month>[0-9]{2})\.(?P<year>[0-9]{4})"),
    )
}
_SERIAL: Final = re.compile(r"[0-9A-Z]{7,32}", re.ASCII)
IN_FORCE: Final = "in force"
_LONGEST_KEY: Final = 500
"""Characters: rows are found by it, and a database bounds what it finds by."""


class RowRefusedError(FieldError):
    """A row that does not become a licence: `where` is the column, `what` the reason without the value."""


@dataclass(frozen=True, slots=True)
class StatusRule:
    """What a word of the status column means: an act, from the day in the first column that is not empty."""

    act: Act
    effective_from: tuple[str, ...]
    end_of_term_if_empty: bool


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Which columns make a field."""

    field: str
    kind: FieldKind
    columns: tuple[str, ...]
    join: str
    separator: str | None
    values: Table[str, str] | None


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a licence; from the end of its term where no day is known."""

    act: Act
    effective_from: date | None


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row, read: one term of a licence, its fields as the licence type keeps them, by id.

    `contents` and `status` are digests of what was read, so that a later file shows what changed in which respect.
    """

    key: str
    licence: str
    order: str
    act: Act
    issued_on: date
    first_day: date
    last_day: date | None
    ending: Ending | None
    holder: Holder
    fields: Table[int, Value]
    contents: bytes
    status: bytes


@dataclass(frozen=True, slots=True)
class ImportMapping:
    """A mapping for one licence type, checked against it.

    `status_columns` say what became of a licence, `content_columns` everything else; a file must have all `columns`.
    """

    encoding: str
    delimiter: str
    date_form: str
    row: tuple[str, ...]
    licence: str
    order: tuple[str, ...]
    act_column: str | None
    acts: Table[str, Act]
    issued_on: tuple[str, ...]
    first_day: tuple[str, ...]
    last_day: tuple[str, ...]
    no_end_if_empty: bool
    status_column: str
    statuses: Table[str, StatusRule | None]
    holder_name: str
    holder_code: str | None
    holder_code_kind: str | None
    fields: tuple[FieldRule, ...]
    licence_type: CatalogueType
    content_columns: tuple[str, ...]
    status_columns: tuple[str, ...]
    columns: tuple[str, ...]

    def read_key(self, values: Table[str, str]) -> str:
        """What names the row.

        Raises:
            RowRefusedError: nothing does, or too much.
        """
        parts = [values[column].strip() for column in self.row]
        if not any(parts):
            raise RowRefusedError("nothing names the row", where=self.row[0])
        key = "\x1f".join(parts)
        if len(key) > _LONGEST_KEY:
            raise RowRefusedError(f"what names the row has more than {_LONGEST_KEY} characters", where=self.row[0])
        return key

    def read_licence(self, values: Table[str, str]) -> str:
        """What names the licence.

        Raises:
            RowRefusedError: the column is empty, or holds more than a licence number does.
        """
        licence = values[self.licence].strip()
        if not 0 < len(licence) <= 200 or not licence.isprintable():
            raise RowRefusedError("not a licence number of 1 to 200 printable characters", where=self.licence)
        if self.licence_type.numbered_by_standard and _SERIAL.fullmatch(licence) is None:
            raise RowRefusedError("not a serial of 7 to 32 upper-case letters and digits", where=self.licence)
        return licence

    def read_order(self, values: Table[str, str]) -> str:
        """A text that sorts as the rows of one licence follow each other; an empty date comes first.

        Raises:
            RowRefusedError: a date that is none.
        """
        days = (self._date(values, column) for column in self.order)
        return " ".join("0000-00-00" if day is None else day.isoformat() for day in days)

    def read(self, values: Table[str, str]) -> SourceRow:
        """Read a row, given its values by column.

        Raises:
            RowRefusedError: a column does not hold what it must; the reason does not repeat the value.
        """
        values = {column: values[column].strip() for column in self.columns}
        key, licence, order = self.read_key(values), self.read_licence(values), self.read_order(values)
        act = self._act(values)
        first_day = self._first_date(values, self.first_day)
        if first_day is None:
            raise RowRefusedError("the first day of the term is missing", where=self.first_day[0])
        last_day = self._first_date(values, self.last_day)
        if last_day is None and not self.no_end_if_empty:
            raise RowRefusedError("the last day of the term is missing", where=self.last_day[0])
        if last_day is not None and last_day < first_day:
            raise RowRefusedError("the last day of the term is before the first", where=self.last_day[0])
        issued_on = self._first_date(values, self.issued_on)
        if issued_on is None:
            raise RowRefusedError("the day of issue is missing", where=self.issued_on[0])
        return SourceRow(
            key=key,
            licence=licence,
            order=order,
            act=act,
            issued_on=issued_on,
            first_day=first_day,
            last_day=last_day,
            ending=self._ending(values),
            holder=self._holder(values),
            fields=self._fields(values),
            contents=_digest(values, self.content_columns),
            status=_digest(values, self.status_columns),
        )

    def _act(self, values: Table[str, str]) -> Act:
        if self.act_column is None:
            return self.acts[""]
        try:
            return self.acts[values[self.act_column]]
        except KeyError:
            raise RowRefusedError("a word that the mapping does not name", where=self.act_column) from None

    def _ending(self, values: Table[str, str]) -> Ending | None:
        try:
            rule = self.statuses[values[self.status_column]]
        except KeyError:
            raise RowRefusedError("a word that the mapping does not name", where=self.status_column) from None
        if rule is None:
            return None
        day = self._first_date(values, rule.effective_from)
        if day is None and not rule.end_of_term_if_empty:
            where = rule.effective_from[0] if rule.effective_from else self.status_column
            raise RowRefusedError("the day from which the status has effect is missing", where=where)
        return Ending(rule.act, day)

    def _holder(self, values: Table[str, str]) -> Holder:
        code = "" if self.holder_code is None else values[self.holder_code]
        holder = Holder(values[self.holder_name], code or None, self.holder_code_kind if code else None)
        try:
            checked_holders([holder])
        except FieldError as error:
            column = self.holder_code if error.where == "holder code" else None
            raise RowRefusedError(error.what, where=column or self.holder_name) from error
        return holder

    def _fields(self, values: Table[str, str]) -> dict[int, Value]:
        fields: dict[str, object] = {}
        for rule in self.fields:
            found = [text for column in rule.columns if (text := values[column])]
            if found:
                fields[rule.field] = self._field(rule, rule.join.join(found), values)
        try:
            return self.licence_type.read_fields(fields)
        except FieldError as error:
            columns = {rule.field: rule.columns[0] for rule in self.fields}
            name = error.where.removeprefix("field ")
            raise RowRefusedError(error.what, where=columns.get(name, name)) from error

    def _field(self, rule: FieldRule, text: str, values: Table[str, str]) -> object:
        where = rule.columns[0]
        if rule.values is not None:
            if text not in rule.values:
                raise RowRefusedError("a word that the mapping does not name", where=where)
            text = rule.values[text]
        match rule.kind:
            case FieldKind.DATE:
                return self._date(values, where)
            case FieldKind.LIST:
                parts = text.split(rule.separator) if rule.separator is not None else [text]
                return [part.strip() for part in parts if part]
            case FieldKind.BOOLEAN:
                if text not in ("true", "false"):
                    raise RowRefusedError("neither true nor false", where=where)
                return text == "true"
            case FieldKind.INTEGER:
                try:
                    return strict.decimal(text, where=where)
                except FormatError as error:
                    raise RowRefusedError("not a whole number", where=where) from error
            case FieldKind.TEXT:
                return text

    def _first_date(self, values: Table[str, str], columns: Sequence[str]) -> date | None:
        for column in columns:
            day = self._date(values, column)
            if day is not None:
                return day
        return None

    def _date(self, values: Table[str, str], column: str) -> date | None:
        text = values[column].strip()
        if not text:
            return None
        try:
            return _read_date(self.date_form, text)
        except FieldError as error:
            raise RowRefusedError(error.what, where=column) from None


@lru_cache(maxsize=8192)
def _read_date(form: str, text: str) -> date:
    """Read a date; a file of a million rows has few thousand different ones."""
    match = _DATE_FORMS[form].fullmatch(text)
    if match is None:
        raise FieldError(f"not a date of the form {form}")
    try:
        return date(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError:
        raise FieldError("there is no such day") from None


def read_mapping(data: bytes, licence_type: CatalogueType, *, where: str = "mapping") -> ImportMapping:
    """Read a mapping file for a licence type.

    Raises:
        CatalogueError: it is none, or does not fit the type; the place is named.
    """
    document = read_document(data, "import-mapping", where=where)
    act, last_day, status, holder = (document[name] for name in ("act", "last_day", "status", "holder"))
    fields = tuple(_field_rule(rule, licence_type, where) for rule in document["fields"])
    statuses = {word: _status_rule(rule) for word, rule in status["values"].items()}
    status_columns = _distinct(
        status["column"], *(c for rule in statuses.values() if rule for c in rule.effective_from)
    )
    content_columns = _distinct(
        *document["row"],
        document["licence"],
        *document["order"],
        *([act["column"]] if "column" in act else []),
        *document["issued_on"],
        *document["first_day"],
        *last_day["columns"],
        holder["name"],
        *([holder["code"]] if "code" in holder else []),
        *(column for rule in fields for column in rule.columns),
    )
    mapping = ImportMapping(
        encoding=document["encoding"],
        delimiter=document["delimiter"],
        date_form=document["dates"],
        row=tuple(document["row"]),
        licence=document["licence"],
        order=tuple(document["order"]),
        act_column=act.get("column"),
        acts={"": Act(act["always"])} if "always" in act else {word: Act(name) for word, name in act["values"].items()},
        issued_on=tuple(document["issued_on"]),
        first_day=tuple(document["first_day"]),
        last_day=tuple(last_day["columns"]),
        no_end_if_empty=last_day["when_empty"] == "no end",
        status_column=status["column"],
        statuses=statuses,
        holder_name=holder["name"],
        holder_code=holder.get("code"),
        holder_code_kind=holder.get("code_kind"),
        fields=fields,
        licence_type=licence_type,
        content_columns=content_columns,
        status_columns=status_columns,
        columns=_distinct(*content_columns, *status_columns),
    )
    _check(mapping, where)
    return mapping


def _status_rule(rule: Any) -> StatusRule | None:
    if rule == IN_FORCE:
        return None
    return StatusRule(Act(rule["act"]), tuple(rule["effective_from"]), rule["when_empty"] == "end of term")


def _field_rule(rule: Any, licence_type: CatalogueType, where: str) -> FieldRule:
    name = rule["field"]
    entry = next((entry for entry in licence_type.type.fields if entry.name == name), None)
    if entry is None:
        raise CatalogueError(f"{licence_type.type.vct} has no field {name!r}", where=f"{where}, fields")
    if entry.kind is FieldKind.DATE and (len(rule["columns"]) != 1 or "values" in rule):
        raise CatalogueError("a date comes from one column, as it is", where=f"{where}, field {name}")
    if "separator" in rule and entry.kind is not FieldKind.LIST:
        raise CatalogueError("only a list has a separator", where=f"{where}, field {name}")
    return FieldRule(
        name, entry.kind, tuple(rule["columns"]), rule.get("join", " "), rule.get("separator"), rule.get("values")
    )


def _check(mapping: ImportMapping, where: str) -> None:
    named = [rule.field for rule in mapping.fields]
    for name in named:
        if named.count(name) > 1:
            raise CatalogueError(f"the field {name!r} is mapped twice", where=f"{where}, fields")
    for entry in mapping.licence_type.type.fields:
        if entry.required and entry.name not in named:
            raise CatalogueError(f"the required field {entry.name!r} is not mapped", where=f"{where}, fields")


def _distinct(*columns: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(columns))


def _digest(values: Table[str, str], columns: Sequence[str]) -> bytes:
    parts = [values[column].encode("utf-8") for column in columns]
    return hashlib.sha256(b"".join([len(part).to_bytes(4, "big") + part for part in parts])).digest()
