"""Every error the ledger raises beside those of the SDK.

    ChopmarkError (of the SDK)
    └── LedgerError
        ├── BatchError               this batch is not taken; the log goes on
        │   ├── BatchRefusedError    entries that may not enter: `refused` names each with its reason
        │   ├── ConflictError        another body stands under this client's batch number
        │   └── BackpressureError    too much waits already: try again after `retry_after` seconds
        ├── LogStoppedError          the log must not go on before an operator has looked
        │   ├── LedgerDamagedError   the database contradicts itself
        │   ├── RestoredBackupError  more was published than the database holds
        │   ├── ForkError            what was published is not the beginning of this log
        │   ├── TileConflictError    other bytes stand where a tile belongs
        │   ├── CommitUnknownError   a commit failed, and whether it is durable is unknown
        │   └── PublicationPoisonedError   an fsync failed: what the disk holds is unknown
        ├── FolderLockedError        another process holds the folder
        ├── FolderError              no ledger or witness there, or one already
        ├── PolicyError              witnesses that cannot be a log's policy
        ├── NotPublishedError        the entry is not in the published tree yet
        ├── NotHeardError            the witnesses have not said yet what they hold of the log
        ├── NotThisLogError          no log lies at a place, or another than the one that is asked for
        ├── LogUnreachableError      no server answers for the log
        ├── UnauthenticatedError     the token of a request is none, or not one for this log
        ├── ForbiddenError           this client may not ask for that
        ├── ClientListError          the list of a log's clients is missing or broken: nobody is let in
        ├── WitnessUnreachableError  a witness gave no whole answer in time
        └── WitnessClockError        the witness's clock is behind its last cosignature

Three of them are also what every service raises at its edge (`chopmark_service.errors`), here as a log's client meets
them. A file that cannot be read or written is the SDK's `StorageError`, a missing quorum its `QuorumError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chopmark.errors import ChopmarkError
from chopmark_service import errors as service_errors

if TYPE_CHECKING:
    from chopmark_ledger.batch import BatchAnswer


class LedgerError(ChopmarkError):
    """The root of the errors of the ledger."""


class BatchError(LedgerError):
    """This batch is not taken; nothing of it entered the log, and the log goes on."""


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """One entry of a batch that may not enter: its position in the batch as sent, from 0, and why."""

    position: int
    reason: str


class BatchRefusedError(BatchError):
    """Entries that may not enter the log; `refused` names every one of them.

    `answer` is None where nothing of the batch was taken. Whoever needs all of a batch or nothing raises this error
    for one that was taken in part, with what it was answered: those entries are in the log.
    """

    def __init__(self, refused: tuple[RefusedEntry, ...], *, answer: BatchAnswer | None = None) -> None:
        first = refused[0]
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        super().__init__(
            f"{first.reason}{more}",
            where=f"entry {first.position} of the batch",
            remedy="Nothing of the batch was taken: send it without them"
            if answer is None
            else "The other entries are in the log: send those that were refused, once corrected, as another batch",
        )
        self.refused = refused
        self.answer = answer


class ConflictError(BatchError):
    """Another body stands under this client's batch number."""


class BackpressureError(BatchError, service_errors.BackpressureError):
    """Too much waits already, to be committed or to be published; try again after `retry_after` seconds."""


class LogStoppedError(LedgerError):
    """The log must not go on before an operator has looked."""


class LedgerDamagedError(LogStoppedError):
    """The database contradicts itself."""


class RestoredBackupError(LogStoppedError):
    """More was published than the database holds: it comes from a backup."""


class ForkError(LogStoppedError):
    """What was published is not the beginning of this log."""


class TileConflictError(LogStoppedError):
    """Other bytes stand where a tile, an entry bundle or the landmark file belongs."""


class CommitUnknownError(LogStoppedError):
    """A commit failed half-way, so whether it is durable is unknown until the log is opened again."""


class PublicationPoisonedError(LogStoppedError):
    """An fsync failed, so what the disk holds is unknown until the log is opened again."""


class FolderLockedError(LedgerError):
    """Another process holds the folder."""


class FolderError(LedgerError):
    """No ledger or witness in that folder, or one already."""


class PolicyError(LedgerError):
    """Witnesses that cannot be the policy of a log."""


class NotPublishedError(LedgerError):
    """The entry is not in the published tree yet."""


class NotHeardError(LedgerError):
    """The witnesses have not said yet what they hold of the log, and it is to take nothing before."""


class NotThisLogError(LedgerError):
    """No log lies at a place, or another than the one that is asked for: nothing can be said of that one."""


class LogUnreachableError(LedgerError):
    """No server answers for the log, so nothing can be said of its files."""


class WitnessUnreachableError(LedgerError):
    """A witness gave no whole answer in time."""


class WitnessClockError(LedgerError):
    """The witness's clock is behind its last cosignature."""


class UnauthenticatedError(LedgerError, service_errors.UnauthenticatedError):
    """The token of a request is none, or not one for this log."""


class ForbiddenError(LedgerError, service_errors.ForbiddenError):
    """This client may not ask for that."""


class ClientListError(LedgerError):
    """The list of a log's clients is missing or broken, so nobody is let in."""
