"""The page of the verifier: a picture, the camera or a pasted text in, the verdict out, in Chinese and English.

    GET  /                        the page
    POST /page/check              a form with the text of a code, or a picture: the verdict as HTML
    POST /page/fields             the fields of a licence type, to choose from
    POST /page/challenge          a challenge as a QR code
    POST /page/sign-in /sign-out  a session, by the passcode
    GET  /assets/…                style, scripts, pictures

Pages are made on the server; htmx puts parts of them in their place, and a form works without scripts too. Whoever
opens the page may check. Records and challenges need a session (`chopmark_verifier.sessions`), and each form of a
session its token. Requests that a browser says come from another site are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from chopmark.challenge import Challenge
from chopmark.cli.plain_text import plain
from chopmark.errors import ChopmarkError, FormatError
from chopmark.identifiers import region_of
from chopmark.licence_type import LicenceType
from chopmark.qr_drawing import draw
from chopmark.reasons import Language
from chopmark_service import telemetry
from chopmark_service.problems import FAULT, answer_common
from chopmark_service.request_body import BodyReader, media_type
from chopmark_service.static_files import FOR_SECONDS, FileKind, StaticFiles
from fastapi import FastAPI, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import RedirectResponse

from chopmark_verifier.clients import INSPECTORS, STRANGERS
from chopmark_verifier.errors import NoCodeError, SignInError
from chopmark_verifier.licence_types import askable_types, find_type
from chopmark_verifier.page_texts import problem_text, texts
from chopmark_verifier.problems import answer_error
from chopmark_verifier.verdict_view import verdict_view
from chopmark_verifier.verify_requests import ChallengeRequest, VerifyOptions, VerifyRequest, check_options, unwrapped

if TYPE_CHECKING:
    from chopmark_verifier.service import VerifierService

SESSION_COOKIE: Final = "__Host-chopmark_session"
"""By its name a browser takes it from this host alone and over TLS alone: no neighbour of the host can set it."""
LOCAL_SESSION_COOKIE: Final = "chopmark_session"
"""For plain HTTP on the very machine, where a browser takes none of that name."""
LANGUAGE_COOKIE: Final = "chopmark_language"
TOKEN_HEADER: Final = "x-csrf-token"  # noqa: S105 - the name of a header
_PICTURES: Final = ("image/png", "image/jpeg")
_FORM: Final = "application/x-www-form-urlencoded"
_MAX_PARTS: Final = 1100
"""Fields of a form: a thousand of a licence type, and a few of ours."""
_YEAR: Final = 365 * 24 * 3600
_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}
_PACKAGE: Final = Path(str(files("chopmark_verifier")))
_ASSETS: Final = {
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "mark.svg": "image/svg+xml",
}
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HTML: Final = "text/html; charset=utf-8"

_TEMPLATES: Final = Environment(
    loader=FileSystemLoader(_PACKAGE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Visit:
    """One request to the page: its language, and its session.

    Args:
        request: as it came.
        service: that answers it.
    """

    def __init__(self, request: Request, service: VerifierService) -> None:
        self.request = request
        self.service = service
        self.language = choose_language(
            request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE),
            request.headers.get("accept-language", ""),
        )
        cookie = request.cookies.get(SESSION_COOKIE)
        if cookie is None and _is_loopback(f"http://{request.headers.get('host', '')}"):
            cookie = request.cookies.get(LOCAL_SESSION_COOKIE)
        sessions = service.sessions
        self.session = cookie if sessions is not None and sessions.is_open(cookie) else None

    def check_origin(self) -> None:
        """Refuse what a browser says another site makes it send.

        Raises:
            SignInError: it is not of this page.
        """
        if self.request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise SignInError("the request is not of this page", where="session")

    def check_token(self, token: str | None) -> None:
        """Refuse what acts for a session and does not carry its token.

        Raises:
            SignInError: it is not of this session.
        """
        self.check_origin()
        sessions = self.service.sessions
        if self.session is not None and sessions is not None and not sessions.is_token(self.session, token or ""):
            raise SignInError("the form is not of this session", where="session")

    async def read(self, reader: BodyReader) -> bytes:
        """The body: strangers together take their share of what is read at a time, and inspectors theirs.

        Raises: as `BodyReader.read`.
        """
        return await reader.read(self.request, STRANGERS if self.session is None else INSPECTORS)

    def html(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A template, with the words of the language."""
        found = _TEMPLATES.get_template(template)
        content = found.render(t=texts(self.language), language=self.language, **values)
        return Response(content.encode("utf-8"), status, _HEADERS, _HTML)

    def page(self, *, status: int = 200, **values: Any) -> Response:
        """The whole page, with a result or a problem where there is one."""
        service, current = self.service, self.service.desks.current
        home = current.store.bundle(current.store.home_region)
        desk = current.inspection_desk
        issuer = home.issuer(desk.inspector) if desk is not None and home is not None else None
        known = {
            "home": _localised(home.contents.name, self.language) if home is not None else current.store.home_region,
            "can_sign_in": service.sessions is not None,
            "is_signed_in": self.session is not None,
            "token": service.sessions.token(self.session) if service.sessions and self.session else "",
            "inspector": plain(_localised(issuer.name, self.language)) if issuer is not None else "",
            "types": [(each.vct, self._type_name(each)) for each in askable_types(current.store)]
            if desk is not None and self.session is not None
            else [],
            "view": None,
            "problem": None,
            "record": None,
            "sign_in_problem": None,
            "text": "",
        }
        return self.html("page.html", status=status, **{**known, **values})

    def _type_name(self, licence_type: LicenceType) -> str:
        """Its name, and the region's: several regions name their types alike."""
        region = region_of(licence_type.id)
        bundle = self.service.desks.current.store.bundle(region)
        of = _localised(bundle.contents.name, self.language) if bundle is not None else region
        name = _localised(licence_type.name, self.language)
        return plain(f"{name}（{of}）" if self.language == "zh" else f"{name} ({of})")

    @property
    def wants_part(self) -> bool:
        """Whether a script asks, which puts the answer into the page."""
        return self.request.headers.get("hx-request") == "true"

    def problem(self, error: ChopmarkError, *, template: str = "problem.html") -> Response:
        """What went wrong, in words; in the page where no script asks."""
        code, status = _problem_of(error)
        if code in {"storage", "fault"}:
            telemetry.get_logger("page").error("request_failed", problem=str(error), kind=type(error).__name__)
        said = problem_text(code, plain(str(error)), self.language)
        if self.wants_part:
            return self.html(template, status=status, problem=said)
        return self.page(status=status, problem=said)


def choose_language(asked: str | None, accepted: str) -> Language:
    """`zh` or `en`: as asked, else the first of those that a browser accepts; Chinese where it accepts neither."""
    if asked in {"zh", "en"}:
        return "zh" if asked == "zh" else "en"
    weighted = []
    for place, each in enumerate(accepted[:500].lower().split(",")):
        tag, _, parameters = each.strip().partition(";")
        language = tag.strip().partition("-")[0]
        if language in {"zh", "en"}:
            weighted.append((-_weight(parameters), place, language))
    return "en" if weighted and min(weighted)[2] == "en" else "zh"


def add_page(application: FastAPI, service_of: Callable[[Request], VerifierService]) -> None:
    """Add the routes of the page, which OpenAPI does not tell of."""
    assets = StaticFiles(_PACKAGE / "static", _kind_of)

    @application.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        visit = Visit(request, service_of(request))
        answer = visit.page()
        if request.query_params.get("lang") in {"zh", "en"}:
            answer.set_cookie(LANGUAGE_COOKIE, visit.language, max_age=_YEAR, samesite="strict", httponly=True)
        return answer

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
                return Response(status_code=int(HTTPStatus.NO_CONTENT), headers=_HEADERS)
            return visit.problem(error)

    @application.post("/page/fields", include_in_schema=False)
    async def fields(request: Request) -> Response:
        visit = Visit(request, service_of(request))
        try:
            form = await _read_form(visit)
            known = find_type(visit.service.desks.current.store, form.get("type", ""))
        except ChopmarkError as error:
            return visit.problem(error)
        listed = [(each.id, plain(_localised(each.label, visit.language))) for each in known.fields]
        return visit.html("fields.html", fields=listed)

    @application.post("/page/challenge", include_in_schema=False)
    async def challenge(request: Request) -> Response:
        visit = Visit(request, service_of(request))
        try:
            form = await _read_form(visit)
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
            form = await _read_form(visit)
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
        answer = RedirectResponse("/", int(HTTPStatus.SEE_OTHER), _HEADERS)
        is_local = _is_plain_loopback(request)
        name = LOCAL_SESSION_COOKIE if is_local else SESSION_COOKIE
        answer.set_cookie(name, session, httponly=True, samesite="strict", secure=not is_local)
        return answer

    @application.post("/page/sign-out", include_in_schema=False)
    async def sign_out(request: Request) -> Response:
        visit = Visit(request, service_of(request))
        try:
            await _read_form(visit)
        except ChopmarkError as error:
            return visit.problem(error)
        if visit.session is not None and visit.service.sessions is not None:
            visit.service.sessions.end(visit.session)
        answer = RedirectResponse("/", int(HTTPStatus.SEE_OTHER), _HEADERS)
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
        form = await _read_form(visit)
        options = _options(form)
        shown = unwrapped(form.get("text", ""))
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


async def _read_form(visit: Visit) -> dict[str, str]:
    """The fields of a form of this page, and of this session where there is one."""
    request = visit.request
    if media_type(request) != _FORM:
        raise FormatError("a form is expected", where="body")
    body = await visit.read(visit.service.small_bodies)
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_PARTS, encoding="utf-8", errors="strict"
        )
    except ValueError as error:
        raise FormatError("not a form", where="body") from error
    form = dict(pairs)
    visit.check_token(form.get("csrf"))
    return form


def _shown_challenge(visit: Visit, asked: Challenge) -> dict[str, Any]:
    known = find_type(visit.service.desks.current.store, asked.licence_type)
    return {
        "challenge": asked.text(),
        "svg": draw(asked.text()).svg(),
        "seconds": asked.expires - asked.issued_at,
        "type_name": plain(_localised(known.name, visit.language)),
        "purpose": asked.purpose,
    }


def _problem_of(error: ChopmarkError) -> tuple[str, int]:
    if isinstance(error, SignInError):
        return "session", int(HTTPStatus.FORBIDDEN)
    answer = answer_error(error) or answer_common(error)
    if answer is None:
        return FAULT.code, int(FAULT.status)
    return json.loads(bytes(answer.body))["code"], answer.status_code


def _is_plain_loopback(request: Request) -> bool:
    """Whether the browser speaks to this very machine without TLS, where some keep no cookie that wants it."""
    origin = request.headers.get("origin", "")
    return origin.startswith("http://") and _is_loopback(origin)


def _is_loopback(url: str) -> bool:
    try:
        return urlsplit(url).hostname in _LOOPBACK
    except ValueError:
        return False


def _kind_of(name: str) -> FileKind | None:
    media_type = _ASSETS.get(name)
    return FileKind(media_type, FOR_SECONDS, hashed=True, compressed=True) if media_type is not None else None


def _weight(parameters: str) -> float:
    value = parameters.strip().removeprefix("q=")
    return float(value) if value.replace(".", "", 1).isdecimal() and value.isascii() else 1.0


def _localised(text: Any, language: Language) -> str:
    found: str = text.zh_hans if language == "zh" else text.en
    return found
