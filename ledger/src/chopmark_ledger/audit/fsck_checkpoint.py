"""Judging the checkpoint of a log from outside: its log's signatures, and the cosignatures that a policy asks for.

Specs: https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-policy. Whoever checks a log names its keys, and each key
that is named must have signed. Extension lines below the root hash, which the specification allows and we never write,
are taken from logs of others and remarked upon; not so under a policy, for not every cosignature covers them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chopmark.checkpoint import Checkpoint
from chopmark.errors import ChopmarkError, FormatError, KeyMaterialError, QuorumError, SignatureError
from chopmark.note import TYPE_COSIGNATURE_ED25519, Note, NoteVerifier
from chopmark.tlog_policy import PolicyLog, TlogPolicy, WitnessedCheckpoint

from chopmark_ledger.errors import NotThisLogError


@dataclass(frozen=True, slots=True)
class LogKeys:
    """By what a checkpoint is judged: the origin it must have, the keys that must all have signed it (where there are
    none, those of the policy, of which one must), and the policy for its cosignatures, if any."""

    origin: str
    verifiers: tuple[NoteVerifier, ...]
    policy: TlogPolicy | None

    @classmethod
    def of(cls, vkeys: Sequence[str], *, origin: str | None = None, policy: TlogPolicy | None = None) -> LogKeys:
        """Put together what a caller knows of a log.

        Args:
            vkeys: keys of the log; may be left out where the policy has some.
            origin: the origin to expect; the name of the keys where not given.
            policy: whose cosignatures count, and how many of them.

        Raises:
            FormatError: a vkey is none, no key is given, or the origin cannot be told.
            KeyMaterialError: a key that is no log's.
            QuorumError: the policy asks for no witness.
        """
        verifiers = tuple(dict.fromkeys(NoteVerifier.from_vkey(vkey) for vkey in vkeys))
        for verifier in verifiers:
            if verifier.type == TYPE_COSIGNATURE_ED25519:
                raise KeyMaterialError(
                    "the key of a witness, where that of a log is asked for",
                    where=f"vkey {verifier.name}",
                    remedy="Name witnesses in a policy",
                )
        if policy is not None and policy.is_none:
            raise QuorumError(
                "it asks for no witness", where="policy", remedy="Leave it out, or give one with a quorum"
            )
        logs = () if policy is None else policy.logs
        names = {verifier.name for verifier in verifiers or [log.verifier for log in logs]}
        if not names:
            raise FormatError(
                "no key of the log is given",
                where="checkpoint",
                remedy="Give its vkey (--vkey), or a policy with a line for it (--policy)",
            )
        if origin is None and len(names) > 1:
            raise FormatError(
                f"the keys have several names: {', '.join(sorted(names))}",
                where="vkey",
                remedy="Give the origin, or the keys of one log",
            )
        if policy is not None:
            known = {log.verifier for log in logs}
            policy = policy.with_logs(PolicyLog(each) for each in verifiers if each not in known)
        return cls(names.pop() if origin is None else origin, verifiers, policy)


@dataclass(frozen=True, slots=True)
class JudgedCheckpoint:
    """A checkpoint that its log signed.

    Args:
        checkpoint: what it says.
        note: the bytes of the whole note.
        signed_by: the keys of the log that signed it.
        extension_lines: how many lines it has below its root hash.
        witnessed: by whom and when it was cosigned, where a policy asked and is met.
        quorum_problem: why the policy is not met, None where it is, or there is none.
    """

    checkpoint: Checkpoint
    note: bytes
    signed_by: tuple[NoteVerifier, ...]
    extension_lines: int
    witnessed: WitnessedCheckpoint | None
    quorum_problem: ChopmarkError | None


def judge_checkpoint(data: bytes, keys: LogKeys) -> JudgedCheckpoint:
    """Judge the bytes of a checkpoint.

    Raises:
        FormatError: it is none, or has another origin though a key of the log is named in it.
        NotThisLogError: it is that of another log.
        SignatureError: a key of the log did not sign it, or its line is bad.
    """
    note = Note.parse(data)
    verifiers = keys.verifiers
    if not verifiers and keys.policy is not None:
        verifiers = tuple(log.verifier for log in keys.policy.logs if log.origin == keys.origin)
    _check_log(note, keys.origin, verifiers)
    signed_by = note.verify(verifiers)
    for verifier in keys.verifiers:
        if verifier not in signed_by:
            raise SignatureError("did not sign the checkpoint", where=f"key {verifier.name}+{verifier.key_id.hex()}")
    lines = note.text.split("\n")
    extension_lines = lines[3:-1]
    if "" in extension_lines:
        raise FormatError("an extension line that is empty", where="checkpoint")
    checkpoint = Checkpoint.parse("\n".join([*lines[:3], ""]))
    if checkpoint.origin != keys.origin:
        raise FormatError(f"the origin is {checkpoint.origin!r}, not {keys.origin!r}")
    witnessed, problem = _witnessed(note, keys.policy)
    return JudgedCheckpoint(checkpoint, data, signed_by, len(extension_lines), witnessed, problem)


def _check_log(note: Note, origin: str, verifiers: Sequence[NoteVerifier]) -> None:
    """Refuse what neither claims to be this log nor bears the name of one of its keys: that is no damage to it."""
    found = note.text.partition("\n")[0]
    if found != origin and not {each.name for each in note.signatures} & {each.name for each in verifiers}:
        raise NotThisLogError(
            f"this is the log {found}, not {origin}",
            where="checkpoint",
            remedy="Give the key or policy of this log, or the place of that one",
        )


def _witnessed(note: Note, policy: TlogPolicy | None) -> tuple[WitnessedCheckpoint | None, ChopmarkError | None]:
    if policy is None:
        return None, None
    try:
        return policy.check(note), None
    except (FormatError, SignatureError, QuorumError) as error:
        return None, error
