"""What a verdict tells, and to whom."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from chopmark.claims import Usage
from chopmark.limits import LIMITS
from chopmark.reasons import REASONS, Details, StateName, duration, sentence
from chopmark.trust_store import TrustStore
from chopmark.verdict import Check, Outcome, Result, Verdict

from specs.vectors.sample_world import NOW, TRANSPORT_DEPARTMENT
from tests.sdk.attack_stage import DAY, HOUR, LOGGED, Stage, reason


def remarks(verdict: Verdict) -> set[str]:
    return {remark.reason for remark in verdict.remarks}


def test_a_verdict_has_no_truth_value(stage: Stage) -> None:
    verdict = stage.look(stage.licence())
    with pytest.raises(TypeError, match="no truth value"):
        bool(verdict)
    with pytest.raises(TypeError):
        assert not verdict


def test_a_verdict_as_json_holds_every_check_and_nothing_of_the_licence(stage: Stage) -> None:
    licence = stage.licence("constructor")
    verdict = stage.look(stage.shown(licence, disclose=(2, 3, 4)))
    value = verdict.to_json()
    text = json.dumps(value, ensure_ascii=False)
    assert json.loads(text) == value
    assert value["outcome"] == "VALID"
    assert [check["number"] for check in value["checks"]] == list(range(10))
    assert set(value["checks"][0]) == {"number", "name", "result", "reason", "message", "age"}
    assert set(value["checks"][0]["message"]) == {"zh-Hans", "en"}
    assert value["credential_digest"] == licence.digest.hex()
    assert value["issuer"] == TRANSPORT_DEPARTMENT
    for shown in verdict.shown.values():
        for personal in shown if isinstance(shown, list) else [shown]:
            assert personal in ("无", "一级") or str(personal) not in text
    assert str(verdict.licence_number()) not in text


def test_a_verdict_over_nothing_readable_is_json_too(stage: Stage) -> None:
    for text in ("", "EL1:", "EL9:ABC", "\ud800", "EL1:\ud800", "x" * 100_000):
        value = stage.look_at(text).to_json()
        assert value["credential_digest"] is value["issuer"] is value["licence_type"] is None
        json.dumps(value, ensure_ascii=False).encode()


def test_fields_come_with_the_labels_of_the_bundle_in_its_order(stage: Stage) -> None:
    verdict = stage.look(stage.shown(stage.licence("constructor"), disclose=(4,)))
    assert [field.id for field in verdict.fields()] == [1, 4, 5, 6, 7, 8]
    labels = {field.id: field.label for field in stage.world.peer.types[2].fields}
    assert all(field.label == labels[field.id] for field in verdict.fields())


def test_no_licence_number_is_told_whose_disclosure_does_not_match(stage: Stage) -> None:
    licence = stage.licence("constructor")
    assert stage.look(stage.shown(licence)).licence_number() == licence.claims.licence_number
    other = stage.licence("constructor", index=1)
    disclosures = replace(licence.sign1, unprotected={**licence.sign1.unprotected, 17: other.sign1.unprotected[17]})
    verdict = stage.look(stage.token(disclosures))
    assert reason(verdict, 5) == "disclosure_mismatch"
    assert verdict.licence_number() is None
    assert verdict.shown == {}


def test_the_deciding_check_is_the_first_that_fails_else_the_first_unknown(stage: Stage) -> None:
    licence = stage.licence()
    unlogged_and_expired = stage.look(stage.issue(expires=NOW, issued_at=NOW - 600, not_before=None))
    assert unlogged_and_expired.deciding.reason == "expired"
    assert stage.look(stage.issue(issued_at=NOW - 600, not_before=None)).deciding.number == 6
    assert stage.look(licence).deciding.number == 9


def test_checks_are_named_in_both_languages() -> None:
    assert [Check(number, Result.PASS, "parsed").name("zh") for number in (0, 9)] == ["解码", "状态"]
    assert Check(7, Result.PASS, "authorised").name() == "authority"


def test_the_age_of_what_each_check_relied_on_is_told(stage: Stage) -> None:
    licence = stage.licence("constructor", logged_at=LOGGED)
    stage.store(at=NOW - 2 * HOUR, status_at=NOW - HOUR)
    verdict = stage.look(stage.shown(licence, at=NOW - 7))
    assert {check.number: check.age for check in verdict.checks if check.age is not None} == {
        2: 7,
        6: 10 * DAY,
        7: 2 * HOUR,
        9: HOUR,
    }


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (Usage(role="agent"), {"made_for_agent"}),
        (Usage(role="agent", purpose="投标"), {"made_for_agent", "restricted_use"}),
        (Usage(role="copy", purpose="投标"), {"restricted_use"}),
        (Usage(role="copy"), set()),
    ],
)
def test_the_use_that_a_licence_was_made_for_is_told(stage: Stage, usage: Usage, told: set[str]) -> None:
    verdict = stage.look(stage.licence(usage=usage))
    assert (verdict.outcome, remarks(verdict)) == (Outcome.VALID, told)
    assert all("投标" in remark.message("zh") for remark in verdict.remarks if remark.reason == "restricted_use")


def test_a_bare_licence_may_have_eight_kibibytes_and_not_one_more(stage: Stage) -> None:
    licence = stage.licence()
    for room, read in ((LIMITS.credential_size, True), (LIMITS.credential_size + 1, False)):
        head = len(licence.with_tlog_proof(b"x" * 300).encode()) - 300
        verdict = stage.look(licence.with_tlog_proof(b"x" * (room - head)))
        assert (verdict.credential is not None) is read


def test_bytes_are_verified_as_their_code_is(stage: Stage) -> None:
    licence = stage.licence()
    assert stage.verifier().verify_bytes(licence.encode()).checks == stage.look(licence).checks
    assert stage.verifier().verify_bytes(b"").outcome is Outcome.INVALID


def test_a_store_without_any_bundle_answers_that_it_knows_no_region(stage: Stage) -> None:
    store = TrustStore.create(stage.folder / "empty", roots=stage.world.home.roots)
    verdict = stage.look(stage.licence(), store=store)
    assert reason(verdict, 3) == "region_unknown"
    assert verdict.home is None


def test_ages_are_told_in_the_largest_whole_unit() -> None:
    assert [duration(seconds) for seconds in (0, 59, 60, 3599, 3600, DAY - 1, DAY, 30 * DAY)] == [
        "0 s",
        "59 s",
        "1 min",
        "59 min",
        "1 h",
        "23 h",
        "1 d",
        "30 d",
    ]


def test_what_a_reader_of_formats_says_in_english_stands_in_no_chinese_sentence() -> None:
    for code, (zh, en) in REASONS.items():
        assert not {"{problem}", "{names}"} & set(re.findall(r"\{\w+\}", zh)), code
        details: Details = dict.fromkeys(re.findall(r"\{(\w+)\}", en), "X") | dict.fromkeys(
            ("problem", "names"), "not right"
        )
        assert "not right" not in sentence(code, "zh", details)


@pytest.mark.parametrize(("state", "told"), [("suspended", "已暂停"), ("withdrawn", "已撤销"), ("unknown", "不明")])
def test_the_state_of_an_issuer_is_told_in_each_language(state: str, told: str) -> None:
    details: Details = {"state": StateName(state)}
    assert sentence("issuer_inactive", "zh", details) == f"登记时发证机关状态为{told}"
    assert sentence("issuer_inactive", "en", details) == f"the issuer was {state} when it was logged"
