"""Requests for a witness, and what https://c2sp.org/tlog-witness (text of 2026-07-22) has it answer.

Each case is asked below a log of its own, so that no case depends on another. `others` names a witness of somebody else
that is known to answer otherwise, with what it answers and why; every other answer of theirs must be the same as ours.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise

from tests.interop.naive_log import NaiveKey, NaiveLog, base64_text, request, tree_hash

Steps = list[tuple[bytes, int]]
"""Requests in their order, each with the status it must get."""


@dataclass(frozen=True, slots=True)
class Case:
    """Requests below one log, each with the status that the specification asks for."""

    name: str
    make: Callable[[NaiveLog], Steps]
    others: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    """By witness and number of the request, what that one answers instead."""

    @property
    def log(self) -> NaiveLog:
        """The log of this case."""
        return log_named(self.name)

    @property
    def steps(self) -> Steps:
        """The requests."""
        return self.make(self.log)


def _key(name: str, what: str = "") -> NaiveKey:
    return NaiveKey(f"log.example/{name}", sha256(f"{name} {what}".encode()).digest())


def _stranger(log: NaiveLog) -> NaiveKey:
    """Another key that goes by the name of the log."""
    return NaiveKey(log.key.name, sha256(b"stranger" + log.key.name.encode()).digest())


def _grows(log: NaiveLog) -> Steps:
    sizes = [0, 1, 2, 3, 5, 8, 13, 21, 40]
    return [(log.request(old, size), 200) for old, size in pairwise(sizes)]


def _again(log: NaiveLog) -> Steps:
    return [(log.request(0, 7), 200), (log.request(7, 7), 200)]


def _again_with_a_proof(log: NaiveLog) -> Steps:
    return [
        (log.request(0, 7), 200),
        (request("old 7", log.proof(4, 7), log.checkpoint(7)), 422),
    ]


def _empty_log(log: NaiveLog) -> Steps:
    return [(log.request(0, 0), 200), (log.request(0, 3), 200)]


def _empty_log_with_a_root(log: NaiveLog) -> Steps:
    text = f"{log.key.name}\n0\n{base64_text(tree_hash(log.leaves[:1]))}\n"
    return [(request("old 0", [], f"{text}\n{log.key.line(text)}"), 422)]


def _stale(log: NaiveLog) -> Steps:
    return [(log.request(0, 3), 200), (log.request(1, 5), 409), (log.request(3, 5), 200)]


def _no_idea_of_the_size(log: NaiveLog) -> Steps:
    return [(log.request(0, 6), 200), (log.request(0, 9), 409), (log.request(6, 9), 200)]


def _old_size_ahead(log: NaiveLog) -> Steps:
    return [(log.request(0, 3), 200), (log.request(4, 9), 409)]


def _old_above_the_new_size(log: NaiveLog) -> Steps:
    return [(log.request(0, 3), 200), (request("old 9", [], log.checkpoint(5)), 400)]


def _unknown_log(log: NaiveLog) -> Steps:
    stranger = NaiveLog(_key("unheard-of"), 3)
    return [(stranger.request(0, 3), 404), (log.request(0, 3), 200)]


def _unknown_key(log: NaiveLog) -> Steps:
    text = log.text(3)
    return [(request("old 0", [], f"{text}\n{_stranger(log).line(text)}"), 403)]


def _signature_of_another_size(log: NaiveLog) -> Steps:
    return [(request("old 0", [], f"{log.text(3)}\n{log.key.line(log.text(4))}"), 403)]


def _garbage_below_a_good_line(log: NaiveLog) -> Steps:
    text = log.text(3)
    garbage = f"— {log.key.name} {base64_text(log.key.key_id + bytes(64))}\n"
    return [(request("old 0", [], f"{text}\n{log.key.line(text)}{garbage}"), 403)]


def _strangers_sign_too(log: NaiveLog) -> Steps:
    text = log.text(3)
    garbage = f"— {log.key.name} {base64_text(bytes(4) + bytes(64))}\n"
    witness = f"— witness.example/w1 {base64_text(bytes(4 + 8 + 2420))}\n"
    lines = [garbage, _stranger(log).line(text), log.key.line(text), witness]
    return [(request("old 0", [], f"{text}\n{''.join(lines)}"), 200)]


def _sixteen_signatures(log: NaiveLog) -> Steps:
    keys = [NaiveKey(f"witness.example/w{number}", bytes([number]) * 32) for number in range(1, 16)]
    return [(request("old 0", [], log.checkpoint(3, *keys)), 200)]


def _changed_proof(log: NaiveLog) -> Steps:
    first, *rest = log.proof(3, 9)
    changed = base64_text(bytes([base64.b64decode(first)[0] ^ 1]) + base64.b64decode(first)[1:])
    return [
        (log.request(0, 3), 200),
        (request("old 3", [changed, *rest], log.checkpoint(9)), 422),
        (request("old 3", rest, log.checkpoint(9)), 422),
        (request("old 3", [first, *rest, first], log.checkpoint(9)), 422),
        (request("old 3", [], log.checkpoint(9)), 422),
        (log.request(3, 9), 200),
    ]


def _proof_from_nothing(log: NaiveLog) -> Steps:
    return [(request("old 0", log.proof(2, 5), log.checkpoint(5)), 422), (log.request(0, 5), 200)]


def _fork(log: NaiveLog) -> Steps:
    fork = NaiveLog(log.key, 40, b"fork")
    return [
        (log.request(0, 5), 200),
        (fork.request(5, 5), 422),
        (fork.request(5, 9), 422),
        (log.request(5, 9), 200),
    ]


def _extension_line(log: NaiveLog) -> Steps:
    return [(request("old 0", [], log.checkpoint(3, extension="an extension\n")), 200)]


def _malformed(log: NaiveLog) -> Steps:
    good = log.checkpoint(3)
    wrong_hash = base64_text(b"\x00" * 31)
    return [
        (b"old 0\n" + good.encode(), 400),
        (request("old", [], good), 400),
        (request("new 0", [], good), 400),
        (request("old -1", [], good), 400),
        (request("old 0", ["no base64"], good), 400),
        (request("old 0", [], good.replace("\n3\n", "\nthree\n")), 400),
        (request("old 0", [], good.removesuffix("\n")), 400),
        (request("old 00", [], good), 400),
        (request("old +0", [], good), 400),
        (request("old 0 ", [], good), 400),
        (request("old 0", [wrong_hash], good), 400),
        (request("old 0", [base64_text(bytes(32))] * 64, good), 400),
        (request("old 0", [], good).replace(b"\n", b"\r\n"), 400),
        (request("old 0", [], good), 200),
    ]


_OMNI_SIGNS_THE_FIRST = {"omniwitness": {0: 200}}
"""It takes the first checkpoint of a log on trust, whatever it says and whatever comes with it."""
_OMNI_CALLS_IT_ITS_OWN_ERROR = {"omniwitness": {0: 500}}
_OMNI_READS_LOOSELY = {"omniwitness": {5: 500, 6: 500, 7: 200, 9: 409, 10: 409, 11: 409, 12: 500, 13: 409}}

CASES = (
    Case("grows", _grows),
    Case("again", _again),
    Case("again-with-a-proof", _again_with_a_proof),
    Case("empty-log", _empty_log),
    Case("empty-log-with-a-root", _empty_log_with_a_root, _OMNI_SIGNS_THE_FIRST),
    Case("stale", _stale),
    Case("no-idea-of-the-size", _no_idea_of_the_size),
    Case("old-size-ahead", _old_size_ahead),
    Case("old-above-the-new-size", _old_above_the_new_size),
    Case("unknown-log", _unknown_log, _OMNI_CALLS_IT_ITS_OWN_ERROR),
    Case("unknown-key", _unknown_key, _OMNI_CALLS_IT_ITS_OWN_ERROR),
    Case("signature-of-another-size", _signature_of_another_size, _OMNI_CALLS_IT_ITS_OWN_ERROR),
    Case("garbage-below-a-good-line", _garbage_below_a_good_line, {"omniwitness": {0: 200}}),
    Case("strangers-sign-too", _strangers_sign_too),
    Case("sixteen-signatures", _sixteen_signatures),
    Case("changed-proof", _changed_proof),
    Case("proof-from-nothing", _proof_from_nothing, {"omniwitness": {0: 200, 1: 409}}),
    Case("fork", _fork, {"omniwitness": {1: 409}}),  # as v1.0.0 had it
    Case("extension-line", _extension_line),
    Case("malformed", _malformed, _OMNI_READS_LOOSELY),
)
FURTHER_LOGS = (
    "conflict",
    "cosigned",
    "monitored",
    "race",
    "subtrees",
    "one-connection",
    "restart",
    "theirs-ed25519",
    "theirs-ml-dsa-44",
    "theirs-damaged",
    "theirs-restored",
    "theirs-forked",
)
"""Names of the logs that further tests ask below."""


def log_named(name: str, size: int = 40) -> NaiveLog:
    """The log of a case or of a further test."""
    return NaiveLog(_key(name), size)


ALL_LOGS = {log.key.name: log.key.vkey for log in map(log_named, [*(case.name for case in CASES), *FURTHER_LOGS])}
"""The logs that a witness must know: origin and vkey."""
