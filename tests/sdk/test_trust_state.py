"""The update rules of a trust store: what is accepted, and every way in which it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.entries import StatusListEntry
from chopmark.errors import (
    ChopmarkError,
    FormatError,
    FutureDatedError,
    ProofError,
    QuorumError,
    RollbackError,
    SignatureError,
    TrustError,
)
from chopmark.keys import Ed25519Signer
from chopmark.landmark import LandmarkFile
from chopmark.note import NoteSigner, sign_note
from chopmark.root_epoch import Roots
from chopmark.status import StatusList, StatusListToken
from chopmark.trust_bundle import (
    FinalTree,
    IssuerState,
    IssuerStatus,
    KeyUse,
    Revocation,
    RevocationReason,
    StatusSigner,
    TrustBundle,
    TrustedSize,
)
from chopmark.trust_memory import TrustMemory
from chopmark.trust_state import TrustState

if TYPE_CHECKING:
    from tests.sdk.conftest import TestRegion, World

NOW = 1_795_339_800
DAY = 86_400
HOUR = 3_600


def empty(world: World) -> TrustState:
    return TrustState(world.home.pin, TrustMemory("CN-GD"))


def take_bundle(state: TrustState, region: TestRegion, bundle: TrustBundle, **options: Any) -> None:
    state.add_bundle(state.check_bundle(*region.logged(bundle, **options), now=NOW))


def filled(world: World, **changes: Any) -> TrustState:
    state = empty(world)
    take_bundle(state, world.home, world.home_bundle(**changes))
    take_bundle(state, world.peer, world.peer.bundle())
    return state


# Root epochs


def test_root_epochs_are_walked_one_by_one(world: World) -> None:
    state = empty(world)
    second = world.home.root_note(2, world.home.roots[:1], world.home.roots)
    third = world.home.root_note(3, world.home.roots, world.home.roots)
    with pytest.raises(TrustError, match="the epoch after 1 is 2"):
        state.check_root("CN-GD", third, now=NOW)
    state.add_root(state.check_root("CN-GD", second, now=NOW))
    state.add_root(state.check_root("CN-GD", third, now=NOW))
    assert state.latest_roots("CN-GD").epoch == 3
    assert sorted(state.epochs("CN-GD")) == [1, 2, 3]


def test_a_known_root_epoch_is_accepted_again_and_another_under_its_number_refused(world: World) -> None:
    state = empty(world)
    assert state.check_root("CN-GD", world.home.epoch_notes[0], now=NOW).epoch == 1
    with pytest.raises(TrustError, match="another root epoch is known"):
        state.check_root("CN-GD", world.home.root_note(1, world.home.roots[:1], world.home.roots), now=NOW)


def test_a_root_epoch_before_the_pin_is_a_rollback(world: World) -> None:
    second = world.home.root_note(2, world.home.roots, world.home.roots)
    state = TrustState(Roots.pin(second), TrustMemory("CN-GD"))
    with pytest.raises(RollbackError, match="the pin is epoch 2"):
        state.check_root("CN-GD", world.home.epoch_notes[0], now=NOW)


def test_a_root_epoch_of_another_region_is_refused(world: World) -> None:
    with pytest.raises(TrustError, match="not of the region CN-GD"):
        empty(world).check_root("CN-GD", world.peer.epoch_notes[0], now=NOW)
    with pytest.raises(TrustError, match="neither the home region"):
        empty(world).check_root("CN-SH", world.peer.epoch_notes[0], now=NOW)


def test_a_root_epoch_dated_ahead_is_refused(world: World) -> None:
    ahead = world.home.root_note(2, world.home.roots, world.home.roots, issued=NOW + HOUR + 1)
    with pytest.raises(FutureDatedError):
        empty(world).check_root("CN-GD", ahead, now=NOW)
    assert empty(world).check_root("CN-GD", ahead, now=NOW + 1).epoch == 2


# Bundles


def test_home_and_peer_bundles_are_accepted(world: World) -> None:
    state = filled(world)
    assert state.home.region == "CN-GD"
    assert state.bundles["CN-SH"].region == "CN-SH"
    assert len(state.policies("CN-GD", world.home.log.origin)) == 1
    assert len(state.policies("CN-SH", world.peer.log.origin)) == 2


def test_policies_are_never_empty(world: World) -> None:
    state = filled(world)
    for region, origin in (
        ("CN-GD", world.peer.log.origin),
        ("CN-SH", world.home.log.origin),
        ("CN-SH", "cn-sh.example/log/2027"),
        ("CN-BJ", world.home.log.origin),
    ):
        with pytest.raises(TrustError, match="not an accepted log"):
            state.policies(region, origin)


def test_without_a_home_bundle_nothing_else_is_known(world: World) -> None:
    state = empty(world)
    with pytest.raises(TrustError, match="no bundle of the home region"):
        _ = state.home
    assert state.peer("CN-SH") is None
    with pytest.raises(TrustError, match="neither the home region"):
        state.check_bundle(*world.peer.logged(world.peer.bundle()), now=NOW)


def test_the_bundle_of_a_region_that_is_no_peer_is_refused(world: World) -> None:
    state = empty(world)
    take_bundle(state, world.home, world.home.bundle())
    with pytest.raises(TrustError, match="nor one of its peers"):
        state.check_bundle(*world.peer.logged(world.peer.bundle()), now=NOW)


@pytest.mark.parametrize("window", [{"not_before": NOW + 1}, {"not_after": NOW}])
def test_the_bundle_of_a_peer_outside_its_window_is_refused(world: World, window: dict[str, int]) -> None:
    state = empty(world)
    take_bundle(state, world.home, world.home_bundle(peers=(world.peer.peer_entry(world.floor, **window),)))
    bundle = world.peer.logged(world.peer.bundle())
    with pytest.raises(TrustError, match="is not a peer at"):
        state.check_bundle(*bundle, now=NOW)
    assert state.check_bundle(*bundle, now=None).value.region == "CN-SH"


def test_a_bundle_of_one_region_signed_by_the_roots_of_another_is_refused(world: World) -> None:
    state = filled(world)
    contents = world.home.contents(seq=2)
    forged = sign_note(contents.text(), world.peer.roots).encode()
    with pytest.raises(SignatureError):
        state.check_bundle(forged, world.home.logged(world.home_bundle())[1], now=NOW)


def test_a_lower_seq_is_a_rollback(world: World) -> None:
    state = filled(world)
    first = world.home.logged(world.home_bundle())
    take_bundle(state, world.home, world.home_bundle(seq=2))
    with pytest.raises(RollbackError, match="1 is below 2"):
        state.check_bundle(*first, now=NOW)


def test_another_bundle_of_the_same_seq_is_a_rollback(world: World) -> None:
    state = filled(world)
    with pytest.raises(RollbackError, match="another object was accepted before as 1"):
        state.check_bundle(*world.home.logged(world.home_bundle(issued=NOW - 60)), now=NOW)


def test_the_same_bundle_may_come_again_with_another_proof(world: World) -> None:
    state = filled(world)
    checked = state.check_bundle(*world.home.logged(world.home_bundle(), at=NOW - 5), now=NOW)
    assert checked.home_time == NOW - 5


def test_a_bundle_that_drops_an_entry_is_refused(world: World) -> None:
    state = filled(world)
    with pytest.raises(TrustError, match="an entry is gone"):
        state.check_bundle(*world.home.logged(world.home_bundle(seq=2, peers=())), now=NOW)


def test_a_bundle_dated_ahead_is_refused(world: World) -> None:
    bundle = world.home_bundle(issued=NOW + HOUR + 1, refresh_after=NOW + DAY)
    logged = world.home.logged(bundle)
    with pytest.raises(FutureDatedError):
        empty(world).check_bundle(*logged, now=NOW)
    assert empty(world).check_bundle(*logged, now=NOW + 1).value.seq == 1


def test_a_bundle_witnessed_ahead_of_the_clock_is_refused(world: World) -> None:
    with pytest.raises(FutureDatedError):
        empty(world).check_bundle(*world.home.logged(world.home_bundle(), at=NOW + HOUR + 1), now=NOW)


def test_a_time_that_no_calendar_has_is_refused_even_while_loading(world: World) -> None:
    with pytest.raises(FutureDatedError):
        empty(world).check_bundle(*world.home.logged(world.home_bundle(), at=2**62), now=None)


def test_an_expired_bundle_is_accepted_for_it_is_reported_not_refused(world: World) -> None:
    bundle = world.home_bundle(issued=NOW - 60 * DAY, refresh_after=NOW - 59 * DAY, expires=NOW - 40 * DAY)
    assert empty(world).check_bundle(*world.home.logged(bundle), now=NOW).value.seq == 1


def test_a_bundle_that_is_not_logged_is_refused(world: World) -> None:
    bundle = world.home_bundle()
    with pytest.raises(ProofError):
        empty(world).check_bundle(bundle.data, world.home.log.log(b"another entry", NOW), now=NOW)
    with pytest.raises(FormatError):
        empty(world).check_bundle(bundle.data, b"", now=NOW)


def test_the_proof_of_another_bundle_is_refused(world: World) -> None:
    state = filled(world)
    second, third = world.home_bundle(seq=2), world.home_bundle(seq=3)
    with pytest.raises(ProofError):
        state.check_bundle(third.data, world.home.logged(second)[1], now=NOW)


def test_a_bundle_logged_in_the_log_of_another_region_is_refused(world: World) -> None:
    state = filled(world)
    with pytest.raises(TrustError, match=r"cn-sh\.example/log/2026, which is not a log of CN-GD"):
        state.check_bundle(*world.home.logged(world.home_bundle(seq=2), log=world.peer.log), now=NOW)


def test_a_bundle_under_too_few_witnesses_is_refused(world: World) -> None:
    bundle = world.home_bundle()
    data, _ = world.home.logged(bundle)
    for witnesses in ([], world.home.log.witnesses[:1], [world.witnesses["cn-gd.example"]]):
        proof = world.home.log.proof(0, NOW, witnesses=witnesses)
        with pytest.raises(QuorumError):
            empty(world).check_bundle(data, proof, now=NOW)


def test_a_peers_bundle_that_meets_its_own_policy_but_not_the_floor_is_refused(world: World) -> None:
    state = empty(world)
    take_bundle(state, world.home, world.home_bundle())
    weak = world.peer.bundle(logs=(world.peer.log_entry(policy_text=world.peer.log.policy(1)),))
    data, _ = world.peer.logged(weak)
    index = len(world.peer.log.entries) - 1
    gd, il = world.peer.log.witnesses
    with pytest.raises(QuorumError):
        state.check_bundle(data, world.peer.log.proof(index, NOW, witnesses=[il]), now=NOW)
    assert state.check_bundle(data, world.peer.log.proof(index, NOW, witnesses=[gd]), now=NOW).home_time == 0


def test_a_peers_log_that_the_home_region_does_not_name_is_refused(world: World) -> None:
    state = empty(world)
    other = world.peer.peer_entry(world.floor, origins=("cn-sh.example/log/2027",))
    take_bundle(state, world.home, world.home_bundle(peers=(other,)))
    with pytest.raises(TrustError, match="does not accept of CN-SH"):
        state.check_bundle(*world.peer.logged(world.peer.bundle()), now=NOW)


def test_a_peers_chain_of_roots_starts_at_the_pin_in_the_home_bundle(world: World) -> None:
    other = NoteSigner("cn-sh.example/root/x", Ed25519Signer.from_private_bytes(bytes(32)))
    state = empty(world)
    entry = world.peer.peer_entry(world.floor, roots=(other.vkey,), threshold=1)
    take_bundle(state, world.home, world.home_bundle(peers=(entry,)))
    with pytest.raises(SignatureError):
        state.check_bundle(*world.peer.logged(world.peer.bundle()), now=NOW)
    with pytest.raises(TrustError, match="another root epoch is known"):
        state.check_root("CN-SH", world.peer.epoch_notes[0], now=NOW)


def test_a_new_bundle_of_a_superseded_root_epoch_is_refused(world: World) -> None:
    state = filled(world)
    second = world.home.root_note(2, world.home.roots[:1], world.home.roots)
    state.add_root(state.check_root("CN-GD", second, now=NOW))
    with pytest.raises(TrustError, match="root epoch 1, which 2 superseded"):
        state.check_bundle(*world.home.logged(world.home_bundle(seq=2)), now=NOW)
    bundle = world.home_bundle(seq=2, epoch=2, roots=state.latest_roots("CN-GD"), signers=world.home.roots[:1])
    assert state.check_bundle(*world.home.logged(bundle), now=NOW).value.epoch == 2


def test_a_bundle_of_an_unknown_root_epoch_is_refused(world: World) -> None:
    second = Roots.pin(world.home.root_note(2, world.home.roots, world.home.roots))
    bundle = world.home_bundle(epoch=2, roots=second)
    with pytest.raises(TrustError, match="root epoch 2 is not known"):
        empty(world).check_bundle(*world.home.logged(bundle), now=NOW)


def test_a_bundle_logged_outside_the_window_of_the_log_is_refused(world: World) -> None:
    for window in ({"not_before": NOW}, {"not_after": NOW - 2000}):
        bundle = world.home_bundle(logs=(world.home.log_entry(**window),))
        with pytest.raises(TrustError, match="was not in use at"):
            empty(world).check_bundle(*world.home.logged(bundle, at=NOW - 1800), now=NOW)


def test_a_frozen_log_vouches_below_its_final_size_however_late(world: World) -> None:
    def frozen(size: int) -> TrustBundle:
        return world.home_bundle(logs=(world.home.log_entry(not_after=NOW - 2000, final=FinalTree(size, bytes(32))),))

    assert empty(world).check_bundle(*world.home.logged(frozen(1)), now=NOW).value.seq == 1
    with pytest.raises(TrustError, match="at or above the final size"):
        empty(world).check_bundle(*world.home.logged(frozen(1)), now=NOW)


def test_what_a_frozen_log_held_before_it_came_into_use_does_not_count(world: World) -> None:
    log = world.home.log_entry(not_before=NOW - 1000, not_after=NOW + DAY, final=FinalTree(9, bytes(32)))
    bundle = world.home_bundle(logs=(log,))
    with pytest.raises(TrustError, match="was not in use at"):
        empty(world).check_bundle(*world.home.logged(bundle, at=NOW - 1800), now=NOW)


# Landmark files


def take_landmarks(state: TrustState, world: World, file: LandmarkFile, origin: str, **options: Any) -> None:
    state.add_landmarks(origin, state.check_landmarks(origin, *world.vouched(file, origin, **options), now=NOW))


def test_landmarks_of_home_and_peer_are_accepted(world: World) -> None:
    state = filled(world)
    for log in (world.home.log, world.peer.log):
        take_landmarks(state, world, world.landmarks(log, 2), log.origin)
        assert len(state.landmark_files[log.origin]) == 2


def test_a_landmark_file_may_grow_but_not_shrink(world: World) -> None:
    state, origin = filled(world), world.peer.log.origin
    three = world.landmarks(world.peer.log, 3)
    one = LandmarkFile.empty(1).with_records(three.records[:1])
    take_landmarks(state, world, one, origin)
    take_landmarks(state, world, three, origin)
    with pytest.raises(RollbackError, match="1 is below 3"):
        take_landmarks(state, world, one, origin)


def test_a_landmark_file_with_rewritten_records_is_refused(world: World) -> None:
    state, origin = filled(world), world.peer.log.origin
    two = world.landmarks(world.peer.log, 2)
    take_landmarks(state, world, two, origin)
    rewritten = [replace(two.records[0], hash=bytes(32)), two.records[1]]
    with pytest.raises(RollbackError, match="another object"):
        take_landmarks(state, world, LandmarkFile.empty(1).with_records(rewritten), origin)
    more = [*rewritten, world.landmarks(world.peer.log, 3).records[2]]
    with pytest.raises(TrustError, match="first 2 records are not those accepted before"):
        take_landmarks(state, world, LandmarkFile.empty(1).with_records(more), origin)


def test_a_landmark_file_of_another_log_is_refused(world: World) -> None:
    state = filled(world)
    file = world.landmarks(world.peer.log, 1, number=2)
    with pytest.raises(TrustError, match="of log 2, not 1"):
        take_landmarks(state, world, file, world.peer.log.origin)
    vouched = world.vouched(world.landmarks(world.peer.log), world.peer.log.origin)
    with pytest.raises(ProofError):
        state.check_landmarks(world.home.log.origin, *vouched, now=NOW)
    with pytest.raises(TrustError, match="not a log of the home region or of a peer"):
        state.check_landmarks("cn-bj.example/log/2026", *vouched, now=NOW)


def test_landmarks_are_vouched_for_in_the_home_log_only(world: World) -> None:
    state = filled(world)
    file = world.landmarks(world.peer.log)
    with pytest.raises(TrustError, match="not a log of CN-GD"):
        take_landmarks(state, world, file, world.peer.log.origin, log=world.peer.log)


def test_landmarks_without_their_own_entry_are_refused(world: World) -> None:
    state, origin = filled(world), world.peer.log.origin
    two = world.landmarks(world.peer.log, 2)
    one = LandmarkFile.empty(1).with_records(two.records[:1])
    _, proof = world.vouched(one, origin)
    with pytest.raises(ProofError):
        state.check_landmarks(origin, two.data, proof, now=NOW)


def test_landmarks_witnessed_ahead_of_the_clock_are_refused(world: World) -> None:
    state = filled(world)
    file = world.landmarks(world.peer.log, at=NOW + HOUR + 1)
    with pytest.raises(FutureDatedError):
        take_landmarks(state, world, file, world.peer.log.origin)


def test_landmarks_beyond_the_final_size_are_refused(world: World) -> None:
    state = empty(world)
    take_bundle(state, world.home, world.home_bundle())
    frozen = world.peer.log_entry(not_after=NOW - 2000, final=FinalTree(4, bytes(32)))
    take_bundle(state, world.peer, world.peer.bundle(logs=(frozen,)))
    with pytest.raises(TrustError, match="beyond the final size 4"):
        take_landmarks(state, world, world.landmarks(world.peer.log, 2), world.peer.log.origin)
    take_landmarks(state, world, world.landmarks(world.peer.log, 1), world.peer.log.origin)


# Status lists


def take_list(state: TrustState, region: TestRegion, **changes: Any) -> None:
    options = {name: changes.pop(name) for name in ("at", "issuer", "log") if name in changes}
    checked = state.check_status_list(*region.logged_list(region.token(**changes), **options), now=NOW)
    state.add_status_list(checked)


def test_status_lists_of_home_and_peer_are_accepted(world: World) -> None:
    state = filled(world)
    for region in (world.home, world.peer):
        take_list(state, region, statuses={5: 1})
        assert state.status_lists[region.uri].status_list.get(5) == 1


def test_the_time_of_issue_only_rises(world: World) -> None:
    state = filled(world)
    take_list(state, world.peer)
    take_list(state, world.peer)
    with pytest.raises(RollbackError, match="is below"):
        take_list(state, world.peer, issued_at=NOW - 3001)
    with pytest.raises(RollbackError, match="another object"):
        take_list(state, world.peer, statuses={1: 1})
    take_list(state, world.peer, issued_at=NOW - 2999, statuses={1: 1})


def test_a_list_under_a_uri_that_no_bundle_names_is_refused(world: World) -> None:
    with pytest.raises(TrustError, match="no bundle names this uri"):
        take_list(filled(world), world.peer, uri="https://cn-sh.example/status/2")


def test_a_list_dated_ahead_is_refused(world: World) -> None:
    with pytest.raises(FutureDatedError):
        take_list(filled(world), world.peer, issued_at=NOW + HOUR + 1)


def test_a_list_signed_by_a_credential_key_is_refused(world: World) -> None:
    with pytest.raises(TrustError, match="is not one that might sign it"):
        take_list(filled(world), world.peer, signer=world.peer.credential_key)


def test_a_list_signed_by_the_status_key_of_another_region_is_refused(world: World) -> None:
    with pytest.raises(TrustError, match="is not one that might sign it"):
        take_list(filled(world), world.peer, signer=world.home.status_key)


def test_a_list_whose_signature_is_forged_is_refused(world: World) -> None:
    state = filled(world)
    data = world.peer.token().data
    forged = data[:-1] + bytes([data[-1] ^ 1])
    token = StatusListToken.parse(forged)
    with pytest.raises(SignatureError):
        state.check_status_list(*world.peer.logged_list(token), now=NOW)


def test_a_list_that_is_not_logged_is_refused(world: World) -> None:
    state = filled(world)
    token = world.peer.token()
    with pytest.raises(ProofError):
        state.check_status_list(token.data, world.peer.log.log(b"another", NOW), now=NOW)


def test_the_entry_of_another_issuer_is_not_that_of_the_list(world: World) -> None:
    with pytest.raises(ProofError):
        take_list(filled(world), world.peer, issuer="CN-SH/another")


def test_an_entry_that_states_another_time_is_not_that_of_the_list(world: World) -> None:
    state, token = filled(world), world.peer.token()
    entry = StatusListEntry(world.peer.issuer, token.uri, token.hash, token.issued_at + 1)
    with pytest.raises(ProofError):
        state.check_status_list(token.data, world.peer.log.log(entry.encode(), NOW), now=NOW)


def test_a_list_logged_in_another_region_is_refused(world: World) -> None:
    with pytest.raises(TrustError, match="not a log of CN-SH"):
        take_list(filled(world), world.peer, log=world.home.log)


def test_a_list_below_the_floor_of_the_home_region_is_refused(world: World) -> None:
    state = empty(world)
    take_bundle(state, world.home, world.home_bundle())
    take_bundle(
        state, world.peer, world.peer.bundle(logs=(world.peer.log_entry(policy_text=world.peer.log.policy(1)),))
    )
    token = world.peer.token()
    data, _ = world.peer.logged_list(token)
    index = len(world.peer.log.entries) - 1
    proof = world.peer.log.proof(index, NOW, witnesses=world.peer.log.witnesses[1:])
    with pytest.raises(QuorumError):
        state.check_status_list(data, proof, now=NOW)


@pytest.mark.parametrize(
    "signer_window", [(NOW - 1000, None), (NOW - 200 * DAY, NOW - 1800)], ids=["not yet", "no longer"]
)
def test_a_signer_outside_its_window_when_it_was_logged_is_refused(
    world: World, signer_window: tuple[int, int | None]
) -> None:
    state = empty(world)
    kid = world.home.status_key.public_key.kid
    source = world.home.source(signers=(StatusSigner(kid, *signer_window),))
    take_bundle(state, world.home, world.home_bundle(status_lists=(source,)))
    with pytest.raises(TrustError, match="is not one that might sign it"):
        take_list(state, world.home)


def test_a_status_key_outside_its_own_window_is_refused(world: World) -> None:
    state = empty(world)
    keys = (world.home.key(KeyUse.STATUS, not_after=NOW - 1800),)
    take_bundle(state, world.home, world.home_bundle(keys=keys))
    with pytest.raises(TrustError, match="is not one that might sign it"):
        take_list(state, world.home)


def test_a_revoked_status_key_counts_below_its_trusted_size_only(world: World) -> None:
    def revoked(*trusted: TrustedSize) -> TrustState:
        revocation = Revocation(NOW - DAY, RevocationReason.COMPROMISED, trusted)
        state = empty(world)
        keys = (world.home.key(KeyUse.STATUS, revoked=revocation),)
        take_bundle(state, world.home, world.home_bundle(keys=keys))
        return state

    state = revoked(TrustedSize(world.home.log.origin, 2))
    take_list(state, world.home)
    with pytest.raises(TrustError, match="was revoked before the list was logged"):
        take_list(state, world.home, issued_at=NOW - 2000)
    with pytest.raises(TrustError, match="was revoked before the list was logged"):
        take_list(revoked(), world.home)


def test_the_list_of_a_suspended_issuer_still_counts(world: World) -> None:
    state = empty(world)
    issuer = world.home.contents().issuers[0]
    suspended = replace(issuer, status=(*issuer.status, IssuerStatus(IssuerState.SUSPENDED, NOW - DAY, None)))
    take_bundle(state, world.home, world.home_bundle(issuers=(suspended,)))
    take_list(state, world.home)


# The floor under the clock


def test_only_witnessed_times_of_the_home_region_raise_the_floor(world: World) -> None:
    state = empty(world)
    take_bundle(state, world.home, world.home_bundle(), at=NOW - 1800)
    assert state.memory.clock_floor == NOW - 1800
    take_bundle(state, world.peer, world.peer.bundle(), at=NOW - 100)
    take_list(state, world.peer, at=NOW - 90)
    assert state.memory.clock_floor == NOW - 1800
    take_landmarks(state, world, world.landmarks(world.peer.log, at=NOW - 80), world.peer.log.origin, at=NOW - 1500)
    assert state.memory.clock_floor == NOW - 1500
    take_landmarks(state, world, world.landmarks(world.home.log, at=NOW - 1300), world.home.log.origin, at=NOW - 1400)
    assert state.memory.clock_floor == NOW - 1300
    take_list(state, world.home, at=NOW - 1200)
    assert state.memory.clock_floor == NOW - 1200
    take_list(state, world.home, issued_at=NOW - 2900, at=NOW - 1700)
    assert state.memory.clock_floor == NOW - 1200


# Replacement


def test_a_new_home_bundle_makes_everything_of_the_peers_be_checked_anew(world: World) -> None:
    state = filled(world)
    take_list(state, world.peer)
    take_bundle(state, world.home, world.home_bundle(seq=2))
    assert list(state.bundles) == ["CN-GD"]
    assert state.status_lists == {}
    assert sorted(state.epochs("CN-SH")) == [1]
    with pytest.raises(TrustError):
        state.policies("CN-SH", world.peer.log.origin)


def test_a_new_peer_bundle_leaves_other_regions_alone(world: World) -> None:
    state = filled(world)
    take_list(state, world.home)
    take_list(state, world.peer)
    take_bundle(state, world.peer, world.peer.bundle(seq=2))
    assert list(state.status_lists) == [world.home.uri]


def test_a_check_changes_nothing(world: World) -> None:
    state = filled(world)
    memory = state.memory
    state.check_bundle(*world.home.logged(world.home_bundle(seq=2)), now=NOW)
    state.check_status_list(*world.peer.logged_list(world.peer.token()), now=NOW)
    file = world.landmarks(world.peer.log)
    state.check_landmarks(world.peer.log.origin, *world.vouched(file, world.peer.log.origin), now=NOW)
    assert state.memory == memory
    assert state.home.seq == 1
    assert state.status_lists == {}
    assert state.landmark_files == {}


@pytest.mark.parametrize("junk", [b"", b"{}", b"\xff\xff", b"\n\n", b"c2sp.org/tlog-proof@v1\nindex 0\n\n"])
def test_junk_is_refused_by_name_everywhere(world: World, junk: bytes) -> None:
    state = filled(world)
    bundle, proof = world.home.logged(world.home_bundle(seq=2))
    token, token_proof = world.peer.logged_list(world.peer.token(status_list=StatusList.empty(8)))
    file, file_proof = world.vouched(world.landmarks(world.peer.log), world.peer.log.origin)
    for check in (
        lambda: state.check_root("CN-GD", junk, now=NOW),
        lambda: state.check_bundle(junk, proof, now=NOW),
        lambda: state.check_bundle(bundle, junk, now=NOW),
        lambda: state.check_landmarks(world.peer.log.origin, junk, file_proof, now=NOW),
        lambda: state.check_landmarks(world.peer.log.origin, file, junk, now=NOW),
        lambda: state.check_status_list(junk, token_proof, now=NOW),
        lambda: state.check_status_list(token, junk, now=NOW),
    ):
        with pytest.raises(ChopmarkError):
            check()
