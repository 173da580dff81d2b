"""Status lists and their tokens."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from chopmark import cbor
from chopmark.cose import sign1
from chopmark.errors import ChopmarkError, FormatError, LimitError, SignatureError, UnsupportedError
from chopmark.keys import Ed25519Signer, Es256Signer
from chopmark.limits import LIMITS
from chopmark.status import MEDIA_TYPE, StatusList, StatusListToken, StatusValue
from hypothesis import given, settings
from hypothesis import strategies as st

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "status-list.json"
URI = "https://cn-gd.example/status/1"
SIGNER = Ed25519Signer.from_private_bytes(bytes(range(32)))
needs_vectors = pytest.mark.skipif(not VECTORS.exists(), reason="../shared/vectors is absent")


def token(**changes: Any) -> StatusListToken:
    values: dict[str, Any] = {
        "uri": URI,
        "issued_at": 1_795_339_800,
        "expires": 1_795_599_000,
        "ttl": 21_600,
        "status_list": StatusList.empty(64).with_statuses({3: StatusValue.SUSPENDED}),
    }
    return StatusListToken.issue(SIGNER, **(values | changes))


@needs_vectors
def test_the_lists_of_the_draft_are_encoded_byte_for_byte() -> None:
    for case in json.loads(VECTORS.read_text())["cases"]:
        encoded = bytes.fromhex(case["cbor"])
        decoded = StatusList.decode_cbor(encoded)
        assert decoded == StatusList(case["bits"], bytes.fromhex(case["bytes"]))
        assert decoded.encode_cbor() == encoded


@needs_vectors
def test_the_list_inside_the_token_of_the_draft_is_read() -> None:
    data = bytes.fromhex(json.loads(VECTORS.read_text())["status_list_cwt"])
    start = data.index(b"\xa2\x64bits")
    assert StatusList.decode_cbor(data[start : start + 22]).data == bytes.fromhex("b9a3")


@needs_vectors
def test_the_token_of_the_draft_is_refused_because_its_claims_are_not_in_order() -> None:
    with pytest.raises(ChopmarkError):
        StatusListToken.parse(bytes.fromhex(json.loads(VECTORS.read_text())["status_list_cwt"]))


def test_entries_are_packed_from_the_lowest_bit() -> None:
    listed = StatusList(2, bytes.fromhex("c944f9"))
    assert [listed.get(index) for index in range(12)] == [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]
    listed = StatusList(1, bytes.fromhex("b9a3"))
    assert [listed.get(index) for index in range(16)] == [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]


@given(st.sampled_from([1, 2, 4, 8]), st.binary(max_size=64))
def test_a_list_survives_its_encoding(bits: int, data: bytes) -> None:
    listed = StatusList(bits, data)
    assert StatusList.decode_cbor(listed.encode_cbor()) == listed
    assert StatusList.decode_cbor(cbor.encode({"bits": bits, "lst": listed.lst()})) == listed
    assert len(listed) == len(data) * 8 // bits


@given(st.sampled_from([1, 2, 4, 8]), st.dictionaries(st.integers(0, 99), st.integers(0, 255), max_size=40))
def test_entries_read_as_they_were_set_and_others_stay(bits: int, values: dict[int, int]) -> None:
    statuses = {index: value & ((1 << bits) - 1) for index, value in values.items()}
    base = StatusList.empty(104, bits=bits)
    changed = base.with_statuses(statuses)
    assert [changed.get(index) for index in range(104)] == [statuses.get(index, 0) for index in range(104)]
    assert base == StatusList.empty(104, bits=bits)


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_by_name_as_list_and_token(data: bytes) -> None:
    with suppress(FormatError):
        StatusList.decode_cbor(data)
    with suppress(FormatError):
        StatusList.decode_cbor(b"\xa2\x64bits\x02\x63lst" + data)
    with suppress(ChopmarkError):
        StatusListToken.parse(data)


@settings(max_examples=200)
@given(st.data())
def test_a_changed_byte_of_a_token_is_refused_or_does_not_verify(data: st.DataObject) -> None:
    encoded = bytearray(TOKEN.encode())
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ChopmarkError):
        StatusListToken.parse(bytes(encoded)).verify(SIGNER.public_key)


@pytest.mark.parametrize("index", [-1, 64, 10**30])
def test_an_index_outside_the_list_is_refused(index: int) -> None:
    with pytest.raises(FormatError, match="not within a list of 64"):
        StatusList.empty(64).get(index)
    with pytest.raises(FormatError, match="not within a list of 64"):
        StatusList.empty(64).with_statuses({index: 1})


@pytest.mark.parametrize("value", [-1, 4, 255])
def test_a_status_that_does_not_fit_is_refused(value: int) -> None:
    with pytest.raises(FormatError, match="does not fit"):
        StatusList.empty(64).with_statuses({0: value})


@pytest.mark.parametrize("bits", [0, 3, 16, -1])
def test_another_number_of_bits_is_refused(bits: int) -> None:
    with pytest.raises(FormatError, match="1, 2, 4 or 8"):
        StatusList(bits, b"")
    with pytest.raises(FormatError, match="1, 2, 4 or 8"):
        StatusList.empty(1, bits=bits)


def test_a_list_above_the_bound_is_refused() -> None:
    with pytest.raises(LimitError):
        StatusList.empty(LIMITS.status_list_bits)
    with pytest.raises(LimitError):
        StatusList(2, bytes(LIMITS.status_list_bits // 8 + 1))


def test_a_list_of_a_million_entries_goes_into_a_token_and_back() -> None:
    listed = StatusList.empty(1 << 20).with_statuses({(1 << 20) - 1: 3, 77: 1})
    read = StatusListToken.parse(token(status_list=listed).encode()).status_list
    assert len(read) == 1 << 20
    assert (read.get((1 << 20) - 1), read.get(77), read.get(78)) == (3, 1, 0)


def test_a_zlib_bomb_is_not_inflated() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    with pytest.raises(LimitError, match="inflates to more"):
        StatusList.from_lst(2, bomb)


@pytest.mark.parametrize(
    ("lst", "message"),
    [
        (zlib.compress(b"abc") + b"\x00", "behind the zlib stream"),
        (zlib.compress(b"abc")[:-1], "incomplete"),
        (b"", "incomplete"),
        (b"abc", "damaged"),
        (zlib.compress(b"abc")[:-1] + b"\x00", "damaged"),
        (zlib.compress(b"abc", wbits=-15), "damaged"),
        (zlib.compress(b"abc", wbits=31), "damaged"),
    ],
)
def test_what_is_not_one_complete_zlib_stream_is_refused(lst: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        StatusList.from_lst(2, lst)


def test_a_stream_with_a_preset_dictionary_is_refused() -> None:
    compressor = zlib.compressobj(zdict=b"dictionary")
    with pytest.raises(FormatError, match="damaged"):
        StatusList.from_lst(2, compressor.compress(b"dictionary") + compressor.flush())


def test_an_unknown_member_of_a_list_is_refused_by_name() -> None:
    data = cbor.encode({"bits": 2, "lst": zlib.compress(b""), "aggregation_uri": "https://cn-gd.example/all"})
    with pytest.raises(UnsupportedError, match="aggregation_uri"):
        StatusList.decode_cbor(data)


@pytest.mark.parametrize("value", [{"bits": 2}, {"lst": b""}, {"bits": True, "lst": b""}, {"bits": 2, "lst": "x"}, []])
def test_a_list_without_its_members_is_refused(value: cbor.Encodable) -> None:
    with pytest.raises(FormatError):
        StatusList.decode_cbor(cbor.encode(value))


TOKEN = token()


def test_a_token_reads_as_it_was_issued() -> None:
    read = StatusListToken.parse(TOKEN.encode())
    assert read == TOKEN
    assert (read.uri, read.issued_at, read.expires, read.ttl) == (URI, 1_795_339_800, 1_795_599_000, 21_600)
    assert read.status_list.get(3) is not None
    assert StatusValue(read.status_list.get(3)) is StatusValue.SUSPENDED
    assert read.hash == hashlib.sha256(TOKEN.encode()).digest()
    read.verify(SIGNER.public_key)


def test_a_token_does_not_verify_under_another_key() -> None:
    with pytest.raises(SignatureError, match="names the key"):
        TOKEN.verify(Ed25519Signer.from_private_bytes(bytes(32)).public_key)


def test_a_token_may_be_signed_by_an_es256_key() -> None:
    signer = Es256Signer.generate()
    issued = StatusListToken.issue(signer, uri=URI, issued_at=1, expires=2, ttl=1, status_list=StatusList.empty(4))
    issued.verify(signer.public_key)


def forge(change: Callable[[dict[int, object], dict[int, object], dict[int, object]], object]) -> bytes:
    protected: dict[int, object] = {4: SIGNER.public_key.kid, 16: MEDIA_TYPE}
    unprotected: dict[int, object] = {}
    payload: dict[int, object] = {2: URI, 4: 20, 6: 10, 65533: {"bits": 2, "lst": zlib.compress(b"a")}, 65534: 5}
    change(protected, unprotected, payload)
    message = sign1(
        SIGNER,
        protected=cast(dict[cbor.Key, cbor.Value], protected),
        payload=cbor.encode(cast(cbor.Encodable, payload)),
        unprotected=cast(dict[cbor.Key, cbor.Value], unprotected),
    )
    return message.encode()


def test_the_unchanged_forgery_is_accepted() -> None:
    assert StatusListToken.parse(forge(lambda *_: None)).expires == 20


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p, u, c: p.update({16: "application/cwt"}), UnsupportedError, "type"),
        (lambda p, u, c: p.pop(16), UnsupportedError, "type"),
        (lambda p, u, c: p.update({16: 61}), UnsupportedError, "type"),
        (lambda p, u, c: p.pop(4), FormatError, "kid"),
        (lambda p, u, c: p.update({4: b"short"}), FormatError, "kid"),
        (lambda p, u, c: p.update({99: 1}), UnsupportedError, "header label"),
        (lambda p, u, c: u.update({99: 1}), UnsupportedError, "header label"),
        (lambda p, u, c: c.update({1: "CN-GD/1"}), UnsupportedError, "claim 1"),
        (lambda p, u, c: c.update({"x": 1}), UnsupportedError, "claim 'x'"),
        (lambda p, u, c: c.pop(2), FormatError, "claim 2 is missing"),
        (lambda p, u, c: c.pop(4), FormatError, "claim 4 is missing"),
        (lambda p, u, c: c.pop(6), FormatError, "claim 6 is missing"),
        (lambda p, u, c: c.pop(65533), FormatError, "claim 65533 is missing"),
        (lambda p, u, c: c.pop(65534), FormatError, "claim 65534 is missing"),
        (lambda p, u, c: c.update({2: "http://cn-gd.example/status/1"}), FormatError, "https"),
        (lambda p, u, c: c.update({2: "https://cn-gd.example:444/status/1"}), FormatError, "https"),
        (lambda p, u, c: c.update({2: 7}), FormatError, "https"),
        (lambda p, u, c: c.update({4: 10}), FormatError, "expires"),
        (lambda p, u, c: c.update({6: -1}), FormatError, "seconds"),
        (lambda p, u, c: c.update({4: 2**60}), FormatError, "seconds"),
        (lambda p, u, c: c.update({6: True}), FormatError, "seconds"),
        (lambda p, u, c: c.update({65534: 0}), FormatError, "ttl"),
        (lambda p, u, c: c.update({65533: {"bits": 1, "lst": zlib.compress(b"a")}}), UnsupportedError, "2"),
    ],
)
def test_a_token_outside_the_profile_is_refused(
    change: Callable[[dict[int, object], dict[int, object], dict[int, object]], object],
    error: type[FormatError],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        StatusListToken.parse(forge(change))


def test_a_token_that_would_be_refused_is_not_issued() -> None:
    with pytest.raises(FormatError, match="https"):
        token(uri="ftp://cn-gd.example/1")
