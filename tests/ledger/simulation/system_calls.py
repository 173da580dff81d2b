"""The system calls that the ledger's file code makes, on simulated machines.

The code under test is the real one, `chopmark_ledger.durable` and `chopmark.durable_file`, down to each call of `os`:
`simulated_system_calls` puts `SystemCalls` in the place of `os` there. A path begins with the mount of a process, so
that a call knows who makes it: `/log.3/public/checkpoint` is the file `public/checkpoint` of the machine on which the
third run of `log` runs. Methods of paths that touch files are those of `SimulatedPath`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import cast
from unittest import mock

from chopmark import durable_file
from chopmark.keys import PublicKey
from chopmark_ledger import durable
from chopmark_ledger.sequencing import committed_mark

from tests.ledger.simulation.file_system import File, Folder, Parts
from tests.ledger.simulation.machines import Process, Surroundings

_current: Surroundings | None = None


def _caller(path: PurePosixPath) -> tuple[Process, Parts]:
    assert _current is not None, "a simulated path outside of a simulation"
    _, mount, *rest = path.parts
    return _current.processes[mount], tuple(rest)


class SimulatedPath(PurePosixPath):
    """A path whose files are simulated."""

    __slots__ = ()

    def stat(self) -> SimpleNamespace:
        process, parts = _caller(self)
        process.read_call("stat", self)
        node = process.machine.files.find(parts)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self))
        if isinstance(node, Folder):
            return SimpleNamespace(st_mode=stat.S_IFDIR | 0o755, st_size=4096)
        return SimpleNamespace(st_mode=stat.S_IFREG | 0o644, st_size=len(node.content))

    def is_file(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return stat.S_ISREG(self.stat().st_mode)
        return False

    def exists(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            self.stat()
            return True
        return False

    def open(self, mode: str) -> BytesIO:
        assert mode == "rb", "files are written by durable.replace_file"
        process, parts = _caller(self)
        process.read_call("read", self)
        node = process.machine.files.find(parts)
        if not isinstance(node, File):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self))
        return BytesIO(node.content)

    def iterdir(self) -> Iterator[SimulatedPath]:
        return iter([self / name for name in SystemCalls().listdir(self)])

    def glob(self, pattern: str) -> Iterator[SimulatedPath]:
        with contextlib.suppress(FileNotFoundError):
            yield from [path for path in self.iterdir() if path.match(pattern)]

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        process, parts = _caller(self)
        if exist_ok and isinstance(process.machine.files.find(parts), Folder):
            process.step("mkdir", self)
            return
        if parents and len(parts) > 1 and process.machine.files.find(parts[:-1]) is None:
            self.parent.mkdir(parents=True, exist_ok=True)
        process.write_call("mkdir", self, takes_room=True)
        process.machine.files.make_folder(parts)

    def unlink(self, missing_ok: bool = False) -> None:
        process, parts = _caller(self)
        process.write_call("unlink", self)
        try:
            process.machine.files.unlink(parts)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        process, parts = _caller(self)
        process.write_call("rmdir", self)
        process.machine.files.remove_folder(parts)


class SystemCalls:
    """In the place of `os`; whatever is not here is not simulated, and an AttributeError says so."""

    O_RDONLY = os.O_RDONLY
    O_WRONLY = os.O_WRONLY
    O_RDWR = os.O_RDWR
    O_CREAT = os.O_CREAT
    O_EXCL = os.O_EXCL
    O_CLOEXEC = os.O_CLOEXEC
    O_DIRECTORY = os.O_DIRECTORY

    def __init__(self) -> None:
        self._open: dict[int, tuple[Process, PurePosixPath, File | Folder]] = {}
        self._opened = 0

    def open(self, path: SimulatedPath, flags: int, mode: int = 0o777) -> int:
        process, parts = _caller(path)
        files = process.machine.files
        node: File | Folder | None
        if flags & os.O_CREAT:
            process.write_call("create", path, takes_room=process.machine.surroundings.happens(0.2))
            node = None if flags & os.O_EXCL else files.find(parts)
            if node is None:
                node = files.create(parts)
        else:
            process.read_call("open", path)
            node = files.find(parts)
            if node is None:
                raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        self._opened += 1
        self._open[self._opened] = process, path, node
        return self._opened

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def write(self, descriptor: int, data: memoryview | bytes) -> int:
        process, path, file = self._open[descriptor]
        assert isinstance(file, File)
        random = process.machine.surroundings.random
        count = len(data)
        if process.machine.surroundings.happens(0.02):
            count = random.randint(1, count)
        try:
            process.write_call("write", path, takes_room=True)
        except OSError:
            process.machine.files.write(file, bytes(data[: random.randrange(count + 1)]))
            raise
        process.machine.files.write(file, bytes(data[:count]))
        return count

    def pread(self, descriptor: int, size: int, offset: int) -> bytes:
        process, path, file = self._open[descriptor]
        assert isinstance(file, File)
        process.read_call("read", path)
        return file.content[offset : offset + size]

    def pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        process, path, file = self._open[descriptor]
        assert isinstance(file, File)
        assert offset == 0
        process.holds_the_log = True  # the mark of what is committed is written before the next commit may begin
        try:
            process.write_call("write", path)
        finally:
            process.holds_the_log = False
        process.machine.files.overwrite(file, data)
        return len(data)

    def fsync(self, descriptor: int) -> None:
        process, path, node = self._open[descriptor]
        machine = process.machine
        process.wait("fsync", path)
        if machine.is_shut_down:
            machine.happened["sync"] += 1
            raise OSError(errno.EIO, "Input/output error")
        if machine.surroundings.happens(machine.faults.sync_fails):
            machine.happened["sync"] += 1
            machine.surroundings.note("     ", process.mount, "fails: the disk did not take it")
            if isinstance(node, File):
                machine.files.fail_to_sync_file(node)
            elif machine.surroundings.happens(0.5):
                machine.is_shut_down = True
            raise OSError(errno.EIO, "Input/output error")
        if isinstance(node, File):
            machine.files.sync_file(node)
        else:
            machine.files.sync_folder(node)

    def replace(self, source: SimulatedPath, target: SimulatedPath) -> None:
        process, parts = _caller(target)
        process.write_call("rename to", target)
        process.machine.files.rename(_caller(source)[1], parts)
        process.renamed()

    def listdir(self, path: SimulatedPath) -> list[str]:
        process, parts = _caller(path)
        process.read_call("list", path)
        return sorted(process.machine.files.folder(parts).names)


_verified: set[tuple[bytes, bytes, bytes]] = set()
"""Signatures that are good, by key and message: the same ones are verified again and again."""
_verify = PublicKey.verify
_REMEMBERED = 100_000


def _verify_once(key: PublicKey, message: bytes, signature: bytes) -> None:
    if (key.raw, message, signature) not in _verified:
        _verify(key, message, signature)
        if len(_verified) >= _REMEMBERED:
            _verified.clear()
        _verified.add((key.raw, message, signature))


class _Names:
    """In the place of `secrets`: names of temporary files, the same in each replay."""

    def __init__(self) -> None:
        self._count = 0

    def token_hex(self, size: int) -> str:
        self._count += 1
        return f"{self._count:0{2 * size}x}"


def path_of(process: Process, *parts: str) -> Path:
    """A path as this process uses it."""
    return cast(Path, SimulatedPath("/", process.mount, *parts))  # it has what the code under test asks of a Path


@contextlib.contextmanager
def simulated_system_calls(surroundings: Surroundings) -> Iterator[None]:
    """Let the ledger's file code work on simulated machines while the block runs."""
    global _current  # noqa: PLW0603 - a path is a value and cannot carry its world; there is one at a time
    assert _current is None, "one simulation at a time"
    _current = surroundings

    @contextlib.contextmanager
    def held_for_a_moment(folder: PurePosixPath) -> Iterator[None]:
        _caller(folder)[0].step("lock", folder)
        yield

    system_calls = SystemCalls()
    try:
        with (
            mock.patch.object(durable, "os", system_calls),
            mock.patch.object(committed_mark, "os", system_calls),
            mock.patch.object(durable, "secrets", _Names()),
            mock.patch.object(PublicKey, "verify", _verify_once),
            mock.patch.object(durable_file, "held_for_a_moment", held_for_a_moment),
        ):
            yield
    finally:
        _current = None
