"""The folder of imports: held by one import at a time, and cleared of what a killed one left behind.

    <data>/imports/lock                          held by flock(2); holds the number of the run, where there is one
    <data>/imports/.staging.db                   the rows under import
    <data>/imports/.refused.csv                  its refused rows so far
    <data>/imports/<file>.refused-<run>.csv      the refused rows of an import that has ended: always whole
    <data>/imports/<file>.refused-dry-run.csv    those of the last dry run of a file of that name

The kernel drops the lock when the process ends, however it ends. So whoever holds it knows that the two files with a
dot are nobody's.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from chopmark.errors import StorageError

from chopmark_issuer.errors import RefusedError

_LOCK: Final = "lock"
_LONGEST_STEM: Final = 160
"""Bytes of a file's name that the name of its refused rows repeats: with the rest it stays below 255."""


class ImportFolder:
    """The folder, held for the length of a `with` block.

    Raises:
        RefusedError: another import holds it.
        StorageError: it cannot be made, locked or cleared.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.staging = folder / ".staging.db"
        self.refused = folder / ".refused.csv"
        self._descriptor = -1

    def __enter__(self) -> ImportFolder:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"imports cannot be begun: {error.strerror}", where=str(self.path)) from error
        try:
            if not _locked(self._descriptor):
                raise RefusedError(
                    "another import into this registry is under way",
                    where=str(self.path),
                    remedy="Wait until it has ended: chopmark issuer imports shows how far it is",
                )
            try:
                os.ftruncate(self._descriptor, 0)
                self._clear()
            except OSError as error:
                raise StorageError(
                    f"what an earlier import left cannot be removed: {error.strerror}", where=str(self.path)
                ) from error
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._clear()
        os.close(self._descriptor)

    def name_run(self, run: int) -> None:
        """Say which run holds the folder."""
        try:
            os.pwrite(self._descriptor, f"{run}\n".encode("ascii"), 0)
        except OSError as error:
            raise StorageError(f"the lock file cannot be written: {error.strerror}", where=str(self.path)) from error

    def refused_path(self, file_name: str, run: int | None) -> Path:
        """Where the refused rows of a run end up, or those of a dry run."""
        return refused_path(self.path, file_name, run)

    def _clear(self) -> None:
        for path in (self.staging, self.refused):
            path.unlink(missing_ok=True)


def refused_path(folder: Path, file_name: str, run: int | None) -> Path:
    """Where the refused rows of a run end up, or those of a dry run."""
    stem = os.fsencode(Path(file_name).stem)[:_LONGEST_STEM].decode("utf-8", "ignore")
    return folder / f"{stem}.refused-{'dry-run' if run is None else run}.csv"


def run_under_way(folder: Path) -> int | None:
    """The run that holds the folder now; None where there is none, or a dry run holds it.

    Raises:
        StorageError: the folder cannot be read.
    """
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"the lock file cannot be opened: {error.strerror}", where=str(folder)) from error
    try:
        if _locked(descriptor, fcntl.LOCK_SH):
            return None
        text = os.pread(descriptor, 32, 0).strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)


def _locked(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
