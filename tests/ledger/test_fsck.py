"""Checking whole logs: sound ones of ours and of others, and each damage named where it lies."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import pytest
from chopmark import merkle, tiles
from chopmark.checkpoint import Checkpoint
from chopmark.entries import CredentialEntry, GenesisEntry
from chopmark.errors import FormatError, StorageError
from chopmark.landmark import LandmarkFile
from chopmark.note import sign_note
from chopmark_ledger import tree
from chopmark_ledger.audit import fsck_findings
from chopmark_ledger.audit.fsck import FsckReport, fsck
from chopmark_ledger.audit.tile_source import FileKind, FolderSource, FoundFile

from tests.ledger.sample_log import OTHER, opaque, put, write_log

if TYPE_CHECKING:
    from tests.ledger.conftest import World


def check(folder: Path) -> FsckReport:
    return fsck(folder, vkeys=[OTHER.vkey])


def damaged(report: FsckReport) -> list[str]:
    return [damage.path for damage in report.damage]


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 300, 512, 1000])
def test_a_log_of_somebody_else_is_sound(tmp_path: Path, size: int) -> None:
    report = check(write_log(tmp_path, opaque(size)))
    assert report.is_sound
    assert report.size == size
    assert report.root == tree.append(tree.EMPTY_EDGE, [merkle.leaf_hash(entry) for entry in opaque(size)])[0].root
    assert report.remarks == ()


def test_a_log_of_three_levels_is_sound(tmp_path: Path) -> None:
    write_log(tmp_path, [b"%d" % number for number in range(66_000)])
    steps: list[tuple[int, int]] = []
    report = fsck(tmp_path, vkeys=[OTHER.vkey], progress=lambda done, total: steps.append((done, total)))
    assert report.is_sound
    assert steps[-1] == (66_000, 66_000)
    assert steps == sorted(steps)


def test_our_own_log_is_sound_at_every_step(world: World) -> None:
    ledger = world.open()
    for number, count in enumerate((1, 200, 60, 800)):
        world.append(ledger, number, count)
        ledger.landmark_now()
        world.check()
        report = fsck(world.public, vkeys=[world.vkey])
        assert report.damage == ()
        assert report.size == ledger.size


def test_empty_entries_are_nobody_else_s_damage(tmp_path: Path) -> None:
    assert check(write_log(tmp_path, [b"", b"x", b""])).is_sound


def test_an_origin_that_is_not_the_key_s_name_is_accepted_when_given(tmp_path: Path) -> None:
    note = sign_note(Checkpoint("another.example/origin", 0, merkle.EMPTY_ROOT).body(), [OTHER])
    put(tmp_path / "checkpoint", note.encode())
    assert damaged(check(tmp_path)) == ["checkpoint"]
    assert fsck(tmp_path, vkeys=[OTHER.vkey], origin="another.example/origin").is_sound


def test_partial_tiles_may_be_gone_once_the_full_one_is_there(tmp_path: Path) -> None:
    write_log(tmp_path / "larger", opaque(600))
    write_log(tmp_path / "log", opaque(300))
    for name in ("0", "entries"):
        shutil.rmtree(tmp_path / f"log/tile/{name}/001.p")
        shutil.copy(tmp_path / f"larger/tile/{name}/001", tmp_path / f"log/tile/{name}/001")
    report = check(tmp_path / "log")
    assert report.is_sound
    assert report.remarks == ("tile/0/001: beyond the checkpoint, not checked (and 1 more)",)


def flip(path: Path, position: int = 5) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


def flip_both(first: Path, second: Path) -> None:
    flip(first)
    flip(second, 40)


def cut(path: Path, count: int = 1) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def extend(path: Path, more: bytes = b"\0") -> None:
    path.write_bytes(path.read_bytes() + more)


def swap(folder: Path, first: str, second: str) -> None:
    one, two = (folder / first).read_bytes(), (folder / second).read_bytes()
    (folder / first).write_bytes(two)
    (folder / second).write_bytes(one)


DAMAGE: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "a full tile missing": (lambda log: (log / "tile/0/001").unlink(), {"tile/0/001"}),
    "a full tile changed": (lambda log: flip(log / "tile/0/001"), {"tile/0/001"}),
    "a full tile cut": (lambda log: cut(log / "tile/0/001", 32), {"tile/0/001"}),
    "a full tile with more": (lambda log: extend(log / "tile/0/001"), {"tile/0/001"}),
    "a full tile empty": (lambda log: (log / "tile/0/001").write_bytes(b""), {"tile/0/001"}),
    "two tiles swapped": (lambda log: swap(log, "tile/0/000", "tile/0/002"), {"tile/0/000", "tile/0/002"}),
    "the tile above missing": (lambda log: (log / "tile/1/000.p/3").unlink(), {"tile/1/000.p/3"}),
    "the tile above changed": (lambda log: flip(log / "tile/1/000.p/3"), {"tile/1/000.p/3"}),
    "the tile above cut": (lambda log: cut(log / "tile/1/000.p/3"), {"tile/1/000.p/3"}),
    "the last tile missing": (lambda log: (log / "tile/0/003.p/132").unlink(), {"tile/0/003.p/132"}),
    "the last tile changed": (lambda log: flip(log / "tile/0/003.p/132"), {"tile/0/003.p/132"}),
    "a bundle missing": (lambda log: (log / "tile/entries/001").unlink(), {"tile/entries/001"}),
    "an entry changed": (lambda log: flip(log / "tile/entries/001", 40), {"tile/entries/001"}),
    "an entry's length changed": (lambda log: flip(log / "tile/entries/001", 1), {"tile/entries/001"}),
    "a bundle cut": (lambda log: cut(log / "tile/entries/001"), {"tile/entries/001"}),
    "a bundle with more": (lambda log: extend(log / "tile/entries/001", b"\0\1x"), {"tile/entries/001"}),
    "two bundles swapped": (
        lambda log: swap(log, "tile/entries/000", "tile/entries/002"),
        {"tile/entries/000", "tile/entries/002"},
    ),
    "the last bundle missing": (lambda log: (log / "tile/entries/003.p/132").unlink(), {"tile/entries/003.p/132"}),
    "the last bundle changed": (lambda log: flip(log / "tile/entries/003.p/132", 30), {"tile/entries/003.p/132"}),
    "an older partial tile changed": (lambda log: flip(log / "tile/0/003.p/7"), {"tile/0/003.p/7"}),
    "an older partial tile cut": (lambda log: cut(log / "tile/0/003.p/7"), {"tile/0/003.p/7"}),
    "an older partial bundle changed": (lambda log: flip(log / "tile/entries/003.p/7"), {"tile/entries/003.p/7"}),
    "a partial of a full tile changed": (lambda log: flip(log / "tile/0/001.p/9"), {"tile/0/001.p/9"}),
    "the checkpoint missing": (lambda log: (log / "checkpoint").unlink(), {"checkpoint"}),
    "the checkpoint cut": (lambda log: cut(log / "checkpoint"), {"checkpoint"}),
    "the checkpoint's signature changed": (lambda log: flip(log / "checkpoint", -12), {"checkpoint"}),
    "the checkpoint's size changed": (
        lambda log: (log / "checkpoint").write_bytes((log / "checkpoint").read_bytes().replace(b"900", b"899")),
        {"checkpoint"},
    ),
    "the checkpoint of another history": (
        lambda log: (log / "checkpoint").write_bytes(
            sign_note(Checkpoint(OTHER.name, 900, bytes(32)).body(), [OTHER]).encode()
        ),
        {"checkpoint"},
    ),
    "a tile and its bundle both changed": (
        lambda log: flip_both(log / "tile/0/001", log / "tile/entries/001"),
        {"tile/0/001", "tile/entries/001"},
    ),
    "the tile above and one below changed": (
        lambda log: flip_both(log / "tile/1/000.p/3", log / "tile/entries/000"),
        {"tile/1/000.p/3", "tile/entries/000"},
    ),
}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    folder = write_log(tmp_path / "log", opaque(900))
    for width in (7, 9):
        write_log(tmp_path / "older", opaque(768 + width))
        for kind in ("0", "entries"):
            put(folder / f"tile/{kind}/003.p/{width}", (tmp_path / f"older/tile/{kind}/003.p/{width}").read_bytes())
            put(folder / f"tile/{kind}/001.p/{width}", beginning(folder, kind, width))
    assert check(folder).is_sound
    return folder


def beginning(folder: Path, kind: str, width: int) -> bytes:
    data = (folder / f"tile/{kind}/001").read_bytes()
    if kind == "0":
        return data[: 32 * width]
    return tiles.encode_entry_bundle(tiles.decode_entry_bundle(data)[:width])


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_named_where_it_lies(log: Path, name: str) -> None:
    plant, expected = DAMAGE[name]
    plant(log)
    report = check(log)
    assert not report.is_sound
    assert set(damaged(report)) == expected


@pytest.mark.parametrize("plant", [lambda path: path.unlink(), flip, cut])
def test_a_bad_tile_high_up_casts_no_doubt_on_what_is_below(tmp_path: Path, plant: Callable[[Path], object]) -> None:
    write_log(tmp_path, [b"%d" % number for number in range(65_800)])
    plant(tmp_path / "tile/1/000")
    flip(tmp_path / "tile/entries/200")
    assert set(damaged(check(tmp_path))) == {"tile/1/000", "tile/entries/200"}


@pytest.mark.parametrize("size", [2**20, 2**40, 2**63 - 1])
def test_a_checkpoint_that_claims_more_than_there_is_takes_no_more_time(log: Path, size: int) -> None:
    (log / "checkpoint").write_bytes(sign_note(Checkpoint(OTHER.name, size, bytes(32)).body(), [OTHER]).encode())
    begun = perf_counter()
    report = check(log)
    assert perf_counter() - begun < 10
    assert "checkpoint" in damaged(report)


def test_tiles_without_anything_below_them_are_told_in_one_line_each(tmp_path: Path) -> None:
    top = bytes(range(32)) * 2
    put(tmp_path / "tile/5/000.p/2", top)
    root = merkle.node_hash(top[:32], top[32:])
    put(tmp_path / "checkpoint", sign_note(Checkpoint(OTHER.name, 2 * 256**5, root).body(), [OTHER]).encode())
    report = check(tmp_path)
    assert damaged(report) == ["tile/4/000", "tile/entries/000", "tile/4/001", "tile/entries/x004/x294/x967/296"]
    assert report.damage[1].what == f"missing, with all others up to that of entry {256**5 - 1}"


@pytest.mark.parametrize("plant", [lambda path: path.write_bytes(bytes(65 << 20)), Path.mkdir])
def test_a_landmark_file_that_cannot_be_read_is_damage(world: World, plant: Callable[[Path], object]) -> None:
    (ours(world) / "landmarks").unlink()
    plant(world.public / "landmarks")
    report = fsck(world.public, vkeys=[world.vkey])
    assert damaged(report) == ["landmarks"]
    assert report.size is not None


def test_the_first_wrong_entry_is_named(log: Path) -> None:
    bundle = tiles.decode_entry_bundle((log / "tile/entries/001").read_bytes())
    bundle[10] = bundle[20] = b"another"
    (log / "tile/entries/001").write_bytes(tiles.encode_entry_bundle(bundle))
    (damage,) = check(log).damage
    assert damage.what == "entry 266 does not hash to its leaf, and 1 more"


def test_files_of_no_meaning_are_remarked_upon(log: Path) -> None:
    put(log / "tile/names/000", b"of another extension")
    put(log / "tile/0/004", bytes(8192))
    report = check(log)
    assert report.is_sound
    assert [remark.split(":")[0] for remark in report.remarks] == ["tile/0/004", "tile/names/000"]


def ours(world: World) -> Path:
    ledger = world.open()
    world.append(ledger, 1, 300)
    ledger.landmark_now()
    return world.public


def test_a_landmark_that_does_not_follow_is_named_in_a_log_of_ours(world: World) -> None:
    folder = ours(world)
    flip(folder / "landmarks", 16 + 64 + 20)
    (damage,) = fsck(folder, vkeys=[world.vkey]).damage
    assert damage.path == "landmarks"
    assert "record 1" in damage.what


def test_a_landmark_file_of_rubbish_is_named(world: World) -> None:
    folder = ours(world)
    for data in (b"", b"rubbish", LandmarkFile.empty(1).encode() + b"x"):
        (folder / "landmarks").write_bytes(data)
        assert damaged(fsck(folder, vkeys=[world.vkey])) == ["landmarks"]


def test_a_landmark_beyond_the_checkpoint_is_named(world: World) -> None:
    ledger = world.open()
    ledger.landmark_now()
    early = (world.public / "checkpoint").read_bytes()
    world.append(ledger, 1, 300)
    ledger.landmark_now()
    (world.public / "checkpoint").write_bytes(early)
    report = fsck(world.public, vkeys=[world.vkey])
    assert damaged(report) == ["landmarks"]


def test_an_entry_that_is_none_is_named_in_a_log_of_ours(tmp_path: Path) -> None:
    entries = [
        GenesisEntry(OTHER.name, 1, 1).encode(),
        CredentialEntry("CN-GD/1", bytes(32)).encode(),
        b"\xff",
        GenesisEntry(OTHER.name, 1, 1).encode(),
    ]
    assert "entry 2 is not a log entry" in check(write_log(tmp_path / "a", entries)).damage[0].what
    assert "entry 2 is a second genesis" in check(write_log(tmp_path / "b", entries[:2] + entries[3:])).damage[0].what
    assert check(write_log(tmp_path / "c", entries[1:])).is_sound, "entries are opaque without our genesis entry"


def test_a_missing_folder_and_a_bad_vkey_are_errors(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        check(tmp_path / "none")
    with pytest.raises(FormatError):
        fsck(tmp_path, vkeys=["rubbish"])


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with a full tile at level 1 and a partial one at level 2."""
    return write_log(tmp_path_factory.mktemp("large"), [b"%d" % number for number in range(66_000)])


HIGH_UP: dict[str, tuple[str, Callable[[bytes], bytes | None], str]] = {
    "a full tile of level 1 missing": ("tile/1/000", lambda data: None, "missing"),
    "a full tile of level 1 cut": ("tile/1/000", lambda data: data[:-32], "8160 bytes where 8192 are expected"),
    "a full tile of level 1 with more": ("tile/1/000", lambda data: data + b"\0", "more than 8192 bytes"),
    "a full tile of level 1 with a bit flipped": (
        "tile/1/000",
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        "does not hash to what the tile above it says",
    ),
    "the partial tile of level 1 missing": ("tile/1/001.p/1", lambda data: None, "missing"),
    "the partial tile of level 1 with a bit flipped": (
        "tile/1/001.p/1",
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        "does not lead to the root of the checkpoint",
    ),
    "the partial tile of level 2 missing": ("tile/2/000.p/1", lambda data: None, "missing"),
    "the partial tile of level 2 with a bit flipped": (
        "tile/2/000.p/1",
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        "does not lead to the root of the checkpoint",
    ),
}


@pytest.mark.parametrize("kind", HIGH_UP)
def test_damage_high_up_in_a_large_log_is_named_alone(large: Path, tmp_path: Path, kind: str) -> None:
    path, change, words = HIGH_UP[kind]
    log = shutil.copytree(large, tmp_path / "log", copy_function=os.link)
    data = change((log / path).read_bytes())
    (log / path).unlink()  # the other name of the file is that of the log that is not damaged
    if data is not None:
        (log / path).write_bytes(data)
    (damage,) = check(log).damage
    assert damage.path == path
    assert words in damage.what


def test_all_tiles_lost_are_named_and_the_entries_still_checked(large: Path, tmp_path: Path) -> None:
    log = shutil.copytree(large, tmp_path / "log", copy_function=os.link)
    for level in ("0", "1", "2"):
        shutil.rmtree(log / "tile" / level)
    entry = (log / "tile/entries/200").read_bytes()
    report = check(log)
    assert {damage.what for damage in report.damage} == {"missing"}
    assert len(report.damage) == 258 + 2 + 1
    (log / "tile/entries/200").unlink()
    (log / "tile/entries/200").write_bytes(entry[:3] + b"#" + entry[4:])
    assert not any(each.path == "checkpoint" for each in report.damage)
    assert any(each.path == "checkpoint" for each in check(log).damage), "nothing but the entries makes the root"


def test_a_check_ends_when_enough_damage_is_named(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsck_findings, "MAX_DAMAGE", 2)
    for index in range(3):
        (log / tiles.entries_path(index)).unlink()
    report = check(log)
    assert damaged(report) == ["tile/entries/000", "tile/entries/001"]
    assert "the check ended there" in report.remarks[-1]
    assert not report.is_sound


class Unreadable(FolderSource):
    """A folder of which a file, and a folder of older partial tiles, cannot be read."""

    def read(self, path: str) -> bytes | None:
        if path == "tile/0/001":
            raise StorageError("it cannot be read: Input/output error", where=path)
        return super().read(path)

    def found(self) -> Iterator[FoundFile]:
        yield from super().found()
        yield FoundFile("tile/0/003.p", FileKind.UNREADABLE)


def test_what_cannot_be_read_is_named(log: Path) -> None:
    report = fsck(Unreadable(log), vkeys=[OTHER.vkey])
    assert [(each.path, each.what) for each in report.damage] == [
        ("tile/0/001", "it cannot be read: Input/output error"),
        ("tile/0/003.p", "the folder cannot be read"),
    ]


def test_links_are_remarked_upon_in_a_log_of_others(log: Path) -> None:
    (log / "tile/0/001").rename(log / "aside")
    (log / "tile/0/001").symlink_to(log / "aside")
    report = check(log)
    assert report.is_sound
    assert report.remarks == ("tile/0/001: a symbolic link",)


def test_memory_stays_the_same_whatever_the_size(large: Path, tmp_path: Path) -> None:
    def peak(folder: Path) -> int:
        check(folder)
        tracemalloc.start()
        assert check(folder).is_sound
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    small = write_log(tmp_path, [b"%d" % number for number in range(6_600)])
    assert peak(large) < peak(small) + 100_000
