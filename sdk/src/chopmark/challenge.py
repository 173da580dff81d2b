"""A challenge: what an inspector asks of a holder, signed by a key that the inspector's region enrolled.

Specification: `specs/presentation.md`; a COSE_Sign1 with CWT claims (RFC 8392), nonce as in RFC 9711.

    protected    {1: alg, 4: kid (8 bytes), 16: "application/chopmark-challenge+cwt"}      unprotected  {}
    1       the inspector: `<region>/<organisation code>`, to be the token's `aud`
    4, 6    exp, iat: POSIX seconds, at most 15 minutes apart
    10      nonce, 16 random bytes
    11      the licence type asked for, with its schema version, as in `vct`
    -65540  the purpose, 1–200 printable characters
    -65541  ids of the fields asked for, ascending, each once; absent where none is

No other claim. As text it is `EC1:` and the base45 of the CBOR; the token answers with the SHA-256 of the CBOR.

    {1: "CN-SH/11310000MB2F1234X7", 4: 1795339920, 6: 1795339800, 10: h'52a4…', 11: "CN-GD/…W032@3",
     -65540: "工地入场核验", -65541: [4, 5]}
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from chopmark import base45, cbor, cose
from chopmark.cbor import Key, Value
from chopmark.claims import EARLIEST, EXP, IAT, ISS, LATEST, NONCE, TEXT_LENGTH, VCT, is_issuer, is_licence_type
from chopmark.cose import Sign1
from chopmark.errors import FormatError, LimitError, UnsupportedError
from chopmark.keys import PublicKey, Signer

PREFIX: Final = "EC1:"
TYP: Final = "application/chopmark-challenge+cwt"
PURPOSE: Final = -65540
REQUESTED_FIELDS: Final = -65541

MAX_SIZE: Final = 4096
"""Bytes of a challenge: 200 Chinese characters and a thousand fields."""
MAX_LIFETIME: Final = 900
"""Seconds: a challenge is asked and answered on the spot."""
_NONCE_SIZE: Final = 16
_KID_SIZE: Final = 8
_REQUIRED: Final = frozenset({ISS, EXP, IAT, NONCE, VCT, PURPOSE})
_CLAIMS: Final = _REQUIRED | {REQUESTED_FIELDS}


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge as read: well formed, its signature not yet verified.

    `inspector` is who asks, `issued_at` and `expires` are POSIX seconds, `digest` is the SHA-256 that the answer
    carries.
    """

    inspector: str
    purpose: str
    licence_type: str
    fields: tuple[int, ...]
    issued_at: int
    expires: int
    nonce: bytes
    kid: bytes
    sign1: Sign1
    digest: bytes

    @classmethod
    def parse_text(cls, text: str) -> Challenge:
        """Read the text form, `EC1:…`.

        Raises:
            FormatError: not a challenge.
            UnsupportedError: a later version of the text form.
        """
        if not text.startswith(PREFIX):
            if text[:2] == "EC" and text[2:3].isdigit():
                raise UnsupportedError(
                    "a challenge of another version", where="challenge", remedy="Update this program."
                )
            raise FormatError(f"does not begin with {PREFIX}", where="challenge")
        if len(text) > len(PREFIX) + MAX_SIZE // 2 * 3:
            raise LimitError(f"{len(text)} characters, too many for a challenge", where="challenge")
        return cls.parse(base45.decode(text[len(PREFIX) :]))

    @classmethod
    def parse(cls, data: bytes) -> Challenge:
        """Read the CBOR form.

        Raises:
            FormatError: not a challenge.
            UnsupportedError: another `typ` or algorithm than this reader knows.
        """
        return cls._read(Sign1.parse(data, max_size=MAX_SIZE, where="challenge"), hashlib.sha256(data).digest())

    @classmethod
    def _read(cls, sign1: Sign1, digest: bytes) -> Challenge:
        protected = sign1.protected_map
        if protected.get(cose.TYP) != TYP:
            raise UnsupportedError(f"the type is not {TYP}", where="challenge, typ (16)")
        kid = protected.get(cose.KID)
        if type(kid) is not bytes or len(kid) != _KID_SIZE:
            raise FormatError(f"the key id is not {_KID_SIZE} bytes", where="challenge, kid (4)")
        if len(protected) != 3 or sign1.unprotected:
            raise FormatError("the headers hold exactly alg, kid and typ, all protected", where="challenge")
        claims = cbor.decode(sign1.payload, max_size=MAX_SIZE, where="challenge claims")
        if type(claims) is not dict or not _REQUIRED <= claims.keys() <= _CLAIMS:
            raise FormatError("not exactly the claims 1, 4, 6, 10, 11, -65540 and at most -65541", where="challenge")
        return cls(*_read_claims(claims), kid, sign1, digest)

    def encode(self) -> bytes:
        """The CBOR form."""
        return self.sign1.encode()

    def text(self) -> str:
        """The text form, for an alphanumeric QR."""
        return PREFIX + base45.encode(self.encode())

    def verify(self, public_key: PublicKey) -> None:
        """Check the inspector's signature.

        Raises:
            SignatureError: it is not this key's, or the header names another algorithm than the key's own.
        """
        self.sign1.verify(public_key)


def create_challenge(
    signer: Signer,
    *,
    inspector: str,
    purpose: str,
    licence_type: str,
    fields: Collection[int] = (),
    at: int,
    lifetime: int = 120,
    random: Callable[[int], bytes] = os.urandom,
) -> Challenge:
    """Ask for a licence of this type, to be shown now.

    Args:
        signer: the inspector's key.
        inspector: the inspector's issuer id.
        purpose: why; the holder sees it.
        licence_type: the type with its schema version.
        fields: ids of the fields to be disclosed.
        at: POSIX seconds.
        lifetime: seconds.
        random: gives so many random bytes.

    Raises:
        FormatError: one of them is not of the format.
    """
    claims: dict[Key, Value] = {
        ISS: inspector,
        EXP: at + lifetime,
        IAT: at,
        NONCE: random(_NONCE_SIZE),
        VCT: licence_type,
        PURPOSE: purpose,
    }
    if fields:
        requested: list[Value] = [*sorted(set(fields))]
        claims[REQUESTED_FIELDS] = requested
    _read_claims(claims)
    sign1 = cose.sign1(signer, protected={cose.KID: signer.public_key.kid, cose.TYP: TYP}, payload=cbor.encode(claims))
    return Challenge.parse(sign1.encode())


def _read_claims(claims: dict[Key, Value]) -> tuple[str, str, str, tuple[int, ...], int, int, bytes]:
    """The claims in the order of the fields of `Challenge`."""
    inspector, purpose, licence_type = claims[ISS], claims[PURPOSE], claims[VCT]
    if type(inspector) is not str or not is_issuer(inspector):
        raise FormatError("not of the form CN-SH/11310000MB2F1234X7", where="challenge, inspector (1)")
    if type(purpose) is not str or not 0 < len(purpose) <= TEXT_LENGTH or not purpose.isprintable():
        raise FormatError(f"not 1 to {TEXT_LENGTH} printable characters", where="challenge, purpose (-65540)")
    if type(licence_type) is not str or not is_licence_type(licence_type):
        raise FormatError("not of the form CN-GD/11100000000013338W032@3", where="challenge, vct (11)")
    issued_at, expires, nonce = claims[IAT], claims[EXP], claims[NONCE]
    if type(issued_at) is not int or type(expires) is not int or not EARLIEST <= issued_at < expires <= LATEST:
        raise FormatError("not two times in whole seconds, exp the later", where="challenge, iat (6) and exp (4)")
    if expires - issued_at > MAX_LIFETIME:
        raise FormatError(f"it would live longer than {MAX_LIFETIME} seconds", where="challenge, exp (4)")
    if type(nonce) is not bytes or len(nonce) != _NONCE_SIZE:
        raise FormatError(f"not {_NONCE_SIZE} bytes", where="challenge, nonce (10)")
    fields: list[int] = []
    if REQUESTED_FIELDS in claims:
        requested = claims[REQUESTED_FIELDS]
        where = "challenge, fields (-65541)"
        if type(requested) is not list or not requested:
            raise FormatError("not an array with at least one field id", where=where)
        for identifier in requested:
            if type(identifier) is not int or (fields and identifier <= fields[-1]):
                raise FormatError("the field ids are not ascending integers", where=where)
            fields.append(identifier)
    return inspector, purpose, licence_type, tuple(fields), issued_at, expires, nonce
