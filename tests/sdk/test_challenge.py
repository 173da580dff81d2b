"""Challenges: round trips, each rule made to fail alone, and the text form."""

from __future__ import annotations

import hashlib

import pytest
from chopmark import base45, cbor, cose
from chopmark.cbor import Key, Value
from chopmark.challenge import MAX_LIFETIME, PREFIX, TYP, Challenge, create_challenge
from chopmark.errors import ChopmarkError, FormatError, LimitError, SignatureError, UnsupportedError
from chopmark.keys import Ed25519Signer, Es256Signer
from hypothesis import given, settings
from hypothesis import strategies as st

INSPECTOR = Ed25519Signer(hashlib.sha256(b"inspector").digest())
AT = 1795339800
NONCE = bytes(range(16))
CLAIMS: dict[Key, Value] = {
    1: "CN-SH/11310000MB2F1234X7",
    4: AT + 120,
    6: AT,
    10: NONCE,
    11: "CN-GD/11100000000013338W032@3",
    -65540: "工地入场核验",
    -65541: [4, 5],
}


def challenge() -> Challenge:
    return create_challenge(
        INSPECTOR,
        inspector="CN-SH/11310000MB2F1234X7",
        purpose="工地入场核验",
        licence_type="CN-GD/11100000000013338W032@3",
        fields=[5, 4, 5],
        at=AT,
        random=lambda size: NONCE[:size],
    )


def signed(
    claims: Value, *, protected: dict[Key, Value] | None = None, unprotected: dict[Key, Value] | None = None
) -> bytes:
    """A message by the inspector's real key with whatever it is told to hold."""
    header: dict[Key, Value] = {cose.KID: INSPECTOR.public_key.kid, cose.TYP: TYP}
    return cose.sign1(
        INSPECTOR,
        protected=header if protected is None else protected,
        payload=cbor.encode(claims),
        unprotected=unprotected,
    ).encode()


def test_what_a_challenge_says() -> None:
    asked = challenge()
    assert asked.inspector == "CN-SH/11310000MB2F1234X7"
    assert asked.purpose == "工地入场核验"
    assert asked.licence_type == "CN-GD/11100000000013338W032@3"
    assert asked.fields == (4, 5)
    assert (asked.issued_at, asked.expires) == (AT, AT + 120)
    assert asked.nonce == NONCE
    assert asked.kid == INSPECTOR.public_key.kid
    assert cbor.decode(asked.sign1.payload) == CLAIMS
    asked.verify(INSPECTOR.public_key)


def test_round_trip_as_text_and_as_bytes() -> None:
    asked = challenge()
    assert Challenge.parse_text(asked.text()) == asked
    assert Challenge.parse(asked.encode()) == asked
    assert asked.text().startswith("EC1:")


def test_the_digest_is_that_of_the_bytes() -> None:
    asked = challenge()
    assert asked.digest == hashlib.sha256(asked.encode()).digest()
    assert asked.digest == hashlib.sha256(base45.decode(asked.text().removeprefix("EC1:"))).digest()


def test_two_challenges_differ() -> None:
    def ask() -> Challenge:
        return create_challenge(INSPECTOR, inspector="CN/1", purpose="x", licence_type="CN/2@1", at=AT)

    assert ask().digest != ask().digest
    assert ask().fields == ()


def test_another_key_does_not_verify() -> None:
    with pytest.raises(SignatureError):
        challenge().verify(Ed25519Signer(bytes(32)).public_key)
    with pytest.raises(SignatureError, match="Ed25519"):
        challenge().verify(Es256Signer(bytes(31) + b"\x01").public_key)


WRONG: dict[int, list[Value]] = {
    1: ["", "nobody", 7, b"CN-SH/1", "CN-SH/1 "],
    4: [AT, AT - 1, AT + MAX_LIFETIME + 1, "soon", True, 2**60],
    6: ["now", False, -(2**60), AT + 120],
    10: [b"", bytes(15), bytes(17), "0123456789abcdef"],
    11: ["", "CN-GD/W032", 7],
    -65540: ["", "x" * 201, 7, "two\nlines", "\u202e"],
    -65541: [[], 7, {}, [5, 4], [4, 4], ["4"], [True], [b""]],
}


@pytest.mark.parametrize(("claim", "wrong"), [(claim, wrong) for claim, values in WRONG.items() for wrong in values])
def test_a_claim_of_the_wrong_form_is_refused(claim: int, wrong: Value) -> None:
    with pytest.raises(FormatError, match=rf"challenge.*{claim}"):
        Challenge.parse(signed({**CLAIMS, claim: wrong}))


@pytest.mark.parametrize("claim", [1, 4, 6, 10, 11, -65540])
def test_a_missing_claim_is_refused(claim: int) -> None:
    with pytest.raises(FormatError, match="exactly the claims"):
        Challenge.parse(signed({key: value for key, value in CLAIMS.items() if key != claim}))


@pytest.mark.parametrize("claim", [2, 3, 5, 7, 8, 39, -65542, "x"])
def test_a_claim_too_many_is_refused(claim: Key) -> None:
    with pytest.raises(FormatError, match="exactly the claims"):
        Challenge.parse(signed({**CLAIMS, claim: 1}))


@pytest.mark.parametrize("claims", [7, [], "x", b""])
def test_a_payload_that_is_no_map_is_refused(claims: Value) -> None:
    with pytest.raises(FormatError, match="exactly the claims"):
        Challenge.parse(signed(claims))


@pytest.mark.parametrize("typ", [61, 293, 294, "application/chopmark-challenge", b"", True])
def test_another_type_is_unsupported(typ: Value) -> None:
    with pytest.raises(UnsupportedError, match="typ"):
        Challenge.parse(signed(CLAIMS, protected={cose.KID: bytes(8), cose.TYP: typ}))


def test_the_headers_are_exact() -> None:
    with pytest.raises(FormatError, match="headers"):
        Challenge.parse(signed(CLAIMS, unprotected={7: 1}))
    with pytest.raises(FormatError, match="headers"):
        Challenge.parse(signed(CLAIMS, protected={cose.KID: bytes(8), cose.TYP: TYP, 5: 1}))
    with pytest.raises(FormatError, match="kid"):
        Challenge.parse(signed(CLAIMS, protected={cose.KID: bytes(7), cose.TYP: TYP}))
    with pytest.raises(FormatError, match="kid"):
        Challenge.parse(signed(CLAIMS, protected={cose.TYP: TYP}))


@pytest.mark.parametrize("text", ["", "EL1:", "ec1:", "XEC1:", " EC1:"])
def test_another_prefix_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="EC1:"):
        Challenge.parse_text(text + challenge().text().removeprefix(PREFIX))


def test_a_later_version_of_the_text_is_unsupported() -> None:
    with pytest.raises(UnsupportedError):
        Challenge.parse_text("EC2:" + challenge().text().removeprefix(PREFIX))


def test_a_text_above_its_bound_is_refused_unread() -> None:
    with pytest.raises(LimitError):
        Challenge.parse_text(PREFIX + "0" * 7000)


@pytest.mark.parametrize("suffix", [" ", "\n", "0", "00", "=", "a"])
def test_anything_behind_the_text_is_refused(suffix: str) -> None:
    with pytest.raises(FormatError):
        Challenge.parse_text(challenge().text() + suffix)


@pytest.mark.parametrize("lifetime", [0, -1, MAX_LIFETIME + 1])
def test_a_lifetime_out_of_bounds_is_not_signed(lifetime: int) -> None:
    with pytest.raises(FormatError, match="exp"):
        create_challenge(INSPECTOR, inspector="CN/1", purpose="x", licence_type="CN/2@1", at=AT, lifetime=lifetime)


@settings(max_examples=200)
@given(st.data())
def test_a_changed_byte_is_refused_or_does_not_verify(data: st.DataObject) -> None:
    encoded = bytearray(challenge().encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((FormatError, SignatureError)):
        Challenge.parse(bytes(encoded)).verify(INSPECTOR.public_key)


@settings(max_examples=100)
@given(st.text(alphabet="0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:", max_size=120))
def test_arbitrary_texts_raise_a_named_error(text: str) -> None:
    with pytest.raises(ChopmarkError):
        Challenge.parse_text(PREFIX + text)
