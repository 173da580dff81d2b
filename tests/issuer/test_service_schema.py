"""The registry's service asked at random, by requests that schemathesis makes from its own OpenAPI document."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from tests.issuer.conftest import FOOD, World
from tests.issuer.issuer_service import Service, food, serving


@schemathesis.serializer("application/x-ndjson")
def serialize_lines(_: Any, value: Any) -> bytes:
    """Lines are made as one text."""
    return _encoded(value)


EXAMPLES = 8
"""Requests of each operation that fit its description, and as many that do not."""


def test_whatever_the_document_allows_or_not_is_answered_as_the_document_says(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            numbers = [(await service.post("/licences", food())).json()["number"] for _ in range(3)]
            service.region.publish()
            loop = asyncio.get_running_loop()
            asked: set[tuple[str, str]] = set()

            def ask(case: Any) -> None:
                asked.add((case.method.lower(), case.operation.path))
                asyncio.run_coroutine_threadsafe(send(service, case, numbers), loop).result(30)

            await loop.run_in_executor(None, lambda: ask_all(service, ask))
            paths = service.application.openapi()["paths"]
            assert asked == {(method, path) for path, methods in paths.items() for method in methods}

    asyncio.run(run())


def ask_all(service: Service, ask: Any) -> None:
    """Ask each operation in turn, by requests that fit its description and by some that do not."""
    schema = schemathesis.openapi.from_dict(service.application.openapi())
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr] # a document that is none fails
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            strategy = operation.as_strategy(generation_mode=mode)

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=strategy)
            def examples(case: Any) -> None:
                ask(case)

            with suppress(Unsatisfiable):  # what has no parameters can not be asked wrongly
                examples()


async def send(service: Service, case: Any, numbers: list[str]) -> None:
    """Send a request as schemathesis made it, from a client that may; every other one about a licence that is there."""
    values = {name: str(value) for name, value in (case.path_parameters or {}).items()}
    if "number" in values and len(service.checked) % 2:
        values["number"] = numbers[len(service.checked) % len(numbers)]
    if "type_id" in values and len(service.checked) % 2:
        values["type_id"] = FOOD
    path = case.operation.path
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", quote(value, safe="", errors="replace"))
    query = {name: value for name, value in (case.query or {}).items() if value is not None}
    target = f"{path}?{urlencode(query, doseq=True, errors='replace')}" if query else path
    headers = {
        str(name): str(value).encode("ascii", "replace").decode()
        for name, value in (case.headers or {}).items()
        if str(name).isascii() and "authorization" not in str(name).lower()
    }
    media_type = case.media_type
    body = case.body
    if media_type is not None:
        headers.setdefault("Content-Type", media_type)
    await service.ask(case.method.upper(), target, headers={**headers, **service.token("office")}, body=_encoded(body))


def _encoded(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode("utf-8", "replace")
    if type(body).__name__ == "NotSet":
        return b""
    return json.dumps(body).encode("utf-8", "replace")
