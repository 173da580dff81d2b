"""COSE_Sign1: the example of RFC 9052, what is signed, and algorithm confusion."""

import hashlib

import cbor2
import pytest
from chopmark import cbor, cose
from chopmark.cbor import REDACTED, Key, Tagged, Value
from chopmark.cose import Sign1, sign1, type_named
from chopmark.errors import FormatError, LimitError, SignatureError, UnsupportedError
from chopmark.keys import Algorithm, Ed25519Signer, Es256Signer, MlDsa44Signer, PublicKey, Signer
from hypothesis import given, settings
from hypothesis import strategies as st

ED25519 = Ed25519Signer(hashlib.sha256(b"issuer").digest())
ES256 = Es256Signer(hashlib.sha256(b"holder").digest())
ML_DSA_44 = MlDsa44Signer(hashlib.sha256(b"second").digest())

NO_HEADER: dict[Key, Value] = {}

# RFC 9052, appendix C.2.1, and key "11" of appendix C.7.1
RFC9052_SIGN1 = bytes.fromhex(
    "d28443a10126a10442313154546869732069732074686520636f6e74656e742e"
    "58408eb33e4ca31d1c465ab05aac34cc6b23d58fef5c083106c4d25a91aef0b0117e"
    "2af9a291aa32e14ab834dc56ed2a223444547e01f11d3b0916e5a4c345cacb36"
)
RFC9052_KEY = PublicKey(
    Algorithm.ES256,
    bytes.fromhex("bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff")
    + bytes.fromhex("20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e"),
)


def message(signer: Signer = ED25519) -> Sign1:
    return sign1(signer, protected={cose.KID: signer.public_key.kid, cose.TYP: 61}, payload=b"payload")


def value(
    *, protected: Value = b"\xa1\x01\x32", unprotected: Value = NO_HEADER, payload: Value = b"", signature: Value = b""
) -> Tagged:
    return Tagged([protected, unprotected, payload, signature])


def test_the_example_of_rfc_9052_verifies() -> None:
    read = Sign1.parse(RFC9052_SIGN1)
    assert read.algorithm is Algorithm.ES256
    assert read.unprotected == {cose.KID: b"11"}
    assert read.payload == b"This is the content."
    read.verify(RFC9052_KEY)
    assert read.encode() == RFC9052_SIGN1


def test_the_example_of_rfc_9052_with_another_payload_does_not_verify() -> None:
    read = Sign1.parse(RFC9052_SIGN1.replace(b"content", b"contents"[1:]))
    with pytest.raises(SignatureError):
        read.verify(RFC9052_KEY)


@pytest.mark.parametrize("size", [0, 1, 23, 24, 255, 256, 65535, 65536])
def test_the_sig_structure_is_the_cbor_that_the_rfc_says(size: int) -> None:
    built = sign1(ED25519, protected={}, payload=bytes(size))
    expected = cbor2.dumps(["Signature1", b"\xa1\x01\x32", b"", bytes(size)])
    assert built.to_be_signed() == expected
    assert built.digest() == hashlib.sha256(expected).digest()


@pytest.mark.parametrize("signer", [ED25519, ES256, ML_DSA_44])
def test_round_trip(signer: Signer) -> None:
    built = message(signer)
    read = Sign1.parse(built.encode(), max_size=8192)
    assert read == built
    read.verify(signer.public_key)
    assert cbor2.loads(built.encode()).tag == 18


def test_a_message_inside_other_cbor_is_the_same() -> None:
    built = message()
    outer = cbor.decode(cbor.encode([built.value()]))
    assert isinstance(outer, list)
    assert Sign1.from_value(outer[0]) == built


def test_the_digest_does_not_depend_on_signature_or_unprotected_header() -> None:
    built = message(ES256)
    again = Sign1.from_value(Tagged([built.protected, {1111: b"x"}, built.payload, ES256.sign(built.to_be_signed())]))
    assert again.signature != built.signature
    assert again.digest() == built.digest()


@pytest.mark.parametrize(("header", "key"), [(-9, ED25519), (-7, ED25519), (-19, ES256), (-8, ES256), (-48, ED25519)])
def test_a_header_that_names_another_algorithm_than_the_key_is_refused(header: int, key: Signer) -> None:
    protected = cbor.encode({1: header})
    forged = Sign1.from_value(value(protected=protected))
    signature = key.sign(forged.to_be_signed())
    with pytest.raises(SignatureError, match="the header names"):
        Sign1.from_value(value(protected=protected, signature=signature)).verify(key.public_key)


@pytest.mark.parametrize(("identifier", "signer"), [(-8, ED25519), (-7, ES256)])
def test_the_older_identifiers_are_accepted_on_reading(identifier: int, signer: Signer) -> None:
    protected = cbor.encode({1: identifier})
    signature = signer.sign(Sign1.from_value(value(protected=protected)).to_be_signed())
    Sign1.from_value(value(protected=protected, signature=signature)).verify(signer.public_key)


def test_a_signature_over_another_context_does_not_verify() -> None:
    built = message()
    other = cbor2.dumps(["Signature", built.protected, b"", b"", built.payload])
    forged = Sign1.from_value(Tagged([built.protected, {}, built.payload, ED25519.sign(other)]))
    with pytest.raises(SignatureError):
        forged.verify(ED25519.public_key)


@pytest.mark.parametrize(
    "protected",
    [b"", b"\xa0", b"\x80", b"\x01", b"\xa1\x04\x41a", b"\xa1\x01\x32\x00", b"\xa1\x01\x38\x12", b"\xa1\xf8\x3b\x01"],
    ids=["empty", "empty map", "array", "number", "no alg", "trailing", "not shortest", "simple(59)"],
)
def test_a_protected_header_that_is_not_one_is_refused(protected: bytes) -> None:
    with pytest.raises(FormatError, match="code"):
        Sign1.from_value(value(protected=protected), where="code")


@pytest.mark.parametrize("algorithm", [-35, -257, 5, "ES256", b"", True, []])
def test_an_algorithm_outside_suite_1_is_unsupported(algorithm: Value) -> None:
    with pytest.raises(UnsupportedError, match=r"alg \(1\)"):
        Sign1.from_value(value(protected=cbor.encode({1: algorithm})))


@pytest.mark.parametrize(
    "wrong",
    [
        value(protected="x"),
        value(protected={1: -19}),
        value(unprotected=b"\xa0"),
        value(unprotected=[]),
        value(unprotected={REDACTED: []}),
        value(unprotected={1: -19}),
        value(payload="text"),
        value(payload={}),
        value(signature=7),
        [b"\xa1\x01\x32", {}, b"", b""],
        b"",
        7,
    ],
)
def test_what_is_no_cose_sign1_is_refused(wrong: Value) -> None:
    with pytest.raises(FormatError):
        Sign1.parse(cbor.encode(wrong))


def test_a_message_above_its_bound_is_refused() -> None:
    with pytest.raises(LimitError):
        Sign1.parse(message().encode(), max_size=50)


def test_signing_takes_the_algorithm_from_the_key_only() -> None:
    with pytest.raises(FormatError, match="alg"):
        sign1(ED25519, protected={cose.ALG: -9}, payload=b"")


def test_what_was_read_cannot_be_changed_for_the_next_reader() -> None:
    data = message().encode()
    with pytest.raises(TypeError):
        Sign1.parse(data).protected_map[16] = 293  # type: ignore[index] # the view is what is tested
    assert Sign1.parse(data).protected_map[16] == 61


@settings(max_examples=200)
@given(st.data())
def test_a_changed_byte_is_refused_or_touches_only_what_is_not_signed(data: st.DataObject) -> None:
    built = sign1(
        ED25519, protected={cose.KID: ED25519.public_key.kid}, payload=b"payload", unprotected={7: b"abc", "x": 1}
    )
    encoded = bytearray(built.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = Sign1.parse(bytes(encoded))
        read.verify(ED25519.public_key)
    except (FormatError, SignatureError):
        return
    assert read.digest() == built.digest()
    assert read.signature == built.signature
    assert read.unprotected != built.unprotected


labels: st.SearchStrategy[Key] = st.integers(-(2**16), 2**16).filter(lambda label: label not in (1, 59)) | st.text(
    max_size=5
)
scalars: st.SearchStrategy[Value] = st.integers(-(2**63), 2**63) | st.binary(max_size=9) | st.text(max_size=9)


@settings(max_examples=100)
@given(
    st.dictionaries(labels, scalars, max_size=4), st.dictionaries(labels, scalars, max_size=4), st.binary(max_size=99)
)
def test_any_message_comes_back_as_it_was(
    protected: dict[Key, Value], unprotected: dict[Key, Value], payload: bytes
) -> None:
    unprotected = {label: item for label, item in unprotected.items() if label not in protected}
    built = sign1(ED25519, protected=protected, payload=payload, unprotected=unprotected)
    read = Sign1.parse(built.encode())
    assert read == built
    assert read.protected_map == {1: -19, **protected}
    read.verify(ED25519.public_key)


def test_a_message_without_a_type_is_not_said_to_be_of_the_type_none() -> None:
    assert type_named(None) == "it names no type"
    assert type_named("x/y") == "it is of the type 'x/y'"
