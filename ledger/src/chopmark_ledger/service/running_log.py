"""A log at work in one process: opened, committed to by a sequencer, published by a loop, and closed in that order.

<data>/log.key                 its Ed25519 key, encrypted
<data>/log-ml-dsa-44.key       its ML-DSA-44 key, where it was made with one
<data>/clients.json            who may write to it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from chopmark import key_file
from chopmark.cli.passphrase import read_passphrase
from chopmark.durable_file import read_file
from chopmark.errors import FormatError, StorageError
from chopmark.key_file import LocalSigner
from chopmark.landmark import LandmarkRecord
from chopmark.tlog_policy import POLICY_SIZE, TlogPolicy

from chopmark_ledger.client import system_clock
from chopmark_ledger.publication.cosigning import WitnessClient
from chopmark_ledger.publication.publication_loop import PublicationLoop
from chopmark_ledger.publication.publisher import Publisher
from chopmark_ledger.publication.witness_client import HttpWitness
from chopmark_ledger.sequencing.landmarks import Landmarks
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.sequencing.log_folder import check_is_there
from chopmark_ledger.sequencing.sequencer import Sequencer
from chopmark_ledger.service.service_settings import LogServiceSettings

KEY_NAME = "log.key"
PQ_KEY_NAME = "log-ml-dsa-44.key"
_MAX_KEY_FILE = 64 * 1024


@dataclass(frozen=True, slots=True)
class RunningLog:
    """The parts of a log at work."""

    log: Log
    sequencer: Sequencer
    publisher: Publisher
    landmarks: Landmarks
    loop: PublicationLoop
    policy: TlogPolicy

    def close(self) -> None:
        """Answer what waits, end the publication that is under way, and give everything back."""
        with ExitStack() as stack:  # what comes first is closed last, whatever happens before
            stack.callback(self.log.close)
            stack.callback(self.loop.close)  # and the publisher with it
            stack.callback(self.sequencer.close)

    def end_landmark_interval(self) -> tuple[LandmarkRecord, ...]:
        """End the present landmark interval under the published checkpoint; answers the records that were added.

        Raises:
            QuorumError: too few witnesses say what they hold, so the database may be an old one.
            NotPublishedError, LogStoppedError, StorageError: as `Landmarks.end_now`.
        """
        self.publisher.sound_out()
        return self.landmarks.end_now(now=self.log.clock())


def run_log(
    log: Log, witnesses: Sequence[WitnessClient], policy: TlogPolicy, *, publication_interval: float
) -> RunningLog:
    """Let an open log work; it is closed if that fails.

    Raises:
        FormatError, KeyMaterialError: as `Publisher`.
    """
    with ExitStack() as stack:
        stack.callback(log.close)
        publisher = Publisher(log, witnesses, policy)
        stack.callback(publisher.close)
        landmarks = Landmarks(log)
        loop = PublicationLoop(log, publisher, landmarks, interval=publication_interval)
        stack.callback(loop.close)
        running = RunningLog(log, Sequencer(log, on_commit=loop.wake), publisher, landmarks, loop, policy)
        stack.pop_all()
        return running


def open_running_log(settings: LogServiceSettings, clock: Callable[[], int] = system_clock) -> RunningLog:
    """Open the log that the settings name, with its keys, policy and witnesses, and let it work.

    Raises:
        FormatError: the policy is none, or does not name this log, or a witness has no URL.
        KeyMaterialError, StorageError: a key or the passphrase is missing, or is not the right one.
        LedgerError: as `chopmark_ledger.sequencing.log.Log.open`.
    """
    policy = read_policy(settings.policy)
    witnesses = http_witnesses(policy, timeout=settings.witness_timeout, where=str(settings.policy))
    passphrase = read_passphrase(settings.passphrase_file)
    log = Log.open(
        settings.data,
        clock=clock,
        key=load_key(settings.data / KEY_NAME, passphrase),
        pq_key=load_key(settings.data / PQ_KEY_NAME, passphrase) if (settings.data / PQ_KEY_NAME).exists() else None,
        settings=settings.log,
        database=settings.database,
    )
    try:
        _check_names_log(policy, log.identity.vkey, where=str(settings.policy))
    except BaseException:
        log.close()
        raise
    return run_log(log, witnesses, policy, publication_interval=settings.publication_interval)


def check_can_run(settings: LogServiceSettings) -> None:
    """Find what would keep a service from starting, as far as that can be seen without opening the log.

    Raises: as `open_running_log`.
    """
    check_is_there(settings.data, settings.database)
    for witness in http_witnesses(
        read_policy(settings.policy), timeout=settings.witness_timeout, where=str(settings.policy)
    ):
        witness.close()
    read_passphrase(settings.passphrase_file)


def read_policy(path: Path) -> TlogPolicy:
    """Read a policy from its file.

    Raises:
        StorageError: it is missing, or cannot be read.
        FormatError, KeyMaterialError: it is no policy.
    """
    data = read_file(path, max_size=POLICY_SIZE)
    if data is None:
        raise StorageError("there is no such file", where=str(path), remedy="Write the tlog-policy of this log")
    return TlogPolicy.parse(data)


def http_witnesses(policy: TlogPolicy, *, timeout: float, where: str) -> list[HttpWitness]:
    """The witnesses of a policy by their URLs: lines of the same URL are one witness with several keys.

    Raises:
        FormatError: a witness has no URL.
    """
    vkeys: dict[str, list[str]] = {}
    for witness in policy.witnesses:
        if witness.url is None:
            raise FormatError(
                f"the witness {witness.name} has no URL", where=where, remedy="Write it behind the key of its line"
            )
        vkeys.setdefault(witness.url, []).append(witness.verifier.vkey)
    return [HttpWitness(url, keys, timeout=timeout) for url, keys in vkeys.items()]


def load_key(path: Path, passphrase: bytes) -> LocalSigner:
    """Open a key file.

    Raises:
        StorageError: it is missing, or cannot be read.
        KeyMaterialError: the passphrase does not open it.
    """
    data = read_file(path, max_size=_MAX_KEY_FILE)
    if data is None:
        raise StorageError("there is no such key", where=str(path), remedy="Make the log with chopmark log init")
    return key_file.parse_key_file(data, where=str(path)).load(passphrase, where=str(path))


def _check_names_log(policy: TlogPolicy, vkey: str, *, where: str) -> None:
    if vkey not in {log.verifier.vkey for log in policy.logs}:
        raise FormatError("it has no line for the key of this log", where=where, remedy=f"Write into it: log {vkey}")
