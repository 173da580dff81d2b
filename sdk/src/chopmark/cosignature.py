"""Cosignatures: the word of a witness that a log grew to a checkpoint by appending only, and when it saw that.

Spec: https://c2sp.org/tlog-cosignature, the Ed25519 form (signature type 0x04). It is a signature line below the
checkpoint (see `chopmark.note`): key id 4 bytes ‖ uint64be POSIX seconds, at most 2^63 − 1 ‖ Ed25519, 64 bytes, over

    cosignature/v1
    time 1679315147
    cn-gd.example/log/2026
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

The signed text does not hold the witness's name, so a witness uses a key for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.errors import FormatError, KeyMaterialError, SignatureError
from chopmark.keys import PublicKey, Signer
from chopmark.note import (
    TIME_MAX,
    TYPE_COSIGNATURE_ED25519,
    NoteSignature,
    NoteVerifier,
    cosigned_message,
    split_cosignature,
)

_TIME_SIZE = 8


@dataclass(frozen=True, slots=True)
class CosignatureVerifier:
    """The key of a witness."""

    note_verifier: NoteVerifier

    def __post_init__(self) -> None:
        if self.note_verifier.type != TYPE_COSIGNATURE_ED25519:
            raise KeyMaterialError(
                f"a key of signature type {self.note_verifier.type:#04x}, which does not cosign",
                where=f"key {self.note_verifier.name}",
                remedy="A witness has a key of type 0x04",
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
            SignatureError: the line is not this witness's, or does not verify.
        """
        if (signature.name, signature.key_id) != (self.name, self.key_id):
            raise SignatureError("a line of another key", where=f"key {self.name}")
        self.note_verifier.verify(checkpoint.body().encode("utf-8"), signature.signature)
        return split_cosignature(signature.signature)[0]

    def verify_all(self, signed: SignedCheckpoint) -> int | None:
        """Verify every line below a checkpoint that names this key.

        Returns:
            The earliest time that they give, in POSIX seconds; None where the witness did not cosign.

        Raises:
            SignatureError: one of them does not verify.
        """
        own = (self.name, self.key_id)
        lines = [line for line in dict.fromkeys(signed.note.signatures) if (line.name, line.key_id) == own]
        return min((self.verify(signed.checkpoint, line) for line in lines), default=None)


class Cosigner:
    """Cosigns checkpoints with the Ed25519 key of a witness. It checks nothing: that is the witness's own part."""

    __slots__ = ("_signer", "verifier")

    def __init__(self, name: str, signer: Signer) -> None:
        self._signer = signer
        self.verifier = CosignatureVerifier(NoteVerifier(name, TYPE_COSIGNATURE_ED25519, signer.public_key))

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
            FormatError: `at` is not from 0 to 2^63 − 1.
        """
        if type(at) is not int or not 0 <= at <= TIME_MAX:
            raise FormatError("the time of a cosignature is from 0 to 2^63 − 1 seconds", where="cosignature")
        signature = self._signer.sign(cosigned_message(checkpoint.body().encode("utf-8"), at))
        return NoteSignature(self.name, self.verifier.key_id, at.to_bytes(_TIME_SIZE, "big") + signature)

    def __repr__(self) -> str:
        return f"Cosigner({self.vkey})"
