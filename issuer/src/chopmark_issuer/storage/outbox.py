"""The outbox: entries for the log, written in the transaction of what they belong to, sent afterwards.

A batch is given its number and contents once, durably, before it is sent; after a crash or a lost answer the same
batch is sent again under the same number, and the log answers the same indexes. So each entry enters the log exactly
once, however often sending was tried.

An entry that the log refuses holds up nothing: its neighbours get their indexes, it keeps the reason, and it is sent
once more, in a new batch, with each later `flush`. The reason may lie with the log: who may write what is set there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chopmark_ledger.errors import BatchRefusedError
from sqlalchemy import Connection, func, insert, select, update

from chopmark_issuer.errors import ConflictError
from chopmark_issuer.storage.bulk_rows import insert_rows, update_rows
from chopmark_issuer.storage.database import Database
from chopmark_issuer.storage.models import OUTBOX, OUTBOX_BATCH
from chopmark_issuer.storage.row_ids import next_ids

BATCH_SIZE: Final = 4096
"""Entries of one batch: half a megabyte of hashes, answered in a fraction of a second."""
BATCH_BYTES: Final = 8 * 1024 * 1024
"""Bytes of the entries of one batch, unless it has one entry only: half of what a log takes."""
_MAX_REASON: Final = 400

_NEWEST_BATCH = select(OUTBOX_BATCH).order_by(OUTBOX_BATCH.c.number.desc()).limit(1)
"""The only one that may lack its answer: the next batch is made once it has one."""
_WAITING = select(OUTBOX.c.id, OUTBOX.c.entry).where(OUTBOX.c.batch_number.is_(None)).order_by(OUTBOX.c.id)

Submit = Callable[[int, Sequence[bytes]], Sequence[int]]
"""Takes a batch number and its entries, durably; the same batch again answers the same indexes. Raises
`BatchRefusedError` where some may not enter."""


@dataclass(frozen=True, slots=True)
class _Batch:
    number: int
    digest: bytes
    row_ids: tuple[int, ...]
    entries: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RefusedEntries:
    """Entries that the log refuses for the same reason: how many, and the first of them."""

    reason: str
    count: int
    first: bytes


def enqueue(connection: Connection, entries: Sequence[bytes]) -> list[int]:
    """Put entries into the outbox, in the caller's writing transaction; answers their outbox ids, in order."""
    if not entries:
        return []
    ids = next_ids(connection, OUTBOX, len(entries))
    insert_rows(connection, OUTBOX, ("id", "entry"), list(zip(ids, entries, strict=True)))
    return list(ids)


def log_indexes(connection: Connection, outbox_ids: Sequence[int]) -> dict[int, int]:
    """The log index of each outbox row that the log has answered."""
    query = select(OUTBOX.c.id, OUTBOX.c.log_index).where(OUTBOX.c.id.in_(outbox_ids), OUTBOX.c.log_index.is_not(None))
    return {row.id: row.log_index for row in connection.execute(query)}


def flush(database: Database, submit: Submit, *, at: int) -> int:
    """Send everything that waits, and once more what was refused before; answers how many entries the log took.

    Raises:
        ConflictError: the log answers another number of indexes than it was sent entries.
        ChopmarkError: what `submit` raises; the batch stays and is sent again next time.
    """
    _put_back_refused(database)
    sent = 0
    while (batch := _next_batch(database, at)) is not None:
        answer, reasons = _sent(batch, submit)
        taken = {row_id: index for row_id, index in zip(batch.row_ids, answer, strict=True) if index is not None}
        refused = {batch.row_ids[position]: reason for position, reason in reasons.items()}
        # every entry has an index of its own or a reason, and none has both
        if len(set(taken.values())) != len(taken) or taken.keys() ^ refused.keys() != set(batch.row_ids):
            raise _wrong_answer(batch, len(taken))
        with database.writing() as connection:
            # somebody else may have sent it too, been answered the same, and put back what was refused
            here = set(connection.execute(select(OUTBOX.c.id).where(OUTBOX.c.batch_number == batch.number)).scalars())
            _note(connection, "log_index", {row_id: index for row_id, index in taken.items() if row_id in here})
            _note(connection, "refused", {row_id: reason for row_id, reason in refused.items() if row_id in here})
            connection.execute(update(OUTBOX_BATCH).where(OUTBOX_BATCH.c.number == batch.number).values(answered_at=at))
        sent += len(taken)
    return sent


def refused_entries(connection: Connection) -> list[RefusedEntries]:
    """What the log refuses, by reason."""
    query = (
        select(OUTBOX.c.refused, func.count(), func.min(OUTBOX.c.id))
        .where(OUTBOX.c.refused.is_not(None))
        .group_by(OUTBOX.c.refused)
        .order_by(func.min(OUTBOX.c.id))
    )
    first = select(OUTBOX.c.entry)
    return [
        RefusedEntries(reason, count, connection.execute(first.where(OUTBOX.c.id == row_id)).scalar_one())
        for reason, count, row_id in connection.execute(query).all()
    ]


def _sent(batch: _Batch, submit: Submit) -> tuple[Sequence[int | None], dict[int, str]]:
    """What the log answers for each entry, and why it refuses some, by their positions."""
    try:
        indexes = submit(batch.number, batch.entries)
    except BatchRefusedError as error:
        reasons = {each.position: each.reason[:_MAX_REASON] for each in error.refused}
        answer: Sequence[int | None] = (None,) * len(batch.entries) if error.answer is None else error.answer.indexes
    else:
        reasons, answer = {}, indexes
    if len(answer) != len(batch.entries) or not reasons.keys() <= set(range(len(answer))):
        raise _wrong_answer(batch, len(answer))
    return answer, reasons


def _wrong_answer(batch: _Batch, count: int) -> ConflictError:
    return ConflictError(
        f"the log answered {count} indexes for {len(batch.entries)} entries",
        where=f"batch {batch.number}",
        remedy="Check the log before anything more is sent to it",
    )


def _note(connection: Connection, column: str, values: Mapping[int, int | str]) -> None:
    update_rows(connection, OUTBOX, (column,), [(value, row_id) for row_id, value in values.items()])


def _put_back_refused(database: Database) -> None:
    """Let what was refused wait again; the batches that it was in are answered, so nobody sends them any more."""
    refused = OUTBOX.c.refused.is_not(None)
    with database.reading() as connection:
        if connection.execute(select(OUTBOX.c.id).where(refused).limit(1)).first() is None:
            return
    with database.writing() as connection:
        connection.execute(update(OUTBOX).where(refused).values(batch_number=None, position=None))


def _next_batch(database: Database, at: int) -> _Batch | None:
    """The oldest batch without an answer, else a new one of what waits."""
    with database.reading() as connection:  # a sender looks often, and who issues needs the turn to write
        newest = connection.execute(_NEWEST_BATCH).first()
        answered = newest is None or newest.answered_at is not None
        if answered and connection.execute(_WAITING.limit(1)).first() is None:
            return None
    with database.writing() as connection:
        row = connection.execute(_NEWEST_BATCH).first()
        if row is not None and row.answered_at is None:
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
        waiting = connection.execute(_WAITING.limit(BATCH_SIZE)).all()
        if not waiting:
            return None
        number = 1 if row is None else row.number + 1
        total = 0
        for count, row in enumerate(waiting):
            total += len(row.entry)
            if count and total > BATCH_BYTES:
                waiting = waiting[:count]
                break
        entries = tuple(r.entry for r in waiting)
        batch = _Batch(number, _digest(entries), tuple(r.id for r in waiting), entries)
        connection.execute(
            insert(OUTBOX_BATCH).values(number=number, size=len(entries), digest=batch.digest, created_at=at)
        )
        rows = [(number, place, None, row_id) for place, row_id in enumerate(batch.row_ids)]
        update_rows(connection, OUTBOX, ("batch_number", "position", "refused"), rows)
        return batch


def _digest(entries: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(len(entry).to_bytes(4, "big"))
        digest.update(entry)
    return digest.digest()
