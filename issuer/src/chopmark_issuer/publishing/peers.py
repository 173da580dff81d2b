"""Peers: other regions whose licences inspectors of this region can verify.

A peer is taken from what it publishes: the newest of its root epochs is pinned, its bundle verified under it, its logs
named. From then on its root epochs are followed one by one from the pin, and its landmark files recomputed from the
tiles of its log: fetched from the URL that the log's line of the policy in its bundle names, else read from its folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from chopmark.bundle_policies import peer_policies
from chopmark.durable_file import read_file
from chopmark.errors import ChopmarkError, StorageError, TrustError
from chopmark.limits import LIMITS
from chopmark.root_epoch import Roots
from chopmark.tlog_policy import TlogPolicy
from chopmark.trust_bundle import TrustBundle
from sqlalchemy import Connection, insert, select, update

from chopmark_issuer.errors import ConflictError, NotFoundError, RefusedError
from chopmark_issuer.publishing.policies import default_floor
from chopmark_issuer.storage.models import PEER, REGION


@dataclass(frozen=True, slots=True)
class WatchedLog:
    """A log, ours or a peer's: where its public files are, a folder or a URL, and every policy that its checkpoints
    must satisfy."""

    region: str
    number: int
    origin: str
    place: Path | str
    policies: tuple[TlogPolicy, ...]


def add_peer(connection: Connection, folder: Path, *, floor: str | None, at: int) -> str:
    """Take another region as a peer, from its data folder; answers its code.

    Args:
        connection: of a writing transaction.
        folder: the data folder of the other region, with `public/` in it, and `log/public/` unless its log is served.
        floor: what checkpoints of its logs must satisfy whatever its own policies say; what they say now if None.
        at: POSIX seconds.

    Raises:
        StorageError: it has not published anything there.
        RefusedError: it is this region itself.
        ConflictError: it is a peer already.
        FormatError, SignatureError, TrustError: what it publishes does not verify.
    """
    roots = _newest_roots(folder)
    bundle = _read_bundle(folder, roots)
    if bundle.region == connection.execute(select(REGION.c.region)).scalar_one():
        raise RefusedError("a region is no peer of itself", where=str(folder))
    if connection.execute(select(PEER.c.region).where(PEER.c.region == bundle.region)).first() is not None:
        raise ConflictError(f"{bundle.region} is a peer already", where=str(folder))
    if floor is None:
        floor = default_floor(bundle.logs[-1].policy_text)
    TlogPolicy.parse(floor)
    connection.execute(
        insert(PEER).values(
            region=bundle.region,
            epoch=roots.epoch,
            roots=json.dumps([verifier.vkey for verifier in roots.verifiers]),
            threshold=roots.threshold,
            origins=json.dumps([log.origin for log in bundle.logs]),
            policy_floor=floor,
            bundle_url=f"https://{roots.host}/bundle.note",
            folder=str(folder.resolve()),
            valid_from=at,
        )
    )
    return bundle.region


def end_peer(connection: Connection, region: str, *, at: int) -> None:
    """End a peering now; what was verified under it before stays verifiable.

    Raises:
        NotFoundError: it is no peer now.
    """
    ended = connection.execute(
        update(PEER)
        .where(PEER.c.region == region, PEER.c.valid_from < at, PEER.c.valid_until.is_(None))
        .values(valid_until=at)
    )
    if ended.rowcount != 1:
        raise NotFoundError(f"{region} is no peer now", where="peer")


def peer_logs(connection: Connection, *, at: int) -> tuple[list[WatchedLog], list[str]]:
    """The logs of all peers of that time, and which peers publish what does not verify, with the reason."""
    found: list[WatchedLog] = []
    problems: list[str] = []
    query = select(PEER).where(PEER.c.valid_from <= at, PEER.c.valid_until.is_(None) | (PEER.c.valid_until > at))
    for row in connection.execute(query.order_by(PEER.c.region)):
        folder = Path(row.folder)
        try:
            bundle = _read_bundle(folder, _follow_roots(folder, row.epoch, json.loads(row.roots)))
            if bundle.region != row.region:
                raise TrustError(f"it publishes a bundle of {bundle.region}", where=row.folder)
        except ChopmarkError as error:
            problems.append(f"peer {row.region}: {error}")
            continue
        floor = TlogPolicy.parse(row.policy_floor)
        for origin in json.loads(row.origins):
            log, policy = bundle.log_by_origin(origin), bundle.policy(origin)
            if log is not None and policy is not None:
                place = _served_at(policy, origin) or folder / "log" / "public"
                found.append(WatchedLog(row.region, log.number, origin, place, peer_policies(policy, floor)))
    return found, problems


def _served_at(policy: TlogPolicy, origin: str) -> str | None:
    return next((log.url for log in policy.logs if log.origin == origin and log.url is not None), None)


def _newest_roots(folder: Path) -> Roots:
    roots = Roots.pin(_published(folder, "root/1.note"))
    while (path := _public(folder) / "root" / f"{roots.epoch + 1}.note").is_file():
        roots = roots.advance(_published(folder, f"root/{path.name}"))
    return roots


def _follow_roots(folder: Path, epoch: int, vkeys: list[str]) -> Roots:
    """The newest roots that the pinned ones lead to."""
    roots = Roots.pin(_published(folder, f"root/{epoch}.note"))
    if [verifier.vkey for verifier in roots.verifiers] != vkeys:
        raise TrustError(f"its root epoch {epoch} is not the one that was pinned", where=str(folder))
    while (path := _public(folder) / "root" / f"{roots.epoch + 1}.note").is_file():
        roots = roots.advance(_published(folder, f"root/{path.name}"))
    return roots


def _read_bundle(folder: Path, roots: Roots) -> TrustBundle:
    return TrustBundle.parse(_published(folder, "bundle.note"), roots=roots)


def _public(folder: Path) -> Path:
    return folder / "public"


def _published(folder: Path, name: str) -> bytes:
    path = _public(folder) / name
    data = read_file(path, max_size=LIMITS.note_size)
    if data is None:
        raise StorageError("the other region has not published this", where=str(path), remedy="Let it publish first")
    return data
