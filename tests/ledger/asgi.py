"""Calls an ASGI application within the test's own process, one request at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

Scope = MutableMapping[str, Any]


@dataclass
class Answer:
    """What was answered."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    application: Callable[..., Awaitable[None]],
    method: str,
    target: str,
    *,
    headers: dict[str, str] | None = None,
    body: bytes | Iterable[bytes | None] = b"",
) -> Answer:
    """Send a request; a body of several parts arrives part by part, and after None nothing comes any more."""
    path, _, query = target.partition("?")
    parts: list[bytes | None] = [body] if isinstance(body, bytes) else list(body)
    answer = Answer()
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path, errors="replace"),  # as ASGI has it: undone before a route is chosen
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": ("192.0.2.1", 40000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }

    async def receive() -> MutableMapping[str, Any]:
        part = parts.pop(0) if parts else None
        if part is None:
            await asyncio.Event().wait()  # the client waits for its answer
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")

    await application(scope, receive, send)
    return answer


@asynccontextmanager
async def running(application: Callable[..., Awaitable[None]]) -> AsyncIterator[None]:
    """Let the lifespan of an application begin and end.

    Raises:
        RuntimeError: it does not begin.
    """
    told: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.3"}, "state": {}}
    life = asyncio.ensure_future(application(scope, told.get, said.put))
    await told.put({"type": "lifespan.startup"})
    if (await said.get())["type"] != "lifespan.startup.complete":
        await asyncio.wait({life})
        raise RuntimeError("the application does not start") from life.exception()
    try:
        yield
    finally:
        await told.put({"type": "lifespan.shutdown"})
        await said.get()
        await life
