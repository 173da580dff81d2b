"""The service of a registry within the process of a test, and clients of it that sign their requests."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jsonschema
from chopmark.keys import Ed25519Signer
from chopmark_issuer.region import Region
from chopmark_issuer.service.clients import Right, add_client, make_client
from chopmark_issuer.service.running_region import RunningRegion
from chopmark_issuer.service.service import make_application
from chopmark_issuer.service.service_settings import IssuerServiceSettings
from chopmark_service.authentication import make_token
from fastapi import FastAPI

from tests.issuer.conftest import FOOD, MARKETS, World
from tests.ledger.asgi import Answer, ask, running

ALL = tuple(Right)
DAY = "2026-11-22"


def food(**changes: Any) -> dict[str, Any]:
    """The body of a request for a food licence."""
    return {
        "type": FOOD,
        "fields": {"business_name": "示例餐饮有限公司"},
        "holders": [{"name": "示例餐饮有限公司"}],
        "first_day": "2026-11-01",
        "last_day": "2027-10-31",
        **changes,
    }


@dataclass
class Service:
    """The service of a region, and what was asked of it."""

    region: Region
    application: FastAPI
    now: list[float]
    signers: dict[str, Ed25519Signer] = field(default_factory=dict)
    keys: int = 0
    checked: list[tuple[str, str, Answer]] = field(default_factory=list)

    @property
    def running(self) -> RunningRegion:
        found: RunningRegion = self.application.state.service.running
        return found

    def add_client(
        self,
        name: str = "office",
        *,
        department: str = MARKETS,
        rights: tuple[Right, ...] = ALL,
        types: tuple[str, ...] = (),
    ) -> str:
        self.signers[name] = Ed25519Signer.generate()
        client = make_client(name, department, types=types, rights=rights, keys=[self.signers[name].public_key])
        with self.region.database.writing() as connection:
            add_client(connection, client, at=self.region.clock(), replace=True)
        self.application.state.service.clients._look_at = 0.0  # it looks twice a second
        return name

    def token(self, client: str) -> dict[str, str]:
        self.now[0] += 0.001
        token = make_token(self.signers[client], name=client, audience=self.region.region, now=self.now[0])
        return {"Authorization": f"Bearer {token}"}

    def new_key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"

    async def get(self, target: str, *, client: str | None = "office", method: str = "GET", **headers: str) -> Answer:
        given = {**({} if client is None else self.token(client)), **headers}
        return await self.ask(method, target, headers=given)

    async def post(
        self,
        target: str,
        body: Any = None,
        *,
        client: str | None = "office",
        key: str | None = "",
        media_type: str = "application/json",
    ) -> Answer:
        """Post; without a key with one of its own, with None without any."""
        data = body
        if not isinstance(data, bytes | list):
            data = json.dumps({} if data is None else data, ensure_ascii=False).encode()
        headers = {"Content-Type": media_type, **({} if client is None else self.token(client))}
        if key is not None:
            headers["Idempotency-Key"] = key or self.new_key()
        return await self.ask("POST", target, headers=headers, body=data)

    async def ask(self, method: str, target: str, **options: Any) -> Answer:
        answer = await ask(self.application, method, target, **options)
        self.checked.append((method, target, answer))
        return answer

    async def bulk(self, lines: list[bytes], *, key: str = "", client: str = "office", **options: Any) -> list[Any]:
        """Issue many; answers the lines of the answer."""
        body = b"".join(line + b"\n" for line in lines)
        answer = await self.post(
            "/licences/bulk", body, client=client, key=key, media_type="application/x-ndjson", **options
        )
        assert answer.status == 200, answer.body
        return [json.loads(line) for line in answer.body.splitlines()]

    def check_documented(self) -> None:
        """Whatever was answered is what OpenAPI says."""
        paths = self.application.openapi()["paths"]
        for method, target, answer in self.checked:
            path = _template(target.partition("?")[0], paths)
            if path is None or method.lower() not in paths[path]:
                assert answer.status in {404, 405} or method == "HEAD" or target == "/openapi.json", (
                    method,
                    target,
                    answer.status,
                )
                continue
            assert answer.status != 500, (target, answer.body)
            responses = paths[path][method.lower()]["responses"]
            assert str(answer.status) in responses, (target, answer.status, answer.body)
            media_type = answer.headers.get("content-type", "")
            documented = responses[str(answer.status)].get("content", {})
            assert media_type in documented or not documented, (target, media_type)
            if media_type.endswith("json") and "ndjson" not in media_type:
                jsonschema.validate(answer.json(), documented[media_type]["schema"])


def _template(path: str, paths: dict[str, Any]) -> str | None:
    if path in paths:
        return path
    parts = path.split("/")
    if parts[1] == "types":
        return "/types/{type_id}"
    for each in paths:
        named = each.split("/")
        if len(named) == len(parts) and all(
            name.startswith("{") or name == part for name, part in zip(named, parts, strict=True)
        ):
            return str(each)
    return None


@asynccontextmanager
async def serving(
    world: World, *, make: Callable[[Region], RunningRegion] = RunningRegion, **settings: Any
) -> AsyncIterator[Service]:
    """The service of the region CN-GD of a world, whose threads neither send nor publish unless a test starts them."""
    now = [time.time() + 1]
    region = world.guangdong
    told = IssuerServiceSettings(data=region.settings.data, **settings)
    application = make_application(told, open_region=lambda _: make(region), clock=lambda: now[0])
    async with running(application):
        service = Service(region, application, now)
        now[0] += 1
        service.add_client()
        yield service
        service.check_documented()
