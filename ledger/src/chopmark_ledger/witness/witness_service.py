"""The witness as a service: C2SP tlog-witness over HTTP.

Spec: https://c2sp.org/tlog-witness; submission and monitoring prefix are the same.

    POST /add-checkpoint               see `chopmark_ledger.witness.witness`; answers are plain text, as specified
    POST /sign-subtree                 likewise
    GET  /<origin hash>/checkpoint     the last checkpoint cosigned of a log, for monitors; 404 before the first
    GET  /healthz /readyz /metrics     for whoever runs it

Beside the codes of the specification: 408 the body did not come in time · 413 too large · 429 too many requests of this
log wait already · 500 what is held of this log is damaged · 503 the state cannot be kept, or the clock jumped.

The requests of one log are answered one after the other, each call of its own; so a flood of one log takes one thread,
and the others go on. An origin that is not known is refused without a thread.

Everybody knows the origins, and may send what names one. So an `add-checkpoint` takes a turn of its log, of which there
are few, only if the log signed it and it is not refused for its sizes anyway; who sends the same as somebody who
waits, such as a copy of the log's own request, shares his answer. Large requests are read in threads of their own.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from chopmark.cli.passphrase import read_passphrase
from chopmark.errors import FormatError, LimitError, StorageError
from chopmark_service import telemetry
from chopmark_service.errors import BackpressureError, SlowBodyError
from chopmark_service.operation import add_metrics
from chopmark_service.request_body import BodyReader
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException

from chopmark_ledger.errors import LedgerDamagedError, WitnessClockError
from chopmark_ledger.witness.steady_clock import SteadyClock
from chopmark_ledger.witness.witness import READ_AT_ONCE, WitnessAnswer, decide
from chopmark_ledger.witness.witness_folder import OpenedWitness, open_witness
from chopmark_ledger.witness.witness_metrics import WitnessCollector
from chopmark_ledger.witness.witness_requests import MAX_REQUEST_SIZE, Submission, peek_origin
from chopmark_ledger.witness.witness_settings import WitnessServiceSettings

BODY_TIMEOUT = 10.0
"""Seconds for a body to come in: a checkpoint is a few kilobytes."""
BODY_MEMORY = 1024 * MAX_REQUEST_SIZE
"""Bytes of bodies that are on their way at a time: one of each connection, so that none keeps another out."""
WAITING = 64
"""Requests of one log, and one call, that wait for their turn."""
READING = 256
"""Large requests that name one log and wait to be read: more than reach a place are told to come back."""
_READERS = 2
"""Threads that read large requests."""
_THREADS = 8
"""Logs that are served at a time: their fsyncs and signatures go on side by side."""
_FRESH = 10
"""Seconds that a checkpoint for monitors may be kept by whoever passes it on."""
_SWITCH = 0.005
"""Seconds after which a thread that computes lets another one: the server's own are fewer, and here the threads, which
sign and write, would get in each other's way."""
_MIN_FREE = 1024 * 1024
"""Bytes that the disk must have left for the witness to be ready: a few states."""
_QUIET = frozenset({"/add-checkpoint", "/sign-subtree", "/{origin_hash}/checkpoint", "/healthz", "/readyz", "/metrics"})

_Turn: TypeAlias = tuple[str, str | None]


class _Crowded(Exception):  # noqa: N818 - it never leaves this module
    """Too many requests of one log wait."""


class _Turns:
    """Lets requests for the same thing follow each other, and counts those that wait."""

    def __init__(self) -> None:
        self._locks: dict[_Turn, asyncio.Lock] = {}
        self._present: dict[_Turn, int] = {}

    @asynccontextmanager
    async def of(self, turn: _Turn, waiting: int) -> AsyncIterator[None]:
        present = self._present.get(turn, 0)
        if present > waiting:
            raise _Crowded
        self._present[turn] = present + 1
        try:
            async with self._locks.setdefault(turn, asyncio.Lock()):
                yield
        finally:
            self._present[turn] -= 1
            if not self._present[turn]:
                del self._present[turn], self._locks[turn]


class WitnessService:
    """Answers requests with an open witness.

    Args:
        opened: the witness.
        folder: where it lives.
        clock: answers the time in POSIX seconds.
    """

    def __init__(self, opened: OpenedWitness, folder: Path, clock: Callable[[], int]) -> None:
        self._witness = opened.witness
        self._store = opened.store
        self._logs = opened.logs
        self._folder = folder
        self._clock = clock
        self._turns = _Turns()
        self._bodies = BodyReader(max_size=MAX_REQUEST_SIZE, memory=BODY_MEMORY, seconds=BODY_TIMEOUT)
        self._threads = ThreadPoolExecutor(_THREADS, "witness")
        self._readers = ThreadPoolExecutor(_READERS, "witness-reader")
        self._judged: dict[Submission, asyncio.Task[WitnessAnswer]] = {}
        self._logger = telemetry.get_logger("witness")
        self._told: Mapping[str, str] = {}
        self._problem: str | None = None

    def close(self) -> None:
        """Wait for what was begun."""
        self._readers.shutdown()
        self._threads.shutdown()

    async def answer(self, request: Request, call: Callable[[bytes], Awaitable[Response]]) -> Response:
        """Answer a request that has a body, once that is read."""
        try:
            body = await self._bodies.read(request)
        except LimitError:
            return _refuse(413, f"a request of more than {MAX_REQUEST_SIZE // 1024} KiB")
        except SlowBodyError as error:
            return _refuse(408, error.what)
        except FormatError as error:
            return _refuse(400, error.what)
        except BackpressureError as error:
            return _refuse(429, error.what, {"Retry-After": str(error.retry_after)})
        return await call(body)

    async def add_checkpoint(self, body: bytes) -> Response:
        """Answer an `add-checkpoint` request."""
        try:
            read = await self._read(body)
        except _Crowded:
            return _response(_CROWDED)
        if isinstance(read, WitnessAnswer):
            return _response(read)
        return _response(self._refuse_at_once(read) or await self._judge(read))

    async def _read(self, body: bytes) -> Submission | WitnessAnswer:
        """Read a request; one that is soon read, or need not be, takes no thread."""
        if len(body) <= READ_AT_ONCE:
            return self._witness.read(body)
        refusal = self._witness.refuse_unread(body)
        if refusal is not None:
            return refusal
        async with self._turns.of(("read", peek_origin(body)), READING):
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._witness.read, body)

    def _refuse_at_once(self, submission: Submission) -> WitnessAnswer | None:
        """Refuse what does not fit what is held, as its turn would; None where that has to judge it."""
        held = self._store.remembered(submission.checkpoint.origin)
        if held is None or submission.old_size == held.size < submission.checkpoint.size:
            return None
        refusal, contradiction = decide(held, submission)
        if contradiction is not None or not self._store.is_current(submission.checkpoint.origin, held):
            return None
        return refusal

    async def _judge(self, submission: Submission) -> WitnessAnswer:
        """Judge what a log signed in its turn; those who submit the same at a time get one answer."""
        task = self._judged.get(submission)
        if task is None:
            turn = ("add-checkpoint", submission.checkpoint.origin)
            task = self._begin(turn, lambda: self._witness.judge(submission, self._clock()))
            self._judged[submission] = task
            task.add_done_callback(lambda _: self._judged.pop(submission))
        return await asyncio.shield(task)

    async def sign_subtree(self, body: bytes) -> Response:
        """Answer a `sign-subtree` request."""
        origin = peek_origin(body)
        known = origin if origin is not None and origin in self._logs else None
        task = self._begin(("sign-subtree", known), lambda: self._witness.sign_subtree(body))
        return _response(await asyncio.shield(task))

    async def checkpoint(self, origin_hash: str) -> Response:
        """Answer a monitor."""
        origin = self._logs.origin_of(origin_hash)
        if origin is None:
            return _refuse(404, "this witness does not know the origin")

        def read() -> WitnessAnswer:
            note = self._store.checkpoint(origin)
            if note is None:
                return WitnessAnswer(404, b"nothing of this log was cosigned yet\n")
            return WitnessAnswer(200, note)

        response = _response(await asyncio.shield(self._begin(("checkpoint", origin), read)))
        if response.status_code == 200:
            response.headers["Cache-Control"] = f"max-age={_FRESH}"
        return response

    def problem(self) -> str | None:
        """Why the witness cannot do its work at the moment; None while it can. Details go to the log."""
        problem, detail = self._look()
        if detail != self._problem:
            self._problem = detail
            if detail is None:
                self._logger.info("ready_again")
            else:
                self._logger.error("not_ready", error=detail)
        return problem

    def _look(self) -> tuple[str | None, str | None]:
        """What keeps the witness from its work, for strangers and for its operator."""
        if self._store.poisoned_by is not None:
            return "an fsync failed; its operator has to look", self._store.poisoned_by
        if self._logs.problem is not None:
            return "the list of logs cannot be read any more", self._logs.problem
        try:
            self._clock()
            disk = os.statvfs(self._folder)
        except WitnessClockError as error:
            return error.what, str(error)
        except OSError as error:
            return "the folder cannot be looked at", error.strerror
        if disk.f_flag & os.ST_RDONLY:
            return ("the folder is read-only",) * 2
        return ("the disk is full",) * 2 if disk.f_bavail * disk.f_frsize < _MIN_FREE else (None, None)

    def _begin(self, turn: _Turn, answer: Callable[[], WitnessAnswer]) -> asyncio.Task[WitnessAnswer]:
        """Answer in a turn. Whoever waits for that shields it: a client that leaves must not free the turn while its
        thread is still at work."""

        async def take() -> WitnessAnswer:
            try:
                async with self._turns.of(turn, WAITING):
                    return await asyncio.get_running_loop().run_in_executor(
                        self._threads, partial(self._try, turn, answer)
                    )
            except _Crowded:
                return _CROWDED

        return asyncio.get_running_loop().create_task(take())

    def _try(self, turn: _Turn, answer: Callable[[], WitnessAnswer]) -> WitnessAnswer:
        """What went wrong is told to the operator; a stranger learns no path of this machine."""
        call, origin = turn
        try:
            answered = answer()
        except LedgerDamagedError as error:
            self._logger.error("state_damaged", call=call, origin=origin, error=str(error))
            return _answer(500, "what this witness holds of the log is damaged; its operator has to look")
        except WitnessClockError as error:
            self._logger.error("clock", call=call, origin=origin, error=str(error))
            return _answer(503, "the clock of this witness cannot be trusted; its operator has to look")
        except StorageError as error:
            self._logger.error("storage", call=call, origin=origin, error=str(error))
            return _answer(503, "this witness cannot keep what it would cosign; its operator has to look")
        lost = self._store.lost_evidence
        if lost != self._told:
            self._told = lost
            self._logger.error("evidence_lost", logs=dict(lost))
        return answered


def make_application(settings: WitnessServiceSettings, clock: Callable[[], int] | None = None) -> FastAPI:
    """The ASGI application; the witness is opened when it starts.

    Args:
        settings: what it is told.
        clock: answers the time in POSIX seconds; the machine's unless given.
    """
    registry = telemetry.new_registry()
    service: WitnessService

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal service
        sys.setswitchinterval(_SWITCH)
        opened = open_witness(settings.data, read_passphrase(settings.passphrase_file))
        service = WitnessService(opened, settings.data, clock or SteadyClock())
        registry.register(WitnessCollector(opened, service.problem))
        telemetry.get_logger("witness").info("open", name=opened.witness.name, logs=len(opened.logs))
        try:
            yield
        finally:
            service.close()

    application = FastAPI(
        title="Chopmark witness",
        description="Cosigns the checkpoints of transparency logs, as https://c2sp.org/tlog-witness says.",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        default_response_class=PlainTextResponse,
        generate_unique_id_function=lambda route: route.name,
        telemetry=telemetry.NOTHING_EXPORTED,
    )
    application.add_middleware(telemetry.RequestTelemetry, registry=registry, prefix="chopmark_witness", quiet=_QUIET)

    @application.exception_handler(HTTPException)
    async def refuse(_: Request, error: HTTPException) -> Response:
        return _refuse(error.status_code, error.detail, error.headers)

    @application.post("/add-checkpoint", responses=_ADD_CHECKPOINT, openapi_extra=_BODY)
    async def add_checkpoint(request: Request) -> Response:
        """Ask for cosignatures of a checkpoint that follows from the last one cosigned."""
        return await service.answer(request, service.add_checkpoint)

    @application.post("/sign-subtree", responses=_SIGN_SUBTREE, openapi_extra=_BODY)
    async def sign_subtree(request: Request) -> Response:
        """Ask for a cosignature of a subtree of a checkpoint that this witness cosigned."""
        return await service.answer(request, service.sign_subtree)

    @application.get("/{origin_hash}/checkpoint", responses=_CHECKPOINT)
    async def checkpoint(origin_hash: str) -> Response:
        """The last checkpoint cosigned of the log whose origin has this SHA-256, in lower-case hex."""
        return await service.checkpoint(origin_hash)

    @application.get("/healthz")
    async def healthz() -> Response:
        """Whether the process answers."""
        return PlainTextResponse("ok\n")

    @application.get("/readyz", responses={503: {"description": "It cannot do its work now; the body says why."}})
    async def readyz() -> Response:
        """Whether it can do its work."""
        problem = service.problem()
        return PlainTextResponse("ready\n") if problem is None else _refuse(503, problem)

    add_metrics(application, registry)
    return application


def _response(answer: WitnessAnswer) -> Response:
    # As a header, since `media_type` would add a charset to each type of text.
    headers = {"Content-Type": answer.content_type}
    return Response(answer.body, answer.status, headers | ({"Retry-After": "1"} if answer.status == 429 else {}))


def _answer(status: int, reason: str) -> WitnessAnswer:
    return WitnessAnswer(status, f"{reason}\n".encode())


def _refuse(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlainTextResponse(f"{reason}\n", status, headers)


def _text(description: str, media_type: str = "text/plain") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}


_CROWDED = _answer(429, "too many requests for this log wait already")

_BODY = {
    "requestBody": {
        "description": "The request, as https://c2sp.org/tlog-witness says.",
        "required": True,
        "content": {"text/plain": {"schema": {"type": "string", "maxLength": MAX_REQUEST_SIZE}}},
    }
}

_Responses: TypeAlias = dict[int | str, dict[str, Any]]

_OWN: _Responses = {
    408: _text("The body did not come in time."),
    413: _text("Larger than 256 KiB."),
    429: _text("Too many requests for this log wait already."),
    500: _text("What this witness holds of the log is damaged."),
    503: _text("The state cannot be kept, or the clock cannot be trusted."),
}
_ADD_CHECKPOINT: _Responses = {
    200: _text("The cosignature lines, one of each key of the witness."),
    400: _text("Malformed, or the old size is above that of the checkpoint."),
    403: _text("No signature of a known key of the log, or one that does not verify."),
    404: _text("The origin is not known."),
    409: _text("The old size is not the one held; the body gives that.", "text/x.tlog.size"),
    422: _text("The proof does not verify, or another root stands at the same size."),
    **_OWN,
}
_SIGN_SUBTREE: _Responses = {
    200: _text("The cosignature line of the ML-DSA-44 key, without a time."),
    400: _text("Malformed, or no subtree of that checkpoint."),
    403: _text("No cosignature of this witness on the checkpoint, or one that does not verify."),
    404: _text("The origin is not known, or this witness signs no subtrees."),
    422: _text("The proof does not verify."),
    **_OWN,
}
_CHECKPOINT: _Responses = {
    200: _text("The signed checkpoint, with the lines of the log and of the witness."),
    404: _text("The origin is not known, or nothing of it was cosigned."),
    **{status: _OWN[status] for status in (429, 500, 503)},
}
