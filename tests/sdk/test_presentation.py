"""Key binding tokens: what holders sign, each rule made to fail alone, and the ways to cheat with one."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import cbor2
import pytest
from chopmark import cbor, cose
from chopmark.cbor import REDACTED, Key, Tagged, Value
from chopmark.challenge import Challenge, create_challenge
from chopmark.cose import Sign1
from chopmark.credential import Claims, Credential, issue_credential
from chopmark.errors import ChopmarkError, FormatError, KeyMaterialError, LimitError, SignatureError, UnsupportedError
from chopmark.keys import Ed25519Signer, Es256Signer, Signer
from chopmark.landmark import LandmarkProof
from chopmark.presentation import Presentation, present
from hypothesis import given, settings
from hypothesis import strategies as st

ISSUER = Ed25519Signer(hashlib.sha256(b"issuer").digest())
HOLDER = Es256Signer(hashlib.sha256(b"holder").digest())
THIEF = Es256Signer(hashlib.sha256(b"thief").digest())
INSPECTOR = Ed25519Signer(hashlib.sha256(b"inspector").digest())
ISSUED, EXPIRES, AT = 1795339800, 1953100800, 1795400000
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CLAIMS = Claims(
    "CN-GD/11440000MB2D0P8Q3X",
    "CN-GD/11100000000013338W032@3",
    ISSUED,
    "1.2.156.3005.2.11100000000013338W032.X",
    not_before=ISSUED - 100,
    expires=EXPIRES,
    holder_key=HOLDER.public_key,
    fields={1: "示例", 4: "秘密", 5: 7},
)
CREDENTIAL = issue_credential(ISSUER, CLAIMS, selective=[4, 5])
BEARER = issue_credential(ISSUER, replace(CLAIMS, holder_key=None))
CHALLENGE = create_challenge(
    INSPECTOR,
    inspector="CN-SH/11310000MB2F1234X7",
    purpose="工地入场核验",
    licence_type=CLAIMS.licence_type,
    fields=[4],
    at=AT,
)


def token(
    *,
    signer: Signer = HOLDER,
    credential: Value | None = None,
    claims: Value | None = None,
    typ: Value = 294,
    protected: dict[Key, Value] | None = None,
    unprotected: dict[Key, Value] | None = None,
) -> bytes:
    """A token by this key with whatever it is told to hold."""
    header: dict[Key, Value] = {
        cose.KCWT: CREDENTIAL.disclosing([4]).sign1.value() if credential is None else credential,
        cose.TYP: typ,
    }
    payload: Value = {3: "*", 6: AT} if claims is None else claims
    return cose.sign1(
        signer, protected={**header, **(protected or {})}, payload=cbor.encode(payload), unprotected=unprotected
    ).encode()


def test_round_trip_without_a_challenge() -> None:
    shown = present(CREDENTIAL, HOLDER, at=AT, disclose=[4])
    read = Presentation.parse(shown.encode())
    assert read == shown
    assert (read.audience, read.issued_at, read.nonce) == ("*", AT, None)
    assert read.credential.digest == CREDENTIAL.digest
    assert read.credential.disclosed_fields() == {1: "示例", 4: "秘密"}
    read.verify_binding()
    read.check_times()
    read.credential.verify_signature(ISSUER.public_key)


def test_round_trip_answering_a_challenge() -> None:
    shown = Presentation.parse(present(CREDENTIAL, HOLDER, at=AT, challenge=CHALLENGE).encode())
    assert shown.audience == "CN-SH/11310000MB2F1234X7"
    assert shown.nonce == CHALLENGE.digest
    assert shown.credential.disclosed_fields() == {1: "示例"}
    shown.verify_binding()


def test_the_wire_form_is_that_of_the_specification() -> None:
    message = cbor2.loads(present(CREDENTIAL, HOLDER, at=AT, challenge=CHALLENGE).encode())
    protected, unprotected, payload, signature = message.value
    header = cbor2.loads(protected)
    assert (message.tag, unprotected, len(signature)) == (18, {}, 64)
    assert (set(header), header[1], header[16], header[13].tag) == ({1, 13, 16}, -9, 294, 18)
    assert cbor2.loads(payload) == {3: CHALLENGE.inspector, 6: AT, 39: CHALLENGE.digest}


def test_a_credential_carries_its_proof_into_the_token() -> None:
    proof = LandmarkProof(1, 0, 1024, 5, bytes(320))
    shown = present(CREDENTIAL.with_landmark_proof(proof), HOLDER, at=AT)
    assert Presentation.parse(shown.encode()).credential.landmark_proof == proof


def test_an_ed25519_holder_key_signs_as_well() -> None:
    holder = Ed25519Signer(bytes(32))
    credential = issue_credential(ISSUER, replace(CLAIMS, holder_key=holder.public_key))
    Presentation.parse(present(credential, holder, at=AT).encode()).verify_binding()


# The holder's side


def test_another_key_cannot_present() -> None:
    with pytest.raises(KeyMaterialError, match="another holder key"):
        present(CREDENTIAL, THIEF, at=AT)
    with pytest.raises(KeyMaterialError, match="another holder key"):
        present(BEARER, HOLDER, at=AT)


@pytest.mark.parametrize("at", [ISSUED - 1, EXPIRES, EXPIRES + 1, 2**60])
def test_nothing_is_presented_outside_the_validity_of_the_credential(at: int) -> None:
    with pytest.raises(FormatError, match="iat"):
        present(CREDENTIAL, HOLDER, at=at)


def test_an_expired_challenge_is_not_answered() -> None:
    with pytest.raises(FormatError, match="expired"):
        present(CREDENTIAL, HOLDER, at=AT + 120, challenge=CHALLENGE)


def test_a_challenge_for_another_type_is_not_answered() -> None:
    other = create_challenge(INSPECTOR, inspector="CN-SH/1", purpose="x", licence_type="CN-GD/W099@1", at=AT)
    with pytest.raises(FormatError, match="W099"):
        present(CREDENTIAL, HOLDER, at=AT, challenge=other)


def test_a_presentation_above_its_bound_is_not_made() -> None:
    with pytest.raises(LimitError):
        present(CREDENTIAL.with_tlog_proof(bytes(12 * 1024)), HOLDER, at=AT)
    with pytest.raises(LimitError):
        Presentation.parse(bytes(12 * 1024 + 1))


# Cheating


def test_a_thief_with_a_copy_cannot_sign_for_the_holder() -> None:
    with pytest.raises(SignatureError):
        Presentation.parse(token(signer=THIEF)).verify_binding()


def test_the_issuers_key_is_not_the_holders() -> None:
    with pytest.raises(SignatureError, match="ES256"):
        Presentation.parse(token(signer=ISSUER)).verify_binding()


@pytest.mark.parametrize("identifier", [-19, -8, -48])
def test_a_header_that_names_another_algorithm_than_the_holders_is_refused(identifier: int) -> None:
    genuine = Sign1.parse(token(), max_size=12288)
    header = {**genuine.protected_map, 1: identifier}
    forged = Presentation.parse(cbor.encode(Tagged([cbor.encode(header), {}, genuine.payload, genuine.signature])))
    with pytest.raises(SignatureError, match="the header names"):
        forged.verify_binding()


def test_a_disclosure_cannot_be_added_or_taken_away_under_the_token() -> None:
    genuine = Sign1.parse(present(CREDENTIAL, HOLDER, at=AT, disclose=[4]).encode())
    for disclose in ([], [5], [4, 5]):
        header = {**genuine.protected_map, cose.KCWT: CREDENTIAL.disclosing(disclose).sign1.value()}
        forged = Tagged([cbor.encode(header), {}, genuine.payload, genuine.signature])
        with pytest.raises(SignatureError):
            Presentation.parse(cbor.encode(forged)).verify_binding()


def test_another_credential_of_the_same_holder_cannot_be_put_under_the_token() -> None:
    other = issue_credential(ISSUER, CLAIMS, selective=[4, 5])
    genuine = Sign1.parse(present(CREDENTIAL, HOLDER, at=AT).encode())
    header = {**genuine.protected_map, cose.KCWT: other.disclosing([]).sign1.value()}
    forged = Tagged([cbor.encode(header), {}, genuine.payload, genuine.signature])
    with pytest.raises(SignatureError):
        Presentation.parse(cbor.encode(forged)).verify_binding()


def test_a_credential_that_names_the_thiefs_key_is_another_credential() -> None:
    forged = issue_credential(THIEF, replace(CLAIMS, holder_key=THIEF.public_key))
    shown = Presentation.parse(present(forged, THIEF, at=AT).encode())
    shown.verify_binding()
    assert shown.credential.digest != CREDENTIAL.digest
    with pytest.raises(SignatureError):
        shown.credential.verify_signature(ISSUER.public_key)


def test_the_credential_taken_out_of_a_token_is_a_copy() -> None:
    shown = present(CREDENTIAL, HOLDER, at=AT, disclose=[4])
    copy = Credential.parse(shown.credential.encode())
    assert not Presentation.is_presentation(copy.sign1)
    with pytest.raises(UnsupportedError, match="typ"):
        Presentation.from_sign1(copy.sign1)


def test_a_malleated_signature_verifies_and_keeps_the_token_hash() -> None:
    genuine = present(CREDENTIAL, HOLDER, at=AT)
    signature = genuine.sign1.signature
    negated = P256_ORDER - int.from_bytes(signature[32:], "big")
    malleated = replace(genuine.sign1, signature=signature[:32] + negated.to_bytes(32, "big"))
    read = Presentation.parse(malleated.encode())
    read.verify_binding()
    assert read.encode() != genuine.encode()
    assert read.token_hash == genuine.token_hash


def test_the_same_moment_signed_twice_has_one_token_hash_and_another_moment_has_another() -> None:
    first, second = present(CREDENTIAL, HOLDER, at=AT), present(CREDENTIAL, HOLDER, at=AT)
    assert first.sign1.signature != second.sign1.signature
    assert first.token_hash == second.token_hash
    assert present(CREDENTIAL, HOLDER, at=AT + 1).token_hash != first.token_hash


# Types


@pytest.mark.parametrize("typ", [61, 293, 0, "application/kb+cwt", True, b""])
def test_a_token_of_another_type_is_unsupported(typ: Value) -> None:
    with pytest.raises(UnsupportedError, match="typ"):
        Presentation.parse(token(typ=typ))


def test_a_token_does_not_read_as_a_credential() -> None:
    with pytest.raises(UnsupportedError, match="typ"):
        Credential.parse(token())


def test_a_challenge_does_not_read_as_a_token() -> None:
    with pytest.raises(UnsupportedError, match="typ"):
        Presentation.parse(CHALLENGE.encode())
    with pytest.raises(UnsupportedError, match="typ"):
        Challenge.parse(token())


def test_a_bearer_credential_in_a_token_is_refused() -> None:
    with pytest.raises(FormatError, match="bearer"):
        Presentation.parse(token(credential=BEARER.sign1.value()))


def test_a_token_in_a_token_is_refused() -> None:
    inner = present(CREDENTIAL, HOLDER, at=AT)
    with pytest.raises(UnsupportedError, match="typ"):
        Presentation.parse(token(credential=inner.sign1.value()))


@pytest.mark.parametrize("typ", [61, 294, 300])
def test_a_credential_whose_type_was_swapped_is_refused(typ: int) -> None:
    sign1 = CREDENTIAL.sign1
    protected = cbor.encode({**sign1.protected_map, cose.TYP: typ})
    with pytest.raises(FormatError):
        Presentation.parse(token(credential=Tagged([protected, {}, sign1.payload, sign1.signature])))


@pytest.mark.parametrize("credential", [b"", 7, [], {}, CREDENTIAL.encode()], ids=["bytes", "7", "[]", "{}", "encoded"])
def test_a_kcwt_that_is_no_credential_is_refused(credential: Value) -> None:
    with pytest.raises(FormatError, match="kcwt"):
        Presentation.parse(token(credential=credential))


# Headers and claims


@pytest.mark.parametrize("label", [2, 4, 15, 17, -65538, -65539, "x"])
def test_the_headers_of_a_token_are_exact(label: Key) -> None:
    with pytest.raises(FormatError, match="protected header"):
        Presentation.parse(token(protected={label: b"12345678"}))
    with pytest.raises(FormatError, match="unprotected header"):
        Presentation.parse(token(unprotected={label: b"12345678"}))


def test_a_token_without_its_credential_is_refused() -> None:
    data = cose.sign1(HOLDER, protected={cose.TYP: 294}, payload=cbor.encode({3: "*", 6: AT})).encode()
    with pytest.raises(FormatError, match="protected header"):
        Presentation.parse(data)


GOOD: dict[Key, Value] = {3: "CN-SH/1", 6: AT, 39: bytes(32)}


@pytest.mark.parametrize("claim", [1, 2, 4, 5, 7, 8, 11, 40, -65537, "x", REDACTED])
def test_a_claim_too_many_is_refused(claim: Key) -> None:
    unasked: dict[Key, Value] = {3: "*", 6: AT}
    for claims in (unasked | {claim: 1}, GOOD | {claim: 1}):
        with pytest.raises(FormatError, match="exactly the claims"):
            Presentation.parse(token(claims=claims))


@pytest.mark.parametrize(
    "claims",
    [7, [], {}, {3: "*"}, {6: AT}, {3: "*", 39: bytes(32)}, {6: AT, 39: bytes(32)}, {3: "*", 7: bytes(16)}],
    ids=repr,
)
def test_a_missing_claim_is_refused(claims: Value) -> None:
    with pytest.raises(FormatError, match="exactly the claims"):
        Presentation.parse(token(claims=claims))


@pytest.mark.parametrize(
    ("claim", "name", "wrong"),
    [
        *((3, "aud", wrong) for wrong in ("", "**", "https://inspector.example", 7, b"*", ["*"], "CN-SH/1 ")),
        *((6, "iat", wrong) for wrong in ("now", True, b"", 2**60, -(2**60), [AT])),
        *((39, "cnonce", wrong) for wrong in (b"", bytes(31), bytes(33), "x" * 32, 7)),
    ],
)
def test_a_claim_of_the_wrong_form_is_refused(claim: int, name: str, wrong: Value) -> None:
    with pytest.raises(FormatError, match=rf"{name} \({claim}\)"):
        Presentation.parse(token(claims={**GOOD, claim: wrong}))


@pytest.mark.parametrize("claims", [{3: "*", 6: AT, 39: bytes(32)}, {3: "CN-SH/1", 6: AT}])
def test_audience_and_nonce_go_together(claims: dict[Key, Value]) -> None:
    with pytest.raises(FormatError, match="inspector"):
        Presentation.parse(token(claims=claims))


def test_a_token_dated_before_its_credential_is_refused() -> None:
    Presentation.parse(token(claims={3: "*", 6: ISSUED}))
    with pytest.raises(FormatError, match=r"iat \(6\): dated before"):
        Presentation.parse(token(claims={3: "*", 6: ISSUED - 1}))


def test_a_token_dated_after_the_end_reads_and_fails_its_check_of_times() -> None:
    Presentation.parse(token(claims={3: "*", 6: EXPIRES - 1})).check_times()
    late = Presentation.parse(token(claims={3: "*", 6: EXPIRES}))
    with pytest.raises(FormatError, match="expired"):
        late.check_times()


# Properties

SHOWN = present(CREDENTIAL, HOLDER, at=AT, challenge=CHALLENGE, disclose=[4]).encode()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_byte_is_refused_or_does_not_verify(data: st.DataObject) -> None:
    encoded = bytearray(SHOWN)
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((FormatError, SignatureError)):
        Presentation.parse(bytes(encoded)).verify_binding()


@settings(max_examples=50, deadline=None)
@given(st.sets(st.sampled_from([1, 4, 5])), st.integers(ISSUED, EXPIRES - 1))
def test_any_presentation_comes_back_as_it_was(disclose: set[int], at: int) -> None:
    shown = present(CREDENTIAL, HOLDER, at=at, disclose=disclose)
    read = Presentation.parse(shown.encode())
    assert read == shown
    assert read.credential.disclosed_fields().keys() == disclose | {1}
    read.verify_binding()


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_a_named_error(data: bytes) -> None:
    with pytest.raises(ChopmarkError):
        Presentation.parse(data)
