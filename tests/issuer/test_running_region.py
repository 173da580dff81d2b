"""A registry at work beside a log that answers late, twice, or not at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from chopmark.status import StatusListToken
from chopmark_issuer.errors import ConflictError
from chopmark_issuer.region import Region
from chopmark_issuer.service import running_region
from chopmark_issuer.service.repeated_work import LoopStatus
from chopmark_issuer.service.running_region import RunningRegion, open_running_region
from chopmark_issuer.service.service_lock import ServiceLock
from chopmark_issuer.service.service_settings import IssuerServiceSettings
from chopmark_ledger.client import LocalLedger, RemoteLedger
from chopmark_ledger.errors import LogUnreachableError

from tests.issuer.conftest import PASSPHRASE, World
from tests.issuer.issuer_service import food, serving
from tests.ledger.served_log import until


class Away:
    """A log that is away, loses its answers, or answers late, as a test wants; what it took it keeps."""

    def __init__(self, ledger: LocalLedger | RemoteLedger, answers: Callable[[], str]) -> None:
        self._ledger = ledger
        self._answers = answers

    def submit(self, client: Any, number: int, entries: Sequence[bytes]) -> list[int]:
        how = self._answers()
        if how == "not at all":
            raise LogUnreachableError("nobody listens there", where="http://192.0.2.1")
        indexes = self._ledger.submit(client, number, entries)
        if how == "twice":
            assert self._ledger.submit(client, number, entries) == indexes
        if how == "lost":
            raise LogUnreachableError("the answer did not come in time", where="http://192.0.2.1")
        return indexes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_region, "_SENT_APART", 0)
    monkeypatch.setattr(running_region, "_PUBLISHED_APART", 0)
    monkeypatch.setattr(running_region, "_SEND_EVERY", 0.05)


def logged(region: Region, number: str) -> int | None:
    return region.registry.credentials(number)[0].log_index


def test_every_licence_gets_the_one_index_that_the_log_gave_it_however_the_log_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hows = ["not at all", "lost", "twice", "lost", "lost", "not at all", "well"]
    make = Region.new_ledger
    monkeypatch.setattr(
        Region, "new_ledger", lambda region, **_: Away(make(region), lambda: hows.pop(0) if hows else "well")
    )

    async def run() -> None:
        async with serving(world) as service:
            size = service.region.ledger.size  # type: ignore[union-attr]
            numbers = [(await service.post("/licences", food())).json()["number"] for _ in range(5)]
            service.running.outbox.start()
            numbers += [(await service.post("/licences", food())).json()["number"] for _ in range(5)]
            until(lambda: all(logged(service.region, number) is not None for number in numbers))
            indexes = {logged(service.region, number) for number in numbers}
            assert len(indexes) == 10
            ledger = service.region.ledger
            assert isinstance(ledger, LocalLedger)
            entries = ledger.entries(0, ledger.size)
            for number in numbers:
                (stored,) = service.region.registry.credentials(number)
                assert stored.log_index is not None
                assert stored.credential.digest in entries[stored.log_index]
            assert len(set(entries)) == len(entries)
            assert ledger.size >= size + 10

    asyncio.run(run())


def test_a_log_that_is_away_keeps_nobody_from_issuing_and_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = ["not at all"]
    make = Region.new_ledger
    monkeypatch.setattr(Region, "new_ledger", lambda region, **_: Away(make(region), lambda: how[0]))

    async def run() -> None:
        async with serving(world) as service:
            service.running.outbox.start()
            number = (await service.post("/licences", food())).json()["number"]
            until(lambda: service.running.outbox.status().problem is not None)
            ready = await service.get("/readyz", client=None)
            assert (ready.status, ready.json()["problems"]) == (200, ["log_away"])
            metrics = (await service.get("/metrics", client=None)).body.decode()
            assert 'chopmark_issuer_work_problem{work="outbox"} 1.0' in metrics
            assert (await service.post("/licences", food())).status == 201
            assert (await service.get(f"/licences/{number}/credential")).json()["state"] == "waits_for_log"
            how[0] = "well"
            until(lambda: logged(service.region, number) is not None)
            until(lambda: service.running.outbox.status().problem is None)
            assert (await service.get("/readyz", client=None)).json()["problems"] == []

    asyncio.run(run())


def test_a_revocation_is_in_the_published_status_list_within_seconds(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            service.running.outbox.start()
            service.running.publishing.start()
            number = (await service.post("/licences", food())).json()["number"]
            await service.post(f"/licences/{number}/revoke")
            (credential,) = (await service.get(f"/licences/{number}/status")).json()["credentials"]
            path = service.region.settings.public / "status" / "1"

            def shows() -> bool:
                return bool(
                    path.exists()
                    and StatusListToken.parse(path.read_bytes()).status_list.get(credential["status_list"]["index"])
                )

            until(shows)

    asyncio.run(run())


def test_credentials_that_wait_for_a_log_keep_nobody_else_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = threading.Event()

    async def run() -> None:
        async with serving(world) as service:
            number = (await service.post("/licences", food())).json()["number"]
            service.region.publish()

            def slow(*_: Any, **__: Any) -> Any:
                going_on.wait(20)
                raise LogUnreachableError("the answer did not come in time", where="http://192.0.2.1")

            monkeypatch.setattr(Region, "with_proofs", slow)
            target = f"/licences/{number}/credential"
            waiting = [asyncio.ensure_future(service.get(target)) for _ in range(64)]
            while service.running.proofs._waiting < 64:
                await asyncio.sleep(0)
            assert (await asyncio.wait_for(service.get("/types"), 10)).status == 200
            refused = await service.get(target)
            assert (refused.status, refused.json()["code"]) == (503, "log_unavailable")
            going_on.set()
            assert {answer.status for answer in await asyncio.gather(*waiting)} == {503}

            going_on.clear()
            monkeypatch.setattr(service.running.outbox, "status", lambda: LoopStatus(None, "LogUnreachableError", 1.0))
            first = asyncio.ensure_future(service.get(target))
            while service.running.proofs._waiting == 0:
                await asyncio.sleep(0)
            assert (await service.get(target)).status == 503
            assert not first.done()
            going_on.set()
            assert (await first).status == 503

    asyncio.run(run())


def test_what_the_log_takes_late_is_asked_for_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answering = threading.Event()

    def how() -> str:
        answering.wait(20)
        return "well"

    make = Region.new_ledger
    monkeypatch.setattr(Region, "new_ledger", lambda region, **_: Away(make(region), how))

    async def run() -> None:
        async with serving(world) as service:
            service.running.outbox.start()
            numbers = [(await service.post("/licences", food())).json()["number"] for _ in range(3)]
            for number in numbers:
                status = (await service.get(f"/licences/{number}/status")).json()
                assert status["credentials"][0]["logged"] is False
            answering.set()
            until(lambda: all(logged(service.region, number) is not None for number in numbers))

    asyncio.run(run())


def test_one_service_runs_on_a_registry(world: World, tmp_path: Path) -> None:
    data = world.guangdong.settings.data
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(PASSPHRASE + b"\n")
    settings = IssuerServiceSettings(data=data, passphrase_file=passphrase)
    lock = ServiceLock(data)
    with pytest.raises(ConflictError, match="runs on this registry already"):
        open_running_region(settings)
    lock.release()
    lock.release()
    running: RunningRegion = open_running_region(settings)
    with pytest.raises(ConflictError, match="runs on this registry already"):
        ServiceLock(data)
    running.close()
    ServiceLock(data).release()
