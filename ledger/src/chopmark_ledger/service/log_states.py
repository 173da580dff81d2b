"""How a log is, for its operator: of a folder that nobody serves, or of a service."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chopmark import strict
from chopmark.errors import FormatError
from chopmark.landmark import LandmarkRecord
from chopmark.note import NoteVerifier

from chopmark_ledger.client import system_clock
from chopmark_ledger.sequencing.landmarks import Landmarks
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.service.log_connection import LogConnection
from chopmark_ledger.service.service_settings import DATABASE

_MAX_STATUS = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LogState:
    """What is to be told, line by line, and what is wrong."""

    lines: Sequence[str]
    problem: str | None


def local_status(folder: Path) -> LogState:
    """The state of the log in a folder; needs no key.

    Raises:
        FolderLockedError: it is open elsewhere: served perhaps, then its URL tells more.
        LedgerError, StorageError: as `chopmark_ledger.sequencing.log.Log.open`.
    """
    with Log.open(folder, clock=system_clock, database=DATABASE.of(folder)) as log:
        published = log.publication
        identity = log.identity
        lines = [
            f"origin {identity.origin}",
            f"number {identity.number}",
            *(_key(vkey) for vkey in (identity.vkey, identity.pq_vkey) if vkey is not None),
            f"committed {log.size}",
            "published nothing yet"
            if published is None
            else f"published {published.size} at {strict.time_encode(published.published)}",
            f"landmarks up to {Landmarks(log).file.end}",
        ]
    return LogState(lines, None)


def remote_status(url: str) -> LogState:
    """The state of a log that is served.

    Raises:
        LogUnreachableError: no service answers there.
        FormatError: what answers is no log's service.
    """
    found = _fetch_status(url)
    problem = found["problem"]
    lines = [f"origin {found['origin']}", *(_key(vkey) for vkey in _list(found, "vkeys") if isinstance(vkey, str))]
    lines.append(f"committed {found['committed']}")
    lines.append(f"published {found['published']}{_at(found.get('published_at'), ' at ')}")
    lines.append(f"landmarks up to {found.get('landmark_end')}")
    for each in _list(found, "witnesses"):
        if isinstance(each, dict):
            told = f"problem: {each.get('problem')}" if each.get("problem") else "well"
            lines.append(f"witness {each.get('name')} size {each.get('size')}{_at(each.get('at'), ' at ')} {told}")
    if problem is not None:
        lines.append(f"problem {problem}{_at(found.get('since'), ' since ')}")
    return LogState(lines, None if problem is None else str(problem))


def log_vkeys(place: str) -> tuple[str, ...]:
    """The keys of the log in a folder, or of one that is served, Ed25519 first.

    Raises: as `local_status` or `remote_status`.
    """
    if place.startswith(("http://", "https://")):
        return tuple(vkey for vkey in _list(_fetch_status(place), "vkeys") if isinstance(vkey, str))
    folder = Path(place)
    with Log.open(folder, clock=system_clock, database=DATABASE.of(folder)) as log:
        identity = log.identity
    return tuple(vkey for vkey in (identity.vkey, identity.pq_vkey) if vkey is not None)


def end_landmark_interval(folder: Path) -> tuple[tuple[LandmarkRecord, ...], int]:
    """End the present landmark interval of the log in a folder, under the checkpoint that is published.

    Returns:
        The records that were added, and how many entries wait for publication.

    Raises:
        FolderLockedError: it is open elsewhere; ask its service.
        NotPublishedError: nothing was ever published.
    """
    with Log.open(folder, clock=system_clock, database=DATABASE.of(folder)) as log:
        landmarks = Landmarks(log)
        records = landmarks.end_now(now=system_clock())
        return records, log.size - landmarks.file.end


def _fetch_status(url: str) -> dict[str, Any]:
    with closing(LogConnection(url, origin="", patience=5.0)) as connection:
        answer = connection.get("status", max_size=_MAX_STATUS)
    found = strict.json_decode(answer.body, where=url, max_size=_MAX_STATUS) if answer.status == 200 else None
    if not isinstance(found, dict) or not {"origin", "committed", "published", "problem", "witnesses"} <= found.keys():
        raise FormatError("not the status of a log", where=url)
    return found


def _key(vkey: str) -> str:
    """A key by its name, id and algorithm: whole, an ML-DSA-44 one fills a screen."""
    key = NoteVerifier.from_vkey(vkey)
    return f"signs with {key.name}+{key.key_id.hex()}, {key.public_key.algorithm.text}"


def _list(found: dict[str, Any], name: str) -> list[Any]:
    value = found.get(name)
    return value if isinstance(value, list) else []


def _at(value: object, word: str) -> str:
    return f"{word}{strict.time_encode(value)}" if type(value) is int else ""
