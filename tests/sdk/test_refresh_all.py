"""A round over home and peers with real servers, good and bad: nothing that was held is ever lost."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chopmark import TrustStore
from chopmark.client.bounded_http import Bounds
from chopmark.client.entity_tags import EntityTags
from chopmark.client.region_sources import RegionSources
from chopmark.limits import LIMITS
from chopmark.refresh import Refreshed, refresh_all

from tests.ledger.raw_server import answering
from tests.sdk.published_server import PublishedServer, publish_all, publish_landmarks, serving

if TYPE_CHECKING:
    from tests.sdk.conftest import World

NOW = 1_795_339_800
DAY = 86_400
HOME_FILES = ["bundle.note", "landmarks/CN-GD/1.landmarks", "status/1", "landmarks/CN-SH/1.landmarks"]
PEER_FILES = ["bundle.note", "status/1"]


@dataclass
class Scene:
    """A store, what it is filled from, and one round after the other."""

    world: World
    store: TrustStore
    home: PublishedServer
    peer: PublishedServer
    tags: EntityTags

    def round(self, *, seconds: float = 20.0, now: int = NOW, **urls: str) -> dict[str, Refreshed]:
        named = {"CN-GD": self.home.url, "CN-SH": self.peer.url, **{k.replace("_", "-"): v for k, v in urls.items()}}
        bounds = Bounds(whole=seconds, connect=seconds, idle=seconds)
        with closing(RegionSources(named, tags=self.tags, bounds=bounds, seconds=seconds)) as sources:
            return refresh_all(self.store, sources.source_of, now=now, named=named)

    def versions(self) -> dict[str, int]:
        return versions(self.store)

    def reopened(self) -> TrustStore:
        return TrustStore.open(self.store.folder, roots=self.world.home.pin)


def versions(store: TrustStore) -> dict[str, int]:
    """What a store holds, each with its version."""
    held: dict[str, int] = {}
    for region in store.regions:
        bundle = store.bundle(region)
        assert bundle is not None
        held[f"bundle {region}"] = bundle.seq
        held[f"roots {region}"] = store.roots(region).epoch
        for log in bundle.logs:
            if (file := store.landmark_file(log.origin)) is not None:
                held[f"landmarks {log.origin}"] = len(file)
        for source in bundle.contents.status_lists:
            if (token := store.status_list(source.uri)) is not None:
                held[f"status {source.uri}"] = token.issued_at
    return held


@pytest.fixture
def scene(tmp_path: Path, world: World, quick_disk: None) -> Iterator[Scene]:
    store = TrustStore.create(tmp_path / "trust", roots=world.home.pin)
    with serving(*publish_all(world)) as (home, peer):
        yield Scene(world, store, home, peer, EntityTags())


@pytest.fixture
def filled(scene: Scene) -> Scene:
    """The scene after a round in which all went well."""
    assert not any(report.problems for report in scene.round().values())
    scene.home.answers.clear()
    scene.peer.answers.clear()
    return scene


def test_an_empty_store_takes_everything_in_one_round(scene: Scene) -> None:
    done = scene.round()
    assert done == {"CN-GD": Refreshed(taken=HOME_FILES), "CN-SH": Refreshed(taken=PEER_FILES)}
    assert len(scene.versions()) == 8
    assert versions(scene.reopened()) == scene.versions()


def test_a_second_round_costs_one_small_answer_for_each_file(filled: Scene) -> None:
    sent = filled.home.sent + filled.peer.sent
    done = filled.round()
    assert done == {"CN-GD": Refreshed(unchanged=HOME_FILES), "CN-SH": Refreshed(unchanged=PEER_FILES)}
    assert filled.home.statuses() == dict.fromkeys(HOME_FILES, 304) | {"root/2.note": 404}
    assert filled.peer.statuses() == dict.fromkeys(PEER_FILES, 304) | {"root/2.note": 404}
    assert filled.home.sent + filled.peer.sent == sent + 2 * len(b"none")


def test_only_the_new_records_of_a_landmark_file_are_fetched(filled: Scene) -> None:
    publish_landmarks(filled.world, filled.home.files, filled.world.peer, count=5)
    sent = filled.home.sent
    done = filled.round()
    assert done["CN-GD"].taken == ["landmarks/CN-SH/1.landmarks"]
    assert filled.home.statuses()["landmarks/CN-SH/1.landmarks"] == 206
    proof = filled.home.files["landmarks/CN-SH/1.tlog-proof"]
    assert filled.home.sent - sent == len(b"none") + 64 + 3 * 64 + len(proof)
    assert filled.versions()["landmarks cn-sh.example/log/2026"] == 5


def test_where_what_is_held_is_no_beginning_of_what_is_published_the_whole_is_fetched_and_judged(
    filled: Scene,
) -> None:
    """The last record that is held is in the file, an earlier one differs: only the proof shows it."""
    publish_landmarks(filled.world, filled.home.files, filled.world.peer, count=5)
    path = "landmarks/CN-SH/1.landmarks"
    data = filled.home.files[path]
    filled.home.files[path] = data[:50] + b"x" + data[51:]
    before = filled.versions()
    done = filled.round()
    assert [status for asked, status in filled.home.answers if asked == path] == [206]
    # The part that was fetched is right, and so is what is held: the store took a file that verifies.
    assert done["CN-GD"].taken == [path]
    filled.home.answers.clear()
    publish_landmarks(filled.world, filled.home.files, filled.world.peer, count=6)
    data = filled.home.files[path]
    filled.home.files[path] = data[:-10] + b"x" + data[-9:]
    done = filled.round()
    assert [status for asked, status in filled.home.answers if asked == path] == [206, 200]
    assert len(done["CN-GD"].problems) == 1
    assert done["CN-GD"].problems[0].startswith(f"{path}: ")
    assert filled.versions() == before | {"landmarks cn-sh.example/log/2026": 5}


def test_a_landmark_file_that_grows_between_itself_and_its_proof_is_fetched_again(filled: Scene) -> None:
    publish_landmarks(filled.world, filled.home.files, filled.world.peer, count=5)
    proof_path = "landmarks/CN-SH/1.tlog-proof"

    def meanwhile(connection: socket.socket, request: bytes) -> bool | None:
        del filled.home.faults[proof_path]
        publish_landmarks(filled.world, filled.home.files, filled.world.peer, count=6)
        return filled.home.behave(connection, request)

    filled.home.faults[proof_path] = meanwhile
    done = filled.round()
    assert (done["CN-GD"].taken, done["CN-GD"].problems) == (["landmarks/CN-SH/1.landmarks"], [])
    assert filled.versions()["landmarks cn-sh.example/log/2026"] == 6


def test_a_shorter_landmark_file_is_a_rollback(filled: Scene) -> None:
    publish_landmarks(filled.world, filled.home.files, filled.world.peer, count=1)
    before = filled.versions()
    done = filled.round()
    assert "1 is below 2" in done["CN-GD"].problems[0]
    assert filled.versions() == before
    assert done["CN-GD"].unchanged == HOME_FILES[:3]


def test_an_older_bundle_is_refused_and_the_rest_goes_on(filled: Scene) -> None:
    world = filled.world
    old = filled.home.files["bundle.note"], filled.home.files["bundle.tlog-proof"]
    filled.home.files["bundle.note"], filled.home.files["bundle.tlog-proof"] = world.home.logged(
        world.home_bundle(seq=2)
    )
    assert filled.round()["CN-GD"].taken == ["bundle.note"]
    filled.home.files["bundle.note"], filled.home.files["bundle.tlog-proof"] = old
    publish_landmarks(world, filled.home.files, world.home, count=4)
    done = filled.round()
    assert "1 is below 2" in done["CN-GD"].problems[0]
    assert done["CN-GD"].taken == ["landmarks/CN-GD/1.landmarks"]
    assert done["CN-SH"].problems == []
    assert filled.versions()["bundle CN-GD"] == 2


def test_a_proof_of_something_else_is_refused_until_the_right_one_is_there(filled: Scene) -> None:
    world = filled.world
    token, proof = world.peer.logged_list(world.peer.token({3: 1}, issued_at=NOW - 100))
    filled.peer.files["status/1"] = token
    done = filled.round()
    assert done["CN-SH"].problems[0].startswith("status/1: ")
    assert filled.versions()["status https://cn-sh.example/status/1"] == NOW - 3000
    filled.peer.files["status/1.tlog-proof"] = proof
    assert filled.round()["CN-SH"].taken == ["status/1"]
    assert filled.versions()["status https://cn-sh.example/status/1"] == NOW - 100


def test_a_peer_that_is_away_is_told_once_and_keeps_nobody_else_from_going_on(filled: Scene) -> None:
    filled.peer.close()
    publish_landmarks(filled.world, filled.home.files, filled.world.peer, count=4)
    before = filled.versions()
    done = filled.round()
    assert (len(done["CN-SH"].problems), done["CN-SH"].away) == (1, True)
    assert "no connection" in done["CN-SH"].problems[0]
    assert done["CN-GD"].taken == ["landmarks/CN-SH/1.landmarks"]
    assert filled.versions() == before | {"landmarks cn-sh.example/log/2026": 4}


def test_while_home_is_away_peers_are_visited_by_the_bundle_that_is_held(filled: Scene) -> None:
    filled.home.close()
    world = filled.world
    filled.peer.files["status/1"], filled.peer.files["status/1.tlog-proof"] = world.peer.logged_list(
        world.peer.token(issued_at=NOW - 100)
    )
    done = filled.round()
    assert (len(done["CN-GD"].problems), done["CN-GD"].away) == (1, True)
    assert done["CN-SH"] == Refreshed(taken=["status/1"], unchanged=["bundle.note"])


def test_an_empty_store_whose_home_is_away_says_so_and_no_more(scene: Scene) -> None:
    scene.home.close()
    done = scene.round()
    assert list(done) == ["CN-GD"]
    assert len(done["CN-GD"].problems) == 1
    assert scene.peer.answers == []


def test_one_file_that_breaks_off_does_not_keep_the_others_out(scene: Scene) -> None:
    scene.home.faults["status/1"] = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx", again=False)
    done = scene.round()
    assert done["CN-GD"].taken == [path for path in HOME_FILES if path != "status/1"]
    assert done["CN-GD"].problems == [f"status/1: {scene.home.url}status/1: it cannot be fetched: its answer broke off"]
    assert done["CN-SH"].problems == []


def test_a_file_above_its_limit_is_refused(filled: Scene) -> None:
    filled.peer.files["status/1"] = bytes(LIMITS.status_token_size + 1)
    before = filled.versions()
    assert f"more than {LIMITS.status_token_size} bytes" in filled.round()["CN-SH"].problems[0]
    assert filled.versions() == before


def test_a_source_that_trickles_takes_no_longer_than_a_visit(filled: Scene) -> None:
    def trickle(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\n")
        while not select.select([connection], [], [], 0.02)[0]:
            connection.sendall(b"x")

    for path in (*PEER_FILES, "root/2.note"):
        filled.peer.faults[path] = trickle
    done = filled.round(seconds=3)
    assert done["CN-SH"].away
    assert "nothing whole within 3 seconds" in done["CN-SH"].problems[0]
    assert "of a visit are over" in done["CN-SH"].problems[1]
    assert done["CN-GD"].unchanged == HOME_FILES


def test_a_source_that_serves_another_region_changes_nothing(filled: Scene) -> None:
    before = filled.versions()
    done = filled.round(CN_SH=filled.home.url)
    assert any("bundle of CN-GD" in problem for problem in done["CN-SH"].problems)
    assert filled.versions() == before


def test_new_root_epochs_are_taken_and_not_asked_for_again(filled: Scene) -> None:
    keys = filled.world.home.roots
    filled.home.files["root/2.note"] = filled.world.home.root_note(2, keys, keys)
    done = filled.round()
    assert done["CN-GD"].taken == ["root/2.note"]
    filled.home.answers.clear()
    filled.round()
    assert [path for path, _ in filled.home.answers if path.startswith("root/")] == ["root/3.note"]


def test_a_damaged_root_epoch_of_a_peer_is_fetched_again(filled: Scene) -> None:
    (filled.store.folder / "CN-SH/root/1.note").write_bytes(b"x")
    filled.store = filled.reopened()
    assert len(filled.store.problems) == 1
    assert filled.round()["CN-SH"].problems == []
    assert filled.reopened().problems == ()


def test_what_was_lost_from_the_folder_is_fetched_again(filled: Scene) -> None:
    before = filled.versions()
    (filled.store.folder / "CN-SH/bundle.note").unlink()
    (filled.store.folder / "CN-GD/landmarks/1.landmarks").write_bytes(b"x")
    filled.store = filled.reopened()
    assert filled.versions() != before
    done = filled.round()
    assert (done["CN-GD"].taken, done["CN-SH"].taken) == (["landmarks/CN-GD/1.landmarks"], ["bundle.note"])
    assert filled.versions() == before
    assert filled.reopened().problems == ()


def test_a_region_that_is_no_peer_is_told(filled: Scene) -> None:
    done = filled.round(US_IL=filled.peer.url)
    assert done["US-IL"].problems == ["US-IL is neither the home region nor one of its peers"]


def test_a_peer_whose_time_is_over_is_not_visited(filled: Scene) -> None:
    world = filled.world
    peers = (world.peer.peer_entry(world.floor, not_after=NOW + DAY),)
    filled.home.files["bundle.note"], filled.home.files["bundle.tlog-proof"] = world.home.logged(
        world.home_bundle(seq=2, peers=peers)
    )
    filled.round()
    with closing(RegionSources({"CN-GD": filled.home.url}, tags=filled.tags)) as sources:
        done = refresh_all(filled.store, sources.source_of, now=NOW + DAY)
    assert list(done) == ["CN-GD"]
    assert filled.store.bundle("CN-SH") is not None


def test_a_peer_that_home_names_anew_is_taken_with_its_landmarks_in_the_same_round(scene: Scene) -> None:
    world = scene.world
    scene.home.files["bundle.note"], scene.home.files["bundle.tlog-proof"] = world.home.logged(
        world.home_bundle(peers=())
    )
    done = scene.round()
    assert done["CN-SH"].problems == ["CN-SH is neither the home region nor one of its peers"]
    scene.home.files["bundle.note"], scene.home.files["bundle.tlog-proof"] = world.home.logged(world.home_bundle(seq=2))
    done = scene.round()
    assert done["CN-GD"].taken == ["bundle.note", "landmarks/CN-SH/1.landmarks"]
    assert done["CN-SH"].taken == PEER_FILES
