"""Vectors of tlog-policies and of tlog-proofs."""

from __future__ import annotations

import base64

from chopmark.checkpoint import Checkpoint
from chopmark.cosignature import Cosigner
from chopmark.keys import Ed25519Signer
from chopmark.merkle import inclusion_proof
from chopmark.note import Note, NoteSignature, NoteSigner, key_id
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof

from specs.vectors.merkle_vectors import ORIGIN, sample_log
from specs.vectors.ml_dsa_44 import DeterministicMlDsa44Signer
from specs.vectors.sample_log import SampleLog
from specs.vectors.sample_world import NOW
from specs.vectors.vector_file import FORMAT, LIMIT, PROOF, QUORUM, SIGNATURE, UNSUPPORTED, VectorFile

PQ_LOG = Cosigner(ORIGIN, DeterministicMlDsa44Signer(b"\x0b" * 32))
PQ_WITNESS = Cosigner("cn-sh.example/witness", DeterministicMlDsa44Signer(b"\x0a" * 32))
DOCUMENT = NoteSigner("cn-sh.example/root/a", DeterministicMlDsa44Signer(b"\x0a" * 32))


def policy_text(log: SampleLog, threshold: str = "2") -> str:
    """Three operators of one witness each; so many of them must cosign."""
    lines = [f"log {log.signer.vkey}"]
    for number, witness in enumerate(log.witnesses, 1):
        lines += [f"witness w{number} {witness.vkey}", f"group R0{number} any w{number}"]
    return "\n".join([*lines, f"group peers {threshold} R01 R02 R03", "quorum peers", ""])


def policy_vectors() -> VectorFile:
    """All vectors of `tlog-policy.json`: texts, and what they say of checkpoints."""
    file = VectorFile("tlog-policy", "specs/log.md")
    log = sample_log(13)
    _add_texts(file, log)
    _add_checks(file, log)
    _add_two_algorithms(file, log)
    return file


def _add_texts(file: VectorFile, log: SampleLog) -> None:
    text = policy_text(log)
    first, second, third = log.witnesses
    vkey, line = log.signer.vkey, f"log {log.signer.vkey}\n"
    spaced = "# a comment\n\n" + text.replace("group R01 any", "group\tR01   any")
    for name, description, given, quorum in (
        ("two-of-three", "two of three operators", text, "peers"),
        ("spaces", "comments, empty lines, tabs and several spaces", spaced, "peers"),
        ("none", "no witness is asked for", f"{line}quorum none\n", "none"),
        ("one-witness", "a witness as the quorum", f"{line}witness w {first.vkey}\nquorum w\n", "w"),
        ("urls", "urls behind the keys", f"{line[:-1]} https://cn-gd.example/log\nquorum none\n", "none"),
    ):
        parsed = TlogPolicy.parse(given)
        result = {
            "logs": len(parsed.logs),
            "witnesses": len(parsed.witnesses),
            "groups": len(parsed.groups),
            "quorum": quorum,
        }
        file.accept(f"policy-{name}", description, "tlog_policy", {"text": given}, result)
    witnesses = f"witness a {first.vkey}\nwitness b {second.vkey}\n"
    for name, description, given, error in (
        ("no-quorum", "no quorum line", f"{line}{witnesses}", FORMAT),
        ("two-quorums", "two quorum lines", f"{line}quorum none\nquorum none\n", FORMAT),
        ("no-newline", "no newline at the end", text[:-1], FORMAT),
        ("carriage-return", "carriage returns", text.replace("\n", "\r\n"), FORMAT),
        ("unknown-line", "a word that is not known", f"mirror {vkey}\nquorum none\n", FORMAT),
        ("member-unknown", "a member that is not defined above", f"{line}group g any a\n{witnesses}quorum g\n", FORMAT),
        (
            "member-twice",
            "a witness in two groups",
            f"{line}{witnesses}group g any a\ngroup h any a b\nquorum h\n",
            FORMAT,
        ),
        (
            "name-twice",
            "a name that stands twice",
            f"{line}witness a {first.vkey}\nwitness a {second.vkey}\nquorum a\n",
            FORMAT,
        ),
        (
            "key-twice",
            "one key under two names",
            f"{line}witness a {first.vkey}\nwitness b {first.vkey}\nquorum a\n",
            FORMAT,
        ),
        ("threshold-0", "a group of which none must cosign", f"{line}{witnesses}group g 0 a b\nquorum g\n", FORMAT),
        ("threshold-above", "three of two", f"{line}{witnesses}group g 3 a b\nquorum g\n", LIMIT),
        (
            "threshold-leading-zero",
            "a threshold with a leading zero",
            f"{line}{witnesses}group g 01 a b\nquorum g\n",
            FORMAT,
        ),
        ("group-empty", "a group without members", f"{line}group g any\nquorum g\n", FORMAT),
        ("name-none", "a witness with the name `none`", f"{line}witness none {first.vkey}\nquorum none\n", FORMAT),
        ("log-with-witness-key", "a key of type 04 for a log", f"log {third.vkey}\nquorum none\n", FORMAT),
        ("witness-with-log-key", "a key of type 01 for a witness", f"witness a {vkey}\nquorum a\n", FORMAT),
        ("document-key", "a key of type ff for a witness", f"witness a {DOCUMENT.vkey}\nquorum a\n", FORMAT),
        (
            "key-in-two-roles",
            "one key of type 06 for a log and a witness",
            f"log {PQ_LOG.vkey}\nwitness a {PQ_LOG.vkey}\nquorum a\n",
            FORMAT,
        ),
        (
            "key-type-2",
            "a key of a type that is not verified here",
            f"{line}witness a {_vkey_of_type_2()}\nquorum a\n",
            UNSUPPORTED,
        ),
        ("key-bad", "a key that is none", f"log {vkey[:-8]}\nquorum none\n", FORMAT),
    ):
        file.refuse(f"policy-{name}", description, "tlog_policy", {"text": given}, error)


def _vkey_of_type_2() -> str:
    typed = b"\2" + bytes(91)
    return f"us-il.example/witness+{key_id('us-il.example/witness', typed).hex()}+{base64.b64encode(typed).decode()}"


def _add_checks(file: VectorFile, log: SampleLog) -> None:
    note = Note.parse(log.checkpoint(at=NOW, witnesses=[]))
    checkpoint = log.checkpoint
    first, second, third = log.witnesses
    body = note.text
    other_log = NoteSigner("cn-sh.example/log/2026", Ed25519Signer.from_private_bytes(b"\6" * 32))
    unknown = Cosigner("cn-bj.example/witness", Ed25519Signer.from_private_bytes(b"\7" * 32))

    def cosigned(*times: tuple[Cosigner, int]) -> str:
        read = Checkpoint.parse(body)
        lines = [witness.cosign(read, time) for witness, time in times]
        return note.with_signature(*lines).encode().decode()

    def given(text: str, threshold: str = "2") -> dict[str, str]:
        return {"policy": policy_text(log, threshold), "checkpoint": text}

    all_three = cosigned((first, NOW - 30), (second, NOW - 20), (third, NOW - 10))
    for name, description, value, time, times in (
        ("two-of-three", "the second-smallest time counts", given(all_three), NOW - 20, 3),
        ("all", "of all three, the latest", given(all_three, "all"), NOW - 10, 3),
        ("any", "of any one, the earliest", given(all_three, "any"), NOW - 30, 3),
        ("exactly-two", "just the quorum", given(cosigned((first, NOW), (third, NOW - 5))), NOW, 2),
        (
            "unknown-witness",
            "a witness that is not known does not count, nor harm",
            given(cosigned((first, NOW), (second, NOW), (unknown, 1))),
            NOW,
            2,
        ),
    ):
        result = {"origin": log.origin, "size": log.size, "time": time, "times": times}
        file.accept(f"quorum-{name}", description, "quorum", value, result)
    *good, last = Note.parse(cosigned((first, NOW), (second, NOW))).signatures
    broken = NoteSignature(last.name, last.key_id, last.signature[:-1] + bytes((last.signature[-1] ^ 1,)))
    none = f"log {log.signer.vkey}\nquorum none\n"
    unsigned = Note(body, (*Note.parse(all_three).signatures[1:],)).encode().decode()
    forged = Note(body, (other_log.sign(body), *Note.parse(all_three).signatures[1:])).encode().decode()
    for name, description, value, error in (
        ("one-of-three", "one operator of the two", given(cosigned((first, NOW))), QUORUM),
        ("no-witness", "the signature of the log alone", given(checkpoint(at=NOW, witnesses=[]).decode()), QUORUM),
        ("unknown-only", "witnesses that are not known", given(cosigned((unknown, NOW))), QUORUM),
        (
            "policy-none",
            "a policy that asks for no witness: nothing says when",
            {"policy": none, "checkpoint": all_three},
            QUORUM,
        ),
        ("log-unsigned", "cosigned, not signed by the log", given(unsigned), SIGNATURE),
        ("another-log", "signed by a log of another origin", given(forged), SIGNATURE),
        (
            "cosignature-bad",
            "one bad cosignature of a known witness",
            given(Note(body, (*good, broken)).encode().decode(), "any"),
            SIGNATURE,
        ),
    ):
        file.refuse(f"quorum-{name}", description, "quorum", value, error)


def _add_two_algorithms(file: VectorFile, log: SampleLog) -> None:
    """A log and an operator with a key of each algorithm: two keys are one log, and one vote."""
    body = Note.parse(log.checkpoint(at=NOW, witnesses=[])).text
    read = Checkpoint.parse(body)
    first, second, _ = log.witnesses
    both = (
        f"log {log.signer.vkey}\nlog {PQ_LOG.vkey}\nwitness w1 {first.vkey}\nwitness w1-pq {PQ_WITNESS.vkey}\n"
        f"witness w2 {second.vkey}\ngroup R01 any w1 w1-pq\ngroup R02 any w2\ngroup peers 2 R01 R02\nquorum peers\n"
    )
    alone = f"log {PQ_LOG.vkey}\nwitness w2 {second.vkey}\nquorum w2\n"
    ed25519, ml_dsa_44 = log.signer.sign(body), PQ_LOG.cosign(read, NOW)
    lines = (first.cosign(read, NOW - 10), PQ_WITNESS.cosign(read, NOW - 20), second.cosign(read, NOW - 30))
    untimed = PQ_WITNESS.cosign_subtree(log.origin, 0, log.size, read.root)
    log_untimed = PQ_LOG.cosign_subtree(log.origin, 0, log.size, read.root)
    bad = NoteSignature(PQ_LOG.name, PQ_LOG.verifier.key_id, bytes(2428))

    def given(*signatures: NoteSignature, policy: str = both) -> dict[str, str]:
        return {"policy": policy, "checkpoint": Note(body, signatures).encode().decode()}

    for name, description, value, time, times in (
        (
            "both-keys",
            "a witness of two keys is one vote, at its earlier time",
            given(ed25519, ml_dsa_44, *lines),
            NOW - 20,
            3,
        ),
        ("ml-dsa-44-witness", "a witness that cosigned with ML-DSA-44 alone", given(ed25519, *lines[1:]), NOW - 20, 2),
        (
            "ml-dsa-44-log",
            "a log of which the policy has an ML-DSA-44 key alone; its own line may have no time",
            given(log_untimed, lines[2], policy=alone),
            NOW - 30,
            1,
        ),
    ):
        result = {"origin": log.origin, "size": log.size, "time": time, "times": times}
        file.accept(f"quorum-{name}", description, "quorum", value, result)
    for name, description, value, error in (
        ("both-keys-of-one", "two keys of one witness, and no other", given(ed25519, *lines[:2]), QUORUM),
        (
            "untimed-cosignature",
            "a cosigned subtree of the size of the checkpoint is no witness",
            given(ed25519, untimed, lines[2]),
            QUORUM,
        ),
        (
            "ml-dsa-44-log-alone",
            "the ML-DSA-44 line of a log whose Ed25519 key is known",
            given(ml_dsa_44, *lines),
            SIGNATURE,
        ),
        (
            "ml-dsa-44-log-bad",
            "a bad ML-DSA-44 line beside a good one of Ed25519",
            given(ed25519, bad, *lines),
            SIGNATURE,
        ),
    ):
        file.refuse(f"quorum-{name}", description, "quorum", value, error)


def proof_vectors() -> VectorFile:
    """All vectors of `tlog-proof.json`."""
    file = VectorFile("tlog-proof", "specs/log.md")
    log = sample_log(13)
    policy = policy_text(log)
    text = log.tlog_proof(8, at=NOW).decode()
    read = TlogProof.parse(text)

    def given(proof: str, *, entry: int = 8, under: str = policy) -> dict[str, str]:
        return {"text": proof, "policy": under, "entry": log.entries[entry].hex()}

    result = {"origin": ORIGIN, "index": 8, "size": 13, "time": NOW}
    file.accept("tlog-proof", "entry 8 of 13", "tlog_proof", given(text), result)
    extra = TlogProof(8, read.proof, read.checkpoint_note, b"extra").encode().decode()
    file.accept("tlog-proof-extra", "with extra data, which nothing vouches for", "tlog_proof", given(extra), result)
    single = TlogProof(
        0,
        tuple(inclusion_proof(index=0, size=1, read=log.read)),
        log.checkpoint(at=NOW, size=1),
        None,
    )
    result = {"origin": ORIGIN, "index": 0, "size": 1, "time": NOW}
    file.accept(
        "tlog-proof-no-hash", "the only entry of a log", "tlog_proof", given(single.encode().decode(), entry=0), result
    )
    lines = text.split("\n")
    hashes = [line for line in lines[2:] if line][: len(read.proof)]
    unwitnessed = log.tlog_proof(8, at=NOW, witnesses=[]).decode()
    for name, description, value, error in (
        ("version-2", "a version that is not known", given(text.replace("@v1", "@v2")), FORMAT),
        ("no-index", "no index line", given(text.replace("index 8\n", "")), FORMAT),
        ("index-leading-zero", "an index with a leading zero", given(text.replace("index 8", "index 08")), FORMAT),
        ("index-2-63", "an index of 2^63", given(text.replace("index 8", f"index {2**63}")), LIMIT),
        ("extra-empty", "empty extra data", given(text.replace("index 8", "extra \nindex 8")), FORMAT),
        ("hash-short", "a hash of 31 bytes", given(text.replace(hashes[0], "A" * 40 + "AA==", 1)), FORMAT),
        ("64-hashes", "64 hashes", given(text.replace(hashes[0], "\n".join([hashes[0]] * 63), 1)), LIMIT),
        ("no-checkpoint", "no checkpoint", given(text.partition("\n\n")[0] + "\n"), FORMAT),
        ("carriage-return", "carriage returns", given(text.replace("\n", "\r\n")), FORMAT),
        ("another-entry", "another entry", given(text, entry=9), PROOF),
        ("another-index", "the index is another", given(text.replace("index 8", "index 9")), PROOF),
        ("hash-missing", "a hash is missing", given(text.replace(hashes[0] + "\n", "", 1)), PROOF),
        ("no-witness", "a checkpoint that no witness cosigned", given(unwitnessed), QUORUM),
        (
            "another-log",
            "a policy of another log",
            given(text, under=policy.replace(log.signer.vkey, _other_vkey())),
            SIGNATURE,
        ),
    ):
        file.refuse(f"tlog-proof-{name}", description, "tlog_proof", value, error)
    return file


def _other_vkey() -> str:
    return NoteSigner("cn-sh.example/log/2026", Ed25519Signer.from_private_bytes(b"\6" * 32)).vkey
