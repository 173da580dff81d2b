"""A verification record: what an inspector checked, when, why and with which answer, signed so it can be filed.

Specifications: JWT, RFC 7519, as a compact JWS, RFC 7515; the profile is `specs/verification-record.md`. It is signed
by an inspector key of the trust bundle of the inspector's region, names the credential by its digest, and carries no
field of the licence unless the inspector asks for them.

    header   {"alg": "EdDSA", "kid": "<16 hex>", "typ": "verification-record+jwt"}      alg EdDSA or ES256
    claims   {"iss": "CN-SH/…", "iat": 1795339800, "jti": "<32 hex>", "purpose": "…", "verdict": {…},
              "bundles": {"CN-GD": {"seq": 3, "sha256": "<64 hex>"}, …}}
    asked for  "fields": {"name": …}, "licence_number": "…" or absent where it is not disclosed

`verdict` is `Verdict.to_json`: the outcome, the time judged for, and every check with its reason and the age in
seconds of what it relied on. In `fields` a byte string stands as hexadecimal, an integer beyond ±2^53 as text. They
are recorded only where the issuer's signature and the disclosures hold: what a broken signature covers is anybody's
text. `iat` is the inspector's own word.

Signing and verifying need the extra `chopmark[records]` (PyJWT).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from chopmark import strict
from chopmark.claims import LATEST, TEXT_LENGTH, is_issuer
from chopmark.cose import type_named
from chopmark.errors import (
    FormatError,
    KeyMaterialError,
    LimitError,
    MissingExtraError,
    SignatureError,
    UnsupportedError,
)
from chopmark.identifiers import REGION
from chopmark.keys import Algorithm, PublicKey, Signer
from chopmark.reasons import sentence
from chopmark.verdict import Outcome, Result

if TYPE_CHECKING:
    from jwt.api_jws import PyJWS

    from chopmark.cbor import Value
    from chopmark.verdict import Verdict

TYPE: Final = "verification-record+jwt"
PURPOSE_MAX: Final = TEXT_LENGTH
"""Characters of a purpose; every inspection names one."""
RECORD_MAX: Final = 64 * 1024
"""Characters of a record: ten checks with two sentences each are under 6 KiB."""

_JWS_NAMES: Final = {Algorithm.ED25519: "EdDSA", Algorithm.ES256: "ES256"}
_CLAIMS: Final = {"iss": str, "iat": int, "jti": str, "purpose": str, "verdict": dict, "bundles": dict}
_OPTIONAL_CLAIMS: Final = {"fields": dict, "licence_number": str}
_WHERE: Final = "verification record"


@dataclass(frozen=True, slots=True)
class VerificationRecord:
    """What a record says.

    `inspector` is the id of the inspector's organisation, `issued_at` POSIX seconds, `record_id` 32 hex digits,
    `verdict` the JSON of `Verdict.to_json`, `bundles` the sequence number and SHA-256 of each bundle relied on, by
    region. `fields` are the licence's fields by name, None where they were not asked for or did not hold.
    """

    inspector: str
    issued_at: int
    record_id: str
    purpose: str
    verdict: Mapping[str, Any]
    bundles: Mapping[str, Mapping[str, Any]]
    fields: Mapping[str, Any] | None = None
    licence_number: str | None = None

    @property
    def outcome(self) -> Outcome:
        """The answer of the inspection."""
        return Outcome(self.verdict["outcome"])


@dataclass(frozen=True, slots=True)
class UnverifiedRecord:
    """A record as read: well formed, nothing of it to be believed yet.

    `kid` (8 bytes) and `record.inspector` say which key to look up for `verify_record`.
    """

    algorithm: str
    kid: bytes
    record: VerificationRecord


def check_purpose(purpose: str) -> str:
    """Return the purpose as it is, if it is one.

    Raises:
        FormatError: it is empty, above 200 characters, or holds a character that does not print.
    """
    if not 0 < len(purpose) <= PURPOSE_MAX or not purpose.isprintable():
        raise FormatError(
            f"a purpose of 1 to {PURPOSE_MAX} printable characters is needed",
            where="purpose",
            remedy="Say in a few words what the licence is checked for.",
        )
    return purpose


def create_record(
    verdict: Verdict,
    signer: Signer,
    *,
    inspector: str,
    purpose: str,
    at: int,
    with_fields: bool = False,
    random: Callable[[int], bytes] = os.urandom,
) -> str:
    """Sign the record of one inspection.

    Args:
        verdict: the answer.
        signer: an inspector key.
        inspector: the id of the inspector's organisation.
        purpose: why it was checked, 1 to 200 printable characters.
        at: when, POSIX seconds.
        with_fields: record the licence's fields and number too.
        random: gives so many random bytes.

    Returns:
        A compact JWS.

    Raises:
        FormatError: the purpose, the inspector or the time is not of the format; `LimitError` where the record
            would be too large.
        KeyMaterialError: the signer's algorithm has no JWS name.
        MissingExtraError: PyJWT is not installed.
    """
    claims: dict[str, Any] = {
        "iss": inspector,
        "iat": at,
        "jti": random(16).hex(),
        "purpose": purpose,
        "verdict": _without_licence_text(verdict.to_json()),
        "bundles": {
            bundle.region: {"seq": bundle.seq, "sha256": bundle.digest.hex()}
            for bundle in (verdict.home, verdict.bundle)
            if bundle is not None
        },
    }
    if with_fields and verdict.checks[4].result is Result.PASS and verdict.checks[5].result is Result.PASS:
        claims["fields"] = {shown.name: field_json(shown.value) for shown in verdict.fields()}
        number = verdict.licence_number()
        if number is not None:
            claims["licence_number"] = number
    _read(claims)
    payload = json.dumps(claims, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")
    jws, name = _jws(signer.public_key, signer)
    text = jws.encode(payload, key="", algorithm=name, headers={"typ": TYPE, "kid": signer.public_key.kid.hex()})
    if len(text) > RECORD_MAX:
        raise LimitError(f"{len(text)} characters, above the limit of {RECORD_MAX}", where=_WHERE)
    return text


def verify_record(text: str, public_key: PublicKey) -> VerificationRecord:
    """Verify a record under an inspector's key and read it.

    Raises:
        FormatError: not a record, or a claim is missing, unknown or of another kind; `LimitError` above 64 Ki
            characters.
        SignatureError: the signature does not verify under this key, or the header names another key or algorithm.
        KeyMaterialError: the key's algorithm has no JWS name.
        MissingExtraError: PyJWT is not installed.
    """
    unverified = read_unverified(text)
    jws, name = _jws(public_key, None)
    if unverified.kid != public_key.kid:
        raise SignatureError(
            f"the record names the key {unverified.kid.hex()}, not {public_key.kid.hex()}", where=_WHERE
        )
    from jwt.exceptions import PyJWTError  # noqa: PLC0415 - an extra: imported when used

    try:
        jws.decode_complete(text, key="", algorithms=[name])
    except PyJWTError as error:
        raise SignatureError("the record's signature does not verify", where=_WHERE) from error
    return unverified.record


def read_unverified(text: str) -> UnverifiedRecord:
    """Read a record without verifying it: to look up the key that it names, or to show it as unverified.

    Raises:
        FormatError: as `verify_record`.
    """
    if len(text) > RECORD_MAX:
        raise LimitError(f"{len(text)} characters, above the limit of {RECORD_MAX}", where=_WHERE)
    parts = text.split(".")
    if len(parts) != 3:
        raise FormatError("not the three parts of a compact JWS", where=_WHERE)
    # One spelling each, so that a record cannot be filed twice under two texts.
    header_json, payload, _ = (
        strict.base64url_decode(part, where=f"{_WHERE}, {name}")
        for part, name in zip(parts, ("header", "payload", "signature"), strict=True)
    )
    where = f"{_WHERE}, header"
    header = strict.json_decode(header_json, where=where, max_size=RECORD_MAX)
    if not isinstance(header, dict):
        raise FormatError("not an object", where=where)
    if header.get("typ") != TYPE:
        raise UnsupportedError(f"{type_named(header.get('typ'))}, not {TYPE}", where=where)
    if header.keys() != {"alg", "kid", "typ"} or not all(isinstance(value, str) for value in header.values()):
        raise FormatError("not exactly alg, kid and typ, each a text", where=where)
    kid = strict.hex_decode(header["kid"], where=where, size=8)
    return UnverifiedRecord(header["alg"], kid, _read(strict.json_decode(payload, where=_WHERE, max_size=RECORD_MAX)))


def field_json(value: Value) -> Any:
    """A field value as I-JSON: bytes as hexadecimal, integers beyond ±2^53 as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [field_json(element) for element in value]
    if isinstance(value, dict):
        return {str(key): field_json(element) for key, element in value.items()}
    if type(value) is int and abs(value) >= 2**53:
        return str(value)
    return value


def _read(claims: object) -> VerificationRecord:
    if not isinstance(claims, dict) or not claims.keys() >= _CLAIMS.keys():
        raise FormatError(f"a record needs the claims {', '.join(_CLAIMS)}", where=_WHERE)
    unknown = claims.keys() - _CLAIMS.keys() - _OPTIONAL_CLAIMS.keys()
    if unknown:
        raise UnsupportedError(
            f"claims that are not known here: {', '.join(each[:60] for each in sorted(unknown)[:5])}", where=_WHERE
        )
    for claim, kind in (_CLAIMS | _OPTIONAL_CLAIMS).items():
        if claim in claims and type(claims[claim]) is not kind:
            raise FormatError("not of its kind", where=f"{_WHERE}, {claim}")
    if not is_issuer(claims["iss"]):
        raise FormatError("not of the form CN-SH/11310000MB2F1234X7", where=f"{_WHERE}, iss")
    if not 0 <= claims["iat"] <= LATEST:
        raise FormatError("not a time in POSIX seconds", where=f"{_WHERE}, iat")
    strict.hex_decode(claims["jti"], where=f"{_WHERE}, jti", size=16)
    check_purpose(claims["purpose"])
    _check_verdict(claims["verdict"])
    for region, bundle in claims["bundles"].items():
        where = f"{_WHERE}, bundles"
        if REGION.fullmatch(region) is None or not isinstance(bundle, dict) or bundle.keys() != {"seq", "sha256"}:
            raise FormatError("not the seq and sha256 of a region's bundle", where=where)
        if type(bundle["seq"]) is not int or type(bundle["sha256"]) is not str:
            raise FormatError("seq is an integer and sha256 a text", where=where)
        strict.hex_decode(bundle["sha256"], where=where, size=32)
    return VerificationRecord(
        claims["iss"],
        claims["iat"],
        claims["jti"],
        claims["purpose"],
        claims["verdict"],
        claims["bundles"],
        claims.get("fields"),
        claims.get("licence_number"),
    )


def _check_verdict(verdict: Mapping[str, Any]) -> None:
    """Check what readers of a record rely on; reason codes and sentences may be newer than this reader."""
    where = f"{_WHERE}, verdict"
    if verdict.get("outcome") not in list(Outcome) or type(verdict.get("at")) is not int:
        raise FormatError("it has no outcome or no time", where=where)
    digest = verdict.get("credential_digest")
    if digest is not None:
        if type(digest) is not str:
            raise FormatError("the credential digest is not a text", where=where)
        strict.hex_decode(digest, where=where, size=32)
    for name in ("issuer", "licence_type"):
        if type(verdict.get(name, "")) not in (str, type(None)):
            raise FormatError(f"{name} is not a text", where=where)
    checks, remarks = verdict.get("checks"), verdict.get("remarks")
    if type(checks) is not list or len(checks) != 10 or type(remarks) is not list:
        raise FormatError("not ten checks and their remarks", where=where)
    for number, check in enumerate(checks):
        if (
            type(check) is not dict
            or check.get("number") != number
            or check.get("result") not in list(Result)
            or type(check.get("age")) not in (int, type(None))
        ):
            raise FormatError("not a check of the recipe", where=f"{where}, check {number}")
    for entry in (*checks, *remarks):
        if type(entry) is not dict or type(entry.get("reason")) is not str:
            raise FormatError("an entry without a reason", where=where)
        message = entry.get("message")
        if type(message) is not dict or not {"zh-Hans", "en"} <= message.keys():
            raise FormatError("a reason without its sentences", where=where)
        if not all(type(each) is str for each in message.values()):
            raise FormatError("a sentence that is not a text", where=where)


def _without_licence_text(verdict: dict[str, Any]) -> dict[str, Any]:
    """The verdict without the purpose that its credential was made for: free text, which may name the holder."""
    for remark in verdict["remarks"]:
        if remark["reason"] == "restricted_use":
            nothing = {"purpose": "…"}
            remark["message"] = {
                "zh-Hans": sentence("restricted_use", "zh", nothing),
                "en": sentence("restricted_use", "en", nothing),
            }
    return verdict


def _jws(public_key: PublicKey, signer: Signer | None) -> tuple[PyJWS, str]:
    """A PyJWT signer that knows one algorithm and one key; the private key stays in its `Signer`."""
    try:
        from jwt.algorithms import Algorithm as JwsAlgorithm  # noqa: PLC0415 - an extra: imported when used
        from jwt.api_jws import PyJWS  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "verification records need PyJWT", remedy="Install the extra: pip install 'chopmark[records]'"
        ) from error
    name = _JWS_NAMES.get(public_key.algorithm)
    if name is None:
        raise KeyMaterialError(
            f"a verification record cannot be signed with {public_key.algorithm.text}",
            remedy="Enrol an Ed25519 or ES256 key for the inspector",
        )

    class OneKey(JwsAlgorithm):
        def prepare_key(self, key: Any) -> Any:
            return key

        def sign(self, msg: bytes, key: Any) -> bytes:  # noqa: ARG002 - the signer holds the key
            if signer is None:
                raise KeyMaterialError("a public key cannot sign")
            return signer.sign(msg)

        def verify(self, msg: bytes, key: Any, sig: bytes) -> bool:  # noqa: ARG002
            try:
                public_key.verify(msg, sig)
            except SignatureError:
                return False
            return True

        @staticmethod
        def to_jwk(key_obj: Any, as_dict: bool = False) -> Any:  # noqa: ARG004 - PyJWT's interface
            raise KeyMaterialError("keys are not exported as JWK")

        @staticmethod
        def from_jwk(jwk: Any) -> Any:  # noqa: ARG004
            raise KeyMaterialError("keys are not read from JWK")

    jws = PyJWS(algorithms=[])
    jws.register_algorithm(name, OneKey())
    return jws, name
