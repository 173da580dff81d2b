"""The routes of the log's service, within the process of the test: what is asked, and what is answered."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from chopmark.entries import CredentialEntry, TrustBundleEntry
from chopmark.keys import Ed25519Signer
from chopmark.merkle import leaf_hash
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from chopmark_ledger.client import LocalWitness, LogSettings
from chopmark_ledger.errors import LogStoppedError, WitnessUnreachableError
from chopmark_ledger.service import log_service
from chopmark_ledger.service.entry_requests import MAX_BODY, MAX_NUMBER, EntriesRequest
from chopmark_ledger.service.log_clients import FILE_NAME, add_client, begin_clients, make_client
from chopmark_ledger.service.log_service import make_application, openapi_document
from chopmark_ledger.service.running_log import RunningLog, run_log
from chopmark_ledger.service.service_settings import LogServiceSettings
from chopmark_ledger.witness.witness import WitnessAnswer
from chopmark_service import telemetry
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


@pytest.fixture
def serve(make_world: Callable[..., World]) -> Callable[..., Any]:
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


def test_a_batch_is_durable_when_it_is_answered(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            entries = service.world.entries(3)
            answer = await service.post(batch(1, entries))
            assert answer.status == 200
            found = answer.json()
            assert found["batch"] == 1
            assert found["refused"] == []
            assert [service.log.log.entries(index, index + 1)[0] for index in found["indexes"]] == entries
            assert (await service.post(batch(1, entries))).json() == found
            conflict = await service.post(batch(1, service.world.entries(3)))
            assert (conflict.status, conflict.json()["code"]) == (409, "conflict")
            other = await service.post(batch(1, service.world.entries(3)), client="department")
            assert other.status == 200, "numbers are each client's own"

    asyncio.run(scenario())


def test_a_bad_entry_spoils_no_neighbours_and_each_is_told_by_its_position(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            good = batch(1, service.world.entries(2))["entries"]
            foreign = base64.b64encode(CredentialEntry(FOREIGN, b"\1" * 32).encode()).decode()
            bundle = base64.b64encode(TrustBundleEntry("CN-GD", 1, b"\1" * 32).encode()).decode()
            bad: list[Any] = [foreign, "!", "AAA", bundle, "", "AAAA", 7, None, {"a": []}, [1], "é", good[0] + "\n"]
            body = {"batch": 1, "entries": [good[0], *bad, good[1]]}
            answer = await service.post(body, client="department")
            found = answer.json()
            assert answer.status == 200
            assert [index is None for index in found["indexes"]] == [False, *[True] * len(bad), False]
            reasons = {each["position"]: each["reason"] for each in found["refused"]}
            assert sorted(reasons) == list(range(1, len(bad) + 1))
            assert "may not add entries of CN-SH" in reasons[1]
            assert "base64" in reasons[2]
            assert "does not speak for the region" in reasons[4]
            assert "not a text" in reasons[7]
            assert (await service.post(body, client="department")).json() == found
            none = await service.post({"batch": 2, "entries": bad}, client="department")
            assert (none.status, none.json()["code"]) == (422, "all_refused")
            assert {each["position"]: each["reason"] for each in none.json()["refused"]} == {
                position - 1: reason for position, reason in reasons.items()
            }
            assert (await service.post(batch(2, service.world.entries(1)), client="department")).status == 200

    asyncio.run(scenario())


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


def test_whoever_is_no_client_is_not_let_in(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            for target in ("/entries", "/landmark", "/authentication"):
                tokens: list[dict[str, str]] = [{}, service.token(audience="elsewhere"), service.token(key=DEPARTMENT)]
                for headers in tokens:
                    # The body never comes, and is not waited for.
                    answer = await service.ask("POST", target, headers=headers, body=[None])
                    assert (answer.status, answer.json()["code"]) == (401, "unauthenticated")
                    assert answer.headers["www-authenticate"] == "Bearer"
            used = service.token()
            assert (await service.ask("POST", "/authentication", headers=used)).status == 204
            again = await service.ask("POST", "/authentication", headers=used)
            assert (again.status, "used before" in again.json()["detail"]) == (401, True)
            forbidden = await service.ask("POST", "/landmark", headers=service.token("department"))
            assert (forbidden.status, forbidden.json()["code"]) == (403, "forbidden")
            (service.world.log_folder / FILE_NAME).write_text("{")
            deadline = time.monotonic() + 20
            while (closed := await service.ask("POST", "/authentication", headers=service.token())).status == 204:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            assert (closed.status, closed.json()["code"]) == (503, "no_clients")
            assert str(service.world.folder) not in closed.body.decode()
            assert (await service.ask("GET", "/readyz")).json() == {"ready": False, "reasons": ["no_clients"]}

    asyncio.run(scenario())


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


def test_back_pressure_is_answered_by_429_and_when_to_come_back(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve(witnesses=[], settings=LogSettings(max_unpublished=3)) as service:
            assert (await service.post(batch(1, service.world.entries(2)))).status == 200
            answer = await service.post(batch(2, service.world.entries(1)))
            assert (answer.status, answer.json()["code"]) == (429, "back_pressure")
            assert int(answer.headers["retry-after"]) >= 1

    asyncio.run(scenario())


def test_a_stopped_log_answers_503_and_tells_no_path(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            await service.post(batch(1, service.world.entries(1)), target="/entries?wait=true")
            service.log.log.stop(LogStoppedError(f"{service.world.folder}: the tape was cut"))
            for target in ("/entries", "/entries?wait=true"):
                answer = await service.post(batch(2, service.world.entries(1)), target=target)
                assert (answer.status, answer.json()["code"]) == (503, "stopped")
                assert "operator" in answer.json()["detail"]
            landmark = await service.ask("POST", "/landmark", headers=service.token())
            assert (landmark.status, landmark.json()["code"]) == (503, "stopped")
            assert (await service.ask("GET", "/readyz")).json() == {"ready": False, "reasons": ["stopped"]}
            assert (await service.ask("GET", "/status")).json()["problem"] == "stopped"
            assert "chopmark_log_stopped 1.0\n" in (await service.ask("GET", "/metrics")).body.decode()
            assert (await service.ask("GET", "/checkpoint")).status == 200, "what is published stays readable"
            for _, _, answer in service.checked:
                assert b"tape" not in answer.body
                assert str(service.world.folder).encode() not in answer.body

    asyncio.run(scenario())


def test_a_landmark_is_ended_under_what_is_committed(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            await service.post(batch(1, service.world.entries(3)))
            answer = await service.ask("POST", "/landmark", headers=service.token())
            records = answer.json()["records"]
            assert records[-1]["end"] == records[-1]["checkpoint_size"] == 4
            assert base64.b64decode(records[-1]["hash"])
            file = await service.ask("GET", "/landmarks")
            assert len(file.body) == 16 + 64 * len(records)
            again = await service.ask("POST", "/landmark", headers=service.token())
            assert again.json() == {"records": []}
            status = (await service.ask("GET", "/status")).json()
            assert status["landmark_end"] == 4
            assert [witness["problem"] for witness in status["witnesses"]] == [None, None, None]

    asyncio.run(scenario())


def test_the_public_files_are_those_of_the_folder_and_everything_else_is_not_there(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            await service.post(batch(1, service.world.entries(300)), target="/entries?wait=true")
            for path in ("checkpoint", "tile/0/000", "tile/0/001.p/45", "tile/entries/000", "tile/1/000.p/1"):
                answer = await service.ask("GET", f"/{path}")
                assert answer.body == (service.world.public / path).read_bytes(), path
                head = await service.ask("HEAD", f"/{path}")
                assert (head.status, head.body) == (200, b"")
            for path in ("/", "/tile", "/tile/0/002", "/entries/1", "/clients.json", "/../clients.json", "/docs"):
                answer = await service.ask("GET", path)
                assert (answer.status, answer.json()["code"]) == (404, "not_found"), path
            for method, path in (("GET", "/entries"), ("PUT", "/checkpoint"), ("DELETE", "/tile/0/000")):
                answer = await service.ask(method, path)
                assert (answer.status, answer.json()["code"]) == (405, "method_not_allowed")

    asyncio.run(scenario())


def test_health_metrics_and_the_openapi_document_are_there(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            await service.post(batch(1, service.world.entries(5)), target="/entries?wait=true")
            await service.post({"batch": 2, "entries": ["!"]})
            assert (await service.ask("GET", "/healthz")).json() == {"status": "ok"}
            assert (await service.ask("GET", "/readyz")).json() == {"ready": True, "reasons": []}
            metrics = (await service.ask("GET", "/metrics")).body.decode()
            for line in (
                'chopmark_log_entries_total{outcome="taken"} 5.0',
                'chopmark_log_entries_total{outcome="refused"} 1.0',
                "chopmark_log_committed_entries 6.0",
                "chopmark_log_published_entries 6.0",
                "chopmark_log_problem 0.0",
                'chopmark_log_witness_size{witness="cn-sh.example/witness"} 6.0',
                'chopmark_log_http_requests_total{method="POST",route="/entries",status="200"} 1.0',
            ):
                assert f"{line}\n" in metrics
            document = (await service.ask("GET", "/openapi.json")).json()
            assert document == json.loads(openapi_document())

    asyncio.run(scenario())


def test_the_openapi_document_of_the_specification_is_that_of_the_service() -> None:
    path = Path(__file__).parents[2] / "specs" / "openapi" / "log.json"
    assert path.read_text() == openapi_document(), "make it anew: chopmark log openapi > specs/openapi/log.json"


def test_every_code_of_a_problem_stands_in_the_openapi_document() -> None:
    from chopmark_ledger.service import problems

    document = openapi_document()
    for each in vars(problems).values():
        if isinstance(each, problems.Problem) and each is not problems.METHOD_NOT_ALLOWED:
            assert f'"{each.code}"' in document, each.code


def test_two_batches_of_many_clients_at_once_are_each_answered_by_itself(serve: Callable[..., Any]) -> None:
    async def scenario() -> None:
        async with serve() as service:
            bodies = [batch(number, service.world.entries(7)) for number in range(40)]
            bodies[13]["entries"] = ["!"]
            answers = await asyncio.gather(*(service.post(body) for body in bodies))
            assert [answer.status for answer in answers] == [422 if number == 13 else 200 for number in range(40)]
            indexes = [index for answer in answers if answer.status == 200 for index in answer.json()["indexes"]]
            assert sorted(indexes) == list(range(1, 1 + 39 * 7))

    asyncio.run(scenario())
