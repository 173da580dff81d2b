"""Who a log is, and the keys it signs with: Ed25519, and ML-DSA-44 beside it where the log was created with one.

note = signer.sign(checkpoint, at=now)

— <origin> <Ed25519 signature, type 01>
— <origin> <time and ML-DSA-44 signature, type 06>
"""

from __future__ import annotations

from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.errors import KeyMaterialError
from chopmark.keys import Algorithm, Signer
from chopmark.landmark import LandmarkFile
from chopmark.note import Note, NoteSigner, sign_note

from chopmark_ledger.errors import FolderError
from chopmark_ledger.storage.store import LogIdentity


def make_identity(
    *, origin: str, number: int, key: Signer, created: int, pq_key: Signer | None = None, suite: int = 1
) -> LogIdentity:
    """Say who a new log is.

    Args:
        origin: of its checkpoints.
        number: of the log within its region.
        key: its Ed25519 key.
        created: when it began, in POSIX seconds.
        pq_key: its ML-DSA-44 key, if it is to have one; it cannot be given one later.
        suite: of its hashes.

    Raises:
        FormatError, KeyMaterialError: the number is no u32, the origin no key name, or a key of the wrong kind.
    """
    LandmarkFile.empty(number)
    _check_kind(key, Algorithm.ED25519, "the first key of a log is an Ed25519 key", origin)
    cosigner = _cosigner(origin, pq_key)
    pq_vkey = None if cosigner is None else cosigner.vkey
    return LogIdentity(origin, number, suite, NoteSigner(origin, key).vkey, pq_vkey, created)


class LogSigner:
    """Signs the checkpoints of one log, with all the keys it was created with: none is ever left out.

    Raises:
        FolderError: a key is missing, is another one, or is one that the log was not created with.
    """

    def __init__(self, identity: LogIdentity, key: Signer, pq_key: Signer | None, *, where: str) -> None:
        self._signer = NoteSigner(identity.origin, key)
        if self._signer.vkey != identity.vkey:
            raise FolderError(
                f"the key is {self._signer.vkey}, the log was created with {identity.vkey}",
                where=where,
                remedy="Open the log with its own key",
            )
        self._cosigner = _cosigner(identity.origin, pq_key)
        if (None if self._cosigner is None else self._cosigner.vkey) != identity.pq_vkey:
            if self._cosigner is None:
                what, remedy = "its ML-DSA-44 key is missing", "Open the log with both of its keys"
            elif identity.pq_vkey is None:
                what, remedy = "it was created without an ML-DSA-44 key", "Open the log without one"
            else:
                what, remedy = "the ML-DSA-44 key is not the one it was created with", "Open the log with its own keys"
            raise FolderError(what, where=where, remedy=remedy)

    def sign(self, checkpoint: Checkpoint, *, at: int) -> Note:
        """Sign a checkpoint at a time (POSIX seconds), which the ML-DSA-44 line states."""
        note = sign_note(checkpoint.body(), [self._signer])
        return note if self._cosigner is None else note.with_signature(self._cosigner.cosign(checkpoint, at))


def _cosigner(origin: str, pq_key: Signer | None) -> Cosigner | None:
    if pq_key is None:
        return None
    _check_kind(pq_key, Algorithm.ML_DSA_44, "the second key of a log is an ML-DSA-44 key", origin)
    return Cosigner(origin, pq_key)


def _check_kind(key: Signer, algorithm: Algorithm, rule: str, origin: str) -> None:
    if key.public_key.algorithm is not algorithm:
        raise KeyMaterialError(f"{rule}, this one is not", where=origin)
