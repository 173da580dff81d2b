"""Chopmark: formats, proofs, trust and offline verification of electronic licences.

An inspector needs three names: the pinned roots of the own region, the trust store, the verifier.

    roots = Roots.pin(Path("root-1.note").read_bytes())
    store = TrustStore.open("trust", roots=roots)
    verdict = Verifier(store).verify("EL1:…")
    if verdict.outcome is Outcome.VALID: ...

Everything is imported when it is first used (PEP 562), so that `import chopmark` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chopmark import base45, checkpoint, licence_number, merkle, note, status
    from chopmark.challenge import Challenge, create_challenge
    from chopmark.checkpoint import Checkpoint
    from chopmark.cosignature import Cosigner
    from chopmark.credential import Claims, Credential, issue_credential
    from chopmark.errors import (
        ChopmarkError,
        FormatError,
        FutureDatedError,
        KeyMaterialError,
        LimitError,
        MissingExtraError,
        ProofError,
        QuorumError,
        RollbackError,
        SignatureError,
        StorageError,
        TrustError,
        UnreachableError,
        UnsupportedError,
    )
    from chopmark.keys import Algorithm, Ed25519Signer, Es256Signer, MlDsa44Signer, PublicKey, Signer
    from chopmark.landmark import LandmarkFile, LandmarkProof
    from chopmark.licence_type import LocalisedText
    from chopmark.note import Note, NoteSigner, NoteVerifier, sign_note
    from chopmark.presentation import Presentation, present
    from chopmark.replay_cache import ReplayCache
    from chopmark.root_epoch import Roots
    from chopmark.status import StatusList, StatusListToken
    from chopmark.tlog_policy import TlogPolicy
    from chopmark.tlog_proof import TlogProof
    from chopmark.trust_bundle import TrustBundle
    from chopmark.trust_store import TrustStore
    from chopmark.verdict import Check, Outcome, Remark, Result, ShownField, Verdict
    from chopmark.verification_record import VerificationRecord, create_record, verify_record
    from chopmark.verifier import VerificationPolicy, Verifier

__version__ = "0.1.0"

_SUBMODULES = {"base45", "checkpoint", "licence_number", "merkle", "note", "status"}
_MODULE_OF = {
    name: module
    for module, names in {
        "challenge": ("Challenge", "create_challenge"),
        "checkpoint": ("Checkpoint",),
        "cosignature": ("Cosigner",),
        "credential": ("Claims", "Credential", "issue_credential"),
        "errors": (
            "ChopmarkError",
            "FormatError",
            "FutureDatedError",
            "KeyMaterialError",
            "LimitError",
            "MissingExtraError",
            "ProofError",
            "QuorumError",
            "RollbackError",
            "SignatureError",
            "StorageError",
            "TrustError",
            "UnreachableError",
            "UnsupportedError",
        ),
        "keys": ("Algorithm", "Ed25519Signer", "Es256Signer", "MlDsa44Signer", "PublicKey", "Signer"),
        "licence_type": ("LocalisedText",),
        "landmark": ("LandmarkFile", "LandmarkProof"),
        "note": ("Note", "NoteSigner", "NoteVerifier", "sign_note"),
        "presentation": ("Presentation", "present"),
        "replay_cache": ("ReplayCache",),
        "root_epoch": ("Roots",),
        "status": ("StatusList", "StatusListToken"),
        "tlog_policy": ("TlogPolicy",),
        "tlog_proof": ("TlogProof",),
        "trust_bundle": ("TrustBundle",),
        "trust_store": ("TrustStore",),
        "verdict": ("Check", "Outcome", "Remark", "Result", "ShownField", "Verdict"),
        "verification_record": ("VerificationRecord", "create_record", "verify_record"),
        "verifier": ("VerificationPolicy", "Verifier"),
    }.items()
    for name in names
}

__all__ = [
    "Algorithm",
    "Challenge",
    "Check",
    "Checkpoint",
    "ChopmarkError",
    "Claims",
    "Cosigner",
    "Credential",
    "Ed25519Signer",
    "Es256Signer",
    "FormatError",
    "FutureDatedError",
    "KeyMaterialError",
    "LandmarkFile",
    "LandmarkProof",
    "LimitError",
    "LocalisedText",
    "MissingExtraError",
    "MlDsa44Signer",
    "Note",
    "NoteSigner",
    "NoteVerifier",
    "Outcome",
    "Presentation",
    "ProofError",
    "PublicKey",
    "QuorumError",
    "Remark",
    "ReplayCache",
    "Result",
    "RollbackError",
    "Roots",
    "ShownField",
    "SignatureError",
    "Signer",
    "StatusList",
    "StatusListToken",
    "StorageError",
    "TlogPolicy",
    "TlogProof",
    "TrustBundle",
    "TrustError",
    "TrustStore",
    "UnreachableError",
    "UnsupportedError",
    "Verdict",
    "VerificationPolicy",
    "VerificationRecord",
    "Verifier",
    "base45",
    "checkpoint",
    "create_challenge",
    "create_record",
    "issue_credential",
    "licence_number",
    "merkle",
    "note",
    "present",
    "sign_note",
    "status",
    "verify_record",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"chopmark.{name}")
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'chopmark' has no attribute {name!r}")
    value = getattr(import_module(f"chopmark.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
