"""Trust bundles: reading, writing, looking up, age."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from chopmark.errors import ChopmarkError, FormatError, LimitError, SignatureError, TrustError, UnsupportedError
from chopmark.keys import MlDsa44Signer
from chopmark.note import Note, NoteSigner, sign_note
from chopmark.root_epoch import Roots, root_epoch_text
from chopmark.trust_bundle import BundleAge, BundleContents, TrustBundle, sign_trust_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.sdk.conftest import World

DAY = 86_400


def test_a_bundle_survives_writing_and_reading(world: World) -> None:
    bundle = world.home_bundle()
    assert BundleContents.parse(bundle.contents.text()) == bundle.contents
    again = TrustBundle.parse(bundle.data, roots=world.home.pin)
    assert again.contents == bundle.contents
    assert again.digest == hashlib.sha256(bundle.contents.text().encode()).digest()


def test_the_text_has_its_members_in_the_order_of_the_format(world: World) -> None:
    text = world.home_bundle().contents.text()
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"
    assert list(json.loads(text)) == [
        "format",
        "region",
        "name",
        "seq",
        "issued",
        "refresh_after",
        "expires",
        "epoch",
        "logs",
        "peers",
        "issuers",
        "keys",
        "types",
        "grants",
        "agreements",
        "status_lists",
    ]


def test_entries_are_found_by_their_names(world: World) -> None:
    home, bundle = world.home, world.home_bundle()
    assert bundle.region == "CN-GD"
    assert bundle.key(home.issuer, home.credential_key.public_key.kid) == bundle.contents.keys[0]
    assert bundle.key(home.issuer, bytes(8)) is None
    assert bundle.key("CN-GD/another", home.credential_key.public_key.kid) is None
    assert bundle.issuer(home.issuer) == bundle.contents.issuers[0]
    assert bundle.log_by_number(1) == bundle.log_by_origin(home.log.origin) == bundle.logs[0]
    assert bundle.log_by_number(2) is None
    assert bundle.type(f"{home.type_id}@1") == bundle.contents.types[0]
    assert bundle.type(f"{home.type_id}@2") is None
    assert bundle.grants(home.issuer, home.type_id) == bundle.contents.grants
    assert bundle.grants(home.issuer, "CN-GD/another") == ()
    assert bundle.status_source(home.uri) == bundle.contents.status_lists[0]
    assert bundle.peer("CN-SH") == bundle.peers[0]
    policy, floor = bundle.policy(home.log.origin), bundle.policy_floor("CN-SH")
    assert policy is not None
    assert policy.quorum == "peers"
    assert floor is not None
    assert floor.quorum == "R01"


def test_age_is_the_worst_that_can_be_said(world: World) -> None:
    issued = world.home.contents().issued
    bundle = world.home_bundle(refresh_after=issued + DAY, expires=issued + 20 * DAY)
    ages = [bundle.age_state(issued + seconds) for seconds in (-5, 0, DAY - 1, DAY, 7 * DAY - 1, 7 * DAY)]
    assert ages == [
        BundleAge.FRESH,
        BundleAge.FRESH,
        BundleAge.FRESH,
        BundleAge.REFRESH_DUE,
        BundleAge.REFRESH_DUE,
        BundleAge.STALE,
    ]
    later = [bundle.age_state(issued + days * DAY) for days in (19, 20, 29, 30)]
    assert later == [BundleAge.STALE, BundleAge.EXPIRED, BundleAge.EXPIRED, BundleAge.HARD_STOP]


def test_a_bundle_signed_by_too_few_roots_is_refused(world: World) -> None:
    with pytest.raises(SignatureError, match="1 root signatories of epoch 1 where 2"):
        world.home.bundle(signers=world.home.roots[:1])
    with pytest.raises(SignatureError):
        world.home.bundle(signers=world.peer.roots)


def test_a_bundle_under_roots_of_two_keys_each_is_signed_with_both(world: World) -> None:
    classical = world.home.roots
    beside = [NoteSigner(root.name, MlDsa44Signer(bytes([number]) * 32)) for number, root in enumerate(classical)]
    both = [*classical, *beside]
    issued = world.home.contents().issued
    text = root_epoch_text(region="CN-GD", epoch=1, issued=issued, threshold=2, keys=[root.vkey for root in both])
    roots = Roots.pin(sign_note(text, both).encode())
    bundle = sign_trust_bundle(world.home.contents(), roots=roots, signers=both)
    assert bundle.digest == TrustBundle.parse(bundle.data, roots=roots).digest
    assert len(Note.parse(bundle.data).signatures) == 4
    for signers in (classical, beside, both[:3]):
        with pytest.raises(SignatureError, match="both must"):
            sign_trust_bundle(world.home.contents(), roots=roots, signers=signers)


def test_a_bundle_of_another_region_is_refused(world: World) -> None:
    with pytest.raises(TrustError, match="not of the region CN-SH"):
        TrustBundle.parse(world.home_bundle().data, roots=world.peer.pin)


def test_a_bundle_of_another_root_epoch_is_refused(world: World) -> None:
    with pytest.raises(TrustError, match="root epoch 2"):
        world.home.bundle(epoch=2)


def forged(world: World, change: str, value: Any = None) -> bytes:
    """The bundle with one place of its JSON set, as `logs.0.number`, or its text replaced; `…` deletes the place."""
    members: Any = json.loads(world.home_bundle().contents.text())
    *path, last = (int(step) if step.isdigit() else step for step in change.split("."))
    parent = members
    for step in path:
        parent = parent[step]
    if value is ...:
        del parent[last]
    else:
        parent[last] = value
    return sign_note(json.dumps(members, indent=1) + "\n", world.home.roots).encode()


@pytest.mark.parametrize(
    "place",
    [
        "extra",
        "name.fr",
        "logs.0.extra",
        "peers.0.extra",
        "issuers.0.extra",
        "issuers.0.status.0.to",
        "issuers.0.name.extra",
        "keys.0.extra",
        "types.0.extra",
        "types.0.fields.0.extra",
        "types.0.fields.0.label.extra",
        "grants.0.extra",
        "status_lists.0.extra",
        "status_lists.0.signers.0.extra",
    ],
)
def test_an_unknown_member_is_refused_by_name(world: World, place: str) -> None:
    with pytest.raises(UnsupportedError, match=f"'{place.rsplit('.', maxsplit=1)[-1]}' is not known"):
        TrustBundle.parse(forged(world, place, "x"), roots=world.home.pin)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("format", "chopmark/trust-bundle/v2"),
        ("agreements", [{}]),
        ("logs.0.suite", 2),
        ("issuers.0.status.0.state", "resting"),
        ("keys.0.use", "timestamp"),
        ("keys.0.alg", "RS256"),
        ("types.0.holder", "both"),
        ("types.0.freshness", "never"),
        ("types.0.fields.0.kind", "picture"),
        ("types.0.fields.0.disclosure", "sometimes"),
    ],
)
def test_what_a_later_reader_may_know_is_unsupported(world: World, place: str, value: Any) -> None:
    with pytest.raises(UnsupportedError):
        TrustBundle.parse(forged(world, place, value), roots=world.home.pin)


@pytest.mark.parametrize(
    "place",
    [
        "region",
        "name",
        "name.zh-Hans",
        "seq",
        "issued",
        "expires",
        "logs",
        "agreements",
        "status_lists",
        "logs.0.policy",
        "logs.0.from",
        "peers.0.policy_floor",
        "peers.0.threshold",
        "issuers.0.status",
        "keys.0.not_after",
        "keys.0.use",
        "types.0.status",
        "types.0.fields.0.restricts",
        "grants.0.from",
        "status_lists.0.signers",
    ],
)
def test_a_missing_member_is_refused_by_name(world: World, place: str) -> None:
    with pytest.raises(FormatError, match=f"{place.rsplit('.', maxsplit=1)[-1]}.*missing"):
        TrustBundle.parse(forged(world, place, ...), roots=world.home.pin)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("region", "cn-gd"),
        ("seq", 0),
        ("seq", 1.5),
        ("seq", True),
        ("seq", "1"),
        ("seq", None),
        ("issued", "2026-11-22"),
        ("issued", "2026-02-30T00:00:00Z"),
        ("name", "Guangdong"),
        ("name.en", ""),
        ("name.en", "\ud800"),
        ("logs", {}),
        ("logs.0", []),
        ("logs.0.number", 0),
        ("logs.0.number", 2**32),
        ("logs.0.origin", "https://cn-gd.example/log/2026"),
        ("logs.0.origin", "cn-gd.example"),
        ("logs.0.vkeys", ["x"]),
        ("logs.0.vkeys", [7]),
        ("logs.0.policy", "quorum"),
        ("logs.0.to", "2020-01-01T00:00:00Z"),
        ("logs.0.final", {"size": 3, "root": "AAAA"}),
        ("logs.0.final", {"size": -3, "root": "A" * 43 + "="}),
        ("peers.0.threshold", 0),
        ("peers.0.bundle_url", "http://cn-sh.example/bundle.note"),
        ("peers.0.origins", ["cn-sh.example/log/2026", "cn-sh.example/log/2026"]),
        ("issuers.0.status", []),
        ("issuers.0.id", "11440000000000001X"),
        ("keys.0.kid", "00" * 8),
        ("keys.0.kid", "AB" * 8),
        ("keys.0.pub", "AAAA"),
        ("keys.0.not_after", "2020-01-01T00:00:00Z"),
        ("keys.0.revoked", {"at": "2026-01-01T00:00:00Z", "reason": "compromised"}),
        ("types.0.fields.0.id", 59),
        ("types.0.fields.0.id", -1),
        ("types.0.schema", 0),
        ("types.0.challenge", True),
        ("types.0.zone", "Asia/../etc"),
        ("types.0.fields.0.restricts", "no"),
        ("status_lists.0.uri", "https://cn-gd.example:8443/status/1"),
        ("status_lists.0.uri", "https://user@cn-gd.example/status/1"),
        ("status_lists.0.uri", "https://cn-gd.example/status?list=1"),
        ("status_lists.0.mirrors", ["ftp://cn-gd.example/1"]),
        ("status_lists.0.ttl", 0),
    ],
)
def test_a_member_of_another_form_is_refused(world: World, place: str, value: Any) -> None:
    with pytest.raises(ChopmarkError) as caught:
        TrustBundle.parse(forged(world, place, value), roots=world.home.pin)
    assert not isinstance(caught.value, SignatureError)


def test_a_field_that_restricts_must_be_required_and_always_shown(world: World) -> None:
    for place, value in (("types.0.fields.0.disclosure", "selective"), ("types.0.fields.0.required", False)):
        members = json.loads(world.home_bundle().contents.text())
        members["types"][0]["fields"][0]["restricts"] = True
        members["types"][0]["fields"][0][place.rsplit(".", maxsplit=1)[-1]] = value
        note = sign_note(json.dumps(members) + "\n", world.home.roots).encode()
        with pytest.raises(FormatError, match="restricts"):
            TrustBundle.parse(note, roots=world.home.pin)


def test_two_fields_of_one_id_or_name_are_refused(world: World) -> None:
    field = world.home.licence_type().fields[0]
    with pytest.raises(FormatError, match="same id"):
        world.home.contents(types=(world.home.licence_type(fields=(field, field)),)).text()


def test_states_of_an_issuer_must_rise_in_time(world: World) -> None:
    members = json.loads(world.home_bundle().contents.text())
    members["issuers"][0]["status"] *= 2
    note = sign_note(json.dumps(members) + "\n", world.home.roots).encode()
    with pytest.raises(FormatError, match="no later than the state before"):
        TrustBundle.parse(note, roots=world.home.pin)


@pytest.mark.parametrize("name", ["seq", "region", "agreements"])
def test_a_name_that_stands_twice_is_refused(world: World, name: str) -> None:
    text = world.home_bundle().contents.text().replace(f' "{name}":', f' "{name}": 9, "{name}":', 1)
    with pytest.raises(FormatError, match=f"'{name}' stands twice"):
        TrustBundle.parse(sign_note(text, world.home.roots).encode(), roots=world.home.pin)


def test_a_nested_name_that_stands_twice_is_refused(world: World) -> None:
    text = world.home_bundle().contents.text().replace('"use": "status"', '"use": "credential", "use": "status"')
    with pytest.raises(FormatError, match="'use' stands twice"):
        TrustBundle.parse(sign_note(text, world.home.roots).encode(), roots=world.home.pin)


def test_json_nested_too_deeply_is_refused(world: World) -> None:
    note = sign_note("[" * 200_000 + "\n", world.home.roots).encode()
    with pytest.raises(FormatError):
        TrustBundle.parse(note, roots=world.home.pin)


def test_a_note_above_the_limit_is_refused(world: World) -> None:
    with pytest.raises(LimitError):
        TrustBundle.parse(b" " * (4 * 1024 * 1024 + 1), roots=world.home.pin)


def test_contents_that_would_be_refused_are_not_signed(world: World) -> None:
    with pytest.raises(FormatError):
        sign_trust_bundle(world.home.contents(seq=0), roots=world.home.pin, signers=world.home.roots)
    with pytest.raises(FormatError):
        sign_trust_bundle(world.home.contents(issued=10**15), roots=world.home.pin, signers=world.home.roots)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_bundle_with_a_changed_byte_is_refused_or_says_the_same(world: World, data: st.DataObject) -> None:
    bundle = world.home_bundle()
    changed = bytearray(bundle.data)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(ChopmarkError):
        assert TrustBundle.parse(bytes(changed), roots=world.home.pin).contents == bundle.contents


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    junk=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
    place=st.sampled_from(["logs", "peers.0", "issuers.0.status.0", "keys.0", "types.0.fields.0", "grants", "seq"]),
)
def test_any_json_in_any_place_is_refused_by_name(world: World, junk: Any, place: str) -> None:
    with suppress(ChopmarkError):
        TrustBundle.parse(forged(world, place, junk), roots=world.home.pin)
