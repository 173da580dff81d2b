"""What a witness holds of each log, in its folder, so that it forgets no cosignature that it gave.

    logs/<origin hash>/checkpoint     the last checkpoint cosigned, log's and own signatures on it: the state, and
                                      what tlog-witness asks a witness to serve for monitors
    logs/<origin hash>/lock           held while a request for this log is judged and written
    cosigned/<origin hash>            the origin: there once anything of that log was cosigned, so that a state that
                                      is lost is not taken for none
    evidence/<case>/                  held.note and submitted.note, which the log signed, and case.json
    staging/<origin hash>/            files on their way

<origin hash> is the SHA-256 of the origin in hex. Requests for different logs do not wait for each other; several
processes may use one folder.

What this process finds there, another may have written whose fsync failed: the kernel shows it, the disk may not have
it. So it is written anew, and synced, before it is relied on or shown; names of folders are synced by each process
once. After an fsync of this process failed, nothing is trusted until the witness is opened again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from chopmark import durable_file, strict
from chopmark.errors import ChopmarkError, FormatError, LimitError, StorageError
from chopmark.limits import LIMITS
from chopmark.note import NoteVerifier, split_cosignature

from chopmark_ledger.durable import REAL_DISK, Disk, SyncFailedError
from chopmark_ledger.errors import LedgerDamagedError
from chopmark_ledger.witness.witness import Contradiction, Evidence, WitnessState
from chopmark_ledger.witness.witness_requests import read_checkpoint

CASES = {Contradiction.FORK: 1000, Contradiction.UNPROVEN: 10}
"""Cases kept of each log: one that forks without end must neither fill the disk nor hide another's forks, and growth
that is not proven is no proof of anything by itself."""
EVIDENCE_SIZE = 16 * 1024 * 1024
"""Bytes of cases kept of each log. All of the unproven ones take a third of it: they keep no fork out."""
_SHORT = 16
_CASE_NAME = re.compile(r"(fork|unproven)-([0-9a-f]{16})-([0-9]{1,19})-[0-9a-f]{16}", re.ASCII)
_FILES = ("held.note", "submitted.note", "case.json")
_CASE_SIZE = 512 * 1024
"""Bytes of a file of a case: a submitted note is smaller than a request."""


@dataclass(frozen=True, slots=True)
class EvidenceCase:
    """A case that is kept: its folder, and what its name says: the contradiction, the beginning of the origin's hash
    (16 digits of hex), and the size of the checkpoint that was submitted."""

    folder: Path
    contradiction: Contradiction
    short_hash: str
    size: int


@dataclass(frozen=True, slots=True)
class _Places:
    """Where things of one origin are. Kept, since making a path takes longer than using it."""

    folder: Path
    checkpoint: Path
    mark: Path
    staging: Path

    @classmethod
    def of(cls, witness: Path, origin: str) -> _Places:
        digest = origin_hash(origin)
        folder = witness / "logs" / digest
        return cls(folder, folder / "checkpoint", witness / "cosigned" / digest, witness / "staging" / digest)


class FolderStore:
    """The state of a witness in its folder; see `chopmark_ledger.witness.witness.WitnessStore`.

    Args:
        folder: the folder of the witness.
        verifiers: the witness's own keys, of which one at least must have signed what is found there.
        disk: the file system.
    """

    def __init__(self, folder: Path, verifiers: Sequence[NoteVerifier], *, disk: Disk = REAL_DISK) -> None:
        self._folder = folder
        self._verifiers = tuple(verifiers)
        self._disk = disk
        self._poison: str | None = None
        self._places: dict[str, _Places] = {}
        # What follows is what this process itself made durable: nobody else's word counts.
        self._held: dict[str, WitnessState] = {}
        self._named: set[Path] = set()
        self._kept: set[str] = set()
        self._lost: dict[str, str] = {}

    @property
    def poisoned_by(self) -> str | None:
        """The fsync that failed; None while all is well."""
        return self._poison

    @property
    def held(self) -> Mapping[str, WitnessState]:
        """What was cosigned last of each log, by origin, as far as it was looked at since this store was opened."""
        return dict(self._held)

    @property
    def lost_evidence(self) -> Mapping[str, str]:
        """Why evidence of a log could not be kept, by its origin; since this store was opened."""
        return dict(self._lost)

    def remembered(self, origin: str) -> WitnessState | None:
        """What this process itself made durable of an origin, last; None where it did nothing yet."""
        return self._held.get(origin)

    def is_current(self, origin: str, state: WitnessState) -> bool:
        """Whether a state that was remembered is what is held, now; no lock is taken for that."""
        try:
            return self._poison is None and self._read(self._places_of(origin).checkpoint) == state.note
        except ChopmarkError:
            return False

    @contextmanager
    def exclusive(self, origin: str) -> Iterator[None]:
        """Keep every other request for this origin out, in this process and in others.

        Raises:
            SyncFailedError: an fsync failed earlier.
            StorageError: the folder is read-only.
        """
        self._check()
        places = self._places_of(origin)
        if origin not in self._held:
            self._disk.make_folder(places.folder)
        with durable_file.held_for_a_moment(places.folder):
            self._check()  # it may have failed while this request waited
            yield

    def load(self, origin: str) -> WitnessState:
        """Read what is held of an origin.

        Raises:
            LedgerDamagedError: the file is not a checkpoint of that origin with this witness's cosignature, or not
                the one that was there. It is never taken for "nothing held": that would allow a second history.
            StorageError: it cannot be read, or not be made durable.
        """
        places = self._places_of(origin)
        path = places.checkpoint
        data = self._read(path)
        known = self._held.get(origin)
        if data is None:
            if known is not None or self._disk.size(places.mark) is not None:
                raise _damaged(path, "it is gone")
            return WitnessState()
        if known is not None and known.note == data:
            return known
        state = self._parse(origin, path, data)
        if known is not None and (state.size < known.size or (state.size == known.size and state.root != known.root)):
            raise _damaged(path, f"it is not what followed the checkpoint of size {known.size}")
        self.save(origin, state)
        return state

    def save(self, origin: str, state: WitnessState) -> None:
        """Replace what is held of an origin, durably.

        Raises:
            SyncFailedError: it may not be durable; what is held is the old state or the new one.
            StorageError: it cannot be written; likewise.
        """
        places = self._places_of(origin)
        self._write(places, places.checkpoint, state.note)
        if origin not in self._held:
            self._write(places, places.mark, f"{origin}\n".encode())
        self._held[origin] = state

    def checkpoint(self, origin: str) -> bytes | None:
        """The last checkpoint cosigned of an origin, for monitors; None before the first. It is durable: a
        cosignature that was shown must not be forgotten.

        Raises:
            LedgerDamagedError, StorageError: as `load`.
        """
        self._check()
        known = self._held.get(origin)
        if known is None or known.note != self._read(self._places_of(origin).checkpoint):
            with self.exclusive(origin):
                known = self.load(origin)
        return known.note or None

    def look(self, origin: str) -> WitnessState:
        """What the file says that is held of an origin, to tell an operator: nothing is locked, written or relied on.

        Raises:
            LedgerDamagedError, StorageError: as `load`.
        """
        places = self._places_of(origin)
        data = self._read(places.checkpoint)
        if data is not None:
            return self._parse(origin, places.checkpoint, data)
        if self._disk.size(places.mark) is not None:
            raise _damaged(places.checkpoint, "it is gone")
        return WitnessState()

    def keep_evidence(self, evidence: Evidence) -> None:
        """Keep both notes of a contradiction; a case that is kept already is not written again. Where that fails,
        or too many cases are kept, `lost_evidence` says so.

        Raises:
            SyncFailedError: it may not be durable.
        """
        try:
            self._keep_case(evidence)
        except SyncFailedError:
            raise
        except ChopmarkError as error:
            self._lost[evidence.origin] = str(error)

    def cases(self) -> Iterator[EvidenceCase]:
        """The cases that are kept.

        Raises:
            StorageError: the folder cannot be read.
        """
        for name in self._disk.names(self._folder / "evidence"):
            found = _CASE_NAME.fullmatch(name)
            if found is not None:
                yield EvidenceCase(self._folder / "evidence" / name, Contradiction(found[1]), found[2], int(found[3]))

    def _keep_case(self, evidence: Evidence) -> None:
        kind = evidence.contradiction.value
        of_this_log = f"{kind}-{origin_hash(evidence.origin)[:_SHORT]}-"
        name = f"{of_this_log}{evidence.size}-{evidence.root.hex()[:16]}"
        if name in self._kept:
            return
        cases = self._folder / "evidence"
        kept = self._disk.names(cases)
        most = CASES[evidence.contradiction]
        if name not in kept and sum(each.startswith(of_this_log) for each in kept) >= most:
            raise StorageError(f"{most} cases of this kind and log are kept, no more", where=str(cases))
        description = {
            "origin": evidence.origin,
            "contradiction": kind,
            "time": strict.time_encode(evidence.time),
            "held": "held.note",
            "submitted": "submitted.note",
        }
        case = json.dumps(description, ensure_ascii=False, indent=2).encode() + b"\n"
        files = dict(zip(_FILES, (evidence.held, evidence.submitted, case), strict=True))
        needed = sum(map(len, files.values()))
        if name not in kept and self._evidence_size(evidence.origin, kept) + needed > EVIDENCE_SIZE:
            raise StorageError(f"no more than {EVIDENCE_SIZE} bytes of cases of one log are kept", where=str(cases))
        for file, data in files.items():
            path = cases / name / file
            found = self._disk.read(path, _CASE_SIZE)  # of a process before, which may not have got it to the disk
            self._write(self._places_of(evidence.origin), path, data if found is None else found)
        self._kept.add(name)

    def _evidence_size(self, origin: str, names: Iterable[str]) -> int:
        """Bytes of the cases of an origin among those of these names."""
        short = origin_hash(origin)[:_SHORT]
        cases = [name for name in names if (found := _CASE_NAME.fullmatch(name)) is not None and found[2] == short]
        return sum(self._disk.size(self._folder / "evidence" / case / file) or 0 for case in cases for file in _FILES)

    def _read(self, path: Path) -> bytes | None:
        try:
            return self._disk.read(path, LIMITS.note_size)
        except LimitError as error:
            raise _damaged(path, error.what) from error

    def _parse(self, origin: str, path: Path, data: bytes) -> WitnessState:
        try:
            checkpoint = read_checkpoint(data)
            signed = checkpoint.note.verify(self._verifiers)
            own = {(verifier.name, verifier.key_id) for verifier in signed}
            lines = [line for line in checkpoint.note.signatures if (line.name, line.key_id) in own]
            time = max(split_cosignature(line.signature)[0] for line in lines)
            if time == 0:
                raise FormatError("its cosignature has no time", where="checkpoint")
        except ChopmarkError as error:
            raise _damaged(path, str(error)) from error
        if checkpoint.origin != origin:
            raise _damaged(path, f"it is of {checkpoint.origin}")
        return WitnessState(checkpoint.size, checkpoint.root, time, data)

    def _write(self, places: _Places, path: Path, data: bytes) -> None:
        """Replace a file durably; called within `exclusive`, so that nobody else uses the staging folder."""
        self._check()
        folder = path.parent
        try:
            if places.staging not in self._named:
                self._disk.make_folder(places.staging)
                self._disk.empty_folder(places.staging)  # what a process that ended early left behind
                self._named.add(places.staging)
            if folder not in self._named:
                self._disk.make_folder(folder)
            self._disk.write(path, data, places.staging)
            self._disk.sync_folder(folder)
            climbed = []
            while folder != self._folder and folder not in self._named:
                self._disk.sync_folder(folder.parent)
                climbed.append(folder)
                folder = folder.parent
            self._named.update(climbed)  # only now: whoever finds a folder here looks no further up
        except SyncFailedError as error:
            self._poison = str(error)
            raise

    def _check(self) -> None:
        if self._poison is not None:
            raise SyncFailedError(
                f"an fsync failed, so that nothing here is trusted any more ({self._poison})",
                where=str(self._folder),
                remedy="Look at the disk, then start the witness again",
            )

    def _places_of(self, origin: str) -> _Places:
        places = self._places.get(origin)
        if places is None:
            places = self._places[origin] = _Places.of(self._folder, origin)
        return places


def origin_hash(origin: str) -> str:
    """The SHA-256 of an origin in lower-case hex, by which tlog-witness names it in paths."""
    return sha256(origin.encode("utf-8")).hexdigest()


def _damaged(path: Path, reason: str) -> LedgerDamagedError:
    return LedgerDamagedError(
        f"not the checkpoint that this witness cosigned last: {reason}",
        where=str(path),
        remedy="Bring the file back from a backup that is not older, or end this witness and begin a new one",
    )
