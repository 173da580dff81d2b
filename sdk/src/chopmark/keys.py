"""Keys and signatures of suite 1.

Specifications: COSE_Key, RFC 9052 §7 and RFC 9053 §7; the fully specified algorithms of RFC 9864; the AKP key type
and ML-DSA, RFC 9964; the thumbprint, RFC 9679.

===========  =========  =====  ========================  ==================  ==========
algorithm    COSE alg   also   COSE_Key                  `raw`               signature
===========  =========  =====  ========================  ==================  ==========
Ed25519      -19        -8     {1: 1, -1: 6, -2: x}      x, 32 bytes         64 bytes
ES256        -9         -7     {1: 2, -1: 1, -2, -3}     x‖y, 64 bytes       r‖s, 64 bytes
ML-DSA-44    -48               {1: 7, 3: -48, -1: pub}   pub, 1,312 bytes    2,420 bytes
===========  =========  =====  ========================  ==================  ==========

A thumbprint is the SHA-256 of the deterministic CBOR of just the members above (32 bytes); the `kid` is its first
8 bytes. An Ed25519 key, as CBOR in hex:

    a3 01 01 20 06 21 5820 d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from chopmark import strict
from chopmark.errors import FormatError, KeyMaterialError, SignatureError, UnsupportedError

if TYPE_CHECKING:
    from chopmark.cbor import Key, Value

_KTY, _ALG = 1, 3
_OKP, _EC2, _AKP = 1, 2, 7
_CURVE_P256, _CURVE_ED25519 = 1, 6
_D = -4
"""Label of the private member of OKP and EC2 keys."""
_AKP_PRIVATE = -2

_P256 = ec.SECP256R1()
_ECDSA = ec.ECDSA(SHA256())
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ED25519_PRIME = 2**255 - 19
_ED25519_SMALL_ORDER = frozenset(
    int.from_bytes(bytes.fromhex(y), "little")
    for y in (
        "00" * 32,
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
)
"""The y coordinates of the eight points of order 1, 2, 4 and 8: under such a key anybody can sign something."""


class Algorithm(IntEnum):
    """A signature algorithm of suite 1, by the COSE identifier that Chopmark writes."""

    ED25519 = -19
    ES256 = -9
    ML_DSA_44 = -48

    @property
    def accepted_identifiers(self) -> tuple[int, ...]:
        """The COSE identifiers that mean this algorithm on reading, the written one first."""
        return _ACCEPTED[self]

    @property
    def text(self) -> str:
        """The name used in JSON: `Ed25519`, `ES256` or `ML-DSA-44`."""
        return _NAMES[self]

    @property
    def signature_size(self) -> int:
        """Bytes of a signature."""
        return _SIGNATURE_SIZE[self]

    @classmethod
    def from_identifier(cls, identifier: object, *, where: str) -> Algorithm:
        """Read a COSE algorithm identifier.

        Raises:
            UnsupportedError: it names none of suite 1.
        """
        # a dict would take True for 1 and 1.0 for 1; no identifier is either, so equality is enough
        algorithm = _BY_IDENTIFIER.get(identifier) if isinstance(identifier, int) else None
        if algorithm is None:
            raise UnsupportedError(
                f"the algorithm {str(identifier)[:40]} is not of suite 1",
                where=where,
                remedy="Suite 1 has Ed25519 (-19), ES256 (-9) and ML-DSA-44 (-48).",
            )
        return algorithm


_ACCEPTED = {Algorithm.ED25519: (-19, -8), Algorithm.ES256: (-9, -7), Algorithm.ML_DSA_44: (-48,)}
_BY_IDENTIFIER: dict[int, Algorithm] = {
    identifier: algorithm for algorithm, identifiers in _ACCEPTED.items() for identifier in identifiers
}
_NAMES = {Algorithm.ED25519: "Ed25519", Algorithm.ES256: "ES256", Algorithm.ML_DSA_44: "ML-DSA-44"}
_BY_NAME = {name: algorithm for algorithm, name in _NAMES.items()}
_RAW_SIZE = {Algorithm.ED25519: 32, Algorithm.ES256: 64, Algorithm.ML_DSA_44: 1312}
_SIGNATURE_SIZE = {Algorithm.ED25519: 64, Algorithm.ES256: 64, Algorithm.ML_DSA_44: 2420}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that has been checked to be one.

    Args:
        algorithm: the one algorithm this key is used with.
        raw: see the table at the top of the module.

    Raises:
        KeyMaterialError: another size, not a point of the curve, or a point of small order.
    """

    algorithm: Algorithm
    raw: bytes
    thumbprint: bytes = field(init=False, repr=False, compare=False)
    """RFC 9679, SHA-256, 32 bytes."""
    kid: bytes = field(init=False, repr=False, compare=False)
    """The first 8 bytes of the thumbprint."""
    _handle: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        raw = self.raw
        algorithm = self.algorithm
        if not isinstance(raw, bytes) or not isinstance(algorithm, Algorithm) or len(raw) != _RAW_SIZE[algorithm]:
            raise KeyMaterialError(
                f"not the bytes of a public key: {_RAW_SIZE.get(algorithm, 'an unknown number of')} are expected"
            )
        handle: Any = None
        if algorithm is Algorithm.ED25519:
            y = int.from_bytes(raw, "little") & (2**255 - 1)
            if y >= _ED25519_PRIME or y in _ED25519_SMALL_ORDER:
                raise KeyMaterialError("not an Ed25519 key: a point of small order, or not in its only encoding")
            encoded = b"\xa3\x01\x01\x20\x06\x21\x58\x20" + raw
        elif algorithm is Algorithm.ES256:
            try:
                handle = ec.EllipticCurvePublicKey.from_encoded_point(_P256, b"\x04" + raw)
            except ValueError as error:
                raise KeyMaterialError("not an ES256 key: no such point on P-256") from error
            encoded = b"\xa4\x01\x02\x20\x01\x21\x58\x20" + raw[:32] + b"\x22\x58\x20" + raw[32:]
        else:
            try:
                handle = mldsa.MLDSA44PublicKey.from_public_bytes(raw)
            except ValueError as error:
                raise KeyMaterialError("not an ML-DSA-44 key") from error
            encoded = b"\xa3\x01\x07\x03\x38\x2f\x20\x59\x05\x20" + raw
        thumbprint = hashlib.sha256(encoded).digest()
        object.__setattr__(self, "thumbprint", thumbprint)
        object.__setattr__(self, "kid", thumbprint[:8])
        object.__setattr__(self, "_handle", handle)

    def to_cose(self) -> dict[Key, Value]:
        """The COSE_Key map: the members that the thumbprint covers, and no other."""
        if self.algorithm is Algorithm.ED25519:
            return {_KTY: _OKP, -1: _CURVE_ED25519, -2: self.raw}
        if self.algorithm is Algorithm.ES256:
            return {_KTY: _EC2, -1: _CURVE_P256, -2: self.raw[:32], -3: self.raw[32:]}
        return {_KTY: _AKP, _ALG: int(Algorithm.ML_DSA_44), -1: self.raw}

    @classmethod
    def from_cose(cls, value: object) -> PublicKey:
        """Read a COSE_Key map with exactly the members that its kind requires, and `alg` if it is the kind's own.

        Raises:
            KeyMaterialError: a member is missing, unknown, private or wrong, or it is no valid point.
        """
        if not isinstance(value, dict):
            raise KeyMaterialError("a COSE_Key is a map", where="COSE_Key")
        kty = value.get(_KTY)
        if kty == _OKP and type(kty) is int:
            algorithm, curve, members, private = Algorithm.ED25519, _CURVE_ED25519, _OKP_MEMBERS, _D
        elif kty == _EC2 and type(kty) is int:
            algorithm, curve, members, private = Algorithm.ES256, _CURVE_P256, _EC2_MEMBERS, _D
        elif kty == _AKP and type(kty) is int:
            algorithm, curve, members, private = Algorithm.ML_DSA_44, None, _AKP_MEMBERS, _AKP_PRIVATE
        else:
            raise KeyMaterialError("the key type is none of OKP (1), EC2 (2) and AKP (7)", where="COSE_Key, kty (1)")
        if private in value:
            raise KeyMaterialError(
                "a private key where only a public one may stand",
                where=f"COSE_Key, {'d' if private == _D else 'priv'} ({private})",
                remedy="Consider this key compromised and replace it.",
            )
        if not members <= value.keys() or not value.keys() <= members | {_ALG}:
            raise KeyMaterialError(
                f"a {algorithm.text} key has exactly the members {', '.join(map(str, sorted(members, key=abs)))}",
                where="COSE_Key",
            )
        if _ALG in value and (type(value[_ALG]) is not int or value[_ALG] not in algorithm.accepted_identifiers):
            raise KeyMaterialError(f"the algorithm is not {algorithm.text}", where="COSE_Key, alg (3)")
        if curve is None:
            return cls(algorithm, _coordinate(value[-1], 1312, "pub (-1)"))
        if value[-1] != curve or type(value[-1]) is not int:
            raise KeyMaterialError(f"the curve is not the {algorithm.text} one ({curve})", where="COSE_Key, crv (-1)")
        x = _coordinate(value[-2], 32, "x (-2)")
        return cls(algorithm, x if algorithm is Algorithm.ED25519 else x + _coordinate(value[-3], 32, "y (-3)"))

    @property
    def algorithm_text(self) -> str:
        """The `alg` that stands beside `to_json()`: `Ed25519`, `ES256` or `ML-DSA-44`."""
        return self.algorithm.text

    def to_json(self) -> str:
        """The raw key as base64, the `pub` of a trust bundle."""
        return strict.base64_encode(self.raw)

    @classmethod
    def from_json(cls, alg: str, pub: str, *, where: str = "key") -> PublicKey:
        """Read the `alg` and `pub` of a trust bundle.

        Raises:
            UnsupportedError: an algorithm that suite 1 does not have.
            FormatError: not base64.
            KeyMaterialError: not a key of that algorithm.
        """
        algorithm = _BY_NAME.get(alg) if isinstance(alg, str) else None
        if algorithm is None:
            raise UnsupportedError(
                f"the algorithm {alg[:40]!r} is not of suite 1" if isinstance(alg, str) else "no algorithm is named",
                where=where,
                remedy="Suite 1 has Ed25519, ES256 and ML-DSA-44.",
            )
        if not isinstance(pub, str):
            raise FormatError("the public key is not base64 text", where=where)
        return cls(algorithm, strict.base64_decode(pub, where=where, size=_RAW_SIZE[algorithm]))

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check a signature over `message`.

        Raises:
            SignatureError: it is not this key's signature over this message.
        """
        algorithm = self.algorithm
        if algorithm is Algorithm.ED25519:
            # crypto_sign_open takes the message from what follows 64 bytes, so another length must not get there
            if len(signature) == 64:
                try:
                    nacl.bindings.crypto_sign_open(signature + message, self.raw)
                except nacl.exceptions.BadSignatureError:
                    raise self._refusal() from None
                return
        elif algorithm is Algorithm.ES256:
            if len(signature) == 64:
                r = int.from_bytes(signature[:32], "big")
                s = int.from_bytes(signature[32:], "big")
                if 0 < r < _P256_ORDER and 0 < s < _P256_ORDER:
                    try:
                        self._handle.verify(encode_dss_signature(r, s), message, _ECDSA)
                    except InvalidSignature:
                        raise self._refusal() from None
                    return
        elif len(signature) == _SIGNATURE_SIZE[algorithm]:
            try:
                self._handle.verify(signature, message)
            except InvalidSignature:
                raise self._refusal() from None
            return
        raise self._refusal()

    def _refusal(self) -> SignatureError:
        return SignatureError(f"the {self.algorithm.text} signature does not verify", where=f"key {self.kid.hex()}")


_OKP_MEMBERS = frozenset({_KTY, -1, -2})
_EC2_MEMBERS = frozenset({_KTY, -1, -2, -3})
_AKP_MEMBERS = frozenset({_KTY, _ALG, -1})


def _coordinate(value: object, size: int, name: str) -> bytes:
    if not isinstance(value, bytes) or len(value) != size:
        raise KeyMaterialError(f"not a byte string of {size} bytes", where=f"COSE_Key, {name}")
    return value


class Signer(Protocol):
    """Whatever can sign with one key: in memory here, a key provider or an HSM elsewhere."""

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what `sign` makes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Sign `message`; ECDSA signatures as r‖s."""
        ...


class Ed25519Signer:
    """An Ed25519 private key in memory, by libsodium."""

    __slots__ = ("_secret", "public_key")

    def __init__(self, seed: bytes) -> None:
        if not isinstance(seed, bytes) or len(seed) != 32:
            raise KeyMaterialError("an Ed25519 private key has 32 bytes")
        public, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)
        self.public_key = PublicKey(Algorithm.ED25519, public)

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> Ed25519Signer:
        """Make a new key."""
        return cls(random(32))

    @classmethod
    def from_private_bytes(cls, raw: bytes) -> Ed25519Signer:
        """Load what `private_bytes` gave: the 32-byte seed."""
        return cls(raw)

    def private_bytes(self) -> bytes:
        """The 32-byte seed. Keep it encrypted at rest."""
        return self._secret[:32]

    def sign(self, message: bytes) -> bytes:
        """Sign `message`: 64 bytes, the same for the same message."""
        return nacl.bindings.crypto_sign(message, self._secret)[:64]

    def __repr__(self) -> str:
        return f"Ed25519Signer(kid={self.public_key.kid.hex()})"


class Es256Signer:
    """A P-256 private key in memory, by OpenSSL."""

    __slots__ = ("_secret", "public_key")

    def __init__(self, scalar: bytes) -> None:
        if not isinstance(scalar, bytes) or len(scalar) != 32:
            raise KeyMaterialError("an ES256 private key has 32 bytes")
        number = int.from_bytes(scalar, "big")
        if not 0 < number < _P256_ORDER:
            raise KeyMaterialError("an ES256 private key is above 0 and below the order of P-256")
        self._secret = ec.derive_private_key(number, _P256)
        point = self._secret.public_key().public_numbers()
        self.public_key = PublicKey(Algorithm.ES256, point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big"))

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> Es256Signer:
        """Make a new key."""
        # 64 bits more than the order needs, so that the remainder is even over the range (FIPS 186-5, A.2.1)
        number = int.from_bytes(random(40), "big") % (_P256_ORDER - 1) + 1
        return cls(number.to_bytes(32, "big"))

    @classmethod
    def from_private_bytes(cls, raw: bytes) -> Es256Signer:
        """Load what `private_bytes` gave: the scalar, 32 bytes big-endian."""
        return cls(raw)

    def private_bytes(self) -> bytes:
        """The scalar, 32 bytes big-endian. Keep it encrypted at rest."""
        return self._secret.private_numbers().private_value.to_bytes(32, "big")

    def sign(self, message: bytes) -> bytes:
        """Sign `message`: r‖s, 64 bytes, another each time."""
        r, s = decode_dss_signature(self._secret.sign(message, _ECDSA))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def __repr__(self) -> str:
        return f"Es256Signer(kid={self.public_key.kid.hex()})"


class MlDsa44Signer:
    """An ML-DSA-44 private key in memory, by OpenSSL."""

    __slots__ = ("_secret", "public_key")

    def __init__(self, seed: bytes) -> None:
        if not isinstance(seed, bytes) or len(seed) != 32:
            raise KeyMaterialError("an ML-DSA-44 private key has 32 bytes")
        self._secret = mldsa.MLDSA44PrivateKey.from_seed_bytes(seed)
        self.public_key = PublicKey(Algorithm.ML_DSA_44, self._secret.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> MlDsa44Signer:
        """Make a new key."""
        return cls(random(32))

    @classmethod
    def from_private_bytes(cls, raw: bytes) -> MlDsa44Signer:
        """Load what `private_bytes` gave: the 32-byte seed of FIPS 204."""
        return cls(raw)

    def private_bytes(self) -> bytes:
        """The 32-byte seed of FIPS 204. Keep it encrypted at rest."""
        return self._secret.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Sign `message` with the empty context: 2,420 bytes, another each time."""
        return self._secret.sign(message)

    def __repr__(self) -> str:
        return f"MlDsa44Signer(kid={self.public_key.kid.hex()})"


_SIGNERS: Mapping[Algorithm, Callable[[bytes], Ed25519Signer | Es256Signer | MlDsa44Signer]] = {
    Algorithm.ED25519: Ed25519Signer,
    Algorithm.ES256: Es256Signer,
    Algorithm.ML_DSA_44: MlDsa44Signer,
}


def load_signer(algorithm: Algorithm, raw: bytes) -> Ed25519Signer | Es256Signer | MlDsa44Signer:
    """Load a private key of 32 bytes, as `private_bytes` gave it.

    Raises:
        KeyMaterialError: not a private key of that algorithm.
    """
    load = _SIGNERS.get(algorithm)
    if load is None:
        raise KeyMaterialError(f"no signer for the algorithm {str(algorithm)[:40]}")
    return load(raw)
