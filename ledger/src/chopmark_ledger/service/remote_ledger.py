"""A log that another process serves, as its clients see it: a `LedgerClient` over HTTP.

    with RemoteLedger("https://cn-gd.example/log/2026", name="registry of CN-GD", key=key, policy_text=policy,
                      vkey=vkey, number=1) as ledger:
        indexes = ledger.submit(client, 7, entries)
        ledger.publish()
        proof = ledger.tlog_proof(indexes[0])

The service is believed in one thing only: that what it acknowledged is durable. Whatever is read is checked: the
checkpoint against the policy, and that it follows from the one seen before; tiles against the checkpoint; landmark
proofs against the tiles. What was once seen published is never taken back.

A token names the client by `name`, so batches are numbered under it, whatever `Client` is handed to `submit`; what may
be logged is for the service to judge.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any

from chopmark import merkle, strict
from chopmark.errors import ChopmarkError, FormatError, ProofError
from chopmark.keys import Signer
from chopmark.landmark import LandmarkFile, LandmarkProof, LandmarkRecord
from chopmark.limits import LIMITS
from chopmark.note import NoteVerifier
from chopmark.tiles import TileReader
from chopmark.tlog_policy import TlogPolicy, WitnessedCheckpoint
from chopmark.tlog_proof import TlogProof

from chopmark_ledger.audit.http_source import HttpSource
from chopmark_ledger.audit.tile_source import CHECKPOINT, LANDMARKS, fetching
from chopmark_ledger.batch import Client
from chopmark_ledger.errors import ForkError, NotPublishedError, RestoredBackupError
from chopmark_ledger.publication.prover import compact_checkpoint
from chopmark_ledger.service.entry_requests import encode_request, parse_answer
from chopmark_ledger.service.log_connection import MAX_ANSWER, LogConnection

_LOOK_EVERY = 0.1
"""Seconds between two looks at the checkpoint while one waits for it."""
_MAX_STATUS = 1024 * 1024
_MAX_SHOWN = 200
"""Characters of a text that a message shows of what the service says."""
_MAX_NAMED = 5


class RemoteLedger:
    """A log at a URL; a context manager that closes the connections. For one thread.

    Args:
        url: the prefix of the log, `http://…` or `https://…`.
        name: this client's name in the list of the log.
        key: this client's key.
        policy_text: the tlog-policy that a checkpoint must satisfy; it names the log's keys.
        vkey: the Ed25519 key of the log; its name is the origin.
        number: of the log within its region.
        patience: seconds until a request, or a wait for publication, is given up.
        clock: answers POSIX seconds with fractions, for tokens.
        sleep: waits so many seconds.
        random: answers that many random bytes, for tokens.

    Raises:
        FormatError, KeyMaterialError: the URL, the policy or the vkey is none.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        key: Signer,
        policy_text: str,
        vkey: str,
        number: int,
        patience: float = 60.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.origin = NoteVerifier.from_vkey(vkey).name
        self.vkey = vkey
        self.number = number
        self._policy = TlogPolicy.parse(policy_text)
        self._patience = patience
        self._sleep = sleep
        self._connection = LogConnection(
            url,
            origin=self.origin,
            name=name,
            key=key,
            patience=patience,
            clock=clock,
            sleep=sleep,
            random=random,
        )
        self.url = self._connection.url
        self._source = HttpSource(url, sleep=sleep)
        self._committed = 0
        self._note: bytes | None = None
        self._witnessed: WitnessedCheckpoint | None = None
        self._read: TileReader | None = None
        self._landmarks = b""

    def submit(self, client: Client, batch_number: int, entries: Sequence[bytes]) -> list[int]:
        """Append a batch durably; see `LedgerClient.submit`.

        Raises:
            BatchRefusedError: some entries may not enter; `answer` says what became of the others.
            ConflictError, BackpressureError, LogStoppedError, UnauthenticatedError, ForbiddenError, LimitError,
                FormatError: what the service said.
            LogUnreachableError: it did not answer; sending the batch again is safe.
        """
        del client  # the token says who this is
        answered = self._connection.post("entries", encode_request(batch_number, entries))
        answer = parse_answer(
            answered.body, batch=batch_number, count=len(entries), where=self.url, max_size=MAX_ANSWER
        )
        self._committed = max(self._committed, *(index + 1 for index in answer.indexes if index is not None), 0)
        return answer.all_indexes()

    def publish(self, now: int | None = None) -> WitnessedCheckpoint:
        """Wait until what the service has committed by now is published; it publishes by itself.

        Args:
            now: not used: the time is the service's.

        Raises:
            NotPublishedError: that takes too long; it says what is missing, such as a quorum of witnesses.
            QuorumError, SignatureError, ProofError, ForkError, RestoredBackupError: what it shows is not to be
                believed.
            LogUnreachableError: it does not answer.
        """
        del now
        wanted = max(self._committed, self._committed_there())
        end = time.monotonic() + self._patience
        while True:
            witnessed = self._look()
            if witnessed is not None and witnessed.checkpoint.size >= wanted:
                return witnessed
            if time.monotonic() > end:
                raise self._not_published(wanted, 0 if witnessed is None else witnessed.checkpoint.size)
            self._sleep(_LOOK_EVERY)

    def checkpoint(self) -> bytes | None:
        """The published checkpoint with its cosignatures, None before the first; see `publish` for what it raises."""
        self._look()
        return self._note

    def tlog_proof(self, index: int) -> bytes:
        """The tlog-proof of a published entry, made from the tiles, without the post-quantum lines of the
        checkpoint that others stand beside.

        Raises:
            NotPublishedError: the entry is not in the published tree.
            ProofError, FormatError, StorageError: a tile is missing, or does not belong to the tree; and as `publish`.
        """
        if self._witnessed is None or index >= self._witnessed.checkpoint.size:
            self._look()
        witnessed, read, note = self._witnessed, self._read, self._note
        if witnessed is None or read is None or note is None or not 0 <= index < witnessed.checkpoint.size:
            raise NotPublishedError(
                f"entry {index} is not in the published tree", where=self.url, remedy="Publish, then ask again"
            )
        size = witnessed.checkpoint.size
        path = merkle.inclusion_proof(index=index, size=size, read=read)
        (leaf,) = read([(0, index)])
        proof = TlogProof(index, tuple(path), compact_checkpoint(note), None)
        proof.verify(leaf, self._policy)
        return proof.encode()

    def landmark_now(self, now: int | None = None) -> tuple[LandmarkRecord, ...]:
        """Let the service publish, and end the present landmark interval; answers the records that were added.

        Args:
            now: not used: the time is the service's.

        Raises:
            ForbiddenError: this client does not speak for the region.
            NotPublishedError, LogStoppedError, LogUnreachableError: as the service says.
        """
        del now
        return end_remote_landmark_interval(self._connection)

    def landmark_file(self) -> bytes:
        """The landmark file; what was fetched before is not fetched again.

        Raises:
            RestoredBackupError: it is shorter than it was.
            FormatError: it is none, or not of this log.
            LogUnreachableError: the service does not answer.
        """
        known = self._landmarks
        headers = {"Range": f"bytes={len(known)}-"} if known else {}
        answered = self._connection.get(LANDMARKS, headers=headers, max_size=LIMITS.landmark_file_size)
        total = answered.headers.get("Content-Range", "").rpartition("/")[2]
        if answered.status == HTTPStatus.NOT_FOUND:
            data = b""
        elif answered.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            data = known[: int(total)] if total.isascii() and total.isdigit() else b""
        elif answered.status == HTTPStatus.PARTIAL_CONTENT:
            if not answered.headers.get("Content-Range", "").startswith(f"bytes {len(known)}-"):
                raise FormatError("another range than was asked for", where=f"{self.url}/{LANDMARKS}")
            data = known + answered.body
        else:
            data = answered.body
        if not data.startswith(known):
            raise RestoredBackupError(
                "the landmark file is not a continuation of what it was", where=f"{self.url}/{LANDMARKS}"
            )
        if not data:
            return LandmarkFile.empty(self.number).encode()
        if LandmarkFile.parse(data).log_number != self.number:
            raise FormatError(f"the landmark file is not of log {self.number}", where=f"{self.url}/{LANDMARKS}")
        self._landmarks = data
        return data

    def landmark_proof(self, index: int) -> LandmarkProof | None:
        """The landmark proof of an entry, made from the tiles; None while no landmark covers it.

        Raises:
            ProofError: the landmark does not follow from the tiles; and as `tlog_proof` and `landmark_file`.
        """
        file = LandmarkFile.parse(self._landmarks or self.landmark_file())
        record = file.covering(index) or (file := LandmarkFile.parse(self.landmark_file())).covering(index)
        if record is None:
            return None
        if self._witnessed is None or self._witnessed.checkpoint.size < record.end:
            self._look()
        read = self._read
        if read is None or read.size < record.end:
            raise ProofError("a landmark beyond what is published", where=f"{self.url}/{LANDMARKS}")
        path = merkle.subtree_inclusion_proof(index=index, start=record.start, end=record.end, read=read)
        proof = LandmarkProof(file.log_number, record.start, record.end, index, b"".join(path))
        (leaf,) = read([(0, index)])
        proof.verify(leaf, record)
        return proof

    def fetch(self, path: str) -> bytes | None:
        """Fetch a public file of the log, unchecked, as `recompute_fetched_landmarks` wants it."""
        return self._source.read(path)

    def close(self) -> None:
        """Close the connections."""
        self._source.close()
        self._connection.close()

    def __enter__(self) -> RemoteLedger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _status(self) -> dict[str, Any]:
        answered = self._connection.get("status", max_size=_MAX_STATUS)
        document = strict.json_decode(answered.body, where=f"{self.url}/status", max_size=_MAX_STATUS)
        if not isinstance(document, dict):
            raise FormatError("not the status of a log", where=f"{self.url}/status")
        return document

    def _committed_there(self) -> int:
        """What the service says it has committed: a process that was restarted knows nothing of its own."""
        committed = self._status().get("committed")
        if type(committed) is not int or committed < 0:
            raise FormatError("it does not say what is committed", where=f"{self.url}/status")
        return committed

    def _not_published(self, wanted: int, size: int) -> NotPublishedError:
        """Why it was waited for in vain, as far as the service says."""
        what = f"{wanted} entries are committed, and {size} published"
        try:
            status = self._status()
        except ChopmarkError as error:
            return NotPublishedError(f"{what}; the service does not say why: {error}", where=self.url)
        problem, listed = status.get("problem"), status.get("witnesses")
        ailing = [
            f"{str(each.get('name'))[:_MAX_SHOWN]} ({str(each.get('problem'))[:_MAX_SHOWN]})"
            for each in (listed if isinstance(listed, list) else [])
            if isinstance(each, dict) and each.get("problem") is not None
        ]
        if problem == "no_quorum":
            missing = f": {', '.join(ailing[:_MAX_NAMED])}" if ailing else ""
            return NotPublishedError(
                f"{what}: too few witnesses cosign{missing}",
                where=self.url,
                remedy="What was sent is kept; it is published by itself once a quorum of witnesses is back",
            )
        return NotPublishedError(
            f"{what}: the service says {str(problem)[:_MAX_SHOWN]!r}" if problem else what,
            where=self.url,
            remedy=f"Look at {self.url}/status, and at what the service logs",
        )

    def _look(self) -> WitnessedCheckpoint | None:
        """Fetch the checkpoint, and take it if it follows from the one that was seen before."""
        note = self._source.read(CHECKPOINT)
        if note == self._note:
            return self._witnessed
        if note is None:
            raise RestoredBackupError("what was published is gone", where=self.url)
        witnessed = self._policy.check(note)
        checkpoint = witnessed.checkpoint
        if checkpoint.origin != self.origin:
            raise ProofError(f"the checkpoint is of {checkpoint.origin}", where=self.url)
        read = TileReader(fetching(self._source), checkpoint.size, checkpoint.root)
        before = None if self._witnessed is None else self._witnessed.checkpoint
        if before is not None:
            if checkpoint.size < before.size:
                raise RestoredBackupError(
                    f"size {before.size} was published, and now {checkpoint.size}", where=self.url
                )
            if merkle.root(before.size, read) != before.root:
                raise ForkError(
                    f"the checkpoint of size {checkpoint.size} does not follow from that of size {before.size}",
                    where=self.url,
                    remedy="Keep both: the log shows two histories",
                )
        self._note, self._witnessed, self._read = note, witnessed, read
        return witnessed


def end_remote_landmark_interval(connection: LogConnection) -> tuple[LandmarkRecord, ...]:
    """Let a service publish, and end the present landmark interval; see `RemoteLedger.landmark_now`."""
    answered = connection.post("landmark")
    document = strict.json_decode(answered.body, where=connection.url, max_size=MAX_ANSWER)
    listed = document.get("records") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise FormatError("not a list of records", where=connection.url)
    return tuple(_record(value, connection.url) for value in listed)


def _record(value: object, where: str) -> LandmarkRecord:
    names = ("start", "end", "checkpoint_size", "witnessed_time")
    if not isinstance(value, dict) or not all(type(value.get(name)) is int and value[name] >= 0 for name in names):
        raise FormatError("not a landmark record", where=where)
    start, end, size, time_ = (value[name] for name in names)
    root = value.get("hash")
    if not isinstance(root, str):
        raise FormatError("not a landmark record", where=where)
    return LandmarkRecord(start, end, strict.base64_decode(root, where=where, size=merkle.HASH_SIZE), size, time_)
