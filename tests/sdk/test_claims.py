"""The claims set: each rule of each claim, made to fail alone."""

import hashlib
from typing import Any

import pytest
from chopmark import cbor
from chopmark.cbor import REDACTED, Key, Tagged, Value
from chopmark.claims import Claims, Kind, StatusReference, Usage, is_licence_type, read_claims, write_claims
from chopmark.errors import FormatError, UnsupportedError
from chopmark.keys import Ed25519Signer, Es256Signer, MlDsa44Signer
from hypothesis import given, settings
from hypothesis import strategies as st

HOLDER = Es256Signer(hashlib.sha256(b"holder").digest())
STATUS: dict[Key, Value] = {"status_list": {"idx": 4711, "uri": "https://cn-gd.example/status/1"}}
DIGEST, OTHER_DIGEST = bytes(32), bytes(31) + b"\x01"


def bearer() -> dict[Key, Value]:
    return {
        1: "CN-GD/11440000MB2D0P8Q3X",
        2: "1.2.156.3005.2.11100000000013338W032.X",
        4: 1893456000,
        6: 1795339800,
        7: bytes(16),
        11: "CN-GD/11100000000013338W032@3",
        65535: STATUS,
        -65537: {1: "示例餐饮有限公司", 4: 20000},
    }


def bound() -> dict[Key, Value]:
    payload = bearer()
    del payload[7]
    return {**payload, 8: {1: HOLDER.public_key.to_cose()}}


both_kinds = pytest.mark.parametrize(("kind", "payload"), [(Kind.BEARER, bearer()), (Kind.HOLDER_BOUND, bound())])


@both_kinds
def test_a_plain_claims_set_reads(kind: Kind, payload: dict[Key, Value]) -> None:
    read = read_claims(payload, kind)
    assert read.claims.issuer == "CN-GD/11440000MB2D0P8Q3X"
    assert read.claims.licence_type == "CN-GD/11100000000013338W032@3"
    assert read.claims.licence_number == "1.2.156.3005.2.11100000000013338W032.X"
    assert (read.claims.issued_at, read.claims.expires, read.claims.not_before) == (1795339800, 1893456000, None)
    assert read.claims.status == StatusReference(4711, "https://cn-gd.example/status/1")
    assert read.claims.fields == {1: "示例餐饮有限公司", 4: 20000}
    assert read.claims.holder_key == (HOLDER.public_key if kind is Kind.HOLDER_BOUND else None)
    assert read.unknown == ()
    assert write_claims(read.claims) == payload


@both_kinds
@pytest.mark.parametrize(("claim", "name"), [(1, "iss"), (2, "sub"), (6, "iat"), (11, "vct")])
def test_a_required_claim_that_is_missing_is_named(
    kind: Kind, payload: dict[Key, Value], claim: int, name: str
) -> None:
    with pytest.raises(FormatError, match=rf"claim {name} \({claim}\).*missing"):
        read_claims({key: value for key, value in payload.items() if key != claim}, kind)


WRONG: dict[tuple[int, str], list[Any]] = {
    (1, "iss"): [
        7,
        b"CN-GD/1",
        "",
        "CN-GD",
        "CN-GD/",
        "cn-gd/1",
        "CN-GD/1\n",
        "CN-GD/示例",
        "C/1",
        "CN-GD/1/2",
        "CN-GD/" + "1" * 65,
        "CN-GUANG/1",
        "https://cn-gd.example",
    ],
    (2, "sub"): [7, b"1", "", "a\nb", "a\u202eb", "x" * 201],
    (4, "exp"): [True, "2030", 1.5, 2**60, -(2**60), b""],
    (5, "nbf"): [False, "2020", 2**60, -(2**60)],
    (6, "iat"): [True, "2026", 2**60, -(2**60)],
    (7, "cti"): [bytes(15), bytes(17), "0123456789abcdef", 7],
    (11, "vct"): [
        7,
        b"x",
        "",
        "CN-GD/W032",
        "CN-GD/W032@",
        "CN-GD/W032@0",
        "CN-GD/W032@01",
        "CN-GD/W032@x",
        "CN-GD/W032@3@3",
        "@3",
        "W032@3",
        "CN-GD/W032@٣",
        "CN-GD/W@-1",
        "CN-GD/W032@1234567890",
    ],
    (65535, "status"): [7, {}, [], {"status_list": 7}, {"status_list": {"idx": 1}}]
    + [{"status_list": {"idx": idx, "uri": "https://a.example/1"}} for idx in (-1, True, "1", 2**32)]
    + [{"status_list": {"idx": 1, "uri": uri}} for uri in ("", 7, "https://例.example", "x" * 513, "a\n")],
    (-65537, "fields"): [7, [], {}, {"1": 7}, {1: Tagged([b"", {}, b"", b""])}],
    (-65538, "usage"): [
        7,
        {},
        [],
        {1: 7},
        {1: True},
        {2: ""},
        {2: "x" * 201},
        {2: 7},
        {2: "a\nb"},
        {3: "2026"},
        {3: True},
        {3: 2**60},
        {4: 7},
    ],
}


@both_kinds
@pytest.mark.parametrize(
    ("claim", "name", "wrong"), [(*claim, wrong) for claim, values in WRONG.items() for wrong in values]
)
def test_a_claim_of_the_wrong_form_is_named(
    kind: Kind, payload: dict[Key, Value], claim: int, name: str, wrong: Any
) -> None:
    with pytest.raises(FormatError, match=rf"claim {name} \({claim}\)"):
        read_claims({**payload, claim: wrong}, kind)


@pytest.mark.parametrize("payload", [7, "x", b"", [], [1, 2], True])
def test_a_payload_that_is_no_map_is_refused(payload: Value) -> None:
    with pytest.raises(FormatError, match="map"):
        read_claims(payload, Kind.BEARER)


def test_a_bearer_credential_needs_its_random_id() -> None:
    payload = bearer()
    del payload[7]
    with pytest.raises(FormatError, match=r"cti \(7\).*"):
        read_claims(payload, Kind.BEARER)


def test_a_bearer_credential_names_no_holder_key() -> None:
    with pytest.raises(FormatError, match=r"cnf \(8\)"):
        read_claims({**bearer(), 8: bound()[8]}, Kind.BEARER)


@pytest.mark.parametrize("change", [{REDACTED: [DIGEST]}, {-65537: {REDACTED: [DIGEST]}}])
def test_a_bearer_credential_has_nothing_redacted(change: dict[Key, Value]) -> None:
    with pytest.raises(FormatError, match="nothing redacted"):
        read_claims({**bearer(), **change}, Kind.BEARER)


def test_a_holder_bound_credential_needs_its_holder_key() -> None:
    payload = bound()
    del payload[8]
    with pytest.raises(FormatError, match=r"cnf \(8\).*missing"):
        read_claims(payload, Kind.HOLDER_BOUND)


KEY = HOLDER.public_key.to_cose()


@pytest.mark.parametrize(
    "confirmation",
    [
        {},
        7,
        [KEY],
        {2: KEY},
        {1: KEY, 3: b"kid"},
        {1: KEY, 2: KEY},
        {1: [KEY, KEY]},
        {1: {}},
        {1: {**KEY, -4: bytes(32)}},
        {1: {**KEY, -3: bytes(32)}},
        {1: {**KEY, 2: b"kid"}},
        {5: bytes(32)},
    ],
    ids=repr,
)
def test_a_confirmation_that_is_not_one_public_key_is_refused(confirmation: Value) -> None:
    with pytest.raises(FormatError, match=r"cnf \(8\)"):
        read_claims({**bound(), 8: confirmation}, Kind.HOLDER_BOUND)


def test_a_private_key_in_a_confirmation_is_called_that() -> None:
    with pytest.raises(FormatError, match=r"d \(-4\): a private key"):
        read_claims({**bound(), 8: {1: {**KEY, -4: bytes(32)}}}, Kind.HOLDER_BOUND)


def test_an_ed25519_holder_key_reads_and_a_post_quantum_one_is_unsupported() -> None:
    ed25519 = Ed25519Signer(bytes(32)).public_key
    assert read_claims({**bound(), 8: {1: ed25519.to_cose()}}, Kind.HOLDER_BOUND).claims.holder_key == ed25519
    with pytest.raises(UnsupportedError, match="cnf"):
        read_claims({**bound(), 8: {1: MlDsa44Signer(bytes(32)).public_key.to_cose()}}, Kind.HOLDER_BOUND)


@pytest.mark.parametrize(
    ("not_before", "issued_at", "expires", "bound_reads", "bearer_reads"),
    [
        (10, 10, 11, True, True),
        (9, 10, 11, True, True),
        (11, 10, 12, False, True),
        (9, 10, 10, False, True),
        (None, 10, 9, False, True),
        (10, 10, 10, False, False),
        (12, 10, 11, False, False),
        (-100, 10, 11, True, True),
    ],
)
def test_times_are_in_the_order_of_the_draft(
    not_before: int | None, issued_at: int, expires: int, bound_reads: bool, bearer_reads: bool
) -> None:
    times: dict[Key, Value] = {4: expires, 6: issued_at}
    if not_before is not None:
        times[5] = not_before
    for kind, payload, reads in (
        (Kind.HOLDER_BOUND, bound(), bound_reads),
        (Kind.BEARER, bearer(), bearer_reads),
    ):
        if reads:
            assert read_claims({**payload, **times}, kind).claims.not_before == not_before
        else:
            with pytest.raises(FormatError, match=r"(nbf|exp) \("):
                read_claims({**payload, **times}, kind)


def test_a_redacted_licence_number_is_absent_from_the_claims() -> None:
    payload = bound()
    del payload[2]
    read = read_claims({**payload, REDACTED: [DIGEST]}, Kind.HOLDER_BOUND)
    assert read.claims.licence_number is None
    assert read.redacted_claims == {DIGEST}


def test_redacted_fields_are_kept_as_digests() -> None:
    read = read_claims({**bound(), -65537: {1: "x", REDACTED: [DIGEST, OTHER_DIGEST]}}, Kind.HOLDER_BOUND)
    assert read.claims.fields == {1: "x"}
    assert read.redacted_fields == {DIGEST, OTHER_DIGEST}


def test_fields_may_all_be_redacted() -> None:
    assert read_claims({**bound(), -65537: {REDACTED: [DIGEST]}}, Kind.HOLDER_BOUND).claims.fields == {}


@pytest.mark.parametrize(
    "digests", [[], {}, 7, b"", [b""], [bytes(31)], [bytes(33)], ["x" * 32], [DIGEST, DIGEST], [DIGEST, 7]], ids=repr
)
def test_redaction_digests_of_another_form_are_refused(digests: Value) -> None:
    hidden_number = {key: value for key, value in bound().items() if key != 2}
    hidden_number[REDACTED] = digests
    hidden_field = bound()
    hidden_field[-65537] = {1: "x", REDACTED: digests}
    for payload in (hidden_number, hidden_field):
        with pytest.raises(FormatError, match=r"simple\(59\)"):
            read_claims(payload, Kind.HOLDER_BOUND)


def test_nothing_but_the_licence_number_is_redacted_at_the_top() -> None:
    with pytest.raises(FormatError, match="sub"):
        read_claims({**bound(), REDACTED: [DIGEST]}, Kind.HOLDER_BOUND)
    hidden = {key: value for key, value in bound().items() if key != 2}
    with pytest.raises(FormatError, match="sub"):
        read_claims({**hidden, REDACTED: [DIGEST, OTHER_DIGEST]}, Kind.HOLDER_BOUND)


def test_one_digest_does_not_stand_for_number_and_field() -> None:
    hidden = {key: value for key, value in bound().items() if key != 2}
    with pytest.raises(FormatError, match="two places"):
        read_claims({**hidden, REDACTED: [DIGEST], -65537: {REDACTED: [DIGEST]}}, Kind.HOLDER_BOUND)


@pytest.mark.parametrize(
    "value", [{REDACTED: [DIGEST]}, [{REDACTED: [DIGEST]}], {1: [{2: {REDACTED: [DIGEST]}}]}], ids=repr
)
def test_a_field_is_redacted_whole_or_not_at_all(value: Value) -> None:
    with pytest.raises(FormatError, match="redacted"):
        read_claims({**bound(), -65537: {1: value}}, Kind.HOLDER_BOUND)


@both_kinds
@pytest.mark.parametrize("claim", [0, 3, 9, 39, 60, 100, -65536, -65539, 65534, "aud", "x" * 255])
def test_an_unknown_claim_is_named_and_not_refused(kind: Kind, payload: dict[Key, Value], claim: Key) -> None:
    read = read_claims({**payload, claim: "x"}, kind)
    assert read.unknown == (f"claim {str(claim)[:40]}",)


@both_kinds
@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({65535: {**STATUS, "other": 1}}, "status other"),
        ({65535: {"status_list": {"idx": 1, "uri": "https://a.example/1", "x": 1}}}, "status_list x"),
        ({-65538: {5: 1}}, "usage 5"),
        ({-65538: {1: "friend"}}, "usage role friend"),
        ({-65538: {4: "stone"}}, "usage medium stone"),
    ],
)
def test_an_unknown_member_or_word_is_named_and_not_refused(
    kind: Kind, payload: dict[Key, Value], change: dict[Key, Value], name: str
) -> None:
    assert read_claims({**payload, **change}, kind).unknown == (name,)


@pytest.mark.parametrize(
    "usage",
    [
        Usage(role="agent"),
        Usage(purpose="申请贷款"),
        Usage(until=1),
        Usage(medium="paper"),
        Usage("copy", "x", 1, "paper"),
    ],
)
def test_usage_round_trip(usage: Usage) -> None:
    claims = read_claims({**bearer(), -65538: {1: "paper"}}, Kind.BEARER).claims
    assert claims.usage == Usage(role="paper")
    payload = write_claims(Claims("CN/1", "CN/2@1", 6, "n", credential_id=bytes(16), usage=usage))
    assert read_claims(cbor.decode(cbor.encode(payload)), Kind.BEARER).claims.usage == usage


@pytest.mark.parametrize("text", ["CN/W032@1", "CN-GD/11100000000013338W032@3", "US-IL/retail.food_1@999999999"])
def test_licence_types_are_region_type_and_schema(text: str) -> None:
    assert is_licence_type(text)


anything = st.recursive(
    st.integers(-(2**64), 2**64 - 1) | st.text(max_size=9) | st.binary(max_size=33) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.integers(-70000, 70000) | st.text(max_size=3) | st.just(REDACTED), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.sampled_from(Kind), st.sampled_from([1, 2, 4, 5, 6, 7, 8, 11, 65535, -65537, -65538, REDACTED]), anything)
def test_whatever_a_claim_holds_the_error_is_a_format_error(kind: Kind, claim: Key, value: Value) -> None:
    payload = {**(bearer() if kind is Kind.BEARER else bound()), claim: value}
    try:
        read = read_claims(payload, kind)
    except FormatError:
        return
    assert not read.redacted_claims
    assert write_claims(read.claims).get(claim) is not None or read.redacted_fields
