"""Bringing a trust store up to date from what regions publish, some of them badly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chopmark import TrustStore
from chopmark import refresh as refreshing
from chopmark.errors import StorageError
from chopmark.keys import Ed25519Signer
from chopmark.limits import LIMITS
from chopmark.note import NoteSigner
from chopmark.refresh import refresh

from tests.sdk.published_server import publish, publish_landmarks

if TYPE_CHECKING:
    from tests.sdk.conftest import World

NOW = 1_795_339_800


@pytest.fixture
def store(tmp_path: Path, world: World, quick_disk: None) -> TrustStore:
    return TrustStore.create(tmp_path / "trust", roots=world.home.pin)


def test_home_then_peer_then_home_again_takes_everything(store: TrustStore, world: World) -> None:
    home, peer = publish(world, world.home), publish(world, world.peer)
    for region in (world.home, world.peer):
        publish_landmarks(world, home, region)
    assert refresh(store, "CN-GD", home.get, now=NOW).problems == []
    done = refresh(store, "CN-SH", peer.get, now=NOW)
    assert (done.taken, done.problems) == (["bundle.note", "status/1"], [])
    done = refresh(store, "CN-GD", home.get, now=NOW)
    assert "landmarks/CN-SH/1.landmarks" in done.taken
    assert done.problems == []


def test_what_is_absent_is_told_by_its_path(store: TrustStore, world: World) -> None:
    home = publish(world, world.home)
    del home["bundle.tlog-proof"], home["status/1"]
    done = refresh(store, "CN-GD", home.get, now=NOW)
    assert done.problems == ["bundle.tlog-proof: not published", "CN-GD: the store holds no bundle of it"]
    home = publish(world, world.home)
    del home["status/1"]
    done = refresh(store, "CN-GD", home.get, now=NOW)
    assert done.problems == ["landmarks/CN-GD/1.landmarks: not published", "status/1: not published"]


def test_one_bad_file_does_not_keep_the_others_out(store: TrustStore, world: World) -> None:
    home = publish(world, world.home)
    publish_landmarks(world, home, world.home)
    home["landmarks/CN-GD/1.landmarks"] += bytes(64)
    done = refresh(store, "CN-GD", home.get, now=NOW)
    assert done.taken == ["bundle.note", "status/1"]
    assert len(done.problems) == 1
    assert done.problems[0].startswith("landmarks/CN-GD/1.landmarks: ")


def test_a_source_that_cannot_be_read_leaves_what_was_held(store: TrustStore, world: World) -> None:
    refresh(store, "CN-GD", publish(world, world.home).get, now=NOW)

    def broken(path: str) -> bytes | None:
        raise StorageError("the disk is gone", where=path)

    done = refresh(store, "CN-GD", broken, now=NOW)
    assert done.taken == []
    assert all("the disk is gone" in problem for problem in done.problems)
    assert store.status_list(world.home.uri) is not None


def test_all_root_epochs_are_walked_in_turn(store: TrustStore, world: World) -> None:
    home = publish(world, world.home)
    for epoch in (2, 3):
        home[f"root/{epoch}.note"] = world.home.root_note(epoch, world.home.roots, world.home.roots)
    done = refresh(store, "CN-GD", home.get, now=NOW)
    assert done.taken == ["root/2.note", "root/3.note"]
    assert store.roots("CN-GD").epoch == 3
    assert "which 3 superseded" in done.problems[0]


def test_logs_of_a_peer_that_home_does_not_accept_are_not_asked_for(store: TrustStore, world: World) -> None:
    home = publish(world, world.home)
    publish_landmarks(world, home, world.home)
    refresh(store, "CN-GD", home.get, now=NOW)
    origin = "cn-sh.example/log/2027"
    vkey = NoteSigner(origin, Ed25519Signer.generate()).vkey
    policy = world.peer.log.policy().replace(world.peer.log.key.vkey, vkey)
    other = world.peer.log_entry(number=2, origin=origin, vkeys=(vkey,), policy_text=policy)
    peer = publish(world, world.peer)
    bundle = world.peer.bundle(logs=(world.peer.log_entry(), other))
    peer["bundle.note"], peer["bundle.tlog-proof"] = world.peer.logged(bundle)
    assert "bundle.note" in refresh(store, "CN-SH", peer.get, now=NOW).taken
    asked: list[str] = []

    def fetch(path: str) -> bytes | None:
        asked.append(path)
        return home.get(path)

    refresh(store, "CN-GD", fetch, now=NOW)
    assert "landmarks/CN-SH/1.landmarks" in asked
    assert "landmarks/CN-SH/2.landmarks" not in asked


def test_status_lists_of_a_region_are_held_as_far_as_there_is_room(
    store: TrustStore, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [world.home.source(uri=f"https://cn-gd.example/status/{each}") for each in range(4)]
    home = publish(world, world.home)
    home["bundle.note"], home["bundle.tlog-proof"] = world.home.logged(world.home_bundle(status_lists=tuple(sources)))

    def publish_lists(issued_at: int) -> None:
        for number, source in enumerate(sources):
            token = world.home.token(uri=source.uri, issued_at=issued_at)
            home[f"status/{number}"], home[f"status/{number}.tlog-proof"] = world.home.logged_list(token)

    publish_lists(NOW - 3000)
    token = world.home.token(uri=sources[0].uri)
    size = len(token.data) + len(token.status_list.data)
    monkeypatch.setattr(refreshing, "LIMITS", replace(LIMITS, status_lists_size=2 * size))
    done = refresh(store, "CN-GD", home.get, now=NOW)
    assert [path for path in done.taken if path.startswith("status/")] == ["status/0", "status/1"]
    assert done.problems[-1] == f"2 status lists: not taken, those that are held take {2 * size} bytes already"
    publish_lists(NOW - 2000)
    done = refresh(store, "CN-GD", home.get, now=NOW)
    assert [path for path in done.taken if path.startswith("status/")] == ["status/0", "status/1"], "they go on"
