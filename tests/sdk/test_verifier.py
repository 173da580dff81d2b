"""The verifier: what passes, what a policy may ask, and which time counts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import available_timezones

import pytest
from chopmark import qr_text
from chopmark.bundle_entries import Grant, IssuerState, IssuerStatus
from chopmark.claims import EARLIEST, LATEST, StatusReference, Usage
from chopmark.entries import CredentialEntry
from chopmark.errors import FormatError
from chopmark.issuer_key import KeyUse, Revocation, RevocationReason
from chopmark.verdict import Outcome, Result, Verdict
from chopmark.verifier import VerificationPolicy, Verifier

from specs.vectors.sample_world import CREATED, FOOD_DEPARTMENT, NOW, TRANSPORT_DEPARTMENT
from tests.sdk.attack_stage import DAY, HOUR, LENIENT, LOGGED, Stage, reason, replaced
from tests.sdk.cheats import PASSING, REMARKS

PROVISIONAL = VerificationPolicy(accept_provisional=True)


def reasons(verdict: Verdict) -> set[str]:
    return {check.reason for check in verdict.checks}


def remarks(verdict: Verdict) -> set[str]:
    return {remark.reason for remark in verdict.remarks}


# What passes


def test_a_bearer_licence_is_valid(stage: Stage) -> None:
    verdict = stage.look(stage.licence())
    assert verdict.outcome is Outcome.VALID
    assert [check.result for check in verdict.checks] == [Result.PASS] * 10
    assert verdict.remarks == ()


def test_a_fresh_code_of_a_bound_licence_is_valid(stage: Stage) -> None:
    verdict = stage.look(stage.shown(stage.licence("constructor")))
    assert verdict.outcome is Outcome.VALID
    assert verdict.checks[2].reason == "holder_proved"


def test_an_answered_challenge_is_valid(stage: Stage) -> None:
    licence, challenge = stage.licence("transport"), stage.challenge()
    verdict = stage.look(stage.shown(licence, challenge=challenge), challenge=challenge)
    assert verdict.outcome is Outcome.VALID
    assert verdict.checks[2].reason == "challenge_answered"


def test_a_fresh_licence_with_a_tlog_proof_is_valid(stage: Stage) -> None:
    licence = stage.with_checkpoint(stage.issue(issued_at=NOW - 600, not_before=None), at=NOW - 300)
    assert stage.look(licence).outcome is Outcome.VALID


def test_an_old_licence_with_a_new_tlog_proof_is_valid_where_its_landmark_is_known(stage: Stage) -> None:
    licence = stage.licence()
    assert licence.landmark_proof is not None
    proof = stage.log.tlog_proof(licence.landmark_proof.index, at=NOW - HOUR)
    renewed = licence.without_proofs().with_tlog_proof(proof)
    assert stage.look(renewed).outcome is Outcome.VALID
    without = stage.world.store(stage.folder / "no landmarks", without=["landmarks"])
    assert reason(stage.look(renewed, store=without), 7) == "issued_far_from_logged"


def test_a_landmark_that_is_not_known_yet_leaves_the_tlog_proof(stage: Stage) -> None:
    stage.store()
    licence = stage.licence(logged_at=NOW - 600)
    assert licence.landmark_proof is not None
    both = licence.with_tlog_proof(stage.log.tlog_proof(licence.landmark_proof.index, at=NOW - 600))
    assert reason(stage.look(licence), 6) == "landmark_unknown"
    assert stage.look(both).outcome is Outcome.VALID


def test_a_licence_of_the_home_region_is_valid(stage: Stage) -> None:
    world, department = stage.world, "CN-SH/11310000MB99990105"
    home = world.home
    home.add_department(department, "上海市示例市场监管局", "Sample regulator", [KeyUse.CREDENTIAL, KeyUse.STATUS])
    home.types = [replace(world.peer.types[0], id="CN-SH/11100000MB99991003001")]
    home.grants = [Grant(department, home.types[0].id, CREATED, None)]
    claims = stage.claims(
        issuer=department,
        licence_type=home.types[0].vct,
        status=StatusReference(0, home.status_uri(department)),
        issued_at=NOW - 600,
        not_before=None,
    )
    licence = world.issue(claims, signer=home.signers[department, "credential"])
    index = home.log.append(CredentialEntry(department, licence.digest).encode())
    licence = licence.with_tlog_proof(home.log.tlog_proof(index, at=NOW - 600))
    store = stage.store()
    token, proof = home.status_list(department, {}, at=NOW - HOUR)
    store.put_status_list(token, proof, now=NOW - HOUR)
    assert stage.look(licence).outcome is Outcome.VALID


def test_the_fifteen_minutes_after_a_window_count(stage: Stage) -> None:
    stage.key_is(not_after=LOGGED - 15 * 60 + 1)
    stage.world.peer.grants = replaced(stage.world.peer.grants, 0, not_after=LOGGED - 15 * 60 + 1)
    stage.department_is(IssuerStatus(IssuerState.WITHDRAWN, LOGGED - 15 * 60 + 1, None))
    assert stage.look(stage.licence()).outcome is Outcome.VALID


def test_windows_that_begin_and_end_with_the_witnessed_second_count(stage: Stage) -> None:
    stage.key_is(not_before=LOGGED, not_after=LOGGED + 1)
    stage.world.peer.grants = replaced(stage.world.peer.grants, 0, not_before=LOGGED, not_after=LOGGED + 1)
    assert stage.look(stage.licence()).outcome is Outcome.VALID


@pytest.mark.parametrize("off", [-DAY, DAY])
def test_a_licence_signed_a_day_from_its_logging_is_valid(stage: Stage, off: int) -> None:
    assert stage.look(stage.licence(issued_at=LOGGED + off)).outcome is Outcome.VALID


def test_a_key_rotation_and_a_withdrawal_leave_valid_what_was_logged_before(stage: Stage) -> None:
    licence = stage.licence()
    stage.key_is(not_after=LOGGED + DAY)
    stage.department_is(IssuerStatus(IssuerState.WITHDRAWN, LOGGED + DAY, "merged"))
    stage.world.peer.grants = replaced(stage.world.peer.grants, 0, not_after=LOGGED + DAY)
    assert stage.look(licence).outcome is Outcome.VALID


def passing_verdicts(stage: Stage) -> list[Verdict]:
    """One verdict for each reason to pass and each remark."""
    world = stage.world
    world.peer.types = replaced(world.peer.types, 0, status=False)
    paper = Usage(role="paper", medium="paper")
    copy = Usage(role="copy", purpose="投标", until=NOW + DAY)
    old = LOGGED - 10 * DAY
    bearer = stage.licence(logged_at=old, expires=None, status=None, usage=copy)
    printed = stage.licence("constructor", logged_at=old, holder_key=None, credential_id=bytes(16), usage=paper)
    agent = stage.licence("constructor", logged_at=old, usage=Usage(role="agent"))
    bound, challenged = stage.licence("constructor", logged_at=old), stage.licence("transport", logged_at=old)
    challenge = stage.challenge(fields=(2, 3))
    stage.store(at=NOW - 15 * DAY)
    token, proof = world.peer.status_list(TRANSPORT_DEPARTMENT, {}, at=NOW - 23 * HOUR)
    stale = [stage.look(shown) for shown in (bearer, printed, stage.shown(bound), stage.shown(agent))]
    stage.verifier().store.put_status_list(token, proof, now=NOW)
    return [*stale, stage.look(stage.shown(challenged, challenge=challenge), challenge=challenge)]


def test_every_reason_to_pass_and_every_remark_comes_about(stage: Stage) -> None:
    verdicts = passing_verdicts(stage)
    assert {verdict.outcome for verdict in verdicts} == {Outcome.VALID}
    assert set().union(*map(reasons, verdicts)) == PASSING
    assert set().union(*map(remarks, verdicts)) == REMARKS
    for verdict in verdicts:
        for language in ("zh", "en"):
            messages = [check.message(language) for check in verdict.checks]
            messages += [remark.message(language) for remark in verdict.remarks]
            assert all(message and "{" not in message for message in messages)


# Policies


@pytest.mark.parametrize("number", [0, 1, 3, 4, 5, 6, 7, 8])
def test_a_policy_cannot_leave_out_what_makes_a_licence(number: int) -> None:
    with pytest.raises(FormatError, match=f"the checks {number}\\."):
        VerificationPolicy(required=frozenset(range(10)) - {number})


def test_a_policy_without_status_takes_a_licence_whose_list_is_missing_but_no_revoked_one(stage: Stage) -> None:
    licence = stage.licence()
    missing = stage.store(without=["status"])
    revoked = stage.store(statuses={FOOD_DEPARTMENT: {0: 1}})
    assert reason(stage.look(licence, store=missing), 9) == "status_list_absent"
    assert stage.look(licence, store=missing, policy=LENIENT).outcome is Outcome.VALID
    assert reason(stage.look(licence, store=revoked, policy=LENIENT), 9) == "revoked"


def test_a_policy_that_requires_more_than_there_is_requires_all_there_is(stage: Stage) -> None:
    policy = VerificationPolicy(required=frozenset(range(12)))
    assert stage.look(stage.licence(), policy=policy).outcome is Outcome.VALID


# Provisional


def unlogged(stage: Stage, **changes: Any) -> Verdict:
    """A licence signed ten minutes ago that shows no proof of logging yet."""
    values: dict[str, Any] = {"issued_at": NOW - 600, "not_before": None} | changes
    return stage.look(stage.issue(**values), policy=PROVISIONAL)


def test_a_fresh_unlogged_licence_is_provisional_where_the_policy_asks_for_that_word(stage: Stage) -> None:
    verdict = unlogged(stage)
    assert (verdict.outcome, verdict.provisional) == (Outcome.INDETERMINATE, True)
    assert not stage.look(stage.issue(issued_at=NOW - 600, not_before=None)).provisional


def test_a_licence_signed_this_very_second_is_provisional(stage: Stage) -> None:
    assert unlogged(stage, issued_at=NOW).provisional


@pytest.mark.parametrize("issued_at", [NOW - DAY - 1, NOW + 1])
def test_nothing_older_than_a_day_or_dated_ahead_is_provisional(stage: Stage, issued_at: int) -> None:
    assert not unlogged(stage, issued_at=issued_at).provisional
    assert unlogged(stage, issued_at=NOW - DAY).provisional


@pytest.mark.parametrize("why", list(RevocationReason))
def test_a_revoked_key_signs_nothing_provisional(stage: Stage, why: RevocationReason) -> None:
    revocation = stage.compromised(1_000_000)
    stage.key_is(revoked=Revocation(revocation.at, why, revocation.trusted))
    verdict = unlogged(stage)
    assert (verdict.outcome, verdict.provisional) == (Outcome.INDETERMINATE, False)


def test_an_issuer_without_authority_now_signs_nothing_provisional(stage: Stage) -> None:
    peer = stage.world.peer
    genuine = peer.issuers, peer.keys, peer.grants
    ended: dict[str, Any] = {
        "issuers": replaced(
            peer.issuers, 0, status=(*peer.issuers[0].status, IssuerStatus(IssuerState.SUSPENDED, NOW - HOUR, None))
        ),
        "keys": replaced(peer.keys, 0, not_after=NOW - HOUR),
        "grants": replaced(peer.grants, 0, not_after=NOW - HOUR),
    }
    for array, entries in ended.items():
        peer.issuers, peer.keys, peer.grants = genuine
        setattr(peer, array, entries)
        stage.store()
        assert not unlogged(stage).provisional


def test_nothing_is_provisional_on_an_old_bundle_or_a_wrong_clock(stage: Stage) -> None:
    stage.store(at=NOW - 31 * DAY, without=["status"])
    stage.refresh_status(at=NOW - HOUR)
    assert not unlogged(stage).provisional
    stage.store(at=NOW)
    licence = stage.issue(issued_at=NOW - 600, not_before=None)
    assert not stage.look(licence, clock=NOW - 400, policy=PROVISIONAL).provisional


def test_an_unknown_landmark_or_claim_is_not_provisional(stage: Stage) -> None:
    stage.store()
    assert not stage.look(stage.licence(logged_at=NOW - 600), policy=PROVISIONAL).provisional
    signed = stage.signed(stage.issue(issued_at=NOW - 600, not_before=None), lambda claims: claims.update({-70000: 1}))
    assert not stage.look(replace(signed, unprotected={}), policy=PROVISIONAL).provisional


# Times


def test_the_time_asked_is_the_clocks_unless_another_is_named(stage: Stage) -> None:
    licence = stage.licence(expires=NOW + 60)
    assert stage.look(licence).outcome is Outcome.VALID
    assert reason(stage.look(licence, clock=NOW + 60), 8) == "expired"
    assert reason(stage.look(licence, at=NOW + 60), 8) == "expired"
    assert stage.look(licence, clock=NOW + 3600, at=NOW).outcome is Outcome.VALID
    assert stage.look(licence, at=NOW - 5).at == NOW - 5


@pytest.mark.parametrize("moment", [EARLIEST, EARLIEST + 1, LATEST - 1, LATEST])
@pytest.mark.parametrize("claim", ["expires", "not_before", "issued_at", "until"])
def test_the_first_and_last_moments_of_the_calendar_are_answered(stage: Stage, claim: str, moment: int) -> None:
    """Anybody can write them into a code, signed or not."""
    times: dict[str, Any] = {"expires": None, "not_before": None, "issued_at": LOGGED}
    times |= {"usage": Usage(until=moment)} if claim == "until" else {claim: moment}
    verdict = stage.look(stage.issue(**times))
    assert verdict.outcome is not Outcome.VALID
    json.dumps(verdict.to_json(), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("times", "answer"),
    [
        ({"expires": NOW + 1, "not_before": NOW}, "within_validity"),
        ({"expires": None, "not_before": NOW}, "no_end_of_validity"),
        ({"expires": NOW + 1, "not_before": None}, "within_validity"),
        ({"usage": Usage(until=NOW + 1)}, "within_validity"),
    ],
)
def test_a_licence_is_valid_from_its_first_second_to_its_last(stage: Stage, times: dict[str, Any], answer: str) -> None:
    verdict = stage.look(stage.licence(**times))
    assert (verdict.outcome, verdict.checks[8].reason) == (Outcome.VALID, answer)


MIDNIGHT_IN_SHANGHAI = 1_795_276_800
"""2026-11-22T00:00:00+08:00."""


@pytest.mark.parametrize(
    ("claims", "day"),
    [
        ({"expires": MIDNIGHT_IN_SHANGHAI}, "2026-11-21"),
        ({"usage": Usage(until=MIDNIGHT_IN_SHANGHAI)}, "2026-11-21"),
        ({"not_before": MIDNIGHT_IN_SHANGHAI + 5 * DAY}, "2026-11-27"),
        ({"expires": MIDNIGHT_IN_SHANGHAI + HOUR}, "2026-11-22"),
        ({"expires": MIDNIGHT_IN_SHANGHAI + HOUR, "licence_type": "CN-GD/11100000MB99991003999@1"}, "2026-11-21"),
    ],
)
def test_a_day_is_told_in_the_zone_of_the_licence_type(stage: Stage, claims: dict[str, Any], day: str) -> None:
    """Of an end, the last day that still counted; of a type that is not known, in UTC."""
    if "Asia/Shanghai" not in available_timezones():
        pytest.skip("this machine has no time zone database")
    check = stage.look(stage.licence(**claims)).checks[8]
    assert check.result is Result.FAIL
    assert check.details == {"date": day}


def test_a_department_may_sign_with_a_clock_an_hour_ahead(stage: Stage) -> None:
    assert stage.look(stage.licence(logged_at=NOW - HOUR, issued_at=NOW + HOUR)).outcome is Outcome.VALID


def test_a_witness_may_have_a_clock_an_hour_ahead(stage: Stage) -> None:
    licence = stage.with_checkpoint(stage.issue(issued_at=NOW, not_before=None), at=NOW + HOUR)
    assert stage.look(licence).outcome is Outcome.VALID


def test_a_list_covers_the_hour_before_it(stage: Stage) -> None:
    licence = stage.licence()
    stage.store(status_at=NOW)
    assert stage.look(licence, at=NOW - HOUR).outcome is Outcome.VALID


def test_a_time_may_be_a_datetime_with_its_zone(stage: Stage) -> None:
    licence = stage.licence(expires=NOW + 60)
    verifier, text = stage.verifier(), qr_text.encode(licence.encode())
    last = datetime.fromtimestamp(NOW + 59, UTC)
    assert verifier.verify(text, at=last).outcome is Outcome.VALID
    shanghai = last.astimezone(timezone(timedelta(hours=8)))
    assert verifier.verify(text, at=shanghai).at == NOW + 59
    assert verifier.verify(text, at=last + timedelta(seconds=1)).outcome is Outcome.INVALID
    with pytest.raises(FormatError, match="without a zone"):
        verifier.verify(text, at=last.replace(tzinfo=None))


def test_the_clock_may_count_fractions(stage: Stage) -> None:
    licence = stage.licence(expires=NOW + 1)
    text = qr_text.encode(licence.encode())
    store = stage.store()
    assert Verifier(store, clock=lambda: NOW + 0.999).verify(text).outcome is Outcome.VALID
    assert Verifier(store, clock=lambda: NOW + 1.0).verify(text).outcome is Outcome.INVALID


@pytest.mark.parametrize("at", [0, -(10**12), 10**12, 2**80])
def test_any_time_may_be_asked_about(stage: Stage, at: int) -> None:
    verdict = stage.look(stage.licence(), at=at)
    assert verdict.outcome is not Outcome.VALID
    json.dumps(verdict.to_json())


def test_a_list_says_nothing_of_a_time_before_it(stage: Stage) -> None:
    licence = stage.licence()
    stage.store(statuses={FOOD_DEPARTMENT: {0: 1}}, status_at=NOW)
    assert reason(stage.look(licence), 9) == "revoked"
    assert reason(stage.look(licence, at=NOW - HOUR), 9) == "revoked"
    assert reason(stage.look(licence, at=NOW - HOUR - 1), 9) == "status_list_too_new"


def test_a_clock_set_back_does_not_make_a_revocation_unknown(stage: Stage) -> None:
    licence = stage.licence()
    stage.store(statuses={FOOD_DEPARTMENT: {0: 1}}, status_at=NOW)
    assert reason(stage.look(licence, clock=NOW - DAY), 9) == "revoked"


@pytest.mark.parametrize(("behind", "valid"), [(0, True), (300, True), (301, False)])
def test_a_clock_may_be_five_minutes_behind_the_floor(stage: Stage, behind: int, valid: bool) -> None:
    licence = stage.licence()
    floor = stage.store(at=NOW).clock_floor
    verdict = stage.look(licence, clock=floor - behind)
    assert (verdict.outcome is Outcome.VALID) is valid
    assert valid or {check.number for check in verdict.checks if check.reason == "clock_below_floor"} == {7, 8, 9}


def test_a_clock_below_the_floor_forgives_nothing(stage: Stage) -> None:
    licence = stage.licence(expires=NOW - 2 * DAY)
    stage.store(at=NOW)
    assert reason(stage.look(licence, clock=NOW - DAY), 8) == "expired"


def test_a_caller_that_names_a_later_time_vouches_for_it(stage: Stage) -> None:
    licence = stage.licence()
    stage.store(at=NOW)
    assert stage.look(licence, clock=NOW - DAY).outcome is Outcome.INDETERMINATE
    assert stage.look(licence, clock=NOW - DAY, at=NOW).outcome is Outcome.VALID


def test_a_question_about_the_past_is_no_clock_that_runs_behind(stage: Stage) -> None:
    licence = stage.licence()
    stage.store(at=NOW, status_at=NOW - DAY)
    assert stage.look(licence, at=NOW - DAY).outcome is Outcome.VALID


# Ages


@pytest.mark.parametrize(
    ("age", "answer", "told"),
    [
        (7 * DAY - 1, Outcome.VALID, False),
        (7 * DAY, Outcome.VALID, True),
        (30 * DAY - 1, Outcome.VALID, True),
        (30 * DAY, Outcome.INDETERMINATE, False),
    ],
)
def test_the_list_of_a_trade_degrades_and_stops(stage: Stage, age: int, answer: Outcome, told: bool) -> None:
    licence = stage.licence(logged_at=NOW - 40 * DAY)
    stage.store(status_at=NOW - age)
    verdict = stage.look(licence)
    assert (verdict.outcome, "status_stale" in remarks(verdict), verdict.stale) == (answer, told, told)
    assert verdict.checks[9].age == age


@pytest.mark.parametrize(
    ("age", "answer", "told"),
    [
        (DAY - 1, Outcome.VALID, False),
        (DAY, Outcome.VALID, True),
        (3 * DAY - 1, Outcome.VALID, True),
        (3 * DAY, Outcome.INDETERMINATE, False),
    ],
)
def test_the_list_of_a_safety_licence_degrades_and_stops(stage: Stage, age: int, answer: Outcome, told: bool) -> None:
    licence, challenge = stage.licence("transport"), stage.challenge()
    stage.store(status_at=NOW - age)
    verdict = stage.look(stage.shown(licence, challenge=challenge), challenge=challenge)
    assert (verdict.outcome, "status_stale" in remarks(verdict)) == (answer, told)


def test_a_list_past_its_own_end_is_too_old_before_the_hard_stop(stage: Stage) -> None:
    licence = stage.licence()
    store = stage.store(without=["status"])
    token, proof = stage.world.peer.status_list(FOOD_DEPARTMENT, {}, at=NOW - HOUR, freshness=HOUR)
    store.put_status_list(token, proof, now=NOW - HOUR)
    assert stage.look(licence, clock=NOW - 1).outcome is Outcome.VALID
    assert reason(stage.look(licence), 9) == "status_list_too_old"


@pytest.mark.parametrize(
    ("age", "answer", "told"),
    [
        (7 * DAY - 1, Outcome.VALID, set()),
        (7 * DAY, Outcome.VALID, {"bundle_stale"}),
        (14 * DAY, Outcome.VALID, {"bundle_stale", "bundle_expired"}),
        (30 * DAY - 1, Outcome.VALID, {"bundle_stale", "bundle_expired"}),
        (30 * DAY, Outcome.INDETERMINATE, set()),
    ],
)
def test_a_bundle_degrades_expires_and_stops(stage: Stage, age: int, answer: Outcome, told: set[str]) -> None:
    licence = stage.licence(logged_at=NOW - 40 * DAY)
    stage.store(at=NOW - age)
    stage.refresh_status(at=NOW - HOUR)
    verdict = stage.look(licence)
    assert (verdict.outcome, remarks(verdict)) == (answer, told)
    assert verdict.stale is bool(told)
    assert verdict.checks[7].age == age


def test_the_home_bundle_ages_too(stage: Stage) -> None:
    """The peer's bundle is fresh, but the word for that peer is not."""
    licence = stage.licence(logged_at=NOW - 40 * DAY)
    store = stage.store(at=NOW - 30 * DAY)
    peer = stage.world.peer
    bundle = peer.bundle(at=NOW - HOUR)
    store.put_bundle(bundle, peer.log_bundle(bundle, at=NOW - HOUR), now=NOW)
    stage.refresh_status(at=NOW - HOUR)
    verdict = stage.look(licence)
    assert reason(verdict, 7) == "bundle_past_hard_stop"
    assert verdict.checks[7].details == {"region": "CN-SH"}
