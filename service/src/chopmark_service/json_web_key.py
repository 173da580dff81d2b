"""The public keys of clients as JSON Web Keys.

Specifications: RFC 7517; RFC 8037 (OKP); RFC 7638 (thumbprint).

    {"kty": "OKP", "crv": "Ed25519", "x": "base64url, 32 bytes", "kid": "base64url, 32 bytes", "alg": "EdDSA"}
    {"kty": "EC", "crv": "P-256", "x": "base64url, 32 bytes", "y": "base64url, 32 bytes", "alg": "ES256"}

`kid`, `alg` and `use` may be missing; a `kid` is the thumbprint, SHA-256 of the required members in the order of their
names. Any other member is refused, a private one by name.
"""

from __future__ import annotations

import json
from hashlib import sha256

from chopmark import strict
from chopmark.errors import FormatError, KeyMaterialError
from chopmark.keys import Algorithm, PublicKey

ALGORITHMS = {Algorithm.ED25519: "EdDSA", Algorithm.ES256: "ES256"}
"""How JSON Web Signature calls the algorithms of keys that may be a client's."""
_OPTIONAL = {"kid", "alg", "use"}
_COORDINATE = 32


def to_jwk(key: PublicKey) -> dict[str, str]:
    """Write a public key, with its thumbprint and algorithm.

    Raises:
        KeyMaterialError: neither Ed25519 nor ES256.
    """
    return {**_required(key), "kid": thumbprint(key), "alg": ALGORITHMS[key.algorithm], "use": "sig"}


def thumbprint(key: PublicKey) -> str:
    """The RFC 7638 thumbprint, base64url of 32 bytes.

    Raises:
        KeyMaterialError: neither Ed25519 nor ES256.
    """
    text = json.dumps(_required(key), sort_keys=True, separators=(",", ":"))
    return strict.base64url_encode(sha256(text.encode("ascii")).digest())


def from_jwk(value: object, *, where: str) -> PublicKey:
    """Read a public key.

    Raises:
        FormatError: not an object of the members above, or a kid, algorithm or use that is not the key's.
        KeyMaterialError: a private key, one of another kind, or no valid point.
    """
    if not isinstance(value, dict):
        raise FormatError("a JSON Web Key is an object", where=where)
    if "d" in value or "k" in value:
        raise KeyMaterialError(
            "a private key where only a public one may stand",
            where=where,
            remedy="Consider this key compromised, and make a new one",
        )
    coordinates: tuple[str, ...]
    kind = (value.get("kty"), value.get("crv"))
    if kind == ("OKP", "Ed25519"):
        algorithm, coordinates = Algorithm.ED25519, ("x",)
    elif kind == ("EC", "P-256"):
        algorithm, coordinates = Algorithm.ES256, ("x", "y")
    else:
        raise KeyMaterialError("neither an Ed25519 (OKP) nor a P-256 (EC) key", where=where)
    required = {"kty", "crv", *coordinates}
    if not required <= value.keys() <= required | _OPTIONAL:
        raise FormatError(
            f"a key of this kind has the members {', '.join(sorted(required))}, and perhaps kid, alg, use", where=where
        )
    key = PublicKey(algorithm, b"".join(_coordinate(value[name], f"{where}, {name}") for name in coordinates))
    expected = {"kid": thumbprint(key), "alg": ALGORITHMS[algorithm], "use": "sig"}
    for name in _OPTIONAL & value.keys():
        if value[name] != expected[name]:
            raise FormatError(f"it is {expected[name]!r} for this key", where=f"{where}, {name}")
    return key


def _coordinate(value: object, where: str) -> bytes:
    if not isinstance(value, str):
        raise FormatError("not a text", where=where)
    raw = strict.base64url_decode(value, where=where)
    if len(raw) != _COORDINATE:
        raise KeyMaterialError(f"{len(raw)} bytes where {_COORDINATE} are expected", where=where)
    return raw


def _required(key: PublicKey) -> dict[str, str]:
    if key.algorithm is Algorithm.ED25519:
        return {"kty": "OKP", "crv": "Ed25519", "x": strict.base64url_encode(key.raw)}
    if key.algorithm is Algorithm.ES256:
        x, y = key.raw[:_COORDINATE], key.raw[_COORDINATE:]
        return {"kty": "EC", "crv": "P-256", "x": strict.base64url_encode(x), "y": strict.base64url_encode(y)}
    raise KeyMaterialError("a client's key is Ed25519 or ES256", remedy="Make one: chopmark log client-key")
