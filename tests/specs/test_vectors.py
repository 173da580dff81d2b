"""Every vector of `specs/vectors/`, run against the SDK; nothing of their generator is used here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from chopmark import base45, cbor, licence_number, merkle, organisation_code, qr_text
from chopmark.cbor import REDACTED, Tagged
from chopmark.challenge import Challenge
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.cose import Sign1
from chopmark.cosignature import CosignatureVerifier
from chopmark.credential import Credential
from chopmark.entries import parse_entry
from chopmark.errors import ChopmarkError
from chopmark.key_file import parse_key_file
from chopmark.keys import Algorithm, PublicKey
from chopmark.landmark import LandmarkFile, LandmarkProof, LandmarkRecord
from chopmark.note import Note, NoteSignature, NoteVerifier
from chopmark.presentation import Presentation
from chopmark.root_epoch import Roots
from chopmark.status import StatusList, StatusListToken
from chopmark.tiles import decode_entry_bundle, parse_tile_path
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from chopmark.trust_bundle import TrustBundle
from chopmark.verification_record import verify_record

VECTORS = Path(__file__).parents[2] / "specs" / "vectors"
STATEFUL = {"trust-store.json", "verification.json", "material.json", "witness.json", "witness-subtree.json"}
"""Files that `test_verification_vectors.py` and `test_witness_vectors.py` run."""

Given = Mapping[str, Any]


def value_json(value: object) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, Tagged):
        return {"tag18": value_json(value.value)}
    if isinstance(value, list):
        return [value_json(element) for element in value]
    if isinstance(value, dict):
        return {"map": [[value_json(key), value_json(element)] for key, element in value.items()]}
    if value is REDACTED:
        return {"simple": 59}
    return {"integer": str(value)} if type(value) is int and abs(value) >= 2**53 else value


def public_key(given: Given) -> PublicKey:
    algorithm = next(each for each in Algorithm if each.text == given["algorithm"])
    return PublicKey(algorithm, bytes.fromhex(given["public_key"]))


def hashes(given: Given) -> list[bytes]:
    return [bytes.fromhex(value) for value in given["proof"]]


def run_cbor(given: Given) -> Any:
    data = bytes.fromhex(given["hex"])
    value = cbor.decode(data)
    assert cbor.encode(value) == data
    return value_json(value)


def run_base45(given: Given) -> Any:
    data = base45.decode(given["text"])
    assert base45.encode(data) == given["text"]
    return data.hex()


def run_cose_key(given: Given) -> Any:
    key = PublicKey.from_cose(cbor.decode(bytes.fromhex(given["hex"])))
    return {
        "algorithm": key.algorithm.text,
        "raw": key.raw.hex(),
        "thumbprint": key.thumbprint.hex(),
        "kid": key.kid.hex(),
    }


def run_cose(given: Given) -> Any:
    message = Sign1.parse(bytes.fromhex(given["hex"]))
    message.verify(public_key(given))
    return {"digest": message.digest().hex()}


def run_credential(given: Given) -> Any:
    data = bytes.fromhex(given["hex"])
    credential = Credential.parse(data)
    assert credential.encode() == data
    fields, number = credential.disclosed_fields(), credential.disclosed_licence_number()
    if "public_key" in given:
        credential.verify_signature(public_key(given))
    result = {
        "kind": credential.kind.name.lower(),
        "issuer": credential.claims.issuer,
        "licence_type": credential.claims.licence_type,
        "issued_at": credential.claims.issued_at,
        "digest": credential.digest.hex(),
        "fields": value_json(fields),
        "unknown": len(credential.unknown),
    }
    return result if number is None else {**result, "licence_number": number}


def run_presentation(given: Given) -> Any:
    presentation = Presentation.parse(bytes.fromhex(given["hex"]))
    presentation.verify_binding()
    presentation.check_times()
    result = {
        "audience": presentation.audience,
        "issued_at": presentation.issued_at,
        "token_hash": presentation.token_hash.hex(),
        "credential_digest": presentation.credential.digest.hex(),
    }
    return result if presentation.nonce is None else {**result, "nonce": presentation.nonce.hex()}


def run_challenge(given: Given) -> Any:
    challenge = Challenge.parse_text(given["text"])
    challenge.verify(public_key(given))
    assert challenge.text() == given["text"]
    return {
        "inspector": challenge.inspector,
        "purpose": challenge.purpose,
        "licence_type": challenge.licence_type,
        "fields": list(challenge.fields),
        "issued_at": challenge.issued_at,
        "expires": challenge.expires,
        "nonce": challenge.nonce.hex(),
        "digest": challenge.digest.hex(),
    }


def run_inclusion(given: Given) -> None:
    leaf, root = bytes.fromhex(given["leaf_hash"]), bytes.fromhex(given["root"])
    proof, index, size = hashes(given), given["index"], given["size"]
    merkle.verify_inclusion(leaf_hash=leaf, index=index, size=size, proof=proof, root=root)


def run_consistency(given: Given) -> None:
    root1, root2 = bytes.fromhex(given["root1"]), bytes.fromhex(given["root2"])
    sizes = {"size1": given["size1"], "size2": given["size2"]}
    merkle.verify_consistency(**sizes, root1=root1, root2=root2, proof=hashes(given))


def run_subtree_inclusion(given: Given) -> None:
    leaf, root = bytes.fromhex(given["leaf_hash"]), bytes.fromhex(given["root"])
    place = {name: given[name] for name in ("index", "start", "end")}
    merkle.verify_subtree_inclusion(leaf_hash=leaf, **place, proof=hashes(given), root=root)


def run_subtree_consistency(given: Given) -> None:
    subtree_root, root = bytes.fromhex(given["subtree_root"]), bytes.fromhex(given["root"])
    place = {name: given[name] for name in ("start", "end", "size")}
    merkle.verify_subtree_consistency(**place, subtree_root=subtree_root, root=root, proof=hashes(given))


def run_find_subtrees(given: Given) -> Any:
    return [list(interval) for interval in merkle.find_subtrees(given["start"], given["end"])]


def run_tile_path(given: Given) -> Any:
    tile = parse_tile_path(given["text"])
    level = "entries" if tile.level is None else tile.level
    return {"level": level, "index": tile.index, "width": tile.width}


def run_entry_bundle(given: Given) -> Any:
    return [entry.hex() for entry in decode_entry_bundle(bytes.fromhex(given["hex"]), given["count"])]


def run_log_entry(given: Given) -> Any:
    data = bytes.fromhex(given["hex"])
    entry = parse_entry(data)
    assert entry.encode() == data
    return {"kind": entry.kind, "leaf_hash": merkle.leaf_hash(data).hex()}


def run_landmark_file(given: Given) -> Any:
    file = LandmarkFile.parse(bytes.fromhex(given["hex"]))
    digest = file.prefix_digest(len(file)).hex()
    return {"log_number": file.log_number, "records": len(file), "end": file.end, "digest": digest}


def run_landmark_proof(given: Given) -> Any:
    proof = LandmarkProof.from_value(cbor.decode(bytes.fromhex(given["hex"])))
    record = LandmarkRecord(**{**given["record"], "hash": bytes.fromhex(given["record"]["hash"])})
    proof.verify(merkle.leaf_hash(bytes.fromhex(given["entry"])), record)
    return {"index": proof.index}


def run_note(given: Given) -> Any:
    verifiers = [NoteVerifier.from_vkey(vkey) for vkey in given["vkeys"]]
    return [verifier.name for verifier in Note.parse(given["text"]).verify(verifiers)]


def run_vkey(given: Given) -> Any:
    verifier = NoteVerifier.from_vkey(given["text"])
    assert verifier.vkey == given["text"]
    key_id, raw = verifier.key_id.hex(), verifier.public_key.raw.hex()
    return {"name": verifier.name, "type": verifier.type, "key_id": key_id, "public_key": raw}


def run_checkpoint(given: Given) -> Any:
    checkpoint = Checkpoint.parse(given["text"])
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}


def run_cosignature(given: Given) -> Any:
    verifier = CosignatureVerifier.from_vkey(given["vkey"])
    return {"time": verifier.verify_all(SignedCheckpoint.parse(given["text"]))}


def run_subtree_cosignature(given: Given) -> Any:
    line = NoteSignature.parse(given["line"])
    verifier = CosignatureVerifier.from_vkey(given["vkey"])
    subtree = {"origin": given["origin"], "start": given["start"], "end": given["end"]}
    verifier.verify_subtree(**subtree, root=bytes.fromhex(given["hash"]), signature=line)


def run_tlog_policy(given: Given) -> Any:
    policy = TlogPolicy.parse(given["text"])
    assert TlogPolicy.parse(policy.encode()) == policy
    counts = {"logs": len(policy.logs), "witnesses": len(policy.witnesses), "groups": len(policy.groups)}
    return {**counts, "quorum": policy.quorum}


def run_quorum(given: Given) -> Any:
    witnessed = TlogPolicy.parse(given["policy"]).check(given["checkpoint"])
    checkpoint, times = witnessed.checkpoint, len(witnessed.times)
    return {"origin": checkpoint.origin, "size": checkpoint.size, "time": witnessed.time, "times": times}


def run_tlog_proof(given: Given) -> Any:
    proof = TlogProof.parse(given["text"])
    leaf = merkle.leaf_hash(bytes.fromhex(given["entry"]))
    witnessed = proof.verify(leaf, TlogPolicy.parse(given["policy"]))
    checkpoint = witnessed.checkpoint
    return {"origin": checkpoint.origin, "index": proof.index, "size": checkpoint.size, "time": witnessed.time}


def statuses(status_list: StatusList, expected: Given) -> Any:
    """The size, and every status that the vector names; all others are 0."""
    named = [[index, status_list.get(index)] for index, _ in expected["statuses"]]
    rest = set(range(len(status_list))) - {index for index, _ in expected["statuses"]}
    assert {status_list.get(index) for index in rest} <= {0}
    return {"size": len(status_list), "statuses": named}


def run_status_list(given: Given, expected: Given) -> Any:
    status_list = StatusList.decode_cbor(bytes.fromhex(given["hex"]))
    return {"bits": status_list.bits, **statuses(status_list, expected)}


def run_status_token(given: Given, expected: Given) -> Any:
    token = StatusListToken.parse(bytes.fromhex(given["hex"]))
    token.verify(public_key(given))
    times = {"issued_at": token.issued_at, "expires": token.expires, "ttl": token.ttl}
    return {"uri": token.uri, **times, **statuses(token.status_list, expected), "hash": token.hash.hex()}


def run_licence_number(given: Given) -> Any:
    number = licence_number.parse(given["text"], strict=given["strict"])
    return {
        "type_code": number.type_code,
        "issuer_code": number.issuer_code,
        "serial": number.serial,
        "version": number.version,
        "check": number.check,
        "warnings": len(number.warnings),
    }


def run_root_epochs(given: Given) -> Any:
    first, *later = (note.encode() for note in given["notes"])
    roots = Roots.pin(first)
    for note in later:
        roots = roots.advance(note)
    return {"region": roots.region, "epoch": roots.epoch, "threshold": roots.threshold}


def run_trust_bundle(given: Given, shared: Given) -> Any:
    bundle = TrustBundle.parse(given["text"].encode(), roots=Roots.pin(shared["root_epoch"].encode()))
    numbers = {"seq": bundle.seq, "issued": bundle.issued, "epoch": bundle.epoch}
    return {"region": bundle.region, **numbers, "digest": bundle.digest.hex()}


def run_bundle_successor(given: Given, shared: Given) -> None:
    roots = Roots.pin(shared["root_epoch"].encode())
    old, new = (TrustBundle.parse(given[name].encode(), roots=roots) for name in ("old", "new"))
    old.check_successor(new)


def run_verification_record(given: Given) -> Any:
    record = verify_record(given["text"], public_key(given))
    return {
        "inspector": record.inspector,
        "issued_at": record.issued_at,
        "record_id": record.record_id,
        "purpose": record.purpose,
        "outcome": record.outcome.value,
        "bundles": record.bundles,
        "fields": record.fields,
        "licence_number": record.licence_number,
    }


def run_key_file(given: Given) -> Any:
    signer = parse_key_file(given["text"].encode()).load(given["passphrase"].encode())
    key = signer.public_key
    return {"algorithm": key.algorithm.text, "public_key": key.raw.hex(), "private": signer.private_bytes().hex()}


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "qr_text": lambda given: qr_text.decode(given["text"]).hex(),
    "signature": lambda given: public_key(given).verify(
        bytes.fromhex(given["message"]), bytes.fromhex(given["signature"])
    ),
    "organisation_code": lambda given: organisation_code.validate(given["text"]) and None,
    **{name.removeprefix("run_"): function for name, function in globals().items() if name.startswith("run_")},
}


def outcome_of(run: Callable[[], Any]) -> tuple[str, Any]:
    """`accept` and the result, or the name of the error and its message."""
    try:
        return "accept", run()
    except ChopmarkError as error:
        return type(error).__name__, str(error)


def files() -> list[Path]:
    return sorted(path for path in VECTORS.glob("*.json") if path.name not in STATEFUL)


def cases() -> list[Any]:
    found = []
    for path in files():
        document = json.loads(path.read_text(encoding="utf-8"))
        found += [pytest.param(document, vector, id=vector["name"]) for vector in document["vectors"]]
    return found


@pytest.mark.parametrize(("document", "vector"), cases())
def test_vector_has_its_declared_outcome(document: Given, vector: Given) -> None:
    operation, given = vector["operation"], [vector["input"]]
    if operation.startswith("status_"):
        given.append(vector.get("result", {"statuses": []}))
    elif operation in ("trust_bundle", "bundle_successor"):
        given.append(document)
    outcome, result = outcome_of(lambda: OPERATIONS[operation](*given))
    assert outcome == vector["outcome"], result
    if outcome == "accept":
        assert result == vector.get("result")
