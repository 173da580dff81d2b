from __future__ import annotations

import contextlib
import struct
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from chopmark import cbor
from chopmark.errors import FormatError, LimitError, ProofError, UnsupportedError
from chopmark.landmark import LandmarkFile, LandmarkProof, LandmarkRecord
from chopmark.limits import LIMITS
from chopmark.merkle import find_subtrees, leaf_hash, node_hash, subtree_inclusion_proof, subtree_root
from hypothesis import given, settings
from hypothesis import strategies as st

SIZE = 2500
LEVELS = [[leaf_hash(str(index).encode()) for index in range(SIZE)]]
while len(LEVELS[-1]) > 1:
    below = LEVELS[-1]
    LEVELS.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])


def read(nodes: list[tuple[int, int]]) -> list[bytes]:
    return [LEVELS[level][index] for level, index in nodes]


def records(ends: list[int]) -> list[LandmarkRecord]:
    """The landmarks of the intervals that end there; checkpoints are made at the end of each interval."""
    made = []
    start = 0
    for end in ends:
        for left, right in find_subtrees(start, end):
            if left < right:
                made.append(LandmarkRecord(left, right, subtree_root(left, right, read), end, 1_795_000_000 + end))
        start = end
    return made


interval_ends = st.sets(st.integers(1, SIZE), min_size=1, max_size=40).map(
    lambda ends: sorted({end for end in {*ends, 1024, 2048, *(ends)} if end <= max(ends)})
)


def landmark_file(ends: list[int]) -> LandmarkFile:
    return LandmarkFile.empty(7).with_records(records(ends))


def test_the_header_is_sixteen_bytes_as_specified() -> None:
    assert LandmarkFile.empty(7).encode() == b"chopmark" + struct.pack(">HHI", 1, 1, 7)


def test_a_record_is_sixty_four_bytes_as_specified() -> None:
    record = LandmarkRecord(1024, 1027, b"h" * 32, 1030, 1_795_000_000)
    assert record.encode() == struct.pack(">QQ", 1024, 1027) + b"h" * 32 + struct.pack(">QQ", 1030, 1_795_000_000)


@settings(max_examples=50, deadline=None)
@given(interval_ends)
def test_any_landmark_file_is_read_back_and_covers_every_entry(ends: list[int]) -> None:
    made = records(ends)
    file = LandmarkFile.parse(LandmarkFile.empty(7).with_records(made).encode())
    assert file.records == tuple(made)
    assert (file.log_number, file.suite, len(file), file.end) == (7, 1, len(made), ends[-1])
    for index in range(0, ends[-1], 37):
        record = file.covering(index)
        assert record is not None
        assert record.start <= index < record.end
        assert record == next(each for each in made if index < each.end)
        assert file.witnessed_time(index) == record.witnessed_time
    for outside in (-1, ends[-1]):
        assert file.covering(outside) is None
        assert file.witnessed_time(outside) is None
    for record in made:
        assert file.find(record.start, record.end) == record
        assert file.find(record.start, record.end + 1) != record


def test_find_wants_the_exact_interval() -> None:
    file = landmark_file([5, 13])
    assert [(each.start, each.end) for each in file.records] == [(0, 4), (4, 5), (4, 8), (8, 13)]
    assert file.find(4, 8) is not None
    for start, end in ((5, 8), (0, 8), (4, 9), (8, 12), (13, 13), (8, 14)):
        assert file.find(start, end) is None


def test_the_prefix_digest_is_of_the_header_and_so_many_records() -> None:
    file = landmark_file([5, 13])
    assert file.prefix_digest(0) == sha256(file.encode()[:16]).digest()
    assert file.prefix_digest(3) == sha256(file.encode()[: 16 + 3 * 64]).digest()
    assert file.prefix_digest(4) == sha256(file.encode()).digest()
    for count in (-1, 5):
        with pytest.raises(FormatError):
            file.prefix_digest(count)


def test_an_append_keeps_the_prefix() -> None:
    early, late = landmark_file([5]), landmark_file([5, 13])
    assert late.encode().startswith(early.encode())
    assert late.prefix_digest(len(early)) == early.prefix_digest(len(early))


@settings(max_examples=50, deadline=None)
@given(interval_ends, st.integers(1, 7))
def test_a_file_that_grew_in_steps_is_the_one_that_is_read(ends: list[int], step: int) -> None:
    made = records(ends)
    grown = LandmarkFile.empty(7)
    for begin in range(0, len(made), step):
        grown = grown.with_records(made[begin : begin + step])
        whole = LandmarkFile.parse(grown.encode())
        assert grown == whole == grown.with_records([])
        assert (len(grown), grown.end, grown.records) == (len(whole), whole.end, whole.records)
        assert [grown.witnessed_time(index) for index in range(SIZE)] == [
            whole.witnessed_time(index) for index in range(SIZE)
        ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": 5}, "no subtree"),
        ({"end": 4}, "no subtree"),
        ({"start": 0, "end": 2048, "checkpoint_size": 2048}, "no subtree"),
        ({"start": 0, "end": 4}, "not above"),
        ({"start": 8, "end": 9, "checkpoint_size": 9}, "no landmark"),
        ({"checkpoint_size": 6}, "beyond its checkpoint"),
        ({"checkpoint_size": 2**63}, "above"),
        ({"witnessed_time": 2**63}, "above"),
        ({"witnessed_time": 1}, "older"),
    ],
)
def test_a_record_out_of_order_is_refused_with_its_number(change: dict[str, int], message: str) -> None:
    first, second = records([5])
    third = LandmarkRecord(4, 8, LEVELS[2][1], 8, second.witnessed_time)
    with pytest.raises(FormatError, match=message) as caught:
        LandmarkFile.empty(7).with_records([first, second, replace(third, **change)])  # type: ignore[arg-type]
    assert "record 2" in str(caught.value)
    with pytest.raises(FormatError, match=message) as caught:
        LandmarkFile.empty(7).with_records([first, second]).with_records([replace(third, **change)])  # type: ignore[arg-type]
    assert "record 2" in str(caught.value)


def test_a_checkpoint_smaller_than_the_one_before_is_refused() -> None:
    first, second = records([5])
    with pytest.raises(FormatError, match="older"):
        LandmarkFile.empty(7).with_records([replace(first, checkpoint_size=9), replace(second, checkpoint_size=8)])


def test_a_first_landmark_that_does_not_begin_at_zero_is_refused() -> None:
    with pytest.raises(FormatError, match="no landmark"):
        LandmarkFile.empty(7).with_records(records([5])[1:])


def test_an_empty_landmark_is_refused() -> None:
    with pytest.raises(FormatError, match="no subtree"):
        LandmarkFile.empty(7).with_records([LandmarkRecord(0, 0, b"h" * 32, 5, 0)])


@pytest.mark.parametrize("cut", [0, 1, 15, 17, 16 + 63, 16 + 65])
def test_a_cut_file_is_refused(cut: int) -> None:
    with pytest.raises(FormatError):
        LandmarkFile.parse(landmark_file([5, 13]).encode()[:cut])


def test_another_magic_version_or_suite_is_refused() -> None:
    data = landmark_file([5]).encode()
    with pytest.raises(FormatError, match="begin"):
        LandmarkFile.parse(b"chopmarx" + data[8:])
    for position in (9, 11):
        changed = bytearray(data)
        changed[position] = 2
        with pytest.raises(UnsupportedError):
            LandmarkFile.parse(bytes(changed))


def test_too_large_a_file_is_refused() -> None:
    with pytest.raises(LimitError):
        LandmarkFile.parse(bytes(LIMITS.landmark_file_size + 1))


def test_what_does_not_fit_into_a_record_is_refused() -> None:
    for wrong in (
        LandmarkRecord(-1, 1, b"h" * 32, 1, 1),
        LandmarkRecord(0, 1, b"h" * 31, 1, 1),
        LandmarkRecord(0, 2**64, b"h" * 32, 1, 1),
    ):
        with pytest.raises(FormatError):
            LandmarkFile.empty(7).with_records([wrong])
    for number in (-1, 2**32):
        with pytest.raises(FormatError):
            LandmarkFile.empty(number)


@settings(max_examples=200)
@given(st.data())
def test_a_changed_file_is_refused_or_reads_differently(data: st.DataObject) -> None:
    file = landmark_file([5, 13, 1024])
    encoded = bytearray(file.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FormatError):
        changed = LandmarkFile.parse(bytes(encoded))
        assert changed.encode() == encoded
        assert (changed.log_number, changed.records) != (file.log_number, file.records)


def proof_of(index: int, record: LandmarkRecord) -> LandmarkProof:
    path = subtree_inclusion_proof(index=index, start=record.start, end=record.end, read=read)
    return LandmarkProof(7, record.start, record.end, index, b"".join(path))


def test_every_entry_is_proven_by_at_most_ten_hashes() -> None:
    file = landmark_file([5, 13, 1000, 1024, 2048, 2400])
    for index in range(0, 2400, 7):
        record = file.covering(index)
        assert record is not None
        proof = proof_of(index, record)
        assert len(proof.hashes) <= 10 * 32
        proof.verify(LEVELS[0][index], record)


def test_a_proof_survives_its_cbor() -> None:
    record = landmark_file([5, 13]).records[3]
    proof = proof_of(10, record)
    decoded = cbor.decode(cbor.encode(proof.value()))
    assert LandmarkProof.from_value(decoded) == proof
    assert proof.value() == [7, 8, 13, 10, proof.hashes]


def test_a_landmark_of_one_entry_needs_no_hash() -> None:
    record = landmark_file([1]).records[0]
    proof = LandmarkProof.from_value([7, 0, 1, 0, b""])
    proof.verify(LEVELS[0][0], record)
    with pytest.raises(ProofError):
        proof.verify(LEVELS[0][1], record)


def test_a_path_for_another_entry_index_or_landmark_is_refused() -> None:
    first, second = (LandmarkRecord(start, start + 8, LEVELS[3][start // 8], 16, 0) for start in (0, 8))
    proof = proof_of(3, first)
    proof.verify(LEVELS[0][3], first)
    for leaf, changed, record in (
        (LEVELS[0][2], proof, first),
        (LEVELS[0][3], replace(proof, index=2), first),
        (LEVELS[0][3], replace(proof, hashes=proof.hashes[32:]), first),
        (LEVELS[0][3], replace(proof, hashes=proof.hashes + bytes(32)), first),
        (LEVELS[0][3], replace(proof, hashes=proof.hashes[1:]), first),
        (LEVELS[0][3], proof, second),
        (LEVELS[0][3], replace(proof, start=8, end=16, index=11), second),
        (b"", proof, first),
    ):
        with pytest.raises(ProofError):
            changed.verify(leaf, record)


def test_a_landmark_of_the_same_hash_but_another_interval_is_refused() -> None:
    record = LandmarkRecord(0, 8, LEVELS[3][0], 16, 0)
    for other in (replace(record, end=9), replace(record, start=8, end=16)):
        with pytest.raises(ProofError, match="a landmark of"):
            proof_of(3, record).verify(LEVELS[0][3], other)


@settings(max_examples=200)
@given(bit=st.integers(0, 10 * 256 - 1), index=st.integers(0, 1023))
def test_any_flipped_bit_of_a_path_is_refused(bit: int, index: int) -> None:
    record = LandmarkRecord(0, 1024, LEVELS[10][0], 1024, 0)
    proof = proof_of(index, record)
    flipped = (int.from_bytes(proof.hashes, "big") ^ (1 << bit)).to_bytes(320, "big")
    with pytest.raises(ProofError):
        replace(proof, hashes=flipped).verify(LEVELS[0][index], record)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        [],
        {},
        [7, 0, 8, 3],
        [7, 0, 8, 3, b"", 0],
        (7, 0, 8, 3, b""),
        [True, 0, 8, 3, b""],
        [7, False, 8, 3, b""],
        [7, "0", 8, 3, b""],
        [-1, 0, 8, 3, b""],
        [2**32, 0, 8, 3, b""],
        [7, 0, 8, 8, b""],
        [7, 8, 16, 3, b""],
        [7, 8, 8, 8, b""],
        [7, 4, 12, 5, b""],
        [7, 0, 1025, 3, b""],
        [7, 0, 2**64, 3, b""],
        [7, 0, 8, 3, b"x"],
        [7, 0, 8, 3, "x" * 32],
        [7, 0, 8, 3, bytes(11 * 32)],
        [7, 0, 8, 3, [bytes(32)]],
    ],
)
def test_a_malformed_proof_is_refused(value: Any) -> None:
    with pytest.raises(FormatError):
        LandmarkProof.from_value(value)
