"""Vectors of cosignatures, of checkpoints and of subtrees, by both algorithms."""

from __future__ import annotations

from typing import Any

from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.keys import Ed25519Signer
from chopmark.merkle import subtree_root
from chopmark.note import Note, NoteSignature, NoteSigner, cosigned_message, subtree_message

from specs.vectors.merkle_vectors import sample_log
from specs.vectors.ml_dsa_44 import DeterministicMlDsa44Signer
from specs.vectors.sample_log import SampleLog
from specs.vectors.sample_world import NOW
from specs.vectors.vector_file import KEY, SIGNATURE, VectorFile

WITNESS_KEY = DeterministicMlDsa44Signer(b"\x0a" * 32)
WITNESS = Cosigner("cn-sh.example/witness", WITNESS_KEY)


def cosignature_vectors() -> VectorFile:
    """All vectors of `cosignature.json`."""
    file = VectorFile("cosignature", "specs/log.md")
    log = sample_log(13)
    witness, other, _ = log.witnesses
    signed = Note.parse(log.checkpoint(at=NOW, witnesses=[witness]))
    checkpoint = Checkpoint.parse(signed.text)
    line = witness.cosign(checkpoint, NOW)

    early = Ed25519Signer.from_private_bytes(b"\x09" * 32)
    undated = Cosigner("cn-bj.example/witness", early)
    bare_signature = early.sign(cosigned_message(signed.text.encode(), 0))
    untimed = NoteSignature(undated.name, undated.verifier.key_id, bytes(8) + bare_signature)

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
        ("untimed", "a time of 0 says nothing of when, and is not counted", given(untimed, vkey=undated.vkey), None),
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
    _add_ml_dsa_44(file, signed)
    _add_subtrees(file, log)
    return file


def _add_ml_dsa_44(file: VectorFile, signed: Note) -> None:
    checkpoint = Checkpoint.parse(signed.text)
    origin, size = checkpoint.origin, checkpoint.size
    line = WITNESS.cosign(checkpoint, NOW)
    # `cosign` gives no time of 0 and no start above 0: these are made with the bare key
    untimed = WITNESS.cosign_subtree(origin, 0, size, checkpoint.root)
    renamed = Cosigner("cn-bj.example/witness", WITNESS_KEY)
    classical = WITNESS_KEY.sign(cosigned_message(signed.text.encode(), NOW))

    def given(*lines: NoteSignature, text: str = signed.text, vkey: str = WITNESS.vkey) -> dict[str, str]:
        return {"text": Note(text, (signed.signatures[0], *lines)).encode().decode(), "vkey": vkey}

    def changed(signature: bytes) -> dict[str, str]:
        return given(NoteSignature(line.name, line.key_id, signature))

    def timed(message: bytes) -> bytes:
        return NOW.to_bytes(8, "big") + WITNESS_KEY.sign(message)

    for name, description, value, time in (
        ("one", "a checkpoint cosigned with ML-DSA-44", given(line), NOW),
        ("untimed", "a subtree of the size of the checkpoint, without a time: never counted", given(untimed), None),
    ):
        file.accept(f"cosignature-ml-dsa-44-{name}", description, "cosignature", value, {"time": time})
    larger = signed.text.replace("\n13\n", "\n14\n")
    root = checkpoint.root
    for name, description, value in (
        ("time-changed", "another time than was signed", changed((NOW + 1).to_bytes(8, "big") + line.signature[8:])),
        ("time-2-63", "a time of 2^63", changed((2**63).to_bytes(8, "big") + line.signature[8:])),
        ("without-time", "2,420 bytes, as a note signature has", changed(line.signature[8:])),
        ("another-checkpoint", "over a checkpoint of another size", given(line, text=larger)),
        (
            "another-name",
            "made by the same key under another name",
            given(NoteSignature(renamed.name, renamed.verifier.key_id, line.signature), vkey=renamed.vkey),
        ),
        ("ed25519-message", "over what an Ed25519 key would sign", changed(line.signature[:8] + classical)),
        (
            "no-label",
            "over the structure without its label",
            changed(timed(subtree_message(WITNESS.name, NOW, origin, 0, size, root)[12:])),
        ),
        (
            "untimed-message",
            "a time in the line that is not in the structure",
            changed(NOW.to_bytes(8, "big") + untimed.signature[8:]),
        ),
    ):
        file.refuse(f"cosignature-ml-dsa-44-{name}", description, "cosignature", value, SIGNATURE)


def _add_subtrees(file: VectorFile, log: SampleLog) -> None:
    start, end, size = 8, 12, 13
    root = subtree_root(start, end, log.read)
    line = WITNESS.cosign_subtree(log.origin, start, end, root)
    whole = WITNESS.cosign(Checkpoint(log.origin, size, subtree_root(0, size, log.read)), NOW)
    ed25519 = log.witnesses[0]

    def given(line: NoteSignature = line, *, vkey: str = WITNESS.vkey, **changes: Any) -> dict[str, Any]:
        subtree = {"origin": log.origin, "start": start, "end": end, "hash": root.hex()}
        return {**subtree, **changes, "line": line.encode(), "vkey": vkey}

    operation = "subtree_cosignature"
    file.accept("subtree-cosignature", "a cosigned subtree", operation, given())
    other = subtree_root(8, 13, log.read).hex()
    whole_hash = subtree_root(0, size, log.read).hex()
    for name, description, value, error in (
        ("another-origin", "of another log", given(origin="cn-sh.example/log/2026"), SIGNATURE),
        ("another-start", "from another start", given(start=10), SIGNATURE),
        ("another-end", "to another end, with the hash of that subtree", given(end=13, hash=other), SIGNATURE),
        ("no-subtree", "an interval that is no subtree", given(start=7), SIGNATURE),
        ("empty", "an empty interval", given(start=12), SIGNATURE),
        (
            "checkpoint",
            "the cosignature of a checkpoint, which has a time",
            given(whole, start=0, end=size, hash=whole_hash),
            SIGNATURE,
        ),
        (
            "ed25519",
            "a key of type 04, which cosigns no subtrees",
            given(ed25519.cosign(Checkpoint(log.origin, size, root), NOW), vkey=ed25519.vkey),
            KEY,
        ),
    ):
        file.refuse(f"subtree-cosignature-{name}", description, operation, value, error)
