"""Who asks a registry's service, and what they may: the one place where that is told.

A route names the right it needs, as a dependency; the client that it gets is one that signed this request and has it.
For which department and which licence types it acts is judged with each licence: `departments.check_authority` inside
the transaction that writes, `licence_reading` for what is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias
from urllib.parse import unquote_to_bytes

from chopmark.errors import FormatError
from chopmark_service.errors import ForbiddenError
from chopmark_service.telemetry import Application, Receive, Scope, Send
from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator

from chopmark_issuer.service.api_requests import without_nul
from chopmark_issuer.service.clients import DepartmentClient, Right

_NUMBER_SEGMENT = 2
"""Which part of `/licences/{number}/…` the number is, the empty one before the first slash counted."""


def allowed(right: Right | None) -> Callable[[Request], Awaitable[DepartmentClient]]:
    """The dependency that lets in clients that have a right; whoever is a client, where it is None."""

    async def client_with_right(request: Request) -> DepartmentClient:
        service = request.app.state.service
        client: DepartmentClient = service.authenticator.authenticate(request.headers.get("authorization"))
        if right is not None and right not in client.rights:
            raise ForbiddenError(f"client {client.name} has not the right to {right.value}")
        return client

    return client_with_right


AnyClient: TypeAlias = Annotated[DepartmentClient, Depends(allowed(None))]
Reader: TypeAlias = Annotated[DepartmentClient, Depends(allowed(Right.READ))]
Issuer: TypeAlias = Annotated[DepartmentClient, Depends(allowed(Right.ISSUE))]
Amender: TypeAlias = Annotated[DepartmentClient, Depends(allowed(Right.AMEND))]
StatusKeeper: TypeAlias = Annotated[DepartmentClient, Depends(allowed(Right.STATUS))]


class SlashesInNumbers:
    """Lets a licence number hold a slash, written `%2F`: the server undoes that before a route is chosen, so this puts
    it back."""

    def __init__(self, app: Application) -> None:
        self._application = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        raw: bytes = scope.get("raw_path") or b""
        if scope["type"] == "http" and raw.startswith(b"/licences/") and b"%2f" in raw.lower():
            segments = [unquote_to_bytes(each).decode("utf-8", "replace") for each in raw.split(b"/")]
            scope["path"] = "/".join(each.replace("/", "%2F") for each in segments)
        await self._application(scope, receive, send)


def licence_number(
    request: Request,
    number: Annotated[str, Path(description="The licence number, percent-encoded.", min_length=1, max_length=1000)],
) -> str:
    """The licence number in the path of a request, as it was before the percent-encoding."""
    raw: bytes | None = request.scope.get("raw_path")
    if raw is None:
        return number
    segments = raw.split(b"/")
    try:
        return without_nul(unquote_to_bytes(segments[_NUMBER_SEGMENT]).decode("utf-8"), where="number")
    except UnicodeDecodeError as error:
        raise FormatError("not UTF-8", where="number") from error


def _checked(text: str | None) -> str | None:
    return None if text is None else without_nul(text, where="query")


Number: TypeAlias = Annotated[str, Depends(licence_number)]
NumberQuery: TypeAlias = Annotated[str | None, Query(min_length=1, max_length=200), AfterValidator(_checked)]
TypeQuery: TypeAlias = Annotated[
    str | None,
    Query(alias="type", max_length=100, description="The licence type, where licences of several have that number."),
    AfterValidator(_checked),
]
TypeInPath: TypeAlias = Annotated[str, Path(max_length=100, examples=["CN-GD/…"]), AfterValidator(_checked)]
