"""The trust store on the disk: opening again, damage, faults, several processes, speed."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest
from chopmark import TrustStore
from chopmark.cosignature import Cosigner
from chopmark.durable_file import held_for_a_moment
from chopmark.errors import ChopmarkError, RollbackError, StorageError, TrustError
from chopmark.keys import Ed25519Signer
from chopmark.landmark import LandmarkFile
from chopmark.note import NoteSigner
from chopmark.root_epoch import Roots
from chopmark.status import StatusList

if TYPE_CHECKING:
    from tests.sdk.conftest import Fault, World

NOW = 1_795_339_800
DAY = 86_400


class Killed(BaseException):
    """The process ends here."""


def fill(store: TrustStore, world: World) -> None:
    store.put_root("CN-GD", world.home.epoch_notes[0], now=NOW)
    store.put_bundle(*world.home.logged(world.home_bundle()), now=NOW)
    store.put_root("CN-SH", world.peer.epoch_notes[0], now=NOW)
    store.put_bundle(*world.peer.logged(world.peer.bundle()), now=NOW)
    for region in (world.home, world.peer):
        file = world.landmarks(region.log, 2)
        store.put_landmarks(*world.vouched(file, region.log.origin), origin=region.log.origin, now=NOW)
        store.put_status_list(*region.logged_list(region.token({7: 2})), now=NOW)


@pytest.fixture
def folder(tmp_path: Path, world: World) -> Path:
    """A store with everything in it."""
    fill(TrustStore.create(tmp_path / "trust", roots=world.home.pin), world)
    return tmp_path / "trust"


def reopen(folder: Path, world: World) -> TrustStore:
    return TrustStore.open(folder, roots=world.home.pin)


def state_of(store: TrustStore) -> dict[str, Any]:
    """What a verifier could learn from the store."""
    return {
        "floor": store.clock_floor,
        "problems": store.problems,
        "bundles": {region: bundle.digest for region in store.regions if (bundle := store.bundle(region))},
        "landmarks": {
            origin: len(file) if (file := store.landmark_file(origin)) else 0
            for origin in ("cn-gd.example/log/2026", "cn-sh.example/log/2026")
        },
        "lists": {
            uri: token.hash if (token := store.status_list(uri)) else None
            for uri in ("https://cn-gd.example/status/1", "https://cn-sh.example/status/1")
        },
    }


def test_an_empty_store_has_a_home_region_and_nothing_else(tmp_path: Path, world: World) -> None:
    for store in (
        TrustStore.create(tmp_path / "trust", roots=world.home.pin),
        TrustStore.open(tmp_path / "trust", roots=world.home.pin),
    ):
        assert store.home_region == "CN-GD"
        assert store.regions == ()
        assert store.bundle("CN-GD") is None
        assert store.clock_floor == 0
        assert store.problems == ()
        with pytest.raises(TrustError, match="no bundle of the home region"):
            _ = store.home


def test_a_store_is_created_once(tmp_path: Path, world: World) -> None:
    TrustStore.create(tmp_path, roots=world.home.pin)
    with pytest.raises(StorageError, match="already"):
        TrustStore.create(tmp_path, roots=world.home.pin)


def test_a_folder_without_a_store_is_not_opened(tmp_path: Path, world: World) -> None:
    with pytest.raises(StorageError, match="no trust store"):
        reopen(tmp_path, world)
    with pytest.raises(StorageError, match="no trust store"):
        TrustStore.read_pin(tmp_path)


def test_everything_is_there_again_after_opening(folder: Path, world: World) -> None:
    store = reopen(folder, world)
    assert store.problems == ()
    assert store.regions == ("CN-GD", "CN-SH")
    assert store.home is store.bundle("CN-GD")
    assert store.home.seq == 1
    assert store.peer("CN-GD") is None
    assert store.peer("CN-SH") is not None
    assert len(store.policies("CN-GD", world.home.log.origin)) == 1
    assert len(store.policies("CN-SH", world.peer.log.origin)) == 2
    assert store.roots("CN-SH").epoch == 1
    for region in (world.home, world.peer):
        record = store.landmark(region.log.origin, 4, 8)
        assert record is not None
        assert (record.start, record.end) == (4, 8)
        assert store.landmark(region.log.origin, 0, 8) is None
        token = store.status_list(region.uri)
        assert token is not None
        assert token.status_list.get(7) == 2
    assert store.landmark("cn-bj.example/log/2026", 0, 4) is None
    assert store.status_list("https://cn-gd.example/status/9") is None
    assert store.clock_floor == NOW - 1500


def test_the_layout_is_that_of_the_documentation(folder: Path) -> None:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {
        "store.json",
        "lock",
        "CN-GD/root/1.note",
        "CN-GD/bundle.note",
        "CN-GD/landmarks/1.landmarks",
        "CN-SH/root/1.note",
        "CN-SH/bundle.note",
        "CN-SH/landmarks/1.landmarks",
    } <= names
    assert sum(name.endswith(".statuslist") for name in names) == 2
    assert sum(name.endswith(".tlog-proof") for name in names) == 6
    assert len(names) == 16


def test_the_pin_may_be_read_from_the_folder(folder: Path, world: World) -> None:
    assert TrustStore.read_pin(folder) == world.home.pin
    (folder / "CN-GD" / "root" / "1.note").write_bytes(b"x")
    with pytest.raises(TrustError, match=r"1\.note"):
        TrustStore.read_pin(folder)
    shutil.rmtree(folder / "CN-GD" / "root")
    with pytest.raises(StorageError, match="holds no root epoch"):
        TrustStore.read_pin(folder)


def test_a_store_is_not_opened_under_the_roots_of_another_region(folder: Path, world: World) -> None:
    with pytest.raises(TrustError, match="a store of CN-GD"):
        TrustStore.open(folder, roots=world.peer.pin)


def test_a_store_is_not_opened_under_other_roots(folder: Path, world: World) -> None:
    other = Roots.pin(world.home.root_note(1, world.home.roots[:1], world.home.roots[:1]))
    with pytest.raises(TrustError, match=r"1\.note: .*another root epoch is known"):
        TrustStore.open(folder, roots=other)


# Damage


@pytest.mark.parametrize("name", ["store.json", "CN-GD/bundle.note", "CN-GD/root/1.note"])
@pytest.mark.parametrize("damage", ["cut", "changed", "emptied"])
def test_damage_to_the_home_region_is_named_and_refused(folder: Path, world: World, name: str, damage: str) -> None:
    harm(folder / name, damage)
    with pytest.raises(TrustError, match=name):
        reopen(folder, world)


def harm(path: Path, damage: str) -> None:
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "cut": data[:middle],
            "changed": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "emptied": b"",
        }[damage]
    )


def objects(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file())


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "gone"])
@pytest.mark.parametrize(
    ("pattern", "lost"),
    [
        ("CN-SH/bundle.note", {"bundles", "landmarks", "lists"}),
        ("CN-SH/bundle.*.tlog-proof", {"bundles", "landmarks", "lists"}),
        ("CN-SH/landmarks/1.landmarks", {"landmarks"}),
        ("CN-SH/landmarks/*.tlog-proof", {"landmarks"}),
        ("CN-SH/status/*.statuslist", {"lists"}),
        ("CN-SH/status/*.tlog-proof", {"lists"}),
        ("CN-GD/landmarks/1.landmarks", {"landmarks"}),
        ("CN-GD/status/*.statuslist", {"lists"}),
    ],
)
def test_other_damage_leaves_that_object_out_and_tells(
    folder: Path, world: World, pattern: str, lost: set[str], damage: str
) -> None:
    sound = state_of(reopen(folder, world))
    (path,) = objects(folder, pattern)
    if damage == "gone":
        path.unlink()
    else:
        harm(path, damage)
    store = reopen(folder, world)
    left = state_of(store)
    assert {name for name in ("bundles", "landmarks", "lists") if left[name] != sound[name]} == lost
    assert len(store.problems) == 1
    assert path.name.split(".")[0] in store.problems[0]
    assert store.problems[0] in store.report(NOW)
    assert store.clock_floor == sound["floor"]


def test_what_was_lost_may_be_fetched_again(folder: Path, world: World) -> None:
    (path,) = objects(folder, "CN-SH/status/*.statuslist")
    data = path.read_bytes()
    (proof,) = objects(folder, "CN-SH/status/*.tlog-proof")
    proof_data = proof.read_bytes()
    path.write_bytes(b"x")
    store = reopen(folder, world)
    assert len(store.problems) == 1
    store.put_status_list(data, proof_data, now=NOW)
    assert state_of(store)["problems"] == ()
    assert reopen(folder, world).problems == ()


def test_a_lost_bundle_of_a_peer_may_be_fetched_again_and_brings_back_what_rests_on_it(
    folder: Path, world: World
) -> None:
    sound = state_of(reopen(folder, world))
    data = (folder / "CN-SH/bundle.note").read_bytes()
    proof = objects(folder, "CN-SH/bundle.*.tlog-proof")[0].read_bytes()
    (folder / "CN-SH/bundle.note").unlink()
    store = reopen(folder, world)
    store.put_bundle(data, proof, now=NOW)
    assert state_of(store) == sound


# Rollback


def test_an_older_home_bundle_put_back_on_the_disk_is_refused(folder: Path, world: World) -> None:
    old = shutil.copytree(folder / "CN-GD", folder.parent / "old")
    store = reopen(folder, world)
    store.put_bundle(*world.home.logged(world.home_bundle(seq=2)), now=NOW)
    for path in [*folder.glob("CN-GD/bundle.*")]:
        path.unlink()
    for path in old.glob("bundle.*"):
        shutil.copy(path, folder / "CN-GD" / path.name)
    with pytest.raises(RollbackError, match=r"bundle\.note: .*1 is below 2"):
        reopen(folder, world)


def test_an_older_status_list_put_back_on_the_disk_is_left_out(folder: Path, world: World) -> None:
    old = shutil.copytree(folder / "CN-SH" / "status", folder.parent / "old")
    store = reopen(folder, world)
    store.put_status_list(*world.peer.logged_list(world.peer.token(issued_at=NOW - 100)), now=NOW)
    shutil.rmtree(folder / "CN-SH" / "status")
    shutil.copytree(old, folder / "CN-SH" / "status")
    store = reopen(folder, world)
    assert store.status_list(world.peer.uri) is None
    assert "is below" in store.problems[0]


def test_the_memory_and_the_floor_outlive_the_process(folder: Path, world: World) -> None:
    store = reopen(folder, world)
    store.put_status_list(*world.home.logged_list(world.home.token(issued_at=NOW - 100), at=NOW - 50), now=NOW)
    assert store.clock_floor == NOW - 50
    store = reopen(folder, world)
    assert store.clock_floor == NOW - 50
    with pytest.raises(RollbackError):
        store.put_status_list(*world.home.logged_list(world.home.token(issued_at=NOW - 101)), now=NOW)


def test_a_refused_object_leaves_the_store_as_it_was(folder: Path, world: World) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    store = reopen(folder, world)
    known = state_of(store)
    refused: list[Callable[[], object]] = [
        lambda: store.put_root("CN-GD", world.peer.epoch_notes[0], now=NOW),
        lambda: store.put_bundle(*world.home.logged(world.home_bundle(seq=2, peers=())), now=NOW),
        lambda: store.put_landmarks(
            *world.vouched(LandmarkFile.empty(1), world.peer.log.origin), origin=world.peer.log.origin, now=NOW
        ),
        lambda: store.put_status_list(*world.peer.logged_list(world.peer.token(issued_at=1)), now=NOW),
    ]
    for put in refused:
        with pytest.raises(ChopmarkError):
            put()
    assert state_of(store) == known
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


# Replacement


def test_a_new_home_bundle_keeps_what_still_verifies(folder: Path, world: World) -> None:
    store = reopen(folder, world)
    before = state_of(store)
    store.put_bundle(*world.home.logged(world.home_bundle(seq=2), at=NOW - 10), now=NOW)
    after = state_of(store)
    assert after["bundles"]["CN-GD"] != before["bundles"]["CN-GD"]
    assert after["bundles"]["CN-SH"] == before["bundles"]["CN-SH"]
    assert (after["landmarks"], after["lists"]) == (before["landmarks"], before["lists"])
    assert after["floor"] == NOW - 10
    assert state_of(reopen(folder, world)) == after


def test_a_new_home_bundle_with_a_higher_floor_leaves_out_what_does_not_meet_it(folder: Path, world: World) -> None:
    store = reopen(folder, world)
    stranger = world.witnesses["us-il.example"]
    floor = (
        f"witness gd {world.witnesses['cn-gd.example'].vkey}\nwitness il {stranger.vkey}\n"
        "group R1 any gd\ngroup R2 any il\ngroup all 2 R1 R2\nquorum all\n"
    )
    peers = (world.peer.peer_entry(floor),)
    store.put_bundle(*world.home.logged(world.home_bundle(seq=2, peers=peers)), now=NOW)
    assert store.problems == ()
    third = Cosigner("us-ny.example/witness", Ed25519Signer.from_private_bytes(bytes(32)))
    floor = f"witness ny {third.vkey}\ngroup R1 any ny\nquorum R1\n"
    peers = (world.peer.peer_entry(floor),)
    store.put_bundle(*world.home.logged(world.home_bundle(seq=3, peers=peers)), now=NOW)
    assert store.bundle("CN-SH") is None
    assert store.status_list(world.peer.uri) is None
    assert "CN-SH/bundle.note" in " ".join(store.problems)
    assert state_of(reopen(folder, world)) == state_of(store)


def test_root_epochs_are_kept_and_walked_at_opening(folder: Path, world: World) -> None:
    store = reopen(folder, world)
    second = world.home.root_note(2, world.home.roots[:1], world.home.roots)
    store.put_root("CN-GD", second, now=NOW)
    assert "root epoch 1, which is superseded" in " ".join(store.report(NOW))
    bundle = world.home_bundle(seq=2, epoch=2, roots=store.roots("CN-GD"), signers=world.home.roots[:1])
    store.put_bundle(*world.home.logged(bundle), now=NOW)
    store = reopen(folder, world)
    assert store.roots("CN-GD").epoch == 2
    assert store.home.epoch == 2
    (folder / "CN-GD/root/2.note").unlink()
    with pytest.raises(TrustError, match="root epoch 2 is not known"):
        reopen(folder, world)


def test_a_root_epoch_published_again_without_some_signatures_does_not_replace_the_one_held(
    folder: Path, world: World
) -> None:
    new = [NoteSigner(f"cn-gd.example/root/{name}", Ed25519Signer.generate()) for name in "cd"]
    whole = world.home.root_note(2, new, [*world.home.roots, *new])
    own_only = world.home.root_note(2, new, new)
    store = reopen(folder, world)
    store.put_root("CN-GD", whole, now=NOW)
    store.put_root("CN-GD", own_only, now=NOW)
    assert reopen(folder, world).roots("CN-GD").epoch == 2


def test_a_damaged_root_epoch_of_a_peer_is_replaced_when_it_is_fetched_again(folder: Path, world: World) -> None:
    (folder / "CN-SH/root/1.note").write_bytes(b"x")
    store = reopen(folder, world)
    assert any("CN-SH/root/1.note" in problem for problem in store.problems)
    store.put_root("CN-SH", world.peer.epoch_notes[0], now=NOW)
    assert not store.problems
    assert not reopen(folder, world).problems


def test_a_damaged_root_epoch_of_a_peer_is_told(folder: Path, world: World) -> None:
    store = reopen(folder, world)
    store.put_root("CN-SH", world.peer.root_note(2, world.peer.roots[:1], world.peer.roots), now=NOW)
    (folder / "CN-SH/root/2.note").write_bytes(b"x")
    store = reopen(folder, world)
    assert any("CN-SH/root/2.note" in problem for problem in store.problems)
    assert store.bundle("CN-SH") is not None


# Snapshots


def test_a_snapshot_stays_as_it_was_whatever_is_put_into_the_store(folder: Path, world: World) -> None:
    store = reopen(folder, world)
    snapshot = store.snapshot()
    before = state_of(snapshot)
    assert before == state_of(store)
    for name in ("home bundle", "peer bundle", "landmarks", "status list", "root"):
        PUTS[name](store, world)
    assert state_of(snapshot) == before
    assert snapshot.roots("CN-GD").epoch == 1
    assert state_of(store) != before
    policies = snapshot.policies("CN-SH", world.peer.log.origin)
    assert policies == reopen(folder, world).policies("CN-SH", world.peer.log.origin)


def test_the_number_of_changes_tells_whether_a_snapshot_is_still_the_store(folder: Path, world: World) -> None:
    store = reopen(folder, world)
    snapshot = store.snapshot()
    assert (snapshot.changes, store.catch_up()) == (store.changes, False)
    assert snapshot.changes == store.changes
    PUTS["status list"](store, world)
    assert snapshot.changes != store.changes


def test_a_store_catches_up_with_what_another_process_put(folder: Path, world: World) -> None:
    store, other = reopen(folder, world), reopen(folder, world)
    PUTS["status list"](other, world)
    assert state_of(store) != state_of(other)
    changes = store.changes
    assert store.catch_up()
    assert state_of(store) == state_of(other)
    assert store.changes != changes
    assert not store.catch_up()


@pytest.mark.parametrize("name", ["store.json", "CN-GD/bundle.note", "CN-GD/root/1.note"])
def test_what_is_damaged_meanwhile_takes_nothing_from_a_store_that_is_open(
    folder: Path, world: World, name: str
) -> None:
    store, other = reopen(folder, world), reopen(folder, world)
    PUTS["status list"](other, world)
    before = state_of(store)
    harm(folder / name, "changed")
    with pytest.raises(TrustError, match=name):
        store.catch_up()
    assert state_of(store) == before
    with pytest.raises(TrustError, match=name):
        PUTS["peer bundle"](store, world)
    assert state_of(store) == before


# Report


def test_the_report_tells_what_is_old_and_a_clock_that_runs_behind(folder: Path, world: World) -> None:
    store = reopen(folder, world)
    assert store.report(NOW) == ()
    assert "the clock is behind" in store.report(NOW - 10 * DAY)[0]
    assert "the bundle of CN-GD is of 2026-11-22T08:30:00Z: stale" in store.report(NOW + 8 * DAY)
    assert "the bundle of CN-SH is of 2026-11-22T08:30:00Z: expired" in store.report(NOW + 21 * DAY)
    late = store.report(NOW + 31 * DAY)
    assert sum("hard stop" in line for line in late) == 2
    assert sum("status list" in line for line in late) == 2


# Faults


PUTS: dict[str, Callable[[TrustStore, World], object]] = {
    "root": lambda store, world: store.put_root(
        "CN-GD", world.home.root_note(2, world.home.roots, world.home.roots), now=NOW
    ),
    "home bundle": lambda store, world: store.put_bundle(
        *world.home.logged(world.home_bundle(seq=2), at=NOW - 10), now=NOW
    ),
    "peer bundle": lambda store, world: store.put_bundle(*world.peer.logged(world.peer.bundle(seq=2)), now=NOW),
    "landmarks": lambda store, world: store.put_landmarks(
        *world.vouched(world.landmarks(world.peer.log, 3), world.peer.log.origin, at=NOW - 10),
        origin=world.peer.log.origin,
        now=NOW,
    ),
    "status list": lambda store, world: store.put_status_list(
        *world.home.logged_list(world.home.token({1: 1}, issued_at=NOW - 100), at=NOW - 10), now=NOW
    ),
}


@pytest.mark.parametrize("put", PUTS)
@pytest.mark.parametrize(("name", "killed"), list(product(["open", "fsync", "replace"], [True, False])))
def test_wherever_a_write_stops_the_store_opens_with_the_old_or_the_new(
    tmp_path: Path, world: World, fault: Fault, put: str, *, name: str, killed: bool
) -> None:
    fill(TrustStore.create(tmp_path / "sound", roots=world.home.pin), world)
    old = state_of(reopen(tmp_path / "sound", world))
    call, stopped = 0, True
    while stopped:
        call += 1
        folder = shutil.copytree(tmp_path / "sound", tmp_path / f"{call}")
        store = reopen(folder, world)
        calls = fault(name, call, Killed() if killed else None)
        try:
            PUTS[put](store, world)
            stopped = False
        except (Killed, StorageError):
            stopped = True
        calls[0] = 1_000
        found = state_of(reopen(folder, world))
        assert found["problems"] == ()
        if not stopped:
            assert found == state_of(store)
            break
        new_store = reopen(folder, world) if killed else store
        PUTS[put](new_store, world)
        new = state_of(new_store)
        for part in ("bundles", "landmarks", "lists"):
            assert found[part] in (old[part], new[part])
        assert state_of(reopen(folder, world)) == new
    assert call > 1


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_read_only_store_opens_and_refuses_changes_by_name(
    folder: Path, world: World, fault: Fault, number: int
) -> None:
    before = state_of(reopen(folder, world))
    fault("open", 1, OSError(number, os.strerror(number)))
    store = reopen(folder, world)
    with pytest.raises(StorageError, match=os.strerror(number)):
        store.put_bundle(*world.home.logged(world.home_bundle(seq=2)), now=NOW)
    assert state_of(store) == before
    assert state_of(reopen(folder, world)) == before


def test_what_another_process_wrote_is_followed(folder: Path, world: World) -> None:
    first, second = reopen(folder, world), reopen(folder, world)
    old = world.peer.logged_list(world.peer.token(issued_at=NOW - 200))
    second.put_status_list(*world.peer.logged_list(world.peer.token(issued_at=NOW - 100)), now=NOW)
    with pytest.raises(RollbackError):
        first.put_status_list(*old, now=NOW)
    token = first.status_list(world.peer.uri)
    assert token is not None
    assert token.issued_at == NOW - 100


def test_what_is_put_waits_for_another_writer_and_is_judged_by_what_that_one_left(
    folder: Path, tmp_path: Path, world: World
) -> None:
    store = reopen(folder, world)
    older = world.peer.logged_list(world.peer.token(issued_at=NOW - 200))
    newer = world.peer.logged_list(world.peer.token(issued_at=NOW - 100))
    done = shutil.copytree(folder, tmp_path / "done")
    reopen(done, world).put_status_list(*newer, now=NOW)
    refused: list[ChopmarkError] = []

    def put() -> None:
        try:
            store.put_status_list(*older, now=NOW)
        except ChopmarkError as error:
            refused.append(error)

    thread = threading.Thread(target=put)
    with held_for_a_moment(folder):
        thread.start()
        thread.join(0.2)
        shutil.copytree(done, folder, dirs_exist_ok=True)
    thread.join(10)
    assert [type(error) for error in refused] == [RollbackError]
    token = reopen(folder, world).status_list(world.peer.uri)
    assert token is not None
    assert token.issued_at == NOW - 100


# Speed


def test_looking_up_is_fast_and_a_list_of_a_million_opens_quickly(folder: Path, world: World) -> None:
    store = reopen(folder, world)
    large = StatusList.empty(1 << 20).with_statuses(dict.fromkeys(range(0, 1 << 20, 97), 1))
    store.put_status_list(*world.home.logged_list(world.home.token(status_list=large, issued_at=NOW - 100)), now=NOW)
    begun = perf_counter()
    store = reopen(folder, world)
    opened = perf_counter() - begun
    begun = perf_counter()
    for _ in range(1000):
        bundle = store.bundle("CN-GD")
        assert bundle is not None
        bundle.key(world.home.issuer, b"12345678")
        store.landmark(world.home.log.origin, 4, 8)
        store.status_list(world.home.uri)
        store.policies("CN-SH", world.peer.log.origin)
    assert perf_counter() - begun < 0.2
    assert opened < 2
