"""The ledger as its clients see it; the only module of this package, with `errors`, that the issuer imports.

    ledger = open_ledger(folder, key=key, witnesses=[open_witness(other, passphrase, clock=clock)],
                         policy_text=policy, clock=clock)
    indexes = ledger.submit(Client("registry", frozenset({"CN-GD/1144…"})), 7, [entry.encode() for entry in entries])
    ledger.publish()
    proof = ledger.tlog_proof(indexes[0])

Here the log runs in this process: one writer, the folder locked until `close`. `<folder>/public` holds what everybody
may fetch. `RemoteLedger` is the same of a log that another process serves; it and `HttpSource` are imported
when they are first asked for, as most who use a log in their own process need no HTTP.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from chopmark import key_file
from chopmark.cosignature import Cosigner
from chopmark.errors import QuorumError
from chopmark.keys import Algorithm, Signer
from chopmark.landmark import LandmarkProof, LandmarkRecord
from chopmark.note import NoteSigner
from chopmark.tlog_policy import TlogPolicy, WitnessedCheckpoint

from chopmark_ledger.audit.landmark_check import VouchedLandmarks, recompute_fetched_landmarks, recompute_landmarks
from chopmark_ledger.batch import Client
from chopmark_ledger.publication import prover
from chopmark_ledger.publication.policy_text import log_policy
from chopmark_ledger.publication.publisher import Publisher, WitnessClient
from chopmark_ledger.sequencing.landmarks import Landmarks
from chopmark_ledger.sequencing.log import DEFAULT_SETTINGS, Log, LogSettings
from chopmark_ledger.witness import witness_folder
from chopmark_ledger.witness.witness import Witness, WitnessAnswer

if TYPE_CHECKING:
    from chopmark_ledger.audit.http_source import HttpSource
    from chopmark_ledger.service.remote_ledger import RemoteLedger

__all__ = [
    "Client",
    "HttpSource",
    "LedgerClient",
    "LocalLedger",
    "LocalWitness",
    "LogSettings",
    "RemoteLedger",
    "VouchedLandmarks",
    "WitnessAnswer",
    "WitnessClient",
    "add_log_to_witness",
    "create_ledger",
    "init_witness",
    "log_policy",
    "log_vkey",
    "open_ledger",
    "open_witness",
    "recompute_fetched_landmarks",
    "recompute_landmarks",
    "witness_vkeys",
]

_MODULE_OF: Final = {"HttpSource": "audit.http_source", "RemoteLedger": "service.remote_ledger"}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"chopmark_ledger.{module}"), name)
    globals()[name] = value
    return value


Clock = Callable[[], int]
"""Answers the time in POSIX seconds."""


def system_clock() -> int:
    """The time of this machine, in POSIX seconds."""
    return int(time.time())


class LedgerClient(Protocol):
    """A log, wherever it runs."""

    @property
    def origin(self) -> str:
        """The origin of its checkpoints."""
        ...

    @property
    def number(self) -> int:
        """Its number within the region."""
        ...

    @property
    def vkey(self) -> str:
        """The key it signs with."""
        ...

    def submit(self, client: Client, batch_number: int, entries: Sequence[bytes]) -> list[int]:
        """Append a batch durably; answers the index of each entry, in the order sent. The same batch sent again gets
        the same answer; see `chopmark_ledger.sequencing.log.Log.append` for what it raises."""
        ...

    def publish(self, now: int | None = None) -> WitnessedCheckpoint:
        """Publish what is committed, with a quorum of cosignatures, then end the landmark intervals that are due."""
        ...

    def checkpoint(self) -> bytes | None:
        """The published checkpoint with its cosignatures, None before the first."""
        ...

    def tlog_proof(self, index: int) -> bytes:
        """The tlog-proof of a published entry."""
        ...

    def landmark_now(self, now: int | None = None) -> tuple[LandmarkRecord, ...]:
        """Publish, and end the present landmark interval at once; answers the records that were added."""
        ...

    def landmark_file(self) -> bytes:
        """The landmark file."""
        ...

    def landmark_proof(self, index: int) -> LandmarkProof | None:
        """The landmark proof of an entry, None while no landmark covers it."""
        ...


class LocalWitness:
    """A witness in this process, as a publisher reaches it."""

    def __init__(self, witness: Witness, clock: Clock) -> None:
        self._witness = witness
        self._clock = clock

    @property
    def name(self) -> str:
        """Its name, for messages."""
        return self._witness.name

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The keys it cosigns with, the Ed25519 key first."""
        return self._witness.vkeys

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Send an `add-checkpoint` request."""
        return self._witness.add_checkpoint(body, self._clock())


class LocalLedger:
    """A log in this process, a `LedgerClient`; a context manager that closes it."""

    def __init__(self, log: Log, witnesses: Sequence[WitnessClient], policy: TlogPolicy) -> None:
        self._log = log
        self._publisher = Publisher(log, witnesses, policy)
        self._landmarks = Landmarks(log)

    @property
    def origin(self) -> str:
        """The origin of the log's checkpoints."""
        return self._log.identity.origin

    @property
    def number(self) -> int:
        """The log's number within the region."""
        return self._log.identity.number

    @property
    def vkey(self) -> str:
        """The key the log signs with."""
        return self._log.identity.vkey

    @property
    def public_folder(self) -> Path:
        """The folder that everybody may fetch from."""
        return self._log.public_folder.path

    @property
    def size(self) -> int:
        """Committed entries."""
        return self._log.size

    def submit(self, client: Client, batch_number: int, entries: Sequence[bytes]) -> list[int]:
        """Append a batch durably; see `LedgerClient.submit`."""
        return self._log.append(client, batch_number, entries).all_indexes()

    def publish(self, now: int | None = None) -> WitnessedCheckpoint:
        """Publish, then end the landmark intervals that are due; see `LedgerClient.publish`."""
        witnessed = self._publisher.publish()
        with suppress(QuorumError):  # without word from the witnesses the database may be an old one: landmarks wait
            self._publisher.sound_out()
            self._landmarks.end_due(now=self._log.clock() if now is None else now)
        return witnessed

    def checkpoint(self) -> bytes | None:
        """The published checkpoint with its cosignatures, None before the first."""
        publication = self._log.publication
        return publication.note if publication else None

    def entries(self, start: int, end: int) -> list[bytes]:
        """Committed entries [start, end)."""
        return self._log.entries(start, end)

    def tlog_proof(self, index: int) -> bytes:
        """The tlog-proof of a published entry; see `chopmark_ledger.publication.prover.tlog_proof`."""
        return prover.tlog_proof(self._log, index)

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """The proof that the tree of `old_size` is the beginning of the published one."""
        return prover.consistency_proof(self._log, old_size)

    def landmark_now(self, now: int | None = None) -> tuple[LandmarkRecord, ...]:
        """Publish, and end the present landmark interval at once; see `LedgerClient.landmark_now`."""
        self._publisher.publish()
        self._publisher.sound_out()
        return self._landmarks.end_now(now=self._log.clock() if now is None else now)

    def landmark_file(self) -> bytes:
        """The landmark file."""
        return self._landmarks.file.encode()

    def landmark_proof(self, index: int) -> LandmarkProof | None:
        """The landmark proof of an entry, None while no landmark covers it."""
        return prover.landmark_proof(self._log, self._landmarks.file, index)

    def close(self) -> None:
        """Close the log and give its folder back."""
        self._publisher.close()
        self._log.close()

    def __enter__(self) -> LocalLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def log_vkey(origin: str, key: Signer) -> str:
    """The vkey of a log with this origin and key, for policies and witnesses, before the log exists.

    Raises:
        FormatError, KeyMaterialError: the origin is no key name, or the key neither Ed25519 nor ML-DSA-44.
    """
    if key.public_key.algorithm is Algorithm.ML_DSA_44:
        return Cosigner(origin, key).vkey
    return NoteSigner(origin, key).vkey


def create_ledger(
    folder: Path,
    *,
    origin: str,
    number: int,
    key: Signer,
    pq_key: Signer | None = None,
    clock: Clock = system_clock,
    random: Callable[[int], bytes] = os.urandom,
) -> None:
    """Begin a log in `folder`, with its genesis entry; `open_ledger` opens it.

    Raises: as `chopmark_ledger.sequencing.log.Log.create`.
    """
    Log.create(folder, origin=origin, number=number, key=key, pq_key=pq_key, clock=clock, random=random).close()


def open_ledger(
    folder: Path,
    *,
    key: Signer,
    witnesses: Sequence[WitnessClient],
    policy_text: str,
    pq_key: Signer | None = None,
    clock: Clock = system_clock,
    random: Callable[[int], bytes] = os.urandom,
    settings: LogSettings = DEFAULT_SETTINGS,
) -> LocalLedger:
    """Open the log in `folder` for this process alone.

    Args:
        folder: its data folder.
        key: the log's signing key.
        witnesses: whom to ask for cosignatures.
        policy_text: the tlog-policy that a checkpoint must satisfy to be published.
        pq_key: its ML-DSA-44 key, if it was made with one.
        clock: answers the time in POSIX seconds.
        random: answers that many random bytes; shuffles batches.
        settings: what an operator may set.

    Raises: as `chopmark_ledger.sequencing.log.Log.open`; FormatError for a policy that is none.
    """
    policy = TlogPolicy.parse(policy_text)
    log = Log.open(folder, key=key, pq_key=pq_key, clock=clock, random=random, settings=settings)
    try:
        return LocalLedger(log, witnesses, policy)
    except BaseException:
        log.close()
        raise


def init_witness(
    folder: Path, *, name: str, passphrase: bytes, cost: key_file.ScryptCost = key_file.DEFAULT_COST
) -> tuple[str, ...]:
    """Make a witness with new keys in `folder`; answers its vkeys. See `chopmark_ledger.witness.witness_folder`."""
    return witness_folder.init_witness(folder, name, passphrase, cost=cost)


def add_log_to_witness(folder: Path, vkey: str) -> None:
    """Let the witness in `folder` cosign for the log with this vkey; adding it twice is harmless."""
    witness_folder.add_log(folder, vkey)


def witness_vkeys(folder: Path) -> tuple[str, ...]:
    """The vkeys of the witness in `folder`, the Ed25519 key first; no passphrase is needed."""
    return witness_folder.witness_vkeys(folder)


def open_witness(folder: Path, passphrase: bytes, *, clock: Clock = system_clock) -> LocalWitness:
    """Open the witness in `folder` with its keys; several processes may do so at once."""
    return LocalWitness(witness_folder.open_witness(folder, passphrase).witness, clock)
