"""A region at work: its registry behind a queue of writers, what waits sent to its log, what changed published.

    commit queue    writes what requests ask, a thread
    outbox          sends what waits to the log as soon as it is committed, a thread
    publishing      signs status lists and the bundle, and replaces public files, once something changed; a thread
    proofs          reads the log for credentials, one request at a time, a thread

Each has a client of the log of its own. One process does this for a registry; commands may go on beside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Final

from chopmark.cli.passphrase import read_passphrase
from chopmark.credential import Credential
from chopmark_ledger.client import LocalLedger, RemoteLedger
from chopmark_service import telemetry

from chopmark_issuer.licences.records import StoredCredential
from chopmark_issuer.region import Region
from chopmark_issuer.service.commit_queue import CommitQueue
from chopmark_issuer.service.proof_queue import ProofQueue
from chopmark_issuer.service.repeated_work import RepeatedWork
from chopmark_issuer.service.service_lock import ServiceLock
from chopmark_issuer.service.service_settings import IssuerServiceSettings
from chopmark_issuer.settings import Settings
from chopmark_issuer.storage.opened_engine import ServiceHold

_SEND_EVERY: Final = 5.0
"""Seconds after which the outbox is looked at unasked: commands write beside the service, and what was refused is sent
again."""
_SENT_APART: Final = 0.5
"""Seconds between two times that the outbox is sent: what several commits put there shares a batch."""
_PUBLISHED_APART: Final = 1.0
"""Seconds between two publications: a list of a million statuses is signed within a fifth of one."""
_PROOF_PATIENCE: Final = 3.0
"""Seconds that the log may take for what a proof needs: somebody waits for it."""

Ledger = LocalLedger | RemoteLedger


class RunningRegion:
    """An open region at work, until it is closed.

    Args:
        region: open; it is closed together with this.
        lock: of its folder, released in the end.
        hold: of its database, released in the end; looked for before anything is sent or signed.
        publish_every: seconds between two publications if nothing changed.
        landmark_every: seconds after which licences get a landmark.
        clock: answers POSIX seconds with fractions, for what is told.
    """

    def __init__(
        self,
        region: Region,
        *,
        lock: ServiceLock | None = None,
        hold: ServiceHold | None = None,
        publish_every: float = 60,
        landmark_every: float = 900,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.region = region
        self._lock = lock
        self._hold = hold
        self._landmark_every = landmark_every
        self._landmark_at = 0.0
        self._problems: tuple[str, ...] = ()
        self._opening = threading.Lock()
        self._ledgers: dict[str, Ledger] = {}
        self.outbox = RepeatedWork("outbox", self._send, every=_SEND_EVERY, apart=_SENT_APART, clock=clock)
        self.publishing = RepeatedWork(
            "publishing", self._publish, every=publish_every, apart=_PUBLISHED_APART, clock=clock
        )
        self.proofs = ProofQueue(lambda: self.outbox.status().problem is not None)
        self.queue = CommitQueue(region.database, region.keys, clock=region.clock, on_commit=self._committed)

    def start(self) -> None:
        """Begin to send and to publish."""
        self.outbox.start()
        self.publishing.start()

    def prove(self, stored: StoredCredential, *, tlog_proof: bool) -> Future[Credential]:
        """Let a credential be given its proofs; see `Region.with_proofs` for what the future may end in.

        Raises:
            LogUnreachableError: the log is away, or too many wait for it.
        """
        return self.proofs.submit(
            lambda: self.region.with_proofs(stored, tlog_proof=tlog_proof, ledger=self._ledger("proofs"))
        )

    def close(self) -> None:
        """Answer what waits, end the threads, close the region."""
        with ExitStack() as stack:
            if self._lock is not None:
                stack.callback(self._lock.release)
            stack.callback(self.region.close)
            if self._hold is not None:
                stack.callback(self._hold.release)
            stack.callback(self._close_ledgers)
            stack.callback(self.publishing.close)
            stack.callback(self.outbox.close)
            stack.callback(self.proofs.close)
            self.queue.close()

    def _committed(self, statuses_changed: bool) -> None:
        self.outbox.wake()
        if statuses_changed:
            self.publishing.wake()

    def _keep_alone(self) -> None:
        if self._hold is not None:
            self._hold.keep()

    def _send(self) -> None:
        self._keep_alone()
        self.region.send(self._ledger("outbox"))

    def _publish(self) -> None:
        self._keep_alone()
        now = time.monotonic()
        landmark = now >= self._landmark_at
        done = self.region.publish(self._ledger("publishing"), landmark=landmark)
        if landmark:
            self._landmark_at = now + self._landmark_every
        if done.problems != self._problems:
            self._problems = done.problems
            for problem in done.problems:
                telemetry.get_logger("publishing").warning("problem", problem=problem)

    def _ledger(self, user: str) -> Ledger:
        """The client of the log for one thread; made when it is first needed, as the log may be away until then."""
        with self._opening:  # a log of this process is opened once, by whoever comes first
            known = self._ledgers.get(user)
            if known is None:
                patience = _PROOF_PATIENCE if user == "proofs" else None
                known = self._ledgers[user] = self.region.new_ledger(patience=patience)
            return known

    def _close_ledgers(self) -> None:
        if self.region.log.url is not None:
            for ledger in self._ledgers.values():
                ledger.close()


def open_running_region(settings: IssuerServiceSettings) -> RunningRegion:
    """Open a region for its service, and begin to send and to publish.

    Raises:
        ConflictError: a service runs on it already.
        NotFoundError: there is no region.
        ChopmarkError: it cannot be opened.
    """
    with ExitStack() as opened:
        region = Region.open(_settings(settings))
        opened.callback(region.close)
        lock = ServiceLock(settings.data)
        opened.callback(lock.release)
        hold = region.database.hold_for_service()
        if hold is not None:
            opened.callback(hold.release)
        advice = region.database.advice()
        if advice is not None:
            telemetry.get_logger("database").warning("advice", advice=advice)
        running = RunningRegion(
            region,
            lock=lock,
            hold=hold,
            publish_every=settings.publish_every,
            landmark_every=settings.landmark_every,
        )
        running.start()
        opened.pop_all()
    return running


def check_can_run(settings: IssuerServiceSettings) -> None:
    """Look before the service starts whether it can, to tell the operator in a sentence.

    Raises:
        ChopmarkError: as `open_running_region`.
    """
    with Region.open(_settings(settings)) as region:
        ServiceLock(settings.data).release()
        hold = region.database.hold_for_service()
        if hold is not None:
            hold.release()


def _settings(settings: IssuerServiceSettings) -> Settings:
    passphrase = b"" if settings.key_socket is not None else read_passphrase(settings.passphrase_file)
    return Settings(
        settings.data,
        passphrase,
        log_patience=settings.log_patience,
        key_socket=settings.key_socket,
        database_url=settings.database,
    )
