"""The root epochs of the region: which keys sign its trust bundle, and how many of their holders must.

Each signatory has two keys under one name, Ed25519 and ML-DSA-44, and signs with both; together they count once. Epochs
of an earlier version have Ed25519 keys alone, and are followed by one with both.
"""

from __future__ import annotations

from chopmark.entries import TrustStatementEntry
from chopmark.keys import Algorithm
from chopmark.note import NoteSigner, sign_note
from chopmark.root_epoch import Roots, root_epoch_text
from sqlalchemy import Connection, insert, select

from chopmark_issuer.errors import RefusedError
from chopmark_issuer.keys.key_provider import KeyProvider
from chopmark_issuer.keys.keys import InventoryUse, enrol_key
from chopmark_issuer.storage import outbox
from chopmark_issuer.storage.models import ROOT_EPOCH

_YEARS_OF_SECONDS = 10 * 366 * 86_400
"""A root key is replaced by a new epoch, not by its window, which only has to be long enough."""
_ALGORITHMS = (Algorithm.ED25519, Algorithm.ML_DSA_44)
_MOST_SIGNATORIES = 7
"""Eight signatories that follow eight make an epoch of 70 KB: more than a log entry holds."""


def begin_epoch(
    connection: Connection, keys: KeyProvider, *, region: str, host: str, count: int, threshold: int, at: int
) -> Roots:
    """Begin the next root epoch, signed by every signatory of the epoch before and of its own.

    Args:
        connection: of a writing transaction.
        keys: the region's private keys.
        region: its code.
        host: the host of its names.
        count: how many signatories to make new keys for, two each.
        threshold: how many of them must sign.
        at: POSIX seconds.

    Raises:
        RefusedError: a threshold that the signatories can not reach, or more of them than an epoch can have.
    """
    if not 1 <= threshold <= count:
        raise RefusedError(f"{threshold} of {count} root keys can not be", where="threshold")
    if count > _MOST_SIGNATORIES:
        raise RefusedError(
            f"{count} are more root keys than the log can hold an epoch of",
            where="roots",
            remedy=f"Make {_MOST_SIGNATORIES} or fewer",
        )
    epochs = root_epochs(connection)
    epoch = max(epochs, default=0) + 1
    new = []
    for position in range(1, count + 1):
        for algorithm in _ALGORITHMS:
            signer = keys.generate(algorithm, use=InventoryUse.ROOT)
            enrol_key(
                connection,
                signer.public_key,
                owner=region,
                use=InventoryUse.ROOT,
                not_before=at,
                not_after=at + _YEARS_OF_SECONDS,
            )
            new.append(NoteSigner(f"{host}/root/{epoch}-{position}", signer))
    text = root_epoch_text(
        region=region, epoch=epoch, issued=at, threshold=threshold, keys=[signer.vkey for signer in new]
    )
    old = root_signers(connection, keys) if epochs else []
    note = sign_note(text, [*old, *new]).encode()
    roots = epochs[epoch - 1].advance(note) if epochs else Roots.pin(note)
    (outbox_id,) = outbox.enqueue(connection, [TrustStatementEntry(note).encode()])
    connection.execute(insert(ROOT_EPOCH).values(epoch=epoch, note=note, outbox_id=outbox_id))
    return roots


def root_epochs(connection: Connection) -> dict[int, Roots]:
    """Every root epoch of the region, each verified under the one before."""
    epochs: dict[int, Roots] = {}
    for row in connection.execute(select(ROOT_EPOCH).order_by(ROOT_EPOCH.c.epoch)):
        before = epochs.get(row.epoch - 1)
        epochs[row.epoch] = Roots.pin(row.note) if before is None else before.advance(row.note)
    return epochs


def root_signers(connection: Connection, keys: KeyProvider) -> list[NoteSigner]:
    """The root keys of the newest epoch, opened."""
    epochs = root_epochs(connection)
    newest = epochs[max(epochs)]
    return [NoteSigner(verifier.name, keys.signer(verifier.public_key.kid.hex())) for verifier in newest.verifiers]
