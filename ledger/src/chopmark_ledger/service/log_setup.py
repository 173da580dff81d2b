"""Making a log that a service can run, and the keys of its clients.

<data>/log.key                 Ed25519, encrypted
<data>/log-ml-dsa-44.key       ML-DSA-44, encrypted under the same passphrase
<data>/clients.json            nobody yet
<data>/log.toml                where its database is, if that is not in the folder
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chopmark import key_file
from chopmark.errors import KeyMaterialError
from chopmark.key_file import LocalSigner, ScryptCost
from chopmark.keys import Algorithm, Ed25519Signer, Es256Signer, MlDsa44Signer, PublicKey

from chopmark_ledger import durable
from chopmark_ledger.client import system_clock
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.service.log_clients import begin_clients
from chopmark_ledger.service.running_log import KEY_NAME, PQ_KEY_NAME, load_key
from chopmark_ledger.service.service_settings import DATABASE


@dataclass(frozen=True, slots=True)
class NewLog:
    """The keys of a log as its policy names them: Ed25519 (type 0x01), ML-DSA-44 (type 0x06)."""

    vkey: str
    pq_vkey: str


def init_log(
    folder: Path,
    *,
    origin: str,
    number: int,
    passphrase: bytes,
    database: str | None = None,
    clock: Callable[[], int] = system_clock,
    cost: ScryptCost = key_file.DEFAULT_COST,
) -> NewLog:
    """Make a log with two new keys in `folder`; where an earlier attempt was interrupted, go on with its keys.

    Args:
        folder: its data folder, which is made.
        origin: of its checkpoints.
        number: of the log within its region.
        passphrase: for its keys.
        database: the URL of a PostgreSQL database that is this log's alone; a file in the folder without one.
        clock: answers the time in POSIX seconds.
        cost: what guessing the passphrase costs.

    Raises:
        FolderError: a log is there already, or was.
        KeyMaterialError: keys are there already, and the passphrase does not open them.
        FormatError, StorageError: as `chopmark_ledger.sequencing.log.Log.create`.
    """
    if database is not None:
        DATABASE.check_can_keep(folder, database)
    durable.make_folder(folder)
    key = _key(folder / KEY_NAME, Ed25519Signer.generate, passphrase, cost)
    pq_key = _key(folder / PQ_KEY_NAME, MlDsa44Signer.generate, passphrase, cost)
    log = Log.create(folder, origin=origin, number=number, key=key, pq_key=pq_key, clock=clock, database=database)
    with log:
        identity = log.identity
    begin_clients(folder)
    if database is not None:
        DATABASE.keep(folder, database)
    if identity.pq_vkey is None:
        raise KeyMaterialError("the log has no ML-DSA-44 key", where=str(folder))
    return NewLog(identity.vkey, identity.pq_vkey)


def make_client_key(
    path: Path,
    *,
    passphrase: bytes,
    algorithm: Algorithm = Algorithm.ED25519,
    cost: ScryptCost = key_file.DEFAULT_COST,
    random: Callable[[int], bytes] = os.urandom,
) -> PublicKey:
    """Make a client's key in a file of its own.

    Raises:
        StorageError: the file is there already, or cannot be written.
        KeyMaterialError: an empty passphrase, or an algorithm that tokens are not signed with.
    """
    if algorithm is Algorithm.ED25519:
        signer: LocalSigner = Ed25519Signer.generate()
    elif algorithm is Algorithm.ES256:
        signer = Es256Signer.generate()
    else:
        raise KeyMaterialError(f"tokens are not signed with {algorithm.text}")
    key_file.write_key_file(path, signer, passphrase, cost=cost, random=random)
    return signer.public_key


def _key(path: Path, make: Callable[[], LocalSigner], passphrase: bytes, cost: ScryptCost) -> LocalSigner:
    if not path.exists():
        key_file.write_key_file(path, make(), passphrase, cost=cost)
    return load_key(path, passphrase)
