"""The states of a licence and the acts that move it, pure.

    act       from                            to          on the wire
    issue     –                               valid       valid
    renew     valid, expired                  valid       valid; the version before it: superseded
    change    valid                           valid       valid; the version before it: superseded
    suspend   valid                           suspended   suspended
    return    suspended                       valid       valid
    revoke    valid, suspended                revoked     invalid
    withdraw  valid, suspended                withdrawn   invalid
    annul     valid, suspended, expired       annulled    invalid, every version
    close     any but closed                  closed      invalid

Expiry is reached by time alone and is not on the wire: the credential's own `exp` says it.

An act has two times: when the registry learned it and from when it has effect, so "was it valid on day D, as known
on day T" has an answer (`state_as_of`). Acts that were learned late are put in their place: an act that a stronger one
had already overtaken by then (a suspension dated after a revocation that became known later) moves nothing. Annulment
is void from the beginning, whatever day it is dated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from chopmark.status import StatusValue

from chopmark_issuer.errors import LifecycleError


class State(StrEnum):
    """Where a licence stands."""

    VALID = "valid"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    WITHDRAWN = "withdrawn"
    ANNULLED = "annulled"
    CLOSED = "closed"
    EXPIRED = "expired"


class Act(StrEnum):
    """What a department does to a licence."""

    ISSUE = "issue"
    RENEW = "renew"
    CHANGE = "change"
    SUSPEND = "suspend"
    RETURN = "return"
    REVOKE = "revoke"
    WITHDRAW = "withdraw"
    ANNUL = "annul"
    CLOSE = "close"

    @property
    def makes_version(self) -> bool:
        """Whether the act makes a new version, which supersedes the one before it."""
        return self in (Act.ISSUE, Act.RENEW, Act.CHANGE)


_S = State
TRANSITIONS: Final[dict[Act, tuple[frozenset[State | None], State]]] = {
    Act.ISSUE: (frozenset({None}), _S.VALID),
    Act.RENEW: (frozenset({_S.VALID, _S.EXPIRED}), _S.VALID),
    Act.CHANGE: (frozenset({_S.VALID}), _S.VALID),
    Act.SUSPEND: (frozenset({_S.VALID}), _S.SUSPENDED),
    Act.RETURN: (frozenset({_S.SUSPENDED}), _S.VALID),
    Act.REVOKE: (frozenset({_S.VALID, _S.SUSPENDED}), _S.REVOKED),
    Act.WITHDRAW: (frozenset({_S.VALID, _S.SUSPENDED}), _S.WITHDRAWN),
    Act.ANNUL: (frozenset({_S.VALID, _S.SUSPENDED, _S.EXPIRED}), _S.ANNULLED),
    Act.CLOSE: (frozenset(_S) - {_S.CLOSED}, _S.CLOSED),
}
"""For each act: the states it may be done in (None: there is no licence yet), and the state it leads to."""


@dataclass(frozen=True, slots=True)
class RecordedAct:
    """An act as it was recorded; times are POSIX seconds, `version` is the licence version it concerns."""

    act: Act
    version: int
    learned_at: int
    effective_from: int


@dataclass(frozen=True, slots=True)
class Term:
    """The validity of one version: `begin` ≤ t < `end`, POSIX seconds; without an end it has none."""

    begin: int
    end: int | None

    def ended(self, at: int) -> bool:
        """Whether it is over at that time."""
        return self.end is not None and at >= self.end


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a licence at a time, the version in force then, and whether it is void from the beginning."""

    state: State
    version: int
    void: bool = False


def next_state(state: State | None, act: Act) -> State:
    """The state that the act leads to from this one.

    Raises:
        LifecycleError: it may not be done in this state.
    """
    allowed, after = TRANSITIONS[act]
    if state not in allowed:
        if state is None:
            raise LifecycleError(f"there is no licence yet to {act.value}")
        possible = [other.value for other in Act if state in TRANSITIONS[other][0]]
        raise LifecycleError(
            f"a licence that is {state.value} can not be {_DONE[act]}",
            remedy=f"What can be done with it: {', '.join(possible)}"
            if possible
            else "Nothing more can be done with it",
        )
    return after


def state_as_of(acts: Sequence[RecordedAct], terms: dict[int, Term], *, at: int, known_at: int) -> Standing | None:
    """What a licence was at time `at`, as the registry knew at time `known_at`.

    `terms` gives the validity of each version. None where no version had begun, or none was known.
    """
    known = [act for act in acts if act.learned_at <= known_at]
    known.sort(key=lambda act: act.effective_from)  # stable: equal times stay in the order they were recorded
    void = any(act.act is Act.ANNUL for act in known)
    state: State | None = None
    version = 0
    for act in known:
        if act.effective_from > at:
            break
        allowed, after = TRANSITIONS[act.act]
        if act.act is not Act.ANNUL and state in allowed:
            state = after
            if act.act.makes_version:
                version = act.version
    if state is None:
        return None
    if void and state is not State.CLOSED:
        state = State.ANNULLED
    elif state is State.VALID and terms[version].ended(at):
        state = State.EXPIRED
    return Standing(state, version, void)


def wire_status(standing: Standing, version: int) -> StatusValue:
    """What the status list shows for the credentials of that version."""
    if standing.void:
        return StatusValue.INVALID
    if version < standing.version:
        return StatusValue.SUPERSEDED
    if standing.state is State.SUSPENDED:
        return StatusValue.SUSPENDED
    return StatusValue.VALID if standing.state in (State.VALID, State.EXPIRED) else StatusValue.INVALID


_DONE = {
    Act.ISSUE: "issued",
    Act.RENEW: "renewed",
    Act.CHANGE: "changed",
    Act.SUSPEND: "suspended",
    Act.RETURN: "returned",
    Act.REVOKE: "revoked",
    Act.WITHDRAW: "withdrawn",
    Act.ANNUL: "annulled",
    Act.CLOSE: "closed",
}
