"""What an object says, as JSON values: every function takes a parsed object and verifies nothing.

Times are RFC 3339, byte strings hexadecimal, keys vkeys or base64. A member that is absent is None or left out.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from chopmark import strict
from chopmark.bundle_contents import FORMAT as BUNDLE_FORMAT
from chopmark.bundle_contents import BundleContents
from chopmark.challenge import Challenge
from chopmark.checkpoint import Checkpoint
from chopmark.claims import Kind
from chopmark.credential import Credential
from chopmark.entries import (
    CredentialEntry,
    GenesisEntry,
    LandmarkFileEntry,
    LogEntry,
    StatusListEntry,
    TrustBundleEntry,
)
from chopmark.errors import ChopmarkError, FormatError, SignatureError
from chopmark.keys import PublicKey
from chopmark.landmark import LandmarkFile, LandmarkRecord
from chopmark.licence_number import LicenceNumber
from chopmark.limits import LIMITS
from chopmark.note import Note, NoteSignature, NoteVerifier, split_cosignature
from chopmark.presentation import ANYBODY, Presentation
from chopmark.root_epoch import FORMAT as ROOT_EPOCH_FORMAT
from chopmark.root_epoch import Roots
from chopmark.status import StatusListToken, StatusValue
from chopmark.tlog_policy import TlogPolicy
from chopmark.tlog_proof import TlogProof
from chopmark.verification_record import UnverifiedRecord, field_json

Content = dict[str, Any]
"""Member → JSON value."""

COSIGNATURE_SIZES = (8 + 64, 8 + 2420)
"""Bytes behind the key id of a cosignature, Ed25519 and ML-DSA-44: a time and a signature."""


def credential(value: Credential) -> Content:
    """A credential, with the disclosures that it carries."""
    claims = value.claims
    try:
        fields, number, problem = value.disclosed_fields(), value.disclosed_licence_number(), None
    except FormatError as error:
        fields, number, problem = dict(claims.fields), claims.licence_number, str(error)
    hidden = len(value.redacted_fields) - (len(fields) - len(claims.fields))
    usage = claims.usage
    return {
        "form": "holder-bound" if value.kind is Kind.HOLDER_BOUND else "bearer",
        "issuer": claims.issuer,
        "licence_type": claims.licence_type,
        "licence_number": "hidden" if number is None else number,
        "fields": {str(key): field_json(fields[key]) for key in sorted(fields)},
        "disclosed_fields": sorted(fields.keys() - claims.fields.keys()) or None,
        "hidden": hidden or None,
        "disclosure_problem": problem,
        "usage": None
        if usage is None
        else {
            "role": usage.role,
            "purpose": usage.purpose,
            "until": moment(usage.until),
            "medium": usage.medium,
        },
        "issued_at": moment(claims.issued_at),
        "not_before": moment(claims.not_before),
        "expires": moment(claims.expires),
        "status": None if claims.status is None else {"uri": claims.status.uri, "index": claims.status.index},
        "credential_id": None if claims.credential_id is None else claims.credential_id.hex(),
        "holder_key": None if claims.holder_key is None else public_key(claims.holder_key),
        "digest": value.digest.hex(),
        "algorithm": value.sign1.algorithm.text,
        "kid": value.kid.hex(),
        "unknown": list(value.unknown) or None,
        "landmark_proof": _landmark_proof(value),
        "tlog_proof": None if value.tlog_proof is None else _embedded_tlog_proof(value.tlog_proof),
    }


def presentation(value: Presentation) -> Content:
    """A key binding token and the credential inside."""
    return {
        "audience": "anybody" if value.audience == ANYBODY else value.audience,
        "issued_at": moment(value.issued_at),
        "nonce": None if value.nonce is None else value.nonce.hex(),
        "algorithm": value.sign1.algorithm.text,
        "token_hash": value.token_hash.hex(),
        "credential": credential(value.credential),
    }


def challenge(value: Challenge) -> Content:
    """What an inspector asks."""
    return {
        "inspector": value.inspector,
        "purpose": value.purpose,
        "licence_type": value.licence_type,
        "fields": list(value.fields),
        "issued_at": moment(value.issued_at),
        "expires": moment(value.expires),
        "nonce": value.nonce.hex(),
        "digest": value.digest.hex(),
        "algorithm": value.sign1.algorithm.text,
        "kid": value.kid.hex(),
    }


def status_list_token(value: StatusListToken) -> Content:
    """A status list and how many entries have which status."""
    counted: Counter[int] = Counter()
    bits = value.status_list.bits
    for packed, times in Counter(value.status_list.data).items():
        for shift in range(0, 8, bits):
            counted[packed >> shift & ((1 << bits) - 1)] += times
    return {
        "uri": value.uri,
        "issued_at": moment(value.issued_at),
        "expires": moment(value.expires),
        "ttl": value.ttl,
        "entries": len(value.status_list),
        "statuses": {status.name.lower(): counted[status.value] for status in StatusValue if counted[status.value]},
        "bits": bits,
        "hash": value.hash.hex(),
        "algorithm": value.sign1.algorithm.text,
        "kid": value.kid.hex(),
    }


def note(value: Note) -> tuple[str, Content]:
    """A signed note: its kind, by what its text is, and what it says."""
    signatures = [_note_signature(line) for line in value.signatures]
    if value.text.startswith("{"):
        content = strict.json_decode(value.text.encode("utf-8"), where="note text", max_size=LIMITS.note_size)
        document_format = content.get("format") if isinstance(content, dict) else None
        if document_format == BUNDLE_FORMAT:
            BundleContents.parse(value.text)
            return "trust-bundle", {**content, "signatures": signatures}
        if document_format == ROOT_EPOCH_FORMAT:
            _check_root_epoch(value)
            return "root-epoch", {**content, "signatures": signatures}
    else:
        try:
            return "checkpoint", {**checkpoint(Checkpoint.parse(value.text)), "signatures": signatures}
        except FormatError:
            pass
    return "note", {"text": value.text, "signatures": signatures}


def checkpoint(value: Checkpoint) -> Content:
    """A checkpoint without its signatures."""
    return {"origin": value.origin, "size": value.size, "root": strict.base64_encode(value.root)}


def tlog_proof(value: TlogProof) -> Content:
    """A tlog-proof and the checkpoint in it."""
    kind, signed = note(Note.parse(value.checkpoint_note))
    return {
        "index": value.index,
        "proof_hashes": [strict.base64_encode(each) for each in value.proof],
        "extra": None if value.extra is None else value.extra.hex(),
        kind: signed,
    }


def tlog_policy(value: TlogPolicy) -> Content:
    """Logs, witnesses, groups and quorum of a policy."""
    return {
        "logs": [log.verifier.vkey for log in value.logs],
        "witnesses": [{"name": each.name, "vkey": each.verifier.vkey} for each in value.witnesses],
        "groups": [
            {"name": group.name, "threshold": group.threshold, "members": list(group.members)} for group in value.groups
        ],
        "quorum": value.quorum,
    }


def landmark_file(value: LandmarkFile) -> Content:
    """A landmark file: how far it reaches, its first and last record."""
    records = len(value)
    first, last = value.covering(0), value.covering(value.end - 1)
    return {
        "log_number": value.log_number,
        "suite": value.suite,
        "records": records,
        "end": value.end,
        "first": None if first is None else _landmark_record(first),
        "last": None if last is None else _landmark_record(last),
        "digest": value.prefix_digest(records).hex(),
    }


def log_entry(value: LogEntry) -> Content:
    """A log entry, by its kind."""
    kind = value.kind
    if isinstance(value, GenesisEntry):
        created = moment(value.created)
        return {"kind": kind, "entry": "genesis", "origin": value.origin, "suite": value.suite, "created": created}
    if isinstance(value, CredentialEntry):
        return {"kind": kind, "entry": "credential", "issuer": value.issuer, "digest": value.digest.hex()}
    if isinstance(value, StatusListEntry):
        return {
            "kind": kind,
            "entry": "status list",
            "issuer": value.issuer,
            "uri": value.uri,
            "hash": value.token_hash.hex(),
            "issued_at": moment(value.issued_at),
        }
    if isinstance(value, TrustBundleEntry):
        return {
            "kind": kind,
            "entry": "trust bundle",
            "region": value.region,
            "seq": value.seq,
            "digest": value.digest.hex(),
        }
    if isinstance(value, LandmarkFileEntry):
        return {
            "kind": kind,
            "entry": "landmark file",
            "origin": value.origin,
            "records": value.records,
            "digest": value.digest.hex(),
        }
    try:
        statement = dict([note(Note.parse(value.note))])
    except ChopmarkError as error:
        statement = {"note": {"unknown": str(error)}}
    return {"kind": kind, "entry": "trust statement", **statement}


def verification_record(value: UnverifiedRecord) -> Content:
    """What an inspector filed."""
    record = value.record
    return {
        "inspector": record.inspector,
        "issued_at": moment(record.issued_at),
        "purpose": record.purpose,
        "outcome": record.outcome.value,
        "record_id": record.record_id,
        "verdict": {**record.verdict, "at": moment(record.verdict["at"])},
        "bundles": dict(record.bundles),
        "licence_number": record.licence_number,
        "fields": None if record.fields is None else dict(record.fields),
        "algorithm": value.algorithm,
        "kid": value.kid.hex(),
    }


def vkey(value: NoteVerifier) -> Content:
    """A key that signs notes or cosigns checkpoints."""
    return {
        "name": value.name,
        "key_id": value.key_id.hex(),
        "type": f"{value.type:#04x}",
        **public_key(value.public_key),
    }


def public_key(value: PublicKey) -> Content:
    """A public key."""
    return {"algorithm": value.algorithm_text, "kid": value.kid.hex(), "public_key": value.to_json()}


def licence_number(value: LicenceNumber) -> Content:
    """The parts of a licence number, and where it deviates from the standard."""
    return {
        "licence_number": value.text,
        "type_code": value.type_code,
        "defining_authority": value.defining_authority,
        "issuer_code": value.issuer_code,
        "serial": value.serial,
        "version": value.version,
        "check_character": value.check,
        "warnings": list(value.warnings) or None,
    }


def organisation_code(value: str) -> Content:
    """The parts of a right organisation code (GB 32100)."""
    return {
        "organisation": value,
        "registering_authority": value[0],
        "kind_of_organisation": value[1],
        "area_code": value[2:8],
        "check_character": value[17],
    }


def moment(seconds: int | None) -> str | None:
    """POSIX seconds as RFC 3339, or as a number where that cannot write them."""
    if seconds is None:
        return None
    try:
        return strict.time_encode(seconds)
    except FormatError:
        return f"{seconds} s"


def _landmark_proof(value: Credential) -> Content | None:
    proof = value.landmark_proof
    if proof is None:
        return None
    return {
        "log_number": proof.log_number,
        "start": proof.start,
        "end": proof.end,
        "index": proof.index,
        "hashes": len(proof.hashes) // 32,
    }


def _embedded_tlog_proof(data: bytes) -> Content:
    try:
        return tlog_proof(TlogProof.parse(data))
    except ChopmarkError as error:
        return {"unknown": str(error)}


def _landmark_record(record: LandmarkRecord) -> Content:
    return {
        "start": record.start,
        "end": record.end,
        "hash": record.hash.hex(),
        "checkpoint_size": record.checkpoint_size,
        "witnessed_time": moment(record.witnessed_time),
    }


def _note_signature(line: NoteSignature) -> Content:
    time = None
    if len(line.signature) in COSIGNATURE_SIZES:
        try:
            time = moment(split_cosignature(line.signature)[0])
        except FormatError:
            time = None
    return {"name": line.name, "key_id": line.key_id.hex(), "time": time, "bytes": len(line.signature)}


def _check_root_epoch(value: Note) -> None:
    try:
        Roots.pin(value.encode())
    except SignatureError:
        # Well formed, which is all that is asked here.
        return
