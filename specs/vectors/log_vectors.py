"""Vectors of tiles, log entries and landmarks."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Any

from chopmark import cbor
from chopmark.entries import (
    CredentialEntry,
    GenesisEntry,
    LandmarkFileEntry,
    StatusListEntry,
    TrustBundleEntry,
    TrustStatementEntry,
)
from chopmark.landmark import LandmarkFile, LandmarkRecord
from chopmark.merkle import leaf_hash
from chopmark.tiles import encode_entry_bundle

from specs.vectors.merkle_vectors import ORIGIN, hexes, sample_log
from specs.vectors.sample_log import SampleLog
from specs.vectors.sample_world import CREATED, FOOD_DEPARTMENT, NOW
from specs.vectors.vector_file import FORMAT, PROOF, UNSUPPORTED, VectorFile


def tile_vectors() -> VectorFile:
    """Paths of tiles, and bundles of entries."""
    file = VectorFile("tiles", "specs/log.md")
    for path, level, index, width in (
        ("tile/0/000", 0, 0, 256),
        ("tile/0/x001/x234/067", 0, 1_234_067, 256),
        ("tile/1/000.p/17", 1, 0, 17),
        ("tile/63/000", 63, 0, 256),
        ("tile/entries/273.p/112", None, 273, 112),
    ):
        result = {"level": "entries" if level is None else level, "index": index, "width": width}
        file.accept(f"tile-path-{path.replace('/', '-')}", f"{width} elements", "tile_path", {"text": path}, result)
    for name, path in (
        ("leading-slash", "/tile/0/000"),
        ("level-64", "tile/64/000"),
        ("level-leading-zero", "tile/00/000"),
        ("index-two-digits", "tile/0/67"),
        ("index-without-x", "tile/0/001/067"),
        ("index-leading-group", "tile/0/x000/067"),
        ("width-0", "tile/0/000.p/0"),
        ("width-256", "tile/0/000.p/256"),
        ("width-leading-zero", "tile/0/000.p/017"),
        ("parent-folder", "tile/0/../checkpoint"),
        ("other-digits", "tile/0/٠٠٠"),
        ("newline", "tile/0/000\n"),
    ):
        file.refuse(f"tile-path-{name}", f"`{path.strip()}`", "tile_path", {"text": path}, FORMAT)
    entries = sample_log(3).entries
    bundle = encode_entry_bundle(entries)
    file.accept("entry-bundle", "three entries", "entry_bundle", {"hex": bundle.hex(), "count": 3}, hexes(entries))
    for name, description, data, count in (
        ("too-few", "fewer entries than the path says", bundle, 4),
        ("too-many", "more entries than the path says", bundle, 2),
        ("truncated", "ends within an entry", bundle[:-1], 3),
        ("truncated-length", "ends within a length", bundle + b"\0", 4),
    ):
        file.refuse(f"entry-bundle-{name}", description, "entry_bundle", {"hex": data.hex(), "count": count}, FORMAT)
    return file


def entry_vectors() -> VectorFile:
    """Log entries of all kinds."""
    file = VectorFile("log-entries", "specs/log-entries.md")
    digest = sha256(b"digest").digest()
    uri = "https://cn-gd.example/status/1"
    for name, entry in (
        ("genesis", GenesisEntry(ORIGIN, 1, CREATED)),
        ("credential", CredentialEntry(FOOD_DEPARTMENT, digest)),
        ("status-list", StatusListEntry(FOOD_DEPARTMENT, uri, digest, NOW)),
        ("trust-statement", TrustStatementEntry("{}\n\n— cn-gd.example/root/a AAAAAAA=\n".encode())),
        ("trust-bundle", TrustBundleEntry("CN-GD", 42, digest)),
        ("landmark-file", LandmarkFileEntry(ORIGIN, 12, digest)),
    ):
        data = entry.encode()
        result = {"kind": entry.kind, "leaf_hash": leaf_hash(data).hex()}
        file.accept(f"entry-{name}", f"kind {entry.kind}", "log_entry", {"hex": data.hex()}, result)
    refused: list[tuple[str, str, Any, str]] = [
        ("kind-6", "a kind that is not known", [6, ORIGIN], UNSUPPORTED),
        ("kind-negative", "a negative kind", [-1, ORIGIN], UNSUPPORTED),
        ("kind-text", "a kind that is text", ["1", FOOD_DEPARTMENT, digest], FORMAT),
        ("empty", "an empty array", [], FORMAT),
        ("map", "a map", {1: FOOD_DEPARTMENT}, FORMAT),
        ("element-missing", "a credential without its digest", [1, FOOD_DEPARTMENT], FORMAT),
        ("element-more", "a credential with an element more", [1, FOOD_DEPARTMENT, digest, NOW], FORMAT),
        ("issuer-empty", "an empty issuer", [1, "", digest], FORMAT),
        ("digest-short", "a digest of 31 bytes", [1, FOOD_DEPARTMENT, digest[1:]], FORMAT),
        ("digest-text", "a digest as text", [1, FOOD_DEPARTMENT, digest.hex()], FORMAT),
        ("time-negative", "a negative time", [2, FOOD_DEPARTMENT, uri, digest, -1], FORMAT),
        ("seq-boolean", "true for a number", [4, "CN-GD", True, digest], FORMAT),
        ("suite-2", "a log of a suite that is not known", [0, ORIGIN, 2, CREATED], UNSUPPORTED),
        ("note-empty", "an empty trust statement", [3, b""], FORMAT),
    ]
    for name, description, value, error in refused:
        file.refuse(f"entry-{name}", description, "log_entry", {"hex": cbor.encode(value).hex()}, error)
    trailing = CredentialEntry(FOOD_DEPARTMENT, digest).encode() + b"\0"
    file.refuse("entry-trailing-byte", "a byte behind the entry", "log_entry", {"hex": trailing.hex()}, FORMAT)
    return file


_RECORD = struct.Struct(">QQ32sQQ")


def landmark_vectors() -> VectorFile:
    """Landmark files and landmark proofs."""
    file = VectorFile("landmark", "specs/landmark.md")
    log = sample_log(13)
    log.landmark(at=NOW - 3000)
    for number in range(13, 30):
        log.append(CredentialEntry(FOOD_DEPARTMENT, sha256(b"credential %d" % number).digest()).encode())
    log.landmark(at=NOW - 2000)
    good = log.landmark_file
    result = {
        "log_number": 1,
        "records": len(good),
        "end": good.end,
        "digest": good.prefix_digest(len(good)).hex(),
    }
    file.accept("landmark-file", "two intervals", "landmark_file", {"hex": good.data.hex()}, result)
    empty = LandmarkFile.empty(7)
    result = {"log_number": 7, "records": 0, "end": 0, "digest": empty.prefix_digest(0).hex()}
    file.accept("landmark-file-empty", "a log without landmarks", "landmark_file", {"hex": empty.data.hex()}, result)
    _add_bad_files(file, good)
    _add_landmark_proofs(file, log)
    return file


def _add_bad_files(file: VectorFile, good: LandmarkFile) -> None:
    header, zero = good.data[:16], bytes(32)

    def records(*values: tuple[int, int, int, int]) -> bytes:
        packed = (_RECORD.pack(start, end, zero, size, time) for start, end, size, time in values)
        return header + b"".join(packed)

    first = (0, 8, 8, NOW)
    refused: list[tuple[str, str, bytes, str]] = [
        ("no-bytes", "no byte", b"", FORMAT),
        ("header-truncated", "half a header", header[:8], FORMAT),
        ("magic", "another first word", b"Chopmark" + good.data[8:], FORMAT),
        ("version-2", "a version that is not known", header[:8] + b"\0\2" + good.data[10:], UNSUPPORTED),
        ("suite-2", "a suite that is not known", header[:10] + b"\0\2" + good.data[12:], UNSUPPORTED),
        ("record-truncated", "63 bytes of a record", good.data[:-1], FORMAT),
        ("first-not-0", "the first record begins at 8", records((8, 16, 16, NOW)), FORMAT),
        ("interval-empty", "a record of no entry", records((0, 0, 8, NOW)), FORMAT),
        ("interval-backwards", "a record that ends before it begins", records((8, 0, 8, NOW)), FORMAT),
        (
            "not-aligned",
            "[8, 20) is no subtree",
            records(first, (8, 20, 20, NOW)),
            FORMAT,
        ),
        ("span-2048", "a record of 2,048 entries", records((0, 2048, 2048, NOW)), FORMAT),
        ("gap", "entries without a landmark", records(first, (16, 24, 24, NOW)), FORMAT),
        ("end-falls", "a record that goes no further than the one before", records(first, (0, 8, 9, NOW)), FORMAT),
        ("beyond-checkpoint", "a record beyond its checkpoint", records((0, 8, 7, NOW)), FORMAT),
        (
            "checkpoint-falls",
            "a checkpoint smaller than the one before",
            records((0, 8, 20, NOW), (8, 16, 19, NOW)),
            FORMAT,
        ),
        ("time-falls", "a time before the one before", records(first, (8, 16, 16, NOW - 1)), FORMAT),
        ("size-above-2-63", "a checkpoint size of 2^63", records((0, 8, 2**63, NOW)), FORMAT),
        ("time-above-2-63", "a witnessed time of 2^63", records((0, 8, 8, 2**63)), FORMAT),
    ]
    for name, description, data, error in refused:
        file.refuse(f"landmark-file-{name}", description, "landmark_file", {"hex": data.hex()}, error)


def _record_json(record: LandmarkRecord) -> dict[str, Any]:
    return {
        "start": record.start,
        "end": record.end,
        "hash": record.hash.hex(),
        "checkpoint_size": record.checkpoint_size,
        "witnessed_time": record.witnessed_time,
    }


def _add_landmark_proofs(file: VectorFile, log: SampleLog) -> None:
    def record(index: int) -> LandmarkRecord:
        return next(entry for entry in log.records if entry.start <= index < entry.end)

    def proven(index: int, value: Any = None, of: int | None = None, entry: int | None = None) -> dict[str, Any]:
        encoded = log.landmark_proof(index).value() if value is None else value
        return {
            "hex": cbor.encode(encoded).hex(),
            "entry": log.entries[index if entry is None else entry].hex(),
            "record": _record_json(record(index if of is None else of)),
        }

    for index in (0, 12, 20, 29):
        file.accept(f"landmark-proof-{index}", f"entry {index}", "landmark_proof", proven(index), {"index": index})
    proof = log.landmark_proof(20)
    number, start, end, hashes = proof.log_number, proof.start, proof.end, proof.hashes
    refused: list[tuple[str, str, dict[str, Any], str]] = [
        ("another-entry", "another entry", proven(20, entry=21), PROOF),
        ("another-record", "the record of another landmark", proven(20, of=0), PROOF),
        ("another-index", "the index is another", proven(20, [number, start, end, 21, hashes]), PROOF),
        ("hash-missing", "a path without its last hash", proven(20, [number, start, end, 20, hashes[:-32]]), PROOF),
        ("index-outside", "an index outside the interval", proven(20, [number, start, end, end, hashes]), FORMAT),
        (
            "interval-not-aligned",
            "an interval that is no subtree",
            proven(20, [number, start - 2, end, 20, hashes]),
            FORMAT,
        ),
        ("span-2048", "a subtree of 2,048 entries", proven(20, [number, 0, 2048, 20, bytes(320)]), FORMAT),
        ("eleven-hashes", "a path of eleven hashes", proven(20, [number, start, end, 20, bytes(352)]), FORMAT),
        ("half-hash", "a path of 40 bytes", proven(20, [number, start, end, 20, bytes(40)]), FORMAT),
        ("hashes-array", "an array of hashes", proven(20, [number, start, end, 20, [bytes(32)]]), FORMAT),
        ("number-negative", "a negative log number", proven(20, [-1, start, end, 20, hashes]), FORMAT),
        ("number-2-32", "a log number of 2^32", proven(20, [2**32, start, end, 20, hashes]), FORMAT),
        ("six-elements", "an element more", proven(20, [number, start, end, 20, hashes, 0]), FORMAT),
    ]
    for name, description, value, error in refused:
        file.refuse(f"landmark-proof-{name}", description, "landmark_proof", value, error)
