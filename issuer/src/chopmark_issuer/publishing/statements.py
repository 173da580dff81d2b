"""Trust statements: what changed from one trust bundle to the next, signed by the roots, logged as entries of kind 3.

A statement is a signed note whose text is JSON. It names the bundle that the changes lead to and holds each entry that
is new or different there; what is larger than a log entry takes is named by its digest (SHA-256 of its JSON as the
bundle writes it, without spaces). A large change makes several statements. Root epochs are logged in the same way, as
the notes they are. Sample:

    {
     "format": "chopmark/trust-statement/v1",
     "region": "CN-GD",
     "seq": 4,
     "issued": "2026-11-22T00:00:00Z",
     "changes": [
      {"array": "grants", "entry": {"issuer": "CN-GD/…", "licence_type": "CN-GD/…", "from": "2026-11-22T00:00:00Z"}},
      {"array": "types", "sha256": "…"}
     ]
    }

    — cn-gd.example/root/1 Hw4tPP…
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from chopmark.bundle_contents import BundleContents
from chopmark.limits import LIMITS
from chopmark.strict import time_encode

FORMAT: Final = "chopmark/trust-statement/v1"
_ARRAYS: Final = ("logs", "peers", "issuers", "keys", "types", "grants", "status_lists")
_ENTRY_LIMIT: Final = 24 * 1024
"""Bytes of a bundle's entry, without spaces, above which a statement names it by its digest."""
_ENVELOPE: Final = 6
"""Bytes of a log entry of kind 3 around text and signature lines: the array, the kind, the length, the empty line."""
_INDENT: Final = "  "
_BETWEEN: Final = ",\n"


def text_limit(signature_lines: int) -> int:
    """How many bytes of text a statement may have, for its note to be a log entry.

    Args:
        signature_lines: bytes of the signature lines, newlines included.
    """
    return LIMITS.entry_size - _ENVELOPE - signature_lines


def statement_texts(old: BundleContents | None, new: BundleContents, *, limit: int) -> list[str]:
    """The texts of the statements that lead from one bundle to the next; none where nothing changed.

    Args:
        old: the bundle before, None for the first.
        new: the bundle that follows; its `seq` and `issued` stand in the statements.
        limit: bytes that one text may have; a single change is not divided, whatever it takes.
    """
    empty = len(_text(new, []).encode("utf-8"))
    texts: list[str] = []
    lines: list[str] = []
    size = empty
    for change in _changes(old, new):
        line = _INDENT + json.dumps(change, ensure_ascii=False)
        length = len(line.encode("utf-8")) + len(_BETWEEN)
        if lines and size + length > limit:
            texts.append(_text(new, lines))
            lines, size = [], empty
        lines.append(line)
        size += length
    if lines:
        texts.append(_text(new, lines))
    return texts


def _changes(old: BundleContents | None, new: BundleContents) -> list[dict[str, Any]]:
    changes: list[dict[str, Any]] = []
    for array in _ARRAYS:
        known = set() if old is None else {_compact(entry.to_json()) for entry in getattr(old, array)}
        for entry in getattr(new, array):
            value = entry.to_json()
            written = _compact(value)
            if written in known:
                continue
            if len(written) > _ENTRY_LIMIT:
                changes.append({"array": array, "sha256": hashlib.sha256(written).hexdigest()})
            else:
                changes.append({"array": array, "entry": value})
    return changes


def _text(new: BundleContents, lines: list[str]) -> str:
    issued = time_encode(new.issued)
    head = json.dumps({"format": FORMAT, "region": new.region, "seq": new.seq, "issued": issued}, indent=1)
    return head.removesuffix("\n}") + f',\n "changes": [\n{_BETWEEN.join(lines)}\n ]\n}}\n'


def _compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
