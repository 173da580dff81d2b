"""A large log for the measurements: made once, with two witnesses in folders beside it.

<folder>/log            the log, its keys under `PASSPHRASE`
<folder>/witness-<n>    the witnesses, of which both must cosign
<folder>/passphrase     for the commands that serve them
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from hashlib import shake_128
from pathlib import Path

from chopmark.entries import CredentialEntry
from chopmark.key_file import ScryptCost
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.batch import Client, Submission
from chopmark_ledger.client import (
    LocalWitness,
    LogSettings,
    add_log_to_witness,
    init_witness,
    open_witness,
    system_clock,
    witness_vkeys,
)
from chopmark_ledger.publication.publisher import Publisher
from chopmark_ledger.sequencing.landmarks import Landmarks
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.service.log_setup import init_log
from chopmark_ledger.service.running_log import KEY_NAME, PQ_KEY_NAME, RunningLog, load_key, run_log

SIZE = 1_000_000
ORIGIN = "cn-gd.example/log/2026"
ISSUER = "CN-GD/11440000MB99990015"
CLIENT = Client("bench", frozenset({ISSUER}))
PASSPHRASE = b"bench"
CHEAP = ScryptCost(n=2**10)
"""Opening keys is no part of a rate."""
WITNESSES = ("cn-sh.example/witness", "us-il.example/witness")
UNBOUNDED = LogSettings(max_unpublished=10**9)
_BUILT_AT_ONCE = 10_000


@dataclass(slots=True)
class LargeLog:
    """A log in a folder; `sent` numbers its batches."""

    folder: Path
    vkey: str
    pq_vkey: str
    sent: int = 0

    @classmethod
    def make(cls, folder: Path) -> LargeLog:
        """Make the log and its witnesses."""
        folder.mkdir()
        (folder / "passphrase").write_bytes(PASSPHRASE + b"\n")
        made = init_log(folder / "log", origin=ORIGIN, number=1, passphrase=PASSPHRASE, cost=CHEAP)
        for number, name in enumerate(WITNESSES):
            init_witness(folder / f"witness-{number}", name=name, passphrase=PASSPHRASE, cost=CHEAP)
            add_log_to_witness(folder / f"witness-{number}", made.vkey)
        return cls(folder, made.vkey, made.pq_vkey)

    @property
    def data(self) -> Path:
        """The data folder of the log."""
        return self.folder / "log"

    def policy(self, urls: tuple[str, ...] = ("", "")) -> str:
        """The policy: both witnesses, each with any of its keys."""
        lines = [f"log {self.vkey}", f"log {self.pq_vkey}"]
        for number, url in enumerate(urls):
            names = []
            for key, vkey in enumerate(witness_vkeys(self.folder / f"witness-{number}")):
                names.append(f"w{number}-{key}")
                lines.append(f"witness {names[-1]} {vkey} {url}".rstrip())
            lines.append(f"group R{number} any {' '.join(names)}")
        return "\n".join([*lines, "group peers all R0 R1", "quorum peers", ""])

    def open(self) -> Log:
        """Open the log with its keys."""
        keys = [load_key(self.data / name, PASSPHRASE) for name in (KEY_NAME, PQ_KEY_NAME)]
        return Log.open(self.data, clock=system_clock, key=keys[0], pq_key=keys[1], settings=UNBOUNDED)

    def witnesses(self) -> list[LocalWitness]:
        """The witnesses, in this process."""
        return [open_witness(self.folder / f"witness-{number}", PASSPHRASE) for number in range(len(WITNESSES))]

    def run(self, *, publication_interval: float = 0.2) -> RunningLog:
        """Open the log and let it work, as its service does."""
        policy = TlogPolicy.parse(self.policy())
        return run_log(self.open(), self.witnesses(), policy, publication_interval=publication_interval)

    def batch(self, count: int) -> Submission:
        """A new batch of credential entries, each another."""
        self.sent += 1
        return Submission(CLIENT, self.sent, entries(self.sent, count))

    def grow(self, size: int) -> float:
        """Append until the log has this many entries, and publish; answers the seconds that it took."""
        started = time.perf_counter()
        with self.open() as log:
            while log.size < size:
                batch = self.batch(min(_BUILT_AT_ONCE, size - log.size))
                log.append(batch.client, batch.number, batch.entries)
            Publisher(log, self.witnesses(), TlogPolicy.parse(self.policy())).publish()
            Landmarks(log).end_due(now=log.clock())
        return time.perf_counter() - started


def entries(seed: int, count: int) -> list[bytes]:
    """Credential entries with digests that follow from a number."""
    digests = shake_128(b"entries %d" % seed).digest(32 * count)
    return [CredentialEntry(ISSUER, digests[place * 32 : place * 32 + 32]).encode() for place in range(count)]


def resident_bytes() -> int:
    """The memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
