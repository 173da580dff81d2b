"""The service of a log within the process of a test, and clients of it; each answer is held against OpenAPI."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
from chopmark.keys import Ed25519Signer
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.client import LocalWitness, LogSettings
from chopmark_ledger.errors import WitnessUnreachableError
from chopmark_ledger.service.log_clients import add_client, begin_clients, make_client
from chopmark_ledger.service.log_service import make_application
from chopmark_ledger.service.running_log import RunningLog, run_log
from chopmark_ledger.service.service_settings import LogServiceSettings
from chopmark_ledger.witness.witness import WitnessAnswer
from chopmark_service.authentication import make_token
from fastapi import FastAPI

from tests.ledger.asgi import Answer, ask, running

if TYPE_CHECKING:
    from tests.ledger.conftest import World

ORIGIN = "cn-gd.example/log/2026"
ISSUER = "CN-GD/11440000MB2D0P8Q3X"
FOREIGN = "CN-SH/11310000MB2D0P8Q3X"
REGION = Ed25519Signer(b"\x01" * 32)
DEPARTMENT = Ed25519Signer(b"\x02" * 32)
ADDRESS = "http://192.0.2.7:8491"
KEYS = {"region": REGION, "department": DEPARTMENT}


@dataclass
class Service:
    """The service of a world's log, and clients of it."""

    world: World
    application: FastAPI
    log: RunningLog
    now: list[float]
    tokens: int = 0
    checked: list[tuple[str, str, Answer]] = field(default_factory=list)

    def token(self, client: str = "region", **changes: Any) -> dict[str, str]:
        self.now[0] += 0.001
        self.tokens += 1
        signer = changes.pop("key", KEYS.get(client, REGION))
        audience = changes.pop("audience", ORIGIN)
        return {"Authorization": f"Bearer {make_token(signer, name=client, audience=audience, now=self.now[0])}"}

    async def ask(self, method: str, target: str, **options: Any) -> Answer:
        answer = await ask(self.application, method, target, **options)
        self.checked.append((method, target, answer))
        return answer

    async def post(
        self,
        body: Any,
        *,
        client: str = "region",
        target: str = "/entries",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Post entries: what is no bytes or parts of them is written as JSON."""
        data = body if isinstance(body, bytes | list) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self.token(client), **(headers or {})}
        return await self.ask("POST", target, headers=headers, body=data)

    def check_documented(self) -> None:
        """Whatever was answered is what OpenAPI says."""
        paths = self.application.openapi()["paths"]
        for method, target, answer in self.checked:
            path = target.partition("?")[0]
            path = "/tile/{path}" if path.startswith("/tile/") else path
            if path not in paths or method.lower() not in paths[path]:
                assert answer.status in {404, 405} or method == "HEAD" or path == "/openapi.json"
                continue
            responses = paths[path][method.lower()]["responses"]
            assert str(answer.status) in responses, (target, answer.status)
            media_type = answer.headers.get("content-type", "")
            documented = responses[str(answer.status)].get("content", {})
            assert media_type in documented or not documented, (target, media_type)
            if "json" in media_type:
                jsonschema.validate(answer.json(), documented[media_type]["schema"])


class Switched:
    """A witness that nobody reaches until it is switched on."""

    def __init__(self, inner: LocalWitness, is_on: threading.Event) -> None:
        self._inner, self._is_on = inner, is_on
        self.name, self.vkeys = inner.name, inner.vkeys

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        if not self._is_on.is_set():
            raise WitnessUnreachableError(f"no route to {ADDRESS}", where=self.name)
        return self._inner.add_checkpoint(body)


async def until(condition: Callable[[], Any]) -> None:
    """Poll until it holds; fails at the deadline."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        await asyncio.sleep(0.002)


def batch(number: Any, entries: Iterable[bytes]) -> dict[str, Any]:
    return {"batch": number, "entries": [base64.b64encode(entry).decode() for entry in entries]}


def serving_of(make_world: Callable[..., World]) -> Callable[..., Any]:
    """Opens services within an event loop; each answer is held against OpenAPI in the end."""

    @asynccontextmanager
    async def serving(
        *,
        witnesses: list[LocalWitness] | None = None,
        settings: LogSettings | None = None,
        world: World | None = None,
        are_reached: threading.Event | None = None,
        **changes: Any,
    ) -> AsyncIterator[Service]:
        if world is None:
            world = make_world() if settings is None else make_world(settings)
            begin_clients(world.log_folder)
            add_client(world.log_folder, make_client("region", [REGION.public_key], [], "CN-GD"))
            add_client(world.log_folder, make_client("department", [DEPARTMENT.public_key], [ISSUER], None))
        opened: list[RunningLog] = []

        def open_log(_: LogServiceSettings) -> RunningLog:
            asked: list[Any] = list(world.witnesses() if witnesses is None else witnesses)
            if are_reached is not None:
                asked = [Switched(each, are_reached) for each in asked]
            policy = TlogPolicy.parse(world.policy)
            opened.append(run_log(world.open_log(), asked, policy, publication_interval=0.01))
            return opened[0]

        nowhere = Path("nowhere")
        told = {"data": world.log_folder, "policy": nowhere, "passphrase_file": nowhere, **changes}
        now = [float(world.clock.now)]
        application = make_application(LogServiceSettings(**told), open_log=open_log, clock=lambda: now[0])
        async with running(application):
            service = Service(world, application, opened[0], now)
            yield service
            service.check_documented()

    return serving
