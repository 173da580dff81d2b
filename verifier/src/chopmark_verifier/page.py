"""The page of the verifier: a picture, the camera or a pasted text in, the verdict out, in Chinese and English.

    GET  /                        the page; /page/… leads to it
    POST /page/check              a form with the text of a code, or a picture: the verdict as HTML
    POST /page/fields             the fields of a licence type, to choose from
    POST /page/challenge          a challenge as a QR code
    POST /page/sign-in /sign-out  a session, by the passcode
    GET  /assets/…                style, scripts, pictures

Pages are made on the server; htmx puts parts of them in their place, and a form works without scripts too. Who asks,
and in which language, stands in `chopmark_verifier.page_visit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from chopmark.challenge import Challenge
from chopmark.cli.plain_text import plain
from chopmark.errors import ChopmarkError
from chopmark.qr_drawing import draw
from chopmark_service import telemetry
from chopmark_service.request_body import media_type
from chopmark_service.static_files import FOR_SECONDS, FileKind, StaticFiles
from fastapi import FastAPI, HTTPException, Request, Response
from starlette.responses import RedirectResponse

from chopmark_verifier.errors import NoCodeError, NoTextError, SignInError
from chopmark_verifier.licence_types import find_type
from chopmark_verifier.page_texts import problem_text
from chopmark_verifier.page_visit import (
    HEADERS,
    LANGUAGE_COOKIE,
    LOCAL_SESSION_COOKIE,
    PACKAGE,
    SESSION_COOKIE,
    Visit,
    is_loopback,
    localised,
)
from chopmark_verifier.verdict_view import verdict_view
from chopmark_verifier.verify_requests import ChallengeRequest, VerifyOptions, VerifyRequest, check_options, unwrapped

if TYPE_CHECKING:
    from chopmark_verifier.service import VerifierService

TOKEN_HEADER: Final = "x-csrf-token"  # noqa: S105 - the name of a header
_PICTURES: Final = ("image/png", "image/jpeg")
_ACTIONS: Final = frozenset({"check", "fields", "challenge", "sign-in", "sign-out"})
_YEAR: Final = 365 * 24 * 3600
_ASSETS: Final = {
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "mark.svg": "image/svg+xml",
}


def add_page(application: FastAPI, service_of: Callable[[Request], VerifierService]) -> None:
    """Add the routes of the page, which OpenAPI does not tell of."""
    assets = StaticFiles(PACKAGE / "static", _kind_of)

    @application.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request) -> Response:
        visit = Visit(request, service_of(request))
        answer = visit.page()
        if request.query_params.get("lang") in {"zh", "en"}:
            answer.set_cookie(LANGUAGE_COOKIE, visit.language, max_age=_YEAR, samesite="strict", httponly=True)
        return answer

    @application.api_route("/page/{action}", methods=["GET", "HEAD"], include_in_schema=False)
    async def gone_back_to(action: str) -> Response:
        # The address of a form that was answered stays in the browser: opened again it leads to the page.
        if action not in _ACTIONS:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return RedirectResponse("/", int(HTTPStatus.SEE_OTHER), HEADERS)

    @application.get("/assets/{name}", include_in_schema=False)
    async def asset(name: str, request: Request) -> Response:
        return await assets.answer(name, request)

    @application.post("/page/check", include_in_schema=False)
    async def check(request: Request) -> Response:
        visit = Visit(request, service_of(request))
        try:
            return await _check(visit)
        except ChopmarkError as error:
            if isinstance(error, NoCodeError) and request.query_params.get("frame") == "true":
                return Response(status_code=int(HTTPStatus.NO_CONTENT), headers=HEADERS)
            return visit.problem(error)

    @application.post("/page/fields", include_in_schema=False)
    async def fields(request: Request) -> Response:
        visit = Visit(request, service_of(request))
        try:
            form = await visit.read_form()
            known = find_type(visit.service.desks.current.store, form.get("type", ""))
        except ChopmarkError as error:
            return visit.problem(error)
        listed = [(each.id, plain(localised(each.label, visit.language))) for each in known.fields]
        return visit.html("fields.html", fields=listed)

    @application.post("/page/challenge", include_in_schema=False)
    async def challenge(request: Request) -> Response:
        visit = Visit(request, service_of(request))
        try:
            form = await visit.read_form()
            if visit.session is None:
                raise SignInError("a challenge is for inspectors", where="session")
            asked = visit.service.ask(
                ChallengeRequest(
                    form.get("type", ""),
                    form.get("purpose", ""),
                    tuple(name.removeprefix("field-") for name in form if name.startswith("field-")),
                    _CHALLENGE_SECONDS,
                )
            )
        except ChopmarkError as error:
            return visit.problem(error, template="ask_problem.html")
        return visit.html("challenge.html", **_shown_challenge(visit, asked))

    @application.post("/page/sign-in", include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        visit = Visit(request, service_of(request))
        try:
            form = await visit.read_form()
            if visit.service.sessions is None:
                raise SignInError("nobody can sign in here", where="session")
            session = visit.service.sessions.open(form.get("passcode", ""))
        except SignInError:
            telemetry.get_logger("page").warning("sign_in_refused")
            said = problem_text("sign_in", "", visit.language)
            return visit.page(status=int(HTTPStatus.FORBIDDEN), sign_in_problem=said)
        except ChopmarkError as error:
            return visit.problem(error)
        telemetry.get_logger("page").info("signed_in")
        answer = RedirectResponse("/", int(HTTPStatus.SEE_OTHER), HEADERS)
        is_local = _is_plain_loopback(request)
        name = LOCAL_SESSION_COOKIE if is_local else SESSION_COOKIE
        answer.set_cookie(name, session, httponly=True, samesite="strict", secure=not is_local)
        return answer

    @application.post("/page/sign-out", include_in_schema=False)
    async def sign_out(request: Request) -> Response:
        visit = Visit(request, service_of(request))
        try:
            await visit.read_form()
        except ChopmarkError as error:
            return visit.problem(error)
        if visit.session is not None and visit.service.sessions is not None:
            visit.service.sessions.end(visit.session)
        answer = RedirectResponse("/", int(HTTPStatus.SEE_OTHER), HEADERS)
        answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=True)
        answer.delete_cookie(LOCAL_SESSION_COOKIE, httponly=True, samesite="strict")
        return answer


_CHALLENGE_SECONDS: Final = 180
"""The holder has to be told, to unlock a phone, and to read."""


async def _check(visit: Visit) -> Response:
    request, service = visit.request, visit.service
    if media_type(request) in _PICTURES:
        visit.check_token(request.headers.get(TOKEN_HEADER))
        options = _options(dict(request.query_params))
        shown = await service.read_picture(await visit.read(service.pictures), known=visit.session is not None)
    else:
        form = await visit.read_form()
        options = _options(form)
        shown = unwrapped(form.get("text", ""))
        if not shown:
            # Nothing was shown, so that nothing is invalid.
            raise NoTextError("there is no code", where="text")
    if options.record and visit.session is None:
        raise SignInError("records are for inspectors", where="session")
    verdict, inspection = await service.verify(VerifyRequest(shown, options), known=visit.session is not None)
    values: dict[str, Any] = {
        "view": verdict_view(verdict, visit.language),
        "record": inspection.path.stem if inspection is not None else None,
        "is_signed_in": visit.session is not None,
    }
    if visit.wants_part:
        return visit.html("result.html", **values)
    return visit.page(**values)


def _options(form: Mapping[str, str]) -> VerifyOptions:
    flags = {name: form.get(name) in {"on", "true"} for name in ("record", "record_fields")}
    flags["record_fields"] = flags["record_fields"] and flags["record"]
    purpose = form.get("purpose", "").strip() or None
    return check_options(purpose, form.get("challenge") or None, {"with_fields": True, **flags})


def _shown_challenge(visit: Visit, asked: Challenge) -> dict[str, Any]:
    known = find_type(visit.service.desks.current.store, asked.licence_type)
    return {
        "challenge": asked.text(),
        "svg": draw(asked.text()).svg(),
        "seconds": asked.expires - asked.issued_at,
        "type_name": plain(localised(known.name, visit.language)),
        "purpose": asked.purpose,
    }


def _is_plain_loopback(request: Request) -> bool:
    """Whether the browser speaks to this very machine without TLS, where some keep no cookie that wants it."""
    origin = request.headers.get("origin", "")
    return origin.startswith("http://") and is_loopback(origin)


def _kind_of(name: str) -> FileKind | None:
    media_type = _ASSETS.get(name)
    return FileKind(media_type, FOR_SECONDS, hashed=True, compressed=True) if media_type is not None else None
