"""Credentials: issuing, disclosing, the headers, and the ways to cheat with disclosures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import cbor2
import pytest
from chopmark import cbor, cose
from chopmark.cbor import REDACTED, Key, Tagged, Value
from chopmark.claims import write_claims
from chopmark.credential import (
    Claims,
    Credential,
    Disclosable,
    Disclosure,
    Kind,
    StatusReference,
    Usage,
    draft_credential,
    issue_credential,
)
from chopmark.errors import ChopmarkError, FormatError, LimitError, SignatureError, UnsupportedError
from chopmark.keys import Ed25519Signer, Es256Signer
from chopmark.landmark import LandmarkProof
from hypothesis import given, settings
from hypothesis import strategies as st

ISSUER = Ed25519Signer(hashlib.sha256(b"issuer").digest())
HOLDER = Es256Signer(hashlib.sha256(b"holder").digest())
LANDMARK = LandmarkProof(1, 0, 1024, 5, bytes(320))
NUMBER = "1.2.156.3005.2.11100000000013338W032.11440000MB2D0P8Q3X.GD2026000001.001.X"
BEARER = Claims(
    "CN-GD/11440000MB2D0P8Q3X",
    "CN-GD/11100000000013338W032@3",
    1795339800,
    NUMBER,
    expires=1953100800,
    status=StatusReference(4711, "https://cn-gd.example/status/1"),
    fields={1: "示例餐饮有限公司", 2: 20000, 3: "热食类食品制售"},
)
BOUND = replace(BEARER, holder_key=HOLDER.public_key, fields={1: "示例", 2: 20000, 4: "秘密", 5: [1, 2], 6: True})


def counting() -> Callable[[int], bytes]:
    """Random bytes that are different each time and the same in each test."""
    calls = iter(range(256))
    return lambda size: hashlib.sha256(bytes([next(calls)])).digest()[:size]


def bearer() -> Credential:
    return issue_credential(ISSUER, BEARER, random=counting())


def bound() -> Credential:
    return issue_credential(ISSUER, BOUND, selective=[4, 5, 6], hide_licence_number=True, random=counting())


def signed(
    payload: dict[Key, Value],
    *,
    kind: Kind = Kind.HOLDER_BOUND,
    protected: dict[Key, Value] | None = None,
    unprotected: dict[Key, Value] | None = None,
) -> bytes:
    """A message by the issuer's real key with whatever it is told to hold."""
    header: dict[Key, Value] = {cose.KID: ISSUER.public_key.kid, cose.TYP: kind.value}
    return cose.sign1(
        ISSUER,
        protected=header if protected is None else protected,
        payload=cbor.encode(payload),
        unprotected=unprotected,
    ).encode()


def showing(credential: Credential, *disclosures: Disclosure) -> Credential:
    """The credential with exactly these disclosures in its header, read back from its bytes."""
    unprotected = dict(credential.sign1.unprotected)
    contents: list[Value] = [disclosure.encode() for disclosure in disclosures]
    unprotected[cose.SD_CLAIMS] = contents
    sign1 = replace(credential.sign1, unprotected=unprotected)
    return Credential.parse(sign1.encode())


def disclosure_of(credential: Credential, key: int) -> Disclosure:
    return next(item for item in credential.disclosures if item.key == key and item.value != NUMBER)


@pytest.mark.parametrize("make", [bearer, bound])
def test_round_trip(make: Callable[[], Credential]) -> None:
    credential = make()
    read = Credential.parse(credential.encode())
    assert read == credential
    assert read.encode() == credential.encode()
    read.verify_signature(ISSUER.public_key)


def test_what_a_bearer_credential_says() -> None:
    credential = bearer()
    assert credential.kind is Kind.BEARER
    assert credential.region == "CN-GD"
    assert credential.kid == ISSUER.public_key.kid
    assert credential.claims == replace(BEARER, credential_id=hashlib.sha256(b"\0").digest()[:16])
    assert credential.disclosed_fields() == BEARER.fields
    assert credential.disclosed_licence_number() == NUMBER
    assert credential.unknown == ()


def test_the_wire_form_is_that_of_the_specification() -> None:
    message = cbor2.loads(bound().encode())
    assert message.tag == 18
    protected, unprotected, payload, _ = message.value
    assert cbor2.loads(protected) == {1: -19, 4: ISSUER.public_key.kid, 16: 293}
    assert set(unprotected) == {17}
    claims = cbor2.loads(payload)
    redacted = cbor2.CBORSimpleValue(59)
    assert set(claims) == {1, 4, 6, 8, 11, 65535, -65537, redacted}
    assert set(claims[-65537]) == {1, 2, redacted}
    # the digest covers the byte string with its head
    assert {hashlib.sha256(cbor2.dumps(content)).digest() for content in unprotected[17]} == {
        *claims[redacted],
        *claims[-65537][redacted],
    }


def test_the_digest_is_that_of_the_sig_structure() -> None:
    credential = bearer()
    structure = cbor2.dumps(["Signature1", credential.sign1.protected, b"", credential.sign1.payload])
    assert credential.digest == hashlib.sha256(structure).digest()


def test_the_digest_is_the_same_whatever_is_disclosed_or_proved() -> None:
    credential = bound()
    changed = credential.disclosing([4]).with_landmark_proof(LANDMARK).with_tlog_proof(b"c2sp.org/tlog-proof@v1\n")
    assert changed.encode() != credential.encode()
    assert Credential.parse(changed.encode()).digest == credential.digest


def test_two_bearer_credentials_of_the_same_claims_differ() -> None:
    assert issue_credential(ISSUER, BEARER).digest != issue_credential(ISSUER, BEARER).digest


@pytest.mark.parametrize(("claims", "selective"), [(BEARER, ()), (BOUND, (4, 5))])
def test_a_draft_with_a_signature_made_elsewhere_is_the_credential(claims: Claims, selective: tuple[int, ...]) -> None:
    draft = draft_credential(
        ISSUER.public_key, claims, selective=selective, hide_licence_number=bool(selective), random=counting()
    )
    credential = draft.signed(ISSUER.sign(draft.to_sign))
    assert credential == issue_credential(
        ISSUER, claims, selective=selective, hide_licence_number=bool(selective), random=counting()
    )
    assert credential == Credential.parse(credential.encode())
    assert credential.digest == draft.digest == hashlib.sha256(draft.to_sign).digest()
    credential.verify_signature(ISSUER.public_key)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_size_makes_no_credential(size: int) -> None:
    with pytest.raises(FormatError, match="signature"):
        draft_credential(ISSUER.public_key, BEARER).signed(bytes(size))


def test_proofs_are_carried_and_taken_away() -> None:
    credential = bearer()
    proved = Credential.parse(credential.with_landmark_proof(LANDMARK).with_tlog_proof(b"proof").encode())
    assert proved.landmark_proof == LANDMARK
    assert proved.tlog_proof == b"proof"
    assert proved.without_proofs() == credential
    assert credential.landmark_proof is None


def test_an_empty_tlog_proof_is_not_attached() -> None:
    with pytest.raises(FormatError, match="tlog-proof"):
        bearer().with_tlog_proof(b"")


def test_all_disclosures_show_all_fields() -> None:
    assert bound().disclosed_fields() == BOUND.fields
    assert bound().disclosed_licence_number() == NUMBER


@pytest.mark.parametrize("keys", [[], [4], [5, 6], ["sub"], ["sub", 4, 5, 6], [1, 2, 4]])
def test_a_holder_shows_only_what_was_chosen(keys: list[Disclosable]) -> None:
    shown = Credential.parse(bound().disclosing(keys).encode())
    assert set(shown.disclosed_fields()) == {1, 2, *(key for key in keys if key != "sub")}
    assert shown.disclosed_licence_number() == (NUMBER if "sub" in keys else None)
    shown.verify_signature(ISSUER.public_key)


def test_nothing_of_a_hidden_value_is_in_the_bytes() -> None:
    credential = bound().disclosing([])
    assert cose.SD_CLAIMS not in credential.sign1.unprotected
    assert "秘密".encode() not in credential.encode()
    assert NUMBER.encode() not in credential.encode()


def test_disclosing_what_does_not_exist_is_an_error() -> None:
    with pytest.raises(FormatError, match="7"):
        bound().disclosing([4, 7])
    with pytest.raises(FormatError, match="sub"):
        bound().disclosing([4]).disclosing(["sub"])


def test_field_2_and_the_licence_number_are_not_confused() -> None:
    claims = replace(BOUND, fields={2: "field two", 3: "x"})
    credential = issue_credential(ISSUER, claims, selective=[2], hide_licence_number=True, random=counting())
    number, field = credential.disclosing(["sub"]), credential.disclosing([2])
    assert (number.disclosed_licence_number(), number.disclosed_fields()) == (NUMBER, {3: "x"})
    assert (field.disclosed_licence_number(), field.disclosed_fields()) == (None, {2: "field two", 3: "x"})


def test_salts_are_all_different_and_digests_in_order() -> None:
    credential = bound()
    assert len({disclosure.salt for disclosure in credential.disclosures}) == 4
    digests = cbor2.loads(credential.sign1.payload)[-65537][cbor2.CBORSimpleValue(59)]
    assert digests == sorted(digests)


# Cheating with disclosures: check 5


def test_a_stripped_disclosure_hides_the_field_and_forges_nothing() -> None:
    credential = bound()
    kept = [item for item in credential.disclosures if item.key != 4]
    assert set(showing(credential, *kept).disclosed_fields()) == {1, 2, 5, 6}


def test_swapped_values_are_refused() -> None:
    credential = bound()
    four, five = disclosure_of(credential, 4), disclosure_of(credential, 5)
    swapped = showing(credential, Disclosure(four.salt, five.value, 4), Disclosure(five.salt, four.value, 5))
    with pytest.raises(FormatError, match="disclosure 1: the issuer signed no digest"):
        swapped.disclosed_fields()


def test_a_swapped_key_is_refused() -> None:
    credential = bound()
    four = disclosure_of(credential, 4)
    with pytest.raises(FormatError, match="no digest"):
        showing(credential, Disclosure(four.salt, four.value, 5)).disclosed_fields()


def test_the_order_of_disclosures_does_not_matter() -> None:
    credential = bound()
    assert showing(credential, *reversed(credential.disclosures)).disclosed_fields() == BOUND.fields


def test_a_disclosure_that_stands_twice_is_refused() -> None:
    credential = bound()
    four = disclosure_of(credential, 4)
    with pytest.raises(FormatError, match="disclosure 2: the disclosure stands twice"):
        showing(credential, four, four).disclosed_fields()


def test_a_disclosure_of_another_credential_is_refused() -> None:
    other = issue_credential(ISSUER, BOUND, selective=[4])
    with pytest.raises(FormatError, match="no digest"):
        showing(bound(), disclosure_of(other, 4)).disclosed_fields()
    with pytest.raises(FormatError, match="no digest"):
        showing(bound(), disclosure_of(other, 4)).disclosed_licence_number()


def forged(fields: dict[Key, Value], *disclosures: Disclosure, **top: Value) -> Credential:
    """What a careless or dishonest issuer could sign."""
    payload = write_claims(replace(BOUND, fields={}))
    payload[-65537] = fields
    if "redacted" in top:
        del payload[2]
        payload[REDACTED] = top["redacted"]
    contents: list[Value] = [disclosure.encode() for disclosure in disclosures]
    return Credential.parse(signed(payload, unprotected={cose.SD_CLAIMS: contents}))


def test_a_disclosed_field_that_is_also_in_clear_is_refused() -> None:
    hidden = Disclosure(bytes(16), "other", 1)
    credential = forged({1: "示例", REDACTED: [hidden.digest()]}, hidden)
    with pytest.raises(FormatError, match="field 1 stands twice"):
        credential.disclosed_fields()


def test_two_signed_disclosures_of_one_field_are_refused() -> None:
    first, second = Disclosure(bytes(16), "a", 4), Disclosure(bytes(16), "b", 4)
    credential = forged({REDACTED: [first.digest(), second.digest()]}, first, second)
    with pytest.raises(FormatError, match="field 4 stands twice"):
        credential.disclosed_fields()
    assert credential.disclosing([4]).disclosed_fields() in ({4: "a"}, {4: "b"})


def test_a_field_disclosed_in_the_place_of_the_licence_number_is_refused() -> None:
    hidden = Disclosure(bytes(16), "x", 4)
    credential = forged({1: "x"}, hidden, redacted=[hidden.digest()])
    with pytest.raises(FormatError, match="claim 4"):
        credential.disclosed_licence_number()


@pytest.mark.parametrize("value", [7, "", "a\nb", ["x"]])
def test_a_hidden_licence_number_of_the_wrong_form_is_refused(value: Value) -> None:
    hidden = Disclosure(bytes(16), value, 2)
    credential = forged({1: "x"}, hidden, redacted=[hidden.digest()])
    with pytest.raises(FormatError, match="disclosure 1"):
        credential.disclosed_licence_number()


def test_a_decoy_digest_is_harmless() -> None:
    payload = write_claims(replace(BOUND, fields={}))
    payload[-65537] = {1: "x", REDACTED: [bytes(32)]}
    assert Credential.parse(signed(payload)).disclosed_fields() == {1: "x"}


# Headers


@pytest.mark.parametrize("typ", [0, 60, 294, 292, "application/sd-cwt", "", b"", True, [293]])
def test_another_type_is_unsupported(typ: Value) -> None:
    data = signed(write_claims(BOUND), protected={cose.KID: bytes(8), cose.TYP: typ})
    with pytest.raises(UnsupportedError, match="typ"):
        Credential.parse(data)


def test_a_missing_type_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="typ"):
        Credential.parse(signed(write_claims(BOUND), protected={cose.KID: bytes(8)}))


def test_the_kinds_are_not_exchangeable() -> None:
    with pytest.raises(FormatError, match="cnf"):
        Credential.parse(signed(write_claims(BOUND), kind=Kind.BEARER))
    with pytest.raises(FormatError, match="cnf"):
        Credential.parse(signed(write_claims(BEARER), kind=Kind.HOLDER_BOUND))


@pytest.mark.parametrize("kid", [None, b"", bytes(7), bytes(9), "01234567", 7])
def test_a_key_id_of_another_form_is_refused(kid: Value | None) -> None:
    protected: dict[Key, Value] = {cose.TYP: 293}
    if kid is not None:
        protected[cose.KID] = kid
    with pytest.raises(FormatError, match=r"kid \(4\)"):
        Credential.parse(signed(write_claims(BOUND), protected=protected))


def test_the_type_in_the_unprotected_header_does_not_count() -> None:
    data = signed(write_claims(BOUND), protected={cose.KID: bytes(8)}, unprotected={cose.TYP: 293})
    with pytest.raises(UnsupportedError):
        Credential.parse(data)


def test_a_key_id_that_is_not_the_issuers_still_reads() -> None:
    data = signed(write_claims(BOUND), protected={cose.KID: b"someone.", cose.TYP: 293})
    assert Credential.parse(data).kid == b"someone."


@pytest.mark.parametrize("label", [2, 3, 5, 13, 15, 170, 171, 172, -65540, "x"])
def test_unknown_headers_are_named_and_not_refused(label: Key) -> None:
    protected: dict[Key, Value] = {cose.KID: bytes(8), cose.TYP: 293, label: 1}
    assert Credential.parse(signed(write_claims(BOUND), protected=protected)).unknown == (f"protected header {label}",)
    read = Credential.parse(signed(write_claims(BOUND), unprotected={label: 1}))
    assert read.unknown == (f"unprotected header {label}",)


@pytest.mark.parametrize("label", [cose.SD_CLAIMS, cose.LANDMARK_PROOF, cose.TLOG_PROOF])
def test_a_proof_or_disclosure_in_the_protected_header_does_not_count(label: int) -> None:
    protected: dict[Key, Value] = {cose.KID: bytes(8), cose.TYP: 293, label: LANDMARK.value()}
    read = Credential.parse(signed(write_claims(BOUND), protected=protected))
    assert read.unknown == (f"protected header {label}",)
    assert (read.disclosures, read.landmark_proof, read.tlog_proof) == ((), None, None)


@pytest.mark.parametrize("value", [[], {}, b"", 7, [7], ["x"], [[bytes(16), 1, 4]], [b""], [b"\x83"]], ids=repr)
def test_disclosures_of_another_form_are_refused(value: Value) -> None:
    with pytest.raises(FormatError, match="disclosure"):
        Credential.parse(signed(write_claims(BOUND), unprotected={cose.SD_CLAIMS: value}))


def test_a_bearer_credential_discloses_nothing() -> None:
    content = Disclosure(bytes(16), 1, 4).encode()
    payload = write_claims(replace(BEARER, credential_id=bytes(16)))
    with pytest.raises(FormatError, match=r"\(17\)"):
        Credential.parse(signed(payload, kind=Kind.BEARER, unprotected={cose.SD_CLAIMS: [content]}))


@pytest.mark.parametrize("value", [b"", "proof", 7, []])
def test_a_tlog_proof_of_another_form_is_refused(value: Value) -> None:
    with pytest.raises(FormatError, match="tlog-proof"):
        Credential.parse(signed(write_claims(BOUND), unprotected={cose.TLOG_PROOF: value}))


@pytest.mark.parametrize("value", [b"", [], [1, 0, 1024, 5], [1, 0, 1024, 1024, b""], [1, 0, 1024, 5, bytes(31)]])
def test_a_landmark_proof_of_another_form_is_refused(value: Value) -> None:
    with pytest.raises(FormatError, match="landmark"):
        Credential.parse(signed(write_claims(BOUND), unprotected={cose.LANDMARK_PROOF: value}))


def test_an_unknown_claim_is_kept_for_the_verdict() -> None:
    read = Credential.parse(signed({**write_claims(BOUND), -65600: 1}))
    assert read.unknown == ("claim -65600",)


def test_a_credential_above_its_bound_is_refused() -> None:
    with pytest.raises(LimitError):
        Credential.parse(bearer().with_tlog_proof(bytes(8000)).encode())


def test_another_key_does_not_verify() -> None:
    with pytest.raises(SignatureError):
        bearer().verify_signature(Ed25519Signer(bytes(32)).public_key)


def test_a_header_that_names_another_algorithm_does_not_verify() -> None:
    credential = bearer()
    protected = cbor.encode({1: -9, 4: credential.kid, 16: 61})
    body: list[Value] = [protected, {}, credential.sign1.payload, credential.sign1.signature]
    confused = Credential.parse(cbor.encode(Tagged(body)))
    with pytest.raises(SignatureError, match="ES256"):
        confused.verify_signature(ISSUER.public_key)


# Issuing


def test_a_bearer_credential_hides_nothing() -> None:
    with pytest.raises(FormatError, match="nothing redacted"):
        issue_credential(ISSUER, BEARER, selective=[1])
    with pytest.raises(FormatError, match="nothing redacted"):
        issue_credential(ISSUER, BEARER, hide_licence_number=True)


def test_a_field_that_is_not_there_cannot_be_selective() -> None:
    with pytest.raises(FormatError, match="no field 9"):
        issue_credential(ISSUER, BOUND, selective=[4, 9])


def test_a_missing_licence_number_cannot_be_hidden_or_left_out() -> None:
    for hide in (True, False):
        with pytest.raises(FormatError, match="sub"):
            issue_credential(ISSUER, replace(BOUND, licence_number=None), hide_licence_number=hide)


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "nobody"},
        {"licence_type": "CN-GD/W032"},
        {"issued_at": 1953100800},
        {"not_before": 1953100800},
        {"credential_id": b"short"},
        {"status": StatusReference(-1, "https://cn-gd.example/1")},
        {"usage": Usage()},
        {"fields": {1: 1.5}},
        {"fields": {1: None}},
        {"fields": {59: "x"}},
        {"fields": {1: {REDACTED: [bytes(32)]}}},
        {"fields": {1: 2**64}},
    ],
    ids=repr,
)
def test_claims_outside_the_profile_are_not_signed(change: dict[str, object]) -> None:
    class Refusing(Ed25519Signer):
        def sign(self, message: bytes) -> bytes:
            raise AssertionError("signed")

    with pytest.raises(FormatError):
        issue_credential(Refusing(bytes(32)), replace(BOUND, **change))  # type: ignore[arg-type] # the point of it


def test_claims_too_large_for_a_credential_are_not_signed() -> None:
    with pytest.raises(LimitError):
        issue_credential(ISSUER, replace(BEARER, fields={1: "x" * 8000}))


def test_an_hsm_key_may_issue() -> None:
    credential = issue_credential(HOLDER, BEARER)
    Credential.parse(credential.encode()).verify_signature(HOLDER.public_key)


# Properties

values = st.recursive(
    st.integers(-(2**63), 2**63) | st.text(max_size=20) | st.binary(max_size=9) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
field_maps = st.dictionaries(st.integers(-300, 300).filter(lambda key: key != 59), values, max_size=6)


@settings(max_examples=100)
@given(field_maps, st.data())
def test_any_claims_come_back_as_they_were(fields: dict[int, Value], data: st.DataObject) -> None:
    selective = data.draw(st.sets(st.sampled_from(sorted(fields)))) if fields else set()
    disclosed = data.draw(st.sets(st.sampled_from(sorted(selective)))) if selective else set()
    claims = replace(BOUND, fields=fields)
    credential = issue_credential(ISSUER, claims, selective=selective)
    read = Credential.parse(credential.disclosing(disclosed).encode())
    assert read.claims == replace(claims, fields={key: fields[key] for key in fields.keys() - selective})
    assert read.disclosed_fields() == {key: fields[key] for key in fields.keys() - selective | disclosed}
    assert read.digest == credential.digest
    read.verify_signature(ISSUER.public_key)


@settings(max_examples=200)
@given(st.booleans(), st.data())
def test_a_changed_byte_is_refused_or_touches_only_the_unprotected_header(holder: bool, data: st.DataObject) -> None:
    credential = (bound() if holder else bearer()).with_landmark_proof(LANDMARK)
    encoded = bytearray(credential.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = Credential.parse(bytes(encoded))
        read.verify_signature(ISSUER.public_key)
    except (FormatError, SignatureError):
        return
    assert read.digest == credential.digest
    assert read.claims == credential.claims
    assert read.sign1.unprotected != credential.sign1.unprotected
    if read.landmark_proof == credential.landmark_proof and not read.unknown:
        with pytest.raises(FormatError):
            read.disclosed_fields()


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_a_named_error(data: bytes) -> None:
    with pytest.raises(ChopmarkError):
        Credential.parse(data)
