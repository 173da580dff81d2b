"""Writers of one database take turns: in the order they come, nearly, and none waits for ever.

SQLite gives its write lock to whoever asks when it is free, and those who wait ask again after a sleep. A writer that
begins its next transaction at once would so keep out all others: a bulk issue the sender of the outbox, for minutes.

    registry.db.next      held by the one that writes next, while it waits
    registry.db.writer    held by the one that writes, until its transaction has ended

Whoever writes again has to wait for `next`, which the other one gives up only once it writes. Both are locks that the
kernel drops with the process that holds them; nothing is in the files.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from chopmark_issuer.errors import DatabaseError

_LOOK_EVERY: Final = 0.001


class WriterTurns:
    """The turns of those who write to the database at `path`, in this process and in others.

    Args:
        path: the database.
        patience: seconds to wait for a turn.
    """

    def __init__(self, path: Path, *, patience: float) -> None:
        self._path = path
        self._patience = patience

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a turn, and have it for the length of a `with` block.

        Raises:
            DatabaseError: others wrote for too long, or the lock files cannot be made.
        """
        end = time.monotonic() + self._patience
        with ExitStack() as held:
            with ExitStack() as next_one:
                self._lock("next", next_one, end)
                self._lock("writer", held, end)
            yield

    def _lock(self, name: str, stack: ExitStack, end: float) -> None:
        try:
            descriptor = os.open(f"{self._path}.{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseError(f"it cannot be locked: {error.strerror}", where=f"{self._path}.{name}") from error
        stack.callback(os.close, descriptor)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise DatabaseError(
                        f"others have written for {self._patience:.0f} s",
                        where=str(self._path),
                        remedy="Try again later",
                    ) from None
                time.sleep(_LOOK_EVERY)
            else:
                return
