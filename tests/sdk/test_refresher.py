"""A store that keeps itself up to date: what readers see, when it looks again, and how it ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chopmark import TrustStore
from chopmark.client.refresher import Interval, Refresher, RefreshStatus, due_at

from tests.sdk.published_server import PublishedServer, publish_all, publish_landmarks, serving

if TYPE_CHECKING:
    from tests.sdk.conftest import World

NOW = 1_795_339_800
HOUR = 3600
DEADLINE = 20.0
"""Seconds after which a thread that a test waits for counts as stuck."""


@dataclass
class Scene:
    world: World
    folder: Path
    home: PublishedServer
    peer: PublishedServer
    now: float = NOW
    made: list[Refresher] = field(default_factory=list)

    def refresher(self, **options: Any) -> Refresher:
        store = TrustStore.open(self.folder, roots=self.world.home.pin)
        sources = {"CN-GD": self.home.url, "CN-SH": self.peer.url}
        values: dict[str, Any] = {"clock": lambda: self.now, "jitter": lambda: 1.0, **options}
        self.made.append(Refresher(store, sources, **values))
        return self.made[-1]

    def publish_list(self, issued_at: int) -> None:
        region = self.world.peer
        self.peer.files["status/1"], self.peer.files["status/1.tlog-proof"] = region.logged_list(
            region.token(issued_at=issued_at)
        )


@pytest.fixture
def scene(tmp_path: Path, world: World, quick_disk: None) -> Iterator[Scene]:
    TrustStore.create(tmp_path / "trust", roots=world.home.pin)
    with serving(*publish_all(world)) as (home, peer):
        scene = Scene(world, tmp_path / "trust", home, peer)
        yield scene
        for refresher in scene.made:
            refresher.close()


def test_a_reader_keeps_the_store_it_has_while_another_takes_its_place(scene: Scene) -> None:
    refresher = scene.refresher()
    empty = refresher.store
    refresher.refresh()
    first = refresher.store
    assert (empty.regions, first.regions) == ((), ("CN-GD", "CN-SH"))
    scene.publish_list(NOW - 100)
    publish_landmarks(scene.world, scene.home.files, scene.world.peer, count=4)
    refresher.refresh()
    uri, origin = scene.world.peer.uri, scene.world.peer.log.origin
    old, new = first.status_list(uri), refresher.store.status_list(uri)
    assert old is not None
    assert new is not None
    assert (old.issued_at, new.issued_at) == (NOW - 3000, NOW - 100)
    old_file, new_file = first.landmark_file(origin), refresher.store.landmark_file(origin)
    assert old_file is not None
    assert new_file is not None
    assert (len(old_file), len(new_file)) == (2, 4)


def test_as_long_as_nothing_is_taken_the_store_is_the_same_object(scene: Scene) -> None:
    refresher = scene.refresher()
    refresher.refresh()
    store = refresher.store
    refresher.refresh()
    assert refresher.store is store


def test_what_another_process_puts_is_found_though_every_source_is_away(scene: Scene) -> None:
    refresher, other = scene.refresher(), scene.refresher()
    scene_home = scene.home.url
    other.refresh()
    scene.home.close()
    scene.peer.close()
    status = refresher.refresh()
    assert refresher.store.regions == ("CN-GD", "CN-SH")
    assert [region.url for region in status.regions] == [scene_home.rstrip("/"), scene.peer.url.rstrip("/")]
    assert [region.reached for region in status.regions] == [None, None]


def test_a_folder_that_was_damaged_meanwhile_takes_nothing_from_readers(scene: Scene) -> None:
    refresher = scene.refresher()
    refresher.refresh()
    (scene.folder / "store.json").write_bytes(b"{}")
    status = refresher.refresh()
    assert "store.json" in status.problems[0]
    assert refresher.store.regions == ("CN-GD", "CN-SH")
    assert refresher.store.status_list(scene.world.peer.uri) is not None


def test_status_tells_what_was_reached_taken_and_refused_and_when(scene: Scene) -> None:
    refresher = scene.refresher()
    assert refresher.status().regions == ()
    refresher.refresh()
    scene.now += 1000
    scene.peer.files["status/1"] = b"x"
    refresher.refresh()
    home, peer = refresher.status().regions
    assert (home.region, home.reached, home.changed, home.problems) == ("CN-GD", NOW + 1000, NOW, ())
    assert (peer.region, peer.reached, peer.changed) == ("CN-SH", NOW + 1000, NOW)
    assert len(peer.problems) == 1
    scene.peer.close()
    scene.now += 1000
    refresher.refresh()
    assert refresher.status().regions[1].reached == NOW + 1000
    assert (refresher.status().rounds, refresher.status().finished) == (3, NOW + 2000)


def test_a_second_process_begins_with_the_tags_of_the_first(scene: Scene) -> None:
    scene.refresher().refresh()
    scene.home.answers.clear()
    scene.refresher().refresh()
    assert {status for _, status in scene.home.answers} == {304, 404}


# When


def pause(scene: Scene, refresher: Refresher) -> float:
    """Seconds from now to the next round, after one was made."""
    status = refresher.refresh()
    assert status.due is not None
    return status.due - scene.now


def test_the_next_round_is_when_the_first_list_outlives_its_ttl(scene: Scene) -> None:
    refresher = scene.refresher(interval=Interval(shortest=60, longest=30 * HOUR))
    assert pause(scene, refresher) == 6 * HOUR - 3000
    assert due_at(refresher.store) == NOW - 3000 + 6 * HOUR


def test_the_next_round_is_no_sooner_and_no_later_than_the_interval_says(scene: Scene) -> None:
    assert pause(scene, scene.refresher(interval=Interval(shortest=60, longest=900))) == 900
    assert pause(scene, scene.refresher(interval=Interval(shortest=8 * HOUR, longest=9 * HOUR))) == 8 * HOUR


def test_pauses_are_stretched_by_the_jitter(scene: Scene) -> None:
    assert pause(scene, scene.refresher(interval=Interval(60, 900), jitter=lambda: 0.9)) == 810


def test_while_a_source_is_away_pauses_double_up_to_the_longest_and_shrink_when_it_is_back(scene: Scene) -> None:
    refresher = scene.refresher(interval=Interval(60, 900))
    good = scene.peer.files["status/1"]
    scene.peer.files["status/1"] = b"x"
    assert [pause(scene, refresher) for _ in range(6)] == [60, 120, 240, 480, 900, 900]
    scene.peer.files["status/1"] = good
    assert pause(scene, refresher) == 900
    scene.peer.files["status/1"] = b"x"
    assert pause(scene, refresher) == 60


def test_while_nothing_new_is_published_though_it_is_due_pauses_double(scene: Scene) -> None:
    refresher = scene.refresher(interval=Interval(60, 900))
    refresher.refresh()
    scene.now += 7 * HOUR
    assert [pause(scene, refresher) for _ in range(3)] == [60, 120, 240]
    scene.publish_list(int(scene.now) - 10)
    region = scene.world.home
    scene.home.files["status/1"], scene.home.files["status/1.tlog-proof"] = region.logged_list(
        region.token(issued_at=int(scene.now) - 10)
    )
    assert pause(scene, refresher) == 900


# The thread


def test_the_thread_makes_a_round_at_once_and_ends_when_it_is_closed(scene: Scene) -> None:
    made = threading.Event()

    def clock() -> float:
        if refresher.status().rounds:
            made.set()
        return scene.now

    refresher = scene.refresher(clock=clock)
    refresher.start()
    refresher.start()
    assert made.wait(DEADLINE)
    assert refresher.store.regions == ("CN-GD", "CN-SH")
    refresher.close()
    assert [thread for thread in threading.enumerate() if thread.name == "refresher"] == []


def test_closing_waits_for_no_further_file(scene: Scene) -> None:
    asked, answer = threading.Event(), threading.Event()

    def stalled(connection: socket.socket, _: bytes) -> bool:
        asked.set()
        answer.wait(DEADLINE)
        connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
        return True

    scene.home.faults["root/1.note"] = stalled
    refresher = scene.refresher()
    refresher.start()
    assert asked.wait(DEADLINE)
    refresher.close(patience=0)
    answer.set()
    refresher.close(patience=DEADLINE)
    assert [path for path, _ in scene.home.answers] == ["root/1.note"]
    assert scene.peer.answers == []


def test_a_fault_of_the_program_ends_no_thread(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()

    def faulty(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    def clock() -> float:
        if refresher.status().problems:
            told.set()
        return scene.now

    monkeypatch.setattr("chopmark.client.refresher.refresh_all", faulty)
    refresher = scene.refresher(clock=clock)
    refresher.start()
    assert told.wait(DEADLINE)
    status = refresher.status()
    assert "RuntimeError: a fault" in status.problems[0]
    assert status.due == NOW + 900


def test_each_round_is_told_to_who_wants_to_log_it(scene: Scene) -> None:
    told: list[RefreshStatus] = []
    refresher = scene.refresher(on_round=told.append)
    refresher.refresh()
    refresher.refresh()
    assert [status.rounds for status in told] == [1, 2]
    assert told[-1] is refresher.status()
