"""Disclosures: their one form, and what the signed digest covers, by the examples of the draft."""

import hashlib
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest
from chopmark import cbor
from chopmark.cbor import REDACTED, Value
from chopmark.cose import Sign1
from chopmark.disclosure import Disclosure, disclosure_digest
from chopmark.errors import FormatError, UnsupportedError
from chopmark.keys import Algorithm, PublicKey
from chopmark.presentation import Presentation
from hypothesis import given, settings
from hypothesis import strategies as st

SALT = bytes(range(16))
VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "sd-cwt.json"
needs_vectors = pytest.mark.skipif(
    not VECTORS.exists(), reason="the vectors of the SD-CWT draft are not beside the repository"
)


def draft_example(name: str) -> bytes:
    example: str = json.loads(VECTORS.read_text())[name]
    return bytes.fromhex(example)


def digests_in(node: Any) -> set[bytes]:
    """Every digest under simple(59) and tag 60, at any depth."""
    if isinstance(node, dict):
        below = [digests_in(item) for key, item in node.items() if key != cbor2.CBORSimpleValue(59)]
        return set(node.get(cbor2.CBORSimpleValue(59), [])).union(*below)
    if isinstance(node, list):
        return set().union(*(digests_in(item) for item in node))
    if isinstance(node, cbor2.CBORTag) and node.tag == 60:
        return {node.value}
    return set()


@needs_vectors
def test_each_disclosure_of_the_draft_has_its_digest_in_the_signed_claims() -> None:
    _, unprotected, payload, _ = cbor2.loads(draft_example("issued_sd_cwt")).value
    signed = digests_in(cbor2.loads(payload))
    assert {disclosure_digest(content) for content in unprotected[17]} == signed
    assert len(signed) == 5


@needs_vectors
def test_the_digest_without_the_head_of_the_byte_string_is_not_the_signed_one() -> None:
    _, unprotected, payload, _ = cbor2.loads(draft_example("issued_sd_cwt")).value
    signed = digests_in(cbor2.loads(payload))
    assert all(hashlib.sha256(content).digest() not in signed for content in unprotected[17])


@needs_vectors
def test_the_draft_disclosure_of_a_map_key_reads_and_hashes_alike() -> None:
    content = cbor2.loads(draft_example("issued_sd_cwt")).value[1][17][0]
    disclosure = Disclosure.parse(content)
    assert (disclosure.value, disclosure.key) == ("ABCD-123456", 501)
    assert disclosure.encode() == content
    assert Disclosure(disclosure.salt, "ABCD-123456", 501).digest() == disclosure_digest(content)


@needs_vectors
def test_the_key_binding_token_of_the_draft_verifies_with_its_holder_key() -> None:
    token = Sign1.parse(draft_example("kbt"))
    _, _, payload, _ = cbor2.loads(draft_example("issued_sd_cwt")).value
    holder_key = PublicKey.from_cose(cbor2.loads(payload)[8][1])
    assert token.algorithm is Algorithm.ES256
    token.verify(holder_key)
    assert Presentation.is_presentation(token)


@needs_vectors
def test_the_example_itself_is_outside_the_profile() -> None:
    with pytest.raises(UnsupportedError, match="-35"):
        Presentation.parse(draft_example("kbt"))


@pytest.mark.parametrize(
    "entry",
    [
        [],
        [SALT],
        [SALT, "value"],
        [SALT, "value", 4, 4],
        [SALT[:15], "value", 4],
        [SALT + b"x", "value", 4],
        ["0123456789abcdef", "value", 4],
        [SALT, "value", "4"],
        [SALT, "value", True],
        [SALT, "value", b"4"],
        [SALT, "value", 59],
        [SALT, {REDACTED: [bytes(32)]}, 4],
        [SALT, [[{1: {REDACTED: [bytes(32)]}}]], 4],
        {1: SALT},
        "text",
    ],
)
def test_another_shape_is_refused(entry: Value) -> None:
    with pytest.raises(FormatError, match="disclosure"):
        Disclosure.parse(cbor.encode(entry))


def test_a_disclosure_in_another_encoding_is_refused() -> None:
    with pytest.raises(FormatError):
        Disclosure.parse(b"\x83\x50" + SALT + b"\x61a\x18\x04")
    with pytest.raises(FormatError):
        Disclosure.parse(b"\x83\x50" + SALT + b"\x61a\x04\x00")


values = st.recursive(
    st.integers(-(2**63), 2**63) | st.text(max_size=9) | st.binary(max_size=9) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.integers(-99, 58) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=100)
@given(st.binary(min_size=16, max_size=16), values, st.integers(-1000, 1000).filter(lambda key: key != 59))
def test_any_disclosure_comes_back_with_its_digest(salt: bytes, value: Value, key: int) -> None:
    disclosure = Disclosure(salt, value, key)
    read = Disclosure.parse(disclosure.encode())
    assert read == disclosure
    assert read.digest() == disclosure.digest()
    assert cbor2.loads(disclosure.encode()) == [salt, value, key]


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_refused_with_a_format_error(content: bytes) -> None:
    with pytest.raises(FormatError):
        Disclosure.parse(content)
