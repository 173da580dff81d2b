"""Import of licences from a CSV file, a row a term (`specs/import-mapping.md`).

The file is looked through, staged and grouped by licence; then licences are written in chunks, each in one transaction
like any other act. Rows are idempotent by their key and a digest of what they say, so an import that was interrupted,
or a later edition of the file, is simply imported again. Memory does not grow with the file: what does is on disk.

    lock the folder → look the file through → stage its rows → for each chunk of licences:
        read what the registry holds of them → plan (pure) → write, and count in the history → keep refused rows
    → give the file of refused rows its name → note the end

A dry run does the same but for the writing: credentials are made up to their signatures, and no further.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chopmark.licence_type import HolderBinding

from chopmark_issuer.catalogue.catalogue import type_in_use
from chopmark_issuer.catalogue.departments import Actor, check_authority
from chopmark_issuer.errors import FieldError, RefusedError
from chopmark_issuer.importing.csv_file import open_csv
from chopmark_issuer.importing.import_folder import ImportFolder
from chopmark_issuer.importing.import_history import Counts, advance_run, begin_run, finish_run
from chopmark_issuer.importing.import_plan import LicencePlan, Refusal, StagedRow, plan_licence
from chopmark_issuer.importing.import_refused import RefusedFile
from chopmark_issuer.importing.import_staging import Staging
from chopmark_issuer.importing.import_writing import known_licences, try_plans, write_plans
from chopmark_issuer.importing.mapping import ImportMapping, read_mapping
from chopmark_issuer.keys.key_provider import KeyProvider
from chopmark_issuer.storage.database import Database

CHUNK: Final = 1000
"""Rows of one transaction: it holds the write lock for about a quarter of a second."""
_SHOWN: Final = 100
"""Refusals kept in the report; the file of refused rows has all of them."""

Licence = tuple[str, list[StagedRow]]
Progress = Callable[[str, int, int], None]
"""Told what is done (`reading` or `issuing`), how many rows of it are done, from 0, and how many there are."""


@dataclass(slots=True)
class ImportReport:
    """What became of the rows of a file; rows = issued + changed + unchanged + refused.

    `changed` rows were known and say something new; `refused_file` holds all refused rows, `refusals` the first ones.
    After a dry run it is what would have become of them, and `run` is None.
    """

    rows: int = 0
    issued: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    licences: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    refused_file: Path | None = None
    run: int | None = None

    @property
    def done(self) -> int:
        """How many rows something became of."""
        return self.issued + self.changed + self.unchanged + self.refused

    def add(self, plans: Sequence[LicencePlan], licences: int) -> None:
        """Count what became of some licences."""
        counts = Counts.of(plans)
        self.issued += counts.issued
        self.changed += counts.changed
        self.unchanged += counts.unchanged
        self.refused += counts.refused
        self.licences += licences
        for plan in plans:
            self.refusals.extend(plan.refused[: _SHOWN - len(self.refusals)])


@dataclass(frozen=True, slots=True)
class _Task:
    """What is imported for whom; `run` is None in a dry run."""

    actor: Actor
    mapping: ImportMapping
    run: int | None
    hold_back: bool


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
        dry: bool = False,
        hold_back: bool = False,
    ) -> ImportReport:
        """Import a file; the same file again changes nothing.

        Args:
            actor: for whom.
            path: the file.
            type_id: the licence type that its rows are of.
            mapping_data: the mapping file.
            mapping_name: what errors call it.
            progress: is told how far it is.
            dry: whether to write nothing into the registry, only the file of refused rows. No private key is used.
            hold_back: whether nothing new of a licence is taken while one of its rows is refused.

        Raises:
            ImportFileError: the file is not what the mapping says; nothing was imported.
            CatalogueError, NotFoundError: the mapping or the type is none.
            AuthorityError: the department may not issue this type.
            RefusedError: another import is under way, or the licences are bound to keys that no file has.
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
        with ImportFolder(self._folder) as folder:
            file = open_csv(path, encoding=mapping.encoding, delimiter=mapping.delimiter, required=mapping.columns)
            report = ImportReport(rows=file.rows)
            if not dry:
                with self._database.writing() as connection:
                    report.run = begin_run(connection, file, type_id, at=self._clock())
                folder.name_run(report.run)
            with (
                Staging(folder.staging, file, mapping) as staging,
                RefusedFile(folder.refused, file, staging.record) as refused,
            ):
                progress("reading", 0, file.rows)
                for staged in staging.fill():
                    progress("reading", staged, file.rows)
                progress("issuing", 0, file.rows)
                task = _Task(actor, mapping, report.run, hold_back)
                for chunk, licences in _chunks(staging.licences()):
                    plans = self._take(task, chunk)
                    report.add(plans, licences)
                    refused.add([refusal for plan in plans for refusal in plan.refused])
                    progress("issuing", report.done, file.rows)
                report.refused_file = refused.finish(folder.refused_path(path.name, report.run))
            if report.run is not None:
                with self._database.writing() as connection:
                    finish_run(connection, report.run, at=self._clock())
        return report

    def _take(self, task: _Task, chunk: Sequence[Licence]) -> list[LicencePlan]:
        """Take a chunk in one transaction; where a licence in it cannot be signed, in halves down to that one."""
        try:
            return self._take_at_once(task, chunk)
        except FieldError as error:
            if len(chunk) > 1:
                half = len(chunk) // 2
                return [plan for part in (chunk[:half], chunk[half:]) for plan in self._take(task, part)]
            name, rows = chunk[0]
            reason = f"it can not be signed: {error.what.removeprefix('the credential can not be signed: ')}"
            refused = tuple(Refusal(each.number, task.mapping.licence, reason) for each in rows)
            plan = LicencePlan(name, refused=refused)
            if task.run is not None:
                with self._database.writing() as connection:
                    advance_run(connection, task.run, Counts.of([plan]))
            return [plan]

    def _take_at_once(self, task: _Task, chunk: Sequence[Licence]) -> list[LicencePlan]:
        at = self._clock()
        department, licence_type = task.actor.department, task.mapping.licence_type
        with self._database.reading() if task.run is None else self._database.writing() as connection:
            check_authority(connection, task.actor, licence_type.type.id, at=at)
            known = known_licences(connection, licence_type, department, chunk)
            plans = [
                plan_licence(
                    name,
                    rows,
                    mapping=task.mapping,
                    department=department,
                    known=known.licences.get(name),
                    known_rows=known.rows.get(name, {}),
                    at=at,
                    hold_back=task.hold_back,
                )
                for name, rows in chunk
            ]
            there = known.licences
            if task.run is None:
                try_plans(connection, department, licence_type=licence_type, plans=plans, known=there, at=at)
                return plans
            write_plans(
                connection,
                self._keys,
                department,
                licence_type=licence_type,
                plans=plans,
                known=there,
                at=at,
                random=self._random,
            )
            advance_run(connection, task.run, Counts.of(plans))
            return plans


def _chunks(licences: Iterable[Licence]) -> Iterator[tuple[list[Licence], int]]:
    """Chunks of licences, each with how many licences begin in it: a very long one comes in parts."""
    chunk: list[Licence] = []
    rows = begun = 0
    last = ""
    for licence in licences:
        if chunk and rows + len(licence[1]) > CHUNK:
            yield chunk, begun
            chunk, rows, begun = [], 0, 0
        chunk.append(licence)
        rows += len(licence[1])
        begun += not licence[0] or licence[0] != last
        last = licence[0]
    if chunk:
        yield chunk, begun
