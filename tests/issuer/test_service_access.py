"""The table of client × act: who may do what in a registry's service, each cell asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from chopmark.keys import Ed25519Signer
from chopmark_issuer.service.clients import Right
from chopmark_issuer.service.service import make_application
from chopmark_issuer.service.service_settings import IssuerServiceSettings
from chopmark_service.authentication import make_token
from chopmark_service.json_web_key import to_jwk

from tests.issuer.conftest import DRIVER, FOOD, MARKETS, PERMIT, TRANSPORT, World, type_definition
from tests.issuer.issuer_service import ALL, Service, food, serving

READS = ("", "/history", "/status", "/credential", "/qr.png", "/qr.svg")
AMENDS = ("renew", "change")
ACTS = ("suspend", "return", "revoke", "withdraw", "annul", "close")
BODIES: dict[str, Any] = {
    "renew": {"first_day": "2027-11-01", "last_day": "2028-10-31"},
    "change": {"fields": {"seats": 3}},
}
EVERYBODY = {"GET /types", "GET /types/{type_id}", "POST /authentication"}
OPEN = {
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /bundle.note",
    "GET /bundle.tlog-proof",
    "GET /root/{name}",
    "GET /landmarks/{region}/{name}",
    "GET /status/{name}",
}
NEEDS = {
    "POST /licences": Right.ISSUE,
    "POST /licences/bulk": Right.ISSUE,
    "POST /licences/revoke": Right.STATUS,
    "GET /licences": Right.READ,
    "POST /licences/search": Right.READ,
    **{f"GET /licences/{{number}}{name}": Right.READ for name in READS},
    **{f"POST /licences/{{number}}/{name}": Right.AMEND for name in AMENDS},
    **{f"POST /licences/{{number}}/{name}": Right.STATUS for name in ACTS},
}


async def attempt(service: Service, client: str, route: str, number: str, type_id: str = FOOD) -> tuple[int, str]:
    """Ask a route that needs a right; answers the status, and the code of the problem."""
    method, _, target = route.partition(" ")
    target = target.replace("{number}", number)
    if method == "GET":
        answer = await service.get(target, client=client)
    elif target == "/licences":
        answer = await service.post(target, food(type=type_id), client=client)
    elif target == "/licences/bulk":
        line = json.dumps(food(type=type_id)).encode()
        answer = await service.post(target, line, client=client, media_type="application/x-ndjson")
    elif target == "/licences/revoke":
        answer = await service.post(target, {"numbers": [number]}, client=client)
    else:
        answer = await service.post(target, BODIES.get(target.rpartition("/")[2], {}), client=client)
    if "ndjson" in answer.headers["content-type"]:
        (line_answer,) = [json.loads(each) for each in answer.body.splitlines()]
        return line_answer["status"], line_answer.get("problem", {}).get("code", "")
    return answer.status, answer.json().get("code", "") if "problem" in answer.headers["content-type"] else ""


def test_every_route_stands_in_the_table() -> None:
    application = make_application(IssuerServiceSettings(data="nowhere"))  # type: ignore[arg-type]
    routes = {
        f"{method.upper()} {path}" for path, methods in application.openapi()["paths"].items() for method in methods
    }
    assert routes == NEEDS.keys() | EVERYBODY | OPEN


def test_a_right_opens_its_own_routes_and_no_other(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            for right in Right:
                client = service.add_client(f"only {right.value}", rights=(right,))
                for route, needed in NEEDS.items():
                    number = (await service.post("/licences", food())).json()["number"]
                    if route.endswith("/return"):
                        await service.post(f"/licences/{number}/suspend")
                    status, code = await attempt(service, client, route, number)
                    if needed is right:
                        assert status in {200, 201, 202}, (right, route, status, code)
                    else:
                        assert (status, code) == (403, "forbidden"), (right, route)

    asyncio.run(run())


def test_what_is_for_everybody_or_open_needs_no_right(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            service.region.publish()
            client = service.add_client("only status", rights=(Right.STATUS,))
            for route in EVERYBODY:
                method, _, target = route.partition(" ")
                target = target.replace("{type_id}", FOOD)
                assert (await service.get(target, client=client, method=method)).status in {200, 204}, route
                assert (await service.get(target, client=None, method=method)).status == 401, route
            for route in OPEN - {"GET /landmarks/{region}/{name}"}:
                target = route.partition(" ")[2].replace("/root/{name}", "/root/1.note")
                assert (await service.get(target.replace("{name}", "1"), client=None)).status in {200, 404}, route
            for route in NEEDS:
                method, _, target = route.partition(" ")
                assert (await service.get(target.replace("{number}", "1"), client=None, method=method)).status == 401

    asyncio.run(run())


def test_licences_of_another_department_are_not_there(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            number = (await service.post("/licences", food())).json()["number"]
            other = service.add_client("transport", department=TRANSPORT, rights=ALL)
            for route in NEEDS:
                if "{number}" in route or route == "POST /licences/revoke":
                    assert await attempt(service, other, route, number) == (404, "not_found"), route
            assert (await service.get("/licences", client=other)).json() == {"licences": []}
            assert (await service.get(f"/licences?number={number}", client=other)).json() == {"licences": []}
            assert (await service.get(f"/licences/{number}/status")).json()["state"] == "valid"

    asyncio.run(run())


def test_a_type_that_is_not_granted_or_no_longer_is_issued_and_changed_by_nobody(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            number = (await service.post("/licences", food())).json()["number"]
            for route in ("POST /licences", "POST /licences/bulk"):
                assert await attempt(service, "office", route, number, DRIVER) == (403, "no_authority"), route
            world.clock.time += 10
            service.region.end_grant(MARKETS, FOOD)
            for route, needed in NEEDS.items():
                status, code = await attempt(service, "office", route, number)
                if needed is Right.READ:
                    assert status in {200, 202}, route
                else:
                    assert (status, code) == (403, "no_authority"), route

    asyncio.run(run())


def test_a_client_that_is_narrowed_to_one_type_sees_and_changes_no_other(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            service.region.add_type(json.dumps(type_definition(PERMIT, numbering="none")).encode())
            service.region.grant(MARKETS, PERMIT)
            world.clock.time += 1
            number = (await service.post("/licences", food())).json()["number"]
            permit = (await service.post("/licences", food(type=PERMIT, number="17"))).json()["number"]
            narrowed = service.add_client("stalls", types=(PERMIT,))
            for route in NEEDS:
                status, code = await attempt(service, narrowed, route, number)
                if route == "GET /licences":
                    found = (await service.get("/licences", client=narrowed)).json()["licences"]
                    assert [each["number"] for each in found] == [permit]
                elif route == "POST /licences/search":
                    assert status == 200
                elif route.startswith("GET"):
                    assert (status, code) == (404, "not_found"), route
                else:
                    assert (status, code) == (403, "no_authority"), route
            assert (await service.post("/licences/17/suspend", client=narrowed)).json()["state"] == "suspended"
            types = (await service.get("/types", client=narrowed)).json()["types"]
            assert {each["id"] for each in types if each["granted"]} == {PERMIT}

    asyncio.run(run())


def test_a_client_that_is_taken_away_or_has_another_key_is_let_in_no_longer(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            assert (await service.get("/types")).status == 200
            old = service.signers["office"]
            service.add_client("office")
            service.signers["office"], new = old, service.signers["office"]
            assert (await service.get("/types")).status == 401
            service.signers["office"] = new
            assert (await service.get("/types")).status == 200

    asyncio.run(run())


def test_another_client_of_the_same_name_has_idempotency_keys_of_its_own(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            assert (await service.post("/licences", food(), key="a")).status == 201
            service.add_client("office", department=TRANSPORT)
            answer = await service.post("/licences", food(), key="a")
            assert (answer.status, answer.json()["code"]) == (403, "no_authority")

    asyncio.run(run())


def test_a_token_for_another_region_or_of_a_stranger_is_refused(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            stranger = Ed25519Signer.generate()
            for signer, audience in ((service.signers["office"], "CN-SH"), (stranger, "CN-GD")):
                token = make_token(signer, name="office", audience=audience, now=service.now[0])
                answer = await service.ask("GET", "/types", headers={"Authorization": f"Bearer {token}"})
                assert answer.status == 401
            assert to_jwk(stranger.public_key)["alg"] == "EdDSA"

    asyncio.run(run())
