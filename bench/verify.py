"""Verification against the primitives that it cannot do without, and beside two other libraries.

The base is what any verifier of the same credential must compute: libsodium's Ed25519 over the signed bytes (and
OpenSSL's ECDSA over the token, the holder's key ready for use), and ten SHA-256 node hashes. Ours ends with a verdict:
CBOR, every check of the recipe, the trust store. It starts from the COSE message, as a file or a wallet holds it and
as the peers get theirs, and once more from the text of the QR code, with base45 and inflating.
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
from nacl.signing import VerifyKey

from bench.peer_process import PeerProcess
from bench.report import MICRO, Group, Table, add_timing, timing_table
from bench.rounds import Contender, alternate, over
from bench.samples import COUNT, LoggedCredential, Samples
from bench.steps import step_table, verifying_bytes, verifying_texts

REACH = 2.5
ROUNDS = 80


def measure(samples: Samples) -> Group:
    """Measure a static and a key-bound code."""
    group = Group("Verification")
    table = timing_table()
    group.add(table)
    cwt, openvc = _static(samples, table), _key_bound(samples, table)
    group.add(
        f"Each round verifies {COUNT} credentials once, each of another licence, the key-bound ones of as many "
        "holders; the replay cache is new in each round. Every verdict is VALID. The base of a row is what its verdict "
        "cannot do without: the signatures (PyNaCl; OpenSSL by cryptography with the key loaded beforehand) and ten "
        "node hashes; it reads nothing and looks up nothing."
    )
    group.add(
        f"`cwt` ({cwt}) decodes the same COSE messages, checks the signature and `exp`/`nbf`, and knows nothing of "
        "log, status, issuer's authority or fields. It takes our algorithm identifier -19 as it stands."
    )
    group.add(
        f"`openvc-core` ({openvc}) verifies an SD-JWT VC that it issued with the same claims, Ed25519 and ES256 keys "
        "and three disclosures: signatures, digests, times, audience and nonce; no log, status or authority."
    )
    group.add("### Where the time goes")
    group.add(step_table(samples))
    group.add(
        "Each step is timed alone, in a loop that finds the processor's caches warm; what the steps lose by standing "
        "among each other is in the rest, with the look-ups in the trust store, the rules, the status and the verdict."
    )
    return group


def _static(samples: Samples, table: Table) -> str:
    encoded = [sample.credential.encode() for sample in samples.bearer]
    texts = [qr_text.encode(data) for data in encoded]
    _assert_valid(samples, texts)
    raw = [_RawCredential.of(sample) for sample in samples.bearer]
    key = samples.bearer[0].issuer_key
    material = {
        "credentials": [data.hex() for data in encoded],
        "public_key": key.raw.hex(),
        "kid": key.kid.hex(),
        "alg": int(key.algorithm),
    }
    with PeerProcess("cwt_peer", material) as peer:
        _compare(
            table,
            [
                Contender("static credential, COSE to verdict", over(lambda: verifying_bytes(samples), encoded)),
                Contender("the same, QR text to verdict", over(lambda: verifying_texts(samples), texts)),
                Contender("one PyNaCl verify + 10 hashes", over(lambda: _RawCredential.verify, raw)),
                Contender("`cwt`, COSE to claims, without log and status", peer.round(COUNT)),
            ],
        )
        return peer.title()


def _key_bound(samples: Samples, table: Table) -> str:
    encoded = [presentation.encode() for presentation in samples.presentations]
    texts = [qr_text.encode(data) for data in encoded]
    _assert_valid(samples, texts)
    raw = [_RawToken.of(*pair) for pair in zip(samples.bound, samples.presentations, strict=True)]
    with PeerProcess("openvc_peer", _sd_jwt_material(samples)) as peer:
        _compare(
            table,
            [
                Contender("key-bound presentation, COSE to verdict", over(lambda: verifying_bytes(samples), encoded)),
                Contender("the same, QR text to verdict", over(lambda: verifying_texts(samples), texts)),
                Contender("its two verifies (Ed25519, ES256) + 10 hashes", over(lambda: _RawToken.verify, raw)),
                Contender("`openvc-core`, SD-JWT to claims, without log and status", peer.round(COUNT)),
            ],
        )
        return peer.title()


def _compare(table: Table, contenders: Sequence[Contender]) -> None:
    """Add a row for ours from COSE, ours from text, the base, and the peer, in this order."""
    *ours, base, peer = zip(contenders, alternate(contenders, rounds=ROUNDS), strict=True)
    against, base_series = base[0].name, base[1]
    for contender, series in ours:
        ratio = series.ratio(base_series)
        add_timing(
            table,
            contender.name,
            series,
            scale=MICRO,
            unit="µs",
            against=against,
            ratio=ratio,
            reach=f"≤ {REACH} ×",
            reached=ratio <= REACH,
        )
    add_timing(table, against, base_series, scale=MICRO, unit="µs")
    ratio = peer[1].ratio(base_series)
    add_timing(table, peer[0].name, peer[1], scale=MICRO, unit="µs", against=against, ratio=ratio)


def _sd_jwt_material(samples: Samples) -> dict[str, object]:
    """The claims of the first presentation, as an SD-JWT VC has them."""
    claims = samples.bound[0].credential.claims
    fields = samples.presentations[0].credential.disclosed_fields()
    stated: dict[str, object] = {"iss": f"https://{claims.issuer}", "sub": claims.licence_number}
    if claims.status is not None:
        stated["status"] = {"status_list": {"idx": claims.status.index, "uri": claims.status.uri}}
    stated.update({f"field_{identifier}": value for identifier, value in fields.items()})
    selective = [f"field_{identifier}" for identifier in fields if identifier not in claims.fields]
    return {"claims": stated, "vct": claims.licence_type, "disclosable": selective}


def _assert_valid(samples: Samples, texts: Sequence[str]) -> None:
    verify = verifying_texts(samples)
    for text in texts:
        verdict = verify(text)
        if verdict.outcome is not Outcome.VALID:
            raise AssertionError(f"{verdict.outcome}: {verdict.deciding}")


@dataclass(frozen=True, slots=True)
class _RawCredential:
    """A credential as the primitives take it."""

    key: VerifyKey
    message: bytes
    signature: bytes
    leaf: bytes
    siblings: tuple[bytes, ...]

    @classmethod
    def of(cls, sample: LoggedCredential) -> _RawCredential:
        sign1 = sample.credential.sign1
        key = VerifyKey(sample.issuer_key.raw)
        return cls(key, sign1.to_be_signed(), sign1.signature, sample.leaf, sample.siblings)

    def verify(self) -> bytes:
        self.key.verify(self.message, self.signature)
        node = self.leaf
        for sibling in self.siblings:
            node = sha256(b"\1" + sibling + node).digest()
        return node


@dataclass(frozen=True, slots=True)
class _RawToken:
    """A presentation as the primitives take it."""

    credential: _RawCredential
    holder_key: ec.EllipticCurvePublicKey
    message: bytes
    signature: bytes

    @classmethod
    def of(cls, sample: LoggedCredential, presentation: Presentation) -> _RawToken:
        holder = presentation.credential.claims.holder_key
        if holder is None:
            raise AssertionError("no holder key")
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + holder.raw)
        signature = presentation.sign1.signature
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        return cls(_RawCredential.of(sample), key, presentation.sign1.to_be_signed(), encode_dss_signature(r, s))

    def verify(self) -> bytes:
        self.holder_key.verify(self.signature, self.message, _ECDSA)
        return self.credential.verify()


_ECDSA = ec.ECDSA(SHA256())
