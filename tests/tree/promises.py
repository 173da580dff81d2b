"""Licences that the region acknowledged over HTTP, asked for by several clients at once, and what must hold of them.

A client whose request was not answered sends it again under its key until it is, as it is told to. So in the end each
key has one licence: none is missing, and none was issued twice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import urllib3
from chopmark.entries import CredentialEntry, GenesisEntry, parse_entry
from chopmark_issuer.storage.database import open_database
from chopmark_issuer.storage.models import CREDENTIAL, LICENCE, OUTBOX
from chopmark_ledger.audit.fsck import fsck
from chopmark_ledger.client import system_clock
from chopmark_ledger.sequencing.log import Log
from sqlalchemy import func, select

from examples.serve.first_requests import path
from tests.tree.served_region import ISSUER, ServedRegion, until

ACCEPTED = {201}
AGAIN = {408, 409, 429, 503}
"""Answers after which a client sends its request again; 409 is that of a request under the same key still at work."""
_CHECKED_AT_ONCE = 4
_RETRY_AFTER = 0.05
_MENDED_WITHIN = 180.0
"""Seconds until what was killed is whole again: pauses between tries grow, and what waits on another waits for both."""


@dataclass
class Promises:
    """What clients were promised: the number and the digest of each licence, by the key of its request."""

    region: ServedRegion
    acknowledged: dict[str, tuple[str, str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    """Answers that no client may ever get."""
    places: dict[str, int] = field(default_factory=dict)
    """Where each credential is in the log, by its digest, as the registry told over HTTP."""
    repeated: int = 0
    """Requests that were sent again."""
    wanted: int = 0
    stopping: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def kept_coming(self, senders: int) -> Iterator[None]:
        """Let clients ask, each for one licence after the other, as long as more are wanted; ends once each was
        answered."""
        threads = [threading.Thread(target=self._send, args=(number,)) for number in range(senders)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            with self.changed:
                self.stopping = True
                self.changed.notify_all()
            for thread in threads:
                thread.join()

    def want(self, more: int) -> None:
        """Let so many more be asked for."""
        with self.changed:
            self.wanted += more
            self.changed.notify_all()

    def wait_for(self, count: int, seconds: float = 120) -> None:
        """Wait until so many were acknowledged in all."""
        with self.changed:
            done = self.changed.wait_for(lambda: len(self.acknowledged) >= count or self.faults, timeout=seconds)
        assert not self.faults, self.faults
        assert done, f"{len(self.acknowledged)} of {count} licences were acknowledged in {seconds} s"

    def _send(self, sender: int) -> None:
        for number in range(1_000_000):
            with self.changed:
                self.changed.wait_for(lambda: self.stopping or self.wanted > 0)
                if self.stopping:
                    return
                self.wanted -= 1
            self._issue(f"{sender}-{number}")

    def _issue(self, key: str) -> None:
        while True:
            try:
                answer = self.region.issue(key)
            except urllib3.exceptions.HTTPError:
                status = 503  # it is away, or was killed before it answered
            else:
                status = answer.status
            if status in ACCEPTED:
                told = answer.json()
                with self.changed:
                    self.acknowledged[key] = (told["number"], told["credentials"][0]["digest"])
                    self.changed.notify_all()
                return
            with self.changed:
                if status not in AGAIN:
                    self.faults.append(f"{status}: {answer.data.decode()}")
                    self.changed.notify_all()
                    return
                self.repeated += 1
                if self.changed.wait_for(lambda: bool(self.faults), timeout=_RETRY_AFTER):
                    return

    def check_answers(self) -> None:
        """Hold the running region to all of it, over HTTP: each licence is in the registry, logged, and verifies."""
        with ThreadPoolExecutor(_CHECKED_AT_ONCE) as pool:
            list(pool.map(lambda told: self._check_answer(*told), self.acknowledged.values()))

    def _check_answer(self, number: str, digest: str) -> None:
        until(lambda: self.region.licence(number)["credentials"][0]["logged"] is not False, _MENDED_WITHIN)
        licence = self.region.licence(number)
        assert licence["number"] == number
        assert [each["digest"] for each in licence["credentials"]] == [digest]
        self.places[digest] = licence["credentials"][0]["logged"]
        found: list[bytes] = []

        def has_proof() -> bool:
            answer = self.region.ask("GET", f"{path(number)}/credential")
            assert answer.status in {200, 202, 503}, answer.data
            found[:] = [answer.data]
            return answer.status == 200

        until(has_proof, _MENDED_WITHIN)
        until(lambda: self.region.verdict(found[0])["outcome"] == "VALID", _MENDED_WITHIN)

    def check_stored(self) -> None:
        """Hold the stopped region to all of it, by its database and its log: nothing missing, nothing twice, each
        licence in the log exactly where the registry says."""
        data = self.region.data
        database = open_database(data / "registry.db")
        try:
            with database.reading() as connection:
                count = connection.execute(select(func.count()).select_from(LICENCE)).scalar_one()
                in_outbox = CREDENTIAL.join(OUTBOX, OUTBOX.c.id == CREDENTIAL.c.outbox_id)
                query = select(CREDENTIAL.c.digest, OUTBOX.c.log_index).select_from(in_outbox)
                rows = connection.execute(query).all()
        finally:
            database.close()
        assert count == len(self.acknowledged) == len({number for number, _ in self.acknowledged.values()})
        places = {row.digest.hex(): row.log_index for row in rows}
        assert places.keys() == {digest for _, digest in self.acknowledged.values()}
        with Log.open(data / "log", clock=system_clock) as log:
            entries = log.entries(0, log.size)
            identity = log.identity
        assert isinstance(parse_entry(entries[0]), GenesisEntry)
        assert self.places == places
        for digest, index in places.items():
            assert index is not None, "a licence that was acknowledged is not in the log"
            assert entries[index] == CredentialEntry(ISSUER, bytes.fromhex(digest)).encode()
        vkeys = tuple(vkey for vkey in (identity.vkey, identity.pq_vkey) if vkey is not None)
        report = fsck(data / "log" / "public", vkeys=vkeys, origin=identity.origin)
        assert report.is_sound, report.damage
