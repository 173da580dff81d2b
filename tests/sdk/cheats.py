"""The list of cheats: each a sentence, the check that catches it, and what cannot pass besides.

The cheats themselves stand in the modules `cheats_…` beside this one; `test_attacks_recipe.py` plays them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chopmark.verdict import Result, Verdict

from tests.sdk.attack_stage import Stage

FAIL, UNKNOWN = Result.FAIL, Result.UNKNOWN
Play = Callable[[Stage], Verdict]

NOTHING_ELSE: Mapping[int, str] = {}
UNREAD = dict.fromkeys(range(2, 10), "not_reached")
"""Nothing could be read, so nothing else was checked."""
UNDECODED = {1: "not_reached", **UNREAD}
UNDATED = {7: "time_of_logging_unknown"}
"""Authority is judged at the witnessed time, which only check 6 gives: without it check 7 cannot pass."""
KEYLESS = {4: "not_reached", 7: "not_reached"}
"""Without the issuer's key there is no signature to check and no window to judge."""

PASSING = {
    "decoded",
    "parsed",
    "holder_proved",
    "challenge_answered",
    "bearer",
    "paper_compare_identity",
    "key_known",
    "signature_verifies",
    "disclosures_match",
    "logged",
    "authorised",
    "within_validity",
    "no_end_of_validity",
    "status_valid",
    "status_exempt",
}
REMARKS = {
    "status_stale",
    "bundle_stale",
    "bundle_expired",
    "compare_identity",
    "requested_fields_missing",
    "restricted_use",
    "made_for_agent",
}
"""Said beside the checks; `test_verifier.py` brings each of them about."""


@dataclass(frozen=True)
class Cheat:
    """One way to cheat, and how it is answered: `besides` are the other checks that do not pass, with their reasons,
    `says` is a part of the message."""

    number: int
    result: Result
    reason: str
    besides: Mapping[int, str]
    says: str
    play: Play


CHEATS: list[Cheat] = []


def caught(
    number: int, result: Result, reason: str, besides: Mapping[int, str] = NOTHING_ELSE, *, says: str = ""
) -> Callable[[Play], Play]:
    """Enter the cheat below into the list."""

    def register(play: Play) -> Play:
        CHEATS.append(Cheat(number, result, reason, besides, says, play))
        return play

    return register
