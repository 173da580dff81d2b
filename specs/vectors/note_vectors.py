"""Vectors of signed notes and of checkpoints."""

from __future__ import annotations

import base64
from typing import Any

from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.keys import Ed25519Signer
from chopmark.merkle import EMPTY_ROOT
from chopmark.note import Note, NoteSignature, NoteSigner, NoteVerifier, key_id, sign_note

from specs.vectors.merkle_vectors import sample_log
from specs.vectors.ml_dsa_44 import DeterministicMlDsa44Signer
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
    _add_ml_dsa_44_notes(file, first)
    _add_vkeys(file, first)
    return file


def _add_ml_dsa_44_notes(file: VectorFile, classical: NoteSigner) -> None:
    second = NoteSigner(classical.name, DeterministicMlDsa44Signer(b"\x08" * 32))
    cosigner = Cosigner(classical.name, DeterministicMlDsa44Signer(b"\x08" * 32))
    known = [classical.vkey, second.vkey]
    line, good = second.sign(TEXT), classical.sign(TEXT)
    bad = NoteSignature(line.name, line.key_id, line.signature[:-1] + bytes((line.signature[-1] ^ 1,)))

    def given(*lines: NoteSignature, vkeys: list[str]) -> dict[str, Any]:
        return {"text": Note(TEXT, lines).encode().decode(), "vkeys": vkeys}

    for name, description, value, count in (
        ("ml-dsa-44", "a key of type ff, named chopmark/ml-dsa-44", given(line, vkeys=[second.vkey]), 1),
        ("both-algorithms", "two keys of one name, of two algorithms", given(good, line, vkeys=known), 2),
    ):
        file.accept(f"note-{name}", description, "note", value, [classical.name] * count)
    for name, description, value in (
        ("ml-dsa-44-bad", "a bad ML-DSA-44 line beside a good Ed25519 line", given(good, bad, vkeys=known)),
        (
            "type-06-on-a-text",
            "a line of type 06 below what is no checkpoint",
            given(
                NoteSignature(cosigner.name, cosigner.verifier.key_id, bytes(8) + line.signature), vkeys=[cosigner.vkey]
            ),
        ),
    ):
        file.refuse(f"note-{name}", description, "note", value, SIGNATURE)


def _add_vkeys(file: VectorFile, signer: NoteSigner) -> None:
    public_key = signer.verifier.public_key
    name = signer.name
    witness = Cosigner("cn-sh.example/witness", Ed25519Signer.from_private_bytes(b"\5" * 32)).verifier.note_verifier

    def vkey(typed: bytes, *, identifier: bytes | None = None, named: str = name) -> dict[str, str]:
        hexadecimal = (identifier or key_id(named, typed)).hex()
        return {"text": f"{named}+{hexadecimal}+{base64.b64encode(typed).decode()}"}

    ml_dsa_44 = DeterministicMlDsa44Signer(b"\x08" * 32)
    raw = ml_dsa_44.public_key.raw
    verifiers: list[tuple[str, str, NoteVerifier]] = [
        ("note", "type 01, signs notes", signer.verifier),
        ("witness", "type 04, cosigns", witness),
        ("ml-dsa-44-witness", "type 06, cosigns with ML-DSA-44", Cosigner(name, ml_dsa_44).verifier.note_verifier),
        ("ml-dsa-44-note", "type ff chopmark/ml-dsa-44, signs notes", NoteSigner(name, ml_dsa_44).verifier),
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
        (
            "type-255-unknown",
            "a type with a name that is not known",
            vkey(b"\xffexample.com/other" + bytes(32)),
            UNSUPPORTED,
        ),
        ("type-255-alone", "a type with no name of its own", vkey(b"\xff" + bytes(32)), UNSUPPORTED),
        ("ml-dsa-44-short", "an ML-DSA-44 key of 1,311 bytes", vkey(b"\6" + raw[:-1]), KEY),
        ("ml-dsa-44-of-type-1", "an ML-DSA-44 key under type 01", vkey(b"\1" + raw), KEY),
        ("ed25519-of-type-6", "an Ed25519 key under type 06", vkey(b"\6" + public_key.raw), KEY),
        (
            "name-256",
            "a name of 256 bytes of a key that cosigns with ML-DSA-44",
            vkey(b"\6" + raw, named="n" * 256),
            FORMAT,
        ),
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
