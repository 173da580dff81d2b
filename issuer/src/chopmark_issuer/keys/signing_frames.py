"""What the signing process is asked, and what it answers: frames of CBOR over its socket (`specs/signing-process.md`).

    frame       length u32 big-endian ‖ that many bytes of CBOR, at most 16 MiB, in the profile of `chopmark.cbor`

    request     [1, kid, sizes, messages]        sign; at most 4,096 messages
                [2, kid]                         the public key of a kid
                [3, algorithm, use]              make a key
    answer      [1, size, signatures]            joined, each of `size` bytes, in the order of the messages
                [2, algorithm, public key]       to 2 and to 3
                [0, kind, what, where, remedy]   a refusal, four texts

`kid` is 8 bytes, `algorithm` the COSE identifier, `sizes` a u32 big-endian for each message, `messages` their bytes
one behind the other: arrays of thousands of byte strings are neither in the profile nor fast. Nothing answers a
private key: there is no request for one.

    00 00 00 0b  82 02 48 fe d9 9b 10 80 19 aa 6a        the public key of fed99b108019aa6a
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, pairwise
from typing import Final, TypeAlias

from chopmark import cbor
from chopmark.cbor import Value
from chopmark.errors import FormatError, LimitError
from chopmark.keys import Algorithm, PublicKey

MAX_FRAME: Final = 16 * 1024 * 1024
"""Bytes of a frame: a bulk issue of thousands of licences, or the largest signed note four times."""
MAX_MESSAGES: Final = 4096
"""Messages of one request; as many signatures of the longest kind (ML-DSA-44) fit into one answer."""
HEAD_SIZE: Final = 4
_KID_SIZE: Final = 8
_TEXT: Final = 400
"""Characters of each text of a refusal."""
_SIGN, _PUBLIC_KEY, _GENERATE = 1, 2, 3
_REFUSAL: Final = 0


class RefusalKind(StrEnum):
    """Why the signing process did not do what it was asked."""

    MALFORMED = "malformed"
    """The frame is none; the connection ends."""
    BUSY = "busy"
    """It serves as many connections as it can."""
    REFUSED = "refused"
    """The key is not for that."""
    STORAGE = "storage"
    """A key file is missing, or cannot be read or written."""
    KEY = "key"
    """A key file that the passphrase does not open."""
    FAULT = "fault"
    """Something that should not happen; its own log says what."""


@dataclass(frozen=True, slots=True)
class SignRequest:
    """Messages to be signed by the key of that kid (16 hex digits)."""

    kid: str
    messages: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PublicKeyRequest:
    """Asks for the public key of a kid."""

    kid: str


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """Asks for a new key; `use` is the word of the inventory."""

    algorithm: Algorithm
    use: str


@dataclass(frozen=True, slots=True)
class Signatures:
    """The signatures over the messages of a request, in their order."""

    signatures: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why it was not done."""

    kind: RefusalKind
    what: str
    where: str = ""
    remedy: str = ""


Request: TypeAlias = SignRequest | PublicKeyRequest | GenerateRequest
Answer: TypeAlias = Signatures | PublicKey | Refusal


def encode_request(request: Request) -> bytes:
    """Write a request as a frame.

    Raises:
        LimitError: more messages or bytes than one frame may hold.
        FormatError: a kid that is not 16 hex digits.
    """
    match request:
        case SignRequest():
            messages = request.messages
            if not 1 <= len(messages) <= MAX_MESSAGES:
                raise LimitError(f"{len(messages)} messages, not 1 to {MAX_MESSAGES}", where="request")
            sizes = struct.pack(f">{len(messages)}I", *map(len, messages))
            return _frame([_SIGN, _raw_kid(request.kid), sizes, b"".join(messages)])
        case PublicKeyRequest():
            return _frame([_PUBLIC_KEY, _raw_kid(request.kid)])
        case GenerateRequest():
            return _frame([_GENERATE, int(request.algorithm), request.use])


def decode_request(body: bytes) -> Request:
    """Read the body of a request's frame.

    Raises:
        FormatError: it is none; `LimitError` above a bound.
    """
    match _array(body, "request"):
        case [1, bytes(kid), bytes(sizes), bytes(messages)] if len(kid) == _KID_SIZE:
            return SignRequest(kid.hex(), _split(sizes, messages))
        case [2, bytes(kid)] if len(kid) == _KID_SIZE:
            return PublicKeyRequest(kid.hex())
        case [3, int(algorithm), str(use)] if algorithm in tuple(Algorithm):
            return GenerateRequest(Algorithm(algorithm), use)
        case _:
            raise FormatError("none of the requests that there are", where="request")


def encode_answer(answer: Answer) -> bytes:
    """Write an answer as a frame."""
    match answer:
        case Signatures():
            return _frame([_SIGN, len(answer.signatures[0]), b"".join(answer.signatures)])
        case PublicKey():
            return _frame([_PUBLIC_KEY, int(answer.algorithm), answer.raw])
        case Refusal():
            texts = [_text(each) for each in (answer.what, answer.where, answer.remedy)]
            return _frame([_REFUSAL, answer.kind.value, *texts])


def decode_answer(body: bytes) -> Answer:
    """Read the body of an answer's frame.

    Raises:
        FormatError: it is none.
        KeyMaterialError: a public key that is none.
    """
    match _array(body, "answer"):
        case [1, int(size), bytes(joined)] if size > 0 and joined and len(joined) % size == 0:
            return Signatures(tuple(joined[start : start + size] for start in range(0, len(joined), size)))
        case [2, int(algorithm), bytes(raw)] if algorithm in tuple(Algorithm):
            return PublicKey(Algorithm(algorithm), raw)
        case [0, str(kind), str(what), str(where), str(remedy)] if kind in tuple(RefusalKind):
            return Refusal(RefusalKind(kind), what, where, remedy)
        case _:
            raise FormatError("none of the answers that there are", where="answer")


def body_size(head: bytes) -> int:
    """How many bytes follow the first four of a frame.

    Raises:
        FormatError: none do; `LimitError` for more than a frame may have.
    """
    size = int.from_bytes(head, "big")
    if size == 0:
        raise FormatError("an empty frame", where="frame")
    if size > MAX_FRAME:
        raise LimitError(f"{size} bytes, above the limit of {MAX_FRAME}", where="frame")
    return size


def _frame(value: list[Value]) -> bytes:
    body = cbor.encode(value)
    if len(body) > MAX_FRAME:
        raise LimitError(f"{len(body)} bytes, above the limit of {MAX_FRAME}", where="frame")
    return len(body).to_bytes(HEAD_SIZE, "big") + body


def _array(body: bytes, where: str) -> list[Value]:
    value = cbor.decode(body, max_size=MAX_FRAME, where=where)
    # True counts as 1 to a pattern, and is neither a request nor an answer
    if type(value) is not list or any(type(element) is bool for element in value):
        raise FormatError("not an array of numbers, byte strings and texts", where=where)
    return value


def _split(sizes: bytes, messages: bytes) -> tuple[bytes, ...]:
    count, rest = divmod(len(sizes), 4)
    if rest or not 1 <= count <= MAX_MESSAGES:
        raise FormatError(f"not the sizes of 1 to {MAX_MESSAGES} messages", where="request, sizes")
    ends: Sequence[int] = list(accumulate(struct.unpack(f">{count}I", sizes), initial=0))
    if ends[-1] != len(messages):
        raise FormatError(f"{ends[-1]} bytes announced, {len(messages)} there", where="request, messages")
    return tuple(messages[start:end] for start, end in pairwise(ends))


def _raw_kid(kid: str) -> bytes:
    try:
        raw = bytes.fromhex(kid)
    except ValueError:
        raw = b""
    if len(raw) != _KID_SIZE or raw.hex() != kid:
        raise FormatError("a kid is 16 hex digits", where="request, kid")
    return raw


def _text(text: str) -> str:
    return text[:_TEXT].encode("utf-8", "replace").decode("utf-8")
