"""Bring a trust store up to date from what regions publish, going on with what it had where a source is bad.

A region publishes static files, each at its path:

    root/<n>.note
    bundle.note                               bundle.tlog-proof
    landmarks/<region>/<number>.landmarks     landmarks/<region>/<number>.tlog-proof    its logs', and those of its
                                                                                        peers' that it accepts
    status/…                                  status/….tlog-proof                       the path of the list's uri

Nothing fetched is trusted: the store verifies each object before it replaces what it held. `refresh` takes what one
region publishes, whole; `refresh_all` visits the home region and then each of its peers, and asks only for what the
store does not hold. Spec: `specs/trust-store.md`, Fetching.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Final, Protocol
from urllib.parse import urlsplit

from chopmark.errors import ChopmarkError, ProofError, TrustError, UnreachableError
from chopmark.limits import LIMITS
from chopmark.trust_bundle import TrustBundle
from chopmark.trust_store import TrustStore

Fetch = Callable[[str], bytes | None]
"""Answers a published file by its path; None where it is not there, `StorageError` where it cannot be read."""

_MOST_EPOCHS: Final = 1000
"""Root epochs taken in one refresh: a source that never ends is not followed for ever."""


class Unchanged(Enum):
    """What a source answers where a file is as the store holds it."""

    UNCHANGED = "unchanged"


class Source(Protocol):
    """The published files of one region, of which the store holds some already."""

    def fetch(
        self, path: str, *, max_size: int, held: bytes | None = None, grows: bool = False
    ) -> bytes | Unchanged | None:
        """Answer a file whole, or that it is as it was; None where it is not there.

        Args:
            path: see above.
            max_size: bytes that the file may have.
            held: the file as the store holds it.
            grows: the file only grows: what follows `held` may be fetched alone and answered behind it, unverified.

        Raises:
            StorageError: it cannot be had; `UnreachableError` where none of the others can either.
            LimitError: it is larger than `max_size`.
        """
        ...


SourceOf = Callable[[str, str | None], Source]
"""Answers the source of a region, by its code and the `bundle_url` that the home bundle gives for it (None for the home
region itself); `ChopmarkError` where it has none."""


@dataclass(slots=True)
class Refreshed:
    """What one refresh did.

    Attributes:
        taken: paths of the files that were taken.
        problems: files refused or absent, each with its reason.
        unchanged: paths of the files that were held already.
        away: whether the source could not be reached, or not to the end.
    """

    taken: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    away: bool = False


def refresh(store: TrustStore, region: str, fetch: Fetch, *, now: int) -> Refreshed:
    """Take what one region publishes; refresh the home region first, since it vouches for all others.

    Args:
        store: what is brought up to date.
        region: whose published files `fetch` answers; the home region or a peer.
        fetch: see above.
        now: POSIX seconds.
    """
    visit = _Visit(store, region, _WholeFiles(fetch), now)
    bundle = visit.take_bundle()
    if bundle is not None:
        if region == store.home_region:
            for owner in (region, *(peer.region for peer in bundle.peers)):
                visit.take_landmarks(owner)
        visit.take_status_lists(bundle)
    return visit.done


def refresh_all(
    store: TrustStore, source_of: SourceOf, *, now: int, named: Collection[str] = ()
) -> dict[str, Refreshed]:
    """Take what the home region and its peers publish, as far as the store does not hold it; no source makes it raise.

    Home goes first, because its bundle names the peers and how to reach them. Each peer's landmark files are taken from
    home right after that peer's bundle, because the bundle names the logs and home vouches for the files.

    Args:
        store: what is brought up to date.
        source_of: see above; asked once for each region.
        now: POSIX seconds.
        named: regions that somebody named a source for; it is told where one is neither home nor a peer.

    Returns:
        What was done, by region, home first. What of the landmark files comes from home is told under home.
    """
    home = _Visit(store, store.home_region, None, now)
    done = {store.home_region: home.done}
    home.open(source_of, None)
    bundle = home.take_bundle()
    if bundle is not None:
        home.take_landmarks(store.home_region)
        home.take_status_lists(bundle)
    for peer in bundle.peers if bundle is not None else ():
        if not peer.covers(now) and peer.region not in named:
            continue
        visit = _Visit(store, peer.region, None, now)
        done[peer.region] = visit.done
        visit.open(source_of, peer.bundle_url)
        peer_bundle = visit.take_bundle()
        if peer_bundle is not None:
            visit.take_status_lists(peer_bundle)
            home.take_landmarks(peer.region)
    for region in sorted(set(named) - set(done)) if bundle is not None else ():
        done[region] = Refreshed(problems=[f"{region} is neither the home region nor one of its peers"])
    return done


class _WholeFiles:
    """What `fetch` answers, whole each time."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    def fetch(self, path: str, *, max_size: int, held: bytes | None = None, grows: bool = False) -> bytes | None:  # noqa: ARG002
        return self._fetch(path)


class _Visit:
    """One visit to a region's source. What is good goes into the store, what is not into the report."""

    def __init__(self, store: TrustStore, region: str, source: Source | None, now: int) -> None:
        self.done = Refreshed()
        self._store = store
        self._region = region
        self._source = source
        self._now = now

    def open(self, source_of: SourceOf, bundle_url: str | None) -> None:
        try:
            self._source = source_of(self._region, bundle_url)
        except ChopmarkError as error:
            self._tell(str(error), away=True)

    def take_bundle(self) -> TrustBundle | None:
        """The region's bundle, after its roots and itself were brought up to date as far as the source allows."""
        self._take_roots()
        current = self._store.bundle(self._region)
        held = None if current is None else current.data
        self._take("bundle.note", "bundle.tlog-proof", LIMITS.note_size, held, self._put_bundle)
        bundle = self._store.bundle(self._region)
        if bundle is None:
            self._tell(f"{self._region}: the store holds no bundle of it")
        return bundle

    def take_landmarks(self, region: str) -> None:
        """The landmark files of the accepted logs of a region, from here."""
        bundle, peer = self._store.bundle(region), self._store.peer(region)
        for log in bundle.logs if bundle is not None else ():
            if region != self._store.home_region and (peer is None or log.origin not in peer.origins):
                continue
            path = f"landmarks/{region}/{log.number}"
            file = self._store.landmark_file(log.origin)
            held = None if file is None else file.data
            put = partial(self._store.put_landmarks, origin=log.origin, now=self._now)
            limit = LIMITS.landmark_file_size
            self._take(f"{path}.landmarks", f"{path}.tlog-proof", limit, held, put, grows=True)

    def take_status_lists(self, bundle: TrustBundle) -> None:
        """The status lists that the region's bundle names, as far as there is room for them."""
        sources = bundle.contents.status_lists
        size = sum(self._size_of(source.uri) for source in sources)
        left_out = 0
        for source in sources:
            others = size - self._size_of(source.uri)
            if others >= LIMITS.status_lists_size:
                left_out += 1
                continue
            path = urlsplit(source.uri).path.lstrip("/")
            token = self._store.status_list(source.uri)
            held = None if token is None else token.data
            put = partial(self._put_status_list, source.uri)
            self._take(path, f"{path}.tlog-proof", LIMITS.status_token_size, held, put)
            size = others + self._size_of(source.uri)
        if left_out:
            self._tell(f"{left_out} status lists: not taken, those that are held take {size} bytes already")

    def _size_of(self, uri: str) -> int:
        """Bytes that a status list takes in memory, as it was fetched and inflated."""
        token = self._store.status_list(uri)
        return 0 if token is None else len(token.data) + len(token.status_list.data)

    def _take_roots(self) -> None:
        try:
            epoch = self._store.roots(self._region).epoch
            first = epoch + 1 if self._store.has_root_file(self._region, epoch) else epoch
            for number in range(first, first + _MOST_EPOCHS):
                data = self._fetch(f"root/{number}.note", LIMITS.note_size)
                if not isinstance(data, bytes):
                    break
                self._store.put_root(self._region, data, now=self._now)
                if number > epoch:
                    self.done.taken.append(f"root/{number}.note")
        except ChopmarkError as error:
            self._tell(f"root epochs: {error}", away=isinstance(error, UnreachableError))

    def _take(
        self,
        path: str,
        proof_path: str,
        max_size: int,
        held: bytes | None,
        put: Callable[[bytes, bytes], object],
        *,
        grows: bool = False,
    ) -> None:
        try:
            data = self._fetch(path, max_size, held=held, grows=grows)
            if isinstance(data, Unchanged):
                self.done.unchanged.append(path)
                return
            proof = None if data is None else self._fetch(proof_path, LIMITS.note_size)
            if data is None or not isinstance(proof, bytes):
                self._tell(f"{path if data is None else proof_path}: not published")
                return
            try:
                put(data, proof)
            except ProofError:
                if held is None or not grows or not data.startswith(held):
                    raise
                # Only what followed may have been fetched, and what is held may be no prefix of what is published.
                whole = self._fetch(path, max_size)
                if whole is None or isinstance(whole, Unchanged) or whole == data:
                    raise
                put(whole, proof)
            self.done.taken.append(path)
        except ChopmarkError as error:
            self._tell(f"{path}: {error}", away=isinstance(error, UnreachableError))

    def _fetch(
        self, path: str, max_size: int, *, held: bytes | None = None, grows: bool = False
    ) -> bytes | Unchanged | None:
        if self._source is None:
            raise UnreachableError("it has no source")
        return self._source.fetch(path, max_size=max_size, held=held, grows=grows)

    def _put_bundle(self, data: bytes, proof: bytes) -> None:
        bundle = self._store.put_bundle(data, proof, now=self._now)
        if bundle.region != self._region:
            raise TrustError(f"it is the bundle of {bundle.region}")

    def _put_status_list(self, uri: str, data: bytes, proof: bytes) -> None:
        token = self._store.put_status_list(data, proof, now=self._now)
        if token.uri != uri:
            raise TrustError(f"it is the status list {token.uri}")

    def _tell(self, problem: str, *, away: bool = False) -> None:
        """Report a problem; once the source is away, what follows from that is told no more."""
        if not self.done.away:
            self.done.problems.append(problem)
        if away:
            self.done.away = True
            self._source = None
