"""The routes of the registry's service, within the process of the test: what is asked, and what is answered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from chopmark.credential import Credential
from chopmark_issuer.service import problems
from chopmark_issuer.service import search as search_module
from chopmark_issuer.service.service import openapi_document
from chopmark_service import problems as common

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
            for query in (f"number={number}", "state=valid", f"type={quote(FOOD)}"):
                found = (await service.get(f"/licences?{query}")).json()
                assert [each["number"] for each in found["licences"]] == [number]
            for asked in ({}, {"number": number}, {"holder_name": "示例", "state": "valid", "type": FOOD, "limit": 1}):
                assert await search(service, **asked) == [number]
            assert (await service.get("/licences?state=revoked")).json() == {"licences": []}

    asyncio.run(run())


@pytest.mark.parametrize("path", ["", "/status"])
def test_what_is_said_of_a_superseded_number_names_the_one_of_now_before_the_state(world: World, path: str) -> None:
    async def run() -> None:
        async with serving(world) as service:
            first = (await service.post("/licences", food())).json()["number"]
            second = (await service.post(f"/licences/{first}/change", {"fields": {"seats": 12}})).json()["number"]
            old = (await service.get(f"/licences/{first}{path}")).json()
            assert list(old)[:2] == ["number", "superseded_by"]
            assert (old["number"], old["superseded_by"]) == (first, second)
            assert "superseded_by" not in (await service.get(f"/licences/{second}{path}")).json()

    asyncio.run(run())


def test_the_next_version_has_a_number_of_its_own_and_the_old_one_tells_it(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            first = (await service.post("/licences", food())).json()["number"]
            answer = await service.post(f"/licences/{first}/change", {"fields": {"seats": 12, "scope": ["hot food"]}})
            assert answer.status == 201, answer.body
            second = answer.json()["number"]
            assert answer.json()["version"] == 2
            old, new = [(await service.get(f"/licences/{number}")).json() for number in (first, second)]
            assert (old["superseded_by"], new["supersedes"]) == (second, first)
            assert new["fields"] == {"business_name": "示例餐饮有限公司", "seats": 12, "scope": ["hot food"]}
            assert (await service.post(f"/licences/{first}/suspend")).json()["code"] == "state"
            renewed = await service.post(
                f"/licences/{second}/renew", {"first_day": "2027-11-01", "last_day": None, "fields": {"seats": None}}
            )
            assert renewed.json()["version"] == 3
            third = (await service.get(f"/licences/{renewed.json()['number']}")).json()
            assert "seats" not in third["fields"]
            assert "last_day" not in third
            history = (await service.get(f"/licences/{first}/history")).json()
            assert [act["act"] for act in history["acts"]] == ["issue", "change", "renew"]
            assert [each["number"] for each in history["versions"]] == [first, second, third["number"]]

    asyncio.run(run())


def test_a_renewal_has_to_say_when_it_ends(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            number = (await service.post("/licences", food())).json()["number"]
            for body in ({"first_day": "2027-11-01"}, {"first_day": "2027-11-01", "last_day": 2028}):
                answer = await service.post(f"/licences/{number}/renew", body)
                assert (answer.status, answer.json()["code"]) == (400, "malformed")
                assert "last_day" in answer.json()["detail"]
            renewal = {"first_day": "2027-11-01", "last_day": "2028-10-31"}
            renewed = (await service.post(f"/licences/{number}/renew", renewal)).json()["number"]
            assert (await service.get(f"/licences/{renewed}")).json()["last_day"] == "2028-10-31"

    asyncio.run(run())


def test_a_change_to_what_is_there_already_leaves_the_code_of_the_holder_good(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            number = (await service.post("/licences", food())).json()["number"]
            there = (await service.get(f"/licences/{number}")).json()
            same = {"fields": there["fields"], "holders": there["holders"], "first_day": there["first_day"]}
            answer = await service.post(f"/licences/{number}/change", same)
            assert (answer.status, answer.json()["code"]) == (422, "field")
            assert "nothing changes" in answer.json()["detail"]
            assert (await service.get(f"/licences/{number}")).json() == there

    asyncio.run(run())


def test_a_type_is_found_whether_its_slash_is_encoded_or_not(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            for path in (f"/types/{FOOD}", f"/types/{FOOD.replace('/', '%2F')}"):
                assert (await service.get(path)).json()["id"] == FOOD

    asyncio.run(run())


def test_a_page_of_more_than_200_is_refused_as_a_search_is(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            assert (await service.get("/licences?limit=200")).status == 200
            answer = await service.get("/licences?limit=201")
            assert (answer.status, answer.json()["code"]) == (400, "malformed")
            assert "limit: not of the form" in answer.json()["detail"]

    asyncio.run(run())


ACTS: tuple[tuple[list[str], str, str], ...] = (
    (["suspend"], "suspended", "suspended"),
    (["suspend", "return"], "valid", "valid"),
    (["revoke"], "revoked", "invalid"),
    (["withdraw"], "withdrawn", "invalid"),
    (["annul"], "annulled", "invalid"),
    (["close"], "closed", "invalid"),
)


def test_acts_move_the_state_and_what_the_status_list_shows(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            for acts, state, shown in ACTS:
                await check_acts(service, acts, state, shown)

    asyncio.run(run())


async def check_acts(service: Service, acts: list[str], state: str, shown: str) -> None:
    number = (await service.post("/licences", food())).json()["number"]
    for act in acts:
        answer = await service.post(f"/licences/{number}/{act}", {"reason": "the inspection of that day"})
        assert answer.status == 200, answer.body
    assert answer.json() == {"number": number, "state": state}
    status = (await service.get(f"/licences/{number}/status")).json()
    assert status["state"] == state
    assert [each["status"] for each in status["credentials"]] == [shown]
    history = (await service.get(f"/licences/{number}/history")).json()
    assert [act["act"] for act in history["acts"]] == ["issue", *acts]
    assert history["acts"][-1]["reason"] == "the inspection of that day"
    found = (await service.get(f"/licences?state={state}")).json()["licences"]
    assert number in [each["number"] for each in found]


@pytest.mark.both_databases
def test_the_history_answers_what_a_licence_was_on_a_day_as_was_known_at_another_time(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            number = (await service.post("/licences", food())).json()["number"]
            world.clock.time += 86_400
            answer = await service.post(f"/licences/{number}/suspend", {"effective_from": "2026-11-20"})
            assert answer.json()["state"] == "suspended"

            async def state(query: str) -> Any:
                return (await service.get(f"/licences/{number}/history?{query}")).json()["as_of"].get("state")

            assert await state("day=2026-11-21") == "suspended"
            assert await state("day=2026-11-21&known_at=2026-11-22T03:00:00Z") == "valid"
            assert await state("day=2026-11-19") == "valid"
            assert await state("day=2026-10-31") is None
            assert await state("day=2026-11-21&known_at=2026-11-01") is None
            assert (await service.get(f"/licences/{number}/history?day=2026-11-31")).status == 422
            assert (await service.get(f"/licences/{number}/history?day=yesterday-at-noon")).status == 400
            far = await service.post(f"/licences/{number}/return", {"effective_from": "2027-01-01T00:00:00Z"})
            assert far.json()["state"] == "suspended"

    asyncio.run(run())


@pytest.mark.both_databases
def test_a_search_goes_through_all_licences_page_by_page(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            made = [
                (
                    await service.post("/licences", food(holders=[{"name": f"店 {place % 3}"}, {"name": "Partner"}]))
                ).json()["number"]
                for place in range(7)
            ]
            found: list[str] = []
            target = "/licences?limit=2"
            while target:
                page = (await service.get(target)).json()
                found += [each["number"] for each in page["licences"]]
                target = f"/licences?limit=2&after={page['next']}" if "next" in page else ""
            assert found == made
            named = (await service.post("/licences/search", {"holder_name": "店 1"}, key=None)).json()
            assert [each["number"] for each in named["licences"]] == [made[1], made[4]]
            assert [each["holders"] for each in named["licences"]] == [[{"name": "店 1"}, {"name": "Partner"}]] * 2
            for wrong in (
                "limit=0",
                "limit=1_0",
                "limit=+1",
                "after=x",
                "state=gone",
                "sate=valid",
                "holder_code=1234",
                "holder_name=abcd",
                "number=1&number=2",
            ):
                assert (await service.get(f"/licences?{wrong}")).status == 400, wrong

    asyncio.run(run())


async def search(service: Service, **asked: Any) -> list[str]:
    answer = await service.post("/licences/search", asked, key=None)
    assert answer.status == 200, answer.body
    return [each["number"] for each in answer.json()["licences"]]


@pytest.mark.both_databases
def test_a_search_by_holder_is_refused_where_it_is_wrong_or_too_many_are_alike(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "MAX_ALIKE", 3)

    async def run() -> None:
        async with serving(world) as service:
            for number in range(4):
                await service.post("/licences", food(holders=[{"name": f"店铺 {number}"}]))
            found = await search(service, holder_name="店铺 2")
            assert len(found) == 1
            assert await search(service, holder_name="店铺", number=found[0]) == found
            refused = await service.post("/licences/search", {"holder_name": "店铺"}, key=None)
            assert (refused.status, refused.json()["code"]) == (422, "refused")
            for wrong in (
                {"holder_name": "店"},
                {"limit": 0},
                {"limit": 201},
                {"limit": True},
                {"after": "x"},
                {"state": "gone"},
                {"name": "x"},
                {"number": None},
            ):
                assert (await service.post("/licences/search", wrong, key=None)).status == 400, wrong

    asyncio.run(run())


@pytest.mark.both_databases
def test_holders_are_found_by_code_and_what_has_expired_by_its_state(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            code = {"code": "91440101MA59ABCD2P", "code_kind": "002"}
            held = (await service.post("/licences", food(holders=[{"name": "甲", **code}]))).json()["number"]
            await service.post("/licences", food())
            asked = {"holder_code": code["code"]}
            found = (await service.post("/licences/search", asked, key=None)).json()["licences"]
            assert [(each["number"], each["holders"]) for each in found] == [(held, [{"name": "甲", **code}])]
            world.clock.time += 400 * 86_400
            service.now[0] += 1
            assert len((await service.get("/licences?state=expired")).json()["licences"]) == 2
            assert (await service.get("/licences?state=valid")).json()["licences"] == []
            assert (await service.get(f"/licences/{held}")).json()["state"] == "expired"

    asyncio.run(run())


def test_types_tell_what_a_licence_of_them_has_to_say(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            types = {each["id"]: each for each in (await service.get("/types")).json()["types"]}
            assert {key: each["granted"] for key, each in types.items()} == {FOOD: True, DRIVER: False}
            assert types[FOOD]["fields"][0] == {
                "name": "business_name",
                "label": {"zh-Hans": "business_name", "en": "business_name"},
                "kind": "text",
                "required": True,
                "disclosure": "always",
                "max_length": 100,
            }
            assert (types[DRIVER]["holder"], types[FOOD]["numbering"]) == ("bound", "GB/T 36904")
            assert (await service.get(f"/types/{FOOD}")).json() == types[FOOD]
            assert (await service.get(f"/types/{PERMIT}")).json()["code"] == "not_found"

    asyncio.run(run())


WRONG: dict[str, tuple[bytes, int, str]] = {
    "no JSON": (b"{", 400, "malformed"),
    "not UTF-8": (b'{"type": "\xff"}', 400, "malformed"),
    "a list": (b"[]", 400, "malformed"),
    "nothing": (b"", 400, "malformed"),
    "a name twice": (b'{"type": "a", "type": "b"}', 400, "malformed"),
    "NaN": (b'{"type": NaN}', 400, "malformed"),
    "half of a pair": (b'{"type": "\\ud800"}', 400, "malformed"),
    "nested without end": (b"[" * 60_000, 413, "too_large"),
    "too large": (b" " * 70_000, 413, "too_large"),
}


def test_a_body_that_is_no_strict_json_is_refused(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            for what, (body, status, code) in WRONG.items():
                answer = await service.post("/licences", body)
                assert (answer.status, answer.json()["code"]) == (status, code), what

    asyncio.run(run())


REFUSED: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"colour": "red"}, 400, "malformed"),
    ({"holders": [{"name": "x", "age": 3}]}, 400, "malformed"),
    ({"holders": "x"}, 400, "malformed"),
    ({"holders": []}, 422, "field"),
    ({"holders": [{"name": "x", "code": "123", "code_kind": "111"}]}, 422, "field"),
    *(
        ({"holders": [{"name": f"Example{character}Foods"}]}, 422, "field")
        for character in "\0\n\x1b\u200e\u202e\u2066"
    ),
    ({"holders": [{"name": "x", "code": "1\u202e2", "code_kind": "002"}]}, 422, "field"),
    ({"holders": [{"name": "x", "code": "12", "code_kind": "0\n2"}]}, 422, "field"),
    ({"last_day": None}, 400, "malformed"),
    ({"first_day": "22.11.2026"}, 422, "field"),
    ({"first_day": "2026-W47-1"}, 422, "field"),
    ({"last_day": "2026-10-01"}, 422, "field"),
    ({"fields": {}}, 422, "field"),
    ({"fields": {"business_name": None}}, 400, "malformed"),
    ({"fields": {"business_name": "x", "seats": 1.0}}, 422, "field"),
    ({"fields": {"business_name": "x", "seats": True}}, 422, "field"),
    ({"fields": {"business_name": "x", "delivers": 1}}, 422, "field"),
    ({"fields": {"business_name": "x", "more": 1}}, 422, "field"),
    ({"fields": {"business_name": "x" * 101}}, 422, "field"),
    ({"holder_keys": [{"kty": "OKP"}]}, 422, "field"),
    ({"holder_keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "d": "AAAA"}]}, 422, "field"),
    ({"number": "17"}, 422, "field"),
    ({"type": DRIVER}, 403, "no_authority"),
    ({"type": "CN-GD/none"}, 404, "not_found"),
)


def test_what_may_not_be_said_of_a_licence_is_refused_and_nothing_is_written(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            for changes, status, code in REFUSED:
                answer = await service.post("/licences", food(**changes))
                assert (answer.status, answer.json()["code"]) == (status, code), answer.body
                assert answer.headers["content-type"] == common.PROBLEM_TYPE
            assert (await service.get("/licences")).json() == {"licences": []}

    asyncio.run(run())


def test_a_number_may_hold_whatever_a_url_must_write_otherwise(world: World, definition: Any) -> None:
    async def run() -> None:
        async with serving(world) as service:
            add_permits(world, definition)
            for number in ("A/17", "摊位 17?#%&+", "a/history", "..", "%2F"):
                answer = await service.post("/licences", food(type=PERMIT, number=number))
                assert answer.status == 201, answer.body
                where = answer.headers["location"]
                assert (await service.get(where)).json()["number"] == number
                assert (await service.get(f"{where}/history")).json()["number"] == number
                assert (await service.post(f"{where}/suspend")).json()["state"] == "suspended"
            assert (await service.get("/licences/%ff")).status == 400

    asyncio.run(run())


def add_permits(world: World, definition: Any) -> None:
    import json

    world.guangdong.add_type(json.dumps(definition(PERMIT, numbering="none")).encode())
    world.guangdong.grant(MARKETS, PERMIT)
    world.clock.time += 1


def test_a_credential_is_there_once_the_log_has_published_it(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            number = (await service.post("/licences", food())).json()["number"]
            places = [f"/licences/{number}/{name}" for name in ("credential", "qr.png", "qr.svg")]
            assert [(await service.get(place)).json()["state"] for place in places] == ["waits_for_log"] * 3
            service.region.send()
            assert [(await service.get(place)).json()["state"] for place in places] == ["waits_for_publication"] * 3
            service.region.publish(landmark=False)
            credential, png, svg = [await service.get(place) for place in places]
            assert credential.status == 200
            assert [picture.json()["state"] for picture in (png, svg)] == ["waits_for_landmark"] * 2
            service.region.publish()
            credential, png, svg = [await service.get(place) for place in places]
            parsed = Credential.parse(credential.body)
            assert parsed.landmark_proof is not None
            assert parsed.tlog_proof is not None
            assert png.body.startswith(b"\x89PNG")
            status = (await service.get(f"/licences/{number}/status")).json()["credentials"][0]
            assert parsed.digest.hex() == status["digest"]
            assert status["logged"] > 0
            assert svg.body.startswith(b"<svg")
            other = await service.get(f"{places[0]}?digest={'0' * 64}")
            assert other.json()["code"] == "not_found"

    asyncio.run(run())


def test_the_region_s_public_files_are_served_at_the_root(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            await service.post("/licences", food())
            assert (await service.get("/bundle.note", client=None)).status == 404
            service.region.publish()
            public = service.region.settings.public
            files = [path.relative_to(public).as_posix() for path in public.rglob("*") if path.is_file()]
            assert {"bundle.note", "bundle.tlog-proof", "root/1.note", "status/1"} <= set(files)
            for name in files:
                answer = await service.get(f"/{name}", client=None)
                assert answer.body == (public / name).read_bytes(), name
                again = await service.get(f"/{name}", client=None, **{"If-None-Match": answer.headers["etag"]})
                assert (again.status, again.body) == (304, b"")
            assert (await service.get("/status/1", client=None, Range="bytes=0-3")).status == 206
            for outside in ("/root/../registry.db", "/status/x", "/root/1.key", "/registry.db"):
                assert (await service.get(outside, client=None)).status == 404

    asyncio.run(run())


def test_health_readiness_metrics_and_the_openapi_document_are_there(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            assert (await service.get("/healthz", client=None)).json() == {"status": "ok"}
            ready = {"ready": True, "reasons": [], "problems": []}
            assert (await service.get("/readyz", client=None)).json() == ready
            await service.post("/licences", food())
            metrics = (await service.get("/metrics", client=None)).body.decode()
            assert 'chopmark_issuer_outbox_entries{state="waiting"}' in metrics
            assert 'route="/licences"' in metrics
            document = (await service.get("/openapi.json", client=None)).json()
            assert document["paths"].keys() >= {"/licences", "/licences/bulk", "/licences/{number}/qr.svg"}

    asyncio.run(run())


def test_the_openapi_document_of_the_specification_is_that_of_the_service() -> None:
    path = Path(__file__).parents[2] / "specs" / "openapi" / "issuer.json"
    assert path.read_text() == openapi_document(), "make it anew: chopmark issuer openapi > specs/openapi/issuer.json"


def test_every_code_of_a_problem_stands_in_the_openapi_document() -> None:
    document = openapi_document()
    told = [each for each in (vars(common) | vars(problems)).values() if isinstance(each, common.Problem)]
    missing = {each.code for each in told if f'"{each.code}"' not in document}
    assert missing == {"method_not_allowed"}  # of no route


def test_without_a_token_or_with_one_that_was_used_nothing_is_answered(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            assert (await service.get("/licences", client=None)).json()["code"] == "unauthenticated"
            token = service.token("office")
            assert (await service.ask("POST", "/authentication", headers=token)).status == 204
            assert (await service.ask("POST", "/authentication", headers=token)).status == 401

    asyncio.run(run())
