"""The tables of the registry.

Times are POSIX seconds, days are days since 1970-01-01, keys and digests are raw bytes, `kid` is 16 hex digits.
Bulk work uses the Core tables at the end of this module, never one object a row. Columns are alike on SQLite and
PostgreSQL (`column_types`), and ids are drawn by `row_ids`.

A *licence* has *versions* (one per issue, renewal or change); a version has *credentials* (one per holder key, or one
bearer credential); each credential has one status index and one *outbox* row, which becomes its log entry. *Acts* are
what happened to a licence, each with two times: when the registry learned it, and from when it has effect.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Integer, MetaData, UniqueConstraint, text
from sqlalchemy.orm import registry
from sqlmodel import AutoString, Field, SQLModel

from chopmark_issuer.storage.column_types import INTEGER, TEXT

_REGISTRY = registry(
    metadata=MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
)


class Table(SQLModel, registry=_REGISTRY):
    """The base of all tables: a registry of its own, so that the ledger's tables in the same process stay apart."""


class RegionRow(Table, table=True):
    """The one region this registry belongs to (`id` is always 1).

    `log_pq_vkey` is the ML-DSA-44 key of its log, where that has one; `log_url` where the log is served, null where it
    runs in the registry's own process.
    """

    __tablename__ = "region"
    id: int = Field(primary_key=True)
    region: str
    name_zh_hans: str
    name_en: str
    host: str
    origin: str
    log_number: int
    log_vkey: str
    policy: str
    created_at: int = Field(sa_type=BigInteger)
    log_pq_vkey: str | None = None
    log_url: str | None = None


class WitnessRow(Table, table=True):
    """A witness that cosigns the region's log in its own process: its vkey, and the folder it runs in."""

    __tablename__ = "witness"
    vkey: str = Field(primary_key=True)
    folder: str


class RootEpochRow(Table, table=True):
    """A root epoch as it was signed."""

    __tablename__ = "root_epoch"
    epoch: int = Field(primary_key=True)
    note: bytes
    outbox_id: int = Field(foreign_key="outbox.id")


class DepartmentRow(Table, table=True):
    """An issuer: `<region>/<organisation code>`."""

    __tablename__ = "department"
    id: str = Field(primary_key=True)
    name_zh_hans: str
    name_en: str
    created_at: int = Field(sa_type=BigInteger)


class DepartmentStateRow(Table, table=True):
    """From when a department is active, suspended or withdrawn."""

    __tablename__ = "department_state"
    __table_args__ = (UniqueConstraint("department_id", "since"),)
    id: int = Field(primary_key=True)
    department_id: str = Field(foreign_key="department.id")
    state: str
    since: int = Field(sa_type=BigInteger)
    reason: str | None = None


class LicenceTypeRow(Table, table=True):
    """One schema version of a licence type; `definition` is the JSON as the catalogue took it."""

    __tablename__ = "licence_type"
    __table_args__ = (UniqueConstraint("type_id", "schema_version"),)
    id: int = Field(primary_key=True)
    type_id: str
    schema_version: int
    definition: bytes
    added_at: int = Field(sa_type=BigInteger)


class GrantRow(Table, table=True):
    """Which department may issue which type, when."""

    __tablename__ = "department_grant"
    __table_args__ = (UniqueConstraint("department_id", "type_id", "valid_from"),)
    id: int = Field(primary_key=True)
    department_id: str = Field(foreign_key="department.id")
    type_id: str
    valid_from: int = Field(sa_type=BigInteger)
    valid_until: int | None = Field(default=None, sa_type=BigInteger)


class KeyRow(Table, table=True):
    """A public key of the inventory; its private half is a file in the key folder, under its kid.

    `owner` is a department for the uses `credential`, `status` and `inspector`, the region for all others.
    """

    __tablename__ = "key"
    __table_args__ = (Index("ix_key_owner_use", "owner", "use"),)
    kid: str = Field(primary_key=True)
    owner: str
    use: str
    algorithm: str
    public_key: bytes
    not_before: int = Field(sa_type=BigInteger)
    not_after: int = Field(sa_type=BigInteger)
    revoked_at: int | None = Field(default=None, sa_type=BigInteger)
    revoked_reason: str | None = None
    trusted: str | None = None


class LicenceRow(Table, table=True):
    """A licence: what stays the same through its versions; `state` is what the acts so far add up to."""

    __tablename__ = "licence"
    __table_args__ = (
        UniqueConstraint("type_id", "identifier"),
        Index("ix_licence_department_state", "department_id", "state"),
        Index("ix_licence_department_type", "department_id", "type_id"),
    )
    id: int = Field(primary_key=True)
    department_id: str = Field(foreign_key="department.id", index=True)
    type_id: str
    identifier: str
    state: str
    current_version: int
    created_at: int = Field(sa_type=BigInteger)


class SerialRow(Table, table=True):
    """The last serial that was drawn for the licences of a department and type."""

    __tablename__ = "serial"
    department_id: str = Field(primary_key=True, foreign_key="department.id")
    type_id: str = Field(primary_key=True)
    last: int


class LicenceVersionRow(Table, table=True):
    """What a licence says from one issue, renewal or change to the next; `fields` is CBOR.

    `begins` and `ends` are the moments that the first and last day begin and end at, in the zone of the type.
    """

    __tablename__ = "licence_version"
    __table_args__ = (UniqueConstraint("licence_id", "version"),)
    id: int = Field(primary_key=True)
    licence_id: int = Field(foreign_key="licence.id")
    version: int
    number: str = Field(index=True)
    schema_version: int
    fields: bytes
    issued_on: int
    first_day: int
    last_day: int | None = None
    begins: int = Field(sa_type=BigInteger)
    ends: int | None = Field(default=None, sa_type=BigInteger)
    supersedes: str | None = None
    created_at: int = Field(sa_type=BigInteger)


class HolderRow(Table, table=True):
    """A holder of a licence version: name, code, and the kind of code (`111` citizen, `001` organisation)."""

    __tablename__ = "holder"
    version_id: int = Field(primary_key=True, foreign_key="licence_version.id")
    position: int = Field(primary_key=True)
    name: str = Field(index=True)
    code: str | None = Field(default=None, index=True)
    code_kind: str | None = None


class OutboxRow(Table, table=True):
    """An entry for the log. Its batch and position are given once; `log_index` is the log's answer.

    An entry that the log refuses keeps the reason in `refused`, until it is given a place in another batch.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("batch_number", "position"),
        Index(
            "ix_outbox_waiting",
            "id",
            sqlite_where=text("batch_number IS NULL"),
            postgresql_where=text("batch_number IS NULL"),
        ),
        Index(
            "ix_outbox_refused",
            "id",
            sqlite_where=text("refused IS NOT NULL"),
            postgresql_where=text("refused IS NOT NULL"),
        ),
    )
    id: int = Field(primary_key=True)
    entry: bytes
    batch_number: int | None = Field(default=None, foreign_key="outbox_batch.number")
    position: int | None = None
    log_index: int | None = None
    refused: str | None = None


class OutboxBatchRow(Table, table=True):
    """A batch of outbox rows; `digest` binds its number to its contents."""

    __tablename__ = "outbox_batch"
    number: int = Field(primary_key=True)
    size: int
    digest: bytes
    created_at: int = Field(sa_type=BigInteger)
    answered_at: int | None = Field(default=None, sa_type=BigInteger)


class StatusListRow(Table, table=True):
    """A status list of 2^20 entries, of one department and freshness class."""

    __tablename__ = "status_list"
    number: int = Field(primary_key=True)
    department_id: str = Field(foreign_key="department.id")
    freshness: str
    uri: str = Field(unique=True)
    used: int
    created_at: int = Field(sa_type=BigInteger)


class StatusTokenRow(Table, table=True):
    """The newest signed token of a status list; `contents` is the digest of the statuses it shows."""

    __tablename__ = "status_token"
    list_number: int = Field(primary_key=True, foreign_key="status_list.number")
    issued_at: int = Field(sa_type=BigInteger)
    expires: int = Field(sa_type=BigInteger)
    contents: bytes
    token: bytes
    outbox_id: int = Field(foreign_key="outbox.id")


class CredentialRow(Table, table=True):
    """One signed credential, without proofs; `status` is what the status list shows for it.

    `withdrawn_at` ends this credential alone (a lost phone), whatever happens to the licence.
    """

    __tablename__ = "credential"
    __table_args__ = (
        UniqueConstraint("status_list", "status_index"),
        Index(
            "ix_credential_shown",
            "status_list",
            "status",
            sqlite_where=text("status <> 0"),
            postgresql_where=text("status <> 0"),
        ),
    )
    id: int = Field(primary_key=True)
    version_id: int = Field(foreign_key="licence_version.id", index=True)
    digest: bytes = Field(unique=True)
    body: bytes
    kid: str
    holder_thumbprint: bytes | None = None
    status_list: int | None = Field(default=None, foreign_key="status_list.number")
    status_index: int | None = None
    status: int = 0
    issued_at: int = Field(sa_type=BigInteger)
    withdrawn_at: int | None = Field(default=None, sa_type=BigInteger)
    outbox_id: int = Field(foreign_key="outbox.id", unique=True)


class ActRow(Table, table=True):
    """What happened to a licence; `applied` once the status lists were told."""

    __tablename__ = "act"
    __table_args__ = (
        Index("ix_act_due", "effective_from", sqlite_where=text("NOT applied"), postgresql_where=text("NOT applied")),
    )
    id: int = Field(primary_key=True)
    licence_id: int = Field(foreign_key="licence.id", index=True)
    version: int
    kind: str
    learned_at: int = Field(sa_type=BigInteger)
    effective_from: int = Field(sa_type=BigInteger)
    applied: bool
    reason: str | None = None


class PeerRow(Table, table=True):
    """Another region: the pin of its roots, its logs, and the folder that it publishes to."""

    __tablename__ = "peer"
    region: str = Field(primary_key=True)
    epoch: int
    roots: str
    threshold: int
    origins: str
    policy_floor: str
    bundle_url: str
    folder: str
    valid_from: int = Field(sa_type=BigInteger)
    valid_until: int | None = Field(default=None, sa_type=BigInteger)


class BundleRow(Table, table=True):
    """A trust bundle as it was signed; only the newest is published."""

    __tablename__ = "bundle"
    sequence: int = Field(primary_key=True)
    issued_at: int = Field(sa_type=BigInteger)
    note: bytes
    outbox_id: int = Field(foreign_key="outbox.id")


class StatementRow(Table, table=True):
    """A signed statement of a change of trust, as it went to the log."""

    __tablename__ = "statement"
    id: int = Field(primary_key=True)
    sequence: int = Field(index=True)
    note: bytes
    outbox_id: int = Field(foreign_key="outbox.id")


class LandmarkVouchingRow(Table, table=True):
    """How far this region has recomputed the landmark file of a log, its own or a peer's, and vouched for it."""

    __tablename__ = "landmark_vouching"
    origin: str = Field(primary_key=True)
    region: str
    log_number: int
    records: int
    digest: bytes
    checkpoint_size: int
    witnessed_from: int = Field(sa_type=BigInteger)
    outbox_id: int = Field(foreign_key="outbox.id")


class ClientRow(Table, table=True):
    """A client of the service: a system of a department, what it may do, and its public keys.

    `types` are the licence types that it is narrowed to, null for all that the department holds; `types`, `rights` and
    `keys` (JSON Web Keys) are JSON arrays.
    """

    __tablename__ = "client"
    name: str = Field(primary_key=True)
    department_id: str = Field(foreign_key="department.id")
    types: str | None = None
    rights: str
    keys: str
    added_at: int = Field(sa_type=BigInteger)


class KeptAnswerRow(Table, table=True):
    """What a client was answered under an idempotency key; the parts of a stream are counted from 0.

    `digest` is that of the request, of a stream up to the end of this part. No answer holds data of holders.
    """

    __tablename__ = "kept_answer"
    client: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    part: int = Field(primary_key=True)
    digest: bytes
    status: int
    body: bytes
    location: str | None = None
    kept_at: int = Field(sa_type=BigInteger, index=True)


class ImportedRowRow(Table, table=True):
    """A row of a source file that became a licence version: the same row again changes nothing.

    `sort_key` is its place among the rows of its licence; `contents` and `status` are digests of what it said.
    """

    __tablename__ = "imported_row"
    type_id: str = Field(primary_key=True)
    row_key: str = Field(primary_key=True)
    licence_id: int = Field(foreign_key="licence.id", index=True)
    version: int
    sort_key: str
    contents: bytes
    status: bytes


class ImportRunRow(Table, table=True):
    """The history of imports."""

    __tablename__ = "import_run"
    id: int = Field(primary_key=True)
    file_name: str
    file_digest: bytes
    type_id: str
    started_at: int = Field(sa_type=BigInteger)
    finished_at: int | None = Field(default=None, sa_type=BigInteger)
    rows: int = 0
    issued: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0


for _column in (column for table in Table.metadata.tables.values() for column in table.columns):
    # here and not at each field: no column may be forgotten
    if isinstance(_column.type, Integer) and not isinstance(_column.type, BigInteger):
        _column.type = INTEGER
        _column.autoincrement = False
    elif isinstance(_column.type, AutoString):
        _column.type = TEXT

_TABLES = Table.metadata.tables
REGION = _TABLES["region"]
WITNESS = _TABLES["witness"]
ROOT_EPOCH = _TABLES["root_epoch"]
DEPARTMENT = _TABLES["department"]
DEPARTMENT_STATE = _TABLES["department_state"]
LICENCE_TYPE = _TABLES["licence_type"]
GRANT = _TABLES["department_grant"]
KEY = _TABLES["key"]
LICENCE = _TABLES["licence"]
LICENCE_VERSION = _TABLES["licence_version"]
SERIAL = _TABLES["serial"]
HOLDER = _TABLES["holder"]
OUTBOX = _TABLES["outbox"]
OUTBOX_BATCH = _TABLES["outbox_batch"]
STATUS_LIST = _TABLES["status_list"]
STATUS_TOKEN = _TABLES["status_token"]
CREDENTIAL = _TABLES["credential"]
ACT = _TABLES["act"]
PEER = _TABLES["peer"]
BUNDLE = _TABLES["bundle"]
STATEMENT = _TABLES["statement"]
LANDMARK_VOUCHING = _TABLES["landmark_vouching"]
CLIENT = _TABLES["client"]
KEPT_ANSWER = _TABLES["kept_answer"]
IMPORTED_ROW = _TABLES["imported_row"]
IMPORT_RUN = _TABLES["import_run"]
