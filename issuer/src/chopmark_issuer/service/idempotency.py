"""Requests sent again: the same under the same `Idempotency-Key` gets the same answer, and changes nothing twice.

Specification: draft-ietf-httpapi-idempotency-key-header.

    Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"      1 to 128 visible ASCII characters, quotes or none

An answer is kept in the transaction of what it tells of, for 48 hours, under the client, its key, and in a stream the
number of the part, with a digest of the request. Another request under the key is refused. A request that was refused
left nothing behind, so it is judged anew when it is sent again; the lines of a stream are kept with their refusals.
Only so much is kept for one client; when that is reached, it is told to come back, as its answers are forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from chopmark.errors import FormatError
from chopmark_service.errors import BackpressureError
from sqlalchemy import Connection, bindparam, delete, func, select, tuple_

from chopmark_issuer.errors import RefusedError
from chopmark_issuer.storage.bulk_rows import insert_rows
from chopmark_issuer.storage.models import KEPT_ANSWER

HEADER: Final = "Idempotency-Key"
KEPT_SECONDS: Final = 48 * 3600
_FORM: Final = re.compile(r'"([!#-\[\]-~ ]{1,128})"|([!#-\[\]-~]{1,128})', re.ASCII)
_FORGOTTEN_AT_ONCE: Final = 500
_SIZE_OF_ROW: Final = 256
"""Bytes that an answer takes beside its body, about."""
_KEPT: Final = select(KEPT_ANSWER).where(
    KEPT_ANSWER.c.client == bindparam("client"),
    KEPT_ANSWER.c.key.in_(bindparam("keys", expanding=True)),
    KEPT_ANSWER.c.part.in_(bindparam("parts", expanding=True)),
)


class KeptFullError(BackpressureError):
    """So much is kept for this client that nothing more can be."""


class KeyReusedError(RefusedError):
    """Another request was sent under this idempotency key."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Which request it is: whose, under which key, which part of it, and the digest of what it says."""

    client: str
    key: str
    part: int
    digest: bytes

    @property
    def place(self) -> tuple[str, str, int]:
        """What its answer is kept under."""
        return self.client, self.key, self.part


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered; it holds no data of holders."""

    status: int
    body: bytes
    location: str | None = None


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer that is kept, and the digest of the request that it answers."""

    digest: bytes
    answer: Answer

    def to(self, request: RequestKey) -> Answer:
        """The answer, if it is to this request.

        Raises:
            KeyReusedError: it is to another.
        """
        if request.digest != self.digest:
            raise KeyReusedError(
                "another request was sent under this key", where=HEADER, remedy="Give each request a key of its own"
            )
        return self.answer


def read_key(header: str | None) -> str:
    """Read the header.

    Raises:
        FormatError: it is missing, or not of the form above.
    """
    if header is None:
        raise FormatError(
            "a request that writes needs a key of its own",
            where=HEADER,
            remedy="Send a new one with each request, and the same when you send a request again",
        )
    match = _FORM.fullmatch(header)
    if match is None:
        raise FormatError("not 1 to 128 visible characters of ASCII", where=HEADER)
    return match.group(1) or match.group(2)


def request_digest(*parts: bytes) -> bytes:
    """A digest of what a request says: its route, what it is about, its body."""
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def kept_answers(connection: Connection, requests: Sequence[RequestKey]) -> dict[tuple[str, str, int], KeptAnswer]:
    """The answers that are kept for any of these."""
    by_client: dict[str, list[RequestKey]] = {}
    for request in requests:
        by_client.setdefault(request.client, []).append(request)
    found: dict[tuple[str, str, int], KeptAnswer] = {}
    for client, alike in by_client.items():
        keys, parts = {request.key for request in alike}, {request.part for request in alike}
        wanted = {"client": client, "keys": list(keys), "parts": list(parts)}
        for row in connection.execute(_KEPT, wanted):
            found[row.client, row.key, row.part] = KeptAnswer(row.digest, Answer(row.status, row.body, row.location))
    return found


def keep_answers(connection: Connection, answers: Mapping[RequestKey, Answer], *, at: int) -> None:
    """Keep answers, in the transaction of what they tell of."""
    columns = ("client", "key", "part", "digest", "status", "body", "location", "kept_at")
    rows = [
        (request.client, request.key, request.part, request.digest, answer.status, answer.body, answer.location, at)
        for request, answer in answers.items()
    ]
    if rows:
        insert_rows(connection, KEPT_ANSWER, columns, rows)


def size_of(answer: Answer) -> int:
    """How many bytes it takes to keep an answer, about."""
    return len(answer.body) + _SIZE_OF_ROW


def kept_sizes(connection: Connection) -> dict[str, int]:
    """How many bytes are kept for each client."""
    size = func.sum(func.length(KEPT_ANSWER.c.body) + _SIZE_OF_ROW)
    rows = connection.execute(select(KEPT_ANSWER.c.client, size).group_by(KEPT_ANSWER.c.client))
    return {client: int(bytes_) for client, bytes_ in rows}


def forget_answers(connection: Connection, *, at: int) -> dict[str, int]:
    """Forget some of those that were kept long enough; how many bytes that were, by client."""
    old = connection.execute(
        select(
            KEPT_ANSWER.c.client,
            KEPT_ANSWER.c.key,
            KEPT_ANSWER.c.part,
            (func.length(KEPT_ANSWER.c.body) + _SIZE_OF_ROW).label("size"),
        )
        .where(KEPT_ANSWER.c.kept_at < at - KEPT_SECONDS)
        .limit(_FORGOTTEN_AT_ONCE)
    ).all()
    if old:
        here = tuple_(KEPT_ANSWER.c.client, KEPT_ANSWER.c.key, KEPT_ANSWER.c.part)
        connection.execute(delete(KEPT_ANSWER).where(here.in_([(row.client, row.key, row.part) for row in old])))
    forgotten: dict[str, int] = {}
    for row in old:
        forgotten[row.client] = forgotten.get(row.client, 0) + row.size
    return forgotten
