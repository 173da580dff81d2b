"""Witness policies of a trust bundle: operators are counted, the log's own region never."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chopmark.bundle_policies import check_log_policy, check_policy_floor, peer_policies
from chopmark.cosignature import Cosigner
from chopmark.errors import ChopmarkError, FormatError
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.tlog_policy import TlogPolicy

if TYPE_CHECKING:
    from tests.sdk.conftest import World


def witness(name: str, number: int) -> str:
    return Cosigner(name, Ed25519Signer.from_private_bytes(bytes([number]) * 32)).vkey


SH = witness("cn-sh.example/witness", 1)
SH2 = witness("cn-sh.example/witness-2", 2)
IL = witness("us-il.example/witness", 3)
OWN = witness("cn-gd.example/witness", 4)
UNDER_OWN = witness("w.cn-gd.example/witness", 5)
CAPITALS = witness("CN-GD.example/witness", 6)

PQ = Cosigner("cn-sh.example/witness", MlDsa44Signer(b"q" * 32)).vkey

GROUPS = "group R1 any sh\ngroup R2 any il\ngroup peers 2 R1 R2\nquorum peers\n"


def check(world: World, text: str) -> None:
    text = f"log {world.home.log.key.vkey}\n{text}"
    check_log_policy(world.home.log_entry(policy_text=text), where="policy")


@pytest.mark.parametrize(
    "text",
    [
        f"witness sh {SH}\nwitness il {IL}\n{GROUPS}",
        f"witness sh {SH}\ngroup R1 any sh\nquorum R1\n",
        f"witness sh {SH}\nwitness sh2 {SH2}\ngroup R1 any sh sh2\nquorum R1\n",
        f"witness sh {SH}\nwitness sh-pq {PQ}\nwitness il {IL}\n{GROUPS.replace('any sh', 'any sh sh-pq')}",
        f"witness sh-pq {PQ}\ngroup R1 any sh-pq\nquorum R1\n",
        f"witness sh {SH}\nwitness sh2 {SH2}\ngroup R1 all sh sh2\ngroup top any R1\nquorum top\n",
    ],
)
def test_a_policy_of_one_group_for_each_operator_is_accepted(world: World, text: str) -> None:
    check(world, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quorum none\n", "asks for no witness"),
        (
            f"witness sh {SH}\nwitness sh-pq {PQ}\ngroup R1 any sh\ngroup R2 any sh-pq\ngroup t 2 R1 R2\nquorum t\n",
            "two groups",
        ),
        (f"witness sh {SH}\nquorum none\n", "asks for no witness"),
        (f"witness sh {SH}\nquorum sh\n", "in no group"),
        (f"witness sh {SH}\nwitness il {IL}\ngroup R1 any sh\nquorum R1\n", "il is in no group"),
        (f"witness own {OWN}\ngroup R1 any own\nquorum R1\n", "log's own region"),
        (f"witness own {UNDER_OWN}\ngroup R1 any own\nquorum R1\n", "log's own region"),
        (f"witness own {CAPITALS}\ngroup R1 any own\nquorum R1\n", "lower case"),
        (f"witness sh {SH}\nwitness own {OWN}\ngroup R1 any sh\ngroup R2 any own\ngroup t 1 R1 R2\nquorum t\n", "own"),
        (f"witness sh {SH}\nwitness il {IL}\ngroup R1 any sh il\nquorum R1\n", "mixes operators"),
        (f"witness sh {SH}\nwitness il {IL}\ngroup R1 any sh\ngroup R2 2 R1 il\nquorum R2\n", "mixes operators"),
        (
            f"witness a {SH}\nwitness b {SH2}\ngroup R1 any a\ngroup R2 any b\ngroup t 2 R1 R2\nquorum t\n",
            r"cn-sh\.example has two groups",
        ),
    ],
)
def test_a_policy_that_does_not_count_other_operators_is_refused(world: World, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        check(world, text)


def test_a_policy_for_another_log_or_other_keys_is_refused(world: World) -> None:
    rest = f"witness sh {SH}\ngroup R1 any sh\nquorum R1\n"
    for logs in (
        "",
        f"log {world.peer.log.key.vkey}\n",
        f"log {world.home.log.key.vkey}\nlog {world.peer.log.key.vkey}\n",
    ):
        with pytest.raises(FormatError, match="not exactly the keys of this log"):
            check_log_policy(world.home.log_entry(policy_text=logs + rest), where="policy")


def test_a_text_that_is_no_policy_is_refused(world: World) -> None:
    with pytest.raises(ChopmarkError):
        check(world, "quorum\n")


def floor(world: World, text: str) -> None:
    check_policy_floor(world.peer.peer_entry(text), where="policy_floor")


def test_a_floor_may_count_the_home_region_but_not_the_peer(world: World) -> None:
    floor(world, f"witness gd {OWN}\ngroup R1 any gd\nquorum R1\n")
    with pytest.raises(FormatError, match="log's own region"):
        floor(world, f"witness sh {SH}\ngroup R1 any sh\nquorum R1\n")
    with pytest.raises(FormatError, match="asks for no witness"):
        floor(world, "quorum none\n")


def test_a_floor_may_name_logs_of_that_peer_only(world: World) -> None:
    rest = f"witness gd {OWN}\ngroup R1 any gd\nquorum R1\n"
    floor(world, f"log {world.peer.log.key.vkey}\n{rest}")
    with pytest.raises(FormatError, match="not a log of CN-SH"):
        floor(world, f"log {world.home.log.key.vkey}\n{rest}")


def test_a_floor_without_logs_is_held_against_the_keys_of_the_log(world: World) -> None:
    policy = TlogPolicy.parse(world.peer.log.policy())
    bare = TlogPolicy.parse(f"witness gd {OWN}\ngroup R1 any gd\nquorum R1\n")
    own, under = peer_policies(policy, bare)
    assert own == policy
    assert under.logs == policy.logs
    assert under.witnesses == bare.witnesses
    named = bare.with_logs(TlogPolicy.parse(world.home.log.policy()).logs)
    assert peer_policies(policy, named) == (policy, named)
