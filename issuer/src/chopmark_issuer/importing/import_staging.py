"""The rows of a file under import, on disk and grouped by licence, so that memory does not grow with the file.

A SQLite file of its own, beside the registry, readable by its owner only. It is no record of anything: nothing is
journalled or synced, and one that a killed import left is removed by the next (`import_folder`).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from chopmark.errors import StorageError

from chopmark_issuer.importing.csv_file import CsvFile
from chopmark_issuer.importing.import_plan import MAX_ROWS, StagedRow
from chopmark_issuer.importing.mapping import ImportMapping, RowRefusedError

_BATCH: Final = 1000
_CACHE: Final = 32 * 1024
"""KiB of the file that are kept in memory: the two indexes of some hundred thousand rows."""
_TABLE: Final = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-%d;
CREATE TABLE row (number INTEGER PRIMARY KEY, licence TEXT, key TEXT, place TEXT, record TEXT NOT NULL);
CREATE INDEX row_licence ON row (licence, number);
CREATE INDEX row_key ON row (key, number);
"""
_BY_LICENCE: Final = """
SELECT number, licence, place, record,
    (SELECT first.number FROM row AS first WHERE first.key = row.key ORDER BY first.number LIMIT 1)
FROM row ORDER BY licence, number
"""


class Staging:
    """The staged rows of one file; a context manager that removes them."""

    def __init__(self, path: Path, file: CsvFile, mapping: ImportMapping) -> None:
        self._path = path
        self._file = file
        self._mapping = mapping
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise StorageError(f"the rows cannot be staged: {error.strerror}", where=str(path)) from error
        with self._translated():
            self._connection = sqlite3.connect(path, isolation_level=None)
            try:
                self._connection.executescript(_TABLE % _CACHE)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        with suppress(OSError):  # whoever takes the folder next removes it
            self._path.unlink()

    def fill(self) -> Iterator[int]:
        """Stage every row of the file; answers, from time to time and at the end, how many there are.

        Raises:
            ImportFileError: the file was changed since it was looked through.
            StorageError: it cannot be read, or the rows cannot be kept.
        """
        batch: list[tuple[int, str | None, str | None, str | None, str]] = []
        for count, (number, record) in enumerate(self._file.records(), 1):
            batch.append((number, *self._names(record), json.dumps(record)))
            if len(batch) == _BATCH:
                self._insert(batch)
                batch.clear()
                yield count
        if batch:
            self._insert(batch)
            yield count

    def licences(self) -> Iterator[tuple[str, list[StagedRow]]]:
        """Each licence with its rows; rows that name none come one by one, under an empty name.

        A licence of more than `MAX_ROWS` rows comes in parts, each of more than that, so that no file can make the
        list of one licence long.

        Raises:
            StorageError: the rows cannot be read.
        """
        part = MAX_ROWS + 1
        licence: str | None = None
        rows: list[StagedRow] = []
        with self._translated():
            for number, named, place, text, first in self._connection.execute(_BY_LICENCE):
                if rows and (named is None or named != licence):
                    yield licence or "", rows
                    rows = []
                elif len(rows) == 2 * part:
                    yield licence or "", rows[:part]
                    rows = rows[part:]
                licence = named
                rows.append(self._read(number, place, json.loads(text), first))
        if rows:
            yield licence or "", rows

    def record(self, number: int) -> list[str]:
        """A row as the file has it."""
        with self._translated():
            (text,) = self._connection.execute("SELECT record FROM row WHERE number = ?", (number,)).fetchone()
        values: list[str] = json.loads(text)
        return values

    def _names(self, record: list[str]) -> tuple[str | None, str | None, str | None]:
        """Licence, key and place of a row, each None where it cannot be told."""
        values = self._values(record)
        found: list[str | None] = []
        for read in (self._mapping.read_licence, self._mapping.read_key, self._mapping.read_order):
            try:
                found.append(read(values))
            except RowRefusedError:
                found.append(None)
        return found[0], found[1], found[2]

    def _read(self, number: int, place: str | None, record: list[str], first: int | None) -> StagedRow:
        try:
            row = self._mapping.read(self._values(record))
        except RowRefusedError as error:
            return StagedRow(number, place, error)
        if first is not None and first != number:
            return StagedRow(
                number, place, RowRefusedError(f"it has the name of row {first}", where=self._mapping.row[0])
            )
        return StagedRow(number, place, row)

    def _values(self, record: list[str]) -> dict[str, str]:
        return dict(zip(self._file.header, record, strict=True))

    def _insert(self, batch: list[tuple[int, str | None, str | None, str | None, str]]) -> None:
        with self._translated():
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT INTO row VALUES (?, ?, ?, ?, ?)", batch)
            self._connection.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(
                f"the rows cannot be staged: {error}",
                where=str(self._path),
                remedy="Make room for a file as large as the one that is imported, and import it again",
            ) from error
