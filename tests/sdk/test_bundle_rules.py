"""What must hold within a trust bundle, and from one to the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.bundle_rules import check_contents, check_successor
from chopmark.cosignature import Cosigner
from chopmark.errors import FormatError, RollbackError, TrustError
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.note import NoteSigner
from chopmark.trust_bundle import (
    BundleContents,
    FinalTree,
    Grant,
    Issuer,
    IssuerState,
    IssuerStatus,
    KeyUse,
    LocalisedText,
    Revocation,
    RevocationReason,
    StatusSigner,
    TrustedSize,
)

if TYPE_CHECKING:
    from tests.sdk.conftest import World

NOW = 1_795_339_800
DAY = 86_400
NAME = LocalisedText("示例", "Sample")


def contents(world: World, **changes: Any) -> BundleContents:
    return world.home.contents(**({"peers": (world.peer.peer_entry(world.floor),)} | changes))


def refuse(world: World, message: str, **changes: Any) -> None:
    with pytest.raises(FormatError, match=message):
        check_contents(contents(world, **changes), world.home.pin)


def test_the_unchanged_bundle_keeps_all_rules(world: World) -> None:
    check_contents(contents(world), world.home.pin)


def issuer(identifier: str, **changes: Any) -> Issuer:
    return replace(Issuer(identifier, NAME, (IssuerStatus(IssuerState.ACTIVE, 0, None),), None), **changes)


def test_times_must_follow_each_other(world: World) -> None:
    refuse(world, "follow each other", issued=NOW, refresh_after=NOW)
    refuse(world, "follow each other", refresh_after=NOW + 2 * DAY, expires=NOW + DAY)


def test_an_origin_of_another_region_is_refused(world: World) -> None:
    refuse(world, r"whose host is cn-gd\.example", logs=(world.peer.log_entry(),))


@pytest.mark.parametrize("change", [{"number": 2}, {"origin": "cn-gd.example/log/2027"}])
def test_two_logs_of_one_number_or_origin_are_refused(world: World, change: dict[str, Any]) -> None:
    log = world.home.log_entry()
    refuse(world, "stands before it", logs=(log, replace(log, **change)))


def test_two_keys_of_one_issuer_and_kid_are_refused_though_their_uses_differ(world: World) -> None:
    credential = world.home.key(KeyUse.CREDENTIAL)
    found_by_search = world.home.key(KeyUse.STATUS, kid=credential.kid)
    refuse(world, "same issuer and kid", keys=(credential, found_by_search), status_lists=())


def test_a_log_key_under_another_name_is_refused(world: World) -> None:
    other = NoteSigner("cn-gd.example/log/2025", Ed25519Signer.from_private_bytes(bytes(32)))
    refuse(world, "named cn-gd", logs=(world.home.log_entry(vkeys=(other.vkey,)),))


def test_a_witness_key_as_log_key_is_refused(world: World) -> None:
    cosigner = Cosigner(world.home.log.origin, Ed25519Signer.from_private_bytes(bytes(32)))
    refuse(world, "type 0x01", logs=(world.home.log_entry(vkeys=(cosigner.vkey,)),))


def test_a_log_without_an_ed25519_key_is_refused(world: World) -> None:
    refuse(world, "a log has a key of type 0x01", logs=(world.home.log_entry(vkeys=()),))
    alone = Cosigner(world.home.log.origin, MlDsa44Signer(bytes(32)))
    refuse(world, "a log has a key of type 0x01", logs=(world.home.log_entry(vkeys=(alone.vkey,)),))


def test_a_log_may_have_a_key_of_each_algorithm_and_its_policy_names_both(world: World) -> None:
    log = world.home.log_entry()
    vkeys = (*log.vkeys, Cosigner(log.origin, MlDsa44Signer(bytes(32))).vkey)
    refuse(world, "not exactly the keys of this log", logs=(replace(log, vkeys=vkeys),))
    both = replace(log, vkeys=vkeys, policy_text=f"log {vkeys[-1]}\n{log.policy_text}")
    check_contents(contents(world, logs=(both,)), world.home.pin)
    other = Cosigner("cn-gd.example/log/2025", MlDsa44Signer(bytes(32)))
    refuse(world, "0x06 named cn-gd", logs=(replace(log, vkeys=(*log.vkeys, other.vkey)),))
    document = NoteSigner(log.origin, MlDsa44Signer(bytes(32)))
    refuse(world, "0x06 named cn-gd", logs=(replace(log, vkeys=(*log.vkeys, document.vkey)),))


def test_one_ml_dsa_44_key_of_a_log_and_of_a_peers_root_is_refused(world: World) -> None:
    log = world.home.log_entry()
    vkey = Cosigner(log.origin, MlDsa44Signer(bytes(32))).vkey
    both = replace(log, vkeys=(*log.vkeys, vkey), policy_text=f"log {vkey}\n{log.policy_text}")
    peer = world.peer.peer_entry(world.floor)
    root = NoteSigner(peer.roots[0].partition("+")[0], MlDsa44Signer(bytes(32)))
    refuse(world, "a key has one use", logs=(both,), peers=(replace(peer, roots=(*peer.roots, root.vkey)),))


def test_an_open_log_with_a_final_size_is_refused(world: World) -> None:
    refuse(world, "final size is closed", logs=(world.home.log_entry(final=FinalTree(3, bytes(32))),))


def test_a_region_as_its_own_peer_is_refused(world: World) -> None:
    refuse(world, "no peer of itself", peers=(world.peer.peer_entry(world.floor, region="CN-GD"),))


def test_a_peer_that_stands_twice_is_refused(world: World) -> None:
    refuse(world, "stands before it", peers=(world.peer.peer_entry(world.floor),) * 2)


def test_a_peer_under_the_host_of_the_region_is_refused(world: World) -> None:
    keys = [NoteSigner("cn-gd.example/root/x", Ed25519Signer.from_private_bytes(bytes(32)))]
    peer = world.peer.peer_entry(world.floor, roots=(keys[0].vkey,), threshold=1, origins=("cn-gd.example/log/2030",))
    refuse(world, r"the host cn-gd\.example is that of CN-GD", peers=(peer,))


def test_two_peers_under_one_host_are_refused(world: World) -> None:
    keys = [NoteSigner("cn-sh.example/root/x", Ed25519Signer.from_private_bytes(bytes(32)))]
    second = world.peer.peer_entry(world.floor, region="CN-BJ", roots=(keys[0].vkey,), threshold=1)
    refuse(world, r"is that of CN-SH", peers=(world.peer.peer_entry(world.floor), second))


def test_an_origin_of_a_third_region_in_a_peer_is_refused(world: World) -> None:
    peer = world.peer.peer_entry(world.floor, origins=("cn-bj.example/log/2026",))
    refuse(world, "is not a log of CN-SH", peers=(peer,))
    refuse(world, "a peer has a log", peers=(world.peer.peer_entry(world.floor, origins=()),))


def test_a_threshold_that_the_peers_roots_cannot_reach_is_refused(world: World) -> None:
    refuse(world, "threshold of 3 of 2", peers=(world.peer.peer_entry(world.floor, threshold=3),))


def test_an_issuer_of_another_region_is_refused(world: World) -> None:
    refuse(world, "not of the region CN-GD", issuers=(issuer(world.peer.issuer), issuer(world.home.issuer)))
    refuse(world, "not of the region CN-GD", issuers=(issuer("CN-GDX/1"), issuer(world.home.issuer)))


def test_an_issuer_that_stands_twice_is_refused(world: World) -> None:
    refuse(world, "stands before it", issuers=(issuer(world.home.issuer),) * 2)


def test_a_successor_that_is_not_there_is_refused(world: World) -> None:
    refuse(world, "not another issuer", issuers=(issuer(world.home.issuer, successor="CN-GD/2"),))
    refuse(world, "not another issuer", issuers=(issuer(world.home.issuer, successor=world.home.issuer),))


def test_a_key_of_an_issuer_of_another_region_is_refused(world: World) -> None:
    refuse(world, "not of the region CN-GD", keys=(world.home.key(KeyUse.STATUS, issuer=world.peer.issuer),))


def test_a_key_of_an_unlisted_issuer_is_refused(world: World) -> None:
    refuse(world, "CN-GD/2 is not an issuer of the bundle", keys=(world.home.key(KeyUse.STATUS, issuer="CN-GD/2"),))


def test_one_public_key_under_two_uses_is_refused(world: World) -> None:
    key = world.home.key(KeyUse.STATUS)
    refuse(world, "a key has one use", keys=(key, replace(key, use=KeyUse.CREDENTIAL)))


def test_one_public_key_of_two_issuers_is_refused(world: World) -> None:
    key = world.home.key(KeyUse.STATUS)
    issuers = (issuer(world.home.issuer), issuer("CN-GD/2"))
    refuse(world, "a key has one use", issuers=issuers, keys=(key, replace(key, issuer="CN-GD/2")))


def test_a_key_that_stands_twice_is_refused(world: World) -> None:
    key = world.home.key(KeyUse.STATUS)
    refuse(world, r"same public key as keys\[0\]", keys=(key, replace(key, not_after=key.not_after + 1)))


@pytest.mark.parametrize("owner", ["root", "log", "peer root"])
def test_a_root_or_log_key_as_issuer_key_is_refused(world: World, owner: str) -> None:
    public = {
        "root": world.home.roots[0].verifier.public_key,
        "log": world.home.log.key.verifier.public_key,
        "peer root": world.peer.roots[0].verifier.public_key,
    }[owner]
    key = world.home.key(KeyUse.STATUS, public_key=public, kid=public.kid)
    refuse(world, "a key has one use", keys=(*world.home.contents().keys, key))


def test_a_revocation_that_trusts_a_foreign_log_is_refused(world: World) -> None:
    revoked = Revocation(NOW, RevocationReason.COMPROMISED, (TrustedSize(world.peer.log.origin, 5),))
    refuse(world, "not a log of the bundle", keys=(world.home.key(KeyUse.STATUS, revoked=revoked),))


def test_a_type_of_another_region_is_refused(world: World) -> None:
    types = (world.home.licence_type(), world.home.licence_type(id="CN-SH/1"))
    refuse(world, "not of the region CN-GD", types=types)


def test_a_type_that_stands_twice_is_refused(world: World) -> None:
    refuse(world, "stands before it", types=(world.home.licence_type(),) * 2)


def test_a_grant_must_name_a_listed_issuer_and_type(world: World) -> None:
    refuse(world, "not of the region", grants=(Grant(world.peer.issuer, world.home.type_id, 0, None),))
    refuse(world, "is not a", grants=(Grant("CN-GD/2", world.home.type_id, 0, None),))
    refuse(world, "not a type", grants=(Grant(world.home.issuer, "CN-GD/2", 0, None),))
    refuse(world, "stands before it", grants=(Grant(world.home.issuer, world.home.type_id, 0, None),) * 2)


@pytest.mark.parametrize(
    "uri",
    [
        "https://cn-sh.example/status/1",
        "https://cn-gd.example.evil.example/status/1",
        "https://status.cn-gd.example/status/1",
    ],
)
def test_a_status_uri_of_another_host_is_refused(world: World, uri: str) -> None:
    refuse(world, r"whose host is cn-gd\.example", status_lists=(world.home.source(uri=uri),))


def test_a_status_list_of_another_regions_issuer_is_refused(world: World) -> None:
    refuse(world, "not of the region CN-GD", status_lists=(world.home.source(issuer=world.peer.issuer),))
    refuse(world, "is not a", status_lists=(world.home.source(issuer="CN-GD/2"),))


def test_a_bundle_of_more_status_lists_than_are_taken_is_refused(world: World) -> None:
    sources = tuple(world.home.source(uri=f"https://cn-gd.example/status/{each}") for each in range(4097))
    check_contents(contents(world, status_lists=sources[:-1]), world.home.pin)
    refuse(world, "4097 status lists", status_lists=sources)


def test_a_status_uri_that_stands_twice_is_refused(world: World) -> None:
    refuse(world, "stands before it", status_lists=(world.home.source(),) * 2)


def test_a_credential_key_as_signer_of_a_status_list_is_refused(world: World) -> None:
    signers = (StatusSigner(world.home.credential_key.public_key.kid, 0, None),)
    refuse(world, "not a status key", status_lists=(world.home.source(signers=signers),))


def test_the_status_key_of_another_issuer_as_signer_is_refused(world: World) -> None:
    issuers = (issuer(world.home.issuer), issuer("CN-GD/2"))
    refuse(world, "not a status key of CN-GD/2", issuers=issuers, status_lists=(world.home.source(issuer="CN-GD/2"),))


# From one bundle to the next. The first was issued at NOW - 3600.


def follow(world: World, old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = contents(world, **old), contents(world, **({"seq": 2, "issued": NOW} | new))
    check_contents(before, world.home.pin)
    check_contents(after, world.home.pin)
    check_successor(before, after)


def refuse_to_follow(world: World, old: dict[str, Any], new: dict[str, Any], message: str) -> None:
    with pytest.raises(TrustError, match=message):
        follow(world, old, new)


def test_a_bundle_that_says_the_same_may_follow(world: World) -> None:
    follow(world, {}, {})


@pytest.mark.parametrize("change", [{"seq": 1}, {"seq": 0}, {"issued": NOW - 3601}, {"epoch": 0}])
def test_a_lower_number_epoch_or_time_is_a_rollback(world: World, change: dict[str, Any]) -> None:
    new = contents(world, **({"seq": 2} | change))
    with pytest.raises(RollbackError):
        check_successor(contents(world), new)


def test_another_region_does_not_follow(world: World) -> None:
    with pytest.raises(TrustError, match="not of the region CN-GD"):
        check_successor(contents(world), world.peer.contents(seq=2))


@pytest.mark.parametrize("array", ["logs", "peers", "issuers", "keys", "types", "grants", "status_lists"])
def test_an_entry_that_is_gone_is_refused(world: World, array: str) -> None:
    with pytest.raises(TrustError, match=f"{array}: an entry is gone"):
        check_successor(contents(world), contents(world, seq=2, **{array: ()}))


def test_entries_may_be_added_in_any_order(world: World) -> None:
    second = issuer("CN-GD/2")
    follow(world, {}, {"issuers": (second, *world.home.contents().issuers)})


@pytest.mark.parametrize(
    ("array", "change"),
    [
        ("logs", {"origin": "cn-gd.example/log/2027"}),
        ("logs", {"not_before": 5}),
        ("logs", {"vkeys": ("x",)}),
        ("peers", {"not_before": 5}),
        ("peers", {"threshold": 1}),
        ("peers", {"origins": ("cn-sh.example/log/2027",)}),
        ("issuers", {"status": (IssuerStatus(IssuerState.ACTIVE, 1, None),)}),
        ("keys", {"use": KeyUse.INSPECTOR}),
        ("keys", {"not_before": 5}),
        ("types", {"challenge": True}),
        ("types", {"zone": "UTC"}),
        ("status_lists", {"issuer": "CN-GD/2"}),
        ("status_lists", {"signers": ()}),
    ],
)
def test_an_entry_changed_in_what_must_stay_is_refused(world: World, array: str, change: dict[str, Any]) -> None:
    old = contents(world)
    first, *others = getattr(old, array)
    new = contents(world, seq=2, **{array: (replace(first, **change), *others)})
    with pytest.raises(TrustError, match=f"{array}: an entry (changed|is gone)"):
        check_successor(old, new)


def test_what_is_no_promise_may_change(world: World) -> None:
    old = contents(world)
    new = replace(
        old,
        seq=2,
        name=NAME,
        issuers=(replace(old.issuers[0], name=NAME),),
        peers=(replace(old.peers[0], bundle_url="https://mirror.example/sh"),),
        logs=(replace(old.logs[0], policy_text=world.home.log.policy(1)),),
        status_lists=(replace(old.status_lists[0], ttl=60, mirrors=("https://mirror.example/1",)),),
    )
    check_successor(old, new)


def ended(world: World, array: str, end: int | None) -> dict[str, Any]:
    """A bundle with a window that ends then; a key's window always ends, at the latest in ten years."""
    match array:
        case "logs":
            entries: tuple[Any, ...] = (world.home.log_entry(not_after=end),)
        case "peers":
            entries = (world.peer.peer_entry(world.floor, not_after=end),)
        case "keys":
            last = NOW + 3650 * DAY if end is None else end
            entries = (world.home.key(KeyUse.CREDENTIAL, not_after=last), world.home.key(KeyUse.STATUS))
        case "status_lists":
            kid = world.home.status_key.public_key.kid
            entries = (world.home.source(signers=(StatusSigner(kid, 0, end),)),)
        case _:
            entries = (Grant(world.home.issuer, world.home.type_id, 0, end),)
    return {array: entries}


WINDOWS = ["logs", "peers", "keys", "grants", "status_lists"]


@pytest.mark.parametrize("array", WINDOWS)
@pytest.mark.parametrize(
    ("old", "new"),
    [(None, NOW), (None, NOW - 3600), (NOW + DAY, NOW), (NOW + DAY, None), (NOW + DAY, NOW + 2 * DAY)],
)
def test_a_window_may_be_closed_or_moved_from_the_earlier_bundle_on(
    world: World, array: str, old: int | None, new: int | None
) -> None:
    follow(world, ended(world, array, old), ended(world, array, new))


@pytest.mark.parametrize("array", WINDOWS)
@pytest.mark.parametrize(
    ("old", "new"),
    [(None, NOW - 3601), (NOW + DAY, NOW - 3601), (NOW - DAY, None), (NOW - DAY, NOW + DAY), (NOW - 3600, NOW)],
)
def test_a_window_is_neither_closed_backwards_nor_opened_again(
    world: World, array: str, old: int | None, new: int | None
) -> None:
    refuse_to_follow(world, ended(world, array, old), ended(world, array, new), f"{array}: an entry changed")


def test_the_policy_of_a_log_that_is_closed_or_frozen_may_change(world: World) -> None:
    closed = world.home.log_entry(not_after=NOW - DAY)
    for log in (closed, replace(closed, final=FinalTree(5, bytes(32)))):
        follow(world, {"logs": (log,)}, {"logs": (replace(log, policy_text=world.home.log.policy(1)),)})


def test_a_log_is_frozen_once(world: World) -> None:
    log = world.home.log_entry()
    frozen = replace(log, not_after=NOW, final=FinalTree(5, bytes(32)))
    follow(world, {}, {"logs": (frozen,)})
    refuse_to_follow(
        world,
        {"logs": (frozen,)},
        {"logs": (replace(frozen, final=FinalTree(6, bytes(32))),)},
        "logs: an entry changed",
    )
    refuse_to_follow(world, {"logs": (frozen,)}, {"logs": (replace(frozen, final=None),)}, "logs: an entry changed")


def test_a_state_of_an_issuer_may_be_added(world: World) -> None:
    first = world.home.contents().issuers[0]
    later = replace(first, status=(*first.status, IssuerStatus(IssuerState.SUSPENDED, NOW - 5 * DAY, "under review")))
    follow(world, {}, {"issuers": (later,)})
    refuse_to_follow(world, {"issuers": (later,)}, {}, "issuers: an entry changed")


def test_a_successor_is_named_once(world: World) -> None:
    first = world.home.contents().issuers[0]
    named = (replace(first, successor="CN-GD/2"), issuer("CN-GD/2"), issuer("CN-GD/3"))
    follow(world, {}, {"issuers": named})
    other = (replace(first, successor="CN-GD/3"), *named[1:])
    refuse_to_follow(world, {"issuers": named}, {"issuers": other}, "issuers: an entry changed")


def revoked(world: World, at: int, reason: RevocationReason, *sizes: int) -> dict[str, Any]:
    trusted = tuple(TrustedSize(world.home.log.origin, size) for size in sizes)
    key = world.home.key(KeyUse.CREDENTIAL, revoked=Revocation(at, reason, trusted))
    return {"keys": (key, world.home.key(KeyUse.STATUS))}


@pytest.mark.parametrize(
    ("new", "may"),
    [
        ((NOW, RevocationReason.SUPERSEDED, 10), True),
        ((NOW, RevocationReason.COMPROMISED, 10), True),
        ((NOW - DAY, RevocationReason.COMPROMISED, 7), True),
        ((NOW, RevocationReason.SUPERSEDED), True),
        ((NOW, RevocationReason.SUPERSEDED, 11), False),
        ((NOW + 1, RevocationReason.SUPERSEDED, 10), False),
    ],
)
def test_a_revocation_may_only_become_stricter(world: World, new: tuple[Any, ...], may: bool) -> None:
    old = revoked(world, NOW, RevocationReason.SUPERSEDED, 10)
    if may:
        follow(world, old, revoked(world, *new))
    else:
        refuse_to_follow(world, old, revoked(world, *new), "keys: an entry changed")


def test_a_compromised_key_does_not_become_merely_superseded(world: World) -> None:
    old = revoked(world, NOW, RevocationReason.COMPROMISED, 10)
    follow(world, old, revoked(world, NOW, RevocationReason.COMPROMISED, 9))
    refuse_to_follow(world, old, revoked(world, NOW, RevocationReason.SUPERSEDED, 10), "keys: an entry changed")


def test_a_revocation_is_not_taken_back(world: World) -> None:
    keys = (world.home.key(KeyUse.CREDENTIAL), world.home.key(KeyUse.STATUS))
    refuse_to_follow(world, revoked(world, NOW, RevocationReason.SUPERSEDED), {"keys": keys}, "keys: an entry changed")
    follow(world, {"keys": keys}, revoked(world, NOW, RevocationReason.SUPERSEDED, 10))


def test_the_pin_of_a_peer_moves_forward_only(world: World) -> None:
    peer = world.peer.peer_entry(world.floor)
    advanced = replace(peer, epoch=2, roots=peer.roots[:1], threshold=1)
    follow(world, {}, {"peers": (advanced,)})
    refuse_to_follow(world, {"peers": (advanced,)}, {}, "peers: an entry changed")
