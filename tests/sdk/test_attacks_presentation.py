"""Attacks on the showing of a licence: key bindings stripped and swapped, replays, challenges relayed, paper."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from chopmark import cbor, cose
from chopmark.cbor import Key, Value
from chopmark.claims import Usage
from chopmark.cose import Sign1
from chopmark.credential import Credential
from chopmark.keys import Ed25519Signer, Signer
from chopmark.replay_cache import ReplayCache
from chopmark.verdict import Outcome, Result, Verdict
from chopmark.verifier import VerificationPolicy

from specs.vectors.sample_world import FOOD_DEPARTMENT, INSPECTOR, NOW, TRANSPORT_DEPARTMENT, DeterministicEs256Signer
from tests.sdk.attack_stage import LENIENT, LOGGED, Stage, reason

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
OTHER_INSPECTOR = "CN-SH/11310000MB99990121"


def malleated(message: Sign1) -> Sign1:
    """The same message with the other ECDSA signature that everybody can compute from the first."""
    r, s = message.signature[:32], int.from_bytes(message.signature[32:], "big")
    return replace(message, signature=r + (P256_ORDER - s).to_bytes(32, "big"))


def not_read(verdict: Verdict) -> str:
    """What is said of something that is not even read."""
    assert verdict.outcome is not Outcome.VALID
    assert verdict.credential is None
    return verdict.checks[1].message("en")


# Without the holder's key


def test_a_licence_taken_out_of_its_token_is_a_copy(stage: Stage) -> None:
    shown = stage.shown(stage.licence("constructor"), disclose=(2, 3, 4))
    assert stage.look(shown).outcome is Outcome.VALID
    verdict = stage.look(shown.credential)
    assert (verdict.outcome, reason(verdict, 2)) == (Outcome.INDETERMINATE, "copy")


def test_the_file_with_all_disclosures_is_a_copy(stage: Stage) -> None:
    assert reason(stage.look(stage.licence("constructor")), 2) == "copy"


def test_a_copy_is_no_answer_to_a_challenge(stage: Stage) -> None:
    assert reason(stage.look(stage.licence("transport"), challenge=stage.challenge()), 2) == "copy"


@pytest.mark.parametrize("typ", [61, 293])
def test_a_bound_licence_renamed_to_bearer_is_refused(stage: Stage, typ: int) -> None:
    """The attacker changes the header of a bound licence, and for the other case strips the holder's key as well."""
    message = stage.licence("constructor").sign1
    protected = cbor.decode(message.protected)
    payload = cbor.decode(message.payload)
    assert isinstance(protected, dict)
    assert isinstance(payload, dict)
    protected[cose.TYP] = typ
    if typ == 293:
        del payload[8]
    forged = replace(message, protected=cbor.encode(protected), payload=cbor.encode(payload))
    assert "malformed" in not_read(stage.look(forged))


@pytest.mark.parametrize("who", ["holder", "thief", "status key"])
def test_a_bound_licence_signed_again_as_paper_by_somebody_else_is_refused(stage: Stage, who: str) -> None:
    signers: dict[str, Signer] = {
        "holder": stage.world.holder,
        "thief": stage.thief,
        "status key": stage.world.peer.signers[TRANSPORT_DEPARTMENT, "status"],
    }
    usage = Usage(role="paper", medium="paper")
    paper = stage.licence("constructor", holder_key=None, credential_id=bytes(16), usage=usage, signer=signers[who])
    assert reason(stage.look(paper), 3) == ("key_of_another_use" if who == "status key" else "key_unknown")
    real_kid = replace(paper.sign1, protected=stage.issue("constructor", holder_key=None).sign1.protected)
    assert reason(stage.look(real_kid), 4) == "signature_wrong"


def test_paper_signed_by_a_department_that_may_not_is_refused(stage: Stage) -> None:
    usage = Usage(role="paper", medium="paper")
    changes: dict[str, Any] = {"holder_key": None, "credential_id": bytes(16), "usage": usage}
    food = stage.world.peer.signers[FOOD_DEPARTMENT, "credential"]
    paper = stage.licence("constructor", issuer=FOOD_DEPARTMENT, signer=food, **changes)
    assert reason(stage.look(paper), 7) == "not_granted"


def test_paper_is_valid_at_most_with_a_look_at_the_identity_document(stage: Stage) -> None:
    usage = Usage(role="paper", medium="paper")
    verdict = stage.look(stage.licence("constructor", holder_key=None, credential_id=bytes(16), usage=usage))
    assert verdict.outcome is Outcome.VALID
    assert "compare_identity" in {remark.reason for remark in verdict.remarks}


def test_paper_answers_no_challenge(stage: Stage) -> None:
    usage = Usage(role="paper", medium="paper")
    paper = stage.licence("constructor", holder_key=None, credential_id=bytes(16), usage=usage)
    assert reason(stage.look(paper, challenge=stage.challenge("constructor")), 2) == "challenge_not_answered"
    strict = VerificationPolicy(require_challenge=True)
    assert reason(stage.look(paper, policy=strict), 2) == "challenge_not_answered"


def test_a_paper_use_in_a_bound_licence_does_not_replace_the_token(stage: Stage) -> None:
    usage = Usage(role="paper", medium="paper")
    assert reason(stage.look(stage.licence("constructor", usage=usage)), 2) == "copy"


# With another key


def test_a_licence_in_the_token_of_another_holder_is_refused(stage: Stage) -> None:
    """B shows A's licence in a token of his own, though he has a genuine licence too."""
    other = DeterministicEs256Signer(b"another holder")
    stage.licence("constructor", index=1, holder_key=other.public_key)
    assert reason(stage.look(stage.token(stage.licence("constructor"), signer=other)), 2) == "holder_signature_wrong"


def test_a_token_moved_to_another_licence_is_refused(stage: Stage) -> None:
    one, two = stage.licence("constructor"), stage.licence("constructor", index=1)
    shown = stage.shown(one).sign1
    moved = stage.token(two)
    assert stage.look(moved).outcome is Outcome.VALID
    assert reason(stage.look(replace(moved, signature=shown.signature)), 2) == "holder_signature_wrong"


def test_a_disclosure_added_or_taken_away_under_the_token_is_refused(stage: Stage) -> None:
    licence = stage.licence("constructor")
    some, all_of_it = stage.shown(licence, disclose=(2,)).sign1, stage.shown(licence, disclose=(2, 3, 4)).sign1
    assert reason(stage.look(replace(some, protected=all_of_it.protected)), 2) == "holder_signature_wrong"
    assert reason(stage.look(replace(all_of_it, protected=some.protected)), 2) == "holder_signature_wrong"


def test_a_disclosure_of_another_licence_is_refused(stage: Stage) -> None:
    one, two = stage.licence("constructor"), stage.licence("constructor", index=1)
    contents: Value = [entry.encode() for entry in (*one.disclosures[:2], two.disclosures[2])]
    mixed = replace(one.sign1, unprotected={**one.sign1.unprotected, cose.SD_CLAIMS: contents})
    assert reason(stage.look(stage.token(mixed)), 5) == "disclosure_mismatch"


def test_a_disclosure_shown_twice_is_refused(stage: Stage) -> None:
    licence = stage.licence("constructor")
    contents: Value = [licence.disclosures[0].encode()] * 2
    twice = replace(licence.sign1, unprotected={**licence.sign1.unprotected, cose.SD_CLAIMS: contents})
    assert reason(stage.look(stage.token(twice)), 5) == "disclosure_mismatch"


def test_the_landmark_path_is_under_the_holders_signature_too(stage: Stage) -> None:
    licence = stage.licence("constructor")
    unlogged = stage.shown(licence.without_proofs()).sign1
    assert reason(stage.look(replace(unlogged, protected=stage.shown(licence).sign1.protected)), 2) == (
        "holder_signature_wrong"
    )


# Forms of the token


@pytest.mark.parametrize(
    "claims",
    [
        {3: "*"},
        {6: NOW},
        {3: "*", 6: NOW, 4: NOW + 999},
        {3: "*", 6: NOW, 39: bytes(32)},
        {3: INSPECTOR, 6: NOW},
        {3: "", 6: NOW},
        {3: ["*", INSPECTOR], 6: NOW},
        {3: "*", 6: str(NOW)},
        {3: "*", 6: -(2**63)},
        {3: INSPECTOR, 6: NOW, 39: bytes(31)},
    ],
    ids=repr,
)
def test_a_token_with_other_claims_is_not_read(stage: Stage, claims: Mapping[Key, Value]) -> None:
    assert "malformed" in not_read(stage.look(stage.token(stage.licence("constructor"), claims)))


def test_a_token_with_a_header_too_many_is_not_read(stage: Stage) -> None:
    licence = stage.licence("constructor")
    assert "malformed" in not_read(stage.look(stage.token(licence, protected={-70000: 1})))
    assert "malformed" in not_read(stage.look(stage.token(licence, unprotected={-70000: 1})))


def test_a_token_dated_before_its_licence_is_not_read(stage: Stage) -> None:
    licence = stage.licence("constructor", logged_at=NOW - 60, issued_at=NOW + 30, not_before=None)
    assert "dated before its credential" in not_read(stage.look(stage.token(licence, {3: "*", 6: NOW})))


def test_a_token_around_a_token_is_not_read(stage: Stage) -> None:
    inner = stage.token(stage.licence("constructor"))
    assert not_read(stage.look(stage.token(inner)))


def test_a_token_around_a_bearer_licence_is_not_read(stage: Stage) -> None:
    assert "malformed" in not_read(stage.look(stage.token(stage.licence())))


def test_a_token_whose_header_names_another_algorithm_is_refused(stage: Stage) -> None:
    licence = stage.licence("constructor")
    token = stage.token(licence, signer=stage.thief)
    assert reason(stage.look(token), 2) == "holder_signature_wrong"


def test_an_ed25519_key_of_small_order_binds_nobody(stage: Stage) -> None:
    def weak(payload: dict[Key, Value]) -> None:
        payload[8] = {1: {1: 1, -1: 6, -2: b"\1" + bytes(31)}}

    licence = stage.signed(stage.issue("constructor"), weak)
    signature = b"\1" + bytes(63)
    token = replace(stage.token(licence, signer=stage.thief), signature=signature)
    assert "malformed" in not_read(stage.look(token))


def test_a_holder_with_an_ed25519_key_is_a_holder_too(stage: Stage) -> None:
    holder = Ed25519Signer.from_private_bytes(b"h" * 32)
    licence = stage.licence("constructor", holder_key=holder.public_key)
    assert stage.look(stage.token(licence, signer=holder)).outcome is Outcome.VALID
    assert reason(stage.look(stage.token(licence, signer=stage.thief)), 2) == "holder_signature_wrong"


# Moments


@pytest.mark.parametrize(
    ("age", "answer"),
    [(-61, "presentation_ahead"), (-60, None), (0, None), (90, None), (91, "presentation_too_old")],
)
def test_a_token_lives_from_a_minute_before_to_ninety_seconds_after(stage: Stage, age: int, answer: str | None) -> None:
    verdict = stage.look(stage.shown(stage.licence("constructor"), at=NOW - age))
    assert (verdict.outcome is Outcome.VALID) is (answer is None)
    assert answer is None or verdict.checks[2].reason == answer


@pytest.mark.parametrize("expires", [NOW + 1, NOW + 30, NOW + 60])
def test_no_token_is_dated_after_the_end_of_its_licence(stage: Stage, expires: int) -> None:
    """The draft demands the token's iat before the credential's exp; the answer is that the licence has expired."""
    licence = stage.licence("constructor", expires=expires)
    assert stage.look(stage.token(licence, {3: "*", 6: expires - 1})).outcome is Outcome.VALID
    assert reason(stage.look(stage.token(licence, {3: "*", 6: expires})), 8) == "expired"


def test_a_token_is_fresh_for_the_time_that_is_asked_about(stage: Stage) -> None:
    shown = stage.shown(stage.licence("constructor"))
    assert reason(stage.look(shown, clock=NOW + 600), 2) == "presentation_too_old"
    assert stage.look(shown, clock=NOW + 600, at=NOW + 30).outcome is Outcome.VALID


# Replays


def test_a_malleated_signature_is_the_same_presentation(stage: Stage) -> None:
    shown, cache = stage.shown(stage.licence("constructor")).sign1, ReplayCache()
    other = malleated(shown)
    assert other.encode() != shown.encode()
    assert stage.look(shown, replay_cache=cache).outcome is Outcome.VALID
    assert reason(stage.look(other, replay_cache=cache), 2) == "replayed"


def test_a_malleated_signature_of_the_issuer_is_the_same_licence(stage: Stage) -> None:
    """An HSM key signs by ECDSA: neither the entry in the log nor the replay cache looks at the signature's bytes."""
    hsm = DeterministicEs256Signer(b"hsm")
    key = replace(stage.world.peer.keys[2], kid=hsm.public_key.kid, public_key=hsm.public_key)
    stage.world.peer.keys.append(key)
    licence, cache = stage.licence("constructor", signer=hsm), ReplayCache()
    other = replace(licence, sign1=malleated(licence.sign1))
    shown = stage.look(stage.token(licence), replay_cache=cache)
    again = stage.look(stage.token(other), replay_cache=cache)
    assert shown.outcome is again.outcome is Outcome.VALID  # two tokens, both signed by the holder
    assert shown.credential is not None
    assert again.credential is not None
    assert shown.credential.digest == again.credential.digest


def test_there_is_no_moment_at_which_a_token_can_be_shown_twice(stage: Stage) -> None:
    licence = stage.licence("constructor")
    stage.store()
    shown = stage.shown(licence, at=NOW)
    for first in range(NOW - 60, NOW + 91, 30):
        for second in range(first, NOW + 200, 10):
            cache = ReplayCache()
            assert stage.look(shown, clock=first, replay_cache=cache).outcome is Outcome.VALID
            answer = reason(stage.look(shown, clock=second, replay_cache=cache), 2)
            assert answer == ("replayed" if second <= NOW + 90 else "presentation_too_old")


def test_a_clock_that_is_set_back_does_not_bring_a_token_back(stage: Stage) -> None:
    licence, cache = stage.licence("constructor"), ReplayCache()
    shown = stage.shown(licence)
    assert stage.look(shown, clock=NOW + 60, replay_cache=cache).outcome is Outcome.VALID
    assert reason(stage.look(shown, clock=NOW, replay_cache=cache), 2) == "replayed"


def test_a_question_about_another_time_does_not_empty_the_replay_cache(stage: Stage) -> None:
    licence, other, cache = stage.licence("constructor"), stage.licence("constructor", index=1), ReplayCache()
    shown = stage.shown(licence)
    assert stage.look(shown, replay_cache=cache).outcome is Outcome.VALID
    ahead = stage.shown(other, at=NOW + 3600)
    assert stage.look(ahead, at=NOW + 3600, replay_cache=cache).outcome is Outcome.VALID
    assert reason(stage.look(shown, replay_cache=cache), 2) == "replayed"


def test_forgeries_do_not_fill_the_replay_cache(stage: Stage) -> None:
    cache = ReplayCache(capacity=1)
    genuine, forged = stage.licence("constructor"), stage.licence("constructor", signer=stage.thief)
    for second in range(3):
        stage.look(stage.shown(forged, at=NOW - second), replay_cache=cache)
    assert stage.look(stage.shown(genuine), replay_cache=cache).outcome is Outcome.VALID


def test_answers_to_a_challenge_are_not_replayed_either(stage: Stage) -> None:
    challenge, cache = stage.challenge(), ReplayCache()
    shown = stage.shown(stage.licence("transport"), challenge=challenge)
    assert stage.look(shown, challenge=challenge, replay_cache=cache).outcome is Outcome.VALID
    assert reason(stage.look(shown, challenge=challenge, replay_cache=cache), 2) == "replayed"


# Challenges


def answer(stage: Stage, licence: Credential, audience: str, nonce: bytes) -> Sign1:
    return stage.token(licence, {3: audience, 6: NOW, 39: nonce})


def test_the_answer_to_one_inspector_is_none_to_another(stage: Stage) -> None:
    licence = stage.licence("transport")
    theirs = stage.challenge(inspector=OTHER_INSPECTOR)
    relayed = stage.shown(licence, challenge=theirs)
    assert reason(stage.look(relayed, challenge=stage.challenge()), 2) == "challenge_not_answered"
    assert reason(stage.look(relayed), 2) == "meant_for_another"


def test_the_answer_to_an_earlier_challenge_of_the_same_inspector_is_none_to_this(stage: Stage) -> None:
    licence = stage.licence("transport")
    earlier, now = stage.challenge(), stage.challenge()
    assert earlier.digest != now.digest
    shown = stage.shown(licence, challenge=earlier)
    assert reason(stage.look(shown, challenge=now), 2) == "challenge_not_answered"


@pytest.mark.parametrize(
    ("audience", "right_nonce"), [(INSPECTOR, False), (OTHER_INSPECTOR, True), (OTHER_INSPECTOR, False)]
)
def test_audience_and_nonce_must_both_be_those_of_the_challenge(stage: Stage, audience: str, right_nonce: bool) -> None:
    licence, challenge = stage.licence("transport"), stage.challenge()
    shown = answer(stage, licence, audience, challenge.digest if right_nonce else bytes(32))
    assert reason(stage.look(shown, challenge=challenge), 2) == "challenge_not_answered"


@pytest.mark.parametrize("nonce", ["the inner nonce", "the text"])
def test_the_nonce_of_an_answer_is_the_hash_of_the_challenge(stage: Stage, nonce: str) -> None:
    licence, challenge = stage.licence("transport"), stage.challenge()
    wrong = challenge.nonce * 2 if nonce == "the inner nonce" else hashlib.sha256(challenge.text().encode()).digest()
    shown = answer(stage, licence, INSPECTOR, wrong)
    assert reason(stage.look(shown, challenge=challenge), 2) == "challenge_not_answered"


@pytest.mark.parametrize(("late", "valid"), [(-1, True), (0, False), (1, False)])
def test_a_challenge_ends_at_its_second(stage: Stage, late: int, valid: bool) -> None:
    challenge = stage.challenge(at=NOW - 60, lifetime=60 - late)
    shown = stage.token(stage.licence("transport"), {3: INSPECTOR, 6: NOW, 39: challenge.digest})
    verdict = stage.look(shown, challenge=challenge)
    assert (verdict.outcome is Outcome.VALID) is valid
    assert valid or verdict.checks[2].reason == "challenge_expired"


def test_an_answer_that_leaves_out_what_was_asked_is_told(stage: Stage) -> None:
    challenge = stage.challenge(fields=(2, 5))
    licence = stage.licence("transport")
    silent = stage.look(stage.shown(licence, challenge=challenge), challenge=challenge)
    assert "requested_fields_missing" in {remark.reason for remark in silent.remarks}
    full = stage.look(stage.shown(licence, challenge=challenge, disclose=(2,)), challenge=challenge)
    assert "requested_fields_missing" not in {remark.reason for remark in full.remarks}
    everything = stage.challenge(fields=tuple(sorted(full.shown)))
    exact = stage.look(stage.shown(licence, challenge=everything, disclose=(2,)), challenge=everything)
    assert "requested_fields_missing" not in {remark.reason for remark in exact.remarks}


def test_a_policy_can_demand_a_challenge_where_the_type_does_not(stage: Stage) -> None:
    strict = VerificationPolicy(require_challenge=True)
    licence, challenge = stage.licence("constructor"), stage.challenge("constructor")
    assert reason(stage.look(stage.shown(licence), policy=strict), 2) == "challenge_required"
    answered = stage.look(stage.shown(licence, challenge=challenge), challenge=challenge, policy=strict)
    assert answered.outcome is Outcome.VALID
    assert reason(stage.look(stage.licence(), policy=strict), 2) == "challenge_not_answered"


@pytest.mark.parametrize("text", ["", "EC1:", "EC2:ABC", "EC1:0", "EL1:9DF", "x" * 100_000])
def test_a_challenge_that_is_none_makes_nothing_pass(stage: Stage, text: str) -> None:
    verdict = stage.look(stage.shown(stage.licence("constructor")), challenge=text)
    assert reason(verdict, 2) == "challenge_malformed"


# What a lenient policy gives up, and what not


def test_a_policy_without_the_holder_proof_takes_a_copy_but_no_false_token(stage: Stage) -> None:
    licence = stage.licence("constructor")
    assert stage.look(licence, policy=LENIENT).outcome is Outcome.VALID
    for shown in (
        stage.token(licence, signer=DeterministicEs256Signer(b"thief")),
        stage.token(licence, {3: "*", 6: NOW - 91}),
        stage.token(licence, {3: "*", 6: LOGGED}),
    ):
        verdict = stage.look(shown, policy=LENIENT)
        assert verdict.outcome is Outcome.INVALID
        assert verdict.checks[2].result is Result.FAIL
