"""The rows of a file under import, on disk and grouped by licence, so that memory does not grow with the file.

A SQLite file of its own, beside the registry, readable by its owner only, removed when the import ends.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from chopmark.errors import StorageError

from chopmark_issuer.csv_file import CsvFile
from chopmark_issuer.import_plan import StagedRow
from chopmark_issuer.mapping import ImportMapping, RowRefusedError

_BATCH: Final = 1000


class Staging:
    """The staged rows of one file; a context manager that removes them."""

    def __init__(self, folder: Path, file: CsvFile, mapping: ImportMapping) -> None:
        self._file = file
        self._mapping = mapping
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".staging-", suffix=".db", delete=False) as staging:
                self._path = Path(staging.name)
        except OSError as error:
            raise StorageError(f"the rows cannot be staged: {error.strerror}", where=str(folder)) from error
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE row (number INTEGER PRIMARY KEY, licence TEXT, key TEXT, place TEXT, record TEXT NOT NULL);"
        )

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        with suppress(OSError):
            self._path.unlink()

    def fill(self) -> Iterator[int]:
        """Stage every row of the file; answers, from time to time, how many there are."""
        batch: list[tuple[int, str | None, str | None, str | None, str]] = []
        for count, (number, record) in enumerate(self._file.records(), 1):
            batch.append((number, *self._names(record), json.dumps(record)))
            if len(batch) == _BATCH:
                self._insert(batch)
                batch.clear()
                yield count
        self._insert(batch)
        self._connection.execute("CREATE INDEX row_licence ON row (licence, number)")
        self._connection.execute("CREATE INDEX row_key ON row (key, number)")

    def licences(self) -> Iterator[tuple[str, list[StagedRow]]]:
        """Each licence with its rows; rows that name none come one by one, under an empty name."""
        cursor = self._connection.execute("SELECT number, licence, place, record FROM row ORDER BY licence, number")
        licence: str | None = None
        rows: list[StagedRow] = []
        for number, named, place, text in cursor:
            if rows and (named is None or named != licence):
                yield licence or "", rows
                rows = []
            licence = named
            rows.append(self._read(number, place, json.loads(text)))
        if rows:
            yield licence or "", rows

    def record(self, number: int) -> list[str]:
        """A row as the file has it."""
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

    def _read(self, number: int, place: str | None, record: list[str]) -> StagedRow:
        try:
            row = self._mapping.read(self._values(record))
        except RowRefusedError as error:
            return StagedRow(number, place, error)
        first = self._connection.execute(
            "SELECT number, record FROM row WHERE key = ? AND number < ? ORDER BY number LIMIT 1", (row.key, number)
        ).fetchone()
        if first is not None:
            return StagedRow(
                number, place, RowRefusedError(f"it has the name of row {first[0]}", where=self._mapping.row[0])
            )
        return StagedRow(number, place, row)

    def _values(self, record: list[str]) -> dict[str, str]:
        return dict(zip(self._file.header, record, strict=True))

    def _insert(self, batch: list[tuple[int, str | None, str | None, str | None, str]]) -> None:
        try:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT INTO row VALUES (?, ?, ?, ?, ?)", batch)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StorageError(f"the rows cannot be staged: {error}", where=str(self._path)) from error
