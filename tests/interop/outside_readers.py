"""What the programs of others say about a log or a checkpoint of ours, read from their output."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop.programs import go_program, python_program, run

_READER = Path(__file__).parent / "outside" / "python" / "tlog_scales_reader.py"
_SOUND = re.compile(r"Successfully fsck'd log with size (\d+) and root (\S+) ")


@dataclass(frozen=True, slots=True)
class Fsck:
    """What Tessera's fsck says: the size and root (base64) of a log that it finds sound, or the damage it names."""

    size: int | None
    root: str | None
    output: str


def tessera_fsck(location: str, vkey: str, folder: Path) -> Fsck:
    """Let Tessera's fsck read a whole log: checkpoint, every bundle, every tile, partial or full.

    Its exit code is 0 whatever it finds. One of its workers ends at the first damage, and without others it would wait
    for that one for ever.

    Args:
        location: an http or file URL.
        vkey: the key of the log, of type 0x01 or 0x06.
        folder: room for a file.
    """
    key = folder / "log.vkey"
    key.write_text(vkey + "\n")
    options = [f"--storage_url={location}/", f"--public_key={key}", "--N=4", "--ui=false", "--logtostderr"]
    ended = run(go_program("fsck"), *options, code=None)
    sound = _SOUND.search(ended.err)
    assert (sound is None) == ("fsck failed" in ended.err), ended.all
    if sound is None:
        return Fsck(None, None, ended.all)
    return Fsck(int(sound[1]), sound[2], ended.all)


def tessera_mirror(url: str, folder: Path) -> None:
    """Let Tessera's mirror copy a log into a folder."""
    ended = run(go_program("posix"), f"--source_url={url}/", f"--storage_dir={folder}", "--logtostderr")
    assert "Log mirrored successfully" in ended.err


def aics_tlog(command: str, *options: str | Path) -> dict[str, Any]:
    """Let aics-tlog verify something; answers its report, with `ok`."""
    ended = run(python_program("aics-tlog"), command, *options, code=None)
    report: dict[str, Any] = json.loads(ended.out)
    assert report["ok"] is (ended.code == 0), ended.all
    return report


def tlog_scales_root(location: str) -> str:
    """The root, base64, that tlog-scales computes from the tiles of a log."""
    return run(python_program("python"), _READER, "root", location).out.strip()


def verified_keys(checkpoint: bytes, vkeys: Sequence[str]) -> set[tuple[str, int]]:
    """Name and signature type of each of these keys that has a line tlog-scales verifies below the checkpoint."""
    done = subprocess.run(
        [python_program("python"), _READER, "keys", *vkeys],
        input=checkpoint,
        capture_output=True,
        timeout=60,
        check=True,
    )
    pairs = (line.split(" ") for line in done.stdout.decode().splitlines())
    return {(name, int(number)) for name, number in pairs}


def proofbundle(proof: Path, entry: Path, log_vkey: str, witnesses: Sequence[str], threshold: int) -> dict[str, Any]:
    """Let proofbundle verify a tlog-proof; answers its report, with `ok`."""
    keys = [option for vkey in witnesses for option in ("--witness-vkey", vkey)]
    wanted = ["--payload-file", str(entry), "--log-vkey", log_vkey, *keys, "--threshold", str(threshold)]
    ended = run(python_program("proofbundle"), "verify-proof", *wanted, "--json", proof, code=None)
    report: dict[str, Any] = json.loads(ended.out)
    assert report["ok"] is (ended.code == 0), ended.all
    return report
