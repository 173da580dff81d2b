"""The bodies that a log's service is sent: malformed, large, slow, many at a time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from chopmark_ledger.service.entry_requests import MAX_BODY, MAX_NUMBER

if TYPE_CHECKING:
    from tests.ledger.conftest import World
from tests.ledger.log_service_in_process import batch, serving_of, until


@pytest.fixture
def serve(make_world: Callable[..., World]) -> Callable[..., Any]:
    return serving_of(make_world)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed"),
        (b"{", "malformed"),
        (b"[]", "malformed"),
        (b"null", "malformed"),
        (b'{"batch": 1}', "malformed"),
        (b'{"batch": 1, "entries": []}', "malformed"),
        (b'{"batch": 1, "entries": {}}', "malformed"),
        (b'{"batch": 1, "entries": "gg=="}', "malformed"),
        (b'{"batch": 1, "entries": ["gg=="], "more": 1}', "malformed"),
        (b'{"batch": 1, "batch": 2, "entries": ["gg=="]}', "malformed"),
        (b'{"batch": true, "entries": ["gg=="]}', "malformed"),
        (b'{"batch": "1", "entries": ["gg=="]}', "malformed"),
        (b'{"batch": 1.0, "entries": ["gg=="]}', "malformed"),
        (b'{"batch": -1, "entries": ["gg=="]}', "malformed"),
        (b'{"batch": 9007199254740992, "entries": ["gg=="]}', "malformed"),
        (b'{"batch": NaN, "entries": ["gg=="]}', "malformed"),
        (b'{"batch": 1, "entries": ["\\ud800"]}', "malformed"),
        (b'{"batch": 1, "entries": ["\xff"]}', "malformed"),
        (b'{"batch": 1, "entries": [' + b"[" * 9000 + b"]" * 9000 + b"]}", "too_large"),
        (b'{"batch": 1, "entries": [' + b"[]," * 4_000_000 + b"1]}", "too_large"),
        (b'{"batch": 1, "entries": [' + b'"gg==",' * 10_000 + b'"gg=="]}', "too_large"),
        (b'{"batch": 1, "entries": ["' + b"A" * (MAX_BODY + 4) + b'"]}', "too_large"),
    ],
)
def test_a_body_that_is_none_is_refused_before_much_is_made_of_it(
    serve: Callable[..., Any], body: bytes, code: str
) -> None:
    async def scenario() -> None:
        async with serve() as service:
            answer = await service.post(body)
            assert answer.json()["code"] == code, answer.body
            assert answer.headers["content-type"] == "application/problem+json"
            assert service.log.log.size == 1

    asyncio.run(scenario())


def test_the_largest_batch_is_taken_and_its_length_need_not_be_said(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            data = json.dumps(batch(MAX_NUMBER, service.world.entries(10_000))).encode()
            parts = [data[position : position + 65_536] for position in range(0, len(data), 65_536)]
            answer = await service.post(parts)
            assert answer.status == 200
            assert len(set(answer.json()["indexes"])) == 10_000

    asyncio.run(scenario())


def test_what_a_request_says_of_its_length_is_not_believed(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            parts: list[bytes] = [b" " * 1_000_000] * (MAX_BODY // 1_000_000 + 2)
            answer = await service.post(list(parts), headers={"Content-Length": "10"})
            assert answer.json()["code"] == "too_large"
            answer = await service.post([b" "], headers={"Content-Length": str(MAX_BODY + 1)})
            assert answer.json()["code"] == "too_large"

    asyncio.run(scenario())


def test_a_body_that_does_not_come_is_given_up(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve(body_timeout=0.05) as service:
            answer = await service.post([b'{"batch"', None])
            assert (answer.status, answer.json()["code"]) == (408, "too_slow")

    asyncio.run(scenario())


def test_too_many_bodies_at_a_time_are_told_to_come_back(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve(body_memory=1_000_000, body_timeout=5) as service:
            held = asyncio.ensure_future(service.post([b" " * 900_000, None]))
            await asyncio.sleep(0)
            while not service.application.state.service.bodies.held:
                await asyncio.sleep(0.001)
            answer = await service.post([b" " * 200_000, b"{}"])
            assert (answer.status, answer.json()["code"]) == (429, "back_pressure")
            assert answer.headers["retry-after"] == "1"
            held.cancel()
            await asyncio.wait({held})
            assert (await service.post(batch(1, service.world.entries(1)))).status == 200
            assert service.application.state.service.bodies.held == 0

    asyncio.run(scenario())


def test_one_clients_bodies_keep_nobody_else_out(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve(body_memory=3_000_000, body_timeout=20) as service:
            bodies = service.application.state.service.bodies
            held = [asyncio.ensure_future(service.post([b" " * 900_000, None], client="department"))]
            await until(lambda: bodies.held)
            more = await service.post([b" " * 400_000, b"{}"], client="department")
            assert (more.status, more.json()["code"]) == (429, "back_pressure"), "more than a third"
            large = json.dumps(batch(1, service.world.entries(1))).encode().ljust(2_000_000)
            assert (await service.post(large)).status == 200
            held.append(asyncio.ensure_future(service.post([b" " * 2_100_000, None])))
            await until(lambda: bodies.held > 2_500_000)
            for client in ("region", "department"):
                small = json.dumps(batch(2, service.world.entries(1))).encode().ljust(64 * 1024)
                assert (await service.post(small, client=client)).status == 200, "small ones are let in always"
            for each in held:
                each.cancel()
            await asyncio.wait(held)
            assert bodies.held == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_another_type_of_body_is_refused(serve: Callable[..., Any], headers: dict[str, str]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            answer = await service.post(batch(1, service.world.entries(1)), headers=headers)
            assert (answer.status, answer.json()["code"]) == (415, "unsupported_media_type")

    asyncio.run(scenario())
