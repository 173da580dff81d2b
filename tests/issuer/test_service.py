"""The routes of the registry's service, within the process of the test: what is asked, and what is answered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from chopmark_issuer import problems
from chopmark_issuer.service import openapi_document

from tests.issuer.conftest import DRIVER, FOOD, MARKETS, PERMIT, World
from tests.issuer.issuer_service import Service, food, serving


def test_a_licence_is_issued_read_and_found(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            answer = await service.post("/licences", food())
            assert answer.status == 201, answer.body
            number = answer.json()["number"]
            assert answer.headers["location"] == f"/licences/{number}"
            assert answer.json()["credentials"][0]["logged"] is False
            licence = (await service.get(answer.headers["location"])).json()
            assert licence["fields"] == {"business_name": "示例餐饮有限公司"}
            assert (licence["state"], licence["version"], licence["first_day"]) == ("valid", 1, "2026-11-01")
            for query in (f"number={number}", f"holder_name={quote('示例')}", "state=valid", f"type={quote(FOOD)}"):
                found = (await service.get(f"/licences?{query}")).json()
                assert [each["number"] for each in found["licences"]] == [number]
            assert (await service.get("/licences?state=revoked")).json() == {"licences": []}

    asyncio.run(run())
