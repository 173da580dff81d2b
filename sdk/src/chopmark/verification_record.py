"""A verification record: what an inspector checked, when, why and with which answer, signed so it can be filed.

A JWT (RFC 7519, compact JWS) of `typ` `verification-record+jwt`, signed by an inspector key of the inspector's trust
bundle (`specs/verification-record.md`). It names the credential by its digest and carries no field of the licence,
unless the inspector asks for them.

    header   {"alg": "EdDSA", "kid": "<16 hex>", "typ": "verification-record+jwt"}
    claims   {"iss": "CN-SH/…", "iat": 1795339800, "jti": "<32 hex>", "purpose": "…", "verdict": {…},
              "bundles": {"CN-GD": {"seq": 3, "sha256": "<64 hex>"}, …}, "fields": {"name": …} where asked for}

Needs the extra `chopmark[records]` (PyJWT).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from chopmark import strict
from chopmark.errors import FormatError, KeyMaterialError, LimitError, MissingExtraError, SignatureError
from chopmark.keys import Algorithm, PublicKey, Signer

if TYPE_CHECKING:
    from jwt.api_jws import PyJWS

    from chopmark.verdict import Verdict

TYPE: Final = "verification-record+jwt"
PURPOSE_MAX: Final = 200
"""Characters of a purpose; every inspection names one."""
RECORD_MAX: Final = 64 * 1024
"""Characters of a record: ten checks with two sentences each are under 6 KiB."""

_JWS_NAMES: Final = {Algorithm.ED25519: "EdDSA", Algorithm.ES256: "ES256"}
_CLAIMS: Final = {"iss": str, "iat": int, "jti": str, "purpose": str, "verdict": dict, "bundles": dict}


@dataclass(frozen=True, slots=True)
class VerificationRecord:
    """What a record says.

    `inspector` is the id of the inspector's organisation, `issued_at` POSIX seconds, `record_id` 32 hex digits,
    `verdict` the JSON of `Verdict.to_json`, `bundles` the sequence number and SHA-256 of each bundle relied on,
    `fields` the licence's fields by name where the inspector asked for them, else None.
    """

    inspector: str
    issued_at: int
    record_id: str
    purpose: str
    verdict: dict[str, Any]
    bundles: dict[str, dict[str, Any]]
    fields: dict[str, Any] | None


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
    """Sign the record of one inspection; the answer is a compact JWS.

    Raises:
        FormatError: the purpose is empty or above 200 characters.
        KeyMaterialError: the signer's algorithm has no JWS name.
        MissingExtraError: PyJWT is not installed.
    """
    if not 0 < len(purpose) <= PURPOSE_MAX or not purpose.isprintable():
        raise FormatError(
            "a purpose of 1 to 200 printable characters is needed",
            where="purpose",
            remedy="Say in a few words what the licence is checked for.",
        )
    claims: dict[str, Any] = {
        "iss": inspector,
        "iat": at,
        "jti": random(16).hex(),
        "purpose": purpose,
        "verdict": verdict.to_json(),
        "bundles": {
            bundle.region: {"seq": bundle.seq, "sha256": bundle.digest.hex()}
            for bundle in (verdict.home, verdict.bundle)
            if bundle is not None
        },
    }
    if with_fields:
        claims["fields"] = {shown.name: shown.value for shown in verdict.fields()}
        claims["licence_number"] = verdict.licence_number()
    jws, name = _jws(signer.public_key, signer)
    payload = json.dumps(claims, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    return jws.encode(payload, key="", algorithm=name, headers={"typ": TYPE, "kid": signer.public_key.kid.hex()})


def verify_record(text: str, public_key: PublicKey) -> VerificationRecord:
    """Verify a record under an inspector's key and read it.

    Raises:
        FormatError: not a record, or a claim is missing or of another kind.
        SignatureError: the signature does not verify under this key.
        MissingExtraError: PyJWT is not installed.
    """
    if len(text) > RECORD_MAX:
        raise LimitError(f"{len(text)} characters, above the limit of {RECORD_MAX}", where="verification record")
    jws, name = _jws(public_key, None)
    from jwt.exceptions import InvalidAlgorithmError, InvalidSignatureError, PyJWTError  # noqa: PLC0415

    try:
        decoded = jws.decode_complete(text, key="", algorithms=[name])
    except (InvalidSignatureError, InvalidAlgorithmError) as error:
        raise SignatureError("the record's signature does not verify", where="verification record") from error
    except (PyJWTError, RecursionError, ValueError) as error:
        raise FormatError(f"not a signed record: {error}", where="verification record") from error
    header = decoded["header"]
    if header != {"alg": name, "kid": public_key.kid.hex(), "typ": TYPE}:
        raise FormatError(f"the header is not that of a record by key {public_key.kid.hex()}", where="header")
    claims = strict.json_decode(decoded["payload"], where="verification record", max_size=RECORD_MAX)
    return _read(claims)


def _read(claims: object) -> VerificationRecord:
    if not isinstance(claims, dict) or not claims.keys() >= _CLAIMS.keys():
        raise FormatError(f"a record needs the claims {sorted(_CLAIMS)}", where="verification record")
    unknown = claims.keys() - _CLAIMS.keys() - {"fields", "licence_number"}
    if unknown:
        raise FormatError(f"unknown claims {sorted(unknown)[:5]}", where="verification record")
    for claim, kind in _CLAIMS.items():
        if type(claims[claim]) is not kind:
            raise FormatError(f"{claim!r} is not of its kind", where="verification record")
    strict.hex_decode(claims["jti"], where="jti", size=16)
    fields = claims.get("fields")
    if fields is not None and not isinstance(fields, dict):
        raise FormatError("'fields' is not an object", where="verification record")
    return VerificationRecord(
        claims["iss"],
        claims["iat"],
        claims["jti"],
        claims["purpose"],
        claims["verdict"],
        claims["bundles"],
        fields,
    )


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
        raise KeyMaterialError(f"a verification record cannot be signed with {public_key.algorithm.text}")

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
