"""The desk of the service over the trust store of the moment.

A refresh puts another store in the place of the one before. Whoever verifies takes `DeskKeeper.current` once, and with
it one store for all checks of one verdict. What was shown lately is remembered across stores, else a screenshot would
pass again after each refresh; apart for those who may record and for strangers, so that a stranger can neither use up
a code before an inspector sees it nor fill the inspector's memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chopmark.errors import ChopmarkError
from chopmark.keys import Signer
from chopmark.replay_cache import ReplayCache
from chopmark.trust_bundle import BundleAge
from chopmark.trust_store import TrustStore
from chopmark.verifier import Verifier

from chopmark_verifier.desk import InspectionDesk
from chopmark_verifier.enrolment import inspector_of
from chopmark_verifier.errors import NoDeskError


@dataclass(frozen=True, slots=True)
class DeskOptions:
    """What a desk needs beside a trust store: the inspector's key, and the folder of the records."""

    signer: Signer
    records: Path


@dataclass(frozen=True, slots=True, eq=False)
class Current:
    """One trust store, and what works with it.

    `for_strangers` verifies for whoever asks, `for_inspectors` for those who may record; `no_desk` says why there is
    no desk.
    """

    store: TrustStore
    for_strangers: Verifier
    for_inspectors: Verifier
    inspection_desk: InspectionDesk | None
    no_desk: str

    def desk(self) -> InspectionDesk:
        """The desk.

        Raises:
            NoDeskError: there is none.
        """
        if self.inspection_desk is None:
            raise NoDeskError(self.no_desk, where="record or challenge", remedy="Ask without, or ask its operator")
        return self.inspection_desk


class DeskKeeper:
    """Keeps a desk for the trust store of the moment. For one thread.

    Args:
        store: answers the store of the moment, always the same object until it is replaced.
        options: for a desk; None where nothing is recorded.
        clock: gives POSIX seconds.
    """

    def __init__(
        self,
        store: Callable[[], TrustStore],
        options: DeskOptions | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._options = options
        self._clock = clock
        self._strangers, self._inspectors = ReplayCache(), ReplayCache()
        self._current: Current | None = None

    @property
    def current(self) -> Current:
        """The store of now, and what works with it."""
        store = self._store()
        if self._current is None or self._current.store is not store:
            self._current = self._make(store)
        return self._current

    def is_ready(self) -> bool:
        """Whether there is a home bundle that verdicts can rest on."""
        store = self.current.store
        home = store.bundle(store.home_region)
        return home is not None and home.age_state(int(self._clock())) is not BundleAge.HARD_STOP

    def _make(self, store: TrustStore) -> Current:
        desk, no_desk = None, "this service has no inspector's key"
        if self._options is not None:
            try:
                desk = InspectionDesk(
                    store,
                    self._options.signer,
                    inspector=inspector_of(store.home, self._options.signer.public_key),
                    folder=self._options.records,
                    clock=self._clock,
                    replay_cache=self._inspectors,
                )
            except ChopmarkError as error:
                no_desk = error.what
        return Current(
            store,
            Verifier(store, clock=self._clock, replay_cache=self._strangers),
            Verifier(store, clock=self._clock, replay_cache=self._inspectors),
            desk,
            no_desk,
        )
