from __future__ import annotations

import re
from typing import Any

import pytest
from chopmark import qr_text
from chopmark.presentation import present
from chopmark.reasons import REASONS
from chopmark.verifier import Verifier
from chopmark_verifier.next_steps import next_step, reasons_with_a_step
from chopmark_verifier.page_texts import problem_codes, texts
from chopmark_verifier.problems import NO_CODE, NO_DESK, SEVERAL_CODES, UNREADABLE_PICTURE
from chopmark_verifier.verdict_view import verdict_view


def verdict_of(out: Any, text: str) -> Any:
    return Verifier(out.store, clock=out.clock).verify(text)


def test_a_valid_licence_is_shown_with_its_fields_and_what_restricts_it(out: Any) -> None:
    verdict = verdict_of(out, qr_text.encode(out.credentials["food"].encode()))
    view = verdict_view(verdict, "zh")
    assert (view.kind, view.word, view.title, view.passed) == ("valid", "有效", "食品经营许可证", 10)
    facts = {fact.label: fact for fact in view.facts}
    assert facts["发证日期"].value == "2026-11-12"
    assert facts["限制条件"].restricts
    assert facts["有效期至"].value == "2029-11-21"
    assert [basis.what for basis in view.bases] == ["广东省的信任清单", "上海市的信任清单", "状态名单"]
    assert verdict_view(verdict, "en").word == "Valid"


@pytest.mark.parametrize("value", ["无", "None", " none "])
def test_a_restriction_that_is_none_is_not_marked_as_one(out: Any, value: str) -> None:
    world = out.world
    (credential,) = world.logged(
        world.issue(world.claims("food", index=9, fields={**world.claims("food").fields, 8: value}))
    )
    view = verdict_view(verdict_of(out, qr_text.encode(credential.encode())), "zh")
    (fact,) = [fact for fact in view.facts if fact.label == "限制条件"]
    assert not fact.restricts


def test_a_copy_is_told_from_what_cannot_be_judged_otherwise(out: Any) -> None:
    verdict = verdict_of(out, qr_text.encode(out.credentials["constructor"].encode()))
    view = verdict_view(verdict, "en")
    assert (view.kind, view.outcome) == ("copy", "INDETERMINATE")
    assert "living code" in view.step
    out.clock.now += 31 * 24 * 3600
    late = verdict_of(out, qr_text.encode(out.credentials["food"].encode()))
    assert verdict_view(late, "en").kind == "indeterminate"
    assert "up to date" in verdict_view(late, "en").step


def test_nothing_that_a_broken_signature_covers_is_shown(out: Any) -> None:
    encoded = bytearray(out.credentials["food"].encode())
    place = encoded.index("示例餐饮有限公司".encode())
    encoded[place : place + 3] = "真".encode()
    view = verdict_view(verdict_of(out, qr_text.encode(bytes(encoded))), "zh")
    assert (view.kind, view.facts, view.title) == ("invalid", (), "")
    assert "伪造" in view.step


def test_what_was_not_reached_is_not_shown_as_a_finding(out: Any) -> None:
    view = verdict_view(verdict_of(out, "EL1:NOTHING"), "en")
    assert [check.mark for check in view.checks] == ["fail", *["skipped"] * 9]
    assert view.sentence == "This is no licence code, or a damaged one"
    assert "base45" in view.checks[0].message or "QR text" in view.checks[0].message


def test_in_chinese_no_detail_stands_in_english(out: Any) -> None:
    for text in ("EL1:NOTHING", "http://a.example", qr_text.encode(b"\xa0"), qr_text.encode(b"\xff")):
        verdict = verdict_of(out, text)
        view = verdict_view(verdict, "zh")
        said = view.checks[verdict.deciding.number].message
        assert said in {"不是电子证照码", "格式错误"}
        assert verdict.deciding.message("zh") == said
        assert verdict.deciding.message("en").partition(": ")[2], "the English sentence goes into detail"
        assert not re.search("[a-z]{2}", view.sentence)


def test_what_a_list_holds_is_joined_as_each_language_does(out: Any) -> None:
    verdict = verdict_of(out, qr_text.encode(out.credentials["food"].encode()))
    listed = [each for each in verdict.fields() if isinstance(each.value, list)]
    assert listed
    for each in listed:
        words = [str(item) for item in each.value]
        assert "、".join(words) in {fact.value for fact in verdict_view(verdict, "zh").facts}
        assert ", ".join(words) in {fact.value for fact in verdict_view(verdict, "en").facts}


def test_what_would_turn_the_direction_of_writing_is_spelled_out(out: Any) -> None:
    fields = {**out.world.claims("food").fields, 1: "a\u202eb"}
    (credential,) = out.world.logged(out.world.issue(out.world.claims("food", index=9, fields=fields)))
    view = verdict_view(verdict_of(out, qr_text.encode(credential.encode())), "en")
    assert "a\\u202eb" in {fact.value for fact in view.facts}


def test_each_reason_with_a_step_is_a_reason_and_each_outcome_has_a_step(out: Any) -> None:
    assert reasons_with_a_step() <= REASONS.keys()
    shown = present(out.credentials["constructor"], out.world.holder, at=out.clock.now)
    verdict = verdict_of(out, qr_text.encode(shown.encode()))
    assert next_step(verdict, "zh") != next_step(verdict, "en")


def test_the_page_has_all_its_words_in_both_languages() -> None:
    zh, en = texts("zh"), texts("en")
    assert zh.keys() == en.keys()
    assert all(zh.values())
    assert all(en.values())
    assert {each.code for each in (NO_CODE, SEVERAL_CODES, UNREADABLE_PICTURE, NO_DESK)} <= problem_codes()
