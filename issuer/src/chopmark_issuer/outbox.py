"""The outbox: entries for the log, written in the transaction of what they belong to, sent afterwards.

A batch is given its number and contents once, durably, before it is sent; after a crash or a lost answer the same
batch is sent again under the same number, and the log answers the same indexes. So each entry enters the log exactly
once, however often sending was tried.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, func, insert, select, update

from chopmark_issuer.database import Database
from chopmark_issuer.errors import ConflictError
from chopmark_issuer.models import OUTBOX, OUTBOX_BATCH

BATCH_SIZE: Final = 4096
"""Entries of one batch: half a megabyte of hashes, answered in a fraction of a second."""


Submit = Callable[[int, Sequence[bytes]], list[int]]
"""Takes a batch number and its entries, durably; the same batch again answers the same indexes."""


@dataclass(frozen=True, slots=True)
class _Batch:
    number: int
    digest: bytes
    row_ids: tuple[int, ...]
    entries: tuple[bytes, ...]


def enqueue(connection: Connection, entries: Sequence[bytes]) -> list[int]:
    """Put entries into the outbox, in the caller's transaction; answers their outbox ids, in order."""
    if not entries:
        return []
    statement = insert(OUTBOX).returning(OUTBOX.c.id, sort_by_parameter_order=True)
    return list(connection.execute(statement, [{"entry": entry} for entry in entries]).scalars())


def log_indexes(connection: Connection, outbox_ids: Sequence[int]) -> dict[int, int]:
    """The log index of each outbox row that the log has answered."""
    query = select(OUTBOX.c.id, OUTBOX.c.log_index).where(OUTBOX.c.id.in_(outbox_ids), OUTBOX.c.log_index.is_not(None))
    return {row.id: row.log_index for row in connection.execute(query)}


def flush(database: Database, submit: Submit, *, at: int) -> int:
    """Send everything that waits; answers how many entries the log took.

    Raises:
        ConflictError: the log answers another number of indexes than it was sent entries.
        ChopmarkError: what `submit` raises; the batch stays and is sent again next time.
    """
    sent = 0
    while (batch := _next_batch(database, at)) is not None:
        indexes = submit(batch.number, batch.entries)
        if len(set(indexes)) != len(batch.entries):
            raise ConflictError(
                f"the log answered {len(indexes)} indexes for {len(batch.entries)} entries",
                where=f"batch {batch.number}",
                remedy="Check the log before anything more is sent to it",
            )
        with database.writing() as connection:
            connection.execute(
                update(OUTBOX).where(OUTBOX.c.id == bindparam("row_id")).values(log_index=bindparam("answered")),
                [{"row_id": row_id, "answered": index} for row_id, index in zip(batch.row_ids, indexes, strict=True)],
            )
            connection.execute(update(OUTBOX_BATCH).where(OUTBOX_BATCH.c.number == batch.number).values(answered_at=at))
        sent += len(indexes)
    return sent


def _next_batch(database: Database, at: int) -> _Batch | None:
    """The oldest batch without an answer, else a new one of what waits."""
    with database.writing() as connection:
        row = connection.execute(
            select(OUTBOX_BATCH.c.number, OUTBOX_BATCH.c.digest)
            .where(OUTBOX_BATCH.c.answered_at.is_(None))
            .order_by(OUTBOX_BATCH.c.number)
            .limit(1)
        ).first()
        if row is not None:
            contents = connection.execute(
                select(OUTBOX.c.id, OUTBOX.c.entry)
                .where(OUTBOX.c.batch_number == row.number)
                .order_by(OUTBOX.c.position)
            ).all()
            batch = _Batch(row.number, row.digest, tuple(r.id for r in contents), tuple(r.entry for r in contents))
            if _digest(batch.entries) != batch.digest:
                raise ConflictError(
                    "the batch no longer holds what it was given", where=f"batch {batch.number}", remedy="Restore it"
                )
            return batch
        waiting = connection.execute(
            select(OUTBOX.c.id, OUTBOX.c.entry)
            .where(OUTBOX.c.batch_number.is_(None))
            .order_by(OUTBOX.c.id)
            .limit(BATCH_SIZE)
        ).all()
        if not waiting:
            return None
        number = (connection.execute(select(func.max(OUTBOX_BATCH.c.number))).scalar() or 0) + 1
        entries = tuple(r.entry for r in waiting)
        batch = _Batch(number, _digest(entries), tuple(r.id for r in waiting), entries)
        connection.execute(
            insert(OUTBOX_BATCH).values(number=number, size=len(entries), digest=batch.digest, created_at=at)
        )
        connection.execute(
            update(OUTBOX)
            .where(OUTBOX.c.id == bindparam("row_id"))
            .values(batch_number=number, position=bindparam("place")),
            [{"row_id": row_id, "place": place} for place, row_id in enumerate(batch.row_ids)],
        )
        return batch


def _digest(entries: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(len(entry).to_bytes(4, "big"))
        digest.update(entry)
    return digest.digest()
