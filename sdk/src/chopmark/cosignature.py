"""Cosignatures: the word of a witness that a log grew to a checkpoint by appending only, and when it saw that.

Spec: https://c2sp.org/tlog-cosignature. It is a signature line below the checkpoint (see `chopmark.note`): key id
4 bytes ‖ uint64be POSIX seconds, at most 2^63 − 1 ‖ signature, by Ed25519 (signature type 0x04, 64 bytes) or ML-DSA-44
(0x06, 2,420 bytes); `chopmark.cosigned_message` has what they sign. Sample, of type 0x04:

    — cn-sh.example/witness svEsbwAAAABrArYY+8MGcalymkrSehRJzozBmnOBPt5Rt4dZ15vuKzCz…

The time is never 0 in the cosignature of a checkpoint. ML-DSA-44 also cosigns subtrees of a log, which have no note of
their own, with the time 0. Such a line of the subtree from 0 to the size of a checkpoint verifies below that
checkpoint, but says nothing of when, and is no witness's word that this was the largest tree: it is never counted.

What Ed25519 signs does not hold the witness's name, so a witness uses that key for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.cosigned_message import (
    TIME_MAX,
    checkpoint_subtree_message,
    cosigned_message,
    join_cosignature,
    split_cosignature,
    subtree_message,
)
from chopmark.errors import FormatError, KeyMaterialError, SignatureError
from chopmark.keys import Algorithm, PublicKey, Signer
from chopmark.merkle import is_valid_subtree
from chopmark.note import TYPE_COSIGNATURE_ED25519, TYPE_COSIGNATURE_ML_DSA_44, NoteSignature, NoteVerifier

_TYPES = {Algorithm.ED25519: TYPE_COSIGNATURE_ED25519, Algorithm.ML_DSA_44: TYPE_COSIGNATURE_ML_DSA_44}
COSIGNATURE_TYPES = frozenset(_TYPES.values())
"""The signature types of witness keys."""


@dataclass(frozen=True, slots=True)
class CosignatureVerifier:
    """The key of a witness."""

    note_verifier: NoteVerifier

    def __post_init__(self) -> None:
        if self.note_verifier.type not in COSIGNATURE_TYPES:
            raise KeyMaterialError(
                f"a key of signature type {self.note_verifier.type:#04x}, which does not cosign",
                where=f"key {self.note_verifier.name}",
                remedy="A witness has a key of type 0x04 or 0x06",
            )

    @classmethod
    def from_vkey(cls, vkey: str) -> CosignatureVerifier:
        """Read the vkey of a witness.

        Raises:
            FormatError: it is no vkey; `UnsupportedError` for a signature type that this reader does not know.
            KeyMaterialError: it is a key for something else than cosignatures, or none.
        """
        return cls(NoteVerifier.from_vkey(vkey))

    @property
    def name(self) -> str:
        """The key name."""
        return self.note_verifier.name

    @property
    def key_id(self) -> bytes:
        """The key id, 4 bytes."""
        return self.note_verifier.key_id

    @property
    def public_key(self) -> PublicKey:
        """The bare public key."""
        return self.note_verifier.public_key

    @property
    def vkey(self) -> str:
        """The text form, as `from_vkey` reads it."""
        return self.note_verifier.vkey

    def verify(self, checkpoint: Checkpoint, signature: NoteSignature) -> int:
        """Verify one cosignature line.

        Returns:
            When the witness saw the checkpoint, in POSIX seconds, by its own clock.

        Raises:
            SignatureError: the line is not this witness's, does not verify, or gives no time.
        """
        time = self._time(checkpoint, signature)
        if time == 0:
            raise SignatureError("a cosignature without a time, which says nothing of when", where=f"key {self.name}")
        return time

    def verify_subtree(self, *, origin: str, start: int, end: int, root: bytes, signature: NoteSignature) -> None:
        """Verify a line that cosigns the subtree [start, end) of a log, as a witness answers `sign-subtree` with it.

        Args:
            origin: the log's.
            start: index of the first leaf.
            end: index after the last leaf.
            root: the hash of the subtree, 32 bytes.
            signature: the line.

        Raises:
            KeyMaterialError: the key is an Ed25519 one, which cosigns no subtrees.
            SignatureError: [start, end) is no subtree, or the line is not this witness's, has a time, or does not
                verify.
        """
        if self.note_verifier.type != TYPE_COSIGNATURE_ML_DSA_44:
            raise _no_subtrees(self.name)
        self._check_own(signature)
        where = f"key {self.name}"
        if not _is_subtree(start, end):
            raise SignatureError(f"[{start}, {end}) is not a subtree", where=where)
        try:
            time, bare = split_cosignature(signature.signature)
            if time != 0:
                raise SignatureError("the cosignature of a subtree has no time", where=where)
            self.public_key.verify(subtree_message(self.name, 0, origin, start, end, root), bare)
        except FormatError as error:
            raise SignatureError(error.what, where=f"{where}, {error.where}") from error

    def _check_own(self, signature: NoteSignature) -> None:
        if (signature.name, signature.key_id) != (self.name, self.key_id):
            raise SignatureError("a line of another key", where=f"key {self.name}")

    def _time(self, checkpoint: Checkpoint, signature: NoteSignature) -> int:
        """The time of a line that is checked to verify; 0 where it gives none."""
        self._check_own(signature)
        self.note_verifier.verify(checkpoint.body().encode("utf-8"), signature.signature)
        return split_cosignature(signature.signature)[0]

    def verify_all(self, signed: SignedCheckpoint) -> int | None:
        """Verify every line below a checkpoint that names this key.

        Returns:
            The earliest time that they give, in POSIX seconds; None where the witness did not cosign, or only without
            a time.

        Raises:
            SignatureError: one of them does not verify.
        """
        own = (self.name, self.key_id)
        lines = [line for line in dict.fromkeys(signed.note.signatures) if (line.name, line.key_id) == own]
        times = [self._time(signed.checkpoint, line) for line in lines]
        return min(filter(None, times), default=None)


class Cosigner:
    """Cosigns with the key of a witness, Ed25519 or ML-DSA-44. It checks nothing: that is the witness's own part.

    A log signs its checkpoints the same way with its ML-DSA-44 key, which is then named by its origin.
    """

    __slots__ = ("_signer", "verifier")

    def __init__(self, name: str, signer: Signer) -> None:
        number = _TYPES.get(signer.public_key.algorithm, TYPE_COSIGNATURE_ED25519)
        self._signer = signer
        self.verifier = CosignatureVerifier(NoteVerifier(name, number, signer.public_key))

    @property
    def name(self) -> str:
        """The key name."""
        return self.verifier.name

    @property
    def vkey(self) -> str:
        """The vkey under which the cosignatures verify."""
        return self.verifier.vkey

    def cosign(self, checkpoint: Checkpoint, at: int) -> NoteSignature:
        """Sign that this checkpoint is the largest one seen of its log at `at` (POSIX seconds).

        Raises:
            FormatError: `at` is not from 1 to 2^63 − 1; or, for ML-DSA-44, the origin has more than 255 bytes.
        """
        return self.cosign_text(checkpoint.body(), at)

    def cosign_text(self, text: str, at: int) -> NoteSignature:
        """Sign the text of a checkpoint as `cosign` does; for one with extension lines, which `Checkpoint` refuses.

        Raises:
            FormatError: as `cosign`; or, for ML-DSA-44, the text is no checkpoint.
        """
        if type(at) is not int or not 1 <= at <= TIME_MAX:
            raise FormatError("the time of a cosignature is from 1 to 2^63 − 1 seconds", where="cosignature")
        try:
            body = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise FormatError("not Unicode text: it has lone surrogates", where="checkpoint") from error
        if self.verifier.note_verifier.type == TYPE_COSIGNATURE_ED25519:
            return self._line(at, cosigned_message(body, at))
        return self._line(at, checkpoint_subtree_message(self.name, at, body))

    def cosign_subtree(self, origin: str, start: int, end: int, root: bytes) -> NoteSignature:
        """Sign that the subtree [start, end) with this hash (32 bytes) is consistent with all seen of its log.

        Raises:
            KeyMaterialError: the key is an Ed25519 one, which cosigns no subtrees.
            FormatError: [start, end) is no subtree, or is empty; an origin of more than 255 bytes or none.
        """
        if self.verifier.note_verifier.type != TYPE_COSIGNATURE_ML_DSA_44:
            raise _no_subtrees(self.name)
        if not _is_subtree(start, end):
            raise FormatError(f"[{start}, {end}) is not a subtree", where="subtree cosignature")
        return self._line(0, subtree_message(self.name, 0, origin, start, end, root))

    def _line(self, time: int, message: bytes) -> NoteSignature:
        return NoteSignature(self.name, self.verifier.key_id, join_cosignature(time, self._signer.sign(message)))

    def __repr__(self) -> str:
        return f"Cosigner({self.vkey})"


def _is_subtree(start: int, end: int) -> bool:
    return start != end and is_valid_subtree(start, end)


def _no_subtrees(name: str) -> KeyMaterialError:
    return KeyMaterialError(
        "an Ed25519 key cosigns no subtrees", where=f"key {name}", remedy="Use the ML-DSA-44 key of the witness"
    )
