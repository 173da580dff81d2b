"""The routes of the log's service, within the process of the test: what is asked, and what is answered."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.entries import CredentialEntry, TrustBundleEntry
from chopmark_ledger.client import LogSettings
from chopmark_ledger.errors import LogStoppedError
from chopmark_ledger.service.log_clients import FILE_NAME
from chopmark_ledger.service.log_service import openapi_document

if TYPE_CHECKING:
    from tests.ledger.conftest import World
from tests.ledger.log_service_in_process import DEPARTMENT, FOREIGN, batch, serving_of


@pytest.fixture
def serve(make_world: Callable[..., World]) -> Callable[..., Any]:
    return serving_of(make_world)


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
    from chopmark_service import problems as common

    document = openapi_document()
    for each in (vars(common) | vars(problems)).values():
        if isinstance(each, common.Problem) and each is not common.METHOD_NOT_ALLOWED:
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
