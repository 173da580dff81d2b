"""One request to the page of the verifier: in which language, of which session, and what it is answered in words.

Whoever opens the page may check. Records and challenges need a session (`chopmark_verifier.sessions`), and each form of
a session its token. Requests that a browser says come from another site are refused.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from chopmark.cli.plain_text import plain
from chopmark.errors import ChopmarkError, FormatError
from chopmark.identifiers import region_of
from chopmark.licence_type import LicenceType
from chopmark.reasons import Language
from chopmark_service import telemetry
from chopmark_service.problems import FAULT, answer_common
from chopmark_service.request_body import BodyReader, media_type
from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from chopmark_verifier.clients import INSPECTORS, STRANGERS
from chopmark_verifier.errors import NoTextError, SignInError
from chopmark_verifier.licence_types import askable_types
from chopmark_verifier.page_texts import problem_text, texts
from chopmark_verifier.problems import answer_error

if TYPE_CHECKING:
    from chopmark_verifier.service import VerifierService

SESSION_COOKIE: Final = "__Host-chopmark_session"
"""By its name a browser takes it from this host alone and over TLS alone: no neighbour of the host can set it."""
LOCAL_SESSION_COOKIE: Final = "chopmark_session"
"""For plain HTTP on the very machine, where a browser takes none of that name."""
LANGUAGE_COOKIE: Final = "chopmark_language"
_FORM: Final = "application/x-www-form-urlencoded"
_MAX_PARTS: Final = 1100
"""Fields of a form: a thousand of a licence type, and a few of ours."""
_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}
PACKAGE: Final = Path(str(files("chopmark_verifier")))
HEADERS: Final = {
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
    loader=FileSystemLoader(PACKAGE / "templates"),
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
        if cookie is None and is_loopback(f"http://{request.headers.get('host', '')}"):
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

    async def read_form(self) -> dict[str, str]:
        """The fields of a form of this page, and of this session where there is one.

        Raises:
            FormatError: it is no form.
            SignInError: it is of another page or session.
        """
        if media_type(self.request) != _FORM:
            raise FormatError("a form is expected", where="body")
        body = await self.read(self.service.small_bodies)
        try:
            pairs = parse_qsl(
                body.decode("ascii"),
                keep_blank_values=True,
                max_num_fields=_MAX_PARTS,
                encoding="utf-8",
                errors="strict",
            )
        except ValueError as error:
            raise FormatError("not a form", where="body") from error
        form = dict(pairs)
        self.check_token(form.get("csrf"))
        return form

    def html(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A template, with the words of the language."""
        found = _TEMPLATES.get_template(template)
        content = found.render(t=texts(self.language), language=self.language, **values)
        return Response(content.encode("utf-8"), status, HEADERS, _HTML)

    def page(self, *, status: int = 200, **values: Any) -> Response:
        """The whole page, with a result or a problem where there is one."""
        service, current = self.service, self.service.desks.current
        home = current.store.bundle(current.store.home_region)
        desk = current.inspection_desk
        issuer = home.issuer(desk.inspector) if desk is not None and home is not None else None
        known = {
            "home": localised(home.contents.name, self.language) if home is not None else current.store.home_region,
            "can_sign_in": service.sessions is not None,
            "is_signed_in": self.session is not None,
            "token": service.sessions.token(self.session) if service.sessions and self.session else "",
            "inspector": plain(localised(issuer.name, self.language)) if issuer is not None else "",
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
        of = localised(bundle.contents.name, self.language) if bundle is not None else region
        name = localised(licence_type.name, self.language)
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


def localised(text: Any, language: Language) -> str:
    """A text of both languages, in one."""
    found: str = text.zh_hans if language == "zh" else text.en
    return found


def is_loopback(url: str) -> bool:
    """Whether a URL is of this very machine."""
    try:
        return urlsplit(url).hostname in _LOOPBACK
    except ValueError:
        return False


def _problem_of(error: ChopmarkError) -> tuple[str, int]:
    if isinstance(error, SignInError):
        return "session", int(HTTPStatus.FORBIDDEN)
    if isinstance(error, NoTextError):
        return "no_text", int(HTTPStatus.UNPROCESSABLE_ENTITY)
    answer = answer_error(error) or answer_common(error)
    if answer is None:
        return FAULT.code, int(FAULT.status)
    return json.loads(bytes(answer.body))["code"], answer.status_code


def _weight(parameters: str) -> float:
    value = parameters.strip().removeprefix("q=")
    return float(value) if value.replace(".", "", 1).isdecimal() and value.isascii() else 1.0
