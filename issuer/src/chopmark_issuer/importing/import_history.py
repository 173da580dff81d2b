"""The history of imports: what each run has done, counted in the transactions that did it.

So the record of a run that was killed says what it had committed. A run without an end is one that was interrupted,
unless it still holds the folder of imports; importing its file again goes on, as a run of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from sqlalchemy import Connection, insert, select, update

from chopmark_issuer.importing.csv_file import CsvFile
from chopmark_issuer.importing.import_plan import LicencePlan
from chopmark_issuer.storage.models import IMPORT_RUN
from chopmark_issuer.storage.row_ids import next_id


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of rows; `changed` ones were known and say something new."""

    issued: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0

    @classmethod
    def of(cls, plans: Iterable[LicencePlan]) -> Self:
        """What became of the rows of some licences."""
        issued = changed = unchanged = refused = 0
        for plan in plans:
            issued += len(plan.versions) - (plan.changed - len(plan.restated))
            changed += plan.changed
            unchanged += plan.unchanged
            refused += len(plan.refused)
        return cls(issued, changed, unchanged, refused)


@dataclass(frozen=True, slots=True)
class ImportRun:
    """One run; `finished_at` is None where it did not come to its end, or has not yet."""

    id: int
    file_name: str
    type_id: str
    started_at: int
    finished_at: int | None
    rows: int
    counts: Counts


def begin_run(connection: Connection, file: CsvFile, type_id: str, *, at: int) -> int:
    """Note that an import begins; answers its number."""
    run = next_id(connection, IMPORT_RUN)
    statement = insert(IMPORT_RUN).values(
        id=run,
        file_name=os.fsencode(file.path.name).decode("utf-8", "replace"),  # a file may be named by any bytes
        file_digest=file.digest,
        type_id=type_id,
        started_at=at,
        rows=file.rows,
        issued=0,
        changed=0,
        unchanged=0,
        refused=0,
    )
    connection.execute(statement)
    return run


def advance_run(connection: Connection, run: int, counts: Counts) -> None:
    """Add what became of some rows, in the transaction that wrote them."""
    columns = IMPORT_RUN.c
    connection.execute(
        update(IMPORT_RUN)
        .where(columns.id == run)
        .values(
            issued=columns.issued + counts.issued,
            changed=columns.changed + counts.changed,
            unchanged=columns.unchanged + counts.unchanged,
            refused=columns.refused + counts.refused,
        )
    )


def finish_run(connection: Connection, run: int, *, at: int) -> None:
    """Note that an import came to its end."""
    connection.execute(update(IMPORT_RUN).where(IMPORT_RUN.c.id == run).values(finished_at=at))


def import_runs(connection: Connection, *, limit: int) -> list[ImportRun]:
    """The last runs, newest first."""
    query = select(IMPORT_RUN).order_by(IMPORT_RUN.c.id.desc()).limit(limit)
    return [
        ImportRun(
            row.id,
            row.file_name,
            row.type_id,
            row.started_at,
            row.finished_at,
            row.rows,
            Counts(row.issued, row.changed, row.unchanged, row.refused),
        )
        for row in connection.execute(query)
    ]
