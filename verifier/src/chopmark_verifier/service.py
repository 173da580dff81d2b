"""The verifier as a service: codes and pictures in over HTTP, verdicts out, from a trust store alone.

    POST /verify                  a code as JSON, or a picture: the verdict; on request a signed record
    POST /challenges              a challenge for a holder's wallet, as text and as QR
    POST /authentication          204 if the token is that of a client; nothing else happens
    GET  /status                  the trust store: regions, ages, the last refresh
    GET  /healthz /readyz /metrics /openapi.json
    GET  / …                      the page; see `chopmark_verifier.page`

Who asks may verify without saying who it is. Records and challenges are for clients, told in one place by
`authenticated`. A registry is never asked. What a licence says goes into the answer, and into a record where that is
asked for; no log line holds any of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, TypeVar

from chopmark import strict
from chopmark.challenge import Challenge
from chopmark.errors import FormatError
from chopmark.qr_drawing import draw
from chopmark.qr_image import distinct_codes
from chopmark.verdict import Verdict
from chopmark_service import telemetry
from chopmark_service.authentication import Authenticator
from chopmark_service.errors import BackpressureError, UnauthenticatedError, UnsupportedBodyError
from chopmark_service.json_answer import JSON_TYPE, encoded_answer, indented_answer, json_answer
from chopmark_service.open_api import describe_tokens, openapi_text
from chopmark_service.operation import Readiness, add_operation, add_token_check
from chopmark_service.problems import add_problem_handlers
from chopmark_service.request_body import BodyReader, media_type
from fastapi import Depends, FastAPI, Request, Response

from chopmark_verifier import api, page
from chopmark_verifier.clients import STRANGERS, ClientFile, VerifierClient
from chopmark_verifier.desk import Inspection
from chopmark_verifier.desk_keeper import DeskKeeper, DeskOptions
from chopmark_verifier.errors import ClientListError, NoCodeError, PictureError, SeveralCodesError
from chopmark_verifier.image_pool import ImagePool
from chopmark_verifier.licence_types import find_field, find_type
from chopmark_verifier.problems import answer_error
from chopmark_verifier.service_metrics import VerifierCollector, VerifierCounters
from chopmark_verifier.service_settings import VerifierSettings
from chopmark_verifier.sessions import Sessions, read_passcode
from chopmark_verifier.starting import load_desk_options
from chopmark_verifier.trust_source import TrustSource, open_trust_source, trust_status
from chopmark_verifier.verify_requests import (
    MAX_BODY,
    ChallengeRequest,
    VerifyOptions,
    VerifyRequest,
    encode_answer,
    parse_asked,
    parse_challenge_request,
    parse_query,
    parse_verify,
)

PICTURE_TYPES = ("image/png", "image/jpeg")
_FILED_AT_ONCE = 64
"""Records that may wait for the disk at a time; it syncs a few hundred a second."""
_T = TypeVar("_T")


class VerifierService:
    """One verifier at work and what its requests need."""

    def __init__(
        self,
        settings: VerifierSettings,
        trust: TrustSource,
        pool: ImagePool,
        counters: VerifierCounters,
        *,
        options: DeskOptions | None,
        sessions: Sessions | None,
        clock: Callable[[], float],
    ) -> None:
        self.trust = trust
        self.pool = pool
        self.counters = counters
        self.sessions = sessions
        self.clock = clock
        self.desks = DeskKeeper(lambda: trust.store, options, clock=clock)
        self.clients = ClientFile(settings.clients) if settings.clients is not None else None
        self._audience = settings.audience
        self.authenticator = (
            Authenticator(self.clients, audience=self.audience, clock=clock) if self.clients is not None else None
        )
        self.small_bodies = BodyReader(max_size=MAX_BODY, memory=settings.body_memory, seconds=settings.body_timeout)
        self.pictures = BodyReader(
            max_size=pool.limits.max_size, memory=settings.body_memory, seconds=settings.body_timeout
        )
        self._filing = 0

    def audience(self) -> str:
        """What tokens for this service name in `aud`.

        Raises:
            NoDeskError: no setting says it, and whose this service is cannot be told without a desk.
        """
        return self._audience or audience_of(self.desks.current.desk().inspector)

    async def read_picture(self, data: bytes, *, known: bool) -> str:
        """The text of the code in a picture: that of the one licence code, else of whatever code there is.

        Args:
            data: a PNG or JPEG file.
            known: whether whoever sends it may record.

        Raises:
            NoCodeError: there is none.
            SeveralCodesError: there are several licence codes.
            PictureError, LimitError, BackpressureError, StorageError: as `ImagePool.read`.
        """
        try:
            texts = await self.pool.read(data, known=known)
        except PictureError:
            self.counters.picture("refused")
            raise
        if not texts:
            self.counters.picture("no_code")
            raise NoCodeError(
                "there is no QR code in it",
                where="picture",
                remedy="Take it again, sharper, closer and with more light",
            )
        self.counters.picture("texts")
        codes = distinct_codes(texts)
        if len(codes) > 1:
            raise SeveralCodesError(
                f"there are {len(codes)} licence codes in it", where="picture", remedy="Take one of the code you mean"
            )
        return codes[0] if codes else texts[0].strip()

    async def verify(self, request: VerifyRequest, *, known: bool) -> tuple[Verdict, Inspection | None]:
        """Verify what is shown, and file a record of it where that is asked for.

        Args:
            request: what, and how.
            known: whether whoever asks may record.

        Raises:
            UnauthenticatedError: a record is asked for by a stranger.
            NoDeskError: a record is asked for, and there is no desk.
            FormatError: the challenge is none, or was asked by another, with another key or for another purpose.
            TrustError: the key is not enrolled now.
            BackpressureError: too many records wait to be filed.
            StorageError: the record cannot be filed; then there is no verdict either.
        """
        options, current = request.options, self.desks.current
        inspection = None
        if options.record:
            if not known:
                raise UnauthenticatedError("a record is filed for clients only", where="record", remedy="Send a token")
            assert options.purpose is not None  # noqa: S101 - options are checked when they are made
            inspection = await self._filed(
                partial(
                    current.desk().inspect,
                    request.shown,
                    purpose=options.purpose,
                    challenge=parse_asked(options.challenge),
                    with_fields=options.record_fields,
                )
            )
            verdict = inspection.verdict
        else:
            verifier = current.for_inspectors if known else current.for_strangers
            verify = verifier.verify if isinstance(request.shown, str) else verifier.verify_bytes
            verdict = verify(request.shown, challenge=options.challenge)  # type: ignore[arg-type] # of one kind each
        self.counters.answered(verdict, recorded=inspection is not None)
        return verdict, inspection

    def ask(self, request: ChallengeRequest) -> Challenge:
        """Ask a challenge; nothing of it is remembered, as it comes back with what answers it.

        Raises:
            NoDeskError: there is no desk.
            TrustError: the store does not know the licence type, or the key is not enrolled now.
            FormatError: the type has no such field, or nobody could answer.
        """
        current = self.desks.current
        desk = current.desk()
        known = find_type(current.store, request.licence_type)
        fields = [find_field(known, name) for name in request.fields]
        asked = desk.ask(request.purpose, known.vct, fields, lifetime=request.lifetime)
        self.counters.asked()
        return asked

    def not_ready(self) -> list[str]:
        """Why verdicts cannot be given now; empty if they can."""
        reasons = [] if self.desks.is_ready() else ["no_home_bundle"]
        if self.clients is not None:
            try:
                self.clients.check()
            except ClientListError:
                reasons.append("no_clients")
        return reasons

    async def _filed(self, inspect: Callable[[], _T]) -> _T:
        """In a thread: the disk is slow."""
        if self._filing >= _FILED_AT_ONCE:
            raise BackpressureError("too many records wait to be filed", retry_after=1, where="record")
        self._filing += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(None, inspect)
        finally:
            self._filing -= 1


def audience_of(inspector: str) -> str:
    """What tokens for the verifier of an inspector's organisation name in `aud`, unless its operator says otherwise."""
    return f"verifier of {inspector}"


def make_application(
    settings: VerifierSettings,
    *,
    open_trust: Callable[[VerifierSettings], TrustSource] = open_trust_source,
    load_options: Callable[[VerifierSettings], DeskOptions | None] = load_desk_options,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The service as an ASGI application; its lifespan opens and closes what it works with.

    Args:
        settings: what its operator says.
        open_trust: opens the trust store.
        load_options: loads what a desk needs.
        clock: answers POSIX seconds with fractions.
    """
    registry = telemetry.new_registry()
    counters = VerifierCounters(registry)

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            trust = open_trust(settings)
            options = load_options(settings)
            passcode = settings.passcode_path
            sessions = Sessions(read_passcode(passcode), clock=clock) if passcode is not None else None
            pool = await stack.enter_async_context(ImagePool(settings.image_limits))
            service = VerifierService(settings, trust, pool, counters, options=options, sessions=sessions, clock=clock)
            application.state.service = service
            registry.register(VerifierCollector(trust, pool))
            logger = telemetry.get_logger("verifier")
            current = service.desks.current
            logger.info("open", home=trust.store.home_region, regions=list(trust.store.regions))
            if options is not None and current.inspection_desk is None:
                logger.error("no_desk", problem=current.no_desk)
            trust.start()
            stack.push_async_callback(partial(asyncio.get_running_loop().run_in_executor, None, trust.close))
            yield
        telemetry.get_logger("verifier").info("closed")

    application = FastAPI(
        title="Chopmark verifier",
        version=version("chopmark-verifier"),
        description=api.DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=telemetry.NOTHING_EXPORTED,
    )
    application.add_middleware(telemetry.RequestTelemetry, registry=registry, prefix="chopmark_verifier")
    add_problem_handlers(application, part="verifier", answer=answer_error, of_the_machine=(ClientListError,))
    _add_verifying(application)
    add_token_check(application, authenticated, api.OF_TOKEN_CHECK)
    _add_status(application)
    add_operation(application, registry, readiness=_readiness, text=api.READINESS)
    page.add_page(application, service_of)
    describe_tokens(application)
    return application


def openapi_document() -> str:
    """What the service offers, as an OpenAPI document: JSON, indented, with a newline at its end."""
    settings = VerifierSettings(trust=Path())
    return openapi_text(make_application(settings))


def _readiness(request: Request) -> Readiness:
    return Readiness(service_of(request).not_ready())


def service_of(request: Request) -> VerifierService:
    """The service that answers a request."""
    service: VerifierService = request.app.state.service
    return service


async def known_client(request: Request) -> VerifierClient | None:
    """Whose request this is; None for a stranger, who sends no token."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        return None
    authenticator = service_of(request).authenticator
    if authenticator is None:
        raise UnauthenticatedError("this service has no clients", where="token", remedy="Ask without a token")
    return authenticator.authenticate(authorization)


async def authenticated(client: Annotated[VerifierClient | None, Depends(known_client)]) -> VerifierClient:
    """A client of this service; nothing else decides it."""
    if client is None:
        raise UnauthenticatedError("a request needs a token", where="token", remedy="Send Authorization: Bearer <JWT>")
    return client


async def read_shown(request: Request, service: VerifierService, client: str | None) -> VerifyRequest:
    """What is to be verified, from the body of a request, and how.

    Raises: as `parse_verify`, `parse_query`, `VerifierService.read_picture` and `BodyReader.read`.
    """
    if media_type(request) in PICTURE_TYPES:
        if request.headers.get("content-encoding", "identity") != "identity":
            raise UnsupportedBodyError("a picture is not compressed once more", where="body")
        options = read_query(request)
        picture = await service.pictures.read(request, client or STRANGERS)
        return VerifyRequest(await service.read_picture(picture, known=client is not None), options)
    if media_type(request) != JSON_TYPE:
        raise UnsupportedBodyError(f"a body is {JSON_TYPE}, or a picture: {', '.join(PICTURE_TYPES)}", where="body")
    if request.url.query:
        raise FormatError("with a body of JSON all stands in the body, nothing in the query", where="query")
    return parse_verify(await service.small_bodies.read_json(request, client or STRANGERS))


def read_query(request: Request) -> VerifyOptions:
    """The options in the query of a request with a picture."""
    return parse_query(dict(request.query_params), len(request.query_params.multi_items()))


def _add_verifying(application: FastAPI) -> None:
    @application.post("/verify", **api.VERIFY)
    async def verify(request: Request, client: Annotated[VerifierClient | None, Depends(known_client)]) -> Response:
        """Verify a licence code, by its text or a picture of it."""
        service = service_of(request)
        asked = await read_shown(request, service, client.name if client is not None else None)
        verdict, inspection = await service.verify(asked, known=client is not None)
        return encoded_answer(encode_answer(verdict, asked.options, inspection))

    @application.post("/challenges", **api.CHALLENGES)
    async def ask_challenge(request: Request, client: Annotated[VerifierClient, Depends(authenticated)]) -> Response:
        """Ask the holder of a licence to show it now: a challenge for the holder's wallet."""
        service = service_of(request)
        asked = service.ask(parse_challenge_request(await service.small_bodies.read_json(request, client.name)))
        text = asked.text()
        code = draw(text)
        return json_answer(
            {
                "challenge": text,
                "inspector": asked.inspector,
                "licence_type": asked.licence_type,
                "fields": list(asked.fields),
                "expires": asked.expires,
                "svg": code.svg(),
                "png": strict.base64_encode(code.png()),
            }
        )


def _add_status(application: FastAPI) -> None:
    @application.get("/status", **api.STATUS)
    async def status(request: Request) -> Response:
        """The trust store that verdicts rest on: regions, ages, and the last refresh."""
        service = service_of(request)
        found = trust_status(service.trust, at=int(service.clock()))
        desk = service.desks.current.inspection_desk
        return indented_answer({**found, "inspector": desk.inspector if desk is not None else None})
