"""Check a whole tlog-tiles log against its checkpoint: ours or anybody's, from the static files alone.

Spec: https://c2sp.org/tlog-tiles, https://c2sp.org/tlog-checkpoint.

    1. the checkpoint: the signatures of its log, and the cosignatures that a policy asks for    `fsck_checkpoint`
    2. every tile and entry bundle that it covers, up to its root                                `fsck_tree`
       in a log of ours, known by its genesis entry, every entry                                 `fsck_entries`
    3. in a folder, what else lies there: earlier partial tiles, misnamed files                  `fsck_folder`
    4. the landmark file                                                                         `fsck_landmarks`
       with the checkpoint again: has the log grown meanwhile, and from what it was?

The log may be in use: what it published by the beginning of the check is checked. Memory stays the same whatever the
size of the log, but for 8 bytes a file where a tile is missing and the folder has to be listed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chopmark import merkle
from chopmark.errors import FormatError, ProofError, SignatureError, StorageError
from chopmark.tiles import TileReader, tile_path
from chopmark.tlog_policy import TlogPolicy

from chopmark_ledger.audit.fsck_checkpoint import JudgedCheckpoint, LogKeys, judge_checkpoint
from chopmark_ledger.audit.fsck_entries import EntryCheck, begins_with_genesis
from chopmark_ledger.audit.fsck_findings import MAX_DAMAGE, Damage, Findings, TooMuchDamageError
from chopmark_ledger.audit.fsck_folder import FolderCheck
from chopmark_ledger.audit.fsck_landmarks import LandmarkCheck
from chopmark_ledger.audit.fsck_tree import TreeCheck
from chopmark_ledger.audit.tile_source import CHECKPOINT, FolderSource, TileSource, fetching
from chopmark_ledger.errors import NotThisLogError

__all__ = ["Damage", "FsckReport", "fsck"]

_PROGRESS_STEP = 4096
"""Entries between two reports of progress."""


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What was found.

    Args:
        judged: the checkpoint, None where it cannot be believed.
        is_ours: whether the log begins with a genesis entry, so that its entries were read.
        landmarks: records of its landmark file, None where it has none that can be read.
        damage: every damage, in the order of the check.
        remarks: what was not judged.
    """

    judged: JudgedCheckpoint | None
    is_ours: bool
    landmarks: int | None
    damage: tuple[Damage, ...]
    remarks: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage

    @property
    def origin(self) -> str | None:
        """The origin of the checkpoint, None where it cannot be believed."""
        return None if self.judged is None else self.judged.checkpoint.origin

    @property
    def size(self) -> int | None:
        """The size of the checkpoint, None where it cannot be believed."""
        return None if self.judged is None else self.judged.checkpoint.size

    @property
    def root(self) -> bytes | None:
        """The root hash of the checkpoint, 32 bytes; None where it cannot be believed."""
        return None if self.judged is None else self.judged.checkpoint.root


def fsck(
    source: TileSource | Path,
    *,
    vkeys: Sequence[str] = (),
    origin: str | None = None,
    policy: TlogPolicy | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FsckReport:
    """Check a log.

    Args:
        source: the files of the log, or the folder that they are in.
        vkeys: the keys of the log, each of which must have signed the checkpoint; may be left out where `policy` names
            the log.
        origin: the origin to expect; the name of the keys where not given.
        policy: the witnesses whose cosignatures the checkpoint must have; they are not looked at without one.
        progress: told, now and then, how many entries of how many are checked.

    Raises:
        FormatError, KeyMaterialError, QuorumError: the keys or the policy are of no use.
        StorageError: the folder is missing.
        NotThisLogError: no log lies there, or another one.
        LogUnreachableError: the server does not answer.
    """
    keys = LogKeys.of(vkeys, origin=origin, policy=policy)
    check = _Check(FolderSource(source) if isinstance(source, Path) else source, keys, progress)
    try:
        check.run()
    except TooMuchDamageError:
        check.findings.remark(check.source.name, f"more than {MAX_DAMAGE} damaged: the check ended there")
    return FsckReport(check.judged, check.is_ours, check.landmarks, check.findings.all_damage, check.findings.remarks)


class _Check:
    """One check of one log."""

    def __init__(self, source: TileSource, keys: LogKeys, progress: Callable[[int, int], None] | None) -> None:
        self.source = source
        self.findings = Findings()
        self.judged: JudgedCheckpoint | None = None
        self.is_ours = False
        self.landmarks: int | None = None
        self._keys = keys
        self._progress = progress
        self._checked = 0
        self._total = 0

    def run(self) -> None:
        judged = self.judged = self._judged(first=True)
        if judged is None:
            return
        checkpoint = judged.checkpoint
        self._total = checkpoint.size
        if judged.quorum_problem is not None:
            self.findings.damage(CHECKPOINT, str(judged.quorum_problem))
        if judged.extension_lines:
            self.findings.remark(CHECKPOINT, f"{judged.extension_lines} extension lines, which no monitor can audit")
        self.is_ours = begins_with_genesis(self.source, checkpoint.origin, checkpoint.size)
        entries = EntryCheck(checkpoint.origin, self.findings)
        TreeCheck(
            self.source,
            checkpoint.size,
            checkpoint.root,
            self.findings,
            entries if self.is_ours else lambda *_: None,
            self._advance,
        ).run()
        FolderCheck(self.source, checkpoint.size, self.is_ours, self.findings).run()
        self.landmarks = LandmarkCheck(
            self.source,
            checkpoint,
            lambda: self._newest_size(judged),
            None if judged.witnessed is None else judged.witnessed.times[-1],
            self.is_ours,
            self.findings,
        ).run(entries.vouchings)

    def _judged(self, *, first: bool = False) -> JudgedCheckpoint | None:
        """Read and judge the checkpoint; where it is not to be believed that is named.

        Raises:
            NotThisLogError: the first look finds no log, or another one.
        """
        try:
            data = self.source.read(CHECKPOINT)
            if data is not None:
                return judge_checkpoint(data, self._keys)
        except NotThisLogError as error:
            if first:
                raise NotThisLogError(error.what, where=self.source.name, remedy=error.remedy) from error
            self.findings.damage(CHECKPOINT, error.what)
        except (FormatError, SignatureError) as error:
            self.findings.damage(CHECKPOINT, str(error))
        except StorageError as error:
            self.findings.damage(CHECKPOINT, error.what)
        else:
            if first and not self._has_tiles():
                raise NotThisLogError(
                    "there is no log here: it has neither a checkpoint nor tiles",
                    where=self.source.name,
                    remedy="Give the folder or address below which `checkpoint` and `tile/` are",
                )
            self.findings.damage(CHECKPOINT, "missing")
        return None

    def _has_tiles(self) -> bool:
        """Whether a log lies there, as far as that can be told without a checkpoint: of a place that cannot be listed
        the one tile is asked for that every log of 256 entries has."""
        found = self.source.found()
        return self.source.read(tile_path(0, 0)) is not None if found is None else any(True for _ in found)

    def _newest_size(self, first: JudgedCheckpoint) -> int:
        """Look at the checkpoint again, and answer its size; the log must have grown from what it was."""
        judged = self._judged()
        if judged is None or judged.note == first.note:
            return first.checkpoint.size
        before, now = first.checkpoint, judged.checkpoint
        if now.size < before.size:
            self.findings.damage(CHECKPOINT, f"replaced, during the check, by one of the smaller size {now.size}")
            return before.size
        try:
            read = TileReader(fetching(self.source), now.size, now.root)
            read.check_root()
            if before.size:
                proof = merkle.consistency_proof(size1=before.size, size2=now.size, read=read)
                merkle.verify_consistency(
                    size1=before.size, size2=now.size, root1=before.root, root2=now.root, proof=proof
                )
        except (ProofError, StorageError, FormatError) as error:
            self.findings.damage(
                CHECKPOINT, f"replaced, during the check, by one of size {now.size} that does not continue it: {error}"
            )
        return now.size

    def _advance(self, count: int) -> None:
        before, self._checked = self._checked, self._checked + count
        is_due = before // _PROGRESS_STEP != self._checked // _PROGRESS_STEP or self._checked >= self._total
        if self._progress is not None and is_due:
            self._progress(self._checked, self._total)
