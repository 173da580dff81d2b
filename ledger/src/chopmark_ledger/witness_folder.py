"""A witness in a folder: its name and logs, its key, what it cosigned, and evidence.

    witness.json                      {"format": "chopmark/witness/v1", "name": …, "logs": [vkeys of logs]}
    witness.key                       the private key, encrypted under a passphrase
    logs/<origin hash>/checkpoint     the last checkpoint cosigned, log's and own signatures on it: the state, and
                                      what tlog-witness asks a witness to serve for monitors
    evidence/<case>/                  held.note and submitted.note, verbatim, and case.json
    lock, staging/                    one request at a time; files on their way

<origin hash> is the SHA-256 of the origin in hex. A log is known by its vkey, whose name is its origin. Several
processes may use one folder: each request takes the lock for as long as it is judged and written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from chopmark import durable_file, key_file, strict
from chopmark.checkpoint import Checkpoint
from chopmark.errors import ChopmarkError, FormatError, UnsupportedError
from chopmark.keys import Ed25519Signer
from chopmark.limits import LIMITS
from chopmark.note import TYPE_COSIGNATURE_ED25519, TYPE_ED25519, Note, NoteVerifier, split_cosignature

from chopmark_ledger import durable
from chopmark_ledger.errors import FolderError, LedgerDamagedError
from chopmark_ledger.witness import Evidence, Witness, WitnessState

FORMAT = "chopmark/witness/v1"
_CONFIGURATION = "witness.json"
_KEY = "witness.key"
_MAX_CONFIGURATION = 4 * 1024 * 1024
_MAX_CASES = 1000
"""Cases kept of each kind and log: one that forks without end must neither fill the disk nor hide another's forks."""


class FolderStore:
    """The state of a witness in its folder; see `chopmark_ledger.witness.WitnessStore`.

    Args:
        folder: the folder of the witness.
        verifier: the witness's own key, under which the state it finds must verify.
    """

    def __init__(self, folder: Path, verifier: NoteVerifier) -> None:
        self._folder = folder
        self._staging = folder / "staging"
        self._verifier = verifier

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep every other request out, in this process and in others."""
        with durable_file.held_for_a_moment(self._folder):
            yield

    def load(self, origin: str) -> WitnessState:
        """Read what is held of an origin.

        Raises:
            LedgerDamagedError: the file is not a checkpoint of that origin with this witness's cosignature. It is
                never taken for "nothing held": that would allow a second history.
        """
        path = self._checkpoint(origin)
        data = durable_file.read_file(path, max_size=LIMITS.note_size)
        if data is None:
            return WitnessState()
        try:
            note = Note.parse(data)
            note.verify([self._verifier])
            own_key = (self._verifier.name, self._verifier.key_id)
            own = next(line for line in note.signatures if (line.name, line.key_id) == own_key)
            time, _ = split_cosignature(own.signature)
            held_origin, size, root = note.text.split("\n")[:3]
            checkpoint = Checkpoint.parse(f"{held_origin}\n{size}\n{root}\n")
        except (ChopmarkError, ValueError) as error:
            raise _damaged(path, str(error)) from error
        if checkpoint.origin != origin:
            raise _damaged(path, f"it is of {checkpoint.origin}")
        return WitnessState(checkpoint.size, checkpoint.root, time, data)

    def save(self, origin: str, state: WitnessState) -> None:
        """Replace what is held of an origin, durably.

        Raises:
            StorageError: it cannot be made durable; what is held is the old state or the new one.
        """
        self._write(self._checkpoint(origin), state.note)

    def keep_evidence(self, evidence: Evidence) -> None:
        """Keep both notes of a contradiction; a case that is kept already is not written again.

        Raises:
            StorageError: it cannot be made durable.
        """
        kind = evidence.contradiction.value
        of_this_log = f"{kind}-{_origin_hash(evidence.origin)[:16]}"
        cases = self._folder / "evidence"
        folder = cases / f"{of_this_log}-{evidence.size}-{evidence.root.hex()[:16]}"
        if (folder / "case.json").is_file() or len(list(cases.glob(f"{of_this_log}-*"))) >= _MAX_CASES:
            return
        description = {
            "origin": evidence.origin,
            "contradiction": kind,
            "time": strict.time_encode(evidence.time),
            "held": "held.note",
            "submitted": "submitted.note",
        }
        self._write(folder / "held.note", evidence.held)
        self._write(folder / "submitted.note", evidence.submitted)
        self._write(folder / "case.json", json.dumps(description, ensure_ascii=False, indent=2).encode() + b"\n")

    def _checkpoint(self, origin: str) -> Path:
        return self._folder / "logs" / _origin_hash(origin) / "checkpoint"

    def _write(self, path: Path, data: bytes) -> None:
        durable.make_folder(path.parent)
        durable.make_folder(self._staging)
        durable.empty_folder(self._staging)  # whatever is there is left over: only who holds the lock writes
        durable.replace_file(path, data, staging=self._staging)
        for folder in path.parents:
            durable.sync_folder(folder)
            if folder == self._folder:
                break


def init_witness(
    folder: Path,
    name: str,
    passphrase: bytes,
    *,
    logs: Sequence[str] = (),
    cost: key_file.ScryptCost = key_file.DEFAULT_COST,
) -> str:
    """Make a witness with a new key in `folder`, for the logs of these vkeys; answers its own, for their policies.

    Raises:
        FolderError: a witness is there already, or what one cosigned.
        FormatError: `name` is no key name, or one of `logs` not the vkey of a log.
        KeyMaterialError: the passphrase is empty.
        StorageError: the folder cannot be written.
    """
    signer = Ed25519Signer.generate()
    vkey = NoteVerifier(name, TYPE_COSIGNATURE_ED25519, signer.public_key).vkey
    for log in logs:
        _check_log_vkey(log)
    durable.make_folder(folder)
    with durable_file.held_for_a_moment(folder):
        if (folder / _CONFIGURATION).exists():
            raise FolderError("there is a witness already", where=str(folder), remedy="Choose another folder")
        if (folder / "logs").exists():
            raise FolderError(
                f"there is what a witness cosigned, without its {_CONFIGURATION}",
                where=str(folder),
                remedy="Bring that file back from a backup, or choose another folder",
            )
        # A key without a configuration is left over from an init that ended early: nothing was ever signed with it.
        (folder / _KEY).unlink(missing_ok=True)
        key_file.write_key_file(folder / _KEY, signer, passphrase, cost=cost)
        _write_configuration(folder, name, list(dict.fromkeys(logs)))
    return vkey


def open_witness(folder: Path, passphrase: bytes) -> Witness:
    """Open the witness in `folder` with its key.

    Raises:
        FolderError: there is none.
        FormatError, KeyMaterialError, StorageError: its files cannot be read, or the passphrase is another one.
    """
    name, vkeys = _read_configuration(folder)
    signer = key_file.read_key_file(folder / _KEY).load(passphrase, where=str(folder / _KEY))
    logs: dict[str, list[NoteVerifier]] = {}
    for vkey in vkeys:
        verifier = NoteVerifier.from_vkey(vkey)
        logs.setdefault(verifier.name, []).append(verifier)
    verifier = NoteVerifier(name, TYPE_COSIGNATURE_ED25519, signer.public_key)
    return Witness(name, signer, FolderStore(folder, verifier), logs)


def witness_vkey(folder: Path) -> str:
    """The vkey of the witness in `folder`; no passphrase is needed.

    Raises:
        FolderError: there is none.
        FormatError, KeyMaterialError, StorageError: its files cannot be read.
    """
    name, _ = _read_configuration(folder)
    public_key = key_file.read_key_file(folder / _KEY).public_key
    return NoteVerifier(name, TYPE_COSIGNATURE_ED25519, public_key).vkey


def add_log(folder: Path, vkey: str) -> None:
    """Let the witness in `folder` cosign for the log with this key; adding it twice is harmless.

    Raises:
        FolderError: there is no witness.
        FormatError: not the vkey of a log.
        StorageError: the folder cannot be written.
    """
    _check_log_vkey(vkey)
    with durable_file.held_for_a_moment(folder):
        name, logs = _read_configuration(folder)
        if vkey not in logs:
            _write_configuration(folder, name, [*logs, vkey])


def _check_log_vkey(vkey: str) -> None:
    if NoteVerifier.from_vkey(vkey).type != TYPE_ED25519:
        raise FormatError("a cosigner's key, not that of a log", where="vkey", remedy="A log signs with type 0x01")


def _read_configuration(folder: Path) -> tuple[str, list[str]]:
    path = folder / _CONFIGURATION
    data = durable_file.read_file(path, max_size=_MAX_CONFIGURATION)
    if data is None:
        raise FolderError(
            "there is no witness", where=str(folder), remedy="Make one with `chopmark witness init DIR --name N`"
        )
    document: Any = strict.json_decode(data, where=str(path), max_size=_MAX_CONFIGURATION)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UnsupportedError(f"not of the format {FORMAT}", where=str(path))
    name, logs = document.get("name"), document.get("logs")
    if document.keys() != {"format", "name", "logs"} or not isinstance(name, str) or not isinstance(logs, list):
        raise FormatError("not an object of format, name and logs", where=str(path))
    if not all(isinstance(vkey, str) for vkey in logs):
        raise FormatError("logs is not a list of vkeys", where=str(path))
    return name, logs


def _write_configuration(folder: Path, name: str, logs: list[str]) -> None:
    document = {"format": FORMAT, "name": name, "logs": logs}
    staging = folder / "staging"
    durable.make_folder(staging)
    data = json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"
    durable.replace_file(folder / _CONFIGURATION, data, staging=staging)
    durable.sync_folder(folder)


def _origin_hash(origin: str) -> str:
    return sha256(origin.encode("utf-8")).hexdigest()


def _damaged(path: Path, reason: str) -> LedgerDamagedError:
    return LedgerDamagedError(
        f"not a checkpoint that this witness cosigned: {reason}",
        where=str(path),
        remedy="Bring the file back from a backup that is not older, or end this witness and begin a new one",
    )
