"""Entries of a trust bundle: windows, states, signers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from chopmark.bundle_entries import Grant, Issuer, IssuerState, IssuerStatus, Log, Peer, StatusSigner, StatusSource
from chopmark.closed_object import ClosedObject
from chopmark.errors import FormatError
from chopmark.licence_type import LocalisedText
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.sdk.conftest import World

TIMES = st.integers(0, 4_000_000_000)
WINDOWS = st.tuples(TIMES, st.none() | st.integers(4_000_000_001, 5_000_000_000))
IDS = st.text("ABC012", min_size=1, max_size=20).map("CN-GD/{}".format)
TEXTS = st.builds(LocalisedText, st.text(min_size=1, max_size=9), st.text(min_size=1, max_size=9))


@given(st.builds(lambda issuer, kind, window: Grant(issuer, kind, *window), IDS, IDS, WINDOWS))
def test_a_grant_survives_writing_and_reading(grant: Grant) -> None:
    assert Grant.from_json(ClosedObject(grant.to_json(), "")) == grant


@given(
    st.builds(
        Issuer,
        IDS,
        TEXTS,
        st.lists(
            st.builds(IssuerStatus, st.sampled_from(IssuerState), TIMES, st.none() | st.text(min_size=1, max_size=9)),
            min_size=1,
            max_size=4,
            unique_by=lambda status: status.since,
        ).map(lambda states: tuple(sorted(states, key=lambda status: status.since))),
        st.none() | IDS,
    )
)
def test_an_issuer_survives_writing_and_reading(issuer: Issuer) -> None:
    assert Issuer.from_json(ClosedObject(issuer.to_json(), "")) == issuer


@given(
    st.builds(
        StatusSource,
        st.just("https://cn-gd.example/status/1"),
        st.just(("https://mirror.example/1",)),
        IDS,
        st.lists(
            st.builds(lambda kid, window: StatusSigner(kid, *window), st.binary(min_size=8, max_size=8), WINDOWS),
            max_size=3,
            unique_by=lambda signer: (signer.kid, signer.not_before),
        ).map(tuple),
        st.integers(1, 10**9),
    )
)
def test_a_status_source_survives_writing_and_reading(source: StatusSource) -> None:
    assert StatusSource.from_json(ClosedObject(source.to_json(), "")) == source


def test_a_log_and_a_peer_survive_writing_and_reading(world: World) -> None:
    log, peer = world.home.log_entry(not_after=1_900_000_000), world.peer.peer_entry(world.floor)
    assert Log.from_json(ClosedObject(log.to_json(), "")) == log
    assert Peer.from_json(ClosedObject(peer.to_json(), "")) == peer


@pytest.mark.parametrize(("time", "inside"), [(9, False), (10, True), (19, True), (20, False)])
def test_a_window_holds_its_beginning_and_not_its_end(world: World, time: int, inside: bool) -> None:
    window: dict[str, Any] = {"not_before": 10, "not_after": 20}
    assert world.home.log_entry(**window).covers(time) is inside
    assert world.peer.peer_entry(world.floor, **window).covers(time) is inside
    assert Grant("CN-GD/1", "CN-GD/2", 10, 20).covers(time) is inside
    assert StatusSigner(bytes(8), 10, 20).covers(time) is inside


def test_a_window_without_an_end_has_none() -> None:
    assert Grant("CN-GD/1", "CN-GD/2", 10, None).covers(2**60)


def test_the_state_of_an_issuer_is_the_last_that_began() -> None:
    states = (IssuerStatus(IssuerState.ACTIVE, 10, None), IssuerStatus(IssuerState.WITHDRAWN, 20, "merged"))
    issuer = Issuer("CN-GD/1", LocalisedText("示例", "Sample"), states, None)
    assert [issuer.state_at(time) for time in (9, 10, 19, 20, 99)] == [
        None,
        IssuerState.ACTIVE,
        IssuerState.ACTIVE,
        IssuerState.WITHDRAWN,
        IssuerState.WITHDRAWN,
    ]


def test_a_signer_is_found_by_kid_within_its_window(world: World) -> None:
    kid = bytes(8)
    source = world.home.source(signers=(StatusSigner(kid, 10, 20), StatusSigner(kid, 30, None)))
    assert [source.signer(kid, time) is not None for time in (9, 10, 20, 30)] == [False, True, False, True]
    assert source.signer(b"12345678", 10) is None


@pytest.mark.parametrize(
    "path",
    ["..", "status/../1", "status/..", "./1", "%2e%2e/1", "status/.%2E/1", "a%2f..%2Fb", "a%5C..%5cb", "status//1"],
)
def test_a_uri_whose_path_leads_elsewhere_is_refused(world: World, path: str) -> None:
    source = world.home.source(uri=f"https://cn-gd.example/{path}")
    with pytest.raises(FormatError):
        StatusSource.from_json(ClosedObject(source.to_json(), "status_lists[0]"))
    with pytest.raises(FormatError):
        Peer.from_json(
            ClosedObject({**world.peer.peer_entry(world.floor).to_json(), "bundle_url": source.uri}, "peers[0]")
        )
    with pytest.raises(FormatError):
        world.home.token(uri=source.uri)


@pytest.mark.parametrize("path", ["status/1", ".well-known/1", "...", "a..b/..c", "%20/1"])
def test_a_uri_may_have_dots_that_lead_nowhere(world: World, path: str) -> None:
    source = world.home.source(uri=f"https://cn-gd.example/{path}")
    assert StatusSource.from_json(ClosedObject(source.to_json(), "status_lists[0]")) == source
    assert world.home.token(uri=source.uri).uri == source.uri
