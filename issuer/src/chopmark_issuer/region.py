"""A region: its roots, log, departments and peers, and the publishing of all that others verify with.

data/registry.db     the registry, unless it is in PostgreSQL
data/keys/           private keys, encrypted
data/log/            the region's log, unless it is served; data/log/public/ is what log clients fetch
data/public/         what verifiers fetch (chopmark.refresh)

with Region.open(settings) as region:
    region.publish()
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from chopmark.bundle_entries import IssuerState
from chopmark.credential import Credential
from chopmark.errors import KeyMaterialError, StorageError
from chopmark.identifiers import REGION as REGION_FORM
from chopmark.identifiers import host_of
from chopmark.issuer_key import Revocation, RevocationReason, TrustedSize
from chopmark.keys import Algorithm, PublicKey
from chopmark.licence_type import LocalisedText
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.client import (
    LocalLedger,
    RemoteLedger,
    WitnessClient,
    add_log_to_witness,
)
from sqlalchemy import Connection, insert, select

from chopmark_issuer.catalogue import departments
from chopmark_issuer.catalogue.catalogue import CatalogueType, add_type, read_type
from chopmark_issuer.catalogue.departments import Actor
from chopmark_issuer.catalogue.names import check_names
from chopmark_issuer.errors import ConflictError, NotFoundError, RefusedError
from chopmark_issuer.keys import keys
from chopmark_issuer.keys.key_provider import KeyProvider, open_keys
from chopmark_issuer.keys.keys import REGION_USES, InventoryKey, InventoryUse
from chopmark_issuer.licences.records import StoredCredential
from chopmark_issuer.licences.registry import Registry
from chopmark_issuer.publishing import peers
from chopmark_issuer.publishing.peers import WatchedLog
from chopmark_issuer.publishing.public_files import write_root_epochs
from chopmark_issuer.publishing.publishing import Published, publish, send
from chopmark_issuer.publishing.region_log import (
    LogService,
    RegionLog,
    create_own,
    new_client_key,
    open_own,
    open_served,
    plan_own,
    served_log,
)
from chopmark_issuer.publishing.root_keys import begin_epoch
from chopmark_issuer.publishing.witnesses import FolderWitness
from chopmark_issuer.settings import Settings
from chopmark_issuer.storage.database import Database
from chopmark_issuer.storage.models import REGION, WITNESS
from chopmark_issuer.storage.registry_database import open_registry

KEY_LIFETIME = 3 * 366 * 86_400
"""Seconds that a department's key may sign, unless another end is named."""


@dataclass(frozen=True, slots=True)
class RegionPlan:
    """What a region is made from.

    `region` is its ISO 3166-2 code. Its log is either made here, to run in this process: then `witnesses` are the
    folders of witnesses that others run, and `quorum` is how many of their operators must cosign, more than half where
    it is None. Or it is the one that `log_service` tells of, whose policy says the same. The trust bundle is signed by
    `root_threshold` of `root_keys` keys.
    """

    region: str
    name: LocalisedText
    witnesses: tuple[Path, ...] = ()
    host: str | None = None
    quorum: int | None = None
    root_keys: int = 3
    root_threshold: int = 2
    log_service: LogService | None = None


def system_clock() -> int:
    """The time of this machine, POSIX seconds."""
    return int(time.time())


class Region:
    """An open region; a context manager that closes it. The log is opened when it is first needed."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        clock: Callable[[], int],
        random: Callable[[int], bytes],
        witnesses: Sequence[WitnessClient] | None,
    ) -> None:
        self.settings = settings
        self.database = database
        self.clock = clock
        self.keys: KeyProvider = open_keys(settings)
        self.registry = Registry(database, self.keys, random=random)
        self._random = random
        self._witnesses = witnesses
        self._ledger: LocalLedger | RemoteLedger | None = None
        with database.reading() as connection:
            row = connection.execute(select(REGION)).first()
        if row is None:
            raise NotFoundError(
                "there is no region", where=str(settings.data), remedy="Make one: chopmark issuer init DATA"
            )
        self.region: str = row.region
        self.name = LocalisedText(row.name_zh_hans, row.name_en)
        self.host: str = row.host
        self.log = RegionLog.of(row)

    @classmethod
    def create(
        cls,
        settings: Settings,
        plan: RegionPlan,
        *,
        clock: Callable[[], int] = system_clock,
        random: Callable[[int], bytes] = os.urandom,
    ) -> Region:
        """Make a region with its root keys, and its log or the key by which a served log knows it, and open it.

        Each witness in a folder is told of the log; its operator may do that beforehand (`chopmark witness add-log`).
        Of a served log nothing is asked yet; its operator enrols `log_client_key`.

        Raises:
            ConflictError: there is a region already.
            RefusedError: a code that is none, a blank name, witnesses that make no quorum, or a served log that cannot
                be this region's.
            FormatError, KeyMaterialError: what is told of the served log is malformed.
            StorageError: the folder cannot be written.
        """
        if REGION_FORM.fullmatch(plan.region) is None:
            raise RefusedError(f"{plan.region[:40]!r} is not a code such as CN-GD or US-IL", where="region")
        check_names(plan.name)
        at = clock()
        served = None
        if plan.log_service is not None:
            if plan.witnesses or plan.quorum is not None:
                raise RefusedError("the witnesses of a served log stand in its policy", where="witness")
            served = served_log(plan.log_service, host=plan.host, created=at)
        host = plan.host or (f"{plan.region.lower()}.example" if served is None else host_of(served.origin))
        _make_folder(settings.data)
        database = open_registry(settings, create=True)
        try:
            with closing(open_keys(settings)) as provider, database.writing() as connection:
                if connection.execute(select(REGION.c.id)).first() is not None:
                    raise ConflictError(
                        "there is a region already", where=str(settings.data), remedy="Choose another folder"
                    )
                log = served
                if log is None:
                    log = plan_own(connection, provider, plan.region, plan.witnesses, plan.quorum, host=host, at=at)
                else:
                    client_key = new_client_key(connection, provider, plan.region, at=at)
                    open_served(log, client_key, settings, region=plan.region, random=random).close()
                connection.execute(
                    insert(REGION).values(
                        id=1,
                        region=plan.region,
                        name_zh_hans=plan.name.zh_hans,
                        name_en=plan.name.en,
                        host=host,
                        origin=log.origin,
                        log_number=log.number,
                        log_vkey=log.vkey,
                        log_pq_vkey=log.pq_vkey,
                        log_url=log.url,
                        policy=log.policy,
                        created_at=at,
                    )
                )
                begin_epoch(
                    connection,
                    provider,
                    region=plan.region,
                    host=host,
                    count=plan.root_keys,
                    threshold=plan.root_threshold,
                    at=at,
                )
                write_root_epochs(connection, settings.public)
                if served is None:
                    create_own(log, provider, settings.log, clock=clock, random=random)
                    for witness in plan.witnesses:
                        for vkey in log.vkeys:
                            add_log_to_witness(witness, vkey)
            return cls(settings, database, clock=clock, random=random, witnesses=None)
        except BaseException:
            database.close()
            raise

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        clock: Callable[[], int] = system_clock,
        random: Callable[[int], bytes] = os.urandom,
        witnesses: Sequence[WitnessClient] | None = None,
    ) -> Region:
        """Open a region; `witnesses` takes the place of those in the folders it was made with.

        Raises:
            NotFoundError: there is none.
            ConflictError: one is in the folder, and a URL names another.
            DatabaseError: the registry's database cannot be used.
        """
        database = open_registry(settings)
        try:
            return cls(settings, database, clock=clock, random=random, witnesses=witnesses)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Close the database and the keys, and the log if it was opened."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
        self.keys.close()
        self.database.close()

    def __enter__(self) -> Region:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def origin(self) -> str:
        """The origin of the region's log."""
        return self.log.origin

    @property
    def policy(self) -> str:
        """The tlog-policy of the region's log."""
        return self.log.policy

    @property
    def ledger(self) -> LocalLedger | RemoteLedger:
        """The region's log: a client of it where it is served, else locked for this process from the first use on, with
        witnesses that are opened when they cosign.

        Raises:
            FolderLockedError: another process has it open.
            LedgerError, KeyMaterialError, StorageError: it cannot be opened.
        """
        if self._ledger is None:
            key = self.keys.signer(self._log_key().kid)
            if self.log.url is not None:
                self._ledger = open_served(self.log, key, self.settings, region=self.region, random=self._random)
            else:
                witnesses = self._folder_witnesses() if self._witnesses is None else self._witnesses
                self._ledger = open_own(
                    self.log, key, self.keys, self.settings.log, witnesses, clock=self.clock, random=self._random
                )
        return self._ledger

    @property
    def log_client_key(self) -> PublicKey | None:
        """The key by which a served log knows this registry; None where the log runs in this process.

        Raises:
            NotFoundError: its window has ended.
        """
        return None if self.log.url is None else self._log_key().public_key

    def actor(self, department: str) -> Actor:
        """An actor for everything that the department is granted now.

        Raises:
            NotFoundError: no such department.
        """
        with self.database.reading() as connection:
            return departments.authorise(connection, department, at=self.clock())

    def add_department(self, identifier: str, name: LocalisedText) -> None:
        """Enrol a department with a key for credentials, one for status lists and one for its inspectors.

        Raises:
            RefusedError: its id is not `<region>/<organisation code>` of this region, or a name is blank.
            ConflictError: it is enrolled already.
            KeyMaterialError: the passphrase is not that of the region's keys.
        """
        self._check_passphrase()
        at = self.clock()
        with self.database.writing() as connection:
            departments.add_department(connection, identifier, name, region=self.region, at=at)
            for use in (InventoryUse.CREDENTIAL, InventoryUse.STATUS, InventoryUse.INSPECTOR):
                self._add_key(connection, identifier, use, at)

    def set_department_state(self, identifier: str, state: IssuerState, *, reason: str | None = None) -> None:
        """Suspend, withdraw or reactivate a department from now on; see `departments.set_state`."""
        with self.database.writing() as connection:
            departments.set_state(connection, identifier, state, at=self.clock(), reason=reason)

    def add_type(self, data: bytes, *, where: str = "licence type") -> CatalogueType:
        """Take a licence type file into the catalogue; the same again changes nothing.

        Raises:
            CatalogueError, ConflictError: as `catalogue.read_type` and `catalogue.add_type`.
        """
        entry = read_type(data, where=where)
        with self.database.writing() as connection:
            add_type(connection, entry, region=self.region, at=self.clock())
        return entry

    def grant(
        self, department: str, type_id: str, *, valid_from: int | None = None, valid_until: int | None = None
    ) -> None:
        """Let a department issue a type, from now on unless another time is named; see `departments.grant_type`."""
        begin = self.clock() if valid_from is None else valid_from
        with self.database.writing() as connection:
            departments.grant_type(connection, department, type_id, valid_from=begin, valid_until=valid_until)

    def end_grant(self, department: str, type_id: str) -> None:
        """End a grant now; see `departments.end_grant`."""
        with self.database.writing() as connection:
            departments.end_grant(connection, department, type_id, at=self.clock())

    def add_key(self, department: str, use: InventoryUse, *, algorithm: Algorithm = Algorithm.ED25519) -> InventoryKey:
        """Make a new key for a department; the newest signs from now on, and old ones stay known.

        Raises:
            RefusedError: a use that is the region's.
            NotFoundError: no such department.
            KeyMaterialError: the passphrase is not that of the region's keys.
        """
        if use in REGION_USES:
            raise RefusedError(f"a {use.value} key belongs to the region", where="use")
        self._check_passphrase()
        with self.database.writing() as connection:
            departments.authorise(connection, department, at=self.clock())
            return self._add_key(connection, department, use, self.clock(), algorithm)

    def keys_of(self, department: str) -> list[InventoryKey]:
        """The keys of a department, oldest first."""
        with self.database.reading() as connection:
            return keys.inventory(connection, owner=department)

    def revoke_key(self, kid: str, reason: RevocationReason, *, trusted_size: int | None) -> None:
        """End a key now; what it signed counts only in the region's log below `trusted_size`, nowhere if None.

        Raises:
            NotFoundError: no such key.
            ConflictError: it was revoked already, otherwise.
        """
        trusted = () if trusted_size is None else (TrustedSize(self.origin, trusted_size),)
        with self.database.writing() as connection:
            keys.revoke_key(connection, kid, Revocation(self.clock(), reason, trusted))

    def rotate_roots(self, *, count: int = 3, threshold: int = 2) -> None:
        """Begin a new root epoch; see `root_keys.begin_epoch`. The next bundle is signed by it.

        Raises:
            RefusedError: a threshold that the keys can not reach.
            KeyMaterialError: the passphrase is not that of the region's keys.
        """
        self._check_passphrase()
        with self.database.writing() as connection:
            begin_epoch(
                connection,
                self.keys,
                region=self.region,
                host=self.host,
                count=count,
                threshold=threshold,
                at=self.clock(),
            )

    def add_peer(self, folder: Path, *, floor: str | None = None) -> str:
        """Take the region whose data folder this is as a peer; answers its code. See `peers.add_peer`."""
        with self.database.writing() as connection:
            return peers.add_peer(connection, folder, floor=floor, at=self.clock())

    def end_peer(self, region: str) -> None:
        """End a peering now; see `peers.end_peer`."""
        with self.database.writing() as connection:
            peers.end_peer(connection, region, at=self.clock())

    def new_ledger(self, *, patience: float | None = None) -> LocalLedger | RemoteLedger:
        """The region's log for another thread: a new client of it where it is served, which the caller closes, else the
        one of this process.

        Args:
            patience: seconds to wait for a served log at most, where that is less than the settings say.

        Raises: as `ledger`.
        """
        if self.log.url is None:
            return self.ledger
        key = self.keys.signer(self._log_key().kid)
        settings = self.settings
        if patience is not None:
            settings = replace(settings, log_patience=min(patience, settings.log_patience))
        return open_served(self.log, key, settings, region=self.region, random=self._random)

    def with_proofs(
        self, stored: StoredCredential, *, tlog_proof: bool = False, ledger: LocalLedger | RemoteLedger | None = None
    ) -> Credential:
        """A credential as its holder gets it: with its landmark proof, or a tlog-proof while there is no landmark.

        Args:
            stored: as the registry holds it.
            tlog_proof: add the tlog-proof beside a landmark proof; files and wallets keep both, a QR code has no room.
            ledger: the log, for a thread that has a client of its own.

        Raises:
            NotFoundError: the log does not hold it yet; `RefusedError` where it refuses to.
        """
        if stored.log_index is None:
            if stored.refused is not None:
                raise RefusedError(f"the log refuses the licence: {stored.refused}", where=self.origin)
            raise NotFoundError("the licence is not in the log yet", remedy="Publish first: chopmark issuer publish")
        credential = stored.credential
        ledger = self.ledger if ledger is None else ledger
        landmark = ledger.landmark_proof(stored.log_index)
        if landmark is not None:
            credential = credential.with_landmark_proof(landmark)
        if landmark is None or tlog_proof:
            credential = credential.with_tlog_proof(ledger.tlog_proof(stored.log_index))
        return credential

    def send(self, ledger: LocalLedger | RemoteLedger | None = None) -> int:
        """Send what waits to the log, which keeps it, without waiting until it is published; answers how many entries
        it took. A thread that has a client of its own hands it in.

        Raises:
            LedgerError, StorageError: the log is away, or takes nothing now; what waits is sent next time.
        """
        return send(self.database, self.ledger if ledger is None else ledger, self.region, at=self.clock())

    def publish(self, ledger: LocalLedger | RemoteLedger | None = None, *, landmark: bool = True) -> Published:
        """Bring the log, and everything that verifiers fetch, to what the registry holds; see `publishing.publish`."""
        policies = (TlogPolicy.parse(self.policy),)
        place = self.log.url or self.settings.log / "public"
        own = WatchedLog(self.region, self.log.number, self.origin, place, policies)
        used = self.ledger if ledger is None else ledger
        return publish(self.database, self.keys, used, self.settings, own, at=self.clock(), landmark=landmark)

    def _log_key(self) -> InventoryKey:
        """The key of the log, or the one that the log knows this registry by."""
        use = InventoryUse.LOG if self.log.url is None else InventoryUse.LOG_CLIENT
        with self.database.reading() as connection:
            return keys.key_in_use(connection, owner=self.region, use=use, at=self.clock())

    def _folder_witnesses(self) -> list[FolderWitness]:
        passphrase = self.settings.witness_passphrase or self.settings.passphrase
        vkeys: dict[str, list[str]] = {}
        with self.database.reading() as connection:
            for row in connection.execute(select(WITNESS).order_by(WITNESS.c.vkey)):
                vkeys.setdefault(row.folder, []).append(row.vkey)
        return [FolderWitness(Path(folder), known, passphrase, clock=self.clock) for folder, known in vkeys.items()]

    def _check_passphrase(self) -> None:
        """Open the log's key, so that no new key is ever encrypted under a mistyped passphrase."""
        log_key = self._log_key()
        try:
            self.keys.signer(log_key.kid)
        except KeyMaterialError as error:
            raise KeyMaterialError(
                f"the passphrase is not that of the keys of {self.region}; no key was made",
                where=str(self.settings.keys),
                remedy="Give the passphrase that the region was made with",
            ) from error

    def _add_key(
        self,
        connection: Connection,
        department: str,
        use: InventoryUse,
        at: int,
        algorithm: Algorithm = Algorithm.ED25519,
    ) -> InventoryKey:
        public_key = self.keys.generate(algorithm, use=use).public_key
        return keys.enrol_key(
            connection, public_key, owner=department, use=use, not_before=at, not_after=at + KEY_LIFETIME
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder cannot be made: {error.strerror}", where=str(folder)) from error
