"""What a client submits: who may add which entries, the identity of a batch, the order its entries get.

    kind 0       the log itself, at its beginning
    kind 1, 2    a client of the issuer that the entry names
    kind 3, 4, 5 the region

A batch is known by (client, number, SHA-256 of its body), the body being its entries as an entry bundle writes them:
uint16be length ‖ entry, one after the other, in the order sent.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from chopmark import entries as entry_formats
from chopmark.errors import FormatError, LimitError
from chopmark.limits import LIMITS

from chopmark_ledger.errors import BatchRefusedError, RefusedEntry

MAX_ENTRIES = 10_000
MAX_NUMBER = 2**63 - 1
MAX_BYTES = 16 * 1024 * 1024
"""Of all entries of one batch: ten thousand take some 600 KB, a few large trust statements some megabytes."""
_NAMED = 100
"""Refused entries that an error names."""
_KEY_SIZE = 16
_length = struct.Struct(">H").pack


@dataclass(frozen=True, slots=True)
class Client:
    """Who submits.

    Args:
        name: the identity under which batch numbers are counted.
        issuers: the issuer ids, `<region>/<organisation code>`, whose credentials and status lists it may log.
        is_region: whether it speaks for the region: trust statements, bundles, landmark files.
    """

    name: str
    issuers: frozenset[str] = frozenset()
    is_region: bool = False


def batch_digest(entries: Sequence[bytes]) -> bytes:
    """The SHA-256 of a batch's body; the sizes are those of `check_entries`.

    Raises:
        LimitError: too few or too many entries, or bytes.
        BatchRefusedError: an entry is not bytes, or larger than an entry bundle can hold.
    """
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise LimitError(
            f"{len(entries)} entries in one batch", where="batch", remedy=f"Send 1 to {MAX_ENTRIES:,} at a time"
        )
    refused = []
    for position, entry in enumerate(entries):
        if not isinstance(entry, bytes) or not 1 <= len(entry) <= LIMITS.entry_size:
            refused.append(RefusedEntry(position, f"an entry is 1 to {LIMITS.entry_size:,} bytes"))
            if len(refused) == _NAMED:
                break
    if refused:
        raise BatchRefusedError(tuple(refused))
    if sum(map(len, entries)) > MAX_BYTES:
        raise LimitError(
            f"a batch of more than {MAX_BYTES // 2**20} MiB", where="batch", remedy="Send it as several batches"
        )
    return sha256(b"".join([part for entry in entries for part in (_length(len(entry)), entry)])).digest()


def check_entries(client: Client, entries: Sequence[bytes]) -> None:
    """Check that every entry is one, and that this client may add it.

    Raises:
        BatchRefusedError: naming the first hundred that may not enter, by position and reason.
    """
    refused = []
    for position, data in enumerate(entries):
        reason = _refusal(client, data)
        if reason is not None:
            refused.append(RefusedEntry(position, reason))
            if len(refused) == _NAMED:
                break
    if refused:
        raise BatchRefusedError(tuple(refused), remedy="Nothing of the batch was taken: send it without them")


def _refusal(client: Client, data: bytes) -> str | None:
    try:
        entry = entry_formats.parse_entry(data)
    except FormatError as error:
        return f"not a log entry: {error}"
    match entry:
        case entry_formats.CredentialEntry() | entry_formats.StatusListEntry():
            if entry.issuer not in client.issuers:
                return f"client {client.name} may not add entries of {entry.issuer}"
        case entry_formats.GenesisEntry():
            return "a genesis entry is added by the log itself, at its beginning"
        case _:
            if not client.is_region:
                return f"client {client.name} does not speak for the region"
    return None


def shuffled(count: int, random: Callable[[int], bytes]) -> list[int]:
    """An order of `count` entries that nobody can foretell: positions in the batch, in the order of the log."""
    keys = random(_KEY_SIZE * count)
    return sorted(range(count), key=lambda position: keys[position * _KEY_SIZE : (position + 1) * _KEY_SIZE])
