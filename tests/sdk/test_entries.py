from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import pytest
from chopmark import cbor
from chopmark.entries import (
    CredentialEntry,
    GenesisEntry,
    LandmarkFileEntry,
    LogEntry,
    StatusListEntry,
    TrustBundleEntry,
    TrustStatementEntry,
    parse_entry,
    register_kind,
)
from chopmark.errors import FormatError, LimitError, UnsupportedError
from hypothesis import given, settings
from hypothesis import strategies as st

ISSUER = "CN-GD/11440000MB2D0P8Q3X"
URI = "https://cn-gd.example/status/1"
DIGEST = bytes(range(32))

# One of each kind, with the array that the specification gives it.
SAMPLES: list[tuple[LogEntry, list[Any]]] = [
    (GenesisEntry("cn-gd.example/log/2026", 1, 1_795_000_000), [0, "cn-gd.example/log/2026", 1, 1_795_000_000]),
    (CredentialEntry(ISSUER, DIGEST), [1, ISSUER, DIGEST]),
    (StatusListEntry(ISSUER, URI, DIGEST, 1_795_000_000), [2, ISSUER, URI, DIGEST, 1_795_000_000]),
    (TrustStatementEntry(b"text\n"), [3, b"text\n"]),
    (TrustBundleEntry("CN-GD", 42, DIGEST), [4, "CN-GD", 42, DIGEST]),
    (LandmarkFileEntry("cn-sh.example/log/2026", 17, DIGEST), [5, "cn-sh.example/log/2026", 17, DIGEST]),
]

numbers = st.integers(0, 2**63 - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
digests = st.binary(min_size=32, max_size=32)
entries = st.one_of(
    st.builds(GenesisEntry, names, st.just(1), numbers),
    st.builds(CredentialEntry, names, digests),
    st.builds(StatusListEntry, names, names, digests, numbers),
    st.builds(TrustStatementEntry, st.binary(min_size=1, max_size=300)),
    st.builds(TrustBundleEntry, names, numbers, digests),
    st.builds(LandmarkFileEntry, names, numbers, digests),
)


@pytest.mark.parametrize(("entry", "array"), SAMPLES, ids=lambda value: type(value).__name__)
def test_each_kind_is_the_array_of_the_specification(entry: LogEntry, array: list[Any]) -> None:
    assert cbor.decode(entry.encode()) == array
    assert parse_entry(entry.encode()) == entry


def test_the_sample_of_the_documentation_is_right() -> None:
    digest = bytes.fromhex("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
    assert TrustBundleEntry("CN-GD", 42, digest).encode().hex() == "840465434e2d4744182a5820" + digest.hex()


@settings(max_examples=200)
@given(entries)
def test_any_entry_is_read_back(entry: LogEntry) -> None:
    assert parse_entry(entry.encode()) == entry


@settings(max_examples=200)
@given(entries, st.data())
def test_a_changed_entry_is_refused_or_reads_differently(entry: LogEntry, data: st.DataObject) -> None:
    encoded = bytearray(entry.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FormatError):
        changed = parse_entry(bytes(encoded))
        assert changed.encode() == encoded
        assert changed != entry


@settings(max_examples=200)
@given(st.binary(max_size=100))
def test_any_bytes_are_an_entry_or_a_format_error(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert parse_entry(data).encode() == data


@pytest.mark.parametrize(("_", "array"), SAMPLES, ids=lambda value: type(value).__name__)
def test_an_element_missing_added_or_of_another_type_is_refused(_: LogEntry, array: list[Any]) -> None:
    not_of_any_kind: list[Any] = [-1, True, "", b"", [], {}, 2**63]
    wrong = [[], array[:-1], [*array, 0]]
    for position in range(1, len(array)):
        wrong.extend([*array[:position], value, *array[position + 1 :]] for value in not_of_any_kind)
    for elements in wrong:
        with pytest.raises(FormatError):
            parse_entry(cbor.encode(elements))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_digest_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match="32 bytes"):
        parse_entry(cbor.encode([1, ISSUER, bytes(size)]))


@pytest.mark.parametrize("kind", [6, 23, 24, 2**32])
def test_an_unknown_kind_is_unsupported(kind: int) -> None:
    with pytest.raises(UnsupportedError, match=f"kind {kind}"):
        parse_entry(cbor.encode([kind, ISSUER, DIGEST]))


@pytest.mark.parametrize("value", [{1: 2}, "text", 1, b"", [[1], ISSUER, DIGEST], [True, ISSUER, DIGEST], [-1], ["1"]])
def test_what_is_no_entry_is_refused(value: Any) -> None:
    with pytest.raises(FormatError):
        parse_entry(cbor.encode(value))


def test_a_log_of_another_suite_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="suite 2"):
        parse_entry(cbor.encode([0, "cn-gd.example/log/2026", 2, 0]))


def test_an_entry_of_the_largest_size_is_read_and_a_larger_one_is_not() -> None:
    head = len(TrustStatementEntry(b"x" * 60_000).encode()) - 60_000
    largest = TrustStatementEntry(b"x" * (65_535 - head))
    assert len(largest.encode()) == 65_535
    assert parse_entry(largest.encode()) == largest
    with pytest.raises(LimitError):
        TrustStatementEntry(b"x" * (65_536 - head)).encode()
    with pytest.raises(LimitError):
        parse_entry(cbor.encode([3, b"x" * (65_536 - head)]))


def test_a_kind_is_never_given_to_a_second_class() -> None:
    class Impostor:
        kind: ClassVar[int] = 1

    with pytest.raises(FormatError, match="CredentialEntry's for ever"):
        register_kind(Impostor)
    assert isinstance(parse_entry(CredentialEntry(ISSUER, DIGEST).encode()), CredentialEntry)
