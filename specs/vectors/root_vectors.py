"""Vectors of root epochs: the pin, and the chain from one epoch to the next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from chopmark.cosignature import Cosigner
from chopmark.keys import Ed25519Signer
from chopmark.note import Note, NoteSignature, NoteSigner, sign_note
from chopmark.strict import time_encode

from specs.vectors.ml_dsa_44 import DeterministicMlDsa44Signer
from specs.vectors.sample_world import CREATED, DAY, SeededRandom
from specs.vectors.vector_file import FORMAT, SIGNATURE, TRUST, UNSUPPORTED, VectorFile

_RANDOM = SeededRandom("chopmark root vectors 1")
KEYS = {
    name: NoteSigner(f"cn-gd.example/root/{name}", Ed25519Signer.from_private_bytes(_RANDOM(32))) for name in "abcde"
}

PQ_KEYS = {
    name: NoteSigner(KEYS[name].name, DeterministicMlDsa44Signer(b"\x0c" + bytes([number]) * 31))
    for number, name in enumerate("abc")
}
SECOND_A = NoteSigner(KEYS["a"].name, Ed25519Signer.from_private_bytes(b"\x0d" * 32))


def root_note(
    epoch: int, keys: str, signers: str | Sequence[NoteSigner], *, changes: dict[str, Any] | None = None
) -> str:
    """A root epoch of some of the `KEYS`, of which two must sign; `changes` replace members, None leaves one out."""
    value: dict[str, Any] = {
        "format": "chopmark/root-epoch/v1",
        "region": "CN-GD",
        "epoch": epoch,
        "issued": time_encode(CREATED + (epoch - 1) * DAY),
        "threshold": 2,
        "keys": [KEYS[name].vkey for name in keys],
        **(changes or {}),
    }
    value = {name: member for name, member in value.items() if member is not None}
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    by = [KEYS[name] for name in signers] if isinstance(signers, str) else signers
    return sign_note(text, by).encode().decode()


def root_vectors() -> VectorFile:
    """All vectors of `root-epoch.json`."""
    file = VectorFile("root-epoch", "specs/root-epoch.md")
    first = root_note(1, "abc", "ab")
    second = root_note(2, "bcd", "bc")
    third = root_note(3, "bcde", "bce", changes={"threshold": 3})
    outsider = NoteSigner("us-il.example/root/a", Ed25519Signer.from_private_bytes(b"\3" * 32))
    for name, description, notes, epoch, threshold in (
        ("first", "two of three keys signed", [first], 1, 2),
        ("all-signed", "all three keys signed", [root_note(1, "abc", "abc")], 1, 2),
        ("later-pin", "a verifier may pin a later epoch", [second], 2, 2),
        ("second", "signed by the thresholds of both epochs", [first, second], 2, 2),
        ("third", "each step rests on the one before; the threshold rises", [first, second, third], 3, 3),
    ):
        result = {"region": "CN-GD", "epoch": epoch, "threshold": threshold}
        file.accept(f"root-{name}", description, "root_epochs", {"notes": notes}, result)
    _add_refused_pins(file, outsider)
    elsewhere = [NoteSigner("cn-bj.example/root/a", Ed25519Signer.from_private_bytes(b"\3" * 32))]
    other_host = {"keys": [elsewhere[0].vkey], "threshold": 1}
    for name, description, notes, error in (
        ("skipped", "an epoch is skipped", [first, third], TRUST),
        ("same-epoch", "the same epoch again", [first, first], TRUST),
        ("backwards", "the epoch before", [first, second, first], TRUST),
        (
            "old-threshold-missing",
            "one key of the old epoch signed, two of the new",
            [first, root_note(2, "bcd", "cd")],
            SIGNATURE,
        ),
        (
            "new-threshold-missing",
            "two keys of the old epoch signed, one of the new",
            [first, root_note(2, "cde", "bc")],
            SIGNATURE,
        ),
        (
            "another-region",
            "the epoch of another region",
            [first, root_note(2, "bcd", "bc", changes={"region": "CN-GX"})],
            TRUST,
        ),
        (
            "another-host",
            "keys under another host",
            [first, root_note(2, "", [*_two(), *elsewhere], changes=other_host)],
            TRUST,
        ),
        (
            "dated-before",
            "dated before the epoch before",
            [first, root_note(2, "bcd", "bc", changes={"issued": time_encode(CREATED - 1)})],
            TRUST,
        ),
    ):
        file.refuse(f"root-{name}", description, "root_epochs", {"notes": notes}, error)
    _add_two_algorithms(file)
    return file


def _both(*names: str) -> list[NoteSigner]:
    """Both keys of some signatories."""
    return [signer for name in names for signer in (KEYS[name], PQ_KEYS[name])]


def _add_two_algorithms(file: VectorFile) -> None:
    """Signatories of two keys: both must sign, and together they count once."""
    keys = _both("a", "b")
    listed = {"keys": [key.vkey for key in keys]}
    with_c = {"keys": [*listed["keys"], KEYS["c"].vkey]}
    a, a_pq, b, b_pq = keys
    second = root_note(2, "", [*_both("a", "b"), KEYS["c"]], changes=with_c)
    for name, description, notes, epoch in (
        (
            "two-keys-each",
            "two signatories of two keys each, all four signed",
            [root_note(1, "", keys, changes=listed)],
            1,
        ),
        (
            "one-and-two-keys",
            "a signatory of two keys, and one of an Ed25519 key alone",
            [root_note(1, "", [a, a_pq, KEYS["c"]], changes=with_c)],
            1,
        ),
        (
            "keys-beside",
            "an epoch of Ed25519 keys alone is followed by one with keys beside them",
            [root_note(1, "ab", "ab"), second],
            2,
        ),
    ):
        result = {"region": "CN-GD", "epoch": epoch, "threshold": 2}
        file.accept(f"root-{name}", description, "root_epochs", {"notes": notes}, result)
    good = root_note(1, "", keys, changes=listed)
    bad = Note.parse(good)
    last = bad.signatures[-1]
    broken = NoteSignature(last.name, last.key_id, last.signature[:-1] + bytes((last.signature[-1] ^ 1,)))
    bad = Note(bad.text, (*bad.signatures[:-1], broken))
    cosigner = Cosigner(a.name, DeterministicMlDsa44Signer(b"\x0c" * 32))
    for name, description, note, error in (
        (
            "two-keys-of-one",
            "both keys of one signatory where two signatories must sign",
            root_note(1, "", [a, a_pq], changes=with_c),
            SIGNATURE,
        ),
        (
            "ml-dsa-44-missing",
            "one of two signatories signed with its Ed25519 key alone",
            root_note(1, "", [a, b, b_pq], changes=listed),
            SIGNATURE,
        ),
        (
            "ed25519-missing",
            "one of two signatories signed with its ML-DSA-44 key alone",
            root_note(1, "", [a_pq, b, b_pq], changes=listed),
            SIGNATURE,
        ),
        ("ml-dsa-44-bad", "a bad ML-DSA-44 line, whatever else signed", bad.encode().decode(), SIGNATURE),
        (
            "next-without-ml-dsa-44",
            "the epoch before had keys beside Ed25519, which did not sign the next",
            "",
            SIGNATURE,
        ),
        (
            "ml-dsa-44-alone",
            "an ML-DSA-44 key without an Ed25519 key of its name",
            root_note(1, "", [a, b], changes={"keys": [a.vkey, b.vkey, PQ_KEYS["c"].vkey]}),
            FORMAT,
        ),
        (
            "two-of-one-algorithm",
            "two Ed25519 keys under one name",
            root_note(1, "", [a, b], changes={"keys": [a.vkey, b.vkey, SECOND_A.vkey]}),
            FORMAT,
        ),
        (
            "threshold-counts-keys",
            "a threshold of three where two signatories have four keys",
            root_note(1, "", keys, changes={**listed, "threshold": 3}),
            FORMAT,
        ),
        (
            "ml-dsa-44-witness-key",
            "a key of type 06",
            root_note(1, "", [a, b], changes={"keys": [a.vkey, b.vkey, cosigner.vkey]}),
            FORMAT,
        ),
    ):
        notes = [note] if note else [good, root_note(2, "abc", "abc")]
        file.refuse(f"root-{name}", description, "root_epochs", {"notes": notes}, error)


def _two() -> list[NoteSigner]:
    return [KEYS["a"], KEYS["b"]]


def _add_refused_pins(file: VectorFile, outsider: NoteSigner) -> None:
    witness = Cosigner("cn-gd.example/witness", Ed25519Signer.from_private_bytes(b"\4" * 32))
    vkeys = [KEYS[name].vkey for name in "abc"]
    renamed = NoteSigner("cn-gd.example/root/z", Ed25519Signer.from_private_bytes(b"\3" * 32))
    twin = NoteSigner("cn-gd.example/root/y", Ed25519Signer.from_private_bytes(b"\3" * 32))
    spelled = NoteSigner("CN-GD.example/root/a", Ed25519Signer.from_private_bytes(b"\3" * 32))
    good = root_note(1, "abc", "ab")
    for name, description, note, error in (
        ("one-signature", "one signature where two are needed", root_note(1, "abc", "a"), SIGNATURE),
        ("outsider", "signed by a key that the epoch does not name", root_note(1, "abc", [outsider]), SIGNATURE),
        ("changed", "a date other than was signed", good.replace("2026-01-26", "2026-01-27"), SIGNATURE),
        (
            "format-v2",
            "a version that is not known",
            root_note(1, "abc", "ab", changes={"format": "chopmark/root-epoch/v2"}),
            UNSUPPORTED,
        ),
        ("extra-member", "a member that is not known", root_note(1, "abc", "ab", changes={"note": "x"}), UNSUPPORTED),
        ("member-missing", "no threshold", root_note(1, "abc", "ab", changes={"threshold": None}), FORMAT),
        (
            "threshold-boolean",
            "a threshold that is false",
            root_note(1, "abc", "ab", changes={"threshold": False}),
            FORMAT,
        ),
        ("epoch-0", "epoch 0", root_note(0, "abc", "ab"), FORMAT),
        ("threshold-0", "no key must sign", root_note(1, "abc", "ab", changes={"threshold": 0}), FORMAT),
        ("threshold-4", "four of three keys", root_note(1, "abc", "abc", changes={"threshold": 4}), FORMAT),
        ("threshold-fraction", "a threshold of 2.0", root_note(1, "abc", "ab", changes={"threshold": 2.0}), FORMAT),
        ("region-form", "a region in lower case", root_note(1, "abc", "ab", changes={"region": "cn-gd"}), FORMAT),
        (
            "issued-zone",
            "a time with a zone",
            root_note(1, "abc", "ab", changes={"issued": "2026-01-26T09:30:00+08:00"}),
            FORMAT,
        ),
        (
            "issued-no-such-day",
            "a day that does not exist",
            root_note(1, "abc", "ab", changes={"issued": "2026-02-30T00:00:00Z"}),
            FORMAT,
        ),
        (
            "key-twice",
            "a key that stands twice",
            root_note(1, "abc", "ab", changes={"keys": [vkeys[0], *vkeys]}),
            FORMAT,
        ),
        (
            "key-under-two-names",
            "one public key under two names",
            root_note(1, "", [renamed, twin], changes={"keys": [renamed.vkey, twin.vkey]}),
            FORMAT,
        ),
        (
            "witness-key",
            "a key of type 04",
            root_note(1, "abc", "ab", changes={"keys": [*vkeys, witness.vkey]}),
            FORMAT,
        ),
        (
            "two-hosts",
            "keys under two hosts",
            root_note(1, "abc", "ab", changes={"keys": [*vkeys, outsider.vkey]}),
            FORMAT,
        ),
        (
            "name-upper-case",
            "a key name in upper case",
            root_note(1, "", [spelled], changes={"keys": [spelled.vkey], "threshold": 1}),
            FORMAT,
        ),
        (
            "name-twice",
            "a JSON name that stands twice",
            _resigned(good, '"epoch": 1', '"epoch": 1,\n "epoch": 1'),
            FORMAT,
        ),
        ("not-json", "a comma behind the last member", _resigned(good, "]\n}", "],\n}"), FORMAT),
    ):
        file.refuse(f"root-{name}", description, "root_epochs", {"notes": [note]}, error)


def _resigned(note: str, old: str, new: str) -> str:
    text = note.rpartition("\n\n")[0] + "\n"
    return sign_note(text.replace(old, new), _two()).encode().decode()
