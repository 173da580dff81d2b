"""Verification records on disk: one file for each inspection, written once and never replaced.

    <folder>/<yyyy-mm-dd>/<record id>.jwt        the UTC day of the record's own time; 32 hex digits

A file that is there is whole: it is written beside its place, synced, and renamed, and the folders are synced, before
the inspector is told that the inspection is filed. Readable by its owner only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chopmark.durable_file import read_file, write_file
from chopmark.errors import ChopmarkError, FormatError, StorageError, TrustError
from chopmark.identifiers import region_of
from chopmark.strict import time_encode
from chopmark.trust_store import TrustStore
from chopmark.verification_record import (
    RECORD_MAX,
    UnverifiedRecord,
    VerificationRecord,
    read_unverified,
    verify_record,
)

from chopmark_verifier.enrolment import enrolled_key

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_SUFFIX = ".jwt"


@dataclass(frozen=True, slots=True)
class FiledRecord:
    """A file of the folder: what it says, unverified, or what is wrong with it."""

    path: Path
    unverified: UnverifiedRecord | None
    problem: str = ""


class RecordFolder:
    """The folder of an inspector's records. Several processes may file into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, text: str) -> Path:
        """File a record; when this returns, it survives a power cut.

        Raises:
            FormatError: it is no record.
            StorageError: it is filed already, or cannot be written.
        """
        record = read_unverified(text).record
        day = self.folder / time_encode(record.issued_at)[:10]
        path = day / f"{record.record_id}{_SUFFIX}"
        if path.exists():
            raise StorageError("the record is filed already", where=str(path))
        write_file(path, text.encode("ascii"), private=True)
        return path

    def filed(self) -> Iterator[FiledRecord]:
        """All records, day by day, each day by time; a file that is none is told, not skipped.

        Raises:
            StorageError: the folder cannot be read.
        """
        for day in _entries(self.folder):
            if _DAY.fullmatch(day.name) is None or not day.is_dir():
                continue
            records = [
                _filed(path) for path in _entries(day) if path.suffix == _SUFFIX and not path.name.startswith(".")
            ]
            yield from sorted(records, key=_time)


def read_record(path: Path) -> str:
    """The text of a filed record.

    Raises:
        StorageError: there is no such file, or it cannot be read.
        FormatError: it is no text of a record; `LimitError` where it is too large.
    """
    data = read_file(path, max_size=RECORD_MAX + 2)
    if data is None:
        raise StorageError("there is no such file", where=str(path))
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise FormatError("not a verification record", where=str(path)) from error


def verify_filed(text: str, store: TrustStore) -> VerificationRecord:
    """Verify a record with the key that the bundle of the inspector's region enrols.

    Raises:
        FormatError: it is no record.
        TrustError: the store has no bundle of that region, or the key was not enrolled at the record's time.
        SignatureError: the signature does not verify.
    """
    unverified = read_unverified(text)
    record = unverified.record
    region = region_of(record.inspector)
    bundle = store.bundle(region)
    if bundle is None:
        raise TrustError(
            f"the trust store holds no bundle of {region}",
            where=f"inspector {record.inspector}",
            remedy="Update the trust store",
        )
    key = enrolled_key(bundle, record.inspector, unverified.kid, at=record.issued_at)
    return verify_record(text, key.public_key)


def _filed(path: Path) -> FiledRecord:
    try:
        unverified = read_unverified(read_record(path))
    except ChopmarkError as error:
        return FiledRecord(path, None, str(error))
    if path.stem != unverified.record.record_id:
        return FiledRecord(path, unverified, f"it is the record {unverified.record.record_id}")
    return FiledRecord(path, unverified)


def _time(filed: FiledRecord) -> tuple[int, str]:
    return (filed.unverified.record.issued_at if filed.unverified is not None else 0, filed.path.name)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise StorageError(f"the folder cannot be read: {error.strerror}", where=str(folder)) from error
