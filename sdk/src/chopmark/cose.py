"""COSE_Sign1: one signature over a protected header and a payload.

Specification: RFC 9052 §4.2 and §4.4, in the CBOR profile of `chopmark.cbor`; `typ` is RFC 9596, `kcwt` RFC 9528.

    18([protected: bytes, unprotected: map, payload: bytes, signature: bytes])

`protected` is the encoding of a map that holds at least `{1: algorithm}`; a label may stand in one of the two maps
only. What is signed, and hashed as the digest, is the Sig_structure: the CBOR of

    ["Signature1", protected, h'', payload]

so neither the unprotected header nor the signature's own bytes are part of a digest. The example of RFC 9052
appendix C.2.1, `This is the content.` signed with ES256 (-7) by key `11`:

    d2 84 43 a10126 a1 04 423131 54 546869732069732074686520636f6e74656e742e 5840 8eb33e4c…cb36
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from chopmark import cbor
from chopmark.cbor import REDACTED, Key, Tagged, Value
from chopmark.errors import FormatError, SignatureError
from chopmark.keys import Algorithm, PublicKey, Signer
from chopmark.limits import LIMITS

ALG: Final = 1
KID: Final = 4
KCWT: Final = 13
"""A CWT whose `cnf` names the key that signs this message."""
TYP: Final = 16
SD_CLAIMS: Final = 17
"""Disclosures of redacted claims."""
LANDMARK_PROOF: Final = -65538
TLOG_PROOF: Final = -65539

_CONTEXT: Final = b"\x84\x6aSignature1"
_SIGN1_HEAD: Final = b"\xd2\x84"
_NO_HEADERS: Final = b"\xa0"
_SMALL_HEADER: Final = 64
"""Bytes of a protected header that is worth remembering; a credential's has 19."""


def type_named(typ: object) -> str:
    """A `typ` that a reader does not take, for its message."""
    return "it names no type" if typ is None else f"it is of the type {str(typ)[:60]!r}"


@dataclass(frozen=True, slots=True)
class Sign1:
    """A COSE_Sign1 as received: well formed, its signature not yet verified.

    `protected` holds the bytes that were signed and `protected_map` what they say; `algorithm` is the one that the
    header names.
    """

    protected: bytes
    protected_map: Mapping[Key, Value]
    unprotected: Mapping[Key, Value]
    payload: bytes
    signature: bytes
    algorithm: Algorithm

    @classmethod
    def parse(cls, data: bytes, *, max_size: int = LIMITS.credential_size, where: str = "COSE_Sign1") -> Sign1:
        """Read one message.

        Args:
            data: its encoding, with tag 18.
            max_size: bytes allowed.
            where: what `data` is, for error messages.

        Raises:
            FormatError: not a COSE_Sign1 of the profile; `LimitError` above a bound.
            UnsupportedError: its algorithm is not of suite 1.
        """
        return cls.from_value(cbor.decode(data, max_size=max_size, where=where), where=where)

    @classmethod
    def from_value(cls, value: Value, *, where: str = "COSE_Sign1") -> Sign1:
        """Read a message that stood inside other CBOR.

        Raises:
            FormatError: as `parse`.
        """
        if type(value) is not Tagged:
            raise FormatError("not a COSE_Sign1 (tag 18)", where=where)
        protected, unprotected, payload, signature = value.value
        if type(protected) is not bytes or type(payload) is not bytes or type(signature) is not bytes:
            raise FormatError("protected header, payload and signature of a COSE_Sign1 are byte strings", where=where)
        if type(unprotected) is not dict:
            raise FormatError("the unprotected header is not a map", where=where)
        read = _read_small_header if len(protected) <= _SMALL_HEADER else _read_header
        protected_map, algorithm = read(protected, where)
        if unprotected:
            if REDACTED in unprotected:
                raise FormatError("a header label is an integer or text", where=where)
            if not protected_map.keys().isdisjoint(unprotected):
                twice = next(label for label in protected_map if label in unprotected)
                raise FormatError(f"the label {twice} stands in both headers", where=where)
        return cls(protected, protected_map, unprotected, payload, signature, algorithm)

    def value(self) -> Tagged:
        """The message as a CBOR value, to stand inside other CBOR."""
        return Tagged([self.protected, dict(self.unprotected), self.payload, self.signature])

    def encode(self) -> bytes:
        """The message as CBOR."""
        # what `value` is, written out: each credential of a bulk issue is encoded once
        head = cbor.bytes_head
        parts = (
            _SIGN1_HEAD,
            head(len(self.protected)),
            self.protected,
            cbor.encode(self.unprotected) if self.unprotected else _NO_HEADERS,
            head(len(self.payload)),
            self.payload,
            head(len(self.signature)),
            self.signature,
        )
        return b"".join(parts)

    def to_be_signed(self) -> bytes:
        """The Sig_structure: the bytes that the signature covers."""
        return sig_structure(self.protected, self.payload)

    def digest(self) -> bytes:
        """SHA-256 of the Sig_structure: what was signed, whatever the signature's bytes."""
        return hashlib.sha256(sig_structure(self.protected, self.payload)).digest()

    def verify(self, public_key: PublicKey) -> None:
        """Check the signature.

        Raises:
            SignatureError: the header names another algorithm than the key's own, or the signature does not verify.
        """
        if self.algorithm is not public_key.algorithm:
            raise SignatureError(
                f"the header names {self.algorithm.text} where the key is for {public_key.algorithm.text}",
                where=f"key {public_key.kid.hex()}",
            )
        public_key.verify(sig_structure(self.protected, self.payload), self.signature)


def _read_header(protected: bytes, where: str) -> tuple[Mapping[Key, Value], Algorithm]:
    """Read a protected header and the algorithm that it names."""
    protected_map = cbor.decode(protected, max_size=LIMITS.presentation_size, where=f"{where}, protected header")
    if type(protected_map) is not dict:
        raise FormatError("the protected header is not a map", where=where)
    if REDACTED in protected_map:
        raise FormatError("a header label is an integer or text", where=where)
    if ALG not in protected_map:
        raise FormatError("the protected header names no algorithm", where=f"{where}, alg (1)")
    algorithm = Algorithm.from_identifier(protected_map[ALG], where=f"{where}, alg (1)")
    return MappingProxyType(protected_map), algorithm


_read_small_header = lru_cache(maxsize=1024)(_read_header)
# All credentials of one key have the same few bytes here; the view that is shared cannot be changed.


def sign1(
    signer: Signer,
    *,
    protected: Mapping[Key, Value],
    payload: bytes,
    unprotected: Mapping[Key, Value] | None = None,
) -> Sign1:
    """Sign `payload`.

    Args:
        signer: the key; its algorithm is put into the protected header.
        protected: the protected header without `alg`.
        payload: what is signed.
        unprotected: the unprotected header.

    Raises:
        FormatError: a header is outside the CBOR profile, or names the algorithm or a label twice.
    """
    if ALG in protected:
        raise FormatError("the algorithm is the key's own and not given beside it", where="COSE_Sign1, alg (1)")
    algorithm = signer.public_key.algorithm
    protected_map: dict[Key, Value] = {ALG: int(algorithm), **protected}
    encoded = cbor.encode(protected_map)
    return signed(encoded, payload, signer.sign(sig_structure(encoded, payload)), unprotected=unprotected)


def signed(
    protected: bytes, payload: bytes, signature: bytes, *, unprotected: Mapping[Key, Value] | None = None
) -> Sign1:
    """Put a message together whose signature was made elsewhere; it is not verified here.

    Args:
        protected: the encoding of the protected header, `alg` included.
        payload: what was signed.
        signature: the signature over `sig_structure(protected, payload)`.
        unprotected: the unprotected header.

    Raises:
        FormatError: as `Sign1.from_value`.
    """
    return Sign1.from_value(Tagged([protected, dict(unprotected or {}), payload, signature]))


def sig_structure(protected: bytes, payload: bytes) -> bytes:
    """The Sig_structure, the bytes that a signature covers, of an encoded protected header and a payload."""
    head = cbor.bytes_head
    return b"".join((_CONTEXT, head(len(protected)), protected, b"\x40", head(len(payload)), payload))
