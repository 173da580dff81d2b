"""A witness in a folder: its name, its keys and the logs it knows.

    witness.json                      {"format": "chopmark/witness/v2", "name": …, "vkeys": [its own],
                                       "logs": [vkeys of logs]}
    witness.key                       the Ed25519 key, encrypted under a passphrase
    witness-ml-dsa-44.key             the ML-DSA-44 key, likewise
    logs/, cosigned/, evidence/       what it cosigned; see `chopmark_ledger.witness.witness_state`
    lock, staging/                    held while witness.json is written

A log is known by its vkeys, of type 0x01 or 0x06, whose name is its origin. The version v1 has no `vkeys` and the
Ed25519 key alone; it is read as well, and kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chopmark import durable_file, key_file, strict
from chopmark.cosignature import CosignatureVerifier, Cosigner
from chopmark.cosigned_message import check_cosigned_name
from chopmark.errors import ChopmarkError, FormatError, KeyMaterialError, StorageError, UnsupportedError
from chopmark.keys import Algorithm, Ed25519Signer, MlDsa44Signer
from chopmark.note import (
    TYPE_COSIGNATURE_ED25519,
    TYPE_COSIGNATURE_ML_DSA_44,
    TYPE_ED25519,
    NoteVerifier,
)

from chopmark_ledger import durable
from chopmark_ledger.errors import FolderError
from chopmark_ledger.witness.witness import Witness
from chopmark_ledger.witness.witness_state import FolderStore, origin_hash

FORMAT = "chopmark/witness/v2"
_FIRST_FORMAT = "chopmark/witness/v1"
_CONFIGURATION = "witness.json"
_KEYS = {Algorithm.ED25519: "witness.key", Algorithm.ML_DSA_44: "witness-ml-dsa-44.key"}
_TYPES = {Algorithm.ED25519: TYPE_COSIGNATURE_ED25519, Algorithm.ML_DSA_44: TYPE_COSIGNATURE_ML_DSA_44}
_MAX_CONFIGURATION = 16 * 1024 * 1024
"""Bytes of witness.json: some eight thousand logs with post-quantum keys."""
_KEYS_OF_A_LOG = 16
"""Keys by which one log is known: both kinds, and some generations of each."""


@dataclass(frozen=True, slots=True)
class WitnessConfiguration:
    """What witness.json says: the name, the witness's own vkeys (none in the first version), and those of the logs."""

    name: str
    vkeys: tuple[str, ...]
    logs: tuple[str, ...]


class KnownLogs(Mapping[str, Sequence[NoteVerifier]]):
    """The keys of the logs in a witness.json, by origin; they are read anew when that file is replaced.

    While what stands there cannot be read, the last that could be goes on to count, and `problem` says why.

    Raises:
        FolderError, FormatError, KeyMaterialError, StorageError: the file cannot be read to begin with.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _CONFIGURATION
        self._seen = self._identity()
        self._logs = _read_logs(folder)
        self._origins = _origins(self._logs)
        self.problem: str | None = None

    def __getitem__(self, origin: str) -> Sequence[NoteVerifier]:
        self._refresh()
        return self._logs[origin]

    def __iter__(self) -> Iterator[str]:
        self._refresh()
        return iter(tuple(self._logs))

    def __len__(self) -> int:
        self._refresh()
        return len(self._logs)

    def origin_of(self, digest: str) -> str | None:
        """The origin with this hash, as paths name it; None for one that is not known."""
        self._refresh()
        return self._origins.get(digest)

    def _refresh(self) -> None:
        identity = self._identity()
        if identity == self._seen:
            return
        try:
            self._logs = _read_logs(self._folder)
            self._origins = _origins(self._logs)
            self.problem = None
        except StorageError as error:  # it may be over the next time, though the file stays the same
            self.problem = str(error)
            return
        except ChopmarkError as error:
            self.problem = str(error)
        self._seen = identity

    def _identity(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - a third of the time of Path.stat
        except OSError:
            return ()
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@dataclass(frozen=True, slots=True)
class OpenedWitness:
    """A witness that was opened, and the parts of it that an operator wants to look at."""

    witness: Witness
    store: FolderStore
    logs: KnownLogs


def init_witness(
    folder: Path,
    name: str,
    passphrase: bytes,
    *,
    logs: Sequence[str] = (),
    cost: key_file.ScryptCost = key_file.DEFAULT_COST,
) -> tuple[str, ...]:
    """Make a witness with new keys in `folder`, for the logs of these vkeys; answers its own, for their policies.

    Raises:
        FolderError: a witness is there already, or what one cosigned.
        FormatError: `name` is no key name, or one of `logs` not the vkey of a log.
        KeyMaterialError: the passphrase is empty.
        StorageError: the folder cannot be written.
    """
    check_cosigned_name(name, where="name")
    signers = (Ed25519Signer.generate(), MlDsa44Signer.generate())
    vkeys = tuple(Cosigner(name, signer).vkey for signer in signers)
    _logs_by_origin(logs)
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
        for signer in signers:
            path = folder / _KEYS[signer.public_key.algorithm]
            # A key without a configuration is left over from an init that ended early: it never signed anything.
            path.unlink(missing_ok=True)
            key_file.write_key_file(path, signer, passphrase, cost=cost)
        _write_configuration(folder, WitnessConfiguration(name, vkeys, tuple(dict.fromkeys(logs))))
        durable.sync_folder(folder.parent)
    return vkeys


def prepare_witness(
    folder: Path, *, name: str | None, logs: Sequence[str], passphrase: Callable[[], bytes]
) -> WitnessConfiguration:
    """See to it that there is a witness of this name in `folder`, and that it knows these logs.

    Args:
        folder: where it lives; made if it is not there.
        name: its name; needed where there is no witness yet.
        logs: vkeys of logs, beside those that it knows.
        passphrase: answers the passphrase of its keys; asked only where it is made.

    Raises:
        FolderError: there is none and no name, or one of another name.
        FormatError, KeyMaterialError, StorageError: as `init_witness`, `read_configuration` and `add_log`.
    """
    if not (folder / _CONFIGURATION).exists() and name is not None:
        init_witness(folder, name, passphrase(), logs=logs)
    configuration = read_configuration(folder)
    if name is not None and name != configuration.name:
        raise FolderError(
            f"the witness there is {configuration.name}, not {name}",
            where=str(folder),
            remedy="A witness keeps its name: choose another folder for another one",
        )
    for vkey in logs:
        add_log(folder, vkey)
    return read_configuration(folder)


def open_witness(folder: Path, passphrase: bytes) -> OpenedWitness:
    """Open the witness in `folder` with its keys.

    Raises:
        FolderError: there is none, or a key of it is missing.
        FormatError, KeyMaterialError, StorageError: its files cannot be read, or the passphrase is another one.
    """
    configuration = _read_configuration(folder)
    files = _key_files(folder, configuration)
    signers = [file.load(passphrase, where=str(path)) for path, file in files.items()]
    verifiers = [Cosigner(configuration.name, signer).verifier.note_verifier for signer in signers]
    store = FolderStore(folder, verifiers)
    logs = KnownLogs(folder)
    return OpenedWitness(Witness(configuration.name, signers, store, logs), store, logs)


def read_configuration(folder: Path) -> WitnessConfiguration:
    """The name, vkeys and logs of the witness in `folder`; no passphrase is needed.

    Raises:
        FolderError: there is none, or a key of it is missing.
        FormatError, KeyMaterialError, StorageError: its files cannot be read.
    """
    configuration = _read_configuration(folder)
    keys = [file.public_key for file in _key_files(folder, configuration).values()]
    return replace(
        configuration,
        vkeys=tuple(NoteVerifier(configuration.name, _TYPES[key.algorithm], key).vkey for key in keys),
    )


def witness_vkeys(folder: Path) -> tuple[str, ...]:
    """The vkeys of the witness in `folder`, the Ed25519 key first; no passphrase is needed.

    Raises: as `read_configuration`.
    """
    return read_configuration(folder).vkeys


def add_log(folder: Path, vkey: str) -> None:
    """Let the witness in `folder` cosign for the log with this key; adding it twice is harmless.

    A log with two keys is added by each of them. A witness that runs takes it up with the next request.

    Raises:
        FolderError: there is no witness.
        FormatError: not the vkey of a log.
        StorageError: the folder cannot be written.
    """
    NoteVerifier.from_vkey(vkey)
    with durable_file.held_for_a_moment(folder):
        configuration = _read_configuration(folder)
        if vkey in configuration.logs:
            return
        changed = replace(configuration, logs=(*configuration.logs, vkey))
        _logs_by_origin(changed.logs)
        _write_configuration(folder, changed)


def _origins(logs: Mapping[str, object]) -> dict[str, str]:
    return {origin_hash(origin): origin for origin in logs}


def _read_logs(folder: Path) -> dict[str, tuple[NoteVerifier, ...]]:
    logs = _read_configuration(folder).logs
    try:
        return _logs_by_origin(logs)
    except (FormatError, KeyMaterialError) as error:
        raise type(error)(error.what, where=f"{folder / _CONFIGURATION}, logs, {error.where}") from error


def _logs_by_origin(vkeys: Sequence[str]) -> dict[str, tuple[NoteVerifier, ...]]:
    logs: dict[str, tuple[NoteVerifier, ...]] = {}
    for vkey in dict.fromkeys(vkeys):
        verifier = NoteVerifier.from_vkey(vkey)
        if verifier.type not in (TYPE_ED25519, TYPE_COSIGNATURE_ML_DSA_44):
            raise FormatError(
                f"a key of type {verifier.type:#04x}, with which no log signs its checkpoints",
                where=f"vkey {verifier.name}",
                remedy="A log signs with type 0x01 or 0x06",
            )
        check_cosigned_name(verifier.name, where=f"vkey {verifier.name[:40]}")
        others = logs.get(verifier.name, ())
        if any(other.key_id == verifier.key_id for other in others):
            raise KeyMaterialError("two different keys of one name and id", where=f"vkey {verifier.name}")
        if len(others) >= _KEYS_OF_A_LOG:
            raise FormatError(f"more than {_KEYS_OF_A_LOG} keys of one log", where=f"vkey {verifier.name}")
        logs[verifier.name] = (*others, verifier)
    return logs


def _key_files(folder: Path, configuration: WitnessConfiguration) -> dict[Path, key_file.KeyFile]:
    """The key files of a witness, by path; each is that of the vkey in witness.json."""
    if not configuration.vkeys:
        path = folder / _KEYS[Algorithm.ED25519]
        return {path: key_file.read_key_file(path)}
    files = {}
    for vkey in configuration.vkeys:
        verifier = CosignatureVerifier.from_vkey(vkey).note_verifier
        path = folder / _KEYS[verifier.public_key.algorithm]
        file = key_file.read_key_file(path)
        if verifier.name != configuration.name or file.public_key != verifier.public_key:
            raise KeyMaterialError(
                f"not the key that {_CONFIGURATION} names",
                where=str(path),
                remedy="Bring both files back from one backup",
            )
        files[path] = file
    return files


def _read_configuration(folder: Path) -> WitnessConfiguration:
    path = folder / _CONFIGURATION
    data = durable_file.read_file(path, max_size=_MAX_CONFIGURATION)
    if data is None:
        raise FolderError(
            "there is no witness", where=str(folder), remedy="Make one with `chopmark witness init DIR --name N`"
        )
    document: Any = strict.json_decode(data, where=str(path), max_size=_MAX_CONFIGURATION)
    if not isinstance(document, dict) or document.get("format") not in (FORMAT, _FIRST_FORMAT):
        raise UnsupportedError(f"not of the format {FORMAT}", where=str(path))
    members = {"format", "name", "logs"} | ({"vkeys"} if document["format"] == FORMAT else set())
    if document.keys() != members or not isinstance(document["name"], str):
        raise FormatError(f"not an object of {', '.join(sorted(members))}", where=str(path))
    vkeys, logs = (_texts(document.get(member, []), f"{path}, {member}") for member in ("vkeys", "logs"))
    if document["format"] == FORMAT and not vkeys:
        raise FormatError("no key of its own", where=f"{path}, vkeys")
    return WitnessConfiguration(document["name"], vkeys, logs)


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise FormatError("not a list of vkeys", where=where)
    return tuple(value)


def _write_configuration(folder: Path, configuration: WitnessConfiguration) -> None:
    document: dict[str, object] = {"format": _FIRST_FORMAT, "name": configuration.name}
    if configuration.vkeys:
        document |= {"format": FORMAT, "vkeys": configuration.vkeys}
    data = json.dumps(document | {"logs": configuration.logs}, ensure_ascii=False, indent=2).encode() + b"\n"
    if len(data) > _MAX_CONFIGURATION:
        raise StorageError(f"above {_MAX_CONFIGURATION} bytes: too many logs", where=str(folder / _CONFIGURATION))
    staging = folder / "staging" / "configuration"
    durable.make_folder(staging)
    durable.empty_folder(staging)
    durable.replace_file(folder / _CONFIGURATION, data, staging=staging)
    durable.sync_folder(folder)
