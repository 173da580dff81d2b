"""Files that are replaced whole or not at all, and survive a power cut once the call returns.

An object and the proof that vouches for it are two files, so a crash can fall between them. The proof is named after
the object it belongs to: it is written first, under a name of its own, then the object is replaced in one step, then
proofs of earlier objects are removed. Whatever object a reader finds, its own proof lies beside it:

    bundle.note
    bundle.5f1d0c3a9b7e2486.tlog-proof        the first 16 hex digits of SHA-256 of bundle.note

Readers need no lock. Writers that decide by what they find take `held_for_a_moment`.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from chopmark.errors import LimitError, StorageError

if sys.platform != "win32":
    import fcntl

_PROOF_SUFFIX = ".tlog-proof"
_LOCK = "lock"
_ATTEMPTS = 3
"""How often a pair is read anew when a writer replaced it meanwhile."""


def read_file(path: Path, *, max_size: int) -> bytes | None:
    """Read a file; None where there is none.

    A pipe or device in its place is refused: whoever fills a folder could make its reader wait for ever.

    Raises:
        StorageError: it cannot be read, or is no regular file.
        LimitError: it is larger than `max_size` bytes.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StorageError("it cannot be read: not a regular file", where=str(path))
        with path.open("rb") as file:
            data = file.read(max_size + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"it cannot be read: {error.strerror}", where=str(path)) from error
    if len(data) > max_size:
        raise LimitError(f"above the limit of {max_size} bytes", where=str(path))
    return data


def write_file(path: Path, data: bytes, *, private: bool = False) -> None:
    """Replace a file in one step, and make that durable; missing folders are made.

    What is `private` only its owner may read: mode 0600, in folders of 0700.

    Raises:
        StorageError: it cannot be written; the file is then as it was, or new and perhaps not on the disk yet.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        _make_folder(path.parent, 0o700 if private else 0o777)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o600 if private else 0o644)
        try:
            with os.fdopen(descriptor, "wb") as file:
                if private and os.name != "nt":  # one that an earlier attempt left keeps the mode that it had
                    os.fchmod(descriptor, 0o600)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"it cannot be written: {error.strerror}", where=str(path), remedy="make room, or correct the permissions"
        ) from error


def read_vouched(path: Path, *, max_size: int) -> tuple[bytes, bytes | None] | None:
    """Read an object and its proof; None where there is no object, None for a proof that is not there.

    Raises:
        StorageError: one of them cannot be read.
        LimitError: one of them is larger than `max_size` bytes.
    """
    data = read_file(path, max_size=max_size)
    for _ in range(_ATTEMPTS):
        if data is None:
            return None
        proof = read_file(_proof_path(path, data), max_size=max_size)
        if proof is not None:
            return data, proof
        before, data = data, read_file(path, max_size=max_size)
        if data == before:
            break
    return None if data is None else (data, None)


def write_vouched(path: Path, data: bytes, proof: bytes) -> None:
    """Replace an object and its proof; at every moment the object that is there has its own proof beside it.

    Raises:
        StorageError: they cannot be written; the object is then as it was, or new with its proof.
    """
    proof_path = _proof_path(path, data)
    write_file(proof_path, proof)
    write_file(path, data)
    with suppress(OSError):
        for other in path.parent.glob(f"{path.stem}.{'[0-9a-f]' * 16}{_PROOF_SUFFIX}"):
            if other != proof_path:
                other.unlink()


@contextmanager
def held_for_a_moment(folder: Path, *, name: str = _LOCK) -> Iterator[None]:
    """Wait for an exclusive lock on a folder, the file `name` in it, and hold it for the length of a `with` block.

    The kernel drops it when the process ends, however it ends. On Windows nothing is locked: one process may write.

    Raises:
        StorageError: the folder is missing or read-only.
    """
    if sys.platform == "win32":
        yield
        return
    path = folder / name
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(
            f"the lock file cannot be opened: {error.strerror}", where=str(path), remedy="correct the permissions"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _proof_path(path: Path, data: bytes) -> Path:
    return path.with_name(f"{path.stem}.{sha256(data).hexdigest()[:16]}{_PROOF_SUFFIX}")


def _make_folder(folder: Path, mode: int) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent, mode)
    folder.mkdir(mode=mode, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows has no handle on a folder to sync
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
