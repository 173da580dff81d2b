"""Checking a log that is fetched: what is asked for, a log that grows meanwhile, one that shows two histories."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chopmark.checkpoint import Checkpoint
from chopmark.landmark import LandmarkFile
from chopmark.note import sign_note
from chopmark_ledger.audit.fsck import FsckReport, fsck
from chopmark_ledger.audit.http_source import HttpSource
from chopmark_ledger.audit.tile_source import FolderSource, FoundFile
from chopmark_ledger.errors import LogUnreachableError

from tests.ledger.sample_log import OTHER, Answer, FileServer, opaque, put, serving, write_log

if TYPE_CHECKING:
    from tests.ledger.conftest import World

NOT_LISTED = "it cannot be listed, so only what the checkpoint needs was checked"


def check(server: FileServer, vkey: str = OTHER.vkey, in_flight: int = 8) -> FsckReport:
    with closing(HttpSource(server.url, in_flight=in_flight, sleep=lambda seconds: None)) as source:
        return fsck(source, vkeys=[vkey])


@contextmanager
def changing(before: Path, after: Path) -> Iterator[FileServer]:
    """Serves one folder, and another one once the checkpoint was fetched."""

    def change(path: str) -> None:
        if path != "checkpoint":
            server.folder = after

    with serving(before, before=change) as server:
        yield server


@pytest.mark.parametrize("size", [0, 1, 256, 300, 1000])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_log_of_somebody_else_is_sound(tmp_path: Path, size: int, compressed: bool) -> None:
    with serving(write_log(tmp_path, opaque(size)), compressed=compressed) as server:
        report = check(server)
    assert report.is_sound
    assert report.size == size
    assert not report.is_ours
    assert [remark.rpartition(": ")[2] for remark in report.remarks] == [NOT_LISTED]


def test_a_log_of_three_levels_is_sound(tmp_path: Path) -> None:
    with serving(write_log(tmp_path, [b"%d" % number for number in range(66_000)])) as server:
        assert check(server).is_sound
        assert max(server.requests.values()) <= 2, "no tile is fetched again and again"


def test_our_own_log_is_sound_with_its_landmarks(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 1500)
    ledger.landmark_now()
    with serving(world.public) as server:
        report = check(server, world.vkey)
    assert report.damage == ()
    assert report.is_ours
    assert report.landmarks == len(LandmarkFile.parse(ledger.landmark_file()))


def test_nothing_is_asked_for_that_the_checkpoint_does_not_call_for(tmp_path: Path) -> None:
    with serving(write_log(tmp_path, opaque(600))) as server:
        assert check(server).is_sound
    expected = {"checkpoint", "landmarks", "tile/1/000.p/2"}
    for kind in ("0", "entries"):
        expected |= {f"tile/{kind}/000", f"tile/{kind}/001", f"tile/{kind}/002.p/88"}
    assert set(server.requests) == expected


def test_a_full_tile_stands_in_for_a_partial_one_that_is_gone(tmp_path: Path) -> None:
    write_log(tmp_path / "before", opaque(300))
    write_log(tmp_path / "after", opaque(600))
    put(tmp_path / "after/tile/1/000.p/1", (tmp_path / "before/tile/1/000.p/1").read_bytes())
    with changing(tmp_path / "before", tmp_path / "after") as server:
        report = check(server)
    assert report.damage == ()
    assert report.size == 300
    assert server.requests["tile/0/001.p/44"] == 1
    assert server.requests["tile/0/001"] >= 1


@pytest.mark.parametrize("after", [301, 512, 600, 1000])
def test_a_log_that_grows_meanwhile_is_checked_as_it_was_at_the_beginning(tmp_path: Path, after: int) -> None:
    """The partial tiles of every published size stay, or their full ones are there."""
    write_log(tmp_path / "log", opaque(after))
    beginning = write_log(tmp_path / "before", opaque(300))
    for path in beginning.glob("tile/*/**/*.p/*"):
        put(tmp_path / "log" / path.relative_to(beginning), path.read_bytes())
    with changing(tmp_path / "before", tmp_path / "log") as server:
        report = check(server)
    assert report.damage == ()
    assert report.size == 300


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        (Checkpoint(OTHER.name, 300, bytes(32)), "by one of size 300 that does not continue it"),
        (Checkpoint(OTHER.name, 400, bytes(32)), "by one of size 400 that does not continue it"),
        (Checkpoint(OTHER.name, 299, bytes(32)), "by one of the smaller size 299"),
    ],
)
def test_a_log_that_shows_another_history_meanwhile_is_found_out(
    tmp_path: Path, checkpoint: Checkpoint, words: str
) -> None:
    log = write_log(tmp_path, opaque(300))
    first = (log / "checkpoint").read_bytes()
    with serving(log) as server:
        server.script["checkpoint"] = [Answer(200, first), Answer(200, sign_note(checkpoint.body(), [OTHER]).encode())]
        (damage,) = check(server).damage
    assert damage.path == "checkpoint"
    assert words in damage.what


def test_a_fork_with_sound_tiles_of_its_own_is_found_out(tmp_path: Path) -> None:
    write_log(tmp_path / "one", opaque(300))
    write_log(tmp_path / "other", [b"another history", *opaque(600)])
    with serving(tmp_path / "one") as server:

        def fork(path: str) -> None:
            if path == "checkpoint" and server.requests[path] == 2:
                server.folder = tmp_path / "other"

        server.before = fork
        (damage,) = check(server).damage
    assert damage.path == "checkpoint"
    assert "of size 601 that does not continue it" in damage.what


def test_a_checkpoint_that_is_lost_meanwhile_is_named(tmp_path: Path) -> None:
    log = write_log(tmp_path, opaque(300))
    with serving(log) as server:
        server.script["checkpoint"] = [Answer(200, (log / "checkpoint").read_bytes()), Answer(404)]
        (damage,) = check(server).damage
    assert (damage.path, damage.what) == ("checkpoint", "missing")


def test_landmarks_that_were_made_meanwhile_are_not_taken_for_damage(world: World, tmp_path: Path) -> None:
    ledger = world.open()
    world.append(ledger, 1, 300)
    ledger.landmark_now()
    early = (world.public / "checkpoint").read_bytes()
    world.append(ledger, 2, 1200)
    ledger.landmark_now()
    with serving(world.public) as server:
        server.script["checkpoint"] = [Answer(200, early)]
        report = check(server, world.vkey)
    assert report.damage == ()
    assert report.size == 301
    assert any("made since the check began" in remark for remark in report.remarks)


def test_landmarks_that_were_made_at_the_last_moment_are_not_taken_for_damage(world: World, tmp_path: Path) -> None:
    ledger = world.open()
    world.append(ledger, 1, 300)
    ledger.landmark_now()
    early = shutil.copytree(world.public, tmp_path / "early")
    world.append(ledger, 2, 1200)
    ledger.landmark_now()

    def publish(path: str) -> None:
        if path == "landmarks":
            server.folder = world.public

    with serving(early, before=publish) as server:
        assert check(server, world.vkey).damage == ()


def test_landmarks_that_no_checkpoint_covers_are_damage(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 300)
    ledger.landmark_now()
    early = (world.public / "checkpoint").read_bytes()
    world.append(ledger, 2, 1200)
    ledger.landmark_now()
    (world.public / "checkpoint").write_bytes(early)
    with serving(world.public) as server:
        (damage,) = check(server, world.vkey).damage
    assert damage.path == "landmarks"
    assert "larger than the published one" in damage.what


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(403), "the server answers 403"),
        (Answer(500), "the server answers 500"),
        (Answer(302, headers={"Location": "https://cn-gd.example/"}), "the server answers 302"),
        (Answer(200, b"not gzip", {"Content-Encoding": "gzip"}), "it is not compressed as the server says"),
        (Answer(200, bytes(9000)), "more than 8192 bytes"),
    ],
)
def test_a_file_that_the_server_does_not_give_is_named(tmp_path: Path, answer: Answer, words: str) -> None:
    with serving(write_log(tmp_path, opaque(600))) as server:
        server.script["tile/0/001"] = [answer] * 10
        (damage,) = check(server).damage
    assert (damage.path, damage.what) == ("tile/0/001", words)


def test_a_server_that_goes_away_is_an_error_and_no_damage(tmp_path: Path) -> None:
    with serving(write_log(tmp_path, opaque(600))) as server:
        server.script["tile/0/001"] = [Answer(503)] * 10
        with pytest.raises(LogUnreachableError, match="503"):
            check(server)


def test_a_page_for_everything_is_no_landmark_file(tmp_path: Path) -> None:
    with serving(write_log(tmp_path, opaque(600))) as server:
        server.script["landmarks"] = [Answer(200, b"<html>")]
        report = check(server)
    assert report.is_sound
    assert "landmarks: not a landmark file, not checked" in report.remarks


class Unlisted:
    """A folder that cannot be listed, as a server's, and counts what is asked for."""

    name = "a folder"

    def __init__(self, folder: Path) -> None:
        self._folder = FolderSource(folder)
        self.reads = 0

    def read(self, path: str) -> bytes | None:
        self.reads += 1
        return self._folder.read(path)

    def read_ahead(self, paths: Iterator[str]) -> None:
        pass

    def found(self) -> Iterator[FoundFile] | None:
        return None

    def close(self) -> None:
        pass


@pytest.mark.parametrize("size", [2**20, 2**40, 2**63 - 1])
def test_a_checkpoint_that_claims_more_than_there_is_asks_for_little(tmp_path: Path, size: int) -> None:
    log = write_log(tmp_path, opaque(600))
    put(log / "checkpoint", sign_note(Checkpoint(OTHER.name, size, bytes(32)).body(), [OTHER]).encode())
    source = Unlisted(log)
    report = fsck(source, vkeys=[OTHER.vkey])
    assert "checkpoint" in {damage.path for damage in report.damage}
    assert source.reads < 20_000


def test_tiles_with_nothing_below_are_told_in_one_line_each(tmp_path: Path) -> None:
    log = write_log(tmp_path, [b"%d" % number for number in range(2 * 65_536)])
    for kind in ("0", "1", "entries"):
        shutil.rmtree(log / "tile" / kind)
    with serving(log) as server:
        report = check(server)
    assert [damage.path for damage in report.damage] == [
        "tile/1/000",
        "tile/entries/000",
        "tile/1/001",
        "tile/entries/256",
    ]
    assert report.damage[1].what == "missing, with all others up to that of entry 65535"


def test_entries_are_checked_though_all_tiles_are_lost(tmp_path: Path) -> None:
    log = write_log(tmp_path, opaque(1000))
    shutil.rmtree(log / "tile/0")
    shutil.rmtree(log / "tile/1")
    with serving(log) as server:
        report = check(server)
    lost = ["tile/0/000", "tile/0/001", "tile/0/002", "tile/0/003.p/232", "tile/1/000.p/3"]
    assert sorted(damage.path for damage in report.damage) == lost
    assert {damage.what for damage in report.damage} == {"missing"}
