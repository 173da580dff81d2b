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
from chopmark.strict import time_encode

FORMAT: Final = "chopmark/trust-statement/v1"
_ARRAYS: Final = ("logs", "peers", "issuers", "keys", "types", "grants", "status_lists")
_TEXT_LIMIT: Final = 48 * 1024
"""Bytes of one statement's changes: with indentation and signatures it stays below a log entry's 65,535."""


def statement_texts(old: BundleContents | None, new: BundleContents) -> list[str]:
    """The texts of the statements that lead from one bundle to the next; none where nothing changed.

    Args:
        old: the bundle before, None for the first.
        new: the bundle that follows; its `seq` and `issued` stand in the statements.
    """
    texts: list[str] = []
    changes: list[dict[str, Any]] = []
    size = 0
    for change in _changes(old, new):
        length = len(_compact(change))
        if changes and size + length > _TEXT_LIMIT:
            texts.append(_text(new, changes))
            changes, size = [], 0
        changes.append(change)
        size += length
    if changes:
        texts.append(_text(new, changes))
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
            if len(written) > _TEXT_LIMIT // 2:
                changes.append({"array": array, "sha256": hashlib.sha256(written).hexdigest()})
            else:
                changes.append({"array": array, "entry": value})
    return changes


def _text(new: BundleContents, changes: list[dict[str, Any]]) -> str:
    lines = ",\n".join("  " + json.dumps(change, ensure_ascii=False) for change in changes)
    issued = time_encode(new.issued)
    head = json.dumps({"format": FORMAT, "region": new.region, "seq": new.seq, "issued": issued}, indent=1)
    return head.removesuffix("\n}") + f',\n "changes": [\n{lines}\n ]\n}}\n'


def _compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
