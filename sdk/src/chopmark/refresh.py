"""Bring a trust store up to date from what a region publishes, going on with what it had where a source is bad.

A region publishes static files; `fetch` answers the bytes of one by its path, or None where it is not there:

    root/<n>.note
    bundle.note                               bundle.tlog-proof
    landmarks/<region>/<number>.landmarks     landmarks/<region>/<number>.tlog-proof    its logs', and those of its
                                                                                        peers' that it accepts
    status/…                                  status/….tlog-proof                       the path of the list's uri

Nothing fetched is trusted: the store verifies each object before it replaces what it held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from chopmark.errors import ChopmarkError
from chopmark.trust_store import TrustStore

Fetch = Callable[[str], bytes | None]
"""Answers a published file by its path; None where it is not there, `StorageError` where it cannot be read."""

_MOST_EPOCHS: Final = 1000
"""Root epochs taken in one refresh: a source that never ends is not followed for ever."""


@dataclass(slots=True)
class Refreshed:
    """What one refresh did: the files taken, and those refused or absent, each with its reason."""

    taken: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def refresh(store: TrustStore, region: str, fetch: Fetch, *, now: int) -> Refreshed:
    """Take what one region publishes; refresh the home region first, since it vouches for all others.

    Args:
        store: what is brought up to date.
        region: whose published files `fetch` answers; the home region or a peer.
        fetch: see above.
        now: POSIX seconds.
    """
    done = Refreshed()
    _take_roots(store, region, fetch, now, done)
    _take(done, fetch, "bundle.note", "bundle.tlog-proof", partial(store.put_bundle, now=now))
    bundle = store.bundle(region)
    if bundle is None:
        done.problems.append(f"{region}: the store holds no bundle of it")
        return done
    if region == store.home_region:
        accepted = [(region, log) for log in bundle.logs]
        for peer in bundle.peers:
            named = store.bundle(peer.region)
            accepted += [(peer.region, log) for log in (named.logs if named else ()) if log.origin in peer.origins]
        for log_region, log in accepted:
            path = f"landmarks/{log_region}/{log.number}"
            put = partial(store.put_landmarks, origin=log.origin, now=now)
            _take(done, fetch, f"{path}.landmarks", f"{path}.tlog-proof", put)
    for source in bundle.contents.status_lists:
        path = urlsplit(source.uri).path.lstrip("/")
        _take(done, fetch, path, f"{path}.tlog-proof", partial(store.put_status_list, now=now))
    return done


def _take_roots(store: TrustStore, region: str, fetch: Fetch, now: int, done: Refreshed) -> None:
    try:
        epoch = store.roots(region).epoch
        for number in range(epoch, epoch + _MOST_EPOCHS):
            data = fetch(f"root/{number}.note")
            if data is None:
                break
            store.put_root(region, data, now=now)
            if number > epoch:
                done.taken.append(f"root/{number}.note")
    except ChopmarkError as error:
        done.problems.append(f"root epochs: {error}")


def _take(done: Refreshed, fetch: Fetch, path: str, proof_path: str, put: Callable[[bytes, bytes], object]) -> None:
    try:
        data, proof = fetch(path), fetch(proof_path)
        if data is None or proof is None:
            done.problems.append(f"{path if data is None else proof_path}: not published")
            return
        put(data, proof)
        done.taken.append(path)
    except ChopmarkError as error:
        done.problems.append(f"{path}: {error}")
