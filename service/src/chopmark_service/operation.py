"""The routes that each service has for whoever runs it, and for clients that try their token.

GET  /healthz          {"status":"ok"}
GET  /readyz           {"ready":false,"reasons":["stopping"]}, 503 while it is not ready
GET  /metrics          for Prometheus
POST /authentication   204 if the token is that of a client; nothing else happens
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from prometheus_client import CollectorRegistry

from chopmark_service import telemetry
from chopmark_service.json_answer import json_answer
from chopmark_service.open_api import SECURED, answer, list_schema, object_schema, route
from chopmark_service.problems import Problem

_HEALTH = route(answers={200: answer("It answers.", object_schema({"status": {"const": "ok"}}))})


@dataclass(frozen=True, slots=True)
class ReadinessText:
    """What OpenAPI says of `/readyz`.

    Args:
        asks: what it tells.
        ready: what 200 means.
        not_ready: what 503 means.
        reasons: the words for what keeps the service from its work.
        problems: the words for what does not, and yet is told; None where nothing is.
    """

    asks: str
    ready: str
    not_ready: str
    reasons: Sequence[str]
    problems: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a service takes requests now, in the words of its `ReadinessText`."""

    reasons: Sequence[str]
    problems: Sequence[str] | None = None


def add_operation(
    application: FastAPI,
    registry: CollectorRegistry,
    *,
    readiness: Callable[[Request], Readiness],
    text: ReadinessText,
    metrics_problems: Sequence[Problem] = (),
) -> None:
    """Add `/healthz`, `/readyz` and `/metrics`.

    Args:
        application: the service.
        registry: its metrics.
        readiness: answers whether it is ready.
        text: what is said of that.
        metrics_problems: what reading the metrics may end in.
    """

    @application.get("/healthz", **_HEALTH)
    async def healthz() -> Response:
        """Whether the service answers at all."""
        return json_answer({"status": "ok"})

    @application.get("/readyz", description=text.asks, **_document(text))
    async def readyz(request: Request) -> Response:
        found = readiness(request)
        told: dict[str, Any] = {"ready": not found.reasons, "reasons": list(found.reasons)}
        if found.problems is not None:
            told["problems"] = list(found.problems)
        return json_answer(told, 503 if found.reasons else 200)

    document = route(*metrics_problems, answers={200: answer("Metrics.", {"type": "string"}, telemetry.METRICS_TYPE)})
    add_metrics(application, registry, document)


def add_metrics(application: FastAPI, registry: CollectorRegistry, document: dict[str, Any] | None = None) -> None:
    """Add `/metrics` alone, for a service whose other answers are not JSON."""

    @application.get("/metrics", **(document or {}))
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        # In a thread: what reads them may wait for a disk, and they are many.
        data = await asyncio.get_running_loop().run_in_executor(None, telemetry.exposition, registry)
        return Response(data, media_type=telemetry.METRICS_TYPE)


def add_token_check(
    application: FastAPI, authenticated: Callable[..., Awaitable[Any]], problems: Sequence[Problem]
) -> None:
    """Add `/authentication`.

    Args:
        application: the service.
        authenticated: the dependency that lets in its clients.
        problems: what it refuses others with.
    """
    document = route(
        *problems, answers={204: {"description": "The token is that of a client, and used up now."}}, extra=SECURED
    )

    @application.post("/authentication", dependencies=[Depends(authenticated)], **document)
    async def check_authentication() -> Response:
        """Answer 204 if the token is that of a client."""
        return Response(status_code=204)


def _document(text: ReadinessText) -> dict[str, Any]:
    def words(known: Sequence[str]) -> dict[str, Any]:
        return list_schema({"type": "string", "enum": list(known)})

    members = {"ready": {"type": "boolean"}, "reasons": words(text.reasons)}
    if text.problems is not None:
        members["problems"] = words(text.problems)
    schema = object_schema(members)
    return route(answers={200: answer(text.ready, schema), 503: answer(text.not_ready, schema)})
