"""A registry's service beside a log that is a process of its own, which is killed and comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chopmark.credential import Credential
from chopmark.licence_type import LocalisedText
from chopmark_issuer.publishing.region_log import LogService, client_name
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.settings import Settings
from chopmark_ledger.service.log_clients import add_client, make_client

from tests.issuer.conftest import FOOD, MARKETS, PASSPHRASE, type_definition
from tests.issuer.issuer_service import Service, food, serving
from tests.ledger.served_log import CHEAP, ServedLog

SAMPLE = LocalisedText("示例", "Sample")


@dataclass
class Beside:
    """What `serving` needs of a world: its region, whose log another process serves."""

    guangdong: Region
    log: ServedLog


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Beside]:
    log = ServedLog(tmp_path / "log")
    with closing(log):
        log.set_up()
        log.start()
        plan = RegionPlan(
            "CN-GD", SAMPLE, log_service=LogService(log.url, (log.keys.vkey, log.keys.pq_vkey), log.policy)
        )
        settings = Settings(tmp_path / "cn-gd", PASSPHRASE, CHEAP, log_patience=2)
        with Region.create(settings, plan) as region:
            region.add_department(MARKETS, SAMPLE)
            region.add_type(json.dumps(type_definition(FOOD)).encode())
            region.grant(MARKETS, FOOD)
            key = region.log_client_key
            assert key is not None
            add_client(log.data, make_client(client_name("CN-GD", key), [key], (), "CN-GD"), replace=True)
            yield Beside(region, log)


async def until_answered(service: Service, target: str, expected: int) -> Any:
    """Ask until it is answered so; fails at the deadline."""
    async with asyncio.timeout(60):
        while (answer := await service.get(target)).status != expected:
            await asyncio.sleep(0.05)
    return answer


def test_a_log_that_is_killed_and_comes_back_takes_every_licence_once(beside: Any) -> None:
    today = datetime.now(UTC).date()
    wanted = food(first_day=str(today - timedelta(days=2)), last_day=str(today + timedelta(days=90)))

    async def run() -> None:
        async with serving(beside) as service:
            service.running.start()
            first = (await service.post("/licences", wanted)).json()["number"]
            answer = await until_answered(service, f"/licences/{first}/credential", 200)
            assert Credential.parse(answer.body).tlog_proof is not None
            await until_answered(service, f"/licences/{first}/qr.svg", 200)
            port = urlsplit(beside.log.url).port
            beside.log.kill()
            numbers = [(await service.post("/licences", wanted)).json()["number"] for _ in range(5)]
            async with asyncio.timeout(60):
                while (await service.get("/readyz", client=None)).json()["problems"] == []:
                    await asyncio.sleep(0.05)
            assert (await service.get(f"/licences/{first}/credential")).status in {200, 503}
            beside.log.start("--port", str(port))
            for number in numbers:
                await until_answered(service, f"/licences/{number}/credential", 200)
            indexes = [
                (await service.get(f"/licences/{number}/status")).json()["credentials"][0]["logged"]
                for number in (first, *numbers)
            ]
            assert len(set(indexes)) == 6

    asyncio.run(run())
