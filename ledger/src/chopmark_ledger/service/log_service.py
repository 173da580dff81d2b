"""The log as a service: batches in over HTTP, everything else as static files.

    POST /entries[?wait=true]     a batch; see `chopmark_ledger.service.entry_requests`
                                  200 once durable; with wait once published, with a tlog-proof for each entry, or
                                  202 after 30 seconds, when it is durable and not yet published
    POST /landmark                end the landmark interval now: the records that were added; for a region
    POST /authentication          204 if the token is that of a client; nothing else happens
    GET  /checkpoint /tile/… /landmarks     the public folder; see `chopmark_ledger.service.static_files`
    GET  /status                  sizes, times, witnesses, what is wrong
    GET  /healthz /readyz /metrics /openapi.json

Problems are those of `chopmark_ledger.service.problems`. Who asks is told in one place, `authenticated`; what a client
may log is for the log to judge, entry by entry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from chopmark import strict
from chopmark.landmark import LandmarkRecord
from chopmark_service import server, telemetry
from chopmark_service.authentication import Authenticator
from chopmark_service.fair_share import FairShare
from chopmark_service.handoff import Handoff
from chopmark_service.json_answer import encoded_answer, indented_answer, json_answer
from chopmark_service.open_api import describe_tokens, openapi_text
from chopmark_service.operation import Readiness, add_operation, add_token_check
from chopmark_service.problems import add_problem_handlers
from chopmark_service.request_body import BodyReader
from chopmark_service.static_files import StaticFiles
from fastapi import Depends, FastAPI, Request, Response

from chopmark_ledger.batch import BatchAnswer, Client, Submission
from chopmark_ledger.errors import (
    BackpressureError,
    BatchRefusedError,
    ClientListError,
    ForbiddenError,
    NotHeardError,
    NotPublishedError,
)
from chopmark_ledger.publication import prover
from chopmark_ledger.publication.cosigning import makes_quorum
from chopmark_ledger.publication.publication_loop import PublicationStatus
from chopmark_ledger.service import log_api
from chopmark_ledger.service.entry_requests import MAX_BODY, EntriesRequest, all_refused, encode_answer, parse_request
from chopmark_ledger.service.log_clients import FILE_NAME, ClientList
from chopmark_ledger.service.log_metrics import LogCollector, LogCounters
from chopmark_ledger.service.problems import answer_error
from chopmark_ledger.service.running_log import RunningLog, open_running_log
from chopmark_ledger.service.service_settings import LogServiceSettings
from chopmark_ledger.service.static_files import kind_of

_CLIENTS_EVERY = 0.25
"""Seconds between two looks at whether the list of clients changed."""
_WAITING_ENTRIES = 60_000
"""Entries that requests with wait=true may wait for, of one client a third: two of the largest batches. Their proofs,
some 2 KB each, are all made once they are published."""
_LOOK_EVERY = 0.5
"""Seconds between two looks at whether something keeps the log from its work."""


class LogService:
    """One running log and what its requests need."""

    def __init__(
        self, settings: LogServiceSettings, running: RunningLog, counters: LogCounters, clock: Callable[[], float]
    ) -> None:
        log = running.log
        self.running = running
        self.clients = ClientList(settings.data / FILE_NAME, look_every=_CLIENTS_EVERY)
        self.authenticator = Authenticator(self.clients, audience=log.identity.origin, clock=clock)
        self.bodies = BodyReader(max_size=MAX_BODY, memory=settings.body_memory, seconds=settings.body_timeout)
        self.files = StaticFiles(log.public_folder.path, kind_of)
        self.counters = counters
        self.stopping = asyncio.Event()
        self._handoff = Handoff()
        self._wait_timeout = settings.wait_timeout
        self._waited_for = FairShare(_WAITING_ENTRIES)
        self._hear_first = settings.hear_witnesses_first

    def check_has_heard(self) -> None:
        """Check that entries may be taken, as far as that hangs on the witnesses.

        Raises:
            NotHeardError: they were not heard yet, and shall be first.
            LogStoppedError: the log stopped, by what they said perhaps.
        """
        if self._hear_first and not self.running.loop.has_heard:
            self.running.log.check_running()
            raise NotHeardError("the witnesses were not heard yet")

    @contextmanager
    def room_to_wait(self, client: Client, entries: int) -> Iterator[None]:
        """Room for a request that waits until so many entries are published.

        Raises:
            BackpressureError: too many wait already, of this client or of all.
        """
        if not self._waited_for.take(client.name, entries):
            raise BackpressureError(
                "too many requests wait to be published",
                retry_after=5,
                where="wait",
                remedy="Send the batch again later, or without wait=true",
            )
        try:
            yield
        finally:
            self._waited_for.give_back(client.name, entries)

    async def append(self, client: Client, request: EntriesRequest) -> BatchAnswer:
        """Commit a batch, together with what else waits.

        Raises: as `chopmark_ledger.sequencing.log.Log.append`.
        """
        began = time.perf_counter()
        submission = Submission(client, request.batch, request.entries)
        try:
            answer = await self._handoff.wait(self.running.sequencer.submit(submission))
        except BatchRefusedError as error:
            self.counters.refused(len(request.entries))
            raise all_refused(request, error) from error
        self.counters.answered(answer, time.perf_counter() - began)
        return answer

    async def proofs(self, answer: BatchAnswer) -> list[bytes | None] | None:
        """Wait until a batch is published, and prove its entries; None if that takes too long."""
        size = max(index for index in answer.indexes if index is not None) + 1
        if not await self.published(size):
            return None
        log = self.running.log

        def prove() -> list[bytes | None]:
            made = iter(prover.tlog_proofs(log, [index for index in answer.indexes if index is not None]))
            return [None if index is None else next(made) for index in answer.indexes]

        return await asyncio.get_running_loop().run_in_executor(None, prove)

    async def published(self, size: int, *, once_heard: bool = False) -> bool:
        """Wait until that many entries are published; False if it takes too long, or the service is about to stop."""
        published = asyncio.wrap_future(self.running.loop.subscribe(size, once_heard=once_heard))
        stopping = asyncio.ensure_future(self.stopping.wait())
        either: set[asyncio.Future[Any]] = {published, stopping}
        try:
            await asyncio.wait(either, timeout=self._wait_timeout, return_when=asyncio.FIRST_COMPLETED)
            return published.done() and not published.cancelled() and published.exception() is None
        finally:
            published.cancel()
            stopping.cancel()

    async def landmark(self) -> tuple[LandmarkRecord, ...]:
        """Publish what is committed, and end the landmark interval; never before the witnesses were heard.

        Raises:
            NotPublishedError: it could not be published in time.
            LogStoppedError: the log stopped.
        """
        log = self.running.log
        log.check_running()
        if not await self.published(log.size, once_heard=True):
            log.check_running()
            raise NotPublishedError("the newest entries are not published yet")
        return await asyncio.get_running_loop().run_in_executor(None, self.running.end_landmark_interval)

    def not_ready(self) -> list[str]:
        """Why the service can take no entries now; empty if it can."""
        reasons = []
        if self.running.log.stopped_by is not None:
            reasons.append("stopped")
        try:
            self.clients.check()
        except ClientListError:
            reasons.append("no_clients")
        if self._hear_first and not self.running.loop.has_heard:
            reasons.append("not_heard")
        if self.stopping.is_set():
            reasons.append("stopping")
        return reasons


def make_application(
    settings: LogServiceSettings,
    *,
    open_log: Callable[[LogServiceSettings], RunningLog] = open_running_log,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The service as an ASGI application; its lifespan opens and closes the log.

    Args:
        settings: what its operator says.
        open_log: opens the log.
        clock: answers POSIX seconds with fractions, for the tokens of clients.
    """
    registry = telemetry.new_registry()
    counters = LogCounters(registry)

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        running = open_log(settings)
        try:
            service = LogService(settings, running, counters, clock)
            application.state.service = service
            registry.register(LogCollector(running, clock))
            telemetry.get_logger("log").info("open", origin=running.log.identity.origin, size=running.log.size)
            watcher = asyncio.get_running_loop().create_task(_log_changes(running))
            try:
                async with server.told_to_stop(service.stopping.set):
                    yield
            finally:
                watcher.cancel()
        finally:
            await asyncio.get_running_loop().run_in_executor(None, running.close)
            telemetry.get_logger("log").info("closed", size=running.log.size)

    application = FastAPI(
        title="Chopmark log",
        version=version("chopmark-ledger"),
        description=log_api.DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=telemetry.NOTHING_EXPORTED,
    )
    application.add_middleware(telemetry.RequestTelemetry, registry=registry, prefix="chopmark_log")
    add_problem_handlers(application, part="log", answer=answer_error, of_the_machine=(ClientListError,))
    _add_writing(application)
    add_token_check(application, authenticated, log_api.OF_TOKENS)
    _add_reading(application)
    _add_status(application)
    add_operation(application, registry, readiness=_readiness, text=log_api.READINESS)
    describe_tokens(application)
    return application


async def _log_changes(running: RunningLog) -> None:
    """Tell the log of events what begins and ends to keep the log from its work, with all that an operator needs."""
    logger = telemetry.get_logger("log")
    told: tuple[str | None, ...] = (None, None, None)
    troubles: dict[str, str] = {}
    while True:
        found = running.loop.status()
        now = (found.stopped_by, found.problem, found.landmark_problem)
        for name, before, after in zip(("stopped", "not_published", "landmarks_not_written"), told, now, strict=True):
            if after is not None and before is None:
                logger.error(name, problem=after, committed=found.committed, published=found.published)
            elif after is None and before is not None:
                logger.info(f"{name}_over", committed=found.committed, published=found.published)
        told = now
        for each in found.witnesses:
            if each.trouble is not None and each.trouble != troubles.get(each.name):
                logger.warning("witness", witness=each.name, trouble=each.trouble, problem=each.problem)
                troubles[each.name] = each.trouble
            elif each.trouble is None and troubles.pop(each.name, None) is not None:
                logger.info("witness_over", witness=each.name, size=each.size)
        await asyncio.sleep(_LOOK_EVERY)


def openapi_document() -> str:
    """What the service offers, as an OpenAPI document: JSON, indented, with a newline at its end."""
    nowhere = Path()
    settings = LogServiceSettings(data=nowhere, policy=nowhere, passphrase_file=nowhere)
    return openapi_text(make_application(settings))


def _readiness(request: Request) -> Readiness:
    return Readiness(_service(request).not_ready())


def _service(request: Request) -> LogService:
    service: LogService = request.app.state.service
    return service


async def authenticated(request: Request) -> Client:
    """Whose request this is; nothing else decides it."""
    return _service(request).authenticator.authenticate(request.headers.get("authorization")).client


async def authenticated_region(client: Annotated[Client, Depends(authenticated)]) -> Client:
    """A client that speaks for its region."""
    if not client.is_region:
        raise ForbiddenError(f"client {client.name} does not speak for the region")
    return client


def _add_writing(application: FastAPI) -> None:
    @application.post("/entries", **log_api.ENTRIES)
    async def add_entries(
        request: Request,
        client: Annotated[Client, Depends(authenticated)],
        wait: Literal["true", "false"] = "false",
    ) -> Response:
        """Append a batch of entries, durably; the same batch sent again gets the same answer."""
        service = _service(request)
        service.check_has_heard()
        batch = parse_request(await service.bodies.read_json(request, client.name))
        if wait == "false":
            return encoded_answer(encode_answer(batch, await service.append(client, batch)))
        with service.room_to_wait(client, len(batch.entries)):
            answer = await service.append(client, batch)
            batch = replace(batch, entries=())  # they are in the log, and need not be held while this waits
            proofs = await service.proofs(answer)
            return encoded_answer(encode_answer(batch, answer, proofs), 202 if proofs is None else 200)

    @application.post("/landmark", **log_api.LANDMARK)
    async def end_landmark_interval(
        request: Request, client: Annotated[Client, Depends(authenticated_region)]
    ) -> Response:
        """Publish what is committed and end the landmark interval now, so that its entries can be printed."""
        records = await _service(request).landmark()
        telemetry.get_logger("log").info("landmark", client=client.name, records=len(records))
        return json_answer({"records": [_shown(record) for record in records]})


def _add_reading(application: FastAPI) -> None:
    @application.head("/checkpoint", include_in_schema=False)
    @application.get("/checkpoint", **log_api.CHECKPOINT)
    async def checkpoint(request: Request) -> Response:
        """The published checkpoint, a signed note with its cosignatures."""
        return await _service(request).files.answer("checkpoint", request)

    @application.head("/landmarks", include_in_schema=False)
    @application.get("/landmarks", **log_api.LANDMARKS)
    async def landmarks(request: Request) -> Response:
        """The landmark file; it only grows, so that a range from what one has is enough."""
        return await _service(request).files.answer("landmarks", request)

    @application.head("/tile/{path:path}", include_in_schema=False)
    @application.get("/tile/{path:path}", **log_api.TILE)
    async def tile(path: str, request: Request) -> Response:
        """A tile of hashes, or a bundle of entries."""
        return await _service(request).files.answer(f"tile/{path}", request)


def _add_status(application: FastAPI) -> None:
    @application.get("/status", **log_api.STATUS)
    async def status(request: Request) -> Response:
        """What is committed and published, how the witnesses are, and what is wrong."""
        return indented_answer(log_status(_service(request).running))


def log_status(running: RunningLog) -> dict[str, Any]:
    """The status of a running log, for everybody: it names no path and no address."""
    log, found = running.log, running.loop.status()
    return {
        "origin": log.identity.origin,
        "number": log.identity.number,
        "vkeys": [vkey for vkey in (log.identity.vkey, log.identity.pq_vkey) if vkey is not None],
        "committed": found.committed,
        "published": found.published,
        "published_at": found.published_at,
        "waiting": running.sequencer.waiting_entries,
        "landmark_end": found.landmark_end,
        "problem": _problem(running, found),
        "since": found.since,
        "witnesses": [
            {"name": each.name, "size": each.size, "at": each.at, "problem": each.trouble} for each in found.witnesses
        ],
    }


def _problem(running: RunningLog, found: PublicationStatus) -> str | None:
    """A word for what keeps the log from publishing; its operator finds the sentence, with its paths, in the log of
    events."""
    if found.stopped_by is not None:
        return "stopped"
    if found.problem is None:
        return None
    well = [vkey for each in found.witnesses if each.problem is None and each.at is not None for vkey in each.vkeys]
    return "unable" if makes_quorum(running.policy, well) else "no_quorum"


def _shown(record: LandmarkRecord) -> dict[str, Any]:
    return {
        "start": record.start,
        "end": record.end,
        "hash": strict.base64_encode(record.hash),
        "checkpoint_size": record.checkpoint_size,
        "witnessed_time": record.witnessed_time,
    }
