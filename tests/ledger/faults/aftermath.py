"""What must hold after any fault, once the log is opened again."""

from __future__ import annotations

from pathlib import Path

from chopmark import merkle
from chopmark_ledger.audit.fsck import fsck

from tests.ledger.faults import diary
from tests.ledger.faults.scenarios import ORIGIN, VKEY, client, opened, seen_checkpoint


def check(folder: Path) -> None:
    """Check the public folder as readers find it, open the log again, hold it to every promise, and publish."""
    promises, checkpoints = diary.read(folder / "diary")
    standing = seen_checkpoint(folder)
    if standing is None:
        assert not checkpoints, "a checkpoint was published and is gone"
    else:
        assert standing.checkpoint.size >= max((size for size, _ in checkpoints), default=0)
        checkpoints.append((standing.checkpoint.size, standing.checkpoint.root))
        _check_public(folder)
    with opened(folder) as (log, publisher, landmarks):
        for promise in promises:
            batch = diary.entries(promise.client, promise.number, len(promise.indexes))
            first, end = min(promise.indexes), max(promise.indexes) + 1
            stored = log.entries(first, end)
            assert [stored[index - first] for index in promise.indexes] == batch
        if promises:  # the newest one, sent again, is answered as it was
            last = promises[-1]
            again = log.append(
                client(last.client), last.number, diary.entries(last.client, last.number, len(last.indexes))
            )
            assert again.indexes == last.indexes
        for size, root in checkpoints:
            assert merkle.root(size, log.read_nodes) == root, f"the checkpoint of size {size} is contradicted"
        assert publisher.publish().checkpoint.size == log.size
        landmarks.end_due(now=log.clock())
        size = log.size
    _check_public(folder)
    published = seen_checkpoint(folder)
    assert published is not None
    assert published.checkpoint.size == size
    assert not list((folder / "log" / "staging").iterdir())


def _check_public(folder: Path) -> None:
    report = fsck(folder / "log" / "public", vkeys=[VKEY], origin=ORIGIN)
    assert report.is_sound, report.damage
