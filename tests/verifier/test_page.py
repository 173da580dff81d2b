"""The page within the process of the test, as a browser without scripts, or with, asks for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from html import unescape
from typing import Any

import pytest
from chopmark.challenge import Challenge
from chopmark.qr_drawing import draw
from chopmark.verification_record import verify_record
from chopmark_service.request_body import FREE
from chopmark_verifier.page_visit import LOCAL_SESSION_COOKIE, SESSION_COOKIE, choose_language
from chopmark_verifier.sessions import read_passcode

from tests.ledger.asgi import Answer
from tests.verifier.service_stage import PURPOSE, TRANSPORT, Stage, staged
from tests.verifier.test_image_pool import blank

PART = {"HX-Request": "true"}
EN = {"Accept-Language": "en-GB,en;q=0.9,zh;q=0.5"}


def run(out: Any, scenario: Callable[[Stage], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def within() -> None:
        async with staged(out, **options) as stage:
            await scenario(stage)

    asyncio.run(within())


def shown(answer: Answer) -> str:
    return unescape(answer.body.decode())


async def sign_in(stage: Stage, **headers: str) -> tuple[dict[str, str], str]:
    """Sign in; the cookie's header, and the token of forms."""
    answer = await stage.form("/page/sign-in", {"passcode": read_passcode(stage.settings.passcode_path)}, **headers)  # type: ignore[arg-type]
    assert answer.status == 303, answer.body
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    page = shown(await stage.ask("GET", "/", headers=cookie))
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None
    return cookie, found[1]


def test_the_page_comes_in_the_language_of_the_browser_and_remembers_another(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        assert "证照查验" in shown(await stage.ask("GET", "/"))
        assert "Licence check" in shown(await stage.ask("GET", "/", headers=EN))
        answer = await stage.ask("GET", "/?lang=zh", headers=EN)
        assert '<html lang="zh-Hans">' in shown(answer)
        cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
        assert "证照查验" in shown(await stage.ask("GET", "/", headers={**EN, **cookie}))

    run(out, scenario)


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        (None, "", "zh"),
        (None, "de,fr", "zh"),
        (None, "de,en;q=0.3,zh;q=0.2", "en"),
        (None, "zh;q=0.1,en;q=0.9", "en"),
        (None, "en;q=٣,zh", "en"),
        (None, "en;q=.,zh-TW", "en"),
        ("en", "zh", "en"),
        ("fr", "zh", "zh"),
    ],
)
def test_the_language_is_the_first_of_ours_that_is_accepted(asked: str | None, accepted: str, language: str) -> None:
    assert choose_language(asked, accepted) == language


def test_nothing_of_the_page_comes_from_elsewhere_or_runs_from_within(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        answer = await stage.ask("GET", "/")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        page = shown(answer)
        assert not re.search(r"<script>|<style|\sstyle=|\son[a-z]+=|javascript:", page)
        assert "http" not in re.sub(r"http-equiv|https?://www\.w3\.org/\S+|htmx", "", page)
        for path in set(re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)):
            asset = await stage.ask("GET", path)
            assert asset.status == 200, path
            assert asset.headers["x-content-type-options"] == "nosniff"
        for path in ("/assets/htmx.LICENSE", "/assets/..%2fpage.py", "/assets/page.py"):
            assert (await stage.ask("GET", path)).status == 404

    run(out, scenario)


def test_a_pasted_text_is_answered_as_a_part_or_as_a_whole_page(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        part = await stage.form("/page/check", {"text": stage.code()}, **PART)
        assert part.status == 200
        assert shown(part).startswith('<article class="verdict valid"')
        whole = shown(await stage.form("/page/check", {"text": stage.code()}, **EN))
        assert whole.startswith("<!doctype html>")
        assert "示例餐饮有限公司" in whole
        assert "Not recorded" in whole
        copy = shown(await stage.form("/page/check", {"text": stage.code("constructor")[:-2] + "  "}, **PART))
        assert 'class="verdict invalid"' in copy

    run(out, scenario)


@pytest.mark.parametrize("text", ["", "  \n "])
def test_blanks_alone_are_no_code_and_not_an_invalid_one(out: Any, text: str) -> None:
    async def scenario(stage: Stage) -> None:
        answer = await stage.form("/page/check", {"text": text}, **PART, **EN)
        assert answer.status == 422
        assert "There is no code" in shown(answer)
        assert "verdict" not in shown(answer)

    run(out, scenario)


@pytest.mark.parametrize("name", ["check", "fields", "challenge", "sign-in", "sign-out"])
def test_the_address_of_a_form_opened_as_a_page_leads_to_the_page(out: Any, name: str) -> None:
    async def scenario(stage: Stage) -> None:
        answer = await stage.ask("GET", f"/page/{name}")
        assert (answer.status, answer.headers["location"]) == (303, "/")
        assert (await stage.ask("GET", "/page/other")).status == 404
        assert (await stage.ask("PUT", f"/page/{name}")).status == 405

    run(out, scenario)


def test_the_head_of_the_page_can_be_asked_for(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        head, page = await stage.ask("HEAD", "/"), await stage.ask("GET", "/")
        assert (head.status, head.headers["content-type"]) == (200, page.headers["content-type"])

    run(out, scenario)


def test_what_a_licence_says_cannot_become_markup(out: Any) -> None:
    fields = {**out.world.claims("food").fields, 1: "<script>alert(1)</script>\"'&"}
    (out.credentials["food"],) = out.world.logged(out.world.issue(out.world.claims("food", index=9, fields=fields)))

    async def scenario(stage: Stage) -> None:
        answer = await stage.form("/page/check", {"text": stage.code()}, **PART)
        assert b"<script" not in answer.body
        assert b"&lt;script&gt;" in answer.body
        answer = await stage.form("/page/check", {"text": "<img src=x>"}, **PART)
        assert b"<img" not in answer.body

    run(out, scenario)


def test_a_picture_is_answered_in_words_and_a_frame_without_a_code_in_none(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        headers = {**PART, **EN, "Content-Type": "image/png"}
        drawn = draw(stage.code()).png()
        answer = await stage.ask("POST", "/page/check", headers=headers, body=drawn)
        assert 'class="verdict valid"' in shown(answer)
        empty = blank(99, 99)
        answer = await stage.ask("POST", "/page/check?frame=true", headers=headers, body=empty)
        assert (answer.status, answer.body) == (204, b"")
        answer = await stage.ask("POST", "/page/check", headers=headers, body=empty)
        assert answer.status == 422
        assert "No code was found" in shown(answer)
        answer = await stage.ask("POST", "/page/check?frame=true", headers=headers, body=b"x")
        assert answer.status == 422

    run(out, scenario)


def test_the_passcode_opens_a_session_whose_cookie_no_script_and_no_other_site_gets(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        passcode = {"passcode": read_passcode(stage.settings.passcode_path)}  # type: ignore[arg-type]
        for origin, is_secure in (
            ("", True),
            ("https://verifier.example", True),
            ("http://verifier.example", True),
            ("http://127.0.0.1.example", True),
            ("http://[", True),
            ("http://127.0.0.1:8490", False),
        ):
            answer = await stage.form("/page/sign-in", passcode, Origin=origin)
            cookie = answer.headers["set-cookie"].lower()
            assert cookie.startswith(f"{'__host-' if is_secure else ''}chopmark_session=")
            assert "path=/;" in cookie
            assert "domain=" not in cookie
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert ("secure" in cookie) is is_secure, origin
        wrong = await stage.form("/page/sign-in", {"passcode": "ABCD-EFGH-JKLM-NPQR"}, **EN)
        assert wrong.status == 403
        assert "That is not the passcode" in shown(wrong)
        assert "set-cookie" not in wrong.headers
        assert (await stage.form("/page/sign-in", passcode, **{"Sec-Fetch-Site": "cross-site"})).status == 403

    run(out, scenario)


def test_bodies_of_strangers_leave_room_for_those_of_inspectors_and_clients(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        cookie, token = await sign_in(stage)
        headers = {"Content-Type": "image/png"}
        body = bytes(FREE + 290_000)
        held = [
            asyncio.ensure_future(stage.ask("POST", target, headers=headers, body=[body, None]))
            for target in ("/page/check", "/verify", "/verify")
        ]
        while stage.service.pictures.held == 0:
            await asyncio.sleep(0)
        assert (await stage.picture(body)).status == 429
        assert (await stage.ask("POST", "/page/check", headers=headers, body=body)).status == 429
        session = {**cookie, **headers, "X-CSRF-Token": token}
        assert (await stage.ask("POST", "/page/check", headers=session, body=body)).status == 422, "it is no picture"
        assert (await stage.picture(body, known=True)).status == 422
        for each in held:
            each.cancel()
        await asyncio.gather(*held, return_exceptions=True)

    run(out, scenario, body_memory=900_000)


def test_a_session_is_not_taken_from_a_cookie_that_a_neighbour_of_the_host_could_set(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        cookie, _ = await sign_in(stage)
        name, _, session = cookie["Cookie"].partition("=")
        assert name == SESSION_COOKIE
        for host, named, is_taken in (
            ("verifier.example", SESSION_COOKIE, True),
            ("verifier.example", LOCAL_SESSION_COOKIE, False),
            ("127.0.0.1:8490", LOCAL_SESSION_COOKIE, True),
            ("[", LOCAL_SESSION_COOKIE, False),
        ):
            page = shown(await stage.ask("GET", "/", headers={"Host": host, "Cookie": f"{named}={session}"}))
            assert ("/page/sign-out" in page) is is_taken, (host, named)

    run(out, scenario)


def test_a_record_from_the_page_needs_a_session_and_its_token(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        asked = {"text": stage.code(), "purpose": PURPOSE, "record": "on"}
        assert (await stage.form("/page/check", asked, **PART)).status == 403
        cookie, token = await sign_in(stage)
        for wrong in ({}, {"csrf": ""}, {"csrf": token[:-1]}, {"csrf": token + "A"}):
            assert (await stage.form("/page/check", {**asked, **wrong}, **cookie, **PART)).status == 403
        from_elsewhere = {**cookie, **PART, "Sec-Fetch-Site": "same-site"}
        assert (await stage.form("/page/check", {**asked, "csrf": token}, **from_elsewhere)).status == 403
        assert not list(out.records.rglob("*.jwt"))
        answer = await stage.form("/page/check", {**asked, "csrf": token}, **cookie, **PART)
        (path,) = out.records.rglob("*.jwt")
        assert path.stem in shown(answer)
        record = verify_record(path.read_text(), out.world.inspector_signer.public_key)
        assert (record.purpose, record.fields) == (PURPOSE, None)
        headers = {**cookie, **PART, "Content-Type": "image/png"}
        drawn = draw(stage.code()).png()
        target = "/page/check?purpose=%E6%9F%A5&record=on"
        assert (await stage.ask("POST", target, headers=headers, body=drawn)).status == 403
        headers["X-CSRF-Token"] = token
        assert (await stage.ask("POST", target, headers=headers, body=drawn)).status == 200
        assert len(list(out.records.rglob("*.jwt"))) == 2
        missing = await stage.form("/page/check", {**asked, "purpose": " ", "csrf": token}, **cookie, **PART)
        assert missing.status == 400

    run(out, scenario)


def test_signing_out_ends_the_session_and_needs_its_token(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        cookie, token = await sign_in(stage)
        assert (await stage.form("/page/sign-out", {}, **cookie)).status == 403
        assert (await stage.form("/page/sign-out", {"csrf": token}, **cookie)).status == 303
        asked = {"text": stage.code(), "purpose": PURPOSE, "record": "on", "csrf": token}
        assert (await stage.form("/page/check", asked, **cookie, **PART)).status == 403
        assert "/page/sign-in" in shown(await stage.ask("GET", "/", headers=cookie))

    run(out, scenario)


def test_a_pasted_code_may_be_broken_into_lines(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        text = stage.code()
        broken = f" {text[:50]}\r\n{text[50:90]}\t{text[90:]}\n"
        assert 'class="verdict valid"' in shown(await stage.form("/page/check", {"text": broken}, **PART))

    run(out, scenario)


def test_a_challenge_is_asked_from_the_page_and_its_answer_is_taken(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        form = {"type": f"{TRANSPORT}@1", "purpose": PURPOSE, "field-2": "on"}
        assert (await stage.form("/page/challenge", form, **PART)).status == 403
        cookie, token = await sign_in(stage)
        form["csrf"] = token
        listed = shown(await stage.form("/page/fields", form, **cookie, **PART))
        assert 'name="field-2"' in listed
        page = shown(await stage.ask("GET", "/", headers=cookie))
        assert f'<option value="{TRANSPORT}@1">' in page
        names = re.findall(r"<option [^>]*>([^<]+)</option>", page)
        assert len(set(names)) == len(names), "types that regions name alike are told apart"
        assert all(name.endswith(("（广东省）", "（上海市）")) for name in names)
        told = shown(await stage.ask("GET", "/", headers={**cookie, **EN}))
        assert "shown to the holder where a challenge is asked" in told
        assert all(
            name.endswith((" (Guangdong)", " (Shanghai)")) for name in re.findall(r"<option [^>]*>([^<]+)<", told)
        )
        assert "11100000MB99991003001@1" not in page, "nobody can be asked for what any bearer may show"
        answer = shown(await stage.form("/page/challenge", form, **cookie, **PART))
        found = re.search(r'name="challenge" value="(EC1:[^"]+)" form="check"', answer)
        assert found is not None
        challenge = Challenge.parse_text(found[1])
        assert (challenge.fields, challenge.purpose) == ((2,), PURPOSE)
        assert "<svg" in answer
        text = stage.code("transport", challenge=challenge, disclose=[2])
        asked = {"text": text, "purpose": PURPOSE, "record": "on", "challenge": found[1], "csrf": token}
        assert 'class="verdict valid"' in shown(await stage.form("/page/check", asked, **cookie, **PART))
        for wrong in ({"purpose": ""}, {"type": "x"}, {"field-99": "on"}):
            refused = await stage.form("/page/challenge", {**form, **wrong}, **cookie, **PART)
            assert refused.status in {400, 422}
            assert 'role="alert"' in shown(refused)

    run(out, scenario)


def test_a_service_that_records_nothing_offers_no_sign_in(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        assert "/page/sign-in" not in shown(await stage.ask("GET", "/"))
        assert (await stage.form("/page/sign-in", {"passcode": "A" * 16})).status == 403

    run(out, scenario, with_key=False)


def test_a_form_that_is_none_is_refused_in_words(out: Any) -> None:
    async def scenario(stage: Stage) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded", **PART}
        for body in (b"\xff", b"text=%ff", b"&".join(b"a%d=" % number for number in range(2000))):
            answer = await stage.ask("POST", "/page/check", headers=headers, body=body)
            assert answer.status == 400
            assert 'role="alert"' in shown(answer)
        assert (await stage.ask("POST", "/page/check", headers={"Content-Type": "text/plain"}, body=b"")).status == 400

    run(out, scenario)
