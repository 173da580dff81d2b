"""The registry of a region as a service: department systems issue and change licences, and read their own.

    GET  /types /types/{id}                            licence types: what a licence of each has to say
    POST /licences                                     issue one
    POST /licences/bulk                                issue up to 100,000, NDJSON in and out
    POST /licences/revoke                              revoke up to 100,000 by number
    GET  /licences?…                                   search; by number, state, type
    POST /licences/search                              search; by holder too
    GET  /licences/{number}                            a licence; …/history …/status …/credential …/qr.png …/qr.svg
    POST /licences/{number}/renew …/change             a new version
    POST /licences/{number}/suspend …/return …/revoke …/withdraw …/annul …/close
    POST /authentication                               204 if the token is that of a client; nothing else happens
    GET  /bundle.note /root/… /landmarks/… /status/…   the region's public files
    GET  /healthz /readyz /metrics /openapi.json

Routes that write stand in `service_writing`, those that read in `service_reading`; who may ask is told in one place,
`service_access`; problems are those of `chopmark_issuer.service.problems`. Nothing is answered before it is durable.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from chopmark.credential import Credential
from chopmark_service import server, telemetry
from chopmark_service.authentication import Authenticator
from chopmark_service.fair_share import FairShare
from chopmark_service.handoff import Handoff
from chopmark_service.open_api import describe_tokens, openapi_text
from chopmark_service.operation import Readiness, add_operation, add_token_check
from chopmark_service.problems import STORAGE, add_problem_handlers
from chopmark_service.request_body import BodyReader
from chopmark_service.static_files import StaticFiles
from fastapi import FastAPI, Request
from sqlalchemy import Connection

from chopmark_issuer.errors import DatabaseError
from chopmark_issuer.licences.records import StoredCredential
from chopmark_issuer.service import api_documents, idempotency, service_reading, service_writing
from chopmark_issuer.service.api_requests import MAX_BODY, MAX_REVOKE_BODY
from chopmark_issuer.service.clients import ClientTable, DepartmentClient
from chopmark_issuer.service.commit_queue import Task
from chopmark_issuer.service.idempotency import Answer, RequestKey
from chopmark_issuer.service.licence_reading import Reading
from chopmark_issuer.service.problems import answer_error
from chopmark_issuer.service.published_files import kind_of
from chopmark_issuer.service.running_region import RunningRegion, open_running_region
from chopmark_issuer.service.service_access import SlashesInNumbers, allowed
from chopmark_issuer.service.service_metrics import RegionCollector
from chopmark_issuer.service.service_settings import IssuerServiceSettings

_T = TypeVar("_T")


class IssuerService:
    """One running region and what its requests need."""

    def __init__(self, settings: IssuerServiceSettings, running: RunningRegion, clock: Callable[[], float]) -> None:
        region = running.region
        self.running = running
        self.clients = ClientTable(region.database)
        self.authenticator = Authenticator(self.clients, audience=region.region, clock=clock)
        self.bodies = BodyReader(max_size=MAX_BODY, memory=settings.body_memory, seconds=settings.body_timeout)
        self.lists = BodyReader(max_size=MAX_REVOKE_BODY, memory=settings.body_memory, seconds=settings.body_timeout)
        self.body_timeout = settings.body_timeout
        self.files = StaticFiles(region.settings.public, kind_of)
        self.streams = FairShare(settings.streams)
        self.stopping = asyncio.Event()
        self._handoff = Handoff()

    async def write(self, task: Task) -> Answer:
        """Write a task, together with what else waits; answers once it is durable.

        Raises:
            BackpressureError: too much waits already.
            ChopmarkError: what the task ended in.
        """
        return await self._handoff.wait(self.running.queue.submit(task))

    async def read(self, client: DepartmentClient, read: Callable[[Reading], _T]) -> _T:
        """Read what a client may see, in a thread: the loop must not wait for the disk."""
        return await self._read(lambda connection: read(Reading(connection, client, self.running.region.clock())))

    async def prove(self, stored: StoredCredential, *, tlog_proof: bool) -> Credential:
        """Give a credential its proofs; see `RunningRegion.prove`."""
        return await self._handoff.wait(self.running.prove(stored, tlog_proof=tlog_proof))

    async def kept(self, request: RequestKey) -> bytes:
        """The answer that is kept for a request."""

        def read(connection: Connection) -> bytes:
            return idempotency.kept_answers(connection, [request])[request.place].answer.body

        return await self._read(read)

    async def in_thread(self, function: Callable[[], _T]) -> _T:
        """Call a function in a thread."""
        return await asyncio.get_running_loop().run_in_executor(None, function)

    async def _read(self, read: Callable[[Connection], _T]) -> _T:
        def in_transaction() -> _T:
            with self.running.region.database.reading() as connection:
                return read(connection)

        return await self.in_thread(in_transaction)


def make_application(
    settings: IssuerServiceSettings,
    *,
    open_region: Callable[[IssuerServiceSettings], RunningRegion] = open_running_region,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The service as an ASGI application; its lifespan opens and closes the region.

    Args:
        settings: what its operator says.
        open_region: opens the region, and lets it begin its work.
        clock: answers POSIX seconds with fractions, for the tokens of clients.
    """
    registry = telemetry.new_registry()

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        running = open_region(settings)
        try:
            service = IssuerService(settings, running, clock)
            application.state.service = service
            registry.register(RegionCollector(running, clock))
            telemetry.get_logger("issuer").info("open", region=running.region.region)
            async with server.told_to_stop(service.stopping.set):
                with rarely_collected():
                    yield
        finally:
            await asyncio.get_running_loop().run_in_executor(None, running.close)
            telemetry.get_logger("issuer").info("closed", region=running.region.region)

    application = FastAPI(
        title="Chopmark registry",
        version=version("chopmark-issuer"),
        description=api_documents.DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=telemetry.NOTHING_EXPORTED,
    )
    application.add_middleware(SlashesInNumbers)
    application.add_middleware(telemetry.RequestTelemetry, registry=registry, prefix="chopmark_issuer")
    add_problem_handlers(application, part="issuer", answer=answer_error, of_the_machine=(DatabaseError,))
    service_writing.add_routes(application)
    service_reading.add_routes(application)
    add_token_check(application, allowed(None), api_documents.OF_TOKEN_CHECK)
    add_operation(
        application,
        registry,
        readiness=_readiness,
        text=api_documents.READINESS,
        metrics_problems=(STORAGE,),
    )
    describe_tokens(application)
    return application


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Look for garbage in cycles seldom, and never through what is there by now: that stays."""
    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(20_000, 20, 20)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def openapi_document() -> str:
    """What the service offers, as an OpenAPI document: JSON, indented, with a newline at its end."""
    return openapi_text(make_application(IssuerServiceSettings(data=Path())))


def _readiness(request: Request) -> Readiness:
    service: IssuerService = request.app.state.service
    working = (("log_away", service.running.outbox), ("not_published", service.running.publishing))
    return Readiness(
        ["stopping"] if service.stopping.is_set() else [],
        [name for name, work in working if work.status().problem is not None],
    )
