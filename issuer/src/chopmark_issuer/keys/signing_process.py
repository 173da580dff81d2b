"""The signing process: holds the private keys of a registry, and signs for who may reach its socket.

    DIR/keys.sock      mode 0600, in a folder that nobody else may write; each peer must have this process's user id

Each connection has a thread, which reads one frame, answers it, and reads the next (`signing_frames`). A key signs
what keys of its use sign (`message_forms`), and its use stands in its own file, under its passphrase; a key whose file
says none signs nothing here. What is no frame ends its connection, and nothing that a peer sends ends the process. On
SIGTERM requests that came in are answered, and the process ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import stat
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chopmark.errors import ChopmarkError, FormatError, KeyMaterialError, LimitError, StorageError
from chopmark_service.telemetry import get_logger

from chopmark_issuer.errors import RefusedError
from chopmark_issuer.keys.keys import InventoryUse, KeyFolder
from chopmark_issuer.keys.message_forms import check_form
from chopmark_issuer.keys.signing_frames import (
    HEAD_SIZE,
    Answer,
    GenerateRequest,
    PublicKeyRequest,
    Refusal,
    RefusalKind,
    Request,
    Signatures,
    SignRequest,
    body_size,
    decode_request,
    encode_answer,
)

CONNECTIONS: Final = 32
"""Served at a time: threads of an issuer and commands beside it. Each may hold one frame in memory."""
_REST_WITHIN: Final = 10.0
"""Seconds for the rest of a frame once its first byte came, and for an answer to be taken."""
_STOP_WITHIN: Final = 30.0
_EXHAUSTED: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_EXHAUSTED_PAUSE: Final = 0.2
"""Seconds before the next connection is taken where the system has no room for one."""
_PEER = struct.Struct("3i")
"""struct ucred: process, user and group."""


class SigningProcess:
    """Serves the keys of one folder at one socket, until it is stopped.

    Args:
        keys: the keys.
        path: where the socket is to be.
    """

    def __init__(self, keys: KeyFolder, path: Path) -> None:
        self._keys = keys
        self._path = path
        self._logger = get_logger("keys")
        self._wake, self._woken = socket.socketpair()
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        self._opening = threading.Lock()
        self._stopping = False

    def serve(self) -> None:
        """Serve until `stop`.

        Raises:
            KeyMaterialError: the passphrase does not open the keys.
            StorageError: the socket cannot be made, another process serves there, or a key file cannot be read.
        """
        with self._wake, self._woken:
            self._keys.check_passphrase()
            with _listening(self._path) as listener:
                self._logger.info("listening", url=f"unix:{self._path}", pid=os.getpid())
                self._accept(listener)
            self._end()

    def stop(self) -> None:
        """Take no more connections or requests; those that came in are answered. A signal's handler may call it."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")

    def stop_on_signals(self) -> None:
        """Stop on SIGTERM and SIGINT; to be called in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping:
            ready, _, _ = select.select([listener, self._woken], [], [])
            if listener in ready and not self._stopping:
                try:
                    connection, _ = listener.accept()
                except OSError as error:  # a peer that has gone already, or no file is left to open
                    if error.errno in _EXHAUSTED:
                        self._logger.warning("exhausted", reason=error.strerror)
                        self._pause()
                    continue
                try:
                    self._begin(connection)
                except OSError:  # the peer has gone
                    connection.close()
                except RuntimeError:  # no thread can be started now
                    self._logger.warning("exhausted", reason="no thread can be started")
                    self._leave(connection)
                    self._pause()

    def _pause(self) -> None:
        """Wait for what others give back; less long if it is to stop."""
        select.select([self._woken], [], [], _EXHAUSTED_PAUSE)

    def _begin(self, connection: socket.socket) -> None:
        """Give a connection to a thread of its own, if its peer is ours and there is room."""
        if _peer_uid(connection) != os.geteuid():
            self._logger.warning("foreign_peer")
            connection.close()
            return
        connection.settimeout(_REST_WITHIN)
        with self._changed:
            full = len(self._connections) >= CONNECTIONS
            if not full:
                self._connections.add(connection)
        if full:
            refusal = Refusal(RefusalKind.BUSY, f"{CONNECTIONS} connections are served already", remedy="Try again")
            with contextlib.suppress(OSError):
                connection.sendall(encode_answer(refusal))
            connection.close()
            return
        threading.Thread(target=self._converse, args=(connection,), name="keys-connection", daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        """Answer the requests of one connection, one after the other."""
        try:
            while (body := _read_frame(connection)) is not None:
                request = decode_request(body)
                connection.sendall(self._answer(request))
        except FormatError as error:
            with contextlib.suppress(OSError):
                connection.sendall(encode_answer(_refusal(RefusalKind.MALFORMED, error)))
        except OSError:
            pass  # the peer has gone, or took too long
        except Exception as error:  # a fault of ours must not end the process, nor leave the peer waiting
            self._logger.error("fault", exc_info=error)
            with contextlib.suppress(OSError):
                connection.sendall(encode_answer(Refusal(RefusalKind.FAULT, "a fault in the signing process")))
        finally:
            self._leave(connection)

    def _leave(self, connection: socket.socket) -> None:
        """Close a connection, and count it no more."""
        connection.close()
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def _answer(self, request: Request) -> bytes:
        try:
            return encode_answer(self._do(request))
        except (RefusedError, LimitError) as error:
            return encode_answer(_refusal(RefusalKind.REFUSED, error))
        except StorageError as error:
            return encode_answer(_refusal(RefusalKind.STORAGE, error))
        except (KeyMaterialError, FormatError) as error:  # of the key file, as the request was read before
            return encode_answer(_refusal(RefusalKind.KEY, error))

    def _do(self, request: Request) -> Answer:
        match request:
            case SignRequest():
                return Signatures(self._sign(request))
            case PublicKeyRequest():
                with self._opening:
                    return self._keys.signer(request.kid).public_key
            case GenerateRequest():
                use = next((each for each in InventoryUse if each.value == request.use), None)
                if use is None:
                    raise RefusedError(f"there is no use {request.use[:40]!r} of a key", where="use")
                with self._opening:
                    return self._keys.generate(request.algorithm, use=use).public_key

    def _sign(self, request: SignRequest) -> tuple[bytes, ...]:
        with self._opening:  # scrypt takes memory: one key at a time is opened, and each once
            signer = self._keys.signer(request.kid)
            use = self._keys.use_of(request.kid)
        if use is None:
            raise RefusedError(
                "the key file does not say what the key is for",
                where=f"key {request.kid}",
                remedy="Keys made by this version say it: make a new one, and let that sign from now on",
            )
        for message in request.messages:
            check_form(use, signer.public_key, message)
        return tuple(map(signer.sign, request.messages))

    def _end(self) -> None:
        """Let every connection end: what is being answered goes out, and nothing more is read."""
        with self._changed:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
            self._changed.wait_for(lambda: not self._connections, _STOP_WITHIN)
        self._logger.info("stopped", pid=os.getpid())


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A socket that listens at a path, which this process holds until it ends.

    A socket that a killed process left behind is replaced; the lock beside it, which the kernel drops with its holder,
    tells it from one that is served.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_folder(path.parent)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"the socket cannot be made: {error.strerror}", where=str(path)) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StorageError(
                "a signing process listens there already", where=str(path), remedy="Stop it, or choose another socket"
            ) from None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            try:
                _remove_former(path)
                before = os.umask(0o177)
                try:
                    listener.bind(str(path))
                finally:
                    os.umask(before)
                listener.listen(CONNECTIONS)
            except OSError as error:
                raise StorageError(f"the socket cannot be made: {error.strerror or error}", where=str(path)) from error
            try:
                yield listener
            finally:
                path.unlink(missing_ok=True)
    finally:
        os.close(lock)


def _remove_former(path: Path) -> None:
    """Remove the socket that a killed process left; what is no socket is somebody's, and stays."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise StorageError(
            "what is there is no socket", where=str(path), remedy="Choose another path, or move that file away"
        )
    path.unlink()


def _check_folder(folder: Path) -> None:
    """Refuse a folder in which others could put a socket of theirs in place of ours."""
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StorageError(
            "others may write in the folder of the socket", where=str(folder), remedy="Let it be yours alone: mode 0700"
        )


def _peer_uid(connection: socket.socket) -> int:
    """The user id of whoever connected, as the kernel says."""
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)


def _read_frame(connection: socket.socket) -> bytes | None:
    """The body of the next frame; None where the peer has ended the connection between two."""
    connection.settimeout(None)
    first = connection.recv(1)
    if not first:
        return None
    connection.settimeout(_REST_WITHIN)
    head = first + _receive(connection, HEAD_SIZE - 1)
    return _receive(connection, body_size(head))


def _receive(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = connection.recv(min(size - len(data), 1 << 20))
        if not part:
            raise FormatError("the connection ends within a frame", where="frame")
        data += part
    return bytes(data)


def _refusal(kind: RefusalKind, error: ChopmarkError) -> Refusal:
    return Refusal(kind, error.what, error.where, error.remedy)
