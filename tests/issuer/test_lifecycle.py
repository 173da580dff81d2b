from __future__ import annotations

import pytest
from chopmark.status import StatusValue
from chopmark_issuer.errors import LifecycleError
from chopmark_issuer.lifecycle import (
    Act,
    RecordedAct,
    Standing,
    State,
    Term,
    next_state,
    state_as_of,
    wire_status,
)
from hypothesis import given
from hypothesis import strategies as st

# Act by act, the state that each state leads to; what is not named is refused.
EXPECTED: dict[Act, dict[State | None, State]] = {
    Act.ISSUE: {None: State.VALID},
    Act.RENEW: {State.VALID: State.VALID, State.EXPIRED: State.VALID},
    Act.CHANGE: {State.VALID: State.VALID},
    Act.SUSPEND: {State.VALID: State.SUSPENDED},
    Act.RETURN: {State.SUSPENDED: State.VALID},
    Act.REVOKE: {State.VALID: State.REVOKED, State.SUSPENDED: State.REVOKED},
    Act.WITHDRAW: {State.VALID: State.WITHDRAWN, State.SUSPENDED: State.WITHDRAWN},
    Act.ANNUL: {State.VALID: State.ANNULLED, State.SUSPENDED: State.ANNULLED, State.EXPIRED: State.ANNULLED},
    Act.CLOSE: {
        State.VALID: State.CLOSED,
        State.SUSPENDED: State.CLOSED,
        State.EXPIRED: State.CLOSED,
        State.REVOKED: State.CLOSED,
        State.WITHDRAWN: State.CLOSED,
        State.ANNULLED: State.CLOSED,
    },
}


@pytest.mark.parametrize("act", list(Act))
@pytest.mark.parametrize("state", [None, *State])
def test_each_act_in_each_state_leads_on_or_is_refused(act: Act, state: State | None) -> None:
    expected = EXPECTED[act].get(state)
    if expected is not None:
        assert next_state(state, act) is expected
    else:
        with pytest.raises(LifecycleError) as caught:
            next_state(state, act)
        assert caught.value.what


def test_a_refusal_says_what_can_be_done_instead() -> None:
    with pytest.raises(LifecycleError, match="return, revoke, withdraw, annul, close"):
        next_state(State.SUSPENDED, Act.RENEW)
    with pytest.raises(LifecycleError, match="Nothing more can be done"):
        next_state(State.CLOSED, Act.RETURN)


WIRE = [
    (State.VALID, StatusValue.VALID),
    (State.EXPIRED, StatusValue.VALID),
    (State.SUSPENDED, StatusValue.SUSPENDED),
    (State.REVOKED, StatusValue.INVALID),
    (State.WITHDRAWN, StatusValue.INVALID),
    (State.CLOSED, StatusValue.INVALID),
]


@pytest.mark.parametrize(("state", "shown"), WIRE)
def test_the_wire_shows_the_state_for_the_version_in_force_and_superseded_for_older_ones(
    state: State, shown: StatusValue
) -> None:
    assert wire_status(Standing(state, 2), 2) is shown
    assert wire_status(Standing(state, 2), 1) is StatusValue.SUPERSEDED


def test_a_void_licence_is_invalid_in_every_version_even_after_it_was_closed() -> None:
    for state in (State.ANNULLED, State.CLOSED):
        assert wire_status(Standing(state, 2, void=True), 1) is StatusValue.INVALID
        assert wire_status(Standing(state, 2, void=True), 2) is StatusValue.INVALID


def act(kind: Act, effective_from: int, *, learned_at: int | None = None, version: int = 1) -> RecordedAct:
    return RecordedAct(kind, version, effective_from if learned_at is None else learned_at, effective_from)


YEAR = {1: Term(0, 100)}


def state_at(acts: list[RecordedAct], at: int, known_at: int = 1000, terms: dict[int, Term] = YEAR) -> State | None:
    standing = state_as_of(acts, terms, at=at, known_at=known_at)
    return None if standing is None else standing.state


def test_a_revocation_learned_late_has_effect_on_its_day_as_known_later() -> None:
    acts = [act(Act.ISSUE, 0), act(Act.REVOKE, 10, learned_at=50)]
    assert state_at(acts, 20, known_at=40) is State.VALID
    assert state_at(acts, 20, known_at=50) is State.REVOKED
    assert state_at(acts, 5, known_at=50) is State.VALID


def test_an_act_dated_ahead_has_no_effect_before_its_day() -> None:
    acts = [act(Act.ISSUE, 0), act(Act.SUSPEND, 30, learned_at=10)]
    assert state_at(acts, 29) is State.VALID
    assert state_at(acts, 30) is State.SUSPENDED


def test_a_suspension_after_a_revocation_that_became_known_later_moves_nothing() -> None:
    acts = [act(Act.ISSUE, 0), act(Act.SUSPEND, 20), act(Act.RETURN, 30), act(Act.REVOKE, 10, learned_at=40)]
    assert state_at(acts, 25) is State.REVOKED
    assert state_at(acts, 35) is State.REVOKED
    assert state_at(acts, 35, known_at=39) is State.VALID


def test_an_annulled_licence_was_never_valid_whatever_day_the_act_is_dated() -> None:
    acts = [act(Act.ISSUE, 0), act(Act.ANNUL, 60)]
    assert state_at(acts, 1) is State.ANNULLED
    assert state_at(acts, 1, known_at=59) is State.VALID


def test_a_licence_expires_by_time_and_lives_again_when_renewed() -> None:
    terms = {1: Term(0, 100), 2: Term(150, 250)}
    acts = [act(Act.ISSUE, 0), act(Act.RENEW, 150, version=2)]
    assert state_at(acts, 99, terms=terms) is State.VALID
    assert state_at(acts, 100, terms=terms) is State.EXPIRED
    assert state_as_of(acts, terms, at=150, known_at=1000) == Standing(State.VALID, 2)


def test_before_it_began_or_was_known_there_is_no_licence() -> None:
    assert state_at([act(Act.ISSUE, 10)], 9) is None
    assert state_at([act(Act.ISSUE, 10, learned_at=20)], 15, known_at=19) is None
    assert state_at([], 15) is None


def test_a_term_without_an_end_never_ends() -> None:
    assert state_at([act(Act.ISSUE, 0)], 10**9, known_at=10**9, terms={1: Term(0, None)}) is State.VALID


def test_acts_of_the_same_moment_count_in_the_order_they_were_recorded() -> None:
    acts = [act(Act.ISSUE, 0), act(Act.SUSPEND, 10), act(Act.RETURN, 10)]
    assert state_at(acts, 10) is State.VALID


@given(st.lists(st.tuples(st.sampled_from(list(Act)), st.integers(0, 50), st.integers(0, 50)), max_size=8))
def test_whatever_was_recorded_and_when_a_closed_licence_stays_closed(
    recorded: list[tuple[Act, int, int]],
) -> None:
    acts = [RecordedAct(kind, 1, learned, effective) for kind, effective, learned in recorded]
    closed = False
    for moment in range(60):
        standing = state_as_of(acts, {1: Term(0, None)}, at=moment, known_at=50)
        if closed:
            assert standing is not None
            assert standing.state is State.CLOSED
        closed = standing is not None and standing.state is State.CLOSED
