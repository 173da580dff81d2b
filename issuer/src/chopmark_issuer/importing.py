"""Import of licences from a CSV file, a row a term (`specs/import-mapping.md`).

The file is looked through, staged and grouped by licence; then licences are written in chunks, each in one transaction
like any other act. Rows are idempotent by their key and a digest of what they say, so an import that was interrupted,
or a later edition of the file, is simply imported again. Refused rows are written to a file of their own: the rows as
they were, with three columns more that say why, which a later import of that file leaves alone.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO

from chopmark.errors import StorageError
from chopmark.licence_type import HolderBinding
from sqlalchemy import insert, update

from chopmark_issuer.catalogue import type_in_use
from chopmark_issuer.csv_file import CsvFile, open_csv
from chopmark_issuer.database import Database
from chopmark_issuer.departments import Actor, check_authority
from chopmark_issuer.errors import FieldError, RefusedError
from chopmark_issuer.import_plan import LicencePlan, Refusal, StagedRow, plan_licence
from chopmark_issuer.import_staging import Staging
from chopmark_issuer.import_writing import known_licences, write_plans
from chopmark_issuer.key_provider import KeyProvider
from chopmark_issuer.mapping import ImportMapping, read_mapping
from chopmark_issuer.models import IMPORT_RUN

CHUNK: Final = 500
"""Rows of one transaction: it holds the write lock for about a quarter of a second."""
_REASONS: Final = ("chopmark_row", "chopmark_column", "chopmark_reason")
_SHOWN: Final = 100
"""Refusals kept in the report; the file of refused rows has all of them."""

Licence = tuple[str, list[StagedRow]]
Progress = Callable[[str, int, int], None]
"""Told what is done (`reading` or `issuing`), how many rows of it are done, and how many there are."""


@dataclass(slots=True)
class ImportReport:
    """What became of the rows of a file; rows = issued + changed + unchanged + refused.

    `changed` rows were known and say something new; `refused_file` holds all refused rows, `refusals` the first ones.
    """

    rows: int = 0
    issued: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    licences: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    refused_file: Path | None = None


class Importer:
    """Imports files into one registry, for one actor."""

    def __init__(
        self,
        database: Database,
        keys: KeyProvider,
        folder: Path,
        *,
        clock: Callable[[], int],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._database = database
        self._keys = keys
        self._folder = folder
        self._clock = clock
        self._random = random

    def run(
        self,
        actor: Actor,
        path: Path,
        *,
        type_id: str,
        mapping_data: bytes,
        mapping_name: str = "mapping",
        progress: Progress = lambda *_: None,
    ) -> ImportReport:
        """Import a file; the same file again changes nothing.

        Args:
            actor: for whom.
            path: the file.
            type_id: the licence type that its rows are of.
            mapping_data: the mapping file.
            mapping_name: what errors call it.
            progress: is told how far it is.

        Raises:
            ImportFileError: the file is not what the mapping says; nothing was imported.
            CatalogueError, NotFoundError: the mapping or the type is none.
            AuthorityError: the department may not issue this type.
            StorageError, DatabaseError: it could not go on; what was committed stays, and importing again goes on.
        """
        with self._database.reading() as connection:
            licence_type = type_in_use(connection, type_id)
            check_authority(connection, actor, type_id, at=self._clock())
        if licence_type.type.holder is HolderBinding.BOUND:
            raise RefusedError(
                f"licences of the type {licence_type.type.vct} are bound to their holders' keys, which no file has",
                remedy="Issue them one by one, to their holders' wallets",
            )
        mapping = read_mapping(mapping_data, licence_type, where=mapping_name)
        file = open_csv(path, encoding=mapping.encoding, delimiter=mapping.delimiter, required=mapping.columns)
        run_id = self._begin(path, file.digest, type_id, file.rows)
        report = ImportReport(rows=file.rows)
        with Staging(self._folder, file, mapping) as staging:
            for staged in staging.fill():
                progress("reading", staged, file.rows)
            refused_path = self._folder / f"{path.stem}.refused-{run_id}.csv"
            with _RefusedFile(refused_path, file, staging) as refused_file:
                for chunk in _chunks(staging.licences()):
                    for plan in self._write(actor, mapping, chunk):
                        _count(report, plan)
                        refused_file.add(plan.refused)
                    progress("issuing", report.issued + report.changed + report.unchanged + report.refused, file.rows)
            report.refused_file = refused_file.written
        self._finish(run_id, report)
        return report

    def _write(self, actor: Actor, mapping: ImportMapping, chunk: Sequence[Licence]) -> list[LicencePlan]:
        """Write a chunk in one transaction; where a licence in it cannot be signed, one by one."""
        try:
            return self._write_at_once(actor, mapping, chunk)
        except FieldError as error:
            if len(chunk) == 1:
                licence, rows = chunk[0]
                reason = f"it can not be signed: {error.what}"
                refused = tuple(Refusal(staged.number, mapping.licence, reason) for staged in rows)
                return [LicencePlan(licence, refused=refused)]
            return [plan for licence in chunk for plan in self._write(actor, mapping, [licence])]

    def _write_at_once(self, actor: Actor, mapping: ImportMapping, chunk: Sequence[Licence]) -> list[LicencePlan]:
        at = self._clock()
        with self._database.writing() as connection:
            check_authority(connection, actor, mapping.licence_type.type.id, at=at)
            known = known_licences(connection, mapping.licence_type, actor.department, chunk)
            plans = [
                plan_licence(
                    name,
                    rows,
                    mapping=mapping,
                    department=actor.department,
                    known=known.licences.get(name),
                    known_rows=known.rows.get(name, {}),
                    at=at,
                )
                for name, rows in chunk
            ]
            write_plans(
                connection,
                self._keys,
                actor.department,
                licence_type=mapping.licence_type,
                plans=plans,
                known=known.licences,
                at=at,
                random=self._random,
            )
            return plans

    def _begin(self, path: Path, digest: bytes, type_id: str, rows: int) -> int:
        with self._database.writing() as connection:
            statement = insert(IMPORT_RUN).values(
                file_name=path.name,
                file_digest=digest,
                type_id=type_id,
                started_at=self._clock(),
                rows=rows,
                issued=0,
                changed=0,
                unchanged=0,
                refused=0,
            )
            return int(connection.execute(statement.returning(IMPORT_RUN.c.id)).scalar_one())

    def _finish(self, run_id: int, report: ImportReport) -> None:
        with self._database.writing() as connection:
            connection.execute(
                update(IMPORT_RUN)
                .where(IMPORT_RUN.c.id == run_id)
                .values(
                    finished_at=self._clock(),
                    issued=report.issued,
                    changed=report.changed,
                    unchanged=report.unchanged,
                    refused=report.refused,
                )
            )


def _count(report: ImportReport, plan: LicencePlan) -> None:
    corrected = plan.changed - len(plan.restated)
    report.issued += len(plan.versions) - corrected
    report.changed += plan.changed
    report.unchanged += plan.unchanged
    report.refused += len(plan.refused)
    report.licences += 1
    report.refusals.extend(plan.refused[: _SHOWN - len(report.refusals)])


def _chunks(licences: Iterable[Licence]) -> Iterator[list[Licence]]:
    chunk: list[Licence] = []
    rows = 0
    for licence in licences:
        if chunk and rows + len(licence[1]) > CHUNK:
            yield chunk
            chunk, rows = [], 0
        chunk.append(licence)
        rows += len(licence[1])
    if chunk:
        yield chunk


class _RefusedFile:
    """The file of refused rows: begun with the first, readable by its owner only, there once the import has ended.

    Encoding and delimiter are those of the imported file, so that the same mapping reads it.
    """

    def __init__(self, path: Path, imported: CsvFile, staging: Staging) -> None:
        self.written: Path | None = None
        self._path = path
        self._header = imported.header
        self._kept = [place for place, column in enumerate(imported.header) if column not in _REASONS]
        self._delimiter = imported.delimiter
        self._codec = imported.codec
        self._staging = staging
        self._file: TextIO | None = None

    def __enter__(self) -> _RefusedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, refusals: Sequence[Refusal]) -> None:
        """Write refused rows, with the reasons behind them."""
        if not refusals:
            return
        try:
            if self._file is None:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                self._file = os.fdopen(descriptor, "w", encoding=self._codec, newline="")
                self.written = self._path
                self._rows(self._file).writerow([*(self._header[place] for place in self._kept), *_REASONS])
            rows = self._rows(self._file)
            for refusal in refusals:
                record = self._staging.record(refusal.number)
                kept = (record[place] for place in self._kept)
                rows.writerow([*kept, refusal.number, self._encodable(refusal.column), self._encodable(refusal.reason)])
        except OSError as error:
            raise StorageError(
                f"the file of refused rows cannot be written: {error.strerror}", where=str(self._path)
            ) from error

    def _encodable(self, text: str) -> str:
        """A text of ours in characters that the encoding has; what came from the file needs no such care."""
        return text.encode(self._codec, "backslashreplace").decode(self._codec)

    def _rows(self, file: TextIO) -> Any:
        # the writer quotes a value for the line ends named here: a lone CR must not end its row either
        return csv.writer(file, delimiter=self._delimiter, lineterminator="\r\n")
