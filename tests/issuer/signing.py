"""A signing process in a thread of the test, or as the command that it is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chopmark_issuer.keys.keys import KeyFolder
from chopmark_issuer.keys.signing_frames import HEAD_SIZE, Answer, body_size, decode_answer
from chopmark_issuer.keys.signing_process import SigningProcess

from tests.ledger.served_log import until


@contextmanager
def signing_in_thread(keys: KeyFolder, path: Path) -> Iterator[SigningProcess]:
    """Serve keys at a socket while the block runs."""
    process = SigningProcess(keys, path)
    thread = threading.Thread(target=process.serve)
    thread.start()
    try:
        until(lambda: answers(path))
        yield process
    finally:
        process.stop()
        thread.join()


class SigningCommand:
    """`chopmark keys serve`, which can be killed and started again."""

    def __init__(self, data: Path, passphrase: bytes, *options: str) -> None:
        self.socket = data / "keys.sock"
        secret = data / "passphrase"
        secret.write_bytes(passphrase)
        self._command = [sys.executable, "-c", "from chopmark.cli import main; main()", "keys", "serve"]
        self._command += ["--data", str(data), "--passphrase-file", str(secret), *options]
        self._log = data / "keys.stderr"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until(lambda: answers(self.socket) or self.process.poll() is not None)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it with SIGTERM; answers its exit code."""
        os.kill(self.process.pid, signal.SIGTERM)
        return self.process.wait(20)

    @property
    def said(self) -> str:
        """What it wrote."""
        return self._log.read_text()


def answers(path: Path) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
        return True


def receive(connection: socket.socket) -> Answer | None:
    """The next answer; None where the connection has ended."""
    head = _exactly(connection, HEAD_SIZE)
    return None if head is None else decode_answer(_exactly(connection, body_size(head)) or b"")


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        try:
            part = connection.recv(size - len(data))
        except ConnectionResetError:  # it did not read all that was sent
            return None
        if not part:
            return None
        data += part
    return data
