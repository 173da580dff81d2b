"""Publication: from the newest committed size to a cosigned checkpoint that everybody can fetch.

In this order, so that a crash anywhere leaves a log that can go on:

    1  take the newest committed size and root from the database, sign them
    2  write and sync tiles, entry bundles and their folders, from the last published size on
    3  collect cosignatures until the policy's quorum is met
    4  replace `checkpoint`, never by a smaller one, and sync it
    5  note the publication in the database

Tiles are a pure function of the committed entries: what a crash interrupted is written again, and where the
checkpoint is lost, everything from the beginning. Several commits share one publication.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Protocol

from chopmark import merkle, strict, tiles
from chopmark.checkpoint import Checkpoint
from chopmark.errors import ChopmarkError, FormatError, QuorumError, SignatureError
from chopmark.note import Note, NoteSignature, NoteVerifier, split_cosignature
from chopmark.tlog_policy import PolicyLog, TlogPolicy, WitnessedCheckpoint

from chopmark_ledger.errors import LogStoppedError
from chopmark_ledger.log import Log
from chopmark_ledger.store import Publication
from chopmark_ledger.witness import WitnessAnswer

_MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are looked at: a handful of signature lines."""
CLOCK_TOLERANCE = 300
"""Seconds that a witness may date its cosignature ahead of the log's clock. One that is further ahead is not taken: by
it a single witness, where the quorum needs its line, would date the next landmarks so that none could follow them, and
raise the floor under the clocks of verifiers."""


class WitnessClient(Protocol):
    """How a publisher reaches one witness."""

    @property
    def vkey(self) -> str:
        """The key it cosigns with."""
        ...

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Send an `add-checkpoint` request.

        Raises:
            ChopmarkError: the witness cannot be reached or failed.
        """
        ...


class Publisher:
    """Publishes one log. Only one publication runs at a time.

    Args:
        log: an open log, with its key.
        witnesses: whom to ask for cosignatures.
        policy: what a checkpoint must satisfy before it is published; it need not name the log.
    """

    def __init__(self, log: Log, witnesses: Sequence[WitnessClient], policy: TlogPolicy) -> None:
        self._log = log
        self._witnesses = witnesses
        self._policy = policy.with_logs([PolicyLog(NoteVerifier.from_vkey(log.identity.vkey))])
        self._sizes: dict[str, int] = {}  # what each witness cosigned last: a guess that saves a round trip
        self._mutex = threading.Lock()

    def publish(self) -> WitnessedCheckpoint:
        """Publish what is committed; with nothing new, answer what stands.

        Raises:
            QuorumError: too few witnesses cosigned; commits go on, and the next call tries again.
            RestoredBackupError, ForkError, TileConflictError: what stands in the public folder is not of this
                database.
            PublicationPoisonedError: an fsync failed; open the log again.
            StorageError: a file could not be written; calling again is safe.
        """
        with self._mutex:
            checkpoint, note = self._log.sign_committed()
            standing = self._log.standing_checkpoint()
            published = self._log.publication
            first = 0
            if published is not None and standing is not None:
                if published.size == checkpoint.size and standing.encode() == published.note:
                    witnessed = self._already_witnessed(published.note)
                    if witnessed is not None:
                        return witnessed
                # A smaller one stands where the public folder was brought back from a backup: without its tiles.
                first = min(published.size, standing.checkpoint.size)
            self._write_tiles(first, checkpoint.size)
            cosigned, witnessed = self._collect(checkpoint, note)
            # Once more, now that the witnesses have answered: nobody may have put a larger one there meanwhile.
            self._log.standing_checkpoint()
            data = cosigned.encode()
            self._log.public_folder.replace("checkpoint", data)
            self._log.record_publication(
                Publication(checkpoint.size, checkpoint.root, data, witnessed.time, self._log.clock())
            )
            return witnessed

    def _already_witnessed(self, note: bytes) -> WitnessedCheckpoint | None:
        try:
            return self._policy.check(Note.parse(note))
        except (QuorumError, SignatureError):
            return None  # the policy changed since: ask the witnesses of today

    def _write_tiles(self, first: int, size: int) -> None:
        folder = self._log.public_folder
        for level, tile in new_tiles(first, size):
            folder.put(tile.path, self._log.tile(level, tile.index, tile.width))
            if level == 0:
                start = tile.index * tiles.TILE_WIDTH
                bundle = tiles.encode_entry_bundle(self._log.entries(start, start + tile.width))
                folder.put(tiles.entries_path(tile.index, tile.width), bundle)
        folder.flush()

    def _collect(self, checkpoint: Checkpoint, note: Note) -> tuple[Note, WitnessedCheckpoint]:
        published = self._log.publication
        likely = published.size if published else 0
        problems = []
        cosigned = note
        for witness in self._witnesses:
            try:
                verifier = NoteVerifier.from_vkey(witness.vkey)
                line = self._ask(witness, verifier, checkpoint, note, self._sizes.get(witness.vkey, likely))
                cosigned = cosigned.with_signature(line)
            except LogStoppedError:
                raise
            except ChopmarkError as error:
                problems.append(f"{witness.vkey.split('+', 1)[0]}: {error}")
        try:
            witnessed = self._policy.check(cosigned)
        except QuorumError as error:
            if not problems:
                raise
            raise QuorumError(
                error.what, where=error.where, remedy=f"What the witnesses answered: {'; '.join(problems)}"
            ) from error
        return cosigned, witnessed

    def _ask(
        self, witness: WitnessClient, verifier: NoteVerifier, checkpoint: Checkpoint, note: Note, old: int
    ) -> NoteSignature:
        answer = witness.add_checkpoint(self._request(checkpoint, note, min(old, checkpoint.size)))
        if answer.status == 409:
            old = _held_size(answer)
            if old > checkpoint.size:
                raise FormatError(
                    f"it has seen size {old}, this log holds {checkpoint.size}",
                    where="answer",
                    remedy="If that is so, the database was restored from a backup",
                )
            answer = witness.add_checkpoint(self._request(checkpoint, note, old))
        if answer.status != 200:
            reason = answer.body[:200].decode("utf-8", "replace").strip()
            raise FormatError(f"it refused with {answer.status}: {reason}", where="answer")
        line = _cosignature(answer, verifier, note)
        ahead = split_cosignature(line.signature)[0] - self._log.clock()
        if ahead > CLOCK_TOLERANCE:
            raise FormatError(
                f"its cosignature is dated {ahead} seconds ahead of this log's clock",
                where="answer",
                remedy="Look at both clocks",
            )
        self._sizes[witness.vkey] = checkpoint.size
        return line

    def _request(self, checkpoint: Checkpoint, note: Note, old: int) -> bytes:
        proof: list[bytes] = []
        if 0 < old < checkpoint.size:
            proof = merkle.consistency_proof(size1=old, size2=checkpoint.size, read=self._log.read_nodes)
        lines = [f"old {old}", *(strict.base64_encode(each) for each in proof), "", ""]
        return "\n".join(lines).encode("ascii") + note.encode()


def new_tiles(first: int, size: int) -> Iterator[tuple[int, tiles.Tile]]:
    """Name the tiles of hashes, with their level, that a log of `size` has and one of `first` had not, lowest first."""
    level = 0
    while size >> tiles.TILE_HEIGHT * level > 0:
        old, new = first >> tiles.TILE_HEIGHT * level, size >> tiles.TILE_HEIGHT * level
        if new > old:
            for index in range(old // tiles.TILE_WIDTH, -(-new // tiles.TILE_WIDTH)):
                tile = tiles.tile_at(level, index, size)
                if tile is not None:
                    yield level, tile
        level += 1


def _held_size(answer: WitnessAnswer) -> int:
    try:
        text = answer.body[:32].decode("ascii")
    except UnicodeDecodeError as error:
        raise FormatError("a conflict without a size", where="answer") from error
    if not text.endswith("\n"):
        raise FormatError("a conflict without a size", where="answer")
    return strict.decimal(text[:-1], where="answer")


def _cosignature(answer: WitnessAnswer, verifier: NoteVerifier, note: Note) -> NoteSignature:
    """Pick the line of this witness that verifies; whatever else it sent is left out, so that it spoils nothing."""
    text = note.text.encode("utf-8")
    for line in answer.body[:_MAX_ANSWER].decode("utf-8", "replace").split("\n"):
        try:
            signature = NoteSignature.parse(line)
            if (signature.name, signature.key_id) == (verifier.name, verifier.key_id):
                verifier.verify(text, signature.signature)
                return signature
        except ChopmarkError:
            continue
    raise FormatError("no cosignature of its key that verifies", where="answer")
