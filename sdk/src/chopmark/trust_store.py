"""The trust store of a verifier: a folder with everything that offline verification needs, verified at each opening.

It holds the bundle of the home region and those of its peers, their root epochs, landmark files and status lists, each
with the tlog-proof that vouches for it. The rules by which it changes are those of `trust_state`; here they meet the
disk, through `durable_file`: an object and its proof are replaced so that a crash leaves the old pair or the new one,
and `store.json`, the memory of what was seen (`trust_memory`), is written after them.

    store.json                                          lock: held while something is put
    CN-GD/root/1.note                                   the root epochs, kept for ever
    CN-GD/bundle.note                                   CN-GD/bundle.5f1d0c3a9b7e2486.tlog-proof
    CN-GD/landmarks/1.landmarks                         CN-GD/landmarks/1.0b7e2486….tlog-proof
    CN-GD/status/6c1f7e0d9a3b5c82.statuslist            …/6c1f7e0d9a3b5c82.9a3b5c82….tlog-proof
    CN-SH/…

A landmark file is named by the number of its log, a status list by the first 16 hex digits of SHA-256 of its uri.
Several processes may use a store: what one puts is judged and written under a lock, and readers need none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

from chopmark.bundle_entries import Peer
from chopmark.durable_file import held_for_a_moment, read_file, read_vouched, write_file, write_vouched
from chopmark.errors import ChopmarkError, StorageError, TrustError
from chopmark.landmark import LandmarkFile, LandmarkRecord
from chopmark.limits import LIMITS
from chopmark.root_epoch import Roots
from chopmark.status import StatusListToken
from chopmark.strict import time_encode
from chopmark.tlog_policy import TlogPolicy
from chopmark.trust_bundle import BundleAge, TrustBundle
from chopmark.trust_memory import TrustMemory
from chopmark.trust_state import TrustState

_MEMORY: Final = "store.json"
_Result = TypeVar("_Result")


class TrustStore:
    """A folder of verified trust data; made by `create` and `open`.

    What is looked up is prepared: `bundle`, `landmark`, `status_list` and `policies` cost a dictionary lookup or two.
    """

    __slots__ = ("_changes", "_memory_file", "_pin", "_problems", "_state", "folder")

    def __init__(self, folder: Path, pin: Roots) -> None:
        self.folder = folder
        self._changes = 0
        self._pin = pin
        self._memory_file = b""
        self._problems: dict[Path, str] = {}
        self._state = TrustState(pin, TrustMemory(pin.region))

    @classmethod
    def create(cls, folder: str | os.PathLike[str], *, roots: Roots) -> TrustStore:
        """Begin a store.

        Args:
            folder: where; it may exist.
            roots: the pinned root epoch of the home region.

        Raises:
            StorageError: there is a store already, or it cannot be written.
        """
        path = Path(folder)
        if read_file(path / _MEMORY, max_size=LIMITS.trust_file_size) is not None:
            raise StorageError(
                "there is a trust store already",
                where=str(path),
                remedy="bring it up to date (`chopmark trust update`), or remove it",
            )
        store = cls(path, roots)
        store._remember()
        return store

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, roots: Roots) -> TrustStore:
        """Open a store, and verify all of it again.

        Args:
            folder: where.
            roots: the pinned root epoch of the home region.

        Raises:
            StorageError: there is no store, or it cannot be read.
            TrustError: its memory, or a root epoch or the bundle of the home region, is damaged or rolled back; the
                error names the file. What else is damaged is left out and told in `problems`.
        """
        store = cls(Path(folder), roots)
        store._load()
        return store

    @classmethod
    def read_pin(cls, folder: str | os.PathLike[str]) -> Roots:
        """The earliest root epoch of the home region in a store: whoever may write to the folder chooses it.

        Raises:
            StorageError: there is no store, or it holds no root epoch.
            TrustError: a file is damaged.
        """
        path = Path(folder)
        home = path / _read_memory(path)[0].home / "root"
        numbers = [int(file.stem) for file in home.glob("*.note") if file.stem.isascii() and file.stem.isdigit()]
        if not numbers:
            raise StorageError("it holds no root epoch", where=str(home), remedy="pin one: `chopmark trust init`")
        pin = home / f"{min(numbers)}.note"
        return _named(pin, lambda: Roots.pin(_existing(pin)))

    @property
    def home_region(self) -> str:
        """The code of the region whose roots are pinned."""
        return self._pin.region

    @property
    def home(self) -> TrustBundle:
        """The bundle of the home region.

        Raises:
            TrustError: there is none yet.
        """
        return self._state.home

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions whose bundles the store holds, home first."""
        return tuple(sorted(self._state.bundles, key=lambda region: (region != self.home_region, region)))

    @property
    def clock_floor(self) -> int:
        """The latest time, POSIX seconds, that a quorum for the home region vouched for: it is later than that."""
        return self._state.memory.clock_floor

    @property
    def changes(self) -> int:
        """How often this object may have changed: as long as it is the same, a snapshot is still what the store is."""
        return self._changes

    @property
    def problems(self) -> tuple[str, ...]:
        """What was left out at opening, each with the file and the reason."""
        return tuple(self._problems.values())

    def bundle(self, region: str) -> TrustBundle | None:
        """The bundle of the home region or a peer."""
        return self._state.bundles.get(region)

    def peer(self, region: str) -> Peer | None:
        """What the home bundle says of another region; None for the home region itself."""
        return self._state.peer(region)

    def roots(self, region: str) -> Roots:
        """The latest root epoch of the home region or a peer.

        Raises:
            TrustError: it is neither.
        """
        return self._state.latest_roots(region)

    def policies(self, region: str, origin: str) -> tuple[TlogPolicy, ...]:
        """All the policies that a checkpoint of that log must satisfy: its own, and the floor for a peer. Never empty.

        Raises:
            TrustError: it is not a log of that region that the home region accepts.
        """
        return self._state.policies(region, origin)

    def landmark(self, origin: str, start: int, end: int) -> LandmarkRecord | None:
        """The landmark of exactly these entries of a log."""
        file = self._state.landmark_files.get(origin)
        return None if file is None else file.find(start, end)

    def landmark_file(self, origin: str) -> LandmarkFile | None:
        """The landmark file of a log."""
        return self._state.landmark_files.get(origin)

    def status_list(self, uri: str) -> StatusListToken | None:
        """The status list at a uri."""
        return self._state.status_lists.get(uri)

    def report(self, at: int) -> tuple[str, ...]:
        """What a user should know at a time: problems, a clock that runs behind, and trust data gone old.

        Args:
            at: POSIX seconds.
        """
        lines = list(self._problems.values())
        if at < self.clock_floor:
            lines.append(f"the clock is behind: it was {time_encode(self.clock_floor)} at least")
        for region in self.regions:
            bundle = self._state.bundles[region]
            age = bundle.age_state(at)
            if age not in (BundleAge.FRESH, BundleAge.REFRESH_DUE):
                lines.append(f"the bundle of {region} is of {time_encode(bundle.issued)}: {age.value}")
            if bundle.epoch != self.roots(region).epoch:
                lines.append(f"the bundle of {region} is of root epoch {bundle.epoch}, which is superseded")
        lines.extend(
            f"the status list {uri} expired at {time_encode(token.expires)}"
            for uri, token in sorted(self._state.status_lists.items())
            if at >= token.expires
        )
        return tuple(lines)

    def snapshot(self) -> TrustStore:
        """The store as it is now, for readers: what is put into this one later does not change it.

        It costs no reading and no verification. A reader takes one, and another one when something was put.
        """
        other = TrustStore(self.folder, self._pin)
        other._memory_file = self._memory_file
        other._problems = dict(self._problems)
        other._state = self._state.copy()
        other._changes = self._changes
        return other

    def catch_up(self) -> bool:
        """Load anew, and verify again, what another process has put since; answers whether there was something.

        Raises:
            ChopmarkError: as `open`; what was held is then held still.
        """
        if read_file(self.folder / _MEMORY, max_size=LIMITS.trust_file_size) == self._memory_file:
            return False
        self._load()
        return True

    def has_root_file(self, region: str, epoch: int) -> bool:
        """Whether a root epoch has a sound file here; a peer's first one may be known from the home bundle alone."""
        path = self._root_path(region, epoch)
        return path not in self._problems and path.is_file()

    def put_root(self, region: str, data: bytes, *, now: int) -> Roots:
        """Take a root epoch: the pinned one or the next.

        The file of one that is known already stays: whoever publishes it again may have left signatures out, without
        which the chain could not be walked at the next opening.

        Args:
            region: whose it is.
            data: the note.
            now: POSIX seconds.

        Raises:
            ChopmarkError: as `TrustState.check_root`, or `StorageError`.
        """
        with self._writing():
            roots = self._state.check_root(region, data, now=now)
            path = self._root_path(region, roots.epoch)
            if roots.epoch not in self._state.epochs(region) or path in self._problems or not path.is_file():
                write_file(path, data)
                self._problems.pop(path, None)
            self._state.add_root(roots)
            return roots

    def put_bundle(self, data: bytes, proof: bytes, *, now: int) -> TrustBundle:
        """Take the bundle of the home region or of a peer.

        What rests on the bundle it replaces is verified anew; what fails is left out and told in `problems`.

        Args:
            data: the note.
            proof: the tlog-proof of its entry (kind 4) in a log of its region.
            now: POSIX seconds.

        Raises:
            ChopmarkError: as `TrustState.check_bundle`, or `StorageError`: the disk then holds the old or the new.
        """
        with self._writing():
            checked = self._state.check_bundle(data, proof, now=now)
            bundle = checked.value
            current = self._state.bundles.get(bundle.region)
            path = self._bundle_path(bundle.region)
            write_vouched(path, data, proof)
            self._problems.pop(path, None)
            if current is not None and current.digest == bundle.digest:
                self._state.memory = self._state.memory.with_clock_floor(checked.home_time)
            else:
                self._state.add_bundle(checked)
                if bundle.region == self.home_region:
                    self._problems = {}
                    for peer in bundle.peers:
                        self._load_region(peer.region)
                self._load_dependents(bundle.region)
            self._remember()
            return bundle

    def put_landmarks(self, data: bytes, proof: bytes, *, origin: str, now: int) -> LandmarkFile:
        """Take the landmark file of a log of the home region or of a peer.

        Args:
            data: the file.
            proof: the tlog-proof of its entry (kind 5) in a log of the home region.
            origin: of the log.
            now: POSIX seconds.

        Raises:
            ChopmarkError: as `TrustState.check_landmarks`, or `StorageError`: the disk then holds the old or the new.
        """
        with self._writing():
            checked = self._state.check_landmarks(origin, data, proof, now=now)
            region, log = self._state.log_of(origin)
            path = self._landmark_path(region, log.number)
            write_vouched(path, data, proof)
            self._problems.pop(path, None)
            self._state.add_landmarks(origin, checked)
            self._remember()
            return checked.value

    def put_status_list(self, data: bytes, proof: bytes, *, now: int) -> StatusListToken:
        """Take a status list.

        Args:
            data: the token.
            proof: the tlog-proof of its entry (kind 2) in a log of the issuer's region.
            now: POSIX seconds.

        Raises:
            ChopmarkError: as `TrustState.check_status_list`, or `StorageError`: the disk then holds the old or the new.
        """
        with self._writing():
            checked = self._state.check_status_list(data, proof, now=now)
            uri = checked.value.uri
            path = self._status_path(self._state.source_region(uri), uri)
            write_vouched(path, data, proof)
            self._problems.pop(path, None)
            self._state.add_status_list(checked)
            self._remember()
            return checked.value

    def _load(self) -> None:
        """Read and verify all of it; where it must not be used, what was held before is held still."""
        before = self._state, self._problems, self._memory_file
        try:
            self._load_all()
        except BaseException:
            self._state, self._problems, self._memory_file = before
            raise
        self._changes += 1

    def _load_all(self) -> None:
        memory, self._memory_file = _read_memory(self.folder)
        if memory.home != self.home_region:
            raise TrustError(
                f"it is a store of {memory.home}, and the pinned roots are of {self.home_region}",
                where=str(self.folder / _MEMORY),
            )
        self._state = TrustState(self._pin, memory)
        self._problems = {}
        self._load_region(self.home_region)
        home = self._state.bundles.get(self.home_region)
        for peer in home.peers if home is not None else ():
            self._load_region(peer.region)

    def _load_region(self, region: str) -> None:
        strictly = region == self.home_region
        first = self._state.latest_roots(region).epoch
        for epoch in count(first):
            path = self._root_path(region, epoch)
            if not self._take(path, partial(self._take_root, region, path), strictly=strictly) and epoch > first:
                break
        path = self._bundle_path(region)
        if self._take(path, partial(self._take_bundle, region, path), strictly=strictly):
            self._load_dependents(region)

    def _load_dependents(self, region: str) -> None:
        bundle = self._state.bundles[region]
        for log in bundle.logs:
            path = self._landmark_path(region, log.number)
            self._take(path, partial(self._take_landmarks, log.origin, path))
        for source in bundle.contents.status_lists:
            path = self._status_path(region, source.uri)
            self._take(path, partial(self._take_status_list, source.uri, path))

    def _take(self, path: Path, take: Callable[[], bool], *, strictly: bool = False) -> bool:
        """Take over what a file holds, if it is there; where it must not be used, raise, or leave it out and tell."""
        self._problems.pop(path, None)
        try:
            return _named(path, take)
        except ChopmarkError as error:
            if strictly:
                raise
            self._problems[path] = str(error)
            return False

    def _take_root(self, region: str, path: Path) -> bool:
        data = read_file(path, max_size=LIMITS.note_size)
        if data is None:
            return False
        self._state.add_root(self._state.check_root(region, data, now=None))
        return True

    def _take_bundle(self, region: str, path: Path) -> bool:
        pair = _read_pair(path, expected=region in self._state.memory.bundles)
        if pair is None:
            return False
        checked = self._state.check_bundle(*pair, now=None)
        if checked.value.region != region:
            raise TrustError(f"it is the bundle of {checked.value.region}")
        self._state.add_bundle(checked)
        return True

    def _take_landmarks(self, origin: str, path: Path) -> bool:
        pair = _read_pair(path, expected=origin in self._state.memory.landmarks)
        if pair is None:
            return False
        self._state.add_landmarks(origin, self._state.check_landmarks(origin, *pair, now=None))
        return True

    def _take_status_list(self, uri: str, path: Path) -> bool:
        pair = _read_pair(path, expected=uri in self._state.memory.status_lists)
        if pair is None:
            return False
        checked = self._state.check_status_list(*pair, now=None)
        if checked.value.uri != uri:
            raise TrustError(f"it is the status list {checked.value.uri}")
        self._state.add_status_list(checked)
        return True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Keep other writers out, and load anew what they wrote before."""
        with held_for_a_moment(self.folder):
            if read_file(self.folder / _MEMORY, max_size=LIMITS.trust_file_size) != self._memory_file:
                self._load()
            try:
                yield
            finally:
                self._changes += 1

    def _remember(self) -> None:
        data = self._state.memory.encode()
        if data != self._memory_file:
            write_file(self.folder / _MEMORY, data)
            self._memory_file = data

    def _root_path(self, region: str, epoch: int) -> Path:
        return self.folder / region / "root" / f"{epoch}.note"

    def _bundle_path(self, region: str) -> Path:
        return self.folder / region / "bundle.note"

    def _landmark_path(self, region: str, number: int) -> Path:
        return self.folder / region / "landmarks" / f"{number}.landmarks"

    def _status_path(self, region: str, uri: str) -> Path:
        return self.folder / region / "status" / f"{sha256(uri.encode('utf-8')).hexdigest()[:16]}.statuslist"


def _read_memory(folder: Path) -> tuple[TrustMemory, bytes]:
    path = folder / _MEMORY
    data = read_file(path, max_size=LIMITS.trust_file_size)
    if data is None:
        raise StorageError("there is no trust store", where=str(folder), remedy="make one: `chopmark trust init`")
    return _named(path, lambda: TrustMemory.parse(data)), data


def _existing(path: Path) -> bytes:
    data = read_file(path, max_size=LIMITS.trust_file_size)
    if data is None:
        raise StorageError("the file is gone", where=str(path))
    return data


def _read_pair(path: Path, *, expected: bool) -> tuple[bytes, bytes] | None:
    pair = read_vouched(path, max_size=LIMITS.trust_file_size)
    if pair is None:
        if expected:
            raise TrustError("the file is gone", remedy="fetch it again")
        return None
    data, proof = pair
    if proof is None:
        raise TrustError("its tlog-proof is gone, or it was changed since", remedy="fetch it again")
    return data, proof


def _named(path: Path, read: Callable[[], _Result]) -> _Result:
    """Run `read`; whatever is wrong is said with the file's name, as an error of trust data."""
    try:
        return read()
    except StorageError:
        raise
    except ChopmarkError as error:
        kind = type(error) if isinstance(error, TrustError) else TrustError
        what = f"{error.where}: {error.what}" if error.where else error.what
        raise kind(what, where=str(path), remedy=error.remedy or "fetch it again") from error
