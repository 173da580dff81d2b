"""Vectors of signed notes, checkpoints and cosignatures."""

from __future__ import annotations

import base64
from typing import Any

from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.keys import Ed25519Signer
from chopmark.merkle import EMPTY_ROOT
from chopmark.note import Note, NoteSignature, NoteSigner, NoteVerifier, key_id, sign_note

from specs.vectors.merkle_vectors import sample_log
from specs.vectors.sample_world import NOW, SeededRandom
from specs.vectors.vector_file import FORMAT, KEY, LIMIT, SIGNATURE, UNSUPPORTED, VectorFile

TEXT = "示例：这是一份签名的说明。\n\nIt may hold empty lines.\n"


def _signers() -> list[NoteSigner]:
    random = SeededRandom("chopmark note vectors 1")
    names = ("cn-gd.example/root/a", "cn-gd.example/root/b", "us-il.example/root/a")
    return [NoteSigner(name, Ed25519Signer.from_private_bytes(random(32))) for name in names]


def _line(name: str, raw: bytes) -> str:
    return f"— {name} {base64.b64encode(raw).decode()}\n"


def note_vectors() -> VectorFile:
    """All vectors of `note.json`."""
    file = VectorFile("note", "specs/log.md")
    first, second, stranger = _signers()
    known = [first.vkey, second.vkey]
    note = sign_note(TEXT, [first, second])
    line = first.sign(TEXT)
    bad = NoteSignature(first.name, line.key_id, line.signature[:-1] + bytes((line.signature[-1] ^ 1,)))

    def given(text: str, vkeys: list[str] | None = None) -> dict[str, Any]:
        return {"text": text, "vkeys": known if vkeys is None else vkeys}

    def text_of(*lines: NoteSignature, text: str = TEXT) -> str:
        return Note(text, tuple(lines)).encode().decode()

    for name, description, text, signed in (
        ("two-signatures", "two known keys", note.encode().decode(), [first, second]),
        ("unknown-key", "a line of an unknown key is ignored", text_of(line, stranger.sign(TEXT)), [first]),
        (
            "unknown-id",
            "a line of a known name with another key id is ignored",
            text_of(line, NoteSignature(first.name, b"\0\0\0\0", b"?")),
            [first],
        ),
        ("same-line-twice", "one line twice counts once", text_of(line) + line.encode() + "\n", [first]),
    ):
        file.accept(f"note-{name}", description, "note", given(text), [signer.name for signer in signed])
    body, good_line = TEXT, line.encode() + "\n"
    for name, description, text, error in (
        (
            "known-key-bad",
            "a bad signature of a known key, beside a good one",
            text_of(bad, second.sign(TEXT)),
            SIGNATURE,
        ),
        ("text-changed", "another text than was signed", text_of(line, text=TEXT.replace("may", "can")), SIGNATURE),
        ("no-known-key", "no line of a known key", text_of(stranger.sign(TEXT)), SIGNATURE),
        ("no-signature", "no signature line", body + "\n", FORMAT),
        ("no-empty-line", "no empty line above the signatures", "text\n" + good_line, FORMAT),
        ("no-newline-at-end", "no newline at the end", body + "\n" + good_line[:-1], FORMAT),
        ("hyphen", "a hyphen instead of the dash", body + "\n" + good_line.replace("—", "-"), FORMAT),
        ("carriage-return", "a carriage return", (body + "\n" + good_line).replace("\n", "\r\n"), FORMAT),
        ("control-character", "a tab in the text", text_of(line).replace("示例", "\t"), FORMAT),
        ("base64-url", "another alphabet", body + "\n" + _line(first.name, b"\xff" * 68).replace("/", "_"), FORMAT),
        ("base64-unpadded", "no padding", body + "\n" + good_line.rstrip("=\n") + "\n", FORMAT),
        ("base64-trailing-bits", "base64 with bits that no byte takes", body + "\n— x AAAAAAB=\n", FORMAT),
        ("signature-empty", "a key id without a signature", body + "\n— x AAAAAA==\n", FORMAT),
        ("name-empty", "a line without a name", body + "\n—  AAAAAAAA\n", FORMAT),
        ("name-plus", "a plus in a name", body + "\n— a+b AAAAAAAA\n", FORMAT),
        ("line-behind", "a line behind the signatures", body + "\n" + good_line + "more\n", FORMAT),
        ("65-signatures", "65 signature lines", body + "\n" + "— x AAAAAAAA\n" * 65, LIMIT),
    ):
        file.refuse(f"note-{name}", description, "note", given(text), error)
    _add_vkeys(file, first)
    return file


def _add_vkeys(file: VectorFile, signer: NoteSigner) -> None:
    public_key = signer.verifier.public_key
    name = signer.name
    witness = Cosigner("cn-sh.example/witness", Ed25519Signer.from_private_bytes(b"\5" * 32)).verifier.note_verifier

    def vkey(typed: bytes, *, identifier: bytes | None = None, named: str = name) -> dict[str, str]:
        hexadecimal = (identifier or key_id(named, typed)).hex()
        return {"text": f"{named}+{hexadecimal}+{base64.b64encode(typed).decode()}"}

    verifiers: list[tuple[str, str, NoteVerifier]] = [
        ("note", "type 01, signs notes", signer.verifier),
        ("witness", "type 04, cosigns", witness),
    ]
    for label, description, verifier in verifiers:
        result = {
            "name": verifier.name,
            "type": verifier.type,
            "key_id": verifier.key_id.hex(),
            "public_key": verifier.public_key.raw.hex(),
        }
        file.accept(f"vkey-{label}", description, "vkey", {"text": verifier.vkey}, result)
    good = vkey(b"\1" + public_key.raw)["text"]
    for label, description, given, error in (
        (
            "key-id",
            "a key id that is not that of name and key",
            vkey(b"\1" + public_key.raw, identifier=b"\1\2\3\4"),
            FORMAT,
        ),
        ("key-id-upper-case", "a key id in upper case", {"text": _upper(good)}, FORMAT),
        ("type-2", "a type that is not known", vkey(b"\2" + public_key.raw), UNSUPPORTED),
        ("type-6", "an ML-DSA-44 cosignature key, whose use comes later", vkey(b"\6" + bytes(1312)), UNSUPPORTED),
        ("type-255", "a type with a name of its own", vkey(b"\xffchopmark/ml-dsa-44" + bytes(32)), UNSUPPORTED),
        ("type-missing", "no key at all", vkey(b""), FORMAT),
        ("key-short", "a key of 31 bytes", vkey(b"\1" + public_key.raw[:-1]), KEY),
        ("key-small-order", "a key under which anybody can sign", vkey(b"\1\1" + bytes(31)), KEY),
        ("two-parts", "no key id", {"text": good.replace("+", "-", 1)}, FORMAT),
        ("name-space", "a space in the name", vkey(b"\1" + public_key.raw, named="cn gd"), FORMAT),
    ):
        file.refuse(f"vkey-{label}", description, "vkey", given, error)


def _upper(vkey: str) -> str:
    name, identifier, key = vkey.split("+", 2)
    upper = identifier.upper()
    return "+".join((name, upper if upper != identifier else "ABCDEFAB", key))


def checkpoint_vectors() -> VectorFile:
    """All vectors of `checkpoint.json`."""
    file = VectorFile("checkpoint", "specs/log.md")
    log = sample_log(13)
    signed = log.checkpoint(at=NOW).decode()
    body = Note.parse(signed).text
    checkpoint = Checkpoint.parse(signed)
    result = {"origin": checkpoint.origin, "size": 13, "root": checkpoint.root.hex()}
    file.accept("checkpoint-body", "the three lines alone", "checkpoint", {"text": body}, result)
    file.accept("checkpoint-signed", "the whole note", "checkpoint", {"text": signed}, result)
    empty = Checkpoint(log.origin, 0, EMPTY_ROOT)
    result = {"origin": log.origin, "size": 0, "root": EMPTY_ROOT.hex()}
    file.accept("checkpoint-empty-log", "a log without entries", "checkpoint", {"text": empty.body()}, result)
    origin, size, root, _ = body.split("\n")
    for name, description, text, error in (
        ("two-lines", "no root", f"{origin}\n{size}\n", FORMAT),
        ("no-newline", "no newline at the end", body[:-1], FORMAT),
        ("extension-line", "a line below the root, which no monitor could audit", body + "extension\n", UNSUPPORTED),
        ("size-leading-zero", "a size with a leading zero", f"{origin}\n013\n{root}\n", FORMAT),
        ("size-sign", "a size with a sign", f"{origin}\n+13\n{root}\n", FORMAT),
        ("size-underscore", "a size with an underscore", f"{origin}\n1_3\n{root}\n", FORMAT),
        ("size-other-digits", "a size in Arabic-Indic digits", f"{origin}\n١٣\n{root}\n", FORMAT),
        ("size-2-63", "a size of 2^63", f"{origin}\n{2**63}\n{root}\n", LIMIT),
        ("root-short", "a root of 31 bytes", f"{origin}\n13\n{base64.b64encode(bytes(31)).decode()}\n", FORMAT),
        ("root-hex", "a root in hexadecimal", f"{origin}\n13\n{checkpoint.root.hex()}\n", FORMAT),
        ("origin-empty", "an empty origin", f"\n13\n{root}\n", FORMAT),
        ("empty-log-other-root", "size 0 with another root than the empty one", f"{origin}\n0\n{root}\n", FORMAT),
    ):
        file.refuse(f"checkpoint-{name}", description, "checkpoint", {"text": text}, error)
    return file


def cosignature_vectors() -> VectorFile:
    """All vectors of `cosignature.json`."""
    file = VectorFile("cosignature", "specs/log.md")
    log = sample_log(13)
    witness, other, _ = log.witnesses
    signed = Note.parse(log.checkpoint(at=NOW, witnesses=[witness]))
    checkpoint = Checkpoint.parse(signed.text)
    line = witness.cosign(checkpoint, NOW)

    def given(*lines: NoteSignature, text: str = signed.text, vkey: str = witness.vkey) -> dict[str, str]:
        return {"text": Note(text, (signed.signatures[0], *lines)).encode().decode(), "vkey": vkey}

    for name, description, value, time in (
        ("one", "a checkpoint with one cosignature", given(line), NOW),
        (
            "earliest-counts",
            "two cosignatures of one witness: the earlier time counts",
            given(line, witness.cosign(checkpoint, NOW - 60)),
            NOW - 60,
        ),
        ("none", "a checkpoint that this witness did not cosign", given(other.cosign(checkpoint, NOW)), None),
        ("time-0", "a cosignature of 1970-01-01", given(witness.cosign(checkpoint, 0)), 0),
    ):
        file.accept(f"cosignature-{name}", description, "cosignature", value, {"time": time})
    later = (NOW + 3600).to_bytes(8, "big") + line.signature[8:]
    beyond = (2**63).to_bytes(8, "big") + line.signature[8:]
    bare = NoteSigner(witness.name, Ed25519Signer.from_private_bytes(b"\5" * 32)).sign(signed.text)
    larger = signed.text.replace("\n13\n", "\n14\n")

    def changed(signature: bytes) -> dict[str, str]:
        return given(NoteSignature(line.name, line.key_id, signature))

    for name, description, value, error in (
        ("time-changed", "another time than was signed", changed(later), SIGNATURE),
        ("time-2-63", "a time of 2^63", changed(beyond), SIGNATURE),
        ("without-time", "64 bytes, as a note signature has", changed(bare.signature), SIGNATURE),
        ("time-only", "a time without a signature", changed(line.signature[:8]), SIGNATURE),
        ("another-checkpoint", "over a checkpoint of another size", given(line, text=larger), SIGNATURE),
        (
            "one-of-two-bad",
            "a good line and a bad one of the same witness",
            given(line, NoteSignature(line.name, line.key_id, later)),
            SIGNATURE,
        ),
        ("note-key", "a key of type 01, which does not cosign", given(line, vkey=log.signer.vkey), KEY),
    ):
        file.refuse(f"cosignature-{name}", description, "cosignature", value, error)
    return file
