"""Reading of CSV files: strictly, a record at a time, so that memory does not grow with the file.

The whole file is looked through before anything of it is used: another encoding, a NUL byte, a row with more or fewer
columns than the header, a quote that does not end, or a header without the columns that are needed refuse the file
with the place. Rows are counted as a spreadsheet does: the header is row 1.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chopmark.errors import StorageError

from chopmark_issuer.errors import ImportFileError

_CHUNK: Final = 1 << 20
FIELD_LIMIT: Final = 131_072
"""Characters of one value: Python's own bound, which a quote that is never closed soon reaches."""
_CODECS: Final = {"utf-8": "utf-8-sig", "gb18030": "gb18030", "windows-1252": "cp1252"}


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file that was looked through: its header, how many rows follow it, its SHA-256, and whether UTF-8 is marked."""

    path: Path
    encoding: str
    delimiter: str
    header: tuple[str, ...]
    rows: int
    digest: bytes
    marked: bool

    @property
    def codec(self) -> str:
        """Python's name for how it was written, byte order mark included: what writes a file just like it."""
        return "utf-8" if self.encoding == "utf-8" and not self.marked else _CODECS[self.encoding]

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """The rows, each with its number.

        Raises:
            ImportFileError: the file was changed since it was looked through.
            StorageError: it cannot be read.
        """
        records = _records(self.path, self.encoding, self.delimiter)
        if tuple(next(records, (1, []))[1]) != self.header:
            raise ImportFileError("the file was changed while it was read", where=str(self.path))
        for number, record in records:
            if record:
                if len(record) != len(self.header):
                    raise ImportFileError("the file was changed while it was read", where=f"{self.path}, row {number}")
                yield number, record


def open_csv(path: Path, *, encoding: str, delimiter: str, required: Sequence[str]) -> CsvFile:
    """Look a file through.

    Args:
        path: the file.
        encoding: `utf-8`, `gb18030` or `windows-1252`.
        delimiter: one character.
        required: columns that its header must have.

    Raises:
        ImportFileError: the file is not one of that form; the place is named.
        StorageError: it cannot be read.
    """
    digest, marked = _check_bytes(path, encoding)
    records = _records(path, encoding, delimiter)
    header = next(records, (1, []))[1]
    _check_header(path, header, required)
    rows = 0
    for number, record in records:
        if not record:
            continue  # an empty line, as the last one often is
        if len(record) != len(header):
            raise ImportFileError(
                f"{len(record)} columns, where the header has {len(header)}",
                where=f"{path}, row {number}",
                remedy="Correct the row: a delimiter or quote may be missing or stray",
            )
        rows += 1
    return CsvFile(path, encoding, delimiter, tuple(header), rows, digest, marked)


def _check_header(path: Path, header: Sequence[str], required: Sequence[str]) -> None:
    where = f"{path}, row 1"
    if not header:
        raise ImportFileError("the file is empty", where=str(path))
    for column in header:
        if header.count(column) > 1:
            raise ImportFileError(f"the column {column!r} stands twice in the header", where=where)
    missing = [column for column in required if column not in header]
    if missing:
        raise ImportFileError(
            f"the header lacks {', '.join(map(repr, missing))}",
            where=where,
            remedy=f"It has {', '.join(map(repr, header))}: is this the file, and the delimiter, of this mapping?",
        )


def _check_bytes(path: Path, encoding: str) -> tuple[bytes, bool]:
    """Look for NUL bytes and for what the encoding does not allow; answers the SHA-256, and if UTF-8 is marked."""
    digest = hashlib.sha256()
    decoder = codecs.getincrementaldecoder(_CODECS[encoding])("strict")
    offset = 0
    marked = False
    try:
        with path.open("rb") as file:
            while True:
                chunk = file.read(_CHUNK)
                marked = marked or (offset == 0 and chunk.startswith(codecs.BOM_UTF8))
                digest.update(chunk)
                if b"\0" in chunk:
                    raise ImportFileError(
                        "a NUL byte", where=f"{path}, byte {offset + chunk.index(0)}", remedy=_ENCODING_REMEDY
                    )
                pending = len(decoder.getstate()[0])
                try:
                    decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    raise ImportFileError(
                        f"not {encoding}",
                        where=f"{path}, byte {offset - pending + error.start}",
                        remedy=_ENCODING_REMEDY,
                    ) from error
                if not chunk:
                    return digest.digest(), marked
                offset += len(chunk)
    except OSError as error:
        raise StorageError(f"the file cannot be read: {error.strerror}", where=str(path)) from error


_ENCODING_REMEDY: Final = "Save it as CSV in the encoding that the mapping names"


def _records(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        with path.open(encoding=_CODECS[encoding], newline="") as file:
            csv.field_size_limit(FIELD_LIMIT)
            for number, record in enumerate(csv.reader(file, delimiter=delimiter, strict=True), 1):
                yield number, record
    except csv.Error as error:
        raise ImportFileError(
            f"not CSV: {error}", where=f"{path}, after row {number}", remedy="Look for a quote that is not closed"
        ) from error
    except UnicodeDecodeError as error:
        raise ImportFileError("the file was changed while it was read", where=str(path)) from error
    except OSError as error:
        raise StorageError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
