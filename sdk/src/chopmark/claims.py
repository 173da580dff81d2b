"""What a credential says: its claims set, a CBOR map by claim key.

Specifications: RFC 8392 (CWT), RFC 8747 (`cnf`), draft-ietf-oauth-status-list (`status`), draft-ietf-spice-sd-cwt
(redaction), narrowed by `specs/credential.md`.

    1       iss      `<region>/<organisation code>`
    2       sub      the licence number, 1–200 printable characters; absent where it is redacted
    4, 5, 6 exp, nbf, iat   POSIX seconds; `iat`, the time of signing, is required
    7       cti      16 random bytes, required in a bearer credential
    8       cnf      {1: COSE_Key}, of a holder-bound credential only
    11      vct      `<region>/<type code>@<schema version>`
    65535   status   {"status_list": {"idx": n, "uri": "https://…"}}
    -65537  fields   {field id: value}, absent rather than empty
    -65538  usage    {1: role, 2: purpose, 3: until, 4: medium}, at least one of them; absent = the holder's own,
                     for any purpose

Role is `agent`, `copy` or `paper`, medium `paper` or `electronic`, purpose 1–200 printable characters, until POSIX
seconds. Under the key simple(59) stand the SHA-256 digests of what is redacted: at the top level one, of `sub`; in
the fields map one for each redacted field; nowhere else, and in no bearer credential.

    {1: "CN-GD/11440000MB2D0P8Q3X", 2: "1.2.156.3005.2.…", 6: 1795339800, 7: h'52a4…', 11: "CN-GD/…W032@3",
     65535: {"status_list": {"idx": 4711, "uri": "https://cn-gd.example/status/1"}}, -65537: {1: "示例餐饮有限公司"}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from chopmark.cbor import REDACTED, Key, Tagged, Value
from chopmark.errors import FormatError, KeyMaterialError, UnsupportedError
from chopmark.identifiers import ISSUER
from chopmark.keys import Algorithm, PublicKey

ISS: Final = 1
SUB: Final = 2
AUD: Final = 3
EXP: Final = 4
NBF: Final = 5
IAT: Final = 6
CTI: Final = 7
CNF: Final = 8
NONCE: Final = 10
VCT: Final = 11
CNONCE: Final = 39
STATUS: Final = 65535
FIELDS: Final = -65537
USAGE: Final = -65538

_KNOWN: Final = frozenset({ISS, SUB, EXP, NBF, IAT, CTI, CNF, VCT, STATUS, FIELDS, USAGE, REDACTED})
_COSE_KEY: Final = 1
_ROLE, _PURPOSE, _UNTIL, _MEDIUM = 1, 2, 3, 4

ROLES: Final = frozenset({"agent", "copy", "paper"})
"""Who or what a credential for a limited use is made for: an agent, an annotated copy, the paper form."""
MEDIA: Final = frozenset({"paper", "electronic"})

EARLIEST: Final = -62_135_596_800
"""0001-01-01T00:00:00Z, the first moment that can be written as RFC 3339."""
LATEST: Final = 253_402_300_799
"""9999-12-31T23:59:59Z, the last."""
TEXT_LENGTH: Final = 200
"""Characters of a licence number or a purpose."""
_URI_LENGTH: Final = 512
_IDENTIFIER_LENGTH: Final = 81
"""Characters of the longest `vct`: region, `/`, 64 of the type code, `@`, nine digits."""
_LICENCE_TYPE: Final = re.compile(rf"(?:{ISSUER.pattern})@[1-9][0-9]{{0,8}}", re.ASCII)
_STATUS_INDEXES: Final = 2**32
_SCALARS: Final = frozenset({int, str, bytes, bool})
_NO_FIELDS: Final[Mapping[int, Value]] = {}
_NOTHING: Final[frozenset[bytes]] = frozenset()


class Kind(Enum):
    """The two kinds of credential, by the `typ` that tells them apart."""

    HOLDER_BOUND = 293
    """An SD-CWT: names its holder's key, shown inside a key binding token, may hide fields."""
    BEARER = 61
    """A plain CWT: whoever has it may show it, all of it in clear."""


@dataclass(frozen=True, slots=True)
class StatusReference:
    """Where the status stands: the `index`-th entry of the list at `uri`."""

    index: int
    uri: str


@dataclass(frozen=True, slots=True)
class Usage:
    """A use that a credential is limited to; at least one member is set. `until` is POSIX seconds."""

    role: str | None = None
    purpose: str | None = None
    until: int | None = None
    medium: str | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """What the issuer says, as far as it stands in clear.

    Times are POSIX seconds; `licence_type` is the `vct`, type and schema version; `licence_number` is None where
    it is redacted. `fields` are the field values by field id.
    """

    issuer: str
    licence_type: str
    issued_at: int
    licence_number: str | None
    not_before: int | None = None
    expires: int | None = None
    credential_id: bytes | None = None
    holder_key: PublicKey | None = None
    status: StatusReference | None = None
    usage: Usage | None = None
    fields: Mapping[int, Value] = field(default_factory=dict)


class ReadClaims(NamedTuple):
    """A claims set as read: the claims in clear, the digests of the redacted ones, and what is not known."""

    claims: Claims
    redacted_claims: frozenset[bytes]
    redacted_fields: frozenset[bytes]
    unknown: tuple[str, ...]


def write_claims(claims: Claims) -> dict[Key, Value]:
    """The claims set as a CBOR map, nothing of it redacted."""
    payload: dict[Key, Value] = {ISS: claims.issuer, IAT: claims.issued_at, VCT: claims.licence_type}
    if claims.licence_number is not None:
        payload[SUB] = claims.licence_number
    if claims.expires is not None:
        payload[EXP] = claims.expires
    if claims.not_before is not None:
        payload[NBF] = claims.not_before
    if claims.credential_id is not None:
        payload[CTI] = claims.credential_id
    if claims.holder_key is not None:
        payload[CNF] = {_COSE_KEY: claims.holder_key.to_cose()}
    if claims.status is not None:
        payload[STATUS] = {"status_list": {"idx": claims.status.index, "uri": claims.status.uri}}
    if claims.usage is not None:
        usage = claims.usage
        members = ((_ROLE, usage.role), (_PURPOSE, usage.purpose), (_UNTIL, usage.until), (_MEDIUM, usage.medium))
        payload[USAGE] = {key: value for key, value in members if value is not None}
    if claims.fields:
        payload[FIELDS] = dict(claims.fields.items())
    return payload


def read_claims(payload: Value, kind: Kind) -> ReadClaims:
    """Read the claims set of a credential of this kind.

    Raises:
        FormatError: a claim is missing, of the wrong form, or does not belong into this kind; the error names it.
        UnsupportedError: a holder key of an algorithm that holders do not use.
    """
    if type(payload) is not dict:
        raise FormatError("the payload is not a map", where="claims")
    get = payload.get
    issuer = get(ISS)
    if type(issuer) is not str or not is_issuer(issuer):
        raise _fault(payload, ISS, "iss", "not of the form CN-GD/11440000MB2D0P8Q3X")
    licence_type = get(VCT)
    if type(licence_type) is not str or not is_licence_type(licence_type):
        raise _fault(payload, VCT, "vct", "not of the form CN-GD/11100000000013338W032@3")
    issued_at = get(IAT)
    if type(issued_at) is not int or not EARLIEST <= issued_at <= LATEST:
        raise _fault(payload, IAT, "iat", "not a time in whole seconds")
    expires = get(EXP)
    if expires is not None and (type(expires) is not int or not EARLIEST <= expires <= LATEST):
        raise _fault(payload, EXP, "exp", "not a time in whole seconds")
    not_before = get(NBF)
    if not_before is not None and (type(not_before) is not int or not EARLIEST <= not_before <= LATEST):
        raise _fault(payload, NBF, "nbf", "not a time in whole seconds")
    if not_before is not None and expires is not None and not_before >= expires:
        raise _fault(payload, NBF, "nbf", "not before exp")
    credential_id = get(CTI)
    if credential_id is not None and (type(credential_id) is not bytes or len(credential_id) != 16):
        raise _fault(payload, CTI, "cti", "not 16 bytes")

    holder_key: PublicKey | None = None
    redacted_claims = _NOTHING
    if kind is Kind.HOLDER_BOUND:
        holder_key = _holder_key(payload)
        # The draft orders these times for an SD-CWT. A plain CWT has no such rule: the paper of a licence that
        # begins next month, or has ended, may be signed today.
        if not_before is not None and not_before > issued_at:
            raise _fault(payload, NBF, "nbf", "later than iat")
        if expires is not None and issued_at >= expires:
            raise _fault(payload, EXP, "exp", "not later than iat")
        if REDACTED in payload:
            redacted_claims = _digests(payload[REDACTED], "claims")
            if len(redacted_claims) != 1 or SUB in payload:
                raise FormatError("no claim but sub may be redacted", where="claims, simple(59)")
    else:
        if CNF in payload:
            raise _fault(payload, CNF, "cnf", "a bearer credential names no holder key")
        if REDACTED in payload:
            raise FormatError("a bearer credential has nothing redacted", where="claims, simple(59)")
        if credential_id is None:
            raise _fault(payload, CTI, "cti", "required")

    licence_number = None
    if SUB in payload or not redacted_claims:
        licence_number = read_licence_number(get(SUB), where="claim sub (2)")
    unknown: list[str] = []
    status = _status(payload[STATUS], unknown) if STATUS in payload else None
    usage = _usage(payload[USAGE], unknown) if USAGE in payload else None
    fields = _NO_FIELDS
    redacted_fields = _NOTHING
    if FIELDS in payload:
        fields, redacted_fields = _fields(payload[FIELDS])
        if redacted_fields:
            if kind is Kind.BEARER:
                raise FormatError("a bearer credential has nothing redacted", where="claim fields (-65537), simple(59)")
            if not redacted_fields.isdisjoint(redacted_claims):
                raise FormatError("one digest in two places", where="claim fields (-65537), simple(59)")
    if not payload.keys() <= _KNOWN:
        unknown.extend(f"claim {str(key)[:40]}" for key in payload if key not in _KNOWN)
    claims = Claims(
        issuer,
        licence_type,
        issued_at,
        licence_number,
        not_before,
        expires,
        credential_id,
        holder_key,
        status,
        usage,
        fields,
    )
    return ReadClaims(claims, redacted_claims, redacted_fields, tuple(unknown))


def is_issuer(text: str) -> bool:
    """Whether `text` has the form of an issuer id: `<region>/<organisation code>`."""
    return len(text) <= _IDENTIFIER_LENGTH and _is_issuer(text)


def is_licence_type(text: str) -> bool:
    """Whether `text` has the form of a `vct`: `<region>/<type code>@<schema version from 1>`."""
    return len(text) <= _IDENTIFIER_LENGTH and _is_licence_type(text)


# Few issuers and types make most licences. Only short texts get here, so strangers cannot fill the memory.
@lru_cache(maxsize=1024)
def _is_issuer(text: str) -> bool:
    return ISSUER.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _is_licence_type(text: str) -> bool:
    return _LICENCE_TYPE.fullmatch(text) is not None


def read_licence_number(value: object, *, where: str) -> str:
    """Check that a claim is a licence number: 1–200 printable characters.

    Raises:
        FormatError: it is not.
    """
    if type(value) is not str:
        raise FormatError("missing, or not text", where=where)
    if not 0 < len(value) <= TEXT_LENGTH or not value.isprintable():
        raise FormatError(f"not 1 to {TEXT_LENGTH} printable characters", where=where)
    return value


def check_field_value(value: Value, *, where: str) -> None:
    """Check that the value of a field is in clear and holds no signed message.

    Raises:
        FormatError: something inside is redacted, or tagged.
    """
    if type(value) in _SCALARS:
        return
    if type(value) is list:
        for element in value:
            if type(element) not in _SCALARS:
                check_field_value(element, where=where)
    elif type(value) is dict and REDACTED not in value:
        for element in value.values():
            check_field_value(element, where=where)
    else:
        what = "a COSE_Sign1 inside a field" if type(value) is Tagged else "a part of a field is redacted"
        raise FormatError(what, where=where, remedy="Only whole fields are redacted.")


def _fault(payload: Mapping[Key, Value], claim: int, name: str, what: str) -> FormatError:
    return FormatError(what if claim in payload else "missing", where=f"claim {name} ({claim})")


def _holder_key(payload: Mapping[Key, Value]) -> PublicKey:
    confirmation = payload.get(CNF)
    if type(confirmation) is not dict or len(confirmation) != 1 or _COSE_KEY not in confirmation:
        raise _fault(payload, CNF, "cnf", "not exactly one COSE_Key, {1: …}")
    try:
        key = PublicKey.from_cose(confirmation[_COSE_KEY])
    except KeyMaterialError as error:
        raise FormatError(error.what, where=f"claim cnf (8), {error.where}", remedy=error.remedy) from error
    if key.algorithm is Algorithm.ML_DSA_44:
        raise UnsupportedError("a holder's key is ES256 or Ed25519", where="claim cnf (8)")
    return key


def _digests(value: Value, where: str) -> frozenset[bytes]:
    where = f"{where}, simple(59)"
    if type(value) is not list or not value:
        raise FormatError("not an array of digests", where=where)
    digests = [digest for digest in value if type(digest) is bytes and len(digest) == 32]
    if len(digests) != len(value):
        raise FormatError("a digest that is not 32 bytes", where=where)
    distinct = frozenset(digests)
    if len(distinct) != len(digests):
        raise FormatError("a digest stands twice", where=where)
    return distinct


def _fields(value: Value) -> tuple[Mapping[int, Value], frozenset[bytes]]:
    where = "claim fields (-65537)"
    if type(value) is not dict or not value:
        raise FormatError("not a map with at least one field", where=where)
    fields: dict[Any, Value] = dict(value)
    redacted = _digests(fields.pop(REDACTED), where) if REDACTED in fields else _NOTHING
    for key, element in fields.items():
        if type(key) is not int:
            raise FormatError("a field id that is not an integer", where=where)
        if type(element) not in _SCALARS:
            check_field_value(element, where=f"{where}, field {key}")
    return fields, redacted


def _status(value: Value, unknown: list[str]) -> StatusReference:
    where = "claim status (65535)"
    if type(value) is not dict or "status_list" not in value:
        raise FormatError("not a map with a status_list", where=where)
    reference = value["status_list"]
    if type(reference) is not dict:
        raise FormatError("status_list is not a map", where=where)
    index, uri = reference.get("idx"), reference.get("uri")
    if type(index) is not int or not 0 <= index < _STATUS_INDEXES:
        raise FormatError("idx is not an index from 0 to 2^32 - 1", where=where)
    if type(uri) is not str or not 0 < len(uri) <= _URI_LENGTH or not uri.isascii() or not uri.isprintable():
        raise FormatError(f"uri is not 1 to {_URI_LENGTH} ASCII characters", where=where)
    if len(value) != 1:
        unknown.extend(f"status {str(key)[:40]}" for key in value if key != "status_list")
    if len(reference) != 2:
        unknown.extend(f"status_list {str(key)[:40]}" for key in reference if key not in {"idx", "uri"})
    return StatusReference(index, uri)


def _usage(value: Value, unknown: list[str]) -> Usage:
    where = "claim usage (-65538)"
    if type(value) is not dict or not value:
        raise FormatError("not a map with at least one member", where=where)
    role, purpose = value.get(_ROLE), value.get(_PURPOSE)
    until, medium = value.get(_UNTIL), value.get(_MEDIUM)
    if role is not None and type(role) is not str:
        raise FormatError("the role is not text", where=where)
    if purpose is not None and (
        type(purpose) is not str or not 0 < len(purpose) <= TEXT_LENGTH or not purpose.isprintable()
    ):
        raise FormatError(f"the purpose is not 1 to {TEXT_LENGTH} printable characters", where=where)
    if until is not None and (type(until) is not int or not EARLIEST <= until <= LATEST):
        raise FormatError("until is not a time in whole seconds", where=where)
    if medium is not None and type(medium) is not str:
        raise FormatError("the medium is not text", where=where)
    # A word or member that this reader does not know may limit the use in a way it cannot judge.
    if role is not None and role not in ROLES:
        unknown.append(f"usage role {role[:40]}")
    if medium is not None and medium not in MEDIA:
        unknown.append(f"usage medium {medium[:40]}")
    unknown.extend(f"usage {str(key)[:40]}" for key in value if key not in {_ROLE, _PURPOSE, _UNTIL, _MEDIUM})
    return Usage(role, purpose, until, medium)
