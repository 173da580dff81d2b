"""The region's trust bundle: made from the registry, signed by the root keys, held against the one before it.

A bundle is signed anew when what it says changed, or a day has passed. Its digest (kind 4) and the statements of what
changed (kind 3) go into the outbox in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from chopmark.bundle_contents import BundleContents
from chopmark.bundle_entries import Peer, StatusSigner, StatusSource
from chopmark.entries import TrustBundleEntry, TrustStatementEntry
from chopmark.issuer_key import Key, KeyUse
from chopmark.licence_type import FreshnessClass, LocalisedText
from chopmark.note import NoteSigner, sign_note
from chopmark.root_epoch import Roots
from chopmark.trust_bundle import TrustBundle, sign_trust_bundle
from sqlalchemy import Connection, insert, select

from chopmark_issuer.catalogue.catalogue import all_types
from chopmark_issuer.catalogue.departments import all_departments, grants
from chopmark_issuer.keys.keys import InventoryKey, InventoryUse, inventory
from chopmark_issuer.licences.status_lists import FRESHNESS
from chopmark_issuer.publishing.region_log import RegionLog, bundle_log
from chopmark_issuer.publishing.statements import statement_texts, text_limit
from chopmark_issuer.storage import outbox
from chopmark_issuer.storage.models import BUNDLE, PEER, REGION, STATEMENT, STATUS_LIST
from chopmark_issuer.storage.row_ids import next_ids

REFRESH: Final = 24 * 3600
LIFETIME: Final = 30 * 24 * 3600
_IN_BUNDLE: Final = (InventoryUse.CREDENTIAL, InventoryUse.STATUS, InventoryUse.INSPECTOR)


def newest_bundle(connection: Connection, roots_by_epoch: dict[int, Roots]) -> TrustBundle | None:
    """The newest bundle that was signed, read again as a verifier would."""
    note = connection.execute(select(BUNDLE.c.note).order_by(BUNDLE.c.sequence.desc()).limit(1)).scalar()
    if note is None:
        return None
    return TrustBundle.parse_with(note, lambda _region, epoch: roots_by_epoch[epoch])


def sign_bundle(
    connection: Connection,
    *,
    roots_by_epoch: dict[int, Roots],
    signers: Callable[[], list[NoteSigner]],
    at: int,
) -> TrustBundle | None:
    """Sign a new bundle and enqueue its entries, where one is due; None where the newest still holds.

    Args:
        connection: of a writing transaction.
        roots_by_epoch: every root epoch of the region; the newest signs.
        signers: opens the root keys of the newest epoch; called only where a bundle is due.
        at: POSIX seconds.

    Raises:
        FormatError: what the registry holds makes no bundle.
        TrustError: the new bundle may not follow the one before; `RollbackError` where the clock was set back.
    """
    roots = roots_by_epoch[max(roots_by_epoch)]
    old = newest_bundle(connection, roots_by_epoch)
    contents = _contents(connection, sequence=1 if old is None else old.seq + 1, epoch=roots.epoch, at=at)
    if old is not None and at < old.refresh_after:
        dated = replace(contents, seq=old.seq, issued=old.issued, refresh_after=old.refresh_after, expires=old.expires)
        if dated == old.contents:
            return None
    opened = signers()
    bundle = sign_trust_bundle(contents, roots=roots, signers=opened)
    if old is not None:
        old.check_successor(bundle)
    # the statements carry the lines of the same keys as the bundle
    lines = len(bundle.data) - len(contents.text().encode("utf-8")) - 1
    texts = statement_texts(old.contents if old else None, contents, limit=text_limit(lines))
    statements = [sign_note(text, opened).encode() for text in texts]
    entries = [TrustStatementEntry(note).encode() for note in statements]
    entries.append(TrustBundleEntry(bundle.region, bundle.seq, bundle.digest).encode())
    *statement_ids, bundle_id = outbox.enqueue(connection, entries)
    connection.execute(insert(BUNDLE).values(sequence=bundle.seq, issued_at=at, note=bundle.data, outbox_id=bundle_id))
    row_ids = next_ids(connection, STATEMENT, len(statements))
    for row_id, note, outbox_id in zip(row_ids, statements, statement_ids, strict=True):
        connection.execute(insert(STATEMENT).values(id=row_id, sequence=bundle.seq, note=note, outbox_id=outbox_id))
    return bundle


def _contents(connection: Connection, *, sequence: int, epoch: int, at: int) -> BundleContents:
    region = connection.execute(select(REGION)).one()
    keys = [key for key in inventory(connection) if key.use in _IN_BUNDLE]
    return BundleContents(
        region=region.region,
        name=LocalisedText(region.name_zh_hans, region.name_en),
        seq=sequence,
        issued=at,
        refresh_after=at + REFRESH,
        expires=at + LIFETIME,
        epoch=epoch,
        logs=(bundle_log(RegionLog.of(region), created=region.created_at),),
        peers=tuple(peers(connection)),
        issuers=tuple(all_departments(connection)),
        keys=tuple(
            Key(
                key.public_key.kid,
                key.owner,
                KeyUse(key.use.value),
                key.public_key,
                key.not_before,
                key.not_after,
                key.revoked,
            )
            for key in keys
        ),
        types=tuple(entry.type for entry in all_types(connection)),
        grants=tuple(grants(connection)),
        status_lists=tuple(_status_sources(connection, keys)),
    )


def peers(connection: Connection) -> list[Peer]:
    """Every peer, closed ones too, as the bundle names them."""
    return [
        Peer(
            row.region,
            row.epoch,
            tuple(json.loads(row.roots)),
            row.threshold,
            tuple(json.loads(row.origins)),
            row.policy_floor,
            row.bundle_url,
            row.valid_from,
            row.valid_until,
        )
        for row in connection.execute(select(PEER).order_by(PEER.c.valid_from, PEER.c.region))
    ]


def _status_sources(connection: Connection, keys: list[InventoryKey]) -> list[StatusSource]:
    sources = []
    for row in connection.execute(select(STATUS_LIST).order_by(STATUS_LIST.c.number)):
        signers = tuple(
            StatusSigner(key.public_key.kid, key.not_before, _end(key))
            for key in keys
            if key.owner == row.department_id and key.use is InventoryUse.STATUS
        )
        ttl = FRESHNESS[FreshnessClass(row.freshness)].ttl
        sources.append(StatusSource(row.uri, (), row.department_id, signers, ttl))
    return sources


def _end(key: InventoryKey) -> int:
    if key.revoked is None:
        return key.not_after
    return max(key.not_before + 1, min(key.not_after, key.revoked.at))
