"""The data folder of a log: what is in it, and what an open log holds of it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from chopmark_ledger.errors import FolderError
from chopmark_ledger.sequencing import committed_mark
from chopmark_ledger.sequencing.committed_mark import CommittedMark
from chopmark_ledger.sequencing.lock import FolderLock
from chopmark_ledger.storage.public_folder import PublicFolder
from chopmark_ledger.storage.store import LedgerStore

DATABASE_NAME = "ledger.db"
CHECKPOINT_NAME = "checkpoint"
LANDMARKS_NAME = "landmarks"


class LogFolder:
    """The lock, the mark, the database and the public folder of one log, held until `release`.

    Used as a context manager while a log is being opened, it gives everything back if that fails.

    Args:
        folder: the data folder.
        database: the URL of the PostgreSQL database that the log is in, None for the file in the folder.
        create: make the tables where there are none.

    Raises:
        FolderLockedError: another process has the folder or the database open.
        FolderError: there is no log, and none is to be created.
        StorageError: something cannot be opened, or made durable.
    """

    def __init__(self, folder: Path, database: str | None, *, create: bool) -> None:
        with ExitStack() as stack:
            lock = FolderLock(folder)
            stack.callback(lock.release)
            self.mark = CommittedMark(folder)
            stack.callback(self.mark.close)
            self.store = LedgerStore(folder / DATABASE_NAME if database is None else database, create=create)
            stack.callback(self.store.close)
            self.public_folder = PublicFolder(folder / "public", folder / "staging")
            self._held = stack.pop_all()

    def release(self) -> None:
        """Give everything back, the lock last; doing so twice is harmless."""
        self._held.close()

    def __enter__(self) -> LogFolder:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None:
            self.release()


def check_is_there(folder: Path, database: str | None) -> None:
    """Check that a log may be opened in `folder`, before anything is made in it.

    Raises:
        FolderError: there is none.
    """
    if not folder.is_dir() or (database is None and not (folder / DATABASE_NAME).is_file()):
        raise FolderError(
            "there is no log",
            where=str(folder),
            remedy="Create one first, or name the database that it is in; name a log that is served by its address, "
            "http://…",
        )


def check_is_unused(folder: Path) -> None:
    """Check that no log was ever at work in `folder`: a new one of the same origin would be a second history.

    Raises:
        FolderError: what an earlier log committed or published is still there.
    """
    for name in (committed_mark.FILE_NAME, f"public/{CHECKPOINT_NAME}"):
        path = folder / name
        if path.exists() and path.stat().st_size:
            raise FolderError(
                "a log was here before, and its database is gone",
                where=str(path),
                remedy="Bring the database back, or begin a new log, of another origin, in a folder of its own",
            )
