"""The body of `POST /entries`, and of its answer.

    {"batch": 7, "entries": ["gwF4GENOLUdE…", "!"]}                   the client's number for the batch; base64
    {"batch": 7, "indexes": [12, null],                                null for what may not enter
     "refused": [{"position": 1, "reason": "not standard base64"}],
     "proofs": ["c2sp.org/tlog-proof@v1\\n…", null]}                    with wait=true, once published

A batch number is from 0 to 2^53 − 1, so that every JSON reader keeps it; a batch has 1 to 10,000 entries. What cannot
be read as an entry is refused by itself, like one that may not enter. It still counts in the identity of the batch, by
bytes that no entry begins with: its text, or its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chopmark import strict
from chopmark.errors import FormatError, LimitError

from chopmark_ledger.batch import MAX_BYTES, MAX_ENTRIES, BatchAnswer
from chopmark_ledger.errors import BatchRefusedError, RefusedEntry

MAX_NUMBER = 2**53 - 1
MAX_BODY = MAX_BYTES // 3 * 4 + 8 * MAX_ENTRIES + 1024
"""Bytes of a body: its entries as base64, and what JSON puts around them, with a few spaces."""
_ROOM = 64
"""Values that a body may have beside its entries; more are refused soon enough."""


@dataclass(frozen=True, slots=True)
class EntriesRequest:
    """A batch as it was sent.

    Args:
        batch: the client's number for it.
        entries: as bytes; where one could not be read, bytes that are no entry.
        unreadable: which could not be read, and why.
    """

    batch: int
    entries: tuple[bytes, ...]
    unreadable: dict[int, str] = field(default_factory=dict)

    def told(self, refused: Sequence[RefusedEntry]) -> tuple[RefusedEntry, ...]:
        """The refusals, with the reason why an entry could not be read in place of what the bytes for it are not."""
        if not self.unreadable:
            return tuple(refused)
        return tuple(replace(each, reason=self.unreadable.get(each.position, each.reason)) for each in refused)


def parse_request(data: bytes) -> EntriesRequest:
    """Read the body of a request.

    Raises:
        FormatError: not of the form above; `LimitError` for too many entries or bytes.
    """
    # Each JSON value takes a comma or an opening bracket: counted before any of them becomes an object.
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_ENTRIES + _ROOM:
        raise LimitError(f"more than {MAX_ENTRIES:,} entries", where="body", remedy="Send it as several batches")
    document = strict.json_decode(data, where="body", max_size=MAX_BODY)
    if not isinstance(document, dict) or document.keys() != {"batch", "entries"}:
        raise FormatError("not an object of exactly `batch` and `entries`", where="body")
    batch, listed = document["batch"], document["entries"]
    if type(batch) is not int or batch < 0:
        raise FormatError(f"a batch number is an integer from 0 to {MAX_NUMBER}", where="batch")
    if not isinstance(listed, list) or not listed:
        raise FormatError("`entries` is a list, and not empty", where="entries")
    if len(listed) > MAX_ENTRIES:
        raise LimitError(f"more than {MAX_ENTRIES:,} entries", where="entries", remedy="Send it as several batches")
    entries: list[bytes] = []
    unreadable: dict[int, str] = {}
    decode = strict.base64_decode
    for position, value in enumerate(listed):
        try:
            if type(value) is not str:
                raise FormatError("not a text of base64")
            entries.append(decode(value, where=""))
        except FormatError as error:
            unreadable[position] = error.what
            entries.append(_no_entry(value))
    return EntriesRequest(batch, tuple(entries), unreadable)


def encode_request(batch: int, entries: Sequence[bytes]) -> bytes:
    """Write the body of a request.

    Raises:
        FormatError: the number is not from 0 to 2^53 − 1.
    """
    if not 0 <= batch <= MAX_NUMBER:
        raise FormatError(f"a batch number is an integer from 0 to {MAX_NUMBER}", where="batch")
    texts = '","'.join([strict.base64_encode(entry) for entry in entries])
    return f'{{"batch":{batch},"entries":["{texts}"]}}'.encode("ascii")


def encode_answer(request: EntriesRequest, answer: BatchAnswer, proofs: Sequence[bytes | None] | None = None) -> bytes:
    """Write the body of an answer."""
    document: dict[str, Any] = {
        "batch": request.batch,
        "indexes": answer.indexes,
        "refused": [{"position": each.position, "reason": each.reason} for each in request.told(answer.refused)],
    }
    if proofs is not None:
        document["proofs"] = [None if proof is None else proof.decode("utf-8") for proof in proofs]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def parse_answer(data: bytes, *, batch: int, count: int, where: str, max_size: int) -> BatchAnswer:
    """Read the body of an answer to a batch of so many entries, as a client does; proofs are left out.

    Raises:
        FormatError: it is none, or not to this batch.
    """
    document = strict.json_decode(data, where=where, max_size=max_size)
    if not isinstance(document, dict) or document.get("batch") != batch:
        raise FormatError("not the answer to this batch", where=where)
    indexes, refused = document.get("indexes"), read_refused(document.get("refused"), where=where)
    if not isinstance(indexes, list) or len(indexes) != count or not all(map(_is_index, indexes)):
        raise FormatError(f"not {count} indexes", where=where)
    if [each.position for each in refused] != [place for place, index in enumerate(indexes) if index is None]:
        raise FormatError("the entries without an index are not those that were refused", where=where)
    return BatchAnswer(tuple(indexes), refused)


def read_refused(value: object, *, where: str) -> tuple[RefusedEntry, ...]:
    """Read a list of refused entries.

    Raises:
        FormatError: it is none.
    """
    if not isinstance(value, list) or len(value) > MAX_ENTRIES:
        raise FormatError("not a list of refused entries", where=where)
    refused = []
    for each in value:
        if (
            not isinstance(each, dict)
            or type(each.get("position")) is not int
            or not isinstance(each.get("reason"), str)
        ):
            raise FormatError("not a list of refused entries", where=where)
        refused.append(RefusedEntry(each["position"], each["reason"]))
    return tuple(refused)


def all_refused(request: EntriesRequest, error: BatchRefusedError) -> BatchRefusedError:
    """The error of a batch of which nothing may enter, with the reasons why entries could not be read."""
    return BatchRefusedError(request.told(error.refused))


def _no_entry(value: Any) -> bytes:
    """Bytes that stand for what could not be read: UTF-8, which never begins as the CBOR array of an entry does."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text.encode("utf-8")


def _is_index(value: object) -> bool:
    return value is None or (type(value) is int and value >= 0)
