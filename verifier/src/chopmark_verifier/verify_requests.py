"""What is asked of a verifier over HTTP, and how it answers: the bodies of `POST /verify` and `POST /challenges`.

    {"text": "EL1:…"}                          or {"cbor": "base64 of a credential or presentation"}
    with, as one needs them
    "purpose": "年度检查"                       1 to 200 printable characters; a record needs one
    "challenge": "EC1:…"                       the one that was asked
    "with_fields": true                        the answer shows what the licence says
    "record": true                             file a signed record, and answer it
    "record_fields": true                      keep the licence's fields in the record: personal data

A picture is the body itself, and then they stand in the query. An answer:

    {"verdict": {…}, "decided_by": 9, "licence": {…} or null, "record": {"id": "…", "jwt": "…"} or null}

`verdict` is `Verdict.to_json`, in which no field of the licence stands; `licence` is there only where it was asked for
and a department's signature covers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chopmark import strict
from chopmark.challenge import MAX_LIFETIME, MAX_SIZE, Challenge
from chopmark.errors import FormatError
from chopmark.licence_type import LocalisedText
from chopmark.limits import LIMITS
from chopmark.validity import calendar_day
from chopmark.verdict import Verdict
from chopmark.verification_record import check_purpose, field_json, read_unverified

from chopmark_verifier.desk import CHALLENGE_LIFETIME, Inspection
from chopmark_verifier.verdict_json import dumps, verdict_json

MAX_BODY: Final = 64 * 1024
"""Bytes of a JSON body: a presentation of 12 KiB in base64, a challenge and a purpose take 24 KiB."""
MAX_CHALLENGE: Final = len("EC1:") + MAX_SIZE // 2 * 3
MIN_LIFETIME: Final = 10
MAX_FIELDS: Final = 1000
_BREAKS: Final = dict.fromkeys(map(ord, "\r\n\t"))
_FLAGS: Final = ("with_fields", "record", "record_fields")
_OPTIONS: Final = {"purpose", "challenge", *_FLAGS}


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """How something is to be verified; checked when it is made by `parse_verify` or `parse_query`."""

    purpose: str | None = None
    challenge: str | None = None
    with_fields: bool = False
    record: bool = False
    record_fields: bool = False


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What is to be verified: the text of a code, or the CBOR of a credential or presentation."""

    shown: str | bytes
    options: VerifyOptions


@dataclass(frozen=True, slots=True)
class ChallengeRequest:
    """What a challenge is to ask."""

    licence_type: str
    purpose: str
    fields: tuple[int | str, ...]
    lifetime: int


def parse_verify(body: bytes) -> VerifyRequest:
    """Read the JSON body of `POST /verify`.

    Raises:
        FormatError: it is not what the top of this module says.
    """
    document = _object(body)
    shown: str | bytes
    if ("text" in document) == ("cbor" in document):
        raise FormatError("give either `text` or `cbor`", where="body")
    if "text" in document:
        shown = unwrapped(_text(document, "text"))
    else:
        encoded = _text(document, "cbor")
        if len(encoded) > LIMITS.presentation_size * 2:
            raise FormatError(f"above the limit of {LIMITS.presentation_size} bytes", where="body, cbor")
        shown = strict.base64_decode(encoded, where="body, cbor")
    for name in _FLAGS:
        if type(document.get(name, False)) is not bool:
            raise FormatError("it is true or false", where=f"body, {name}")
    unknown = document.keys() - _OPTIONS - {"text", "cbor"}
    if unknown:
        raise _unknown(unknown, known=_OPTIONS | {"text", "cbor"}, where="body")
    flags = {name: document.get(name, False) for name in _FLAGS}
    return VerifyRequest(
        shown,
        check_options(
            _text(document, "purpose") if "purpose" in document else None,
            _text(document, "challenge") if "challenge" in document else None,
            flags,
        ),
    )


def _unknown(names: Iterable[str], *, known: Iterable[str], where: str) -> FormatError:
    shown = ", ".join(each[:60] for each in sorted(names)[:5])
    return FormatError(f"not known here: {shown}", where=where, remedy=f"Known are {', '.join(sorted(known))}")


def unwrapped(text: str) -> str:
    """The text of a code without what mail, chat or a form put into it: breaks and tabs anywhere, blanks at its ends.

    None of CR, LF and tab is a character of base45. A space is one, so that those within stay; at the end of a text
    it cannot stand, as the last character of a group is of the first 33.
    """
    return text.translate(_BREAKS).strip()


def parse_query(query: Mapping[str, str], count: int) -> VerifyOptions:
    """Read the options that stand in a query.

    Args:
        query: its names and values.
        count: how many pairs it has; a name that stands twice is not in the mapping twice.

    Raises:
        FormatError: an unknown name, one that stands twice, or a value that is none.
    """
    unknown = query.keys() - _OPTIONS
    if unknown:
        raise _unknown(unknown, known=_OPTIONS, where="query")
    if count != len(query):
        raise FormatError("a name stands twice", where="query")
    for name in _FLAGS:
        if query.get(name, "false") not in {"true", "false"}:
            raise FormatError("it is true or false", where=f"query, {name}")
    flags = {name: query.get(name) == "true" for name in _FLAGS}
    return check_options(query.get("purpose"), query.get("challenge"), flags)


def check_options(purpose: str | None, challenge: str | None, flags: Mapping[str, bool]) -> VerifyOptions:
    """Put options together, if they go together.

    Raises:
        FormatError: they do not; or the purpose is none, or the challenge too long to be one.
    """
    options = VerifyOptions(purpose, challenge, **flags)
    if purpose is not None:
        check_purpose(purpose)
    if options.record and purpose is None:
        raise FormatError("a record names its purpose", where="purpose", remedy="Say what the licence is checked for")
    if options.record_fields and not options.record:
        raise FormatError("no record is asked for", where="record_fields")
    if challenge is not None and len(challenge) > MAX_CHALLENGE:
        raise FormatError("too long for a challenge", where="challenge")
    return options


def parse_challenge_request(body: bytes) -> ChallengeRequest:
    """Read the body of `POST /challenges`.

    Raises:
        FormatError: it is not `{"type", "purpose"}` with perhaps `fields` and `lifetime`.
    """
    document = _object(body)
    if not {"type", "purpose"} <= document.keys() <= {"type", "purpose", "fields", "lifetime"}:
        raise FormatError("a challenge has a `type`, a `purpose`, and perhaps `fields` and a `lifetime`", where="body")
    fields, lifetime = document.get("fields", []), document.get("lifetime", CHALLENGE_LIFETIME)
    if type(fields) is not list or len(fields) > MAX_FIELDS or not all(type(each) in (int, str) for each in fields):
        raise FormatError(f"a list of at most {MAX_FIELDS} names or ids", where="body, fields")
    if type(lifetime) is not int or not MIN_LIFETIME <= lifetime <= MAX_LIFETIME:
        raise FormatError(f"{MIN_LIFETIME} to {MAX_LIFETIME} seconds", where="body, lifetime")
    return ChallengeRequest(_text(document, "type"), check_purpose(_text(document, "purpose")), tuple(fields), lifetime)


def parse_asked(challenge: str | None) -> Challenge | None:
    """The challenge that an inspection names.

    Raises:
        FormatError: it is none.
    """
    return None if challenge is None else Challenge.parse_text(challenge)


def encode_answer(verdict: Verdict, options: VerifyOptions, inspection: Inspection | None = None) -> bytes:
    """The answer to `POST /verify`, as JSON."""
    record = "null"
    if inspection is not None:
        record = dumps({"id": read_unverified(inspection.record).record.record_id, "jwt": inspection.record})
    licence = dumps(_licence(verdict)) if options.with_fields else "null"
    text = (
        f'{{"verdict":{verdict_json(verdict)},"decided_by":{verdict.deciding.number},"licence":{licence},'
        f'"record":{record}}}'
    )
    return text.encode("utf-8")


def _licence(verdict: Verdict) -> dict[str, Any] | None:
    credential = verdict.credential
    if credential is None or not verdict.is_attested:
        return None
    issuer = verdict.bundle.issuer(credential.claims.issuer) if verdict.bundle is not None else None
    known, ends = verdict.licence_type, credential.claims.expires
    return {
        "type": credential.claims.licence_type,
        "name": _localised(known.name) if known is not None else None,
        "issuer": credential.claims.issuer,
        "issuer_name": _localised(issuer.name) if issuer is not None else None,
        "number": verdict.licence_number(),
        "last_day": None if ends is None else calendar_day(ends - 1, known),
        "fields": [
            {
                "id": shown.id,
                "name": shown.name,
                "label": _localised(shown.label),
                "kind": str(shown.kind),
                "value": field_json(shown.value),
                "text": shown.text(),
            }
            for shown in verdict.fields()
        ],
    }


def _localised(text: LocalisedText) -> dict[str, str]:
    return {"zh-Hans": text.zh_hans, "en": text.en}


def _object(body: bytes) -> dict[str, Any]:
    document = strict.json_decode(body, where="body", max_size=MAX_BODY)
    if not isinstance(document, dict):
        raise FormatError("not an object", where="body")
    return document


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document[name]
    if type(value) is not str:
        raise FormatError("not a text", where=f"body, {name}")
    return value
