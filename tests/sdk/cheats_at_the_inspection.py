"""Cheats with who shows it and when: checks 2, 8 and 9 of the recipe, and the clock."""

from __future__ import annotations

from chopmark.cbor import Key, Value
from chopmark.claims import StatusReference, Usage
from chopmark.replay_cache import ReplayCache
from chopmark.verdict import Outcome, Verdict

from specs.vectors.sample_world import FOOD_DEPARTMENT, NOW, TRANSPORT_DEPARTMENT
from tests.sdk.attack_stage import DAY, HOUR, Stage
from tests.sdk.cheats import FAIL, UNKNOWN, caught

# 2 holder proof


@caught(2, UNKNOWN, "copy")
def the_key_binding_is_stripped(stage: Stage) -> Verdict:
    return stage.look(stage.shown(stage.licence("constructor"), disclose=(2, 3)).credential)


@caught(2, FAIL, "bearer_form_of_bound_licence")
def a_bound_licence_is_issued_without_a_holder(stage: Stage) -> Verdict:
    return stage.look(stage.licence("constructor", holder_key=None, credential_id=bytes(16)))


@caught(2, FAIL, "bearer_form_of_bound_licence")
def the_electronic_form_of_a_paper_is_shown(stage: Stage) -> Verdict:
    usage = Usage(role="paper", medium="electronic")
    return stage.look(stage.licence("constructor", holder_key=None, credential_id=bytes(16), usage=usage))


@caught(2, FAIL, "holder_signature_wrong")
def a_thief_signs_for_the_holder(stage: Stage) -> Verdict:
    thief = type(stage.world.holder)(b"thief")
    return stage.look(stage.token(stage.licence("constructor"), signer=thief))


@caught(2, FAIL, "holder_signature_wrong")
def a_thief_signs_with_a_key_of_another_algorithm(stage: Stage) -> Verdict:
    return stage.look(stage.token(stage.licence("constructor"), signer=stage.thief))


@caught(2, FAIL, "presentation_too_old")
def a_screenshot_is_shown_91_seconds_later(stage: Stage) -> Verdict:
    return stage.look(stage.shown(stage.licence("constructor"), at=NOW - 91))


@caught(2, FAIL, "presentation_ahead")
def a_code_is_made_in_advance(stage: Stage) -> Verdict:
    return stage.look(stage.shown(stage.licence("constructor"), at=NOW + 61))


@caught(2, FAIL, "replayed")
def the_same_code_is_shown_twice(stage: Stage) -> Verdict:
    shown, cache = stage.shown(stage.licence("constructor")), ReplayCache()
    assert stage.look(shown, replay_cache=cache).outcome is Outcome.VALID
    return stage.look(shown, replay_cache=cache)


@caught(2, UNKNOWN, "replay_cache_full")
def the_replay_cache_is_filled_up(stage: Stage) -> Verdict:
    licence, cache = stage.licence("constructor"), ReplayCache(capacity=1)
    assert stage.look(stage.shown(licence, at=NOW - 1), replay_cache=cache).outcome is Outcome.VALID
    return stage.look(stage.shown(licence), replay_cache=cache)


@caught(2, FAIL, "challenge_not_answered")
def a_code_for_anybody_is_shown_in_answer_to_a_challenge(stage: Stage) -> Verdict:
    return stage.look(stage.shown(stage.licence("transport")), challenge=stage.challenge())


@caught(2, FAIL, "challenge_not_answered")
def a_bearer_licence_is_shown_in_answer_to_a_challenge(stage: Stage) -> Verdict:
    return stage.look(stage.licence(), challenge=stage.challenge("food"))


@caught(2, FAIL, "challenge_expired")
def a_challenge_is_answered_in_time_and_shown_too_late(stage: Stage) -> Verdict:
    challenge = stage.challenge(at=NOW - 60, lifetime=60)
    return stage.look(stage.shown(stage.licence("transport"), at=NOW - 1, challenge=challenge), challenge=challenge)


@caught(2, FAIL, "challenge_for_another_type")
def a_challenge_for_one_type_is_answered_with_another(stage: Stage) -> Verdict:
    challenge = stage.challenge("transport")
    answer: dict[Key, Value] = {3: challenge.inspector, 6: NOW, 39: challenge.digest}
    return stage.look(stage.token(stage.licence("constructor"), answer), challenge=challenge)


@caught(2, UNKNOWN, "challenge_malformed")
def the_challenge_itself_is_damaged(stage: Stage) -> Verdict:
    return stage.look(stage.shown(stage.licence("constructor")), challenge="EC1:6BF")


@caught(2, UNKNOWN, "challenge_required")
def a_code_for_anybody_is_shown_where_the_type_demands_a_challenge(stage: Stage) -> Verdict:
    return stage.look(stage.shown(stage.licence("transport")))


@caught(2, UNKNOWN, "challenge_required")
def paper_is_shown_where_the_type_demands_a_challenge(stage: Stage) -> Verdict:
    paper = Usage(role="paper", medium="paper")
    return stage.look(stage.licence("transport", holder_key=None, credential_id=bytes(16), usage=paper))


@caught(2, FAIL, "meant_for_another")
def an_answer_to_one_inspector_is_shown_to_another(stage: Stage) -> Verdict:
    return stage.look(stage.shown(stage.licence("transport"), challenge=stage.challenge()))


# 8 validity


@caught(8, FAIL, "expired")
def a_licence_expired_this_second(stage: Stage) -> Verdict:
    return stage.look(stage.licence(expires=NOW))


@caught(8, FAIL, "expired")
def a_token_is_dated_after_the_end_of_its_licence(stage: Stage) -> Verdict:
    licence = stage.licence("constructor", expires=NOW + 30)
    return stage.look(stage.token(licence, {3: "*", 6: NOW + 30}))


@caught(8, FAIL, "not_yet_valid")
def a_licence_begins_in_a_second(stage: Stage) -> Verdict:
    return stage.look(stage.licence(not_before=NOW + 1))


@caught(8, FAIL, "signed_in_future")
def a_licence_is_dated_more_than_an_hour_ahead(stage: Stage) -> Verdict:
    return stage.look(stage.licence(logged_at=NOW - HOUR, issued_at=NOW + HOUR + 1))


@caught(8, FAIL, "usage_expired")
def the_use_of_an_annotated_copy_ended_this_second(stage: Stage) -> Verdict:
    return stage.look(stage.licence(usage=Usage(role="copy", purpose="投标", until=NOW)))


# 9 status


@caught(9, FAIL, "status_missing")
def the_status_is_left_out(stage: Stage) -> Verdict:
    return stage.look(stage.licence(status=None))


@caught(9, FAIL, "status_source_unknown")
def the_status_list_is_of_another_department(stage: Stage) -> Verdict:
    return stage.look(stage.licence(status=StatusReference(0, stage.world.peer.status_uri(TRANSPORT_DEPARTMENT))))


@caught(9, FAIL, "status_source_unknown")
def the_status_list_of_another_department_is_named_by_a_licence_dated_after_the_bundle(stage: Stage) -> Verdict:
    status = StatusReference(0, stage.world.peer.status_uri(TRANSPORT_DEPARTMENT))
    return stage.look(stage.licence(logged_at=NOW - 60, status=status))


@caught(9, FAIL, "status_source_unknown")
def the_status_list_is_invented(stage: Stage) -> Verdict:
    return stage.look(stage.licence(status=StatusReference(0, "https://cn-gd.example/status/99")))


@caught(9, UNKNOWN, "bundle_older_than_licence")
def the_status_list_is_invented_and_the_licence_dated_after_the_bundle(stage: Stage) -> Verdict:
    status = StatusReference(0, "https://cn-gd.example/status/99")
    return stage.look(stage.licence(logged_at=NOW - 60, status=status))


@caught(9, UNKNOWN, "status_list_absent")
def the_status_list_is_withheld(stage: Stage) -> Verdict:
    licence = stage.licence()
    stage.store(without=["status"])
    return stage.look(licence)


@caught(9, UNKNOWN, "status_list_too_old")
def the_status_list_is_frozen_until_its_hard_stop(stage: Stage) -> Verdict:
    licence = stage.licence(logged_at=NOW - 31 * DAY)
    stage.store(status_at=NOW - 30 * DAY)
    return stage.look(licence)


@caught(9, UNKNOWN, "status_list_too_old")
def the_status_list_of_a_safety_licence_is_72_hours_old(stage: Stage) -> Verdict:
    licence, challenge = stage.licence("transport"), stage.challenge()
    stage.store(status_at=NOW - 72 * HOUR)
    return stage.look(stage.shown(licence, challenge=challenge), challenge=challenge)


@caught(9, UNKNOWN, "status_list_too_new")
def the_status_list_does_not_reach_back_to_the_time_asked(stage: Stage) -> Verdict:
    licence = stage.licence()
    stage.store(status_at=NOW)
    return stage.look(licence, at=NOW - HOUR - 1)


@caught(9, FAIL, "status_index_outside")
def the_status_index_lies_outside_the_list(stage: Stage) -> Verdict:
    return stage.look(stage.licence(status=StatusReference(4096, stage.world.peer.status_uri(FOOD_DEPARTMENT))))


@caught(9, FAIL, "revoked")
def the_licence_is_revoked(stage: Stage) -> Verdict:
    return with_status(stage, 1)


@caught(9, FAIL, "revoked")
def the_licence_was_revoked_and_the_list_is_withheld_since(stage: Stage) -> Verdict:
    licence = stage.licence(logged_at=NOW - 41 * DAY)
    stage.store(statuses={FOOD_DEPARTMENT: {0: 1}}, status_at=NOW - 40 * DAY)
    return stage.look(licence)


@caught(9, FAIL, "suspended")
def the_licence_is_suspended(stage: Stage) -> Verdict:
    return with_status(stage, 2)


@caught(9, FAIL, "superseded")
def the_licence_is_superseded(stage: Stage) -> Verdict:
    return with_status(stage, 3)


# The clock


@caught(8, UNKNOWN, "clock_below_floor", {7: "clock_below_floor", 9: "clock_below_floor"})
def the_clock_is_set_back(stage: Stage) -> Verdict:
    licence = stage.licence()
    floor = stage.store(at=NOW).clock_floor
    return stage.look(licence, clock=floor - 301)


@caught(2, UNKNOWN, "clock_below_floor", {7: "clock_below_floor", 8: "clock_below_floor", 9: "clock_below_floor"})
def the_clock_is_set_back_to_when_a_recorded_code_was_fresh(stage: Stage) -> Verdict:
    licence = stage.licence("constructor")
    floor = stage.store(at=NOW).clock_floor
    return stage.look(stage.shown(licence, at=floor - 600), clock=floor - 570)


def with_status(stage: Stage, value: int) -> Verdict:
    licence = stage.licence()
    stage.store(statuses={FOOD_DEPARTMENT: {0: value}})
    return stage.look(licence)
