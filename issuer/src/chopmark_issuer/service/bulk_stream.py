"""Many licences in one request, worked off part by part, and answered line by line.

    {"line": 1, "status": 201, "number": "1.2.156.3005.2.…", "version": 1, "credentials": [{"digest": "…", …}]}
    {"line": 2, "status": 422, "problem": {"code": "field", "detail": "field seats: not an integer …", …}}

A part is one transaction, and its lines are answered once that is durable. The answers of a part are kept under the
request's idempotency key, and sent from there: so a stream that broke off can be sent again from its beginning, with
the same answers for what was done, and reading never waits for who does not read the answers: programs send a body
whole before they look at them. What ends a stream before its end is told in a last line without a place of its own:

    {"line": 501, "status": 503, "ends": true, "problem": {"code": "stopping", …}}
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from chopmark.errors import ChopmarkError
from chopmark_service import telemetry
from chopmark_service.errors import BackpressureError
from chopmark_service.json_answer import encode_json
from chopmark_service.problems import FAULT, TOO_LARGE, problem_document
from chopmark_service.telemetry import Receive, Scope, Send
from fastapi import Request, Response

from chopmark_issuer.service.api_requests import MAX_LINE
from chopmark_issuer.service.clients import DepartmentClient
from chopmark_issuer.service.commit_queue import Task
from chopmark_issuer.service.idempotency import (
    HEADER,
    Answer,
    KeptFullError,
    KeyReusedError,
    RequestKey,
    request_digest,
)
from chopmark_issuer.service.line_reader import LineParts, read_parts
from chopmark_issuer.service.problems import STOPPING, line_problem

MAX_LINES: Final = 100_000
PART_LINES: Final = 500
_PART_BYTES: Final = 512 * 1024
_TRY_AGAIN_EVERY: Final = 0.2
"""Seconds after which a part is offered again to a queue that is full: a stream waits where a single request would be
refused."""
MEDIA_TYPE: Final = "application/x-ndjson"

MakeTask = Callable[[RequestKey, int, list[Any]], Awaitable[Task]]
"""Makes the task of a part: under its key, from the number of its first line on, of its lines."""
Write = Callable[[Task], Awaitable[Answer]]
Kept = Callable[[RequestKey], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class _Part:
    key: RequestKey
    line: int
    last: int
    says_lines: bool
    """Whether what it says is its lines, so that another request under its key differs in one of them."""
    written: asyncio.Future[None]


class _PartError(Exception):
    """A part could not be written, from this line on."""

    def __init__(self, line: int, error: Exception) -> None:
        super().__init__(str(error))
        self.line = line
        self.error = error


@dataclass(slots=True)
class BulkStream:
    """One request at work.

    Args:
        client: whose it is.
        key: its idempotency key.
        begin: a digest of what it says beside its lines.
        write: writes a task and answers once it is durable.
        kept: the answer that is kept for a part.
        is_stopping: whether the service is about to stop: then no further part is begun.
    """

    client: DepartmentClient
    key: str
    begin: bytes
    write: Write
    kept: Kept
    is_stopping: Callable[[], bool]
    _done: asyncio.Queue[RequestKey | bytes | None] = field(default_factory=asyncio.Queue)

    async def work(self, parts: AsyncIterator[list[Any]], make: MakeTask, digest: Callable[[list[Any]], bytes]) -> None:
        """Work the parts off, in order, each made ready while the one before it is written; whatever ends it early is
        the last line of the answer."""
        line = 1
        number = 0
        sofar = self.begin
        writing: _Part | None = None
        try:
            async for part in parts:
                lines = part[: MAX_LINES - line + 1]
                if self.is_stopping() or not lines:
                    break
                said = digest(lines)
                sofar = request_digest(sofar, said)
                key = RequestKey(self.client.owner, self.key, number, sofar)
                task = await make(key, line, lines)
                await self._finish(writing)
                last = line + len(lines) - 1
                writing = _Part(key, line, last, bool(said), asyncio.ensure_future(self._write(task)))
                line += len(lines)
                number += 1
                if len(lines) < len(part):
                    break
            else:
                await self._finish(writing)
                return
            await self._finish(writing)
            if self.is_stopping():
                self._end(line, problem_document(STOPPING))
            else:
                self._end(
                    line, problem_document(TOO_LARGE, f"more than {MAX_LINES:,} lines: send the others by themselves")
                )
        except _PartError as failed:
            self._end(failed.line, line_problem(failed.error))
            if not isinstance(failed.error, ChopmarkError):
                raise failed.error from None
        except ChopmarkError as error:
            await self._end_after(writing, line, line_problem(error))
        except Exception:
            await self._end_after(writing, line, problem_document(FAULT))
            raise
        finally:
            if writing is not None:
                writing.written.cancel()
            self._done.put_nowait(None)

    async def _finish(self, part: _Part | None) -> None:
        """Wait until a part is durable, and let its lines be answered."""
        if part is None:
            return
        try:
            await part.written
        except KeyReusedError as error:
            raise _PartError(part.line, _differing(part) if part.says_lines else error) from error
        except Exception as error:
            raise _PartError(part.line, error) from error
        self._done.put_nowait(part.key)

    async def _end_after(self, part: _Part | None, line: int, problem: dict[str, Any]) -> None:
        """End the answer at a line, or already at the part before it, if that could not be written."""
        try:
            await self._finish(part)
        except _PartError as failed:
            line, problem = failed.line, line_problem(failed.error)
        self._end(line, problem)

    async def answers(self) -> AsyncGenerator[bytes, None]:
        """The lines of the answer, as they become known."""
        while (done := await self._done.get()) is not None:
            yield done if isinstance(done, bytes) else await self.kept(done)

    async def _write(self, task: Task) -> None:
        while True:
            try:
                await self.write(task)
            except KeptFullError:
                raise  # that takes days
            except BackpressureError:
                if self.is_stopping():
                    raise
                await asyncio.sleep(_TRY_AGAIN_EVERY)
            else:
                return

    def _end(self, line: int, problem: dict[str, Any]) -> None:
        told = {"line": line, "status": problem["status"], "ends": True, "problem": problem}
        self._done.put_nowait(encode_lines([told]))


def _differing(part: _Part) -> KeyReusedError:
    """The first part that is another; which of its lines is, nobody knows: one digest is kept for all of them."""
    return KeyReusedError(
        f"lines {part.line} to {part.last} are not those that were sent first under this key",
        where=HEADER,
        remedy="Send the same lines again, or others under a key of their own",
    )


class LinesResponse(Response):
    """An answer of lines that come while the request is still read. Starlette's own reads the request too, to notice a
    client that left, and would take away what the lines are made from.

    Args:
        lines: the answer, part by part.
        working: makes it; ended with it, however that ends.
        seconds: that who asks may take nothing of it; then it is given up.
    """

    media_type = MEDIA_TYPE

    def __init__(self, lines: AsyncGenerator[bytes, None], working: asyncio.Future[None], *, seconds: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._lines = lines
        self._working = working
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for some in self._lines:
                async with asyncio.timeout(self._seconds):
                    await send({"type": "http.response.body", "body": some, "more_body": True})
            await self._working
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            telemetry.get_logger("issuer").warning("answer_not_read")
        finally:
            await self._lines.aclose()
            self._working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._working


def encode_lines(lines: list[dict[str, Any]]) -> bytes:
    """Write lines of an answer."""
    return b"".join(encode_json(line) + b"\n" for line in lines)


def body_parts(request: Request, *, seconds: float) -> AsyncIterator[list[Any]]:
    """The lines of a request's body, in parts; see `line_reader`."""
    return read_parts(request, LineParts(PART_LINES, _PART_BYTES, MAX_LINE), seconds=seconds)


async def listed_parts(listed: tuple[str, ...]) -> AsyncIterator[list[Any]]:
    """A list in parts."""
    for start in range(0, len(listed), PART_LINES):
        yield list(listed[start : start + PART_LINES])
