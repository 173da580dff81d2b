"""Reading the entries of a log while it is checked: quicker than one by one, and not more generous."""

from __future__ import annotations

import pytest
from chopmark.entries import (
    CredentialEntry,
    GenesisEntry,
    LandmarkFileEntry,
    StatusListEntry,
    TrustBundleEntry,
    TrustStatementEntry,
    parse_entry,
)
from chopmark.errors import FormatError
from chopmark_ledger.audit import fsck_entries
from chopmark_ledger.audit.fsck_entries import EntryCheck, Vouching, describe_entry
from chopmark_ledger.audit.fsck_findings import Findings
from hypothesis import given
from hypothesis import strategies as st

ORIGIN = "cn-gd.example/log/2026"
PATH = "tile/entries/001"
ISSUERS = ("CN-GD/11440000MB2D0P8Q3X", "CN-GD/1", "中", "x" * 300)
CREDENTIALS = st.builds(CredentialEntry, st.sampled_from(ISSUERS), st.binary(min_size=32, max_size=32)).map(
    CredentialEntry.encode
)


def is_entry(data: bytes) -> bool:
    try:
        parse_entry(data)
    except FormatError:
        return False
    return True


def mangled(data: bytes, position: int, byte: int, cut: int, more: bytes) -> bytes:
    position %= len(data)
    return (data[:position] + bytes([byte]) + data[position + 1 :])[: len(data) - cut] + more


ANYTHING = st.one_of(
    CREDENTIALS,
    st.binary(max_size=80),
    st.builds(
        mangled, CREDENTIALS, st.integers(0, 400), st.integers(0, 255), st.integers(0, 40), st.binary(max_size=3)
    ),
)


@given(st.lists(st.lists(ANYTHING, max_size=12), max_size=4))
def test_what_the_reader_of_entries_refuses_is_never_accepted(bundles: list[list[bytes]]) -> None:
    findings = Findings()
    check = EntryCheck(ORIGIN, findings)
    expected = []
    first = 1
    for bundle in bundles:
        check(bundle, first, PATH)
        expected += [number for number, data in enumerate(bundle, first) if not is_entry(data)]
        first += len(bundle)
    named = [damage.what.split(" is not a log entry")[0] for damage in findings.all_damage]
    assert named == [f"entry {number}" for number in expected]


@given(CREDENTIALS, st.binary(min_size=32, max_size=32))
def test_any_digest_may_follow_the_beginning_of_a_credential_entry(entry: bytes, digest: bytes) -> None:
    parsed = parse_entry(entry[:-32] + digest)
    assert isinstance(parsed, CredentialEntry)
    assert parsed.digest == digest


def test_no_more_beginnings_are_remembered_than_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsck_entries, "_KNOWN_BEGINNINGS", 2)
    findings = Findings()
    check = EntryCheck(ORIGIN, findings)
    for number in range(9):
        entries = [CredentialEntry(f"CN-GD/{number}", bytes(32)).encode(), b"no entry"]
        check(entries, 1 + 2 * number, PATH)
    assert len(check._known) == 2
    assert len(findings.all_damage) == 9


def test_a_genesis_entry_belongs_at_the_beginning_alone() -> None:
    genesis = GenesisEntry(ORIGIN, 1, 1).encode()
    findings = Findings()
    EntryCheck(ORIGIN, findings)([genesis, genesis, genesis], 0, PATH)
    assert [damage.what for damage in findings.all_damage] == [
        "entry 1 is a second genesis entry",
        "entry 2 is a second genesis entry",
    ]


def test_what_is_said_of_the_log_s_own_landmark_file_is_kept() -> None:
    own = LandmarkFileEntry(ORIGIN, 3, b"\1" * 32).encode()
    peers = LandmarkFileEntry("cn-sh.example/log/2026", 9, b"\2" * 32).encode()
    check = EntryCheck(ORIGIN, Findings())
    check([peers, own], 70, PATH)
    assert list(check.vouchings) == [Vouching(3, b"\1" * 32, 71)]


def test_of_very_many_vouchings_the_newest_are_kept_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsck_entries, "_VOUCHINGS", 2)
    findings = Findings()
    check = EntryCheck(ORIGIN, findings)
    check([LandmarkFileEntry(ORIGIN, n, bytes(32)).encode() for n in range(4)], 1, PATH)
    assert [vouching.records for vouching in check.vouchings] == [2, 3]
    assert findings.remarks == ("landmarks: not held to the oldest entry that vouches for it (and 1 more)",)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (GenesisEntry(ORIGIN, 1, 7).encode(), f"genesis of {ORIGIN}, made at 7 "),
        (CredentialEntry("CN-GD/1", bytes(32)).encode(), f"credential of CN-GD/1, digest {'00' * 32}"),
        (
            StatusListEntry("CN-GD/1", "https://cn-gd.example/1", bytes(32), 5).encode(),
            "status list of CN-GD/1, https://cn-gd.example/1, token 00",
        ),
        (TrustStatementEntry(b"note").encode(), "trust statement of 4 bytes"),
        (TrustBundleEntry("CN-GD", 42, bytes(32)).encode(), "trust bundle 42 of CN-GD, digest 00"),
        (LandmarkFileEntry(ORIGIN, 6, bytes(32)).encode(), f"landmark file of {ORIGIN}, 6 records, digest 00"),
        (b"\xff\xff", "2 bytes that are no entry of ours, SHA-256 "),
        (b"", "0 bytes that are no entry of ours"),
    ],
)
def test_an_entry_is_described_in_one_line(entry: bytes, words: str) -> None:
    assert describe_entry(entry).startswith(words)
