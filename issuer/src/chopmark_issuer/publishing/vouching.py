"""Vouching for landmark files: the region's own and its peers', in the region's own log (entries of kind 5).

A file is vouched for after every record of it was recomputed from the tiles of its log, under a checkpoint that a
quorum cosigned. What was vouched for is kept beside the registry, so that it is published as it was then, whatever
the log's folder holds by now.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from chopmark.durable_file import read_file, write_file
from chopmark.entries import LandmarkFileEntry
from chopmark.errors import ChopmarkError
from chopmark.landmark import HEADER_SIZE, RECORD_SIZE
from chopmark.limits import LIMITS
from chopmark_ledger.client import HttpSource, VouchedLandmarks, recompute_fetched_landmarks, recompute_landmarks
from chopmark_ledger.errors import LogUnreachableError
from sqlalchemy import Connection, insert, select, update

from chopmark_issuer.errors import DatabaseError
from chopmark_issuer.publishing.peers import WatchedLog
from chopmark_issuer.storage import outbox
from chopmark_issuer.storage.database import Database
from chopmark_issuer.storage.models import LANDMARK_VOUCHING

_LANDMARKS = "landmarks"
_ATTEMPTS = 3
"""How often a file of a served log is asked for before the log counts as away."""
_MAX_SECONDS = 120
"""Seconds in which the files of one served log must be there."""


@dataclass(frozen=True, slots=True)
class Vouching:
    """What came of vouching: the origins whose files grew, and those that could not be vouched for, with the reason."""

    origins: tuple[str, ...]
    problems: tuple[str, ...]


def vouch(database: Database, folder: Path, own: WatchedLog, peers: list[WatchedLog]) -> Vouching:
    """Recompute landmark files, and enqueue an entry for each that has records beyond those vouched for.

    A peer's file that does not hold up is left as it was and told; the region's own raises.

    Args:
        database: the registry's.
        folder: where the files are kept as they were vouched for.
        own: the region's own log.
        peers: the logs of its peers.

    Raises:
        ChopmarkError: the region's own landmark file does not follow from its own tiles.
    """
    grown: list[str] = []
    problems: list[str] = []
    for log in (own, *peers):
        try:
            if _vouch_for(database, folder, log):
                grown.append(log.origin)
        except ChopmarkError as error:
            if log is own:
                raise
            problems.append(f"landmark file of {log.origin}: {error}")
    return Vouching(tuple(grown), tuple(problems))


def vouched_file(connection: Connection, folder: Path, origin: str) -> bytes | None:
    """The landmark file of a log as far as the region vouched for it; None where it never did.

    Raises:
        DatabaseError: what is kept is not what was vouched for.
    """
    known = _known(connection, folder, origin)
    return None if known is None else known.data


def _vouch_for(database: Database, folder: Path, log: WatchedLog) -> bool:
    with database.reading() as connection:
        known = _known(connection, folder, log.origin)
    found = _recomputed(log, known)
    if found is None:
        return False
    if known is not None and found.records == known.records:
        # What the log shows now bounds the times of its next records from below, though there are none yet.
        with database.writing() as connection:
            connection.execute(
                update(LANDMARK_VOUCHING)
                .where(LANDMARK_VOUCHING.c.origin == log.origin)
                .values(checkpoint_size=found.checkpoint_size, witnessed_from=found.witnessed_from)
            )
        return False
    write_file(_path(folder, log.region, log.number), found.data)
    with database.writing() as connection:
        entry = LandmarkFileEntry(log.origin, found.records, found.digest).encode()
        values = {
            "records": found.records,
            "digest": found.digest,
            "checkpoint_size": found.checkpoint_size,
            "witnessed_from": found.witnessed_from,
            "outbox_id": outbox.enqueue(connection, [entry])[0],
        }
        if known is None:
            connection.execute(
                insert(LANDMARK_VOUCHING).values(origin=log.origin, region=log.region, log_number=log.number, **values)
            )
        else:
            connection.execute(
                update(LANDMARK_VOUCHING).where(LANDMARK_VOUCHING.c.origin == log.origin).values(**values)
            )
    return True


def _recomputed(log: WatchedLog, known: VouchedLandmarks | None) -> VouchedLandmarks | None:
    """The landmark file of a log, recomputed; None where it has none yet."""
    if isinstance(log.place, Path):
        if known is None and not (log.place / _LANDMARKS).is_file():
            return None
        return recompute_landmarks(log.place, origin=log.origin, policies=log.policies, vouched=known)
    with closing(HttpSource(log.place, attempts=_ATTEMPTS)) as source:
        fetch = _bounded(source.read, log.place)
        if known is None and fetch(_LANDMARKS) is None:
            return None
        return recompute_fetched_landmarks(
            fetch, where=log.place, origin=log.origin, policies=log.policies, vouched=known
        )


def _bounded(fetch: Callable[[str], bytes | None], url: str) -> Callable[[str], bytes | None]:
    """Fetch until time is up: whoever stalls us delays the publication of this region no longer."""
    end = time.monotonic() + _MAX_SECONDS

    def bounded(path: str) -> bytes | None:
        if time.monotonic() > end:
            raise LogUnreachableError(
                f"its files were not there after {_MAX_SECONDS} seconds",
                where=url,
                remedy="It is tried again next time",
            )
        return fetch(path)

    return bounded


def _known(connection: Connection, folder: Path, origin: str) -> VouchedLandmarks | None:
    row = connection.execute(select(LANDMARK_VOUCHING).where(LANDMARK_VOUCHING.c.origin == origin)).first()
    if row is None:
        return None
    path = _path(folder, row.region, row.log_number)
    data = read_file(path, max_size=LIMITS.landmark_file_size)
    # The file may be ahead of the registry by what was recomputed before a crash.
    size = HEADER_SIZE + RECORD_SIZE * row.records
    vouched = VouchedLandmarks((data or b"")[:size], row.records, row.digest, row.checkpoint_size, row.witnessed_from)
    if sha256(vouched.data).digest() != vouched.digest:
        raise DatabaseError(
            "the landmark file that was vouched for is gone or changed", where=str(path), remedy="Restore it"
        )
    return vouched


def _path(folder: Path, region: str, log_number: int) -> Path:
    return folder / region / f"{log_number}.landmarks"
