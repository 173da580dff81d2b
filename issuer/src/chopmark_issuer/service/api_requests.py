"""The bodies of requests to a registry's service, read strictly: JSON of the members below and no other.

    {"type": "CN-GD/…W032", "fields": {"business_name": "示例餐饮有限公司"}, "first_day": "2026-11-22",
     "last_day": "2031-11-21", "holders": [{"name": "示例餐饮有限公司", "code": "9144…", "code_kind": "001"}]}

An optional member is left out, never null; in a change `null` for a field leaves that field out from now on. Days are
`2026-11-22`, moments a day (its beginning, in the zone of the type) or `2026-11-22T09:30:00Z`. Holder keys are JSON Web
Keys. An integer is written without a fraction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from chopmark import strict
from chopmark.closed_object import ClosedObject
from chopmark.errors import FormatError, KeyMaterialError, LimitError, UnsupportedError
from chopmark.keys import PublicKey
from chopmark_service.json_web_key import from_jwk

from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.catalogue.terms import day_begins, read_day
from chopmark_issuer.errors import FieldError
from chopmark_issuer.licences.requests import Amendment, IssueRequest
from chopmark_issuer.lifecycle import State
from chopmark_issuer.service.search import MAX_PAGE, Wanted

MAX_BODY: Final = 64 * 1024
"""Bytes of one licence, or of an act on one; a credential has 8 KiB at most."""
MAX_LINE: Final = MAX_BODY
MAX_REVOKED: Final = 100_000
"""Licences that one request revokes."""
MAX_REVOKE_BODY: Final = 24 * 1024 * 1024
_MAX_FIELDS: Final = 500
_MAX_HOLDERS: Final = 100
_MAX_KEYS: Final = 32
_MAX_REASON: Final = 500
_DAY_LENGTH: Final = 10
_LEAST_OF_NAME: Final = 2
_ROOM: Final = 64


@dataclass(frozen=True, slots=True)
class ActRequest:
    """An act on a licence: from when it has effect, if not from now, and why."""

    effective_from: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RevokeRequest:
    """Licences that are revoked together, for one reason."""

    numbers: tuple[str, ...]
    act: ActRequest
    type_id: str | None = None


def read_issue(data: bytes, *, where: str = "body") -> IssueRequest:
    """Read a new licence.

    Raises:
        FormatError: it is not of the form above.
        FieldError: a day or holder key that is none.
    """
    members = _object(data, where, MAX_LINE)
    request = IssueRequest(
        type_id=_name(members, "type", 100),
        fields=_fields(members, leaves_out=False),
        holders=_holders(members),
        first_day=_day(members, "first_day"),
        last_day=_optional_day(members, "last_day"),
        holder_keys=_holder_keys(members) or (),
        serial=_optional_text(members, "serial", 100),
        number=_optional_text(members, "number", 200),
        issued_on=_optional_day(members, "issued_on"),
    )
    _close(members)
    return request


def read_renewal(data: bytes) -> Amendment:
    """Read a renewal, which names the new term: an end that was forgotten would make the licence one without any.

    Raises:
        FormatError, FieldError: as `read_issue`.
    """
    members = _object(data, "body", MAX_BODY)
    first_day = _day(members, "first_day")
    if not members.has("last_day"):
        raise FormatError(
            "missing", where=members.place("last_day"), remedy="Name the last day, or null for a licence without an end"
        )
    return _amendment(members, first_day=first_day, last_day=_end(members))


def read_change(data: bytes) -> Amendment:
    """Read a change.

    Raises:
        FormatError, FieldError: as `read_issue`.
    """
    members = _object(data, "body", MAX_BODY)
    return _amendment(
        members, first_day=_optional_day(members, "first_day"), last_day=_optional_day(members, "last_day")
    )


def read_act(data: bytes) -> ActRequest:
    """Read an act; `{}` where there is nothing to say.

    Raises:
        FormatError: it is not of the form above.
    """
    members = _object(data, "body", MAX_BODY)
    act = _act(members)
    _close(members)
    return act


def read_revocation(data: bytes) -> RevokeRequest:
    """Read a list of numbers to revoke.

    Raises:
        FormatError: it is not of the form above; `LimitError` for more than 100,000 numbers.
    """
    # Each number takes two quotes and a comma: counted before any of them becomes an object.
    if data.count(b'"') > 2 * MAX_REVOKED + _ROOM or data.count(b",") > 4 * MAX_REVOKED + _ROOM:
        raise LimitError(f"more than {MAX_REVOKED:,} numbers", where="numbers", remedy="Send them as several requests")
    members = _object(data, "body", MAX_REVOKE_BODY)
    listed = members.take("numbers")
    if type(listed) is not list or not listed:
        raise FormatError("not a list of at least one number", where="numbers")
    if len(listed) > MAX_REVOKED:
        raise LimitError(f"more than {MAX_REVOKED:,} numbers", where="numbers", remedy="Send them as several requests")
    if not all(type(number) is str and 0 < len(number) <= 200 for number in listed):
        raise FormatError("a number is a text of 1 to 200 characters", where="numbers")
    for number in listed:
        without_nul(number, where="numbers")
    act = _act(members)
    type_id = _optional_name(members, "type", 100)
    _close(members)
    return RevokeRequest(tuple(listed), act, type_id)


def read_search(data: bytes) -> Wanted:
    """Read what is looked for.

    Raises:
        FormatError: it is not of the form above.
    """
    members = _object(data, "body", MAX_BODY)
    state = _optional_text(members, "state", 20)
    if state is not None and state not in set(State):
        raise FormatError("not a state of a licence", where=members.place("state"))
    name = _optional_name(members, "holder_name", 500)
    if name is not None and len(name) < _LEAST_OF_NAME:
        raise FormatError(f"fewer than {_LEAST_OF_NAME} characters of a name", where=members.place("holder_name"))
    after = _optional_text(members, "after", 18) or "0"
    if not (after.isascii() and after.isdigit()):
        raise FormatError("not the `next` of a page", where=members.place("after"))
    limit = members.take("limit") if members.has("limit") else 50
    if type(limit) is not int or not 0 < limit <= MAX_PAGE:
        raise FormatError(f"not 1 to {MAX_PAGE}", where=members.place("limit"))
    wanted = Wanted(
        number=_optional_name(members, "number", 200),
        holder_code=_optional_name(members, "holder_code", 500),
        holder_name=name,
        state=None if state is None else State(state),
        type_id=_optional_name(members, "type", 100),
        after=int(after),
        limit=limit,
    )
    _close(members)
    return wanted


def moment(text: str, zone: ZoneInfo, *, where: str) -> int:
    """A moment as POSIX seconds: a day, which means its beginning in that zone, or a time in UTC.

    Raises:
        FormatError, FieldError: it is neither.
    """
    if len(text) == _DAY_LENGTH:
        return _bounded(lambda: day_begins(read_day(text, where=where), zone), where)
    return strict.time_decode(text, where=where)


def without_nul(text: str, *, where: str) -> str:
    """A text by which something is looked up, for which not every database takes each character.

    Raises:
        FormatError: it holds a NUL character, which no name of the registry does.
    """
    if "\0" in text:
        raise FormatError("a NUL character", where=where)
    return text


def _bounded(compute: Callable[[], int], where: str) -> int:
    try:
        return compute()
    except OverflowError as error:
        raise FieldError("beyond the years that can be reckoned with", where=where) from error


def _object(data: bytes, where: str, maximum: int) -> ClosedObject:
    value = strict.json_decode(data, where=where, max_size=maximum)
    return ClosedObject(value, "" if where == "body" else where)


def _close(members: ClosedObject) -> None:
    try:
        members.close()
    except UnsupportedError as error:
        raise FormatError(error.what, where=error.where, remedy="The documentation names those that are") from error


def _amendment(members: ClosedObject, *, first_day: date | None, last_day: date | None) -> Amendment:
    amendment = Amendment(
        fields=_fields(members, leaves_out=True) if members.has("fields") else {},
        holders=_holders(members) if members.has("holders") else None,
        first_day=first_day,
        last_day=last_day,
        holder_keys=_holder_keys(members),
        issued_on=_optional_day(members, "issued_on"),
    )
    _close(members)
    return amendment


def _act(members: ClosedObject) -> ActRequest:
    reason = _optional_text(members, "reason", _MAX_REASON)
    if reason is not None and not all(each.isprintable() or each == "\n" for each in reason):
        raise FormatError("a character that cannot be printed", where=members.place("reason"))
    return ActRequest(_optional_text(members, "effective_from", 20), reason)


def _fields(members: ClosedObject, *, leaves_out: bool) -> Mapping[str, object]:
    value = members.take("fields")
    place = members.place("fields")
    if type(value) is not dict or len(value) > _MAX_FIELDS:
        raise FormatError(f"not an object of at most {_MAX_FIELDS} fields", where=place)
    for name, content in value.items():
        if content is None and not leaves_out:
            raise FormatError("null is no value", where=f"{place}.{name[:64]}", remedy="Leave the field out")
    return value


def _holders(members: ClosedObject) -> tuple[Holder, ...]:
    return tuple(_holder(value, place) for value, place in _array(members, "holders", _MAX_HOLDERS))


def _holder(value: object, place: str) -> Holder:
    members = ClosedObject(value, place)
    holder = Holder(
        members.text("name"), _optional_text(members, "code", 500), _optional_text(members, "code_kind", 64)
    )
    _close(members)
    return holder


def _holder_keys(members: ClosedObject) -> tuple[PublicKey, ...] | None:
    if not members.has("holder_keys"):
        return None
    return tuple(_holder_key(value, place) for value, place in _array(members, "holder_keys", _MAX_KEYS))


def _holder_key(value: object, place: str) -> PublicKey:
    try:
        return from_jwk(value, where=place)
    except KeyMaterialError as error:
        raise FieldError(error.what, where=place, remedy=error.remedy) from error


def _array(members: ClosedObject, name: str, maximum: int) -> Iterator[tuple[object, str]]:
    found = list(members.array(name))
    if len(found) > maximum:
        raise LimitError(f"more than {maximum}", where=members.place(name))
    return iter(found)


def _optional_text(members: ClosedObject, name: str, maximum: int) -> str | None:
    return members.text(name, maximum=maximum) if members.has(name) else None


def _name(members: ClosedObject, name: str, maximum: int) -> str:
    return without_nul(members.text(name, maximum=maximum), where=members.place(name))


def _optional_name(members: ClosedObject, name: str, maximum: int) -> str | None:
    return _name(members, name, maximum) if members.has(name) else None


def _day(members: ClosedObject, name: str) -> date:
    return read_day(members.text(name, maximum=_DAY_LENGTH), where=members.place(name))


def _end(members: ClosedObject) -> date | None:
    """The last day, None where it is null: without an end."""
    value = members.take("last_day")
    if value is None:
        return None
    if type(value) is not str:
        raise FormatError("neither a day nor null", where=members.place("last_day"))
    return read_day(value, where=members.place("last_day"))


def _optional_day(members: ClosedObject, name: str) -> date | None:
    return _day(members, name) if members.has(name) else None
