"""What was shown in the last moments, so that the same presentation is not taken twice.

Keyed by (credential digest, SHA-256 of the token's Sig_structure): another ECDSA signature over the same structure is
the same presentation (`specs/presentation.md`).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

REPLAY_WINDOW = 150
"""Seconds that a presentation is remembered: 90 s of age and 60 s of clock difference."""
REPLAY_CAPACITY = 100_000
"""Presentations remembered at most; above it nothing is accepted, rather than something forgotten."""


@dataclass(slots=True)
class ReplayCache:
    """Presentations seen within `window` seconds. Safe to share between threads."""

    window: int = REPLAY_WINDOW
    capacity: int = REPLAY_CAPACITY
    _seen: OrderedDict[tuple[bytes, bytes], int] = field(default_factory=OrderedDict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def remember(self, credential_digest: bytes, token_hash: bytes, now: int) -> str | None:
        """Remember one presentation; the answer is None, `replayed` or `replay_cache_full`."""
        key = (credential_digest, token_hash)
        with self._lock:
            while self._seen:
                oldest, seen_at = next(iter(self._seen.items()))
                if now - seen_at <= self.window:
                    break
                del self._seen[oldest]
            if key in self._seen:
                return "replayed"
            if len(self._seen) >= self.capacity:
                return "replay_cache_full"
            self._seen[key] = now
        return None
