"""Where the time of a verification goes: its steps alone, taking turns with the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chopmark import cose, qr_text
from chopmark.credential import Credential
from chopmark.entries import credential_entry
from chopmark.limits import LIMITS
from chopmark.merkle import leaf_hash
from chopmark.presentation import Presentation
from chopmark.replay_cache import ReplayCache
from chopmark.verdict import Verdict
from chopmark.verifier import Verifier

from bench.report import MICRO, Table
from bench.rounds import Contender, alternate, over
from bench.samples import LoggedCredential, Samples
from specs.vectors.sample_world import NOW

ROUNDS = 30


def verifier(samples: Samples) -> Verifier:
    """A verifier at `NOW` that has seen nothing yet."""
    return Verifier(samples.store, clock=lambda: NOW, replay_cache=ReplayCache())


def verifying_texts(samples: Samples) -> Callable[[str], Verdict]:
    """Verification of QR texts, by such a verifier."""
    verify = verifier(samples).verify
    return lambda text: verify(text, at=NOW)


def verifying_bytes(samples: Samples) -> Callable[[bytes], Verdict]:
    """Verification of COSE messages, by such a verifier."""
    verify = verifier(samples).verify_bytes
    return lambda data: verify(data, at=NOW)


def step_table(samples: Samples) -> Table:
    """Time the steps of a static and of a key-bound code: the least disturbed round of each."""
    table = Table(("step, minimum", "static", "key-bound"))
    static = _steps(samples, [sample.credential.encode() for sample in samples.bearer], samples.bearer)
    bound = _steps(samples, [presentation.encode() for presentation in samples.presentations], samples.bound)
    for name, seconds in bound.items():
        table.add(name, _microseconds(static.get(name)), _microseconds(seconds))
    return table


def _microseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * MICRO:.1f} µs"


def _steps(samples: Samples, encoded: Sequence[bytes], logged: Sequence[LoggedCredential]) -> dict[str, float]:
    texts = [qr_text.encode(data) for data in encoded]
    parsed = [_parse(data) for data in encoded]
    presentations = [item for item in parsed if isinstance(item, Presentation)]
    credentials = [item.credential if isinstance(item, Presentation) else item for item in parsed]
    signed = [(item, sample.issuer_key) for item, sample in zip(credentials, logged, strict=True)]
    contenders = [
        Contender("0 decode the QR text", over(lambda: qr_text.decode, texts)),
        Contender("1 parse", over(lambda: _parse, encoded)),
        Contender("4 issuer's signature", over(lambda: lambda pair: pair[0].verify_signature(pair[1]), signed)),
        Contender("5 disclosures", over(lambda: _disclose, credentials)),
        Contender("6 path in the log", over(lambda: lambda item: _find_in_log(samples, item), credentials)),
    ]
    if presentations:
        contenders.insert(
            2, Contender("2 holder's signature", over(lambda: Presentation.verify_binding, presentations))
        )
    whole, *steps = alternate(
        [Contender("whole", over(lambda: verifying_texts(samples), texts)), *contenders], rounds=ROUNDS
    )
    least = {contender.name: series.minimum for contender, series in zip(contenders, steps, strict=True)}
    return {**least, "the rest": whole.minimum - sum(least.values()), "**whole**": whole.minimum}


def _parse(data: bytes) -> Presentation | Credential:
    sign1 = cose.Sign1.parse(data, max_size=LIMITS.presentation_size)
    if Presentation.is_presentation(sign1):
        return Presentation.from_sign1(sign1)
    return Credential.from_sign1(sign1)


def _disclose(credential: Credential) -> None:
    credential.disclosed()


def _find_in_log(samples: Samples, credential: Credential) -> None:
    proof = credential.landmark_proof
    bundle = samples.store.bundle(credential.region)
    if proof is None or bundle is None:
        raise AssertionError("not in a landmark")
    log = bundle.log_by_number(proof.log_number)
    record = None if log is None else samples.store.landmark(log.origin, proof.start, proof.end)
    if record is None:
        raise AssertionError("no such landmark")
    proof.verify(leaf_hash(credential_entry(credential.claims.issuer, credential.digest)), record)
