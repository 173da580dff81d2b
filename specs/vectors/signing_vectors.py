"""Vectors of keys, signatures and COSE_Sign1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chopmark import cbor, cose
from chopmark.cbor import Tagged
from chopmark.keys import Ed25519Signer, MlDsa44Signer, PublicKey, Signer
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from specs.vectors.sample_world import DeterministicEs256Signer, SeededRandom
from specs.vectors.vector_file import FORMAT, KEY, SIGNATURE, UNSUPPORTED, VectorFile

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
MESSAGE = "食品经营许可证".encode()


def malleated_es256(signature: bytes) -> bytes:
    """The other ECDSA signature over the same message: r and n − s."""
    s = P256_ORDER - int.from_bytes(signature[32:], "big")
    return signature[:32] + s.to_bytes(32, "big")


def sign_anything(
    signer: Signer, protected: Mapping[Any, Any], payload: bytes, unprotected: Mapping[Any, Any] | None = None
) -> bytes:
    """A COSE_Sign1 of any headers and payload, not looked at; a label that is None is left out, alg is added."""
    labels = {cose.ALG: int(signer.public_key.algorithm), **protected}
    header = cbor.encode({label: value for label, value in labels.items() if value is not None})
    signature = signer.sign(cbor.encode(["Signature1", header, b"", payload]))
    return cbor.encode(Tagged([header, dict(unprotected or {}), payload, signature]))


def _described(key: PublicKey) -> dict[str, str]:
    return {
        "algorithm": key.algorithm.text,
        "raw": key.raw.hex(),
        "thumbprint": key.thumbprint.hex(),
        "kid": key.kid.hex(),
    }


def key_vectors() -> VectorFile:
    """COSE_Key maps, and signatures under the three algorithms."""
    file = VectorFile("keys", "specs/keys.md")
    random = SeededRandom("chopmark key vectors 1")
    ed25519 = Ed25519Signer.from_private_bytes(random(32))
    es256 = DeterministicEs256Signer(random(32))
    ml_dsa = MlDsa44Signer.from_private_bytes(random(32))
    _add_cose_keys(file, ed25519.public_key, es256.public_key, ml_dsa.public_key)
    _add_signatures(file, ed25519, es256)
    return file


def _add_cose_keys(file: VectorFile, ed25519: PublicKey, es256: PublicKey, ml_dsa: PublicKey) -> None:
    def key(value: dict[Any, Any]) -> dict[str, str]:
        return {"hex": cbor.encode(value).hex()}

    okp, ec2, akp = ed25519.to_cose(), es256.to_cose(), ml_dsa.to_cose()
    for name, description, value, expected in (
        ("ed25519", "an Ed25519 key", okp, ed25519),
        ("ed25519-with-alg", "an Ed25519 key that names its algorithm, −8", {**okp, 3: -8}, ed25519),
        ("es256", "a P-256 key", ec2, es256),
        ("es256-with-alg", "a P-256 key that names its algorithm, −9", {**ec2, 3: -9}, es256),
        ("ml-dsa-44", "an ML-DSA-44 key", akp, ml_dsa),
    ):
        file.accept(f"key-{name}", description, "cose_key", key(value), _described(expected))
    x, y = es256.raw[:32], es256.raw[32:]
    without_alg = {label: value for label, value in akp.items() if label != 3}
    refused: list[tuple[str, str, dict[Any, Any]]] = [
        ("another-alg", "an Ed25519 key that names ES256", {**okp, 3: -9}),
        ("private-okp", "the private member d of an Ed25519 key", {**okp, -4: bytes(32)}),
        ("private-ec2", "the private member d of a P-256 key", {**ec2, -4: bytes(32)}),
        ("private-akp", "the private member of an ML-DSA-44 key", {**akp, -2: bytes(32)}),
        ("kid-member", "a member that the thumbprint does not cover", {**okp, 2: b"kid"}),
        ("y-missing", "a P-256 key without y", {1: 2, -1: 1, -2: x}),
        ("y-sign", "a compressed point: y as a boolean", {1: 2, -1: 1, -2: x, -3: True}),
        ("akp-without-alg", "an AKP key does not say its algorithm", without_alg),
        ("wrong-curve", "an OKP key of X25519", {**okp, -1: 4}),
        ("symmetric", "a symmetric key", {1: 4, -1: bytes(16)}),
        ("kty-text", "the key type as text", {**okp, 1: "OKP"}),
        ("x-short", "an x of 31 bytes", {**okp, -2: bytes(31)}),
        ("not-on-curve", "a point that is not on P-256", {1: 2, -1: 1, -2: x, -3: y[:-1] + bytes((y[-1] ^ 1,))}),
        ("small-order", "the neutral point, under which anybody can sign", {**okp, -2: b"\1" + bytes(31)}),
        ("order-8", "a point of order 8", {**okp, -2: bytes.fromhex(_ORDER_8)}),
        ("not-canonical", "p + 3: another encoding of a smaller number", {**okp, -2: b"\xf0" + b"\xff" * 30 + b"\x7f"}),
        ("ml-dsa-short", "an ML-DSA-44 key of 1,311 bytes", {**akp, -1: ml_dsa.raw[:-1]}),
    ]
    for name, description, value in refused:
        file.refuse(f"key-{name}", description, "cose_key", key(value), KEY)


_ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"


def _add_signatures(file: VectorFile, ed25519: Ed25519Signer, es256: DeterministicEs256Signer) -> None:
    def signature(signer: Signer, made: bytes, message: bytes = MESSAGE) -> dict[str, str]:
        key = signer.public_key
        return {
            "algorithm": key.algorithm.text,
            "public_key": key.raw.hex(),
            "message": message.hex(),
            "signature": made.hex(),
        }

    edwards, ecdsa = ed25519.sign(MESSAGE), es256.sign(MESSAGE)
    r, s = int.from_bytes(ecdsa[:32], "big"), int.from_bytes(ecdsa[32:], "big")
    for name, description, value in (
        ("ed25519", "an Ed25519 signature", signature(ed25519, edwards)),
        ("ed25519-empty", "over the empty message", signature(ed25519, ed25519.sign(b""), b"")),
        ("es256", "an ES256 signature, r‖s", signature(es256, ecdsa)),
        (
            "es256-malleated",
            "r and n − s: it verifies too, so nothing is ever identified by the bytes of a signature",
            signature(es256, malleated_es256(ecdsa)),
        ),
    ):
        file.accept(f"signature-{name}", description, "signature", value)
    higher = (int.from_bytes(edwards[32:], "little") + ED25519_ORDER).to_bytes(32, "little")
    for name, description, value in (
        ("ed25519-another-message", "over another message", signature(ed25519, edwards, MESSAGE + b"!")),
        ("ed25519-s-above-order", "s + L, the same number once more", signature(ed25519, edwards[:32] + higher)),
        ("ed25519-short", "63 bytes", signature(ed25519, edwards[:-1])),
        ("ed25519-long", "65 bytes", signature(ed25519, edwards + b"\0")),
        ("ed25519-another-key", "made by another key", signature(Ed25519Signer(bytes(31) + b"\1"), edwards)),
        ("es256-der", "in DER instead of r‖s", signature(es256, encode_dss_signature(r, s))),
        ("es256-r-zero", "r = 0", signature(es256, bytes(32) + ecdsa[32:])),
        ("es256-s-zero", "s = 0", signature(es256, ecdsa[:32] + bytes(32))),
        ("es256-s-is-order", "s = n", signature(es256, ecdsa[:32] + P256_ORDER.to_bytes(32, "big"))),
        ("es256-bit", "one bit of s is another", signature(es256, ecdsa[:-1] + bytes((ecdsa[-1] ^ 1,)))),
    ):
        file.refuse(f"signature-{name}", description, "signature", value, SIGNATURE)


def cose_vectors() -> VectorFile:
    """COSE_Sign1 messages: headers, algorithms, what is signed."""
    file = VectorFile("cose", "specs/cose.md")
    random = SeededRandom("chopmark cose vectors 1")
    ed25519 = Ed25519Signer.from_private_bytes(random(32))
    es256 = DeterministicEs256Signer(random(32))

    def message(
        signer: Signer, protected: bytes, *, unprotected: Any = None, payload: Any = b"\xa0", flipped: bool = False
    ) -> dict[str, str]:
        signed = cbor.encode(["Signature1", protected, b"", payload if isinstance(payload, bytes) else b""])
        made = signer.sign(signed)
        if flipped:
            made = made[:-1] + bytes((made[-1] ^ 1,))
        value = Tagged([protected, {} if unprotected is None else unprotected, payload, made])
        return _with_key(cbor.encode(value), signer)

    for name, description, signer, protected in (
        ("ed25519", "alg −19", ed25519, cbor.encode({1: -19, 4: b"kid"})),
        ("eddsa", "alg −8, which earlier writers used for Ed25519", ed25519, cbor.encode({1: -8})),
        ("es256", "alg −9", es256, cbor.encode({1: -9})),
        ("es256-polymorphic", "alg −7, which earlier writers used for ES256", es256, cbor.encode({1: -7})),
    ):
        value = message(signer, protected)
        digest = cose.Sign1.parse(bytes.fromhex(value["hex"])).digest().hex()
        file.accept(f"cose-{name}", description, "cose", value, {"digest": digest})
    alg = cbor.encode({1: -19})
    malleated = cose.Sign1.parse(bytes.fromhex(message(es256, cbor.encode({1: -9}))["hex"]))
    changed = cbor.encode(Tagged([malleated.protected, {}, malleated.payload, malleated_es256(malleated.signature)]))
    file.accept(
        "cose-es256-malleated",
        "another signature over the same structure: the digest is the same as that of cose-es256",
        "cose",
        _with_key(changed, es256),
        {"digest": malleated.digest().hex()},
    )
    untagged = bytes.fromhex(message(ed25519, alg)["hex"])[1:]
    for name, description, value, error in (
        ("untagged", "without tag 18", {**message(ed25519, alg), "hex": untagged.hex()}, FORMAT),
        ("no-alg", "no algorithm in the protected header", message(ed25519, b"\xa0"), FORMAT),
        ("empty-protected", "an empty byte string for an empty header", message(ed25519, b""), FORMAT),
        ("protected-array", "a protected header that is no map", message(ed25519, b"\x80"), FORMAT),
        ("protected-not-shortest", "a label in two bytes", message(ed25519, b"\xa1\x18\x01\x32"), FORMAT),
        ("protected-simple-59", "simple(59) as a label", message(ed25519, b"\xa2\x01\x32\xf8\x3b\x80"), FORMAT),
        ("label-twice", "alg in both headers", message(ed25519, alg, unprotected={1: -19}), FORMAT),
        ("unprotected-array", "an unprotected header that is no map", message(ed25519, alg, unprotected=[]), FORMAT),
        ("payload-text", "a payload that is text", message(ed25519, alg, payload="x"), FORMAT),
        ("es384", "alg −35, not of suite 1", message(ed25519, cbor.encode({1: -35})), UNSUPPORTED),
        ("alg-text", "alg as text", message(ed25519, cbor.encode({1: "EdDSA"})), UNSUPPORTED),
        ("alg-of-another-key", "alg −9 over an Ed25519 signature", message(ed25519, cbor.encode({1: -9})), SIGNATURE),
        ("signature-bit", "one bit of the signature is another", message(ed25519, alg, flipped=True), SIGNATURE),
    ):
        file.refuse(f"cose-{name}", description, "cose", value, error)
    return file


def _with_key(data: bytes, signer: Signer) -> dict[str, str]:
    key = signer.public_key
    return {"hex": data.hex(), "algorithm": key.algorithm.text, "public_key": key.raw.hex()}
