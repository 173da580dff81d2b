"""Writing of licence versions: the bulk statements under issue, renewal, change and import.

Everything here runs in the caller's transaction, so that licence, version, holders, credential, status index, act and
outbox row stand together or not at all. The work is done per list of drafts, one statement a table, and one request to
whoever holds the key. It has two steps: credentials are made up to their signatures, which finds what does not fit into
one before anything is written; then all are signed, and written.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice

from chopmark import cbor
from chopmark.cbor import Value
from chopmark.credential import Claims, Credential, StatusReference, UnsignedCredential, Usage, draft_credential
from chopmark.entries import credential_entry
from chopmark.errors import FormatError
from chopmark.keys import PublicKey
from chopmark.licence_type import FreshnessClass, HolderBinding
from chopmark.status import StatusValue
from sqlalchemy import Connection

from chopmark_issuer.catalogue.catalogue import CatalogueType
from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.errors import FieldError
from chopmark_issuer.keys.key_provider import KeyProvider
from chopmark_issuer.keys.keys import InventoryUse, key_in_use
from chopmark_issuer.licences.status_lists import StatusIndex, reserve
from chopmark_issuer.lifecycle import Act, Term
from chopmark_issuer.storage import outbox
from chopmark_issuer.storage.bulk_rows import insert_rows
from chopmark_issuer.storage.models import ACT, CREDENTIAL, HOLDER, LICENCE_VERSION
from chopmark_issuer.storage.row_ids import next_ids

_CREDENTIAL_ID_SIZE = 16
_VERSION_COLUMNS = (
    "id",
    "licence_id",
    "version",
    "number",
    "schema_version",
    "fields",
    "issued_on",
    "first_day",
    "last_day",
    "begins",
    "ends",
    "supersedes",
    "created_at",
)
_HOLDER_COLUMNS = ("version_id", "position", "name", "code", "code_kind")
_CREDENTIAL_COLUMNS = (
    "id",
    "version_id",
    "digest",
    "body",
    "kid",
    "holder_thumbprint",
    "status_list",
    "status_index",
    "status",
    "issued_at",
    "outbox_id",
)
_ACT_COLUMNS = ("id", "licence_id", "version", "kind", "learned_at", "effective_from", "applied", "reason")


@dataclass(frozen=True, slots=True)
class VersionDraft:
    """A licence version that is to be written; days are days since 1970-01-01, `status` is what its list shows."""

    licence_id: int
    version: int
    number: str
    type: CatalogueType
    fields: Mapping[int, Value]
    issued_on: int
    first_day: int
    last_day: int | None
    term: Term
    holders: tuple[Holder, ...]
    holder_keys: tuple[PublicKey, ...]
    supersedes: str | None = None
    status: StatusValue = StatusValue.VALID


@dataclass(frozen=True, slots=True)
class CredentialDraft:
    """A credential that is to be signed for a version; without a holder key it is a bearer credential."""

    version_id: int
    number: str
    type: CatalogueType
    fields: Mapping[int, Value]
    term: Term
    holder_key: PublicKey | None
    usage: Usage | None = None
    status: StatusValue = StatusValue.VALID


@dataclass(frozen=True, slots=True)
class PreparedCredential:
    """A credential that lacks its signature and its rows; `kid` names the key that is to sign it."""

    draft: CredentialDraft
    kid: str
    place: StatusIndex | None
    unsigned: UnsignedCredential


@dataclass(frozen=True, slots=True)
class PreparedVersion:
    """A version that can be written, its credentials with it."""

    version_id: int
    draft: VersionDraft
    credentials: tuple[PreparedCredential, ...]


@dataclass(frozen=True, slots=True)
class WrittenVersion:
    """A version as it was written, with its credentials, which carry no proof of logging yet."""

    version_id: int
    draft: VersionDraft
    credentials: tuple[Credential, ...]


@dataclass(frozen=True, slots=True)
class ActDraft:
    """An act that is to be written; times are POSIX seconds."""

    licence_id: int
    version: int
    act: Act
    learned_at: int
    effective_from: int
    applied: bool = True
    reason: str | None = None


def check_binding(licence_type: CatalogueType, holder_keys: Sequence[PublicKey]) -> None:
    """Check that a licence names holder keys exactly where its type is bound to them.

    Raises:
        FieldError: a bound type without a key, a bearer type with one, or one key twice.
    """
    if licence_type.type.holder is HolderBinding.BEARER:
        if holder_keys:
            raise FieldError("a bearer licence names no holder key", where="holder key")
    elif not holder_keys:
        raise FieldError(
            "the licence is bound to its holder's key, and none is given",
            where="holder key",
            remedy="Ask the holder's wallet for its public key (a COSE_Key)",
        )
    if len({key.thumbprint for key in holder_keys}) != len(holder_keys):
        raise FieldError("one holder key stands twice", where="holder key")


def write_versions(
    connection: Connection,
    keys: KeyProvider,
    department: str,
    drafts: Sequence[VersionDraft],
    *,
    at: int,
    random: Callable[[int], bytes] = os.urandom,
) -> list[WrittenVersion]:
    """Write versions with their holders, and sign, register and enqueue their credentials.

    Raises:
        FieldError: what is said does not fit into a credential; nothing is written.
        NotFoundError: the department has no credential key in use.
    """
    prepared = []
    for outcome in prepare_versions(connection, department, drafts, at=at, random=random):
        if isinstance(outcome, FieldError):
            raise outcome
        prepared.append(outcome)
    return write_prepared(connection, keys, department, prepared, at=at)


def prepare_versions(
    connection: Connection,
    department: str,
    drafts: Sequence[VersionDraft],
    *,
    at: int,
    random: Callable[[int], bytes] = os.urandom,
) -> list[PreparedVersion | FieldError]:
    """Draw ids and status indexes for versions and make their credentials up to the signature.

    For each draft, in order: what `write_prepared` writes, or why it does not fit into a credential. Nothing else may
    prepare versions in that transaction until these are written: they would get the same ids.

    Raises:
        NotFoundError: the department has no credential key in use.
    """
    if not drafts:
        return []
    wanted = [
        CredentialDraft(version_id, draft.number, draft.type, draft.fields, draft.term, holder_key, status=draft.status)
        for version_id, draft in zip(next_ids(connection, LICENCE_VERSION, len(drafts)), drafts, strict=True)
        for holder_key in (draft.holder_keys or (None,))
    ]
    prepared = iter(_prepare(connection, department, wanted, at=at, random=random))
    outcomes: list[PreparedVersion | FieldError] = []
    for draft in drafts:
        own = list(islice(prepared, len(draft.holder_keys) or 1))
        good = [each for each in own if isinstance(each, PreparedCredential)]
        refused = next((each for each in own if isinstance(each, FieldError)), None)
        outcomes.append(refused or PreparedVersion(good[0].draft.version_id, draft, tuple(good)))
    return outcomes


def write_prepared(
    connection: Connection, keys: KeyProvider, department: str, prepared: Sequence[PreparedVersion], *, at: int
) -> list[WrittenVersion]:
    """Write what `prepare_versions` made, in the same transaction; the licences must be there."""
    if not prepared:
        return []
    unsigned = [credential for each in prepared for credential in each.credentials]
    with _signing(keys, unsigned) as signatures:
        versions = [_version_row(each.version_id, each.draft, at) for each in prepared]
        insert_rows(connection, LICENCE_VERSION, _VERSION_COLUMNS, versions)
        holders = [
            (each.version_id, position, holder.name, holder.code, holder.code_kind)
            for each in prepared
            for position, holder in enumerate(each.draft.holders)
        ]
        insert_rows(connection, HOLDER, _HOLDER_COLUMNS, holders)
        signed = iter(_write_credentials(connection, signatures, department, unsigned, at=at))
    return [
        WrittenVersion(each.version_id, each.draft, tuple(islice(signed, len(each.credentials)))) for each in prepared
    ]


def write_credentials(
    connection: Connection,
    keys: KeyProvider,
    department: str,
    drafts: Sequence[CredentialDraft],
    *,
    at: int,
    random: Callable[[int], bytes] = os.urandom,
) -> list[Credential]:
    """Sign credentials and write them with their status indexes and outbox rows.

    Raises:
        FieldError: what is said does not fit into a credential.
        NotFoundError: the department has no credential key in use.
    """
    prepared = []
    for outcome in _prepare(connection, department, drafts, at=at, random=random):
        if isinstance(outcome, FieldError):
            raise outcome
        prepared.append(outcome)
    if not prepared:
        return []
    with _signing(keys, prepared) as signatures:
        return _write_credentials(connection, signatures, department, prepared, at=at)


def _prepare(
    connection: Connection,
    department: str,
    drafts: Sequence[CredentialDraft],
    *,
    at: int,
    random: Callable[[int], bytes],
) -> list[PreparedCredential | FieldError]:
    """Draw status indexes, and make the credentials up to their signatures."""
    public_key = key_in_use(connection, owner=department, use=InventoryUse.CREDENTIAL, at=at).public_key
    places = _reserve(connection, department, drafts, at, random)
    return [
        _unsigned(public_key, department, draft, place, at=at, random=random)
        for draft, place in zip(drafts, places, strict=True)
    ]


def _unsigned(
    public_key: PublicKey,
    department: str,
    draft: CredentialDraft,
    place: StatusIndex | None,
    *,
    at: int,
    random: Callable[[int], bytes],
) -> PreparedCredential | FieldError:
    bound = draft.holder_key is not None
    claims = Claims(
        department,
        draft.type.type.vct,
        at,
        draft.number,
        draft.term.begin,
        draft.term.end,
        None if bound else random(_CREDENTIAL_ID_SIZE),
        draft.holder_key,
        None if place is None else StatusReference(place.index, place.uri),
        draft.usage,
        draft.fields,
    )
    try:
        unsigned = draft_credential(
            public_key,
            claims,
            selective=draft.type.selective_fields & draft.fields.keys() if bound else (),
            hide_licence_number=bound and draft.type.hides_number,
            random=random,
        )
    except FormatError as error:
        return FieldError(f"the credential can not be signed: {error.what}", where=error.where)
    return PreparedCredential(draft, public_key.kid.hex(), place, unsigned)


def _signing(
    keys: KeyProvider, prepared: Sequence[PreparedCredential]
) -> AbstractContextManager[Callable[[], list[bytes]]]:
    """Have credentials signed, by the one key they name, while their other rows are written."""
    return keys.signing(prepared[0].kid, [each.unsigned.to_sign for each in prepared])


def _write_credentials(
    connection: Connection,
    signatures: Callable[[], list[bytes]],
    department: str,
    prepared: Sequence[PreparedCredential],
    *,
    at: int,
) -> list[Credential]:
    entries = [credential_entry(department, each.unsigned.digest) for each in prepared]
    outbox_ids = outbox.enqueue(connection, entries)
    credentials = [each.unsigned.signed(signature) for each, signature in zip(prepared, signatures(), strict=True)]
    ids = next_ids(connection, CREDENTIAL, len(prepared))
    rows = [
        (
            row_id,
            each.draft.version_id,
            credential.digest,
            credential.encode(),
            each.kid,
            None if each.draft.holder_key is None else each.draft.holder_key.thumbprint,
            None if each.place is None else each.place.list_number,
            None if each.place is None else each.place.index,
            int(each.draft.status),
            at,
            outbox_id,
        )
        for row_id, each, credential, outbox_id in zip(ids, prepared, credentials, outbox_ids, strict=True)
    ]
    insert_rows(connection, CREDENTIAL, _CREDENTIAL_COLUMNS, rows)
    return credentials


def _version_row(version_id: int, draft: VersionDraft, at: int) -> tuple[object, ...]:
    return (
        version_id,
        draft.licence_id,
        draft.version,
        draft.number,
        draft.type.type.schema,
        cbor.encode(draft.fields),
        draft.issued_on,
        draft.first_day,
        draft.last_day,
        draft.term.begin,
        draft.term.end,
        draft.supersedes,
        at,
    )


def write_acts(connection: Connection, acts: Sequence[ActDraft]) -> None:
    """Write acts, in their order."""
    rows = [
        (
            row_id,
            act.licence_id,
            act.version,
            act.act.value,
            act.learned_at,
            act.effective_from,
            act.applied,
            act.reason,
        )
        for row_id, act in zip(next_ids(connection, ACT, len(acts)), acts, strict=True)
    ]
    insert_rows(connection, ACT, _ACT_COLUMNS, rows)


def _reserve(
    connection: Connection,
    department: str,
    drafts: Sequence[CredentialDraft],
    at: int,
    random: Callable[[int], bytes],
) -> list[StatusIndex | None]:
    """A status index for each draft whose type has statuses; one drawing for each freshness class."""
    counts: defaultdict[FreshnessClass, int] = defaultdict(int)
    for draft in drafts:
        if draft.type.type.status:
            counts[draft.type.type.freshness] += 1
    drawn = {
        freshness: iter(reserve(connection, department, freshness, count, at=at, random=random))
        for freshness, count in counts.items()
    }
    return [next(drawn[draft.type.type.freshness]) if draft.type.type.status else None for draft in drafts]
