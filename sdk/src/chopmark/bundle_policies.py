"""What the witness policies of a trust bundle must be like (`specs/trust-bundle.md`).

A policy counts operators, not keys, and never the log's own region: each witness is a member of a group that holds the
witnesses of one operator, known by the host of their key names, and nothing else; the quorum is built from those
groups; no witness is under the host of the log. Sample, for the log `cn-gd.example/log/2026`:

    log cn-gd.example/log/2026+0f2a8a8c+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k
    witness sh-1 cn-sh.example/witness+d1a2b3c4+BGy…
    witness us-1 us-il.example/witness+55aa0112+BLp…
    group R01 any sh-1
    group R02 any us-1
    group peers 2 R01 R02
    quorum peers
"""

from __future__ import annotations

from chopmark.bundle_entries import Log, Peer
from chopmark.errors import FormatError
from chopmark.identifiers import ORIGIN, host_of
from chopmark.tlog_policy import TlogPolicy


def check_log_policy(log: Log, *, where: str) -> None:
    """Hold the policy of a log against the rules.

    Raises:
        FormatError: it is no policy, names other logs or keys than this one's, or breaks a rule.
    """
    policy = TlogPolicy.parse(log.policy_text)
    if {entry.verifier.vkey for entry in policy.logs} != set(log.vkeys):
        raise FormatError("its log lines are not exactly the keys of this log", where=where)
    _check_witnesses(policy, {log.host}, where)


def check_policy_floor(peer: Peer, *, where: str) -> None:
    """Hold the floor under a peer's policies against the rules; log lines, if any, name logs of that peer.

    Raises:
        FormatError: it is no policy, names another log, or breaks a rule.
    """
    policy = TlogPolicy.parse(peer.policy_floor_text)
    for entry in policy.logs:
        if entry.origin not in peer.origins:
            raise FormatError(f"{entry.origin} is not a log of {peer.region}", where=where)
    _check_witnesses(policy, {host_of(origin) for origin in peer.origins}, where)


def peer_policies(policy: TlogPolicy, floor: TlogPolicy) -> tuple[TlogPolicy, ...]:
    """What a checkpoint of a peer's log must satisfy: its own policy, and the floor, with the log's keys if need be."""
    return policy, floor if floor.logs else floor.with_logs(policy.logs)


def _check_witnesses(policy: TlogPolicy, own_hosts: set[str], where: str) -> None:
    if policy.is_none:
        raise FormatError("it asks for no witness", where=where, remedy="name a quorum of operators")
    hosts = {witness.name: host_of(witness.verifier.name) for witness in policy.witnesses}
    for witness in policy.witnesses:
        if ORIGIN.fullmatch(witness.verifier.name) is None:
            raise FormatError(f"the key of {witness.name} is not named <host>/<path>, in lower case", where=where)
    for name, host in hosts.items():
        if any(f".{host}".endswith(f".{own}") for own in own_hosts):
            raise FormatError(f"the witness {name} is of the log's own region, {host}", where=where)
    grouped: set[str] = set()
    operators: set[str] = set()
    for group in policy.groups:
        members = {hosts.get(member) for member in group.members}
        if members == {None}:
            continue
        if len(members) != 1:
            raise FormatError(
                f"the group {group.name} mixes operators",
                where=where,
                remedy="give each operator a group of its own, and count those groups",
            )
        operator = next(iter(members))
        assert operator is not None  # noqa: S101  # {None} was left above
        if operator in operators:
            raise FormatError(f"the operator {operator} has two groups", where=where)
        operators.add(operator)
        grouped.update(group.members)
    if ungrouped := hosts.keys() - grouped:
        raise FormatError(
            f"the witness {min(ungrouped)} is in no group",
            where=where,
            remedy="give each operator a group, even of one witness, and let the quorum count groups",
        )
