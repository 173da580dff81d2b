"""Our log, read and verified by others: over HTTP and from its folder, at sizes around the edges of tiles."""

from __future__ import annotations

import base64
import gzip
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.interop.http_requests import plain_file_server, send
from tests.interop.other_witnesses import WitnessServer
from tests.interop.our_side import OurLog, our_fsck
from tests.interop.outside_readers import (
    aics_tlog,
    proofbundle,
    tessera_fsck,
    tessera_mirror,
    tlog_scales_root,
    verified_keys,
)
from tests.interop.programs import has_go_programs, python_program, run

SIZES = (1, 255, 256, 257, 512, 70_000)
"""One entry; a partial tile, just full, and one more; two full ones; and the example of tlog-tiles, three levels."""
LAST = SIZES[-1]
INDEXES = (0, 255, 256, 65_536, 69_887, 69_888, 69_999)


@pytest.fixture(scope="module")
def checkpoints(log: OurLog) -> dict[int, bytes]:
    """The checkpoints that the log showed, by size."""
    return {}


def root_of(checkpoint: bytes) -> str:
    """Its third line."""
    return checkpoint.decode().split("\n")[2]


@pytest.mark.parametrize("size", SIZES)
def test_others_read_and_verify_the_whole_log_as_it_grows(
    log: OurLog, checkpoints: dict[int, bytes], tmp_path: Path, size: int
) -> None:
    checkpoints[size] = log.grow_to(size)
    for location in (log.url, log.folder.as_uri()):
        for vkey in (log.vkey, log.pq_vkey) if has_go_programs() else ():
            found = tessera_fsck(location, vkey, tmp_path)
            assert (found.size, found.root) == (size, root_of(checkpoints[size])), found.output
        assert tlog_scales_root(location) == root_of(checkpoints[size])


def test_others_verify_every_line_below_the_checkpoint(
    log: OurLog, checkpoints: dict[int, bytes], asked: dict[str, WitnessServer]
) -> None:
    vkeys = [log.vkey, log.pq_vkey, *(vkey for witness in asked.values() for vkey in witness.vkeys)]
    wanted = {(vkey.split("+")[0], base64.b64decode(vkey.split("+", 2)[2])[0]) for vkey in vkeys}
    assert {kind for _, kind in wanted} == {1, 4, 6}
    for checkpoint in checkpoints.values():
        assert verified_keys(checkpoint, vkeys) == wanted


def test_a_client_with_a_quorum_of_its_own_accepts_the_checkpoint(log: OurLog, asked: dict[str, WitnessServer]) -> None:
    ed25519 = [vkey for witness in asked.values() for vkey in witness.vkeys if len(vkey) < 200]
    quorum = [option for vkey in ed25519 for option in ("--witness-key", vkey)]
    wanted = ["--tiles", log.url, "--log-key", log.vkey, "--origin", log.origin, "--max-age", "900"]
    report = aics_tlog("verify-checkpoint", *wanted, *quorum, "--quorum", str(len(ed25519)))
    assert (report["ok"], report["size"], report["cosignatures"]) == (True, LAST, len(asked))
    assert set(report["witnesses"]) == {vkey.split("+")[0] for vkey in ed25519}


@pytest.mark.parametrize("index", INDEXES)
def test_others_verify_that_an_entry_is_in_the_log(log: OurLog, tmp_path: Path, index: int) -> None:
    entry = tmp_path / "entry"
    entry.write_bytes(log.entries[index])
    wanted: list[str | Path] = ["--index", str(index), "--leaf", entry, "--log-key", log.vkey, "--origin", log.origin]
    report = aics_tlog("verify-inclusion", "--tiles", log.url, *wanted)
    assert report["ok"]
    assert report["leaf_hash"] == sha256(b"\x00" + log.entries[index]).hexdigest()
    leaf = run(python_program("tlog-tiles"), "get-leaf", "--check", str(log.folder), str(index))
    assert leaf.raw_out == log.entries[index]


@pytest.mark.parametrize("size", SIZES[:-1])
def test_others_verify_that_the_log_only_grew(
    log: OurLog, checkpoints: dict[int, bytes], tmp_path: Path, size: int
) -> None:
    """The partial tiles of the old checkpoint may be gone by now; the full ones stand for them."""
    old = tmp_path / "old"
    old.write_bytes(checkpoints[size])
    wanted: list[str | Path] = ["--old-checkpoint", old, "--log-key", log.vkey, "--origin", log.origin]
    report = aics_tlog("verify-consistency", "--tiles", log.url, *wanted)
    assert (report["ok"], report["old_size"], report["new_size"]) == (True, size, LAST)


@pytest.mark.parametrize("index", INDEXES)
def test_others_verify_our_proofs_and_make_the_same(
    log: OurLog, asked: dict[str, WitnessServer], tmp_path: Path, index: int
) -> None:
    proof, entry = tmp_path / "ours.tlog-proof", tmp_path / "entry"
    proof.write_bytes(log.proof(index))
    entry.write_bytes(log.entries[index])
    theirs = run(python_program("tlog-tiles"), "gen-proof", log.url, str(index)).raw_out
    assert proof.read_bytes().partition(b"\n\n")[0] == theirs.partition(b"\n\n")[0]
    ed25519 = [vkey for witness in asked.values() for vkey in witness.vkeys if len(vkey) < 200]
    report = proofbundle(proof, entry, log.vkey, ed25519, len(ed25519))
    assert report["ok"]
    assert (report["index"], report["tree_size"], report["origin"]) == (index, LAST, log.origin)
    entry.write_bytes(log.entries[index - 1])
    report = proofbundle(proof, entry, log.vkey, ed25519, len(ed25519))
    assert (report["ok"], report["inclusion_ok"]) == (False, False)


@pytest.mark.parametrize("size", SIZES[1:-1])
def test_an_old_checkpoint_is_readable_from_the_tiles_of_today(
    log: OurLog, checkpoints: dict[int, bytes], tmp_path: Path, size: int
) -> None:
    """By others, and by our own commands over another server than ours."""
    copy = tmp_path / "public"
    shutil.copytree(log.folder, copy)
    (copy / "checkpoint").write_bytes(checkpoints[size])
    (copy / "landmarks").unlink()  # it goes on beyond that checkpoint
    assert tessera_fsck(copy.as_uri(), log.vkey, tmp_path).size == size
    with plain_file_server(copy) as url:
        assert tessera_fsck(url, log.pq_vkey, tmp_path).size == size
        found = our_fsck(url, log.vkey, log.pq_vkey)
        assert (found.code, f"size {size}\n" in found.out) == (0, True), found.all


MUTABLE = ("text/plain; charset=utf-8", 10)
IMMUTABLE = ("application/octet-stream", 31_536_000)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("checkpoint", MUTABLE),
        ("tile/0/000", IMMUTABLE),
        ("tile/0/273.p/112", IMMUTABLE),
        ("tile/1/001.p/17", IMMUTABLE),
        ("tile/2/000.p/1", IMMUTABLE),
        ("tile/entries/000", IMMUTABLE),
        ("tile/entries/273.p/112", IMMUTABLE),
    ],
)
def test_each_file_comes_with_the_type_and_the_caching_that_tlog_tiles_asks_for(
    log: OurLog, path: str, kind: tuple[str, int]
) -> None:
    media_type, age = kind
    with urlopen(f"{log.url}/{path}") as answer:
        assert answer.headers["Content-Type"] == media_type
        (found,) = re.findall(r"max-age=(\d+)", answer.headers["Cache-Control"])
        assert int(found) >= age if age > 10 else int(found) <= age
        plain = answer.read()
    assert plain == (log.folder / path).read_bytes()
    with urlopen(Request(f"{log.url}/{path}", headers={"Accept-Encoding": "gzip, identity"})) as answer:
        body = answer.read()
        if answer.headers["Content-Encoding"] is None:
            assert not path.startswith("tile/entries/"), "bundles come compressed for those that accept it"
            assert body == plain
        else:
            assert (answer.headers["Content-Encoding"], gzip.decompress(body)) == ("gzip", plain)


@pytest.mark.parametrize(
    "path",
    ["tile/0/274", "tile/3/000.p/1", "tile/0/0", "tile/00/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/64/000"],
)
def test_what_the_log_does_not_have_is_not_found(log: OurLog, path: str) -> None:
    assert send(f"{log.url}/{path}").status == 404


def test_a_copy_that_others_make_is_the_log(log: OurLog, tmp_path: Path) -> None:
    tessera_mirror(log.url, tmp_path / "copy")
    copied = {path.relative_to(tmp_path / "copy") for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert len(copied) == 1 + 273 + 1 + 1 + 1 + 1 + 273 + 1  # checkpoint, tiles of three levels, bundles
    for name in copied:
        assert (tmp_path / "copy" / name).read_bytes() == (log.folder / name).read_bytes(), name
    assert tessera_fsck((tmp_path / "copy").as_uri(), log.vkey, tmp_path).size == LAST


def _first_bit(path: Path, offset: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def _spoil_line(folder: Path, number: int) -> None:
    """Change the signature in a line of the checkpoint."""
    lines = (folder / "checkpoint").read_text().split("\n")
    head, name, text = lines[4 + number].split(" ")
    data = bytearray(base64.b64decode(text))
    data[-1] ^= 1
    lines[4 + number] = f"{head} {name} {base64.b64encode(data).decode()}"
    (folder / "checkpoint").write_text("\n".join(lines))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "an entry": lambda folder: _first_bit(folder / "tile/entries/000", 40),
    "the last entry": lambda folder: _first_bit(folder / "tile/entries/273.p/112", -1),
    "a full tile": lambda folder: _first_bit(folder / "tile/0/100"),
    "a partial tile": lambda folder: _first_bit(folder / "tile/0/273.p/112"),
    "a full tile above": lambda folder: _first_bit(folder / "tile/1/000", 8191),
    "the top": lambda folder: _first_bit(folder / "tile/2/000.p/1"),
    "a tile is gone": lambda folder: (folder / "tile/0/042").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_others_call_sound_is_not_so_once_one_bit_is_changed(log: OurLog, tmp_path: Path, damage: str) -> None:
    """Else the tests above would show nothing."""
    copy = tmp_path / "public"
    shutil.copytree(log.folder, copy)
    DAMAGES[damage](copy)
    assert tessera_fsck(copy.as_uri(), log.vkey, tmp_path).size is None


def test_others_refuse_a_checkpoint_with_a_spoilt_signature_of_either_kind(log: OurLog, tmp_path: Path) -> None:
    for number, vkey in enumerate((log.vkey, log.pq_vkey)):
        copy = tmp_path / str(number)
        shutil.copytree(log.folder, copy)
        _spoil_line(copy, number)
        assert tessera_fsck(copy.as_uri(), vkey, tmp_path).size is None
        other = (log.vkey, log.pq_vkey)[1 - number]
        assert tessera_fsck(copy.as_uri(), other, tmp_path).size == LAST
