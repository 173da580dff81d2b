"""Verification against the primitives that it cannot do without, and beside two other libraries.

The base is what any verifier of the same credential must compute: libsodium's Ed25519 over the signed bytes (and
OpenSSL's ECDSA over the token, the holder's key ready for use), and ten SHA-256 node hashes. Ours starts from the
text of the QR code and ends with a verdict: base45, inflating, CBOR, every check of the recipe, the trust store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from chopmark import qr_text
from chopmark.presentation import Presentation
from chopmark.verdict import Outcome
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from nacl.bindings import crypto_sign_open

from bench.peer_process import PeerProcess
from bench.report import MICRO, Group, Table, add_timing, timing_table
from bench.rounds import Contender, Series, alternate, over
from bench.samples import COUNT, LoggedCredential, Samples
from bench.steps import step_table, verifying

REACH = 2.5
ROUNDS = 80
STEP_ROUNDS = 30


def measure(samples: Samples) -> Group:
    """Measure a static and a key-bound code."""
    group = Group("Verification")
    table = timing_table()
    group.add(table)
    versions = _static(samples, table), _key_bound(samples, table)
    group.add(
        f"Each round verifies {COUNT} credentials once, each of another licence, the key-bound ones of as many "
        "holders; the replay cache is new in each round. Every verdict is VALID. The base of a row is what its verdict "
        "cannot do without: the signatures (PyNaCl's binding of libsodium; OpenSSL by cryptography with the key loaded "
        "beforehand) and ten node hashes; it reads nothing and looks up nothing."
    )
    group.add(
        f"`cwt` ({versions[0]}) decodes the same COSE bytes, checks the signature and `exp`/`nbf`, and knows nothing "
        "of base45, log, status, issuer's authority or fields. It takes our algorithm identifier -19 as it stands. "
        f"`openvc-core` ({versions[1]}) verifies an SD-JWT VC that it issued with the same claims, Ed25519 and ES256 "
        "keys and three disclosures: signatures, digests, times, audience and nonce; no log, status or authority."
    )
    group.add("### Where the time goes")
    group.add(step_table(samples))
    group.add("The last step is what remains of the whole: look-ups in the trust store, rules, status, the verdict.")
    return group


def _static(samples: Samples, table: Table) -> str:
    texts = [qr_text.encode(sample.credential.encode()) for sample in samples.bearer]
    _assert_valid(samples, texts)
    first = samples.bearer[0]
    material = {
        "credential": first.credential.encode().hex(),
        "public_key": first.issuer_key.raw.hex(),
        "kid": first.issuer_key.kid.hex(),
        "alg": int(first.issuer_key.algorithm),
    }
    with PeerProcess("cwt_peer", material) as peer:
        ours, base, theirs = alternate(
            [
                Contender("chopmark", over(lambda: verifying(samples), texts)),
                Contender("primitives", over(lambda: _raw_static, samples.bearer)),
                Contender("cwt", peer.round(COUNT)),
            ],
            rounds=ROUNDS,
        )
    _add_rows(
        table,
        ("static code, from text to verdict", ours),
        ("one PyNaCl verify + 10 hashes", base),
        ("`cwt`, the same COSE, signature and times only", theirs),
    )
    return peer.title()


def _key_bound(samples: Samples, table: Table) -> str:
    texts = [qr_text.encode(presentation.encode()) for presentation in samples.presentations]
    _assert_valid(samples, texts)
    raw = [
        _RawToken.of(sample, presentation)
        for sample, presentation in zip(samples.bound, samples.presentations, strict=True)
    ]
    claims = samples.bound[0].credential.claims
    fields = samples.presentations[0].credential.disclosed_fields()
    names = {identifier: f"field_{identifier}" for identifier in fields}
    stated: dict[str, object] = {"iss": f"https://{claims.issuer}", "sub": claims.licence_number}
    if claims.status is not None:
        stated["status"] = {"status_list": {"idx": claims.status.index, "uri": claims.status.uri}}
    material = {
        "claims": {**stated, **{names[identifier]: value for identifier, value in fields.items()}},
        "vct": claims.licence_type,
        "disclosable": [names[identifier] for identifier in fields if identifier not in claims.fields],
    }
    with PeerProcess("openvc_peer", material) as peer:
        ours, base, theirs = alternate(
            [
                Contender("chopmark", over(lambda: verifying(samples), texts)),
                Contender("primitives", over(lambda: _RawToken.verify, raw)),
                Contender("openvc-core", peer.round(COUNT)),
            ],
            rounds=ROUNDS,
        )
    _add_rows(
        table,
        ("key-bound code, from text to verdict", ours),
        ("its two verifies (Ed25519, ES256) + 10 hashes", base),
        ("`openvc-core`, SD-JWT VC with key binding, without log and status", theirs),
    )
    return peer.title()


def _add_rows(table: Table, ours: tuple[str, Series], base: tuple[str, Series], peer: tuple[str, Series]) -> None:
    ratio = ours[1].ratio(base[1])
    add_timing(
        table,
        *ours,
        scale=MICRO,
        unit="µs",
        against=base[0],
        ratio=ratio,
        reach=f"≤ {REACH} ×",
        reached=ratio <= REACH,
    )
    add_timing(table, *base, scale=MICRO, unit="µs")
    add_timing(table, *peer, scale=MICRO, unit="µs", against=base[0], ratio=peer[1].ratio(base[1]))


def _assert_valid(samples: Samples, texts: Sequence[str]) -> None:
    verify = verifying(samples)
    for text in texts:
        verdict = verify(text)
        if verdict.outcome is not Outcome.VALID:
            raise AssertionError(f"{verdict.outcome}: {verdict.deciding}")


def _raw_static(sample: LoggedCredential) -> None:
    crypto_sign_open(sample.signed_message, sample.issuer_key.raw)
    _climb(sample.leaf, sample.siblings)


def _climb(node: bytes, siblings: Sequence[bytes]) -> bytes:
    for sibling in siblings:
        node = sha256(b"\1" + sibling + node).digest()
    return node


@dataclass(frozen=True, slots=True)
class _RawToken:
    """A presentation as the primitives take it."""

    credential: LoggedCredential
    holder_key: ec.EllipticCurvePublicKey
    signature: bytes
    message: bytes

    @classmethod
    def of(cls, credential: LoggedCredential, presentation: Presentation) -> _RawToken:
        holder = presentation.credential.claims.holder_key
        if holder is None:
            raise AssertionError("no holder key")
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + holder.raw)
        signature = presentation.sign1.signature
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        return cls(credential, key, encode_dss_signature(r, s), presentation.sign1.to_be_signed())

    def verify(self) -> None:
        self.holder_key.verify(self.signature, self.message, _ECDSA)
        _raw_static(self.credential)


_ECDSA = ec.ECDSA(SHA256())
