"""A batch by itself: its identity, what may enter, the order of its entries, and the answer it gets."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256

import pytest
from chopmark.entries import CredentialEntry, StatusListEntry, TrustBundleEntry, TrustStatementEntry, parse_entry
from chopmark.errors import FormatError, LimitError
from chopmark_ledger import batch
from chopmark_ledger.batch import (
    BatchAnswer,
    Client,
    Submission,
    batch_digest,
    decode_refusals,
    encode_refusals,
    refusals,
    shuffled,
)
from chopmark_ledger.errors import BatchRefusedError, RefusedEntry
from chopmark_ledger.sequencing.commit_group import CommitGroup, answer_to
from hypothesis import given
from hypothesis import strategies as st

ISSUER = "CN-GD/11440000MB2D0P8Q3X"
CLIENT = Client("registry", frozenset({ISSUER, "CN-SH/1"}))
DIGEST = sha256(b"anything").digest()
REFUSED = st.lists(
    st.builds(RefusedEntry, st.integers(0, 9_999), st.text(max_size=20)), unique_by=lambda each: each.position
).map(lambda found: tuple(sorted(found, key=lambda each: each.position)))


def seeded(seed: bytes) -> Callable[[int], bytes]:
    """Randomness that comes again."""
    return lambda size: b"".join(sha256(seed + b"%d" % n).digest() for n in range(size // 32 + 1))[:size]


def test_the_body_of_a_batch_is_written_like_an_entry_bundle() -> None:
    assert batch_digest([b"ab"]) == sha256(b"\x00\x02ab").digest()
    assert batch_digest([b"ab", b"c"]) == sha256(b"\x00\x02ab\x00\x01c").digest()
    assert batch_digest([b"ab", b"cd"]) == sha256(b"\x00\x02ab\x00\x02cd").digest()


def test_what_no_entry_can_be_is_written_with_a_longer_length() -> None:
    large = b"x" * 65_536
    assert batch_digest([b""]) == sha256(bytes(10)).digest()
    assert batch_digest([b"ab", large]) == sha256(b"\x00\x02ab" + bytes(7) + b"\x01\x00\x00" + large).digest()
    assert batch_digest([large]) == sha256(bytes(7) + b"\x01\x00\x00" + large).digest()


BODIES = st.lists(st.lists(st.integers(0, 2), max_size=12).map(bytes), min_size=1, max_size=4)


@given(BODIES, BODIES)
def test_two_batches_have_one_digest_only_if_they_are_the_same(first: list[bytes], second: list[bytes]) -> None:
    assert (batch_digest(first) == batch_digest(second)) == (first == second)


@given(count=st.integers(1, 400), seed=st.binary(min_size=1, max_size=8))
def test_the_order_of_a_batch_is_a_permutation_that_randomness_alone_decides(count: int, seed: bytes) -> None:
    order = shuffled(count, seeded(seed))
    assert sorted(order) == list(range(count))
    assert order == shuffled(count, seeded(seed))


def test_a_client_is_one_of_its_issuers_and_a_region_of_all_within_it() -> None:
    assert CLIENT.is_client_of(ISSUER)
    assert not CLIENT.is_client_of("CN-GD/2")
    region = Client("region", frozenset({"CN-SH/1"}), region="CN-GD")
    assert region.is_region
    assert region.is_client_of(ISSUER)
    assert region.is_client_of("CN-SH/1")
    for other in ("CN-GDX/1", "CN-G/1", "CN-SH/2", "CN-GD", "cn-gd/1"):
        assert not region.is_client_of(other)


def test_a_region_logs_no_trust_bundle_of_another() -> None:
    bundles = [TrustBundleEntry(region, 1, DIGEST).encode() for region in ("CN-GD", "CN-SH", "CN-GDX", "cn-gd", "CN")]
    refused = refusals(Client("region", region="CN-GD"), bundles)
    assert [each.position for each in refused] == [1, 2, 3, 4]
    assert refused[0].reason == "client region speaks for CN-GD, not for CN-SH"
    assert len(refusals(Client("department", frozenset({ISSUER})), bundles)) == len(bundles)


@pytest.mark.parametrize("name", ["", "x" * 201, "\ud800", "a\x1b[2J", "a\nb"])
def test_a_client_has_a_name_that_can_be_written_down(name: str) -> None:
    with pytest.raises(FormatError, match="client name"):
        Client(name)


def test_a_region_without_a_name_is_none() -> None:
    with pytest.raises(FormatError, match="region"):
        Client("registry", region="")


@pytest.mark.parametrize("number", [-1, 2**63, True, 1.0, "1"])
def test_a_batch_number_is_a_number(number: int) -> None:
    with pytest.raises(FormatError, match="batch number"):
        Submission(CLIENT, number, [b"x"])


def test_a_batch_has_1_to_10000_entries() -> None:
    for count in (0, 10_001):
        with pytest.raises(LimitError, match=f"{count} entries"):
            Submission(CLIENT, 1, [b"x"] * count)
    assert len(Submission(CLIENT, 1, [b"x"] * 10_000).entries) == 10_000


def test_a_batch_has_at_most_16_mebibytes() -> None:
    entry = b"x" * 2**16
    assert Submission(CLIENT, 1, [entry] * 256).byte_count == 2**24
    with pytest.raises(LimitError, match="16 MiB"):
        Submission(CLIENT, 1, [entry] * 256 + [b"x"])


def test_an_entry_is_bytes() -> None:
    with pytest.raises(FormatError, match="not bytes"):
        Submission(CLIENT, 1, [b"x", "y"])  # type: ignore[list-item] # what an untyped caller may do


def test_what_was_checked_is_what_is_taken() -> None:
    entries = [b"x"]
    submission = Submission(CLIENT, 1, entries)
    entries.append(b"y")
    assert submission.entries == (b"x",)


ENTRIES = st.one_of(
    st.binary(max_size=80),
    st.builds(
        lambda issuer, digest: CredentialEntry(issuer, digest).encode(),
        st.sampled_from([ISSUER, "CN-SH/1", "CN-SH/2", "x"]),
        st.binary(min_size=32, max_size=32),
    ),
    st.builds(lambda note: TrustStatementEntry(note).encode(), st.binary(min_size=1, max_size=40)),
    st.builds(
        lambda issuer, time: StatusListEntry(issuer, "https://cn-gd.example/1", DIGEST, time).encode(),
        st.sampled_from([ISSUER, "CN-SH/2"]),
        st.integers(0, 2**63 - 1),
    ),
)


@st.composite
def spoiled(draw: st.DrawFn) -> list[bytes]:
    """Entries, some cut, lengthened, or changed at one byte, so that many begin like one that may enter."""
    entries = draw(st.lists(ENTRIES, min_size=1, max_size=8))
    found = []
    for entry in entries:
        found.append(entry)
        at = draw(st.integers(0, max(len(entry) - 1, 0)))
        found.append(entry[:at] + draw(st.binary(min_size=1, max_size=1)) + entry[at + 1 :])
        found.append(entry[:at])
        found.append(entry + draw(st.binary(min_size=1, max_size=40)))
    return draw(st.permutations(found))


@given(spoiled())
def test_nothing_enters_that_would_be_refused_by_itself(entries: list[bytes]) -> None:
    together = {each.position: each.reason for each in refusals(CLIENT, entries)}
    alone = {}
    for position, entry in enumerate(entries):
        for refused in refusals(CLIENT, [entry]):
            alone[position] = refused.reason
    assert together == alone
    for position, entry in enumerate(entries):
        if position not in together:
            taken = parse_entry(entry)
            assert isinstance(taken, CredentialEntry | StatusListEntry)
            assert CLIENT.is_client_of(taken.issuer)


def test_a_reason_shows_little_of_what_a_client_sent() -> None:
    foreign = CredentialEntry("CN-SH/\x1b[2J" + "x" * 60_000, DIGEST).encode()
    (refused,) = refusals(CLIENT, [foreign])
    assert (
        refused.reason == "client registry may not add entries of CN-SH/\N{REPLACEMENT CHARACTER}[2J" + "x" * 90 + "…"
    )


@given(REFUSED)
def test_refusals_are_read_as_they_were_written(refused: tuple[RefusedEntry, ...]) -> None:
    assert decode_refusals(encode_refusals(refused)) == refused
    assert encode_refusals(refused).isascii()


def test_without_a_refusal_nothing_is_stored() -> None:
    assert encode_refusals(()) == ""


@given(
    counts=st.lists(st.integers(1, 50), min_size=1, max_size=4),
    left_out=st.sets(st.integers(0, 49), max_size=30),
    first=st.integers(0, 2**40),
)
def test_an_answer_names_where_each_entry_stands_in_the_group(
    counts: list[int], left_out: set[int], first: int
) -> None:
    group = CommitGroup(first)
    for number, count in enumerate(counts):
        entries = [b"%d/%d" % (number, position) for position in range(count)]
        refused = [RefusedEntry(position, "no") for position in sorted(left_out) if 0 < position < count]
        submission = Submission(CLIENT, number, entries)
        stored = group.add(submission, b"digest", refused, random=os.urandom, now=7)
        answer = answer_to(stored)
        assert answer.refused == tuple(refused)
        assert len(answer.indexes) == count
        for position, index in enumerate(answer.indexes):
            if index is None:
                assert position in left_out
            else:
                assert group.entries[index - first] == entries[position]
    assert group.end == first + len(group.entries) == first + len(set(group.entries))
    assert [each.number for each in group.batches] == list(range(len(counts)))


def test_a_client_that_needs_all_indexes_is_told_which_it_did_not_get() -> None:
    assert BatchAnswer((4, 3), ()).all_indexes() == [4, 3]
    answer = BatchAnswer((4, None), (RefusedEntry(1, "not a log entry"),))
    with pytest.raises(BatchRefusedError, match="entry 1 of the batch: not a log entry") as caught:
        answer.all_indexes()
    assert caught.value.answer is answer
    assert caught.value.refused == answer.refused


def test_a_place_fits_into_what_stores_it() -> None:
    assert batch.MAX_ENTRIES < 0xFFFF
