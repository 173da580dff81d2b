"""A verifier's service within the process of the test: over the sample world, with clients of it, at a clock to set."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jsonschema
from chopmark import qr_text
from chopmark.keys import Ed25519Signer
from chopmark.presentation import present
from chopmark.trust_store import TrustStore
from chopmark_service.authentication import make_token
from chopmark_service.json_web_key import to_jwk
from chopmark_verifier.clients import FORMAT
from chopmark_verifier.desk_keeper import DeskOptions
from chopmark_verifier.service import VerifierService, audience_of, make_application
from chopmark_verifier.service_settings import VerifierSettings
from fastapi import FastAPI

from specs.vectors.sample_world import INSPECTOR
from tests.ledger.asgi import Answer, ask, running

CLIENT = Ed25519Signer(b"\x11" * 32)
OTHER = Ed25519Signer(b"\x12" * 32)
PURPOSE = "年度检查"
TRANSPORT = "CN-GD/11100000MB99991003002"


@dataclass
class Trust:
    """A trust store that a test replaces."""

    store: TrustStore
    is_started: bool = False
    is_closed: bool = False

    def start(self) -> None:
        self.is_started = True

    def close(self) -> None:
        self.is_closed = True


@dataclass
class Stage:
    """The service of a field (`tests.verifier.conftest`), and what its tests ask of it."""

    field: Any
    application: FastAPI
    trust: Trust
    settings: VerifierSettings
    checked: list[tuple[str, str, Answer]] = field(default_factory=list)
    tokens: int = 0

    @property
    def service(self) -> VerifierService:
        service: VerifierService = self.application.state.service
        return service

    def code(self, kind: str = "food", **options: Any) -> str:
        credential = self.field.credentials[kind]
        if kind != "food":
            credential = present(credential, self.field.world.holder, at=self.field.clock.now, **options)
        return qr_text.encode(credential.encode())

    def token(
        self, *, name: str = "gate 3", key: Any = CLIENT, audience: str = audience_of(INSPECTOR)
    ) -> dict[str, str]:
        self.tokens += 1
        now = self.field.clock.now + self.tokens / 1000
        return {"Authorization": f"Bearer {make_token(key, name=name, audience=audience, now=now)}"}

    async def ask(self, method: str, target: str, **options: Any) -> Answer:
        answer = await ask(self.application, method, target, **options)
        self.checked.append((method, target, answer))
        return answer

    async def post(
        self, body: Any, *, target: str = "/verify", known: bool = False, headers: dict[str, str] | None = None
    ) -> Answer:
        """Post JSON, or bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(self.token() if known else {}), **(headers or {})}
        return await self.ask("POST", target, headers=sent, body=data)

    async def picture(self, data: bytes, query: str = "", kind: str = "image/png", *, known: bool = False) -> Answer:
        sent = {"Content-Type": kind, **(self.token() if known else {})}
        return await self.ask("POST", f"/verify{query}", headers=sent, body=data)

    async def form(self, target: str, form: dict[str, str], **headers: str) -> Answer:
        """Post a form of the page."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return await self.ask("POST", target, headers=sent, body=urlencode(form).encode())

    def check_documented(self) -> None:
        """Whatever was answered to programs is what OpenAPI says."""
        paths = self.application.openapi()["paths"]
        for method, target, answer in self.checked:
            path = target.partition("?")[0]
            if path not in paths or method.lower() not in paths[path]:
                continue
            responses = paths[path][method.lower()]["responses"]
            assert str(answer.status) in responses, (target, answer.status, answer.body)
            media_type = answer.headers.get("content-type", "")
            documented = responses[str(answer.status)].get("content", {})
            assert media_type in documented or not documented, (target, media_type)
            if "json" in media_type:
                jsonschema.validate(answer.json(), documented[media_type]["schema"])


def write_clients(path: Path, **clients: Ed25519Signer) -> None:
    """Write a list of clients."""
    listed = [{"name": name.replace("_", " "), "keys": [to_jwk(key.public_key)]} for name, key in clients.items()]
    path.write_text(json.dumps({"format": FORMAT, "clients": listed}))


@asynccontextmanager
async def staged(out: Any, *, with_key: bool = True, **changes: Any) -> AsyncIterator[Stage]:
    """Open a service within an event loop; each answer is held against OpenAPI in the end."""
    folder: Path = out.folder
    write_clients(folder / "clients.json", gate_3=CLIENT)
    desk = {"key": folder / "inspector.key", "records": out.records, "clients": folder / "clients.json"}
    settings = VerifierSettings(
        **{"trust": out.trust, "image_processes": 1, "refresh": False, **(desk if with_key else {}), **changes}
    )
    trust = Trust(out.store)
    options = DeskOptions(out.world.inspector_signer, out.records) if with_key else None
    application = make_application(
        settings, open_trust=lambda _: trust, load_options=lambda _: options, clock=out.clock
    )
    async with running(application):
        stage = Stage(out, application, trust, settings)
        yield stage
        stage.check_documented()
    assert trust.is_started
    assert trust.is_closed
