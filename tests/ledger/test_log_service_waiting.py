"""What waits for the witnesses of a log that is served: requests with wait=true, landmarks, its operator."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.merkle import leaf_hash
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from chopmark_ledger.service import log_service
from chopmark_ledger.service.entry_requests import EntriesRequest
from chopmark_service import telemetry

if TYPE_CHECKING:
    from tests.ledger.conftest import World
from tests.ledger.log_service_in_process import ADDRESS, batch, serving_of, until


@pytest.fixture
def serve(make_world: Callable[..., World]) -> Callable[..., Any]:
    return serving_of(make_world)


def test_waiting_brings_a_proof_for_each_entry_that_was_taken(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            entries = service.world.entries(2)
            body = batch(1, entries)
            body["entries"].insert(1, "!")
            answer = await service.post(body, target="/entries?wait=true")
            assert answer.status == 200
            proofs = answer.json()["proofs"]
            assert proofs[1] is None
            for entry, text, index in zip(entries, proofs[::2], answer.json()["indexes"][::2], strict=True):
                proof = TlogProof.parse(text)
                assert proof.index == index
                proof.verify(leaf_hash(entry), TlogPolicy.parse(service.world.policy))
            assert (await service.post(body, target="/entries?wait=false")).json().get("proofs") is None
            assert (await service.post(body, target="/entries?wait=1")).json()["code"] == "malformed"

    asyncio.run(scenario())


def test_without_a_quorum_waiting_ends_with_202_and_the_status_says_why(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve(witnesses=[], wait_timeout=0.2) as service:
            answer = await service.post(batch(1, service.world.entries(2)), target="/entries?wait=true")
            assert answer.status == 202
            assert len(answer.json()["indexes"]) == 2
            assert "proofs" not in answer.json()
            status = (await service.ask("GET", "/status")).json()
            assert (status["committed"], status["published"], status["problem"]) == (3, 0, "no_quorum")
            assert status["since"] == service.world.clock.now
            metrics = (await service.ask("GET", "/metrics")).body.decode()
            assert "chopmark_log_problem 1.0\n" in metrics
            assert "chopmark_log_unpublished_entries 3.0\n" in metrics
            assert (await service.ask("GET", "/readyz")).status == 200, "commits go on"
            landmark = await service.ask("POST", "/landmark", headers=service.token())
            assert (landmark.status, landmark.json()["code"]) == (503, "not_published")

    asyncio.run(scenario())


def test_who_waits_holds_no_entries_any_more(serve: Callable[..., Any]) -> None:
    gc.collect()  # what other tests of this process left in cycles counts as held until then

    async def scenario() -> None:
        async with serve(witnesses=[]) as service:
            body = batch(1, service.world.entries(3))
            body["entries"].append("!")
            waiting = asyncio.ensure_future(service.post(body, target="/entries?wait=true"))
            await until(lambda: service.log.log.size == 4)

            def requests() -> list[EntriesRequest]:
                return [each for each in gc.get_objects() if isinstance(each, EntriesRequest)]

            await until(lambda: requests() and not any(each.entries for each in requests()))
            service.application.state.service.stopping.set()
            answer = await waiting
            assert answer.status == 202
            assert answer.json()["refused"] == [{"position": 3, "reason": "not standard base64"}]

    asyncio.run(scenario())


def test_only_so_many_may_wait_and_one_client_keeps_nobody_else_from_it(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_service, "_WAITING_ENTRIES", 9)

    async def scenario() -> None:
        async with serve(witnesses=[]) as service:
            entries, target = service.world.entries, "/entries?wait=true"
            waiting = [asyncio.ensure_future(service.post(batch(1, entries(3)), client="department", target=target))]
            await until(lambda: service.log.log.size == 4)
            body = batch(2, entries(1))
            refused = await service.post(body, client="department", target=target)
            assert (refused.status, refused.json()["code"]) == (429, "back_pressure")
            assert int(refused.headers["retry-after"]) >= 1
            assert service.log.log.size == 4, "nothing of it was taken"
            assert (await service.post(body, client="department")).status == 200
            waiting.append(asyncio.ensure_future(service.post(batch(1, entries(3)), target=target)))
            await until(lambda: service.log.log.size == 8)
            service.application.state.service.stopping.set()
            assert [answer.status for answer in await asyncio.gather(*waiting)] == [202, 202]
            assert (await service.post(body, client="department", target=target)).status == 202, "there is room again"

    asyncio.run(scenario())


def test_strangers_are_told_in_a_word_what_is_wrong_with_a_witness_and_the_operator_in_a_sentence(
    serve: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.configure_logging("info")
    are_reached = threading.Event()

    async def scenario() -> None:
        async with serve(are_reached=are_reached) as service:
            status: Any = {}
            deadline = time.monotonic() + 20
            while status.get("problem") is None or not events("witness"):
                assert time.monotonic() < deadline
                answer = await service.ask("GET", "/status")
                status = answer.json()
                await asyncio.sleep(0.01)
            assert [each["problem"] for each in status["witnesses"]] == ["unreachable"] * 3
            assert ADDRESS.encode() not in answer.body
            are_reached.set()
            while len(events("witness_over")) < 3:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)

    lines: list[dict[str, Any]] = []

    def events(name: str) -> list[dict[str, Any]]:
        lines.extend(map(json.loads, capsys.readouterr().err.splitlines()))
        return [line for line in lines if line["event"] == name]

    asyncio.run(scenario())
    told = events("witness")
    assert {line["trouble"] for line in told} == {"unreachable"}
    assert all(ADDRESS in line["problem"] for line in told)
    assert len({line["witness"] for line in told}) == len(told) == 3, "each is told once"


def test_a_log_that_is_to_hear_its_witnesses_first_takes_nothing_before(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        are_reached = threading.Event()
        async with serve(are_reached=are_reached, hear_witnesses_first=True) as service:
            body = batch(1, service.world.entries(1))
            answer = await service.post(body)
            assert (answer.status, answer.json()["code"]) == (503, "not_heard")
            assert int(answer.headers["retry-after"]) >= 1
            assert (await service.ask("GET", "/readyz")).json() == {"ready": False, "reasons": ["not_heard"]}
            assert service.log.log.size == 1
            are_reached.set()
            await until(lambda: service.log.loop.has_heard)
            assert (await service.ask("GET", "/readyz")).status == 200
            are_reached.clear()
            assert (await service.post(body)).status == 200, "it has heard them once"

    asyncio.run(scenario())


def test_no_landmark_is_ended_before_the_witnesses_were_heard(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            body = batch(1, service.world.entries(3))
            assert (await service.post(body, target="/entries?wait=true")).status == 200
        are_reached = threading.Event()
        async with serve(world=service.world, are_reached=are_reached, wait_timeout=0.2) as again:
            answer = await again.ask("POST", "/landmark", headers=again.token())
            assert (answer.status, answer.json()["code"]) == (503, "not_published")
            assert again.log.landmarks.file.end == 0
            assert (await again.post(body, target="/entries?wait=true")).status == 200, "what is published is proven"
            are_reached.set()
            await until(lambda: again.log.loop.has_heard)
            answer = await again.ask("POST", "/landmark", headers=again.token())
            assert answer.json()["records"][-1]["end"] == 4

    asyncio.run(scenario())


def test_a_service_that_stops_keeps_nobody_waiting(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve(witnesses=[]) as service:
            began = time.monotonic()
            waiting = asyncio.ensure_future(
                service.post(batch(1, service.world.entries(1)), target="/entries?wait=true")
            )
            while service.log.log.size == 1:
                await asyncio.sleep(0.001)
            service.application.state.service.stopping.set()
            assert (await waiting).status == 202
            assert time.monotonic() - began < 20
            assert (await service.ask("GET", "/readyz")).json()["reasons"] == ["stopping"]

    asyncio.run(scenario())
