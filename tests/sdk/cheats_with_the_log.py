"""Cheats with keys, logs and authority: checks 3, 6 and 7 of the recipe."""

from __future__ import annotations

from dataclasses import replace

from chopmark.bundle_entries import FinalTree, IssuerState, IssuerStatus
from chopmark.claims import StatusReference
from chopmark.credential import Credential
from chopmark.entries import CredentialEntry
from chopmark.issuer_key import Revocation, RevocationReason, TrustedSize
from chopmark.landmark import LandmarkProof
from chopmark.merkle import subtree_inclusion_proof
from chopmark.verdict import Verdict

from specs.vectors.sample_world import FOOD_DEPARTMENT, NOW, TRANSPORT_DEPARTMENT
from tests.sdk.attack_stage import DAY, HOUR, LOGGED, Stage, replaced
from tests.sdk.cheats import FAIL, KEYLESS, UNDATED, UNKNOWN, caught

# 3 issuer key known


@caught(
    3, UNKNOWN, "region_unknown", KEYLESS | {2: "not_reached", 5: "not_reached", 6: "region_unknown", 9: "not_reached"}
)
def the_licence_is_of_a_region_that_nobody_vouches_for(stage: Stage) -> Verdict:
    licence = stage.signed(stage.issue(), lambda payload: payload.update({1: "CN-BJ/11110000MB99990013"}))
    return stage.look(licence)


@caught(
    3, UNKNOWN, "peer_closed", KEYLESS | {2: "not_reached", 5: "not_reached", 6: "region_unknown", 9: "not_reached"}
)
def the_peering_has_ended(stage: Stage) -> Verdict:
    licence = stage.licence()
    stage.world.home.peers = replaced(stage.world.home.peers, 0, not_after=NOW)
    stage.store()
    return stage.look(licence)


@caught(3, FAIL, "issuer_unknown", KEYLESS | {9: "status_source_unknown"})
def a_department_is_invented(stage: Stage) -> Verdict:
    return stage.look(stage.licence(issuer="CN-GD/11440000MB99990999", signer=stage.thief))


@caught(3, FAIL, "key_unknown", KEYLESS)
def a_key_is_invented(stage: Stage) -> Verdict:
    return stage.look(stage.licence(signer=stage.thief))


@caught(3, FAIL, "key_unknown", KEYLESS)
def a_department_signs_in_the_name_of_another(stage: Stage) -> Verdict:
    return stage.look(stage.licence(signer=stage.credential_key(TRANSPORT_DEPARTMENT)))


@caught(3, UNKNOWN, "bundle_older_than_licence", KEYLESS)
def a_key_is_invented_and_the_licence_dated_after_the_bundle(stage: Stage) -> Verdict:
    return stage.look(stage.licence(signer=stage.thief, logged_at=NOW - 60))


@caught(3, FAIL, "key_unknown", KEYLESS)
def a_key_is_invented_and_the_licence_dated_with_the_bundle(stage: Stage) -> Verdict:
    return stage.look(stage.licence(signer=stage.thief, logged_at=NOW - HOUR))


@caught(6, FAIL, "log_unknown", UNDATED)
def a_log_is_invented_and_the_licence_dated_with_the_bundle(stage: Stage) -> Verdict:
    licence = stage.licence(logged_at=NOW - HOUR)
    assert licence.landmark_proof is not None
    return stage.look(licence.with_landmark_proof(replace(licence.landmark_proof, log_number=2)))


@caught(3, FAIL, "key_of_another_use")
def the_status_key_signs_a_licence(stage: Stage) -> Verdict:
    return stage.look(stage.licence(signer=stage.world.peer.signers[FOOD_DEPARTMENT, "status"]))


# 6 logged


@caught(6, UNKNOWN, "not_shown_logged", UNDATED)
def the_departments_real_key_signs_what_is_never_logged(stage: Stage) -> Verdict:
    return stage.look(stage.issue(issued_at=NOW - 60, not_before=None))


@caught(6, UNKNOWN, "landmark_unknown", UNDATED)
def the_landmark_is_invented(stage: Stage) -> Verdict:
    licence = stage.issue()
    stage.store()
    return stage.look(stage.world.logged(licence)[0])


@caught(6, FAIL, "log_unknown", UNDATED)
def the_log_is_invented(stage: Stage) -> Verdict:
    licence = stage.licence()
    proof = licence.landmark_proof
    assert proof is not None
    return stage.look(licence.with_landmark_proof(replace(proof, log_number=2)))


@caught(6, FAIL, "log_unknown", UNDATED)
def the_entry_stands_in_a_log_of_the_home_region(stage: Stage) -> Verdict:
    licence = stage.issue()
    home = stage.world.home.log
    index = home.append(CredentialEntry(FOOD_DEPARTMENT, licence.digest).encode())
    return stage.look(licence.with_tlog_proof(home.tlog_proof(index, at=LOGGED)))


@caught(6, FAIL, "log_path_wrong", UNDATED)
def the_entry_stands_under_a_landmark_of_the_home_region(stage: Stage) -> Verdict:
    licence, other = stage.issue(), stage.licence()
    home = stage.world.home.log
    while home.size < 2:
        home.append(CredentialEntry(FOOD_DEPARTMENT, licence.digest).encode())
    home.landmark(at=LOGGED)
    proof = home.landmark_proof(1)
    assert other.landmark_proof is not None
    assert (proof.start, proof.end) == (other.landmark_proof.start, other.landmark_proof.end)
    return stage.look(licence.with_landmark_proof(proof))


@caught(6, UNKNOWN, "log_not_accepted", UNDATED)
def the_entry_stands_in_a_log_that_home_does_not_accept(stage: Stage) -> Verdict:
    licence = stage.issue()
    second = stage.second_log(accepted=False)
    stage.store()
    stage.the_bundle_becomes(logs=(*stage.first_log(), stage.log_entry(second)))
    index = second.append(CredentialEntry(FOOD_DEPARTMENT, licence.digest).encode())
    return stage.look(licence.with_tlog_proof(second.tlog_proof(index, at=LOGGED)))


@caught(6, FAIL, "log_path_wrong", UNDATED)
def the_path_is_of_another_entry(stage: Stage) -> Verdict:
    genuine, forged = stage.issue(), stage.issue()
    (genuine,) = stage.world.logged(genuine)
    assert genuine.landmark_proof is not None
    return stage.look(forged.with_landmark_proof(genuine.landmark_proof))


@caught(6, FAIL, "log_path_wrong", UNDATED)
def the_entry_names_another_issuer(stage: Stage) -> Verdict:
    return stage.look(stage.signed(stage.issue(), logged_as=TRANSPORT_DEPARTMENT))


@caught(6, UNKNOWN, "log_quorum_missing", UNDATED)
def the_checkpoint_has_no_cosignature(stage: Stage) -> Verdict:
    return stage.look(stage.with_checkpoint(stage.issue(), witnesses=[]))


@caught(6, UNKNOWN, "log_quorum_missing", UNDATED)
def the_logs_own_region_is_its_only_witness(stage: Stage) -> Verdict:
    return stage.look(stage.with_checkpoint(stage.issue(), witnesses=[stage.world.peer.witness]))


@caught(6, FAIL, "log_frozen_before", UNDATED)
def the_entry_was_added_to_a_frozen_log(stage: Stage) -> Verdict:
    second = stage.second_log()
    stage.store()
    final = FinalTree(stage.log.size, bytes(32))
    licence = stage.with_checkpoint(stage.issue(issued_at=NOW - 600, not_before=None), at=NOW - 600)
    stage.the_bundle_becomes(
        log=second, logs=(*stage.first_log(final=final, not_after=NOW - HOUR), stage.log_entry(second))
    )
    return stage.look(licence)


@caught(6, UNKNOWN, "witnessed_in_future", UNDATED)
def the_witnessed_time_is_ahead_of_the_clock(stage: Stage) -> Verdict:
    return stage.look(stage.with_checkpoint(stage.issue(), at=NOW + HOUR + 1))


# 7 authority


@caught(7, FAIL, "issuer_inactive", says="was suspended when")
def a_suspended_department_issues(stage: Stage) -> Verdict:
    suspended = IssuerStatus(IssuerState.SUSPENDED, LOGGED - DAY, None)
    active = IssuerStatus(IssuerState.ACTIVE, LOGGED + DAY, None)
    stage.department_is(suspended, active)
    return stage.look(stage.licence())


@caught(7, FAIL, "issuer_inactive", says="was unknown when")
def a_department_issues_before_it_was_enrolled(stage: Stage) -> Verdict:
    peer = stage.world.peer
    peer.issuers = replaced(peer.issuers, 0, status=(IssuerStatus(IssuerState.ACTIVE, LOGGED + 1, None),))
    return stage.look(stage.licence())


@caught(7, FAIL, "issuer_inactive", says="was withdrawn when")
def a_withdrawn_department_issues(stage: Stage) -> Verdict:
    stage.department_is(IssuerStatus(IssuerState.WITHDRAWN, LOGGED - DAY, "dissolved"))
    return stage.look(stage.licence())


@caught(7, FAIL, "issuer_inactive")
def a_suspended_department_waits_for_a_later_checkpoint(stage: Stage) -> Verdict:
    suspended = IssuerStatus(IssuerState.SUSPENDED, LOGGED - DAY, None)
    stage.department_is(suspended, IssuerStatus(IssuerState.ACTIVE, LOGGED + 2 * HOUR, None))
    licence = stage.licence()
    assert licence.landmark_proof is not None
    late = stage.log.tlog_proof(licence.landmark_proof.index, at=LOGGED + 3 * HOUR)
    return stage.look(licence.without_proofs().with_tlog_proof(late))


@caught(7, FAIL, "issuer_inactive")
def a_suspended_department_waits_for_a_later_landmark_that_overlaps(stage: Stage) -> Verdict:
    suspended = IssuerStatus(IssuerState.SUSPENDED, LOGGED - DAY, None)
    stage.department_is(suspended, IssuerStatus(IssuerState.ACTIVE, LOGGED + 2 * HOUR, None))
    while stage.log.size < 4:
        stage.world.log(stage.issue())
    licence = stage.licence(logged_at=LOGGED)
    stage.world.logged(*(stage.issue() for _ in range(8)), at=LOGGED + 3 * HOUR)
    early, late = (record for record in stage.log.records if record.start <= 4 < record.end)
    assert (early.end, late.start, late.end, late.witnessed_time) == (5, 4, 8, LOGGED + 3 * HOUR)
    path = b"".join(subtree_inclusion_proof(index=4, start=4, end=8, read=stage.log.read))
    return stage.look(licence.with_landmark_proof(LandmarkProof(1, 4, 8, 4, path)))


@caught(7, FAIL, "key_outside_window")
def a_key_signs_before_its_window(stage: Stage) -> Verdict:
    stage.key_is(not_before=LOGGED + 1)
    return stage.look(stage.licence())


@caught(7, FAIL, "key_outside_window")
def a_key_signs_more_than_the_grace_after_its_window(stage: Stage) -> Verdict:
    stage.key_is(not_after=LOGGED - 15 * 60)
    return stage.look(stage.licence())


@caught(7, FAIL, "key_compromised")
def a_stolen_key_signs_at_the_size_that_is_trusted(stage: Stage) -> Verdict:
    licence = stage.licence()
    assert licence.landmark_proof is not None
    stage.key_is(revoked=stage.compromised(licence.landmark_proof.index))
    return stage.look(licence)


@caught(7, FAIL, "key_compromised")
def a_stolen_key_signs_in_a_log_that_is_not_trusted(stage: Stage) -> Verdict:
    stage.key_is(revoked=Revocation(NOW - HOUR, RevocationReason.COMPROMISED, ()))
    return stage.look(stage.licence())


@caught(7, FAIL, "key_superseded")
def a_superseded_key_goes_on_signing(stage: Stage) -> Verdict:
    trusted = (TrustedSize(stage.log.origin, stage.log.size),)
    stage.key_is(revoked=Revocation(LOGGED - DAY, RevocationReason.SUPERSEDED, trusted))
    return stage.look(stage.licence())


@caught(7, FAIL, "not_granted")
def a_department_issues_a_type_that_it_may_not(stage: Stage) -> Verdict:
    return stage.look(stage.shown(constructor_by_the_food_department(stage)))


@caught(7, FAIL, "not_granted")
def a_grant_has_ended(stage: Stage) -> Verdict:
    stage.world.peer.grants = replaced(stage.world.peer.grants, 0, not_after=LOGGED - 15 * 60)
    return stage.look(stage.licence())


@caught(7, FAIL, "not_granted")
def a_grant_has_not_begun(stage: Stage) -> Verdict:
    stage.world.peer.grants = replaced(stage.world.peer.grants, 0, not_before=LOGGED + 1)
    return stage.look(stage.licence())


@caught(7, UNKNOWN, "bundle_older_than_licence")
def a_department_issues_a_type_that_it_may_not_and_dates_it_after_the_bundle(stage: Stage) -> Verdict:
    return stage.look(stage.shown(constructor_by_the_food_department(stage, logged_at=NOW - 60)))


@caught(7, FAIL, "log_outside_window")
def the_entry_was_added_when_the_log_was_closed(stage: Stage) -> Verdict:
    second = stage.second_log()
    stage.store(at=LOGGED - 5 * DAY)
    licence = stage.with_checkpoint(stage.issue(issued_at=LOGGED, not_before=None))
    stage.the_bundle_becomes(log=second, logs=(*stage.first_log(not_after=LOGGED - DAY), stage.log_entry(second)))
    return stage.look(licence)


@caught(7, FAIL, "issued_far_from_logged")
def a_licence_is_backdated_by_more_than_a_day(stage: Stage) -> Verdict:
    return stage.look(stage.licence(issued_at=LOGGED - DAY - 1))


@caught(7, FAIL, "issued_far_from_logged")
def a_licence_is_dated_more_than_a_day_after_it_was_logged(stage: Stage) -> Verdict:
    return stage.look(stage.licence(issued_at=LOGGED + DAY + 1))


@caught(7, UNKNOWN, "bundle_past_hard_stop")
def the_bundle_is_withheld_for_thirty_days(stage: Stage) -> Verdict:
    licence, later = stage.licence(), NOW + 30 * DAY
    stage.store(at=NOW, bundle_at=NOW)
    stage.refresh_status(at=later - HOUR)
    return stage.look(licence, clock=later)


def constructor_by_the_food_department(stage: Stage, logged_at: int = LOGGED) -> Credential:
    status = StatusReference(0, stage.world.peer.status_uri(FOOD_DEPARTMENT))
    return stage.licence(
        "constructor", issuer=FOOD_DEPARTMENT, signer=stage.credential_key(), status=status, logged_at=logged_at
    )
