"""The batches that one transaction commits: each with its entries in an order of its own, and with its answer."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chopmark_ledger.batch import BatchAnswer, Submission, decode_refusals, encode_refusals, shuffled
from chopmark_ledger.errors import RefusedEntry
from chopmark_ledger.storage.store import CommittedBatch

_REFUSED = 0xFFFF
"""The place of an entry that was refused; a batch has fewer places."""


@dataclass(slots=True)
class CommitGroup:
    """What is committed together: `entries` in the order of the log, from the index `first` on."""

    first: int
    entries: list[bytes] = field(default_factory=list)
    batches: list[CommittedBatch] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The size of the log once the group is committed."""
        return self.first + len(self.entries)

    def add(
        self,
        submission: Submission,
        digest: bytes,
        refused: Sequence[RefusedEntry],
        *,
        random: Callable[[int], bytes],
        now: int,
    ) -> CommittedBatch:
        """Add those entries of a batch that were not refused, shuffled.

        Args:
            submission: the batch.
            digest: of its body.
            refused: the entries that may not enter.
            random: answers that many random bytes.
            now: when it is committed, in POSIX seconds.
        """
        positions: Sequence[int] = range(len(submission.entries))
        if refused:
            positions = sorted(set(positions) - {each.position for each in refused})
        order = [positions[chosen] for chosen in shuffled(len(positions), random)]
        places = [_REFUSED] * len(submission.entries)
        for place, position in enumerate(order):
            places[position] = place
        batch = CommittedBatch(
            submission.client.name,
            submission.number,
            digest,
            self.end,
            struct.pack(f">{len(places)}H", *places),
            encode_refusals(refused),
            now,
        )
        self.entries.extend([submission.entries[position] for position in order])
        self.batches.append(batch)
        return batch


def answer_to(batch: CommittedBatch) -> BatchAnswer:
    """The answer that a batch gets, whenever it is sent."""
    places = struct.unpack(f">{len(batch.places) // 2}H", batch.places)
    first = batch.first
    return BatchAnswer(
        tuple([None if place == _REFUSED else first + place for place in places]), decode_refusals(batch.refused)
    )
