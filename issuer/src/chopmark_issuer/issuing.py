"""Writing of licence versions: the bulk statements under issue, renewal, change and import.

Everything here runs in the caller's transaction, so that licence, version, holders, credential, status index, act and
outbox row stand together or not at all. The work is done per list of drafts, one statement a table.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chopmark import cbor
from chopmark.cbor import Value
from chopmark.credential import Claims, Credential, StatusReference, Usage, issue_credential
from chopmark.entries import CredentialEntry
from chopmark.errors import FormatError
from chopmark.keys import PublicKey
from chopmark.licence_type import FreshnessClass, HolderBinding
from chopmark.status import StatusValue
from sqlalchemy import Connection, insert

from chopmark_issuer import outbox
from chopmark_issuer.catalogue import CatalogueType
from chopmark_issuer.errors import FieldError
from chopmark_issuer.holders import Holder
from chopmark_issuer.keys import InventoryUse, KeyFolder, key_in_use
from chopmark_issuer.lifecycle import Act, Term
from chopmark_issuer.models import ACT, CREDENTIAL, HOLDER, LICENCE_VERSION
from chopmark_issuer.status_lists import StatusIndex, reserve


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
    keys: KeyFolder,
    department: str,
    drafts: Sequence[VersionDraft],
    *,
    at: int,
    random: Callable[[int], bytes] = os.urandom,
) -> list[WrittenVersion]:
    """Write versions with their holders, and sign, register and enqueue their credentials.

    Raises:
        FieldError: what is said does not fit into a credential.
        NotFoundError: the department has no credential key in use.
    """
    if not drafts:
        return []
    statement = insert(LICENCE_VERSION).returning(LICENCE_VERSION.c.id, sort_by_parameter_order=True)
    rows = [
        {
            "licence_id": draft.licence_id,
            "version": draft.version,
            "number": draft.number,
            "schema_version": draft.type.type.schema,
            "fields": cbor.encode(dict(draft.fields)),
            "issued_on": draft.issued_on,
            "first_day": draft.first_day,
            "last_day": draft.last_day,
            "begins": draft.term.begin,
            "ends": draft.term.end,
            "supersedes": draft.supersedes,
            "created_at": at,
        }
        for draft in drafts
    ]
    version_ids = list(connection.execute(statement, rows).scalars())
    holders = [
        {
            "version_id": version_id,
            "position": position,
            "name": holder.name,
            "code": holder.code,
            "code_kind": holder.code_kind,
        }
        for version_id, draft in zip(version_ids, drafts, strict=True)
        for position, holder in enumerate(draft.holders)
    ]
    if holders:
        connection.execute(insert(HOLDER), holders)
    wanted = [
        CredentialDraft(version_id, draft.number, draft.type, draft.fields, draft.term, holder_key, status=draft.status)
        for version_id, draft in zip(version_ids, drafts, strict=True)
        for holder_key in (draft.holder_keys or (None,))
    ]
    signed: defaultdict[int, list[Credential]] = defaultdict(list)
    for credential_draft, credential in zip(
        wanted, write_credentials(connection, keys, department, wanted, at=at, random=random), strict=True
    ):
        signed[credential_draft.version_id].append(credential)
    return [
        WrittenVersion(version_id, draft, tuple(signed[version_id]))
        for version_id, draft in zip(version_ids, drafts, strict=True)
    ]


def write_credentials(
    connection: Connection,
    keys: KeyFolder,
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
    signer = keys.signer(key_in_use(connection, owner=department, use=InventoryUse.CREDENTIAL, at=at).kid)
    places = _reserve(connection, department, drafts, at, random)
    credentials = []
    for draft, place in zip(drafts, places, strict=True):
        claims = Claims(
            department,
            draft.type.type.vct,
            at,
            draft.number,
            draft.term.begin,
            draft.term.end,
            None,
            draft.holder_key,
            None if place is None else StatusReference(place.index, place.uri),
            draft.usage,
            draft.fields,
        )
        bound = draft.holder_key is not None
        try:
            credentials.append(
                issue_credential(
                    signer,
                    claims,
                    selective=draft.type.selective_fields & draft.fields.keys() if bound else (),
                    hide_licence_number=bound and draft.type.hides_number,
                    random=random,
                )
            )
        except FormatError as error:
            raise FieldError(f"the credential can not be signed: {error.what}", where=error.where) from error
    outbox_ids = outbox.enqueue(
        connection, [CredentialEntry(department, credential.digest).encode() for credential in credentials]
    )
    kid = signer.public_key.kid.hex()
    rows = [
        {
            "version_id": draft.version_id,
            "digest": credential.digest,
            "body": credential.encode(),
            "kid": kid,
            "holder_thumbprint": None if draft.holder_key is None else draft.holder_key.thumbprint,
            "status_list": None if place is None else place.list_number,
            "status_index": None if place is None else place.index,
            "status": int(draft.status),
            "issued_at": at,
            "outbox_id": outbox_id,
        }
        for draft, credential, place, outbox_id in zip(drafts, credentials, places, outbox_ids, strict=True)
    ]
    connection.execute(insert(CREDENTIAL), rows)
    return credentials


def write_acts(connection: Connection, acts: Sequence[ActDraft]) -> None:
    """Write acts, in their order."""
    if acts:
        connection.execute(
            insert(ACT),
            [
                {
                    "licence_id": act.licence_id,
                    "version": act.version,
                    "kind": act.act.value,
                    "learned_at": act.learned_at,
                    "effective_from": act.effective_from,
                    "applied": act.applied,
                    "reason": act.reason,
                }
                for act in acts
            ],
        )


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
