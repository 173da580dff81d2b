"""The clients of a simulated log: they send a batch again, as it was, until they have its answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from random import Random

from chopmark.entries import CredentialEntry, GenesisEntry, TrustBundleEntry
from chopmark_ledger.batch import Client

REGION = "CN-GD"
ISSUERS = ("CN-GD/11440000MB2D0P8Q3X", "CN-GD/11440300MB2D0P9Q4Y")
CLIENTS = (
    Client("region", region=REGION),
    Client("registry", frozenset({ISSUERS[0]})),
    Client("transport", frozenset({ISSUERS[1]})),
)


@lru_cache(maxsize=100_000)
def good_entry(client: str, number: int) -> bytes:
    """An entry that this client may add, another for each number."""
    digest = sha256(b"%d" % number).digest()
    if client == "region":
        if number % 3:
            return TrustBundleEntry(REGION, number, digest).encode()
        return CredentialEntry(ISSUERS[number % 2], digest).encode()
    return CredentialEntry(ISSUERS[client == "transport"], digest).encode()


_BAD = (
    b"",
    b"\x00",
    b"not an entry",
    GenesisEntry("cn-gd.example/log/2026", 1, 1).encode(),
    CredentialEntry("CN-SH/11310000MB2D0P8Q3X", bytes(32)).encode(),
    b"\x00" * 65_536,
)
"""What no client may add."""


@dataclass
class SimulatedClient:
    """A client, and what it has sent: batches without an answer yet, and those that were answered."""

    client: Client
    outstanding: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    answered: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    refused: dict[int, frozenset[int]] = field(default_factory=dict)
    """The positions that must be refused, by batch."""
    next_number: int = 0

    def new_batch(self, random: Random, first: int, count: int, bad: int) -> int:
        """Write a batch of `count` good entries, from the `first` on that nobody has sent, and `bad` others.

        Returns:
            Its number.
        """
        entries = [good_entry(self.client.name, first + offset) for offset in range(count)]
        refused: list[int] = []
        for _ in range(bad):
            position = random.randint(0, len(entries))
            entries.insert(position, random.choice(_BAD))
            refused = [each + (each >= position) for each in refused]
            refused.append(position)
        number = self.next_number
        self.next_number += 1
        self.outstanding[number] = tuple(entries)
        self.refused[number] = frozenset(refused)
        return number

    def forget_answers(self, known: set[tuple[str, int]]) -> None:
        """Send those batches again whose answer is not among the known: a backup has made it void."""
        for number in [number for number in self.answered if (self.client.name, number) not in known]:
            self.outstanding[number] = self.answered.pop(number)
