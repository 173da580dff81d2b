"""The highest size that was ever committed, kept beside the database: a tripwire for a database from a backup.

The file `committed` in the data folder holds one line, written over after every commit:

    00000000000000070001 <root, 64 hex digits> <first 16 hex digits of the SHA-256 of what stands before>

It is never the truth. A commit is durable in the database before it is marked, so the mark is that size or an earlier
one; a database that holds less has lost what was acknowledged. It is not synced, which would cost as much as the
commit: it tells of a database that was exchanged under a running machine, which is how backups are restored. A file
that is no such line counts as lost.
"""

from __future__ import annotations

import contextlib
import os
import re
from hashlib import sha256
from pathlib import Path

from chopmark.errors import StorageError

from chopmark_ledger.storage.store import CommittedTree

FILE_NAME = "committed"
_LINE = re.compile(rb"([0-9]{20}) ([0-9a-f]{64}) ([0-9a-f]{16})\n", re.ASCII)
_LINE_SIZE = 20 + 1 + 64 + 1 + 16 + 1


class CommittedMark:
    """The mark in a data folder.

    Raises:
        StorageError: the file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"cannot be opened: {error.strerror}", where=str(self.path)) from error

    def read(self) -> CommittedTree | None:
        """The size and root that were marked last, None where no line stands."""
        try:
            line = os.pread(self._descriptor, _LINE_SIZE + 1, 0)
        except OSError as error:
            raise StorageError(f"cannot be read: {error.strerror}", where=str(self.path)) from error
        match = _LINE.fullmatch(line)
        if match is None or _check(match[1] + b" " + match[2]) != match[3]:
            return None
        return CommittedTree(int(match[1]), bytes.fromhex(match[2].decode("ascii")))

    def write(self, tree: CommittedTree) -> None:
        """Mark what is committed. A disk that refuses leaves an earlier mark, which is as true as this one."""
        line = b"%020d %s" % (tree.size, tree.root.hex().encode("ascii"))
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, line + b" " + _check(line) + b"\n", 0)

    def close(self) -> None:
        """Close the file; doing so twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _check(line: bytes) -> bytes:
    return sha256(line).hexdigest()[:16].encode("ascii")
