"""What a service tells about itself: a log of JSON lines on standard error, and metrics for Prometheus.

    {"part": "http", "method": "POST", "route": "/entries", "status": 200, "seconds": 0.0042, "event": "request",
     "time": "2026-11-22T09:30:00.123456Z", "level": "info"}

No line holds an address, a token, a query or a body, and of a path only the route that it took. A service makes one
registry, wraps its application into `RequestTelemetry`, and adds metrics of its own.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client import generate_latest as exposition

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig

__all__ = [
    "METRICS_TYPE",
    "NOTHING_EXPORTED",
    "RequestTelemetry",
    "configure_logging",
    "exposition",
    "get_logger",
    "new_registry",
]

METRICS_TYPE = CONTENT_TYPE_LATEST
"""The Content-Type of `exposition(registry)`."""

NOTHING_EXPORTED: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""For `FastAPI(telemetry=…)`, which would else send paths, queries and bodies to whom the environment names."""

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_NO_ROUTE = "none"
_SERVER_FAULT = json.dumps({"type": "about:blank", "title": "Internal Server Error", "status": 500, "code": "fault"})

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def configure_logging(level: str = "info") -> None:
    """Let this process log JSON lines of at least this level to standard error; its libraries from `warning` on.

    Args:
        level: debug, info, warning or error.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.add_log_level,
    ]
    last: list[structlog.typing.Processor] = [
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),  # the one of now, which may be another later
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(_LEVELS[level], logging.WARNING))


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines say `"part": name`."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(part=name)
    return logger


def new_registry() -> CollectorRegistry:
    """A registry with the memory, time and files of this process; none is global, so that services can stand side by
    side in one process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


class RequestTelemetry:
    """ASGI middleware that logs and counts requests, and answers for the faults of the application within:

        application.add_middleware(RequestTelemetry, registry=registry, prefix="chopmark_log")

    An exception that leaves the application is logged with its traceback and answered by a problem document (RFC 9457)
    that tells nothing of it.

    Metrics: `<prefix>_http_requests_total{method, route, status}` and `<prefix>_http_request_seconds{route}`.

    Args:
        app: the application within; its routes are found in the scope, where FastAPI puts them.
        registry: where the metrics go.
        prefix: what their names begin with, such as `chopmark_log`.
        quiet: routes that are asked all the time; what they answer well is logged at `debug`.
    """

    def __init__(
        self,
        app: Application,
        *,
        registry: CollectorRegistry,
        prefix: str,
        quiet: frozenset[str] = frozenset({"/healthz", "/readyz", "/metrics"}),
    ) -> None:
        self._application = app
        self._quiet = quiet
        self._logger = get_logger("http")
        self._requests = Counter(
            f"{prefix}_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            f"{prefix}_http_request_seconds", "Time to answer.", ["route"], registry=registry, buckets=_BUCKETS
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._application(scope, receive, watched_send)
        except Exception:
            self._logger.exception("fault", method=_method(scope), route=_route(scope))
            if not status:
                await _answer_fault(watched_send)
        finally:
            seconds = time.perf_counter() - began
            method, route = _method(scope), _route(scope)
            self._requests.labels(method, route, str(status)).inc()
            self._seconds.labels(route).observe(seconds)
            log = self._logger.debug if route in self._quiet and status < 400 else self._logger.info
            log("request", method=method, route=route, status=status, seconds=round(seconds, 6))


def _method(scope: Scope) -> str:
    """The method, if it is one that any route takes: a stranger's word must not become a label."""
    method: str = scope["method"]
    return method if method in {"GET", "HEAD", "POST"} else "other"


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", _NO_ROUTE)


async def _answer_fault(send: Send) -> None:
    body = _SERVER_FAULT.encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
