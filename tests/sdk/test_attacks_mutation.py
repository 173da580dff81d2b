"""100,000 mutated QR texts, and claims changed at random and signed with the issuer's real key.

Whatever is shown, the verifier answers with a verdict, soon, and VALID only where the inflated bytes are an original's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

import pytest
from chopmark import base45, cbor, cose, qr_text
from chopmark.cbor import REDACTED, Key, Tagged, Value
from chopmark.claims import EARLIEST, LATEST, Usage
from chopmark.cose import Sign1
from chopmark.entries import CredentialEntry
from chopmark.errors import FormatError
from chopmark.limits import LIMITS
from chopmark.note import Note
from chopmark.tlog_proof import TlogProof
from chopmark.trust_store import TrustStore
from chopmark.verdict import Outcome, Result, Verdict
from chopmark.verifier import Verifier
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specs.vectors.sample_world import NOW
from tests.sdk.attack_stage import Stage

CHUNKS: Final = 8
TEXTS: Final = 100_000
SLOWEST: Final = 0.050
"""Seconds that one answer may take."""

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
STRANGE: Final = "aé证٣\0\n\u202e\ud800\U0001f4dc"


@dataclass(frozen=True)
class Sample:
    """A code that is VALID at `NOW`, and the challenge that it answers."""

    data: bytes
    text: str
    challenge: str | None


@dataclass(frozen=True)
class Gallery:
    """A stage with a store that nobody changes any more, and the samples."""

    stage: Stage
    store: TrustStore
    samples: tuple[Sample, ...]

    def look(self, text: str, challenge: str | None = None) -> Verdict:
        """Verify with an empty replay cache."""
        return Verifier(self.store, clock=lambda: NOW).verify(text, challenge=challenge)


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """A static code, a key-bound one, and one that answers a challenge."""
    stage = Stage(tmp_path_factory.mktemp("gallery"))
    static, bound, challenged = stage.licence(), stage.licence("constructor"), stage.licence("transport")
    challenge = stage.challenge(fields=(2,))
    shown = [
        (static.encode(), None),
        (stage.shown(bound, disclose=(2, 4)).encode(), None),
        (stage.shown(challenged, challenge=challenge, disclose=(2,)).encode(), challenge.text()),
    ]
    samples = tuple(Sample(data, qr_text.encode(data), asked) for data, asked in shown)
    gallery = Gallery(stage, stage.store(), samples)
    assert all(gallery.look(sample.text, sample.challenge).outcome is Outcome.VALID for sample in samples)
    return gallery


def changed_text(random: Random, text: str, other: str) -> str:
    """The text with a character or a part of it changed."""
    at, end = sorted((random.randrange(len(text)), random.randrange(len(text) + 1)))
    short = text[at : at + random.randrange(1, 9)]
    match random.randrange(9):
        case 0:
            return text[:at] + random.choice(ALPHABET) + text[at + 1 :]
        case 1:
            return text[:at]
        case 2:
            return text[:at] + other[random.randrange(len(other)) :]
        case 3:
            return text[:at] + random.choice(ALPHABET) + text[at:]
        case 4:
            return text[:at] + text[at + 1 :]
        case 5:
            return text[:at] + text[at : at + 2][::-1] + text[at + 2 :]
        case 6:
            return text[:at] + text[end:] + text[at:end]
        case 7:
            return text[:at] + short + text[at:]
        case _:
            return text[:at] + random.choice(STRANGE) + text[at + random.randrange(2) :]


def changed_bytes(random: Random, data: bytes, other: bytes) -> bytes:
    """The bytes with a bit or a part of them changed."""
    if not data:
        return random.randbytes(9)
    at, end = sorted((random.randrange(len(data)), random.randrange(len(data) + 1)))
    match random.randrange(9):
        case 0 | 1:
            return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
        case 2:
            return data[:at]
        case 3:
            return data[:at] + other[random.randrange(len(other)) :]
        case 4:
            return data[:at] + random.randbytes(random.randrange(1, 5)) + data[at:]
        case 5:
            return data[:at] + data[at + random.randrange(1, 5) :]
        case 6:
            return data[:at] + data[end:] + data[at:end]
        case 7:
            size = random.randrange(1, 33)
            start = random.randrange(len(other))
            return data[:at] + other[start : start + size] + data[at + size :]
        case _:
            return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]


def changed_value(random: Random, data: bytes, other: bytes) -> bytes:
    """The message with one value somewhere in it changed, well formed again."""
    value, donor = cbor.decode(data, max_size=len(data)), cbor.decode(other, max_size=len(other))
    assert isinstance(value, Tagged)
    assert isinstance(donor, Tagged)
    message, strange = list(value.value), list(donor.value)
    part = random.randrange(4)
    if part == 3 or random.random() < 0.1:
        message[part] = strange[part]
    elif isinstance(message[part], bytes):
        inner = message[part]
        assert isinstance(inner, bytes)
        message[part] = cbor.encode(changed_inside(random, cbor.decode(inner, max_size=len(inner))))
    else:
        message[part] = changed_inside(random, message[part])
    return cbor.encode(Tagged(message))


def changed_inside(random: Random, value: Value) -> Value:
    places = list(positions(value))
    place = random.choice(places)
    replacements: list[Value] = [0, -1, 2**64 - 1, b"", random.randbytes(32), "", "x" * 300, True, [], {}, [1] * 99]
    return put(value, place, random.choice(replacements))


Position = tuple[Any, ...]


def positions(value: Value, at: Position = ()) -> Iterator[Position]:
    """Every place in a value, each as the path to it."""
    yield at
    if isinstance(value, dict):
        for key, element in value.items():
            yield from positions(element, (*at, key))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from positions(element, (*at, index))
    elif isinstance(value, Tagged):
        for index, element in enumerate(value.value):
            yield from positions(element, (*at, index))


def put(value: Value, at: Position, new: Value) -> Value:
    """The value with `new` in the place `at`."""
    if not at:
        return new
    key, rest = at[0], at[1:]
    if isinstance(value, dict):
        return {**value, key: put(value[key], rest, new)}
    if isinstance(value, Tagged):
        return Tagged([put(element, rest, new) if n == key else element for n, element in enumerate(value.value)])
    assert isinstance(value, list)
    return [put(element, rest, new) if n == key else element for n, element in enumerate(value)]


def mutated(random: Random, samples: tuple[Sample, ...]) -> tuple[str, str | None]:
    """One mutated text, and the challenge it is shown to."""
    sample, other = random.choice(samples), random.choice(samples)
    challenge = sample.challenge if random.random() < 0.9 else other.challenge
    level = random.randrange(5)
    if level < 2:
        return changed_text(random, sample.text, other.text), challenge
    change = changed_bytes if level < 4 else changed_value
    data = sample.data
    with suppress(FormatError):  # such as a map with the key 59: that cannot be written
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            data = change(random, data, other.data)
    return qr_text.encode(data[: LIMITS.presentation_size]), challenge


def timed(look: Callable[[], Verdict]) -> tuple[Verdict, float]:
    start = time.perf_counter()
    verdict = look()
    return verdict, time.perf_counter() - start


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_mutated_codes_are_answered_soon_and_none_reads_valid(gallery: Gallery, chunk: int) -> None:
    random = Random(f"mutations {chunk}")
    originals = {sample.data for sample in gallery.samples}
    reasons: set[str] = set()
    for _ in range(TEXTS // CHUNKS):
        text, challenge = mutated(random, gallery.samples)
        verdict, seconds = timed(lambda text=text, challenge=challenge: gallery.look(text, challenge))  # type: ignore[misc]
        for _ in range(3):  # another process may have been at work: what is slow is slow again
            if seconds > SLOWEST:
                _, seconds = timed(lambda text=text, challenge=challenge: gallery.look(text, challenge))  # type: ignore[misc]
        assert seconds <= SLOWEST, text
        if verdict.outcome is Outcome.VALID:
            assert qr_text.decode(text) in originals, text
        reasons.update(check.reason for check in verdict.checks)
        json.dumps(verdict.to_json(), ensure_ascii=False).encode()
    # The mutations reach the checks behind the decoder too.
    assert reasons >= {"not_a_licence_code", "malformed", "signature_wrong", "holder_signature_wrong"}
    assert reasons >= {"log_path_wrong", "disclosure_mismatch", "challenge_not_answered", "status_valid"}


def heaviest(stage: Stage) -> dict[str, str]:
    """The most work that fits into one code, by the checks that have to do it."""
    licence, bound = stage.licence(), stage.licence("constructor")
    assert licence.landmark_proof is not None
    proof = TlogProof.parse(stage.log.tlog_proof(licence.landmark_proof.index, at=NOW - 60))
    witness = stage.log.witnesses[0]
    lines = [witness.cosign(proof.checkpoint, NOW - second) for second in range(36)]
    cosigned = replace(proof, checkpoint_note=Note.parse(proof.checkpoint_note).with_signature(*lines).encode())
    disclosures: list[Value] = [cbor.encode([n.to_bytes(16, "big"), 0, n + 60]) for n in range(300)]
    claims: dict[Key, Value] = {-70000 - n: 0 for n in range(1150)}
    wide: list[Value] = [[[[[0]] for _ in range(6)] for _ in range(19)] for _ in range(20)]
    holders: dict[Key, Value] = {**bound.sign1.unprotected, cose.SD_CLAIMS: disclosures}
    shown: dict[str, Any] = {
        "cosignatures": licence.without_proofs().with_tlog_proof(cosigned.encode()),
        "disclosures": stage.token(replace(bound.sign1, unprotected=holders)),
        "unknown claims": stage.signed(licence, lambda payload: payload.update(claims)),
        "unknown headers": replace(licence.sign1, unprotected={**licence.sign1.unprotected, **claims}),
        "nested arrays": stage.signed(licence, lambda payload: payload.update({-70000: wide})),
        "one long text": stage.signed(licence, lambda payload: payload.update({-70000: "证" * 2400})),
    }
    return {
        "noise": qr_text.PREFIX + base45.encode(Random(1).randbytes(16_000)),
        "long text": qr_text.PREFIX + "A" * (LIMITS.qr_text_length - 4),
    } | {name: qr_text.encode(heavy.encode()) for name, heavy in shown.items()}


@pytest.mark.parametrize(
    "what",
    [
        "cosignatures",
        "disclosures",
        "unknown claims",
        "unknown headers",
        "nested arrays",
        "one long text",
        "noise",
        "long text",
    ],
)
def test_the_heaviest_codes_are_answered_soon_too(stage: Stage, what: str) -> None:
    text = heaviest(stage)[what]
    look = stage.verifier().verify
    fastest = min(timed(lambda: look(text))[1] for _ in range(5))
    assert fastest <= SLOWEST
    verdict = look(text)
    assert (verdict.outcome is Outcome.VALID) is (what == "cosignatures")
    json.dumps(verdict.to_json(), ensure_ascii=False).encode()


keys = st.one_of(st.integers(-(2**64), 2**64 - 1).filter(lambda key: key != 59), st.text(max_size=8), st.just(REDACTED))
values: st.SearchStrategy[Value] = st.recursive(
    st.one_of(
        st.integers(-(2**64), 2**64 - 1),
        st.integers(-4, 70),
        st.binary(max_size=40),
        st.text(max_size=20),
        st.booleans(),
        st.sampled_from([EARLIEST, EARLIEST - 1, LATEST, LATEST + 1, 2**63, -(2**63)]),
        st.sampled_from([NOW, "CN-GD/11440000MB99990015", "https://cn-gd.example/status/1", "paper", "*"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.lists(inner, min_size=4, max_size=4).map(Tagged),
    ),
    max_leaves=6,
)


def answered(gallery: Gallery, shown: Sign1) -> None:
    """Show it, and read all that a verdict can tell."""
    try:
        text = qr_text.encode(shown.encode())
    except FormatError:  # above a bound of what can be written at all
        return
    for verdict in (gallery.look(text), gallery.look(text, gallery.samples[2].challenge)):
        assert [check.number for check in verdict.checks] == list(range(10))
        json.dumps(verdict.to_json(), ensure_ascii=False).encode()
        verdict.fields()
        if verdict.checks[5].result is not Result.FAIL:
            verdict.licence_number()


@pytest.mark.parametrize("kind", ["food", "constructor"])
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_any_place_of_the_claims_is_answered(gallery: Gallery, kind: str, data: st.DataObject) -> None:
    """The issuer's real key signs whatever it is given, and it is logged."""
    stage = gallery.stage
    usage = Usage(role="copy", purpose="投标", until=NOW + 60)
    credential = stage.issue(kind, usage=usage)
    payload = cbor.decode(credential.sign1.payload)
    assert isinstance(payload, dict)
    added = (data.draw(keys, "key"),)
    place = data.draw(st.sampled_from([*positions(payload), added]), "place")
    new = data.draw(values, "value")
    changed = {**payload, added[0]: new} if place == added else put(payload, place, new)
    try:
        encoded = cbor.encode(changed)
    except FormatError:  # deeper than the profile allows
        return
    signer = stage.credential_key(credential.claims.issuer)
    message = replace(credential.sign1, payload=encoded)
    message = replace(message, signature=signer.sign(message.to_be_signed()))
    issuer = changed.get(1) if isinstance(changed, dict) else None
    entry = CredentialEntry(issuer if isinstance(issuer, str) and issuer else "CN-GD/x", message.digest())
    index = stage.log.append(entry.encode())
    proof: dict[Key, Value] = {cose.TLOG_PROOF: stage.log.tlog_proof(index, at=NOW - 10 * 86_400)}
    message = replace(message, unprotected={**message.unprotected, **proof})
    answered(gallery, message if kind == "food" else stage.token(message))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_in_any_header_is_answered(gallery: Gallery, data: st.DataObject) -> None:
    """Headers of the licence, and headers and claims of the token around it."""
    stage = gallery.stage
    sample = data.draw(st.sampled_from(gallery.samples), "sample")
    message = Sign1.parse(sample.data, max_size=LIMITS.presentation_size)
    protected: Value = dict(message.protected_map)
    new = data.draw(values, "value")
    parts: list[Value] = [protected, dict(message.unprotected), cbor.decode(message.payload), message.signature]
    number = data.draw(st.integers(0, 3), "part")
    parts[number] = put(parts[number], data.draw(st.sampled_from(list(positions(parts[number]))), "place"), new)
    try:
        contents: list[Value] = [cbor.encode(parts[0]), parts[1], cbor.encode(parts[2]), parts[3]]
        encoded = cbor.encode(Tagged(contents))
        text = qr_text.encode(encoded)
    except FormatError:
        return
    verdict = gallery.look(text, sample.challenge)
    assert verdict.outcome is not Outcome.VALID or encoded == sample.data
    json.dumps(verdict.to_json(), ensure_ascii=False).encode()
    del stage
