"""Publishing: from what the registry holds to what everybody can verify.

1 acts that fall due take effect
2 status lists and the trust bundle are signed where they changed or grow old
3 all that waits goes to the log, which publishes a checkpoint with a quorum of witnesses
4 a landmark is made for credentials that have none
5 landmark files, the region's own and its peers', are recomputed and vouched for
6 the public folder is brought up to date

A step that fails leaves what was published as it was, and what was signed waits in the outbox; the next publication
goes on from there. Publishing with nothing new changes nothing. Entries that the log refuses are told as a problem, and
everything else goes on without them.
"""

from __future__ import annotations

from dataclasses import dataclass

from chopmark.entries import CredentialEntry, LandmarkFileEntry, StatusListEntry, TrustBundleEntry, parse_entry
from chopmark.errors import FormatError
from chopmark.landmark import LandmarkFile
from chopmark_ledger.client import Client, LedgerClient
from chopmark_ledger.errors import UnauthenticatedError
from sqlalchemy import select

from chopmark_issuer.keys.key_provider import KeyProvider
from chopmark_issuer.licences.standing import apply_due_acts
from chopmark_issuer.licences.status_lists import sign_lists
from chopmark_issuer.publishing.peers import WatchedLog, peer_logs
from chopmark_issuer.publishing.public_files import write_public_files
from chopmark_issuer.publishing.region_log import client_name
from chopmark_issuer.publishing.root_keys import root_epochs, root_signers
from chopmark_issuer.publishing.trust_bundles import sign_bundle
from chopmark_issuer.publishing.vouching import vouch
from chopmark_issuer.settings import Settings
from chopmark_issuer.storage import outbox
from chopmark_issuer.storage.database import Database
from chopmark_issuer.storage.models import CREDENTIAL, DEPARTMENT, OUTBOX


@dataclass(frozen=True, slots=True)
class Published:
    """What one publication did: entries sent, size of the log, lists signed, the new bundle's number if there is one,
    the logs whose landmark files were vouched for further, the files that changed, and what peers made impossible or
    the log refused."""

    entries: int
    size: int
    status_lists: int
    bundle: int | None
    vouched: tuple[str, ...]
    files: tuple[str, ...]
    problems: tuple[str, ...]


def publish(
    database: Database,
    keys: KeyProvider,
    ledger: LedgerClient,
    settings: Settings,
    own: WatchedLog,
    *,
    at: int,
    landmark: bool = True,
) -> Published:
    """Bring the log, and everything that verifiers fetch, to what the registry holds.

    Args:
        database: the registry's.
        keys: its private keys.
        ledger: the region's log.
        settings: where the public files go.
        own: the region's own log, as its landmark file is recomputed.
        at: POSIX seconds.
        landmark: whether credentials without a landmark get one now; else they wait for the log's own interval.

    Raises:
        QuorumError: too few witnesses cosigned.
        NotPublishedError: a served log did not publish in time; it says what is missing, such as a quorum.
        LedgerError, StorageError, TrustError: a step could not be done.
    """
    apply_due_acts(database, at=at)  # 1
    with database.writing() as connection:  # 2
        lists = sign_lists(connection, keys, at=at)
        bundle = sign_bundle(
            connection, roots_by_epoch=root_epochs(connection), signers=lambda: root_signers(connection, keys), at=at
        )
    sent = send(database, ledger, own.region, at=at)  # 3
    size = ledger.publish(at).checkpoint.size
    if landmark and _credentials_wait_for_landmark(database, ledger):  # 4
        ledger.landmark_now(at)
    with database.reading() as connection:
        others, problems = peer_logs(connection, at=at)
    vouching = vouch(database, settings.vouched, own, others)  # 5
    if vouching.origins:
        sent += send(database, ledger, own.region, at=at)
        size = ledger.publish(at).checkpoint.size
    with database.reading() as connection:  # 6
        refused = [_refusal(each) for each in outbox.refused_entries(connection)]
        files = write_public_files(connection, settings.public, vouched=settings.vouched, prove=ledger.tlog_proof)
    return Published(
        entries=sent,
        size=size,
        status_lists=lists,
        bundle=None if bundle is None else bundle.seq,
        vouched=vouching.origins,
        files=tuple(files),
        problems=(*refused, *problems, *vouching.problems),
    )


def send(database: Database, ledger: LedgerClient, region: str, *, at: int) -> int:
    """Send the outbox to the log, for all departments and the region; answers how many entries it took, durably.

    Raises:
        UnauthenticatedError: a served log does not know the registry.
        LedgerError, StorageError, ConflictError: as `outbox.flush`.
    """
    with database.reading() as connection:
        issuers = frozenset(connection.execute(select(DEPARTMENT.c.id)).scalars())
    client = Client(client_name(region), issuers, region=region)
    try:
        return outbox.flush(database, lambda number, entries: ledger.submit(client, number, entries), at=at)
    except UnauthenticatedError as error:
        error.remedy = "The log's operator has to enrol this registry; chopmark issuer log-client prints how"
        raise


def _refusal(refused: outbox.RefusedEntries) -> str:
    which = _described(refused.first)
    if refused.count > 1:
        which = f"{refused.count} entries, the first of them {which}"
    return f"the log refuses {which}: {refused.reason}. It is asked again with the next publication"


def _described(data: bytes) -> str:
    try:
        entry = parse_entry(data)
    except FormatError:
        return f"{len(data)} bytes that are no entry"
    match entry:
        case CredentialEntry():
            return f"credential {entry.digest.hex()[:16]} of {entry.issuer}"
        case StatusListEntry():
            return f"status list {entry.uri}"
        case TrustBundleEntry():
            return f"trust bundle {entry.seq}"
        case LandmarkFileEntry():
            return f"the landmark file of {entry.origin}"
        case _:
            return "a trust statement"


def _credentials_wait_for_landmark(database: Database, ledger: LedgerClient) -> bool:
    end = LandmarkFile.parse(ledger.landmark_file()).end
    query = select(OUTBOX.c.id).join(CREDENTIAL, CREDENTIAL.c.outbox_id == OUTBOX.c.id)
    with database.reading() as connection:
        return connection.execute(query.where(OUTBOX.c.log_index >= end).limit(1)).first() is not None
