"""What the region publishes for verifiers, as static files (the layout is that of `chopmark.refresh`).

    root/<n>.note
    landmarks/<region>/<number>.landmarks     landmarks/<region>/<number>.tlog-proof    its own log's and its peers'
    status/<number>                           status/<number>.tlog-proof
    bundle.note                               bundle.tlog-proof

An object appears once the log holds its entry under a cosigned checkpoint, together with the proof of that. Each file
is replaced in one step; a reader who meets a new object beside an old proof refuses it and keeps what it had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from chopmark.durable_file import read_file, write_file
from chopmark.limits import LIMITS
from sqlalchemy import Connection, select

from chopmark_issuer.publishing.vouching import vouched_file
from chopmark_issuer.storage.models import BUNDLE, LANDMARK_VOUCHING, OUTBOX, ROOT_EPOCH, STATUS_LIST, STATUS_TOKEN

_PROOF = ".tlog-proof"


def write_public_files(
    connection: Connection, folder: Path, *, vouched: Path, prove: Callable[[int], bytes]
) -> list[str]:
    """Bring the published files up to date; answers the paths of those that changed.

    Args:
        connection: of a reading transaction.
        folder: the public folder.
        vouched: where landmark files are kept as they were vouched for.
        prove: makes the tlog-proof of the entry with that log index.

    Raises:
        StorageError: a file cannot be written.
        LedgerError: an entry is not in the published tree.
    """
    return _write(folder, _files(connection, vouched, prove))


def write_root_epochs(connection: Connection, folder: Path) -> list[str]:
    """Write the root epochs alone, which a new region can show before its log has taken anything.

    Raises:
        StorageError: a file cannot be written.
    """
    return _write(folder, _root_epochs(connection))


def _write(folder: Path, files: Iterator[tuple[str, bytes]]) -> list[str]:
    changed = []
    for path, data in files:
        target = folder / path
        if read_file(target, max_size=LIMITS.trust_file_size) != data:
            write_file(target, data)
            changed.append(path)
    return changed


def _root_epochs(connection: Connection) -> Iterator[tuple[str, bytes]]:
    for row in connection.execute(select(ROOT_EPOCH).order_by(ROOT_EPOCH.c.epoch)):
        yield f"root/{row.epoch}.note", row.note


def _files(connection: Connection, vouched: Path, prove: Callable[[int], bytes]) -> Iterator[tuple[str, bytes]]:
    yield from _root_epochs(connection)
    landmarks = select(LANDMARK_VOUCHING, OUTBOX.c.log_index).join(OUTBOX, OUTBOX.c.id == LANDMARK_VOUCHING.c.outbox_id)
    for row in connection.execute(landmarks.where(OUTBOX.c.log_index.is_not(None))):
        data = vouched_file(connection, vouched, row.origin)
        if data is not None:
            path = f"landmarks/{row.region}/{row.log_number}"
            yield f"{path}{_PROOF}", prove(row.log_index)
            yield f"{path}.landmarks", data
    tokens = (
        select(STATUS_LIST.c.uri, STATUS_TOKEN.c.token, OUTBOX.c.log_index)
        .join(STATUS_TOKEN, STATUS_TOKEN.c.list_number == STATUS_LIST.c.number)
        .join(OUTBOX, OUTBOX.c.id == STATUS_TOKEN.c.outbox_id)
    )
    for row in connection.execute(tokens.where(OUTBOX.c.log_index.is_not(None))):
        path = urlsplit(row.uri).path.lstrip("/")
        yield f"{path}{_PROOF}", prove(row.log_index)
        yield path, row.token
    bundle = connection.execute(
        select(BUNDLE.c.note, OUTBOX.c.log_index)
        .join(OUTBOX, OUTBOX.c.id == BUNDLE.c.outbox_id)
        .where(OUTBOX.c.log_index.is_not(None))
        .order_by(BUNDLE.c.sequence.desc())
        .limit(1)
    ).first()
    if bundle is not None:
        yield f"bundle{_PROOF}", prove(bundle.log_index)
        yield "bundle.note", bundle.note
