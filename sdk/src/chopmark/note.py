"""Signed notes: a text with signature lines below it, the envelope of checkpoints and of all public documents.

Spec: https://c2sp.org/signed-note

    <text: one or more lines, UTF-8, no control character but newline, ending in a newline>
    <an empty line>
    — <key name> <base64 of key id (4 bytes) ‖ signature>          one line for each signature

The text may contain empty lines; it ends before the last one of the note. A key is named by its name and id together,
and written as a *vkey*, `<name>+<key id, 8 hex digits>+<base64 of type byte ‖ public key>`, where the key id is the
first 4 bytes of SHA-256(name ‖ 0A ‖ type ‖ public key).

    type                     signature                                       what it signs
    01                       Ed25519, 64 bytes                               the text
    04                       uint64be POSIX seconds ‖ Ed25519, 72 bytes      see `chopmark.cosigned_message`
    06                       uint64be POSIX seconds ‖ ML-DSA-44, 2,428 bytes  see `chopmark.cosigned_message`
    ff `chopmark/ml-dsa-44`  ML-DSA-44, 2,420 bytes                          the text

The types 04 and 06 sign checkpoints, 01 any text. ML-DSA-44 has no type of its own for a text that is no checkpoint,
so there the type byte is ff, followed by a name of ours.

Sample, with the vkey `example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k`:

    This is an example message.

    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from chopmark import strict
from chopmark.cosigned_message import (
    TIME_MAX,
    check_cosigned_name,
    checkpoint_subtree_message,
    cosigned_message,
    split_cosignature,
    subtree_message,
)
from chopmark.errors import FormatError, KeyMaterialError, LimitError, SignatureError, UnsupportedError
from chopmark.keys import Algorithm, PublicKey, Signer
from chopmark.limits import LIMITS

__all__ = [
    "KEY_ID_SIZE",
    "TIME_MAX",
    "TYPE_COSIGNATURE_ED25519",
    "TYPE_COSIGNATURE_ML_DSA_44",
    "TYPE_ED25519",
    "TYPE_LONG_IDENTIFIER",
    "Note",
    "NoteSignature",
    "NoteSigner",
    "NoteVerifier",
    "check_key_name",
    "cosigned_message",
    "key_id",
    "sign_note",
    "split_cosignature",
    "subtree_message",
]

TYPE_ED25519 = 0x01
TYPE_COSIGNATURE_ED25519 = 0x04
TYPE_COSIGNATURE_ML_DSA_44 = 0x06
TYPE_LONG_IDENTIFIER = 0xFF
"""A signature type with a name of its own behind this byte; the one known here is `chopmark/ml-dsa-44`."""

KEY_ID_SIZE = 4

_TYPES: Mapping[int, tuple[bytes, Algorithm]] = {
    TYPE_ED25519: (b"\x01", Algorithm.ED25519),
    TYPE_COSIGNATURE_ED25519: (b"\x04", Algorithm.ED25519),
    TYPE_COSIGNATURE_ML_DSA_44: (b"\x06", Algorithm.ML_DSA_44),
    TYPE_LONG_IDENTIFIER: (b"\xffchopmark/ml-dsa-44", Algorithm.ML_DSA_44),
}
"""What stands before the public key in vkeys and key ids, and the algorithm of the key, by signature type."""
_DOCUMENT_TYPES = {Algorithm.ED25519: TYPE_ED25519, Algorithm.ML_DSA_44: TYPE_LONG_IDENTIFIER}

_EM_DASH = "\N{EM DASH} "
_CONTROL_BUT_NEWLINE = bytes(byte for byte in range(0x20) if byte != 0x0A)
_KEY_ID_HEX = re.compile("[0-9a-f]{8}", re.ASCII)
_VKEY_SIZE = 4096
"""Characters of a vkey: an ML-DSA-44 key takes some 1,800."""


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: the key's name, its id (4 bytes), and what follows the id."""

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name, where="signature line")
        if len(self.key_id) != KEY_ID_SIZE or not self.signature:
            raise FormatError("a note signature is a key id of 4 bytes and a signature", where=f"key {self.name}")

    @classmethod
    def parse(cls, line: str, *, where: str = "signature line") -> NoteSignature:
        """Read one signature line, without its newline.

        Raises:
            FormatError: it has another form.
        """
        parts = line.removeprefix(_EM_DASH).split(" ")
        if not line.startswith(_EM_DASH) or len(parts) != 2:
            raise FormatError("not of the form `— <key name> <base64>`", where=where)
        raw = strict.base64_decode(parts[1], where=where)
        if len(raw) <= KEY_ID_SIZE:
            raise FormatError("a signature that is no longer than its key id", where=where)
        return cls(parts[0], raw[:KEY_ID_SIZE], raw[KEY_ID_SIZE:])

    def encode(self) -> str:
        """Write the line, without its newline."""
        return f"{_EM_DASH}{self.name} {strict.base64_encode(self.key_id + self.signature)}"


@dataclass(frozen=True, slots=True)
class Note:
    """A text, its final newline included, and the signatures below it, in their order. Nothing is verified yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        _check_text(self.text)
        if not self.signatures:
            raise FormatError("a note without a signature", where="note")
        if len(self.signatures) > LIMITS.note_signatures:
            raise LimitError(f"more than {LIMITS.note_signatures} signatures", where="note")

    @classmethod
    def parse(cls, text: str | bytes) -> Note:
        """Read a signed note; nothing in it is to be believed before `verify`.

        Raises:
            FormatError: it is not a signed note; `LimitError` when it is too large or has too many signatures.
        """
        data = _utf8(text)
        if len(data) > LIMITS.note_size:
            raise LimitError(f"{len(data)} bytes, above the limit of {LIMITS.note_size}", where="note")
        split = data.rfind(b"\n\n")
        if split < 0 or not data.endswith(b"\n"):
            raise FormatError("no empty line between text and signatures, or no newline at the end", where="note")
        count = data.count(b"\n", split + 2)
        if count > LIMITS.note_signatures:
            raise LimitError(f"{count} signatures, above the limit of {LIMITS.note_signatures}", where="note")
        try:
            body = data[: split + 1].decode("utf-8")
            lines = data[split + 2 : -1].decode("utf-8").split("\n") if count else []
        except UnicodeDecodeError as error:
            raise FormatError("not UTF-8", where="note") from error
        signatures = (NoteSignature.parse(line, where=f"note, signature {n}") for n, line in enumerate(lines, 1))
        note = cls(body, tuple(signatures))
        if note.encode() != data:
            raise FormatError("not in the one form that a note has", where="note")
        return note

    def encode(self) -> bytes:
        """Write the note as UTF-8."""
        return "\n".join([self.text, *(signature.encode() for signature in self.signatures), ""]).encode("utf-8")

    def with_signature(self, *signatures: NoteSignature) -> Note:
        """Add signatures below those that are there; one that is there already is not added again."""
        new = [signature for signature in dict.fromkeys(signatures) if signature not in self.signatures]
        return Note(self.text, (*self.signatures, *new))

    def verify(self, verifiers: Iterable[NoteVerifier]) -> tuple[NoteVerifier, ...]:
        """Verify the signatures of known keys; those of unknown keys are ignored.

        Args:
            verifiers: the known keys.

        Returns:
            The keys that signed, each once, in the order in which they were given.

        Raises:
            SignatureError: no known key signed, or a line that names a known key does not verify.
            KeyMaterialError: two different known keys have one name and id.
        """
        known: dict[tuple[str, bytes], NoteVerifier] = {}
        for verifier in verifiers:
            if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
                raise KeyMaterialError("two different keys of one name and id", where=f"key {verifier.name}")
        text = self.text.encode("utf-8")
        signed = set()
        for signature in dict.fromkeys(self.signatures):
            found = known.get((signature.name, signature.key_id))
            if found is not None:
                found.verify(text, signature.signature)
                signed.add(found)
        if not signed:
            raise SignatureError("not signed by any known key", where="note")
        return tuple(verifier for verifier in known.values() if verifier in signed)


@dataclass(frozen=True, slots=True)
class NoteVerifier:
    """A key that signs notes: its name, id (4 bytes), type (0x01, 0x04, 0x06 or 0xff) and public key."""

    name: str
    key_id: bytes = field(init=False)
    type: int
    public_key: PublicKey

    def __post_init__(self) -> None:
        check_key_name(self.name, where="vkey")
        if self.type not in _TYPES:
            raise _unsupported_type(bytes([self.type]), self.name)
        algorithm = _TYPES[self.type][1]
        if self.public_key.algorithm is not algorithm:
            raise KeyMaterialError(
                f"signature type {self.type:#04x} takes an {algorithm.text} key, not {self.public_key.algorithm.text}",
                where=f"key {self.name}",
            )
        if self.type == TYPE_COSIGNATURE_ML_DSA_44:
            check_cosigned_name(self.name, where="vkey")
        object.__setattr__(self, "key_id", key_id(self.name, self._typed_key))

    @classmethod
    def from_vkey(cls, vkey: str) -> NoteVerifier:
        """Read a vkey.

        Raises:
            FormatError: it is not one, or its id is not that of its name and key; `UnsupportedError` for the
                signature types that this reader does not know.
            KeyMaterialError: what it holds is no public key.
        """
        parts = vkey.split("+", 2) if isinstance(vkey, str) and len(vkey) <= _VKEY_SIZE else []
        if len(parts) != 3 or _KEY_ID_HEX.fullmatch(parts[1]) is None:
            raise FormatError("not of the form `<name>+<8 hex digits>+<base64>`", where="vkey")
        name, identifier, encoded = parts
        check_key_name(name, where="vkey")
        typed = strict.base64_decode(encoded, where=f"vkey {name}")
        if not typed:
            raise FormatError("no signature type and key", where=f"vkey {name}")
        prefix, algorithm = _TYPES.get(typed[0], (b"", Algorithm.ED25519))
        if not prefix or not typed.startswith(prefix):
            raise _unsupported_type(typed, name)
        if bytes.fromhex(identifier) != key_id(name, typed):
            raise FormatError("the key id is not that of this name and key", where=f"vkey {name}")
        return cls(name, typed[0], PublicKey(algorithm, typed[len(prefix) :]))

    @property
    def vkey(self) -> str:
        """The text form, as `from_vkey` reads it."""
        return f"{self.name}+{self.key_id.hex()}+{strict.base64_encode(self._typed_key)}"

    @property
    def _typed_key(self) -> bytes:
        return _TYPES[self.type][0] + self.public_key.raw

    def verify(self, text: bytes, signature: bytes) -> None:
        """Verify what follows the key id in a signature line over the note text `text`.

        A line of type 0x06 covers the first three lines of a checkpoint only, and one whose time is 0 says nothing of
        when: `CosignatureVerifier` and `TlogPolicy` do not take it for the cosignature of a witness.

        Raises:
            SignatureError: it is not this key's signature, or, for type 0x06, the text is no checkpoint.
        """
        try:
            if self.type == TYPE_COSIGNATURE_ED25519:
                time, signature = split_cosignature(signature)
                text = cosigned_message(text, time)
            elif self.type == TYPE_COSIGNATURE_ML_DSA_44:
                time, signature = split_cosignature(signature)
                text = checkpoint_subtree_message(self.name, time, text)
            self.public_key.verify(text, signature)
        except (FormatError, SignatureError) as error:
            raise SignatureError("the signature of a known key does not verify", where=f"key {self.name}") from error


class NoteSigner:
    """Signs notes under a name, with an Ed25519 key (signature type 0x01) or an ML-DSA-44 key (type 0xff)."""

    __slots__ = ("_signer", "verifier")

    def __init__(self, name: str, signer: Signer) -> None:
        number = _DOCUMENT_TYPES.get(signer.public_key.algorithm, TYPE_ED25519)
        self._signer = signer
        self.verifier = NoteVerifier(name, number, signer.public_key)

    @property
    def name(self) -> str:
        """The key name."""
        return self.verifier.name

    @property
    def vkey(self) -> str:
        """The vkey under which the signatures verify."""
        return self.verifier.vkey

    def sign(self, text: str) -> NoteSignature:
        """Sign a note text, its final newline included.

        Raises:
            FormatError: `text` cannot be the text of a note.
        """
        _check_text(text)
        return NoteSignature(self.name, self.verifier.key_id, self._signer.sign(text.encode("utf-8")))

    def __repr__(self) -> str:
        return f"NoteSigner({self.vkey})"


def sign_note(text: str, signers: Sequence[NoteSigner]) -> Note:
    """Make a note of `text`, its final newline included, with one signature by each signer.

    Raises:
        FormatError: `text` cannot be the text of a note, or there is no signer.
    """
    return Note(text, tuple(signer.sign(text) for signer in signers))


def key_id(name: str, typed_key: bytes) -> bytes:
    """Compute a key id: the first 4 bytes of SHA-256(name ‖ 0A ‖ type ‖ public key).

    `typed_key` is the type, with the name behind it where the type byte is ff, and the public key.
    """
    return sha256(name.encode("utf-8") + b"\n" + typed_key).digest()[:KEY_ID_SIZE]


def check_key_name(name: str, *, where: str) -> None:
    """Refuse what is no key name: empty, with a space, plus or control character, or not UTF-8.

    Raises:
        FormatError: `name` is not a key name.
    """
    if "+" in name or name.split() != [name] or min(name) < " ":
        raise FormatError(f"{name[:40]!r} is not a key name: it is empty, or has a space or plus in it", where=where)
    _utf8(name)


def _check_text(text: str) -> None:
    data = _utf8(text)
    if not data.endswith(b"\n"):
        raise FormatError("a note text that does not end in a newline", where="note")
    if len(data.translate(None, _CONTROL_BUT_NEWLINE)) != len(data):
        raise FormatError("a control character in the note text", where="note")


def _utf8(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FormatError("not Unicode text: it has lone surrogates", where="note") from error


def _unsupported_type(typed: bytes, name: str) -> UnsupportedError:
    kind = f"{typed[0]:#04x}"
    if typed[0] == TYPE_LONG_IDENTIFIER:
        kind += " with a name other than chopmark/ml-dsa-44"
    return UnsupportedError(
        f"signature type {kind} is not one that this version verifies",
        where=f"vkey {name}",
        remedy="Use a key of type 0x01 or 0xff for documents, 0x04 or 0x06 for a witness, 0x01 or 0x06 for a log",
    )
