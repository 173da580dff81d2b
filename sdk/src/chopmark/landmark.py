"""Landmarks: subtrees of a log whose hashes verifiers hold beforehand, so that a short path is proof enough.

Spec: draft-ietf-plants-merkle-tree-certs, landmarks; files and proofs as in `specs/landmark.md`.

A landmark file, one for each log, append-only, all numbers big-endian:

    header    `chopmark` ‖ u16 version = 1 ‖ u16 suite = 1 ‖ u32 log number               16 bytes
    record    u64 start ‖ u64 end ‖ hash ‖ u64 checkpoint size ‖ u64 witnessed time       64 bytes each

A record says: the leaves [start, end) hash to this, under a checkpoint of that size, which a quorum had witnessed by
that time (POSIX seconds). Records stand in the order in which their intervals ended: each goes further than the one
before and leaves no gap to it, sizes and times never fall, and none spans more than 1,024 entries.

A proof is a CBOR array `[log number, start, end, index, hashes]`, `hashes` one byte string of 32·n bytes, n ≤ 10, the
lowest first. Entry 1,026 of log 1, with a path of one hash:

    85 01 19 0400 19 0403 19 0402 58 20 9f86…
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from operator import gt, le

from chopmark.cbor import Value
from chopmark.errors import FormatError, LimitError, ProofError, UnsupportedError
from chopmark.limits import LIMITS
from chopmark.merkle import HASH_SIZE, is_valid_subtree, root_from_inclusion_path

HEADER_SIZE = 16
RECORD_SIZE = 64
VERSION = 1
SUITE = 1
SPAN_MAX = 1 << LIMITS.landmark_path
"""Entries under one landmark: what a path of ten hashes reaches."""

_MAGIC = b"chopmark"
_HEADER = struct.Struct(">8sHHI")
_RECORD = struct.Struct(">QQ32sQQ")
_INTEGER_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LandmarkRecord:
    """The hash (32 bytes) of the leaves [start, end), the size of the checkpoint that it was computed under, and the
    time (POSIX seconds) by which a quorum of witnesses had seen that checkpoint."""

    start: int
    end: int
    hash: bytes
    checkpoint_size: int
    witnessed_time: int

    def encode(self) -> bytes:
        """Write the 64 bytes of the record.

        Raises:
            FormatError: a value does not fit.
        """
        if type(self.hash) is not bytes or len(self.hash) != HASH_SIZE:
            raise FormatError(f"a landmark hash has {HASH_SIZE} bytes", where="landmark record")
        try:
            return _RECORD.pack(self.start, self.end, self.hash, self.checkpoint_size, self.witnessed_time)
        except struct.error as error:
            raise FormatError("a number that is no u64", where="landmark record") from error


@dataclass(frozen=True, slots=True)
class LandmarkFile:
    """The landmarks of one log. Made by `parse`, `empty` and `with_records`, which check every record."""

    data: bytes = field(repr=False)
    log_number: int
    suite: int
    _starts: array[int] = field(repr=False, compare=False)
    _ends: array[int] = field(repr=False, compare=False)
    _times: array[int] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, data: bytes) -> LandmarkFile:
        """Read a landmark file.

        Raises:
            FormatError: it is none, or a record is no subtree or out of order; `LimitError` when it is too large,
                `UnsupportedError` for another version or suite.
        """
        if len(data) > LIMITS.landmark_file_size:
            raise LimitError(f"{len(data)} bytes, above the limit of {LIMITS.landmark_file_size}", where=_FILE)
        if len(data) < HEADER_SIZE or (len(data) - HEADER_SIZE) % RECORD_SIZE:
            raise FormatError(f"not a header of {HEADER_SIZE} bytes and records of {RECORD_SIZE}", where=_FILE)
        magic, version, suite, log_number = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise FormatError("does not begin with `chopmark`", where=_FILE)
        if version != VERSION or suite != SUITE:
            raise UnsupportedError(
                f"version {version}, suite {suite}; this reader knows version 1, suite 1", where=_FILE
            )
        starts, ends, sizes, times = _columns(data[HEADER_SIZE:])
        if (starts and starts[0] != 0) or not _in_order(starts, ends, sizes, times):
            raise _first_fault(starts, ends, sizes, times)
        return cls(bytes(data), log_number, suite, starts, ends, times)

    @classmethod
    def empty(cls, log_number: int) -> LandmarkFile:
        """Begin the file of a log.

        Raises:
            FormatError: `log_number` is no u32.
        """
        return cls.parse(_header(log_number))

    def with_records(self, records: Iterable[LandmarkRecord]) -> LandmarkFile:
        """The file with more records at its end; its own are not checked again.

        Raises:
            FormatError: a record is no subtree, or does not follow the one before it; `LimitError` when the file gets
                too large.
        """
        added = b"".join(record.encode() for record in records)
        data = self.data + added
        last = self.data[-RECORD_SIZE:] if self._ends else b""
        starts, ends, sizes, times = _columns(last + added)
        if not self._ends or len(data) > LIMITS.landmark_file_size or not _in_order(starts, ends, sizes, times):
            return LandmarkFile.parse(data)
        return LandmarkFile(
            data, self.log_number, self.suite, self._starts + starts[1:], self._ends + ends[1:], self._times + times[1:]
        )

    def encode(self) -> bytes:
        """The bytes of the file."""
        return self.data

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def records(self) -> tuple[LandmarkRecord, ...]:
        """All records, in the order of the file."""
        return tuple(self.records_from(0))

    def records_from(self, first: int) -> Iterator[LandmarkRecord]:
        """The records from the one numbered `first`, one after the other: a large file takes ten times its bytes in
        records."""
        rest = memoryview(self.data)[HEADER_SIZE + RECORD_SIZE * first :]
        return (LandmarkRecord(*values) for values in _RECORD.iter_unpack(rest))

    @property
    def end(self) -> int:
        """The first index that no landmark covers: 0 in a file without records."""
        return self._ends[-1] if self._ends else 0

    def find(self, start: int, end: int) -> LandmarkRecord | None:
        """The record of exactly [start, end), or None."""
        position = bisect_left(self._ends, end)
        if position < len(self._ends) and self._ends[position] == end and self._starts[position] == start:
            return self._record(position)
        return None

    def covering(self, index: int) -> LandmarkRecord | None:
        """The earliest record that covers the entry `index`, or None while none does."""
        position = bisect_right(self._ends, index)
        return self._record(position) if index >= 0 and position < len(self._ends) else None

    def witnessed_time(self, index: int) -> int | None:
        """The time of the earliest record that covers the entry `index`, POSIX seconds; None while none does."""
        position = bisect_right(self._ends, index)
        return self._times[position] if index >= 0 and position < len(self._ends) else None

    def prefix_digest(self, count: int) -> bytes:
        """SHA-256 of the header and the first `count` records: what an entry of kind 5 vouches for.

        Raises:
            FormatError: there are not so many records.
        """
        if not 0 <= count <= len(self):
            raise FormatError(f"{count} records are asked for, {len(self)} are there", where=_FILE)
        return sha256(memoryview(self.data)[: HEADER_SIZE + RECORD_SIZE * count]).digest()

    def _record(self, position: int) -> LandmarkRecord:
        return LandmarkRecord(*_RECORD.unpack_from(self.data, HEADER_SIZE + RECORD_SIZE * position))


@dataclass(frozen=True, slots=True)
class LandmarkProof:
    """The path (32·n bytes, lowest hash first) from the entry `index` of a log up to its landmark [start, end)."""

    log_number: int
    start: int
    end: int
    index: int
    hashes: bytes

    def value(self) -> list[Value]:
        """The CBOR array of the unprotected header -65538."""
        return [self.log_number, self.start, self.end, self.index, self.hashes]

    @classmethod
    def from_value(cls, value: object) -> LandmarkProof:
        """Read the CBOR array of the unprotected header -65538.

        Raises:
            FormatError: it is not four numbers and a path of at most ten hashes, the numbers naming a log, a
                subtree that may be a landmark, and an entry within it.
        """
        if type(value) is not list or len(value) != 5:
            raise FormatError("not an array of five", where=_PROOF)
        log_number, start, end, index, hashes = value
        if not (type(log_number) is int and type(start) is int and type(end) is int and type(index) is int):
            raise FormatError("log number, start, end and index are not all integers", where=_PROOF)
        if not 0 <= log_number < 1 << 32:
            raise FormatError("a log number is from 0 to 2^32 − 1", where=_PROOF)
        if not 0 <= start <= index < end <= _INTEGER_MAX or end - start > SPAN_MAX or not is_valid_subtree(start, end):
            raise FormatError(f"[{start}, {end}) is no landmark that covers entry {index}", where=_PROOF)
        if type(hashes) is not bytes or len(hashes) % HASH_SIZE or len(hashes) > HASH_SIZE * LIMITS.landmark_path:
            raise FormatError(f"not a path of at most {LIMITS.landmark_path} hashes", where=_PROOF)
        return cls(log_number, start, end, index, hashes)

    def verify(self, leaf_hash: bytes, record: LandmarkRecord) -> None:
        """Check that the path leads from the leaf to the landmark.

        Args:
            leaf_hash: of the entry, 32 bytes.
            record: the landmark, from the file of the log that `log_number` names.

        Raises:
            ProofError: it leads elsewhere, or `record` is another landmark.
        """
        start, end = self.start, self.end
        if start != record.start or end != record.end:
            raise ProofError(
                f"a proof for [{start}, {end}), a landmark of [{record.start}, {record.end})", where=_PROOF
            )
        reached = root_from_inclusion_path(
            leaf_hash=leaf_hash, index=self.index - start, size=end - start, path=self.hashes
        )
        if reached != record.hash:
            raise ProofError(f"entry {self.index} does not lead to the landmark [{start}, {end})", where=_PROOF)


_FILE = "landmark file"
_PROOF = "landmark proof"


def _header(log_number: int) -> bytes:
    try:
        return _HEADER.pack(_MAGIC, VERSION, SUITE, log_number)
    except struct.error as error:
        raise FormatError("a log number is a u32", where=_FILE) from error


def _columns(records: bytes) -> tuple[array[int], array[int], array[int], array[int]]:
    """The starts, ends, checkpoint sizes and witnessed times of records."""
    words = array("Q", records)
    if sys.byteorder == "little":
        words.byteswap()
    return words[0::8], words[1::8], words[6::8], words[7::8]


def _in_order(starts: array[int], ends: array[int], sizes: array[int], times: array[int]) -> bool:
    """Check that each record is one and follows the one before it.

    Column by column, which for a large file takes a tenth of the time of a loop over them.
    """
    if not ends:
        return True
    return (
        all(map(is_valid_subtree, starts, ends))
        and all(map(gt, ends, starts))
        and max(map(int.__sub__, ends, starts)) <= SPAN_MAX
        and all(map(le, starts[1:], ends))
        and all(map(gt, ends[1:], ends))
        and all(map(le, ends, sizes))
        and all(map(le, sizes, sizes[1:]))
        and all(map(le, times, times[1:]))
        and max(sizes[-1], times[-1]) <= _INTEGER_MAX
    )


def _first_fault(starts: array[int], ends: array[int], sizes: array[int], times: array[int]) -> FormatError:
    """Say what is wrong with the first record that is not in order."""
    last_end = last_size = last_time = 0
    for position, (start, end, size, time) in enumerate(zip(starts, ends, sizes, times, strict=True)):
        if start >= end or end - start > SPAN_MAX or not is_valid_subtree(start, end):
            what = f"[{start}, {end}) is no subtree of 1 to {SPAN_MAX} entries"
        elif end <= last_end:
            what = f"its end {end} is not above that of the record before"
        elif start > last_end:
            what = f"the entries from {last_end} to {start} have no landmark"
        elif end > size:
            what = f"it ends at {end}, beyond its checkpoint of size {size}"
        elif size < last_size or time < last_time:
            what = "its checkpoint is older than that of the record before"
        elif max(size, time) > _INTEGER_MAX:
            what = "a size or time above 2^63 − 1"
        else:
            last_end, last_size, last_time = end, size, time
            continue
        return FormatError(what, where=f"{_FILE}, record {position}")
    return FormatError("records out of order", where=_FILE)
