"""The log of a region: one that runs in the registry's own process, or one that is served.

    own process     <data>/log with its public/; its two keys are the registry's; witnesses in folders of this machine
    served          at a URL, by `chopmark log serve`, with keys and a policy of its own; the registry writes to it with
                    a client's key, which the log's operator enrols

What a region's row says of its log is a `RegionLog`; both kinds are used alike as a `LedgerClient`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chopmark.bundle_entries import Log
from chopmark.bundle_policies import check_log_policy
from chopmark.errors import FormatError
from chopmark.identifiers import ORIGIN, host_of
from chopmark.keys import Algorithm, PublicKey, Signer
from chopmark.note import TYPE_COSIGNATURE_ML_DSA_44, TYPE_ED25519, NoteVerifier
from chopmark.tlog_policy import PolicyLog, TlogPolicy
from chopmark_ledger.client import (
    LocalLedger,
    RemoteLedger,
    WitnessClient,
    create_ledger,
    log_vkey,
    open_ledger,
    witness_vkeys,
)
from chopmark_service.json_web_key import to_jwk
from sqlalchemy import Connection, Row, insert

from chopmark_issuer.errors import RefusedError
from chopmark_issuer.keys.key_provider import KeyProvider
from chopmark_issuer.keys.keys import InventoryUse, enrol_key
from chopmark_issuer.publishing.policies import log_policy
from chopmark_issuer.settings import Settings
from chopmark_issuer.storage.models import WITNESS

_LIFETIME = 30 * 366 * 86_400
"""Seconds: these keys are replaced together with the log, or by its operator, not by their window."""


@dataclass(frozen=True, slots=True)
class LogService:
    """A log that is served, as its operator tells of it.

    Args:
        url: where the registry reaches it.
        vkeys: its keys, as `chopmark log init` prints them: Ed25519, and ML-DSA-44 if it has one.
        policy: the tlog-policy that it is served with. Its log lines may name another URL, that is, where everybody
            else fetches the log's files.
        number: of the log within the region.
    """

    url: str
    vkeys: tuple[str, ...]
    policy: str
    number: int = 1


@dataclass(frozen=True, slots=True)
class RegionLog:
    """What a region says of its log; `url` is None where it runs in the registry's own process."""

    origin: str
    number: int
    vkey: str
    pq_vkey: str | None
    policy: str
    url: str | None

    @property
    def vkeys(self) -> tuple[str, ...]:
        """Its keys, Ed25519 first."""
        return (self.vkey,) if self.pq_vkey is None else (self.vkey, self.pq_vkey)

    @classmethod
    def of(cls, row: Row[Any]) -> RegionLog:
        """The log that the row of a region tells of."""
        return cls(row.origin, row.log_number, row.log_vkey, row.log_pq_vkey, row.policy, row.log_url)


def client_name(region: str, key: PublicKey | None = None) -> str:
    """The name by which the registry of a region writes to its log: one of its own for each key of a served log's
    client, as the log remembers the batch numbers of a name for ever, and a registry made anew begins with the first.
    """
    return f"registry of {region}" if key is None else f"registry of {region}, key {key.kid.hex()[:8]}"


def served_log(service: LogService, *, host: str | None, created: int) -> RegionLog:
    """Check what an operator tells of a served log, and put its URL where the policy has none.

    Args:
        service: what is told.
        host: of the region's names, which its log shares, if that is known before.
        created: POSIX seconds.

    Raises:
        RefusedError: keys that are not those of one log of this region, or a policy that names others.
        FormatError, KeyMaterialError: a key or the policy is none, or the policy breaks the rules of trust bundles.
    """
    if not 1 <= service.number < 2**32:
        raise RefusedError(f"the number of a log is from 1 to {2**32 - 1}", where="log number")
    if re.fullmatch(r"[!-~]+", service.url, re.ASCII) is None:
        raise FormatError("a URL has no spaces, and no letters beyond ASCII", where="log URL")
    vkey, pq_vkey = _two_keys(service.vkeys)
    origin = NoteVerifier.from_vkey(vkey).name
    if ORIGIN.fullmatch(origin) is None:
        raise RefusedError(f"the origin {origin!r} is not <host>/<path>, in lower case", where="log")
    if host is not None and host_of(origin) != host:
        raise RefusedError(
            f"the log {origin} is not under {host}", where="host", remedy="A region and its log share one host"
        )
    policy = _with_urls(service)
    log = RegionLog(origin, service.number, vkey, pq_vkey, policy, service.url)
    check_log_policy(bundle_log(log, created=created), where="policy")
    return log


def bundle_log(log: RegionLog, *, created: int) -> Log:
    """The log as a trust bundle names it."""
    return Log(log.number, log.origin, 1, log.vkeys, created, None, None, log.policy)


def open_served(
    log: RegionLog, key: Signer, settings: Settings, *, region: str, random: Callable[[int], bytes]
) -> RemoteLedger:
    """The served log, as the registry of `region` writes to it with its client's key; nothing is asked of it yet.

    Raises:
        FormatError: the URL is none.
    """
    if log.url is None:
        raise FormatError("the log is not served", where=log.origin)
    return RemoteLedger(
        log.url,
        name=client_name(region, key.public_key),
        key=key,
        policy_text=log.policy,
        vkey=log.vkey,
        number=log.number,
        patience=settings.log_patience,
        random=random,
    )


def new_client_key(connection: Connection, keys: KeyProvider, region: str, *, at: int) -> Signer:
    """Make the key by which a served log is to know the registry of a region."""
    return _new_key(connection, keys, region, InventoryUse.LOG_CLIENT, at=at)


def plan_own(
    connection: Connection,
    keys: KeyProvider,
    region: str,
    witnesses: Sequence[Path],
    quorum: int | None,
    *,
    host: str,
    at: int,
) -> RegionLog:
    """Make the keys and the policy of a log that is to run in the registry's own process, and note its witnesses.

    Raises:
        RefusedError: witnesses that make no quorum; see `policies.log_policy`.
        FolderError, StorageError: a folder that holds no witness.
    """
    origin = f"{host}/log/{datetime.fromtimestamp(at, UTC).year}"
    folders = {vkey: witness for witness in witnesses for vkey in witness_vkeys(witness)}
    vkey, pq_vkey = (
        log_vkey(origin, _new_key(connection, keys, region, InventoryUse.LOG, at=at, algorithm=algorithm))
        for algorithm in (Algorithm.ED25519, Algorithm.ML_DSA_44)
    )
    policy = log_policy((vkey, pq_vkey), tuple(folders), quorum)
    for witness_key, witness in folders.items():
        connection.execute(insert(WITNESS).values(vkey=witness_key, folder=str(witness.resolve())))
    return RegionLog(origin, 1, vkey, pq_vkey, policy, None)


def create_own(
    log: RegionLog, keys: KeyProvider, folder: Path, *, clock: Callable[[], int], random: Callable[[int], bytes]
) -> None:
    """Begin the log that runs in the registry's own process, with keys that were made before.

    Raises: as `chopmark_ledger.client.create_ledger`, and as `KeyProvider.signer`.
    """
    create_ledger(
        folder,
        origin=log.origin,
        number=log.number,
        key=keys.signer(_kid(log.vkey)),
        pq_key=None if log.pq_vkey is None else keys.signer(_kid(log.pq_vkey)),
        clock=clock,
        random=random,
    )


def open_own(
    log: RegionLog,
    key: Signer,
    keys: KeyProvider,
    folder: Path,
    witnesses: Sequence[WitnessClient],
    *,
    clock: Callable[[], int],
    random: Callable[[int], bytes],
) -> LocalLedger:
    """The log in the registry's own folder, locked for this process.

    Raises: as `chopmark_ledger.client.open_ledger`, and as `KeyProvider.signer`.
    """
    return open_ledger(
        folder,
        key=key,
        pq_key=None if log.pq_vkey is None else keys.signer(_kid(log.pq_vkey)),
        witnesses=witnesses,
        policy_text=log.policy,
        clock=clock,
        random=random,
    )


def enrolment(region: str, key: PublicKey) -> tuple[str, str]:
    """What the operator of a served log needs: the registry's public key as a JSON Web Key, and the command that
    takes it from standard input."""
    command = ["chopmark", "log", "add-client", "LOG_DATA", client_name(region, key), "--region", region, "--jwk", "-"]
    return json.dumps(to_jwk(key)), shlex.join(command)


def _new_key(
    connection: Connection,
    keys: KeyProvider,
    region: str,
    use: InventoryUse,
    *,
    at: int,
    algorithm: Algorithm = Algorithm.ED25519,
) -> Signer:
    signer = keys.generate(algorithm, use=use)
    enrol_key(connection, signer.public_key, owner=region, use=use, not_before=at, not_after=at + _LIFETIME)
    return signer


def _kid(vkey: str) -> str:
    return NoteVerifier.from_vkey(vkey).public_key.kid.hex()


def _two_keys(vkeys: Sequence[str]) -> tuple[str, str | None]:
    by_type: dict[int, str] = {}
    for vkey in vkeys:
        verifier = NoteVerifier.from_vkey(vkey)
        if verifier.type not in (TYPE_ED25519, TYPE_COSIGNATURE_ML_DSA_44) or verifier.type in by_type:
            raise RefusedError(
                "a log has one Ed25519 key, and at most one ML-DSA-44 key", where="log", remedy="Give its own keys"
            )
        by_type[verifier.type] = vkey
    if TYPE_ED25519 not in by_type:
        raise RefusedError("the Ed25519 key of the log is missing", where="log", remedy="Give it: --log-vkey VKEY")
    if len({NoteVerifier.from_vkey(vkey).name for vkey in vkeys}) != 1:
        raise RefusedError("the keys are not of the same log: their names differ", where="log")
    return by_type[TYPE_ED25519], by_type.get(TYPE_COSIGNATURE_ML_DSA_44)


def _with_urls(service: LogService) -> str:
    """The policy with a line for each key of the log, each with a URL."""
    policy = TlogPolicy.parse(service.policy)
    urls = {log.verifier.vkey: log.url for log in policy.logs}
    if urls.keys() - set(service.vkeys):
        raise RefusedError(
            "the policy names another log, or another key of this one",
            where="policy",
            remedy="Give every key of the log, and the policy that it is served with",
        )
    elsewhere = next((url for url in urls.values() if url is not None), service.url)
    logs = tuple(PolicyLog(NoteVerifier.from_vkey(vkey), urls.get(vkey) or elsewhere) for vkey in service.vkeys)
    try:
        return replace(policy, logs=logs).encode().decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("a name that is not UTF-8", where="policy") from error
