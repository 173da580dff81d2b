"""Logs of others ask our witness, and our fsck reads them."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from chopmark.checkpoint import SignedCheckpoint
from chopmark.tlog_policy import TlogPolicy

from tests.interop.http_requests import plain_file_server, send
from tests.interop.other_logs import LOAD_TEST_LOGS, TesseraLog, load_test
from tests.interop.other_witnesses import WitnessServer
from tests.interop.our_side import our_fsck
from tests.interop.outside_readers import tessera_fsck, verified_keys
from tests.interop.witness_cases import log_named


def keys_of(vkeys: tuple[str, ...]) -> set[tuple[str, int]]:
    """Name and type of each key."""
    return {(vkey.split("+")[0], base64.b64decode(vkey.split("+", 2)[2])[0]) for vkey in vkeys}


def size_of(checkpoint: bytes) -> int:
    """Its second line."""
    return int(checkpoint.split(b"\n")[1])


@pytest.mark.parametrize("which", ["theirs-ed25519", "theirs-ml-dsa-44"])
def test_tessera_publishes_under_the_cosignatures_of_our_witness_and_our_fsck_finds_its_log_sound(
    witnesses: dict[str, WitnessServer], tmp_path: Path, which: str
) -> None:
    """It verifies each cosignature, of type 0x06 by another ML-DSA-44 than ours."""
    ours = witnesses["ours"]
    kind = 4 if which == "theirs-ed25519" else 6
    vkeys = tuple(vkey for vkey in ours.vkeys if keys_of((vkey,)) == {(vkey.split("+")[0], kind)})
    key = log_named(which).key
    log = TesseraLog(tmp_path, key, ours, vkeys)
    size = 0
    for count in (1, 3, 251, 1, 1, 300):  # 1, 4, 255, 256, 257, 557
        log.add([b"entry %d of %d" % (number, size) for number in range(count)])
        size += count
        assert size_of(log.checkpoint) == size
        assert verified_keys(log.checkpoint, vkeys) == keys_of(vkeys)
        found = our_fsck(str(log.public), key.vkey)
        assert found.code == 0, found.all
        assert f"size {size}\n" in found.out
        assert found.out.endswith("sound\n")
        assert tessera_fsck(log.public.as_uri(), key.vkey, tmp_path).size == size
        policy = TlogPolicy.parse(f"log {key.vkey}\n" + (tmp_path / "policy").read_text())
        assert policy.check(log.checkpoint).checkpoint.size == size
    with plain_file_server(log.public) as url:
        over_http = our_fsck(url, key.vkey)
        assert (over_http.code, over_http.out) == (0, found.out)


def test_our_fsck_reads_a_log_with_an_extension_line_and_an_empty_log(tmp_path: Path) -> None:
    log = log_named("written-by-hand")
    entries = [b"%d" % number for number in range(3)]
    for name in ("tile/0/000.p", "tile/entries/000.p"):
        (tmp_path / "log" / name).mkdir(parents=True)
    (tmp_path / "log/tile/0/000.p/3").write_bytes(b"".join(log.leaves[:3]))
    (tmp_path / "log/tile/entries/000.p/3").write_bytes(
        b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
    )
    (tmp_path / "log/checkpoint").write_text(log.checkpoint(3, extension="an extension\n"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/checkpoint").write_text(log.checkpoint(0))
    for name, size in (("log", 3), ("empty", 0)):
        assert tessera_fsck((tmp_path / name).as_uri(), log.key.vkey, tmp_path).size == size
        found = our_fsck(str(tmp_path / name), log.key.vkey)
        assert (found.code, f"size {size}\n" in found.out) == (0, True), found.all


def test_our_fsck_names_a_changed_tile_in_the_log_of_others(
    witnesses: dict[str, WitnessServer], tmp_path: Path
) -> None:
    key = log_named("theirs-damaged").key
    log = TesseraLog(tmp_path, key, witnesses["ours"], witnesses["ours"].vkeys[:1])
    log.add([b"entry %d" % number for number in range(300)])
    tile = log.public / "tile" / "0" / "000"
    data = bytearray(tile.read_bytes())
    data[0] ^= 1
    tile.write_bytes(data)
    found = our_fsck(str(log.public), key.vkey)
    assert found.code == 1
    assert "tile/0/000" in found.all


def test_a_log_of_others_that_was_restored_from_a_backup_publishes_nothing(
    witnesses: dict[str, WitnessServer], tmp_path: Path
) -> None:
    key = log_named("theirs-restored").key
    log = TesseraLog(tmp_path / "log", key, witnesses["ours"], witnesses["ours"].vkeys[:1])
    log.add([b"one", b"two"])
    shutil.copytree(log.folder, tmp_path / "backup")
    log.add([b"three", b"four"])
    restored = TesseraLog(tmp_path / "backup", key, log.witness, log.vkeys)
    before = restored.checkpoint
    assert "larger than log size" in refusal(restored, [b"another"])
    assert restored.checkpoint == before


def test_a_log_of_others_that_forks_gets_no_cosignature(witnesses: dict[str, WitnessServer], tmp_path: Path) -> None:
    key = log_named("theirs-forked").key
    log = TesseraLog(tmp_path / "log", key, witnesses["ours"], witnesses["ours"].vkeys[:1])
    log.add([b"one", b"two"])
    shutil.copytree(log.folder, tmp_path / "fork")
    fork = TesseraLog(tmp_path / "fork", key, log.witness, log.vkeys)
    log.add([b"three"])
    before = fork.checkpoint
    assert "consistency proof is bad" in refusal(fork, [b"another"])
    assert fork.checkpoint == before


def refusal(log: TesseraLog, entries: list[bytes]) -> str:
    """What Tessera says of entries that it cannot publish: it tries on and on."""
    with pytest.raises(subprocess.TimeoutExpired) as stopped:
        log.add(entries, seconds=5)
    return (stopped.value.stderr or b"").decode()


@pytest.mark.parametrize("more_signatures", [0, 7])
def test_logs_of_others_are_cosigned_side_by_side_without_one_refusal(
    witnesses: dict[str, WitnessServer], more_signatures: int
) -> None:
    """The second time they begin anew, learn from the conflict what the witness holds, and go on from there.

    The further signatures are of keys that the witness does not know, below the name of the log.
    """
    ours = witnesses["ours"]
    ended = load_test(ours.url, LOAD_TEST_LOGS, more_signatures)
    assert "Exiting successfully" in ended.err
    updates = re.findall(r"Updated (\S+) from \d+ → (\d+)", ended.err)
    assert len(updates) >= 75
    held = {origin: int(size) for origin, size in updates}
    for origin, size in held.items():
        assert monitored_size(ours, origin) >= size


def monitored_size(witness: WitnessServer, origin: str) -> int:
    """The size that a monitor finds at a witness."""
    reply = send(f"{witness.url}/{sha256(origin.encode()).hexdigest()}/checkpoint")
    assert reply.status == 200
    return SignedCheckpoint.parse(reply.body).checkpoint.size
