"""Logs of others: Tessera's, entry by entry from files, and those of the load test of transparency-dev/witness."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.interop.naive_log import NaiveKey
from tests.interop.other_witnesses import WitnessServer
from tests.interop.programs import Ended, go_program, run

LOAD_TEST_LOGS = 5
_LOG = re.compile(r"Origin: (\S+)\s+PublicKey: (\S+)")


@dataclass(frozen=True, slots=True)
class TesseraLog:
    """A log that Tessera keeps in a folder, and publishes only if our witness cosigned with every key in `vkeys`."""

    folder: Path
    key: NaiveKey
    witness: WitnessServer
    vkeys: tuple[str, ...]

    @property
    def public(self) -> Path:
        """What it serves."""
        return self.folder / "log"

    @property
    def checkpoint(self) -> bytes:
        """What it published last."""
        return (self.public / "checkpoint").read_bytes()

    def add(self, entries: Sequence[bytes], *, code: int = 0, seconds: int = 20) -> Ended:
        """Run `posix-oneshot`, which begins without a memory of what the witness holds."""
        files = self.folder / "entries"
        files.mkdir(parents=True, exist_ok=True)
        for old in files.iterdir():
            old.unlink()
        for number, entry in enumerate(entries):
            (files / f"{number:06d}").write_bytes(entry)
        (self.folder / "log.private").write_text(self.key.skey)
        names = [f"k{number}" for number in range(len(self.vkeys))]
        lines = [f"witness {name} {vkey} {self.witness.url}/" for name, vkey in zip(names, self.vkeys, strict=True)]
        (self.folder / "policy").write_text(
            "\n".join([*lines, f"group all-keys all {' '.join(names)}", "quorum all-keys", ""])
        )
        return run(
            go_program("posix-oneshot"),
            f"--storage_dir={self.public}",
            f"--entries={files}/*",
            f"--private_key={self.folder / 'log.private'}",
            f"--witness_policy_file={self.folder / 'policy'}",
            "--logtostderr",
            timeout=seconds,
            code=code,
        )


def load_test_logs(count: int) -> dict[str, str]:
    """Origin and vkey of the logs that the load test makes up, the same ones each time."""
    return dict(_LOG.findall(run(go_program("loadtest"), f"--log_count={count}").out))


def load_test(url: str, count: int, more_signatures: int) -> Ended:
    """Let logs grow by one entry at a time, all asking one witness, until they reach 120 requests a second."""
    return run(
        go_program("loadtest"),
        f"--target={url}",
        f"--log_count={count}",
        f"--num_extra_sigs={more_signatures}",
        "--start_qps=100",
        "--max_qps=200",
        "--success_qps=120",
        "--timeout=5s",
        "--v=1",
        "--logtostderr",
    )
