"""The routes of the verifier's service, within the process of the test: what is asked, and what is answered."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from chopmark.challenge import Challenge
from chopmark.trust_store import TrustStore
from chopmark.verification_record import verify_record
from chopmark_service import problems as common
from chopmark_verifier import problems
from chopmark_verifier.records import read_record, verify_filed
from chopmark_verifier.service import audience_of, openapi_document

from specs.vectors.sample_world import DAY, INSPECTOR, NOW
from tests.verifier.service_stage import OTHER, PURPOSE, TRANSPORT, Stage, staged

SPECS = Path(__file__).parents[2] / "specs"
VERDICT = json.loads((SPECS / "schemas" / "verdict.schema.json").read_text())


def run(out: Any, scenario: Callable[[Stage], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def within() -> None:
        async with staged(out, **options) as stage:
            await scenario(stage)

    asyncio.run(within())


def test_a_text_is_answered_with_the_verdict_and_without_what_the_licence_says(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        answer = await stage.post({"text": stage.code()})
        assert answer.status == 200
        assert answer.headers["cache-control"] == "no-store"
        said = answer.json()
        jsonschema.validate(said["verdict"], VERDICT)
        assert (said["verdict"]["outcome"], said["decided_by"]) == ("VALID", 9)
        assert said["licence"] is said["record"] is None
        assert "示例餐饮有限公司" not in answer.body.decode()

    run(out, scenario, with_key=False)


def test_fields_are_shown_where_they_are_asked_for(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        licence = (await stage.post({"text": stage.code(), "with_fields": True})).json()["licence"]
        assert licence["name"] == {"zh-Hans": "食品经营许可证", "en": "Food business licence"}
        assert licence["issuer_name"]["en"] == "Sample market regulator of Guangdong"
        assert licence["number"] == stage.field.credentials["food"].claims.licence_number
        shown = {each["name"]: each for each in licence["fields"]}
        assert shown["business_name"]["value"] == "示例餐饮有限公司"
        assert shown["issue_date"]["text"] == "2026-11-12"
        assert licence["last_day"] == "2029-11-21"

    run(out, scenario, with_key=False)


def test_what_a_broken_signature_covers_is_not_shown(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        encoded = bytearray(stage.field.credentials["food"].encode())
        place = encoded.index("示例餐饮有限公司".encode())
        encoded[place : place + 3] = "真".encode()
        answer = await stage.post({"cbor": base64.b64encode(encoded).decode(), "with_fields": True})
        said = answer.json()
        assert (said["verdict"]["outcome"], said["decided_by"]) == ("INVALID", 4)
        assert said["licence"] is None
        assert "餐饮" not in answer.body.decode()

    run(out, scenario, with_key=False)


def test_bytes_and_a_copy_are_answered_too(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        encoded = base64.b64encode(stage.field.credentials["constructor"].encode()).decode()
        said = (await stage.post({"cbor": encoded})).json()
        assert said["verdict"]["outcome"] == "INDETERMINATE"
        assert said["verdict"]["checks"][2]["reason"] == "copy"
        assert (await stage.post({"text": "not a code"})).json()["decided_by"] == 0

    run(out, scenario, with_key=False)


def wrapped(text: str) -> str:
    """As mail breaks lines, with blanks around it."""
    lines = "\r\n".join(text[at : at + 40] for at in range(0, len(text), 40))
    return f"\r\n {lines}\t \n"


def test_a_code_that_mail_has_broken_into_lines_is_the_same_code(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        assert (await stage.post({"text": wrapped(stage.code())})).json()["verdict"]["outcome"] == "VALID"
        text = stage.code("constructor")
        first = (await stage.post({"text": wrapped(text), "purpose": PURPOSE, "record": True}, known=True)).json()
        assert first["verdict"]["outcome"] == "VALID"
        again = (await stage.post({"text": text}, known=True)).json()
        assert again["verdict"]["checks"][2]["reason"] == "replayed"
        whole = (await stage.post({"text": text.replace(" ", "")})).json()
        assert whole["decided_by"] == 0, "a space within is a character of the code"

    run(out, scenario)


def test_a_record_is_filed_answered_and_verifies(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        asked = {"text": stage.code("constructor"), "purpose": PURPOSE, "record": True}
        answer = await stage.post(asked, known=True)
        assert answer.status == 200
        record = answer.json()["record"]
        (path,) = stage.field.records.rglob("*.jwt")
        assert path.stem == record["id"]
        assert read_record(path) == record["jwt"]
        read = verify_filed(record["jwt"], stage.field.store)
        assert (read.inspector, read.purpose, read.fields) == (INSPECTOR, PURPOSE, None)
        assert read == verify_record(record["jwt"], stage.field.world.inspector_signer.public_key)
        again = (await stage.post({**asked, "record_fields": True}, known=True)).json()
        assert again["verdict"]["checks"][2]["reason"] == "replayed"
        kept = verify_filed(again["record"]["jwt"], stage.field.store)
        assert kept.fields is not None
        assert kept.fields["holder_name"] == "示例持证人"
        metrics = (await stage.ask("GET", "/metrics")).body.decode()
        assert "chopmark_verifier_records_total 2.0\n" in metrics

    run(out, scenario)


def test_a_stranger_files_no_record_and_asks_no_challenge(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        asked = {"text": stage.code(), "purpose": PURPOSE, "record": True}
        for headers in (
            {},
            stage.token(key=OTHER),
            stage.token(name="gate 4"),
            stage.token(audience="verifier of CN-SH"),
            stage.token(audience=audience_of(f"{INSPECTOR}0")),
            {"Authorization": "Basic Z2F0ZTM6"},
        ):
            assert (await stage.post(asked, headers=headers)).status == 401
            assert (
                await stage.post({"type": TRANSPORT, "purpose": PURPOSE}, target="/challenges", headers=headers)
            ).status == 401
        token = stage.token()
        assert (await stage.post({"text": stage.code()}, headers=token)).status == 200
        assert (await stage.post(asked, headers=token)).status == 401, "a token is good for one request"
        assert not list(stage.field.records.rglob("*.jwt"))

    run(out, scenario)


def test_a_purpose_is_from_1_to_200_printable_characters_and_a_record_needs_one(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        text = stage.code()
        for purpose, status in (("验" * 200, 200), ("验" * 201, 400), ("", 400), ("a\nb", 400), (None, 400), (7, 400)):
            asked = {"text": text, "record": True, **({} if purpose is None else {"purpose": purpose})}
            assert (await stage.post(asked, known=True)).status == status, purpose
        assert (await stage.post({"text": text, "purpose": "验" * 201})).status == 400

    run(out, scenario)


def test_a_challenge_comes_as_text_and_picture_and_its_answer_is_valid_once(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        asked = {"type": TRANSPORT, "purpose": PURPOSE, "fields": ["holder_name", 6], "lifetime": 60}
        answer = await stage.post(asked, target="/challenges", known=True)
        assert answer.status == 200, answer.body
        made = answer.json()
        challenge = Challenge.parse_text(made["challenge"])
        challenge.verify(stage.field.world.inspector_signer.public_key)
        assert (challenge.inspector, challenge.purpose, challenge.licence_type) == (
            INSPECTOR,
            PURPOSE,
            f"{TRANSPORT}@1",
        )
        assert made["fields"] == [1, 6]
        assert made["expires"] == NOW + 60
        read = await stage.service.pool.read(base64.b64decode(made["png"]))
        assert read == [made["challenge"]]
        shown = stage.code("transport", challenge=challenge, disclose=[2])
        body = {"text": shown, "challenge": made["challenge"], "purpose": PURPOSE, "record": True}
        said = (await stage.post(body, known=True)).json()
        assert said["verdict"]["outcome"] == "VALID"
        assert said["verdict"]["checks"][2]["reason"] == "challenge_answered"
        another = await stage.post({**body, "purpose": "另一事由"}, known=True)
        assert another.status == 400, "the holder was asked for another purpose"
        unasked = (await stage.post({"text": stage.code("transport")}, known=True)).json()
        assert unasked["verdict"]["checks"][2]["reason"] == "challenge_required"

    run(out, scenario)


QUESTIONS: list[tuple[Any, int]] = [
    ({"type": "CN-GD/11100000MB99991003099", "purpose": PURPOSE}, 422),
    ({"type": "CN-XX/1", "purpose": PURPOSE}, 422),
    ({"type": "CN-GD/11100000MB99991003001", "purpose": PURPOSE}, 400),
    ({"type": TRANSPORT, "purpose": PURPOSE, "fields": ["no_such"]}, 400),
    ({"type": TRANSPORT, "purpose": PURPOSE, "fields": [True]}, 400),
    ({"type": TRANSPORT, "purpose": PURPOSE, "lifetime": 901}, 400),
    ({"type": TRANSPORT, "purpose": PURPOSE, "lifetime": True}, 400),
    ({"type": TRANSPORT}, 400),
    ({"type": TRANSPORT, "purpose": "a" * 201}, 400),
    ([], 400),
]


def test_a_question_that_nobody_could_answer_is_refused(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        for asked, status in QUESTIONS:
            assert (await stage.post(asked, target="/challenges", known=True)).status == status, asked

    run(out, scenario)


def test_a_service_without_a_key_neither_records_nor_asks(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        assert (await stage.post({"text": stage.code(), "purpose": PURPOSE, "record": True})).status == 401
        assert (await stage.post({"text": stage.code()}, known=True)).status == 401
        assert (await stage.ask("GET", "/status")).json()["inspector"] is None
        assert (await stage.ask("GET", "/readyz")).status == 200

    run(out, scenario, with_key=False)


def test_a_key_that_the_region_does_not_enrol_records_nothing(make_field: Callable[..., Any]) -> None:
    def without_the_key(world: Any) -> None:
        world.home.keys = []

    async def scenario(stage: Stage) -> None:
        answer = await stage.post({"text": stage.code(), "purpose": PURPOSE, "record": True}, known=True)
        assert (answer.status, answer.json()["code"]) == (503, "no_desk")
        assert (await stage.ask("POST", "/authentication", headers=stage.token())).json()["code"] == "no_desk"
        assert (await stage.post({"text": stage.code()})).json()["verdict"]["outcome"] == "VALID"

    run(make_field(without_the_key), scenario)


def test_a_service_with_a_name_of_its_own_takes_tokens_for_that_name_only(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        assert (await stage.ask("POST", "/authentication", headers=stage.token())).status == 401
        assert (await stage.ask("POST", "/authentication", headers=stage.token(audience="gates"))).status == 204

    run(out, scenario, audience="gates")


def test_a_record_that_cannot_be_filed_leaves_no_verdict_and_tells_no_path(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        shutil.rmtree(out.records)
        out.records.write_text("in the way")
        answer = await stage.post({"text": stage.code(), "purpose": PURPOSE, "record": True}, known=True)
        assert (answer.status, answer.json()["code"]) == (503, "storage")
        assert str(out.folder) not in answer.body.decode()

    run(out, scenario)


def test_a_shown_code_stays_used_when_the_trust_store_is_replaced(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        shown = {"text": stage.code("constructor")}
        assert (await stage.post(shown, known=True)).json()["verdict"]["outcome"] == "VALID"
        before = stage.service.desks.current
        stage.trust.store = out.store.snapshot()
        assert stage.service.desks.current is not before
        assert stage.service.desks.current.store is stage.trust.store
        assert (await stage.post(shown, known=True)).json()["verdict"]["checks"][2]["reason"] == "replayed"

    run(out, scenario)


def test_a_stranger_cannot_use_up_what_an_inspector_is_about_to_see(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        shown = {"text": stage.code("constructor")}
        assert (await stage.post(shown)).json()["verdict"]["outcome"] == "VALID"
        assert (await stage.post(shown)).json()["verdict"]["checks"][2]["reason"] == "replayed"
        assert (await stage.post(shown, known=True)).json()["verdict"]["outcome"] == "VALID"
        assert (await stage.post(shown, known=True)).json()["verdict"]["checks"][2]["reason"] == "replayed"

    run(out, scenario)


def test_a_service_is_not_ready_without_a_home_bundle_that_is_fit_for_use(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        assert (await stage.ask("GET", "/healthz")).json() == {"status": "ok"}
        assert (await stage.ask("GET", "/readyz")).json() == {"ready": True, "reasons": []}
        out.clock.now += 31 * DAY
        answer = await stage.ask("GET", "/readyz")
        assert (answer.status, answer.json()) == (503, {"ready": False, "reasons": ["no_home_bundle"]})
        (stage.field.folder / "clients.json").write_text("{")
        assert (await stage.ask("GET", "/readyz")).json()["reasons"] == ["no_home_bundle", "no_clients"]
        answer = await stage.post({"text": stage.code()}, known=True)
        assert (answer.status, answer.json()["code"]) == (503, "no_clients")
        assert (await stage.post({"text": stage.code()})).status == 200

    run(out, scenario)


def test_a_store_that_holds_roots_alone_is_served_and_is_not_ready(out: Any, tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.trust.store = TrustStore.create(tmp_path / "empty", roots=out.world.home.roots)
        assert (await stage.ask("GET", "/readyz")).json()["reasons"] == ["no_home_bundle"]
        assert (await stage.ask("GET", "/status")).json()["regions"] == []
        assert (await stage.ask("GET", "/")).status == 200
        said = (await stage.post({"text": stage.code(), "with_fields": True})).json()
        assert said["verdict"]["outcome"] == "INDETERMINATE"
        assert said["verdict"]["checks"][3]["reason"] == "region_unknown"
        assert said["licence"] is None
        asked = {"text": stage.code(), "purpose": PURPOSE, "record": True}
        assert (await stage.post(asked, known=True)).json()["code"] == "no_desk"
        stage.trust.store = out.store
        assert (await stage.post(asked, known=True)).json()["verdict"]["outcome"] == "VALID"

    run(out, scenario)


def test_the_status_tells_regions_and_ages_and_no_path(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        answer = await stage.ask("GET", "/status")
        found = answer.json()
        assert [each["region"] for each in found["regions"]] == ["CN-SH", "CN-GD"]
        assert (found["inspector"], found["damaged"]) == (INSPECTOR, 0)
        peer = found["regions"][1]
        assert (peer["age"], peer["state"]) == (3600, "fresh")
        assert [each["age"] for each in peer["status_lists"]] == [3600, 3600]
        assert peer["logs"][0]["landmarks"] > 0
        assert str(out.folder) not in answer.body.decode()
        metrics = (await stage.ask("GET", "/metrics")).body.decode()
        assert 'chopmark_verifier_bundle_issued_timestamp_seconds{region="CN-GD"} 1.7953362e+09\n' in metrics

    run(out, scenario)


MALFORMED_BODIES = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b'{"text": 1}',
    b'{"text": "EL1:", "text": "EL1:"}',
    b'{"text": "\\ud800"}',
    b'{"text": "a", "cbor": ""}',
    b'{"text": "a", "recrod": true}',
    b'{"text": "a", "record": "true"}',
    b'{"text": "a", "record_fields": true}',
    b'{"cbor": "AA=A"}',
    b'{"text": "\xff"}',
)


def test_a_body_that_is_not_what_is_taken_is_malformed(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        for body in MALFORMED_BODIES:
            answer = await stage.post(body)
            assert (answer.status, answer.json()["code"]) == (400, "malformed"), body
        for body in (b"[" * 60_000, b'{"a":' * 12_000):
            answer = await stage.post(body)
            assert (answer.status, answer.json()["code"]) == (413, "too_large")

    run(out, scenario, with_key=False)


def test_bodies_of_other_types_compressed_or_too_large_are_refused(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        for headers in ({"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}, {"Content-Type": "image/gif"}):
            assert (await stage.post({"text": "a"}, headers=headers)).status == 415
        assert (await stage.post(b" " * (64 * 1024 + 1))).status == 413
        assert (await stage.post({"text": "a"}, target="/verify?record=true")).status == 400
        assert (await stage.picture(b"", "?recrod=true")).status == 400
        assert (await stage.picture(b"", "?record=yes")).status == 400
        assert (await stage.picture(b"", "?purpose=a&purpose=b")).status == 400
        huge = await stage.ask(
            "POST", "/verify", headers={"Content-Type": "image/png", "Content-Length": str(10**30)}, body=b""
        )
        assert huge.status == 413

    run(out, scenario, with_key=False)


def test_no_datum_of_a_licence_stands_in_the_log(out: Any, capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario(stage: Stage) -> None:
        asked = {"text": stage.code("constructor"), "purpose": PURPOSE, "record": True, "with_fields": True}
        assert (await stage.post(asked, known=True)).status == 200
        assert (await stage.post({**asked, "purpose": ""}, known=True)).status == 400

    run(out, scenario)
    said = "".join(capfd.readouterr())
    for value in ("示例持证人", "440100199001010000", "示例建设工程有限公司", PURPOSE, "EL1:"):
        assert value not in said


def test_the_openapi_document_of_the_specification_is_that_of_the_service() -> None:
    path = SPECS / "openapi" / "verifier.json"
    assert path.read_text() == openapi_document(), (
        "make it anew: chopmark verifier openapi > specs/openapi/verifier.json"
    )


def test_a_member_that_is_not_known_is_named_with_those_that_are(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        detail = (await stage.post({"text": stage.code(), "porpose": PURPOSE})).json()["detail"]
        assert detail.startswith("body: not known here: porpose. Known are cbor, challenge, purpose, ")

    run(out, scenario)


def test_every_code_of_a_problem_stands_in_the_openapi_document() -> None:
    document = openapi_document()
    for each in vars(problems).values():
        if isinstance(each, common.Problem):
            assert f'"{each.code}"' in document, each.code
