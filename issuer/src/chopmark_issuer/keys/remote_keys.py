"""Keys that are in the signing process: what its clients hold is a socket, and no private key.

Each request has a connection of its own while it lasts; open ones are kept for the next. Where the process is away, as
while it starts again, a request waits a moment and is sent once more: to sign twice is harmless, and a key that was
made for an answer which got lost is one that nobody uses.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from chopmark.errors import ChopmarkError, FormatError, KeyMaterialError, LimitError, StorageError
from chopmark.keys import Algorithm, PublicKey

from chopmark_issuer.errors import RefusedError, SigningProcessError
from chopmark_issuer.keys.keys import InventoryUse
from chopmark_issuer.keys.signing_frames import (
    HEAD_SIZE,
    MAX_FRAME,
    MAX_MESSAGES,
    Answer,
    GenerateRequest,
    PublicKeyRequest,
    Refusal,
    RefusalKind,
    Signatures,
    SignRequest,
    body_size,
    decode_answer,
    encode_request,
)

PATIENCE: Final = 5.0
"""Seconds until a process that is away counts as away: it starts in one or two."""
_ANSWER_WITHIN: Final = 15.0
"""Seconds for one answer: 4,096 signatures take a fraction of one with Ed25519, and a few with ML-DSA-44."""
_AGAIN_AFTER: Final = 0.05
_KEPT: Final = 4
"""Connections that are kept open."""
_ROOM: Final = 64
"""Bytes of a frame that are not messages and not their sizes."""
_ERRORS: Final[dict[RefusalKind, type[ChopmarkError]]] = {
    RefusalKind.REFUSED: RefusedError,
    RefusalKind.STORAGE: StorageError,
    RefusalKind.KEY: KeyMaterialError,
}


class RemoteSigner:
    """One key of the signing process."""

    __slots__ = ("_keys", "public_key")

    def __init__(self, keys: RemoteKeys, public_key: PublicKey) -> None:
        self._keys = keys
        self.public_key = public_key

    def sign(self, message: bytes) -> bytes:
        """Sign `message`.

        Raises:
            SigningProcessError: the process does not answer.
            RefusedError: the key is not for such a message.
        """
        return self._keys.sign_all(self.public_key.kid.hex(), [message])[0]

    def __repr__(self) -> str:
        return f"RemoteSigner(kid={self.public_key.kid.hex()})"


class RemoteKeys:
    """The keys of the signing process that listens at a socket.

    Args:
        path: its socket.
        patience: seconds to wait for a process that is away.
        pause: waits so many seconds between two attempts.
    """

    def __init__(
        self, path: Path, *, patience: float = PATIENCE, pause: Callable[[float], object] = time.sleep
    ) -> None:
        self._path = path
        self._patience = patience
        self._pause = pause
        self._idle: list[socket.socket] = []
        self._answered: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._known: dict[str, PublicKey] = {}

    def signer(self, kid: str) -> RemoteSigner:
        """What signs with the key of that kid, by asking the process.

        Raises:
            StorageError: it has no such key.
            KeyMaterialError: its passphrase does not open the key.
            SigningProcessError: it does not answer.
        """
        return RemoteSigner(self, self._public_key(kid))

    def sign_all(self, kid: str, messages: Sequence[bytes]) -> list[bytes]:
        """The signatures of that key over messages, in their order.

        Raises:
            RefusedError: the key is not for such messages.
            LimitError: one message is larger than a frame.
            StorageError, KeyMaterialError, SigningProcessError: as `signer`.
        """
        signatures: list[bytes] = []
        for some in _portions(messages):
            signatures += self._signatures(self._ask(encode_request(SignRequest(kid, some))), len(some))
        return signatures

    @contextmanager
    def signing(self, kid: str, messages: Sequence[bytes]) -> Iterator[Callable[[], list[bytes]]]:
        """Have messages signed while the `with` block does something else; see `KeyProvider.signing`.

        What does not go smoothly is done again, as by `sign_all`, when the signatures are asked for.
        """
        portions = list(_portions(messages))
        if len(portions) != 1:
            yield lambda: self.sign_all(kid, messages)
            return
        frame = encode_request(SignRequest(kid, portions[0]))
        with ExitStack() as stack:
            sent: socket.socket | None = None
            with suppress(OSError):
                connection = stack.enter_context(self._lent())
                connection.sendall(frame)
                sent = connection

            def signatures() -> list[bytes]:
                answer: Answer | None = None
                if sent is not None:
                    with suppress(OSError):
                        answer = self._receive(sent)
                if answer is None or isinstance(answer, Refusal):
                    answer = self._ask(frame)
                return self._signatures(answer, len(messages))

            yield signatures

    def generate(
        self, algorithm: Algorithm = Algorithm.ED25519, *, use: InventoryUse = InventoryUse.CREDENTIAL
    ) -> RemoteSigner:
        """Let the process make a new key, which is durable before it answers.

        Raises:
            RefusedError: an algorithm that does not sign for that use.
            StorageError, SigningProcessError: it cannot be kept, or the process does not answer.
        """
        answer = self._ask(encode_request(GenerateRequest(algorithm, use.value)))
        if not isinstance(answer, PublicKey) or answer.algorithm is not algorithm:
            raise self._wrong_answer()
        self._known[answer.kid.hex()] = answer
        return RemoteSigner(self, answer)

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __repr__(self) -> str:
        return f"RemoteKeys({str(self._path)!r})"

    def _public_key(self, kid: str) -> PublicKey:
        known = self._known.get(kid)
        if known is None:
            answer = self._ask(encode_request(PublicKeyRequest(kid)))
            if not isinstance(answer, PublicKey) or answer.kid.hex() != kid:
                raise self._wrong_answer()
            known = self._known[kid] = answer
        return known

    def _ask(self, frame: bytes) -> Answer:
        """Send a request until it is answered or patience ends; a refusal is raised."""
        end = time.monotonic() + self._patience
        while True:
            try:
                with self._lent() as connection:
                    connection.sendall(frame)
                    answer = self._receive(connection)
            except OSError as error:
                self.close()  # those that are kept are older than the one that broke
                if time.monotonic() >= end:
                    raise SigningProcessError(
                        f"the signing process does not answer: {error.strerror or str(error)}",
                        where=str(self._path),
                        remedy="Start it: chopmark keys serve",
                    ) from error
            else:
                if not isinstance(answer, Refusal):
                    return answer
                if answer.kind is not RefusalKind.BUSY or time.monotonic() >= end:
                    raise _error(answer)
            self._pause(_AGAIN_AFTER)

    def _receive(self, connection: socket.socket) -> Answer:
        try:
            answer = decode_answer(_receive(connection, body_size(_receive(connection, HEAD_SIZE))))
        except (FormatError, KeyMaterialError) as error:
            raise self._wrong_answer() from error
        if not isinstance(answer, Refusal):
            self._answered.add(connection)
        return answer

    def _signatures(self, answer: Answer, count: int) -> list[bytes]:
        if not isinstance(answer, Signatures) or len(answer.signatures) != count:
            raise self._wrong_answer()
        return list(answer.signatures)

    @contextmanager
    def _lent(self) -> Iterator[socket.socket]:
        """A connection for one request, kept for the next one if that was answered."""
        connection = self._connection()
        try:
            yield connection
        finally:
            with self._lock:
                keep = connection in self._answered and len(self._idle) < _KEPT
                self._answered.discard(connection)
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def _connection(self) -> socket.socket:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(_ANSWER_WITHIN)
            connection.connect(str(self._path))
        except BaseException:
            connection.close()
            raise
        return connection

    def _wrong_answer(self) -> SigningProcessError:
        return SigningProcessError(
            "the signing process answers something else than it was asked",
            where=str(self._path),
            remedy="Let both be of the same version of Chopmark",
        )


def _portions(messages: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    """The messages, in portions that fit into a frame each."""
    portion: list[bytes] = []
    size = _ROOM
    for message in messages:
        needed = len(message) + 4
        if needed > MAX_FRAME - _ROOM:
            raise LimitError(f"{len(message)} bytes are more than one frame holds", where="message")
        if len(portion) == MAX_MESSAGES or size + needed > MAX_FRAME:
            yield tuple(portion)
            portion, size = [], _ROOM
        portion.append(message)
        size += needed
    if portion:
        yield tuple(portion)


def _receive(connection: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = connection.recv(min(size, 1 << 20))
        if not part:
            raise ConnectionResetError("it ended the connection")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _error(refusal: Refusal) -> ChopmarkError:
    error = _ERRORS.get(refusal.kind, SigningProcessError)
    return error(refusal.what, where=refusal.where, remedy=refusal.remedy)
