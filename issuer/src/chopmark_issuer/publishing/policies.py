"""Witness policies: what a checkpoint of the region's log, or of a peer's, must carry (C2SP tlog-policy).

How one is written is in `chopmark_ledger.publication.policy_text`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chopmark_ledger import client
from chopmark_ledger.errors import PolicyError

from chopmark_issuer.errors import RefusedError


def log_policy(
    log_vkeys: Sequence[str],
    witness_vkeys: Sequence[str],
    quorum: int | None,
    *,
    log_url: str | None = None,
    witness_urls: Mapping[str, str] | None = None,
) -> str:
    """The policy of a log: `quorum` of the operators that run these witnesses, more than half where it is None.

    See `chopmark_ledger.publication.policy_text.log_policy`.

    Raises:
        RefusedError: no witness, one of the log's own region, or a quorum that its operators cannot make.
        FormatError, KeyMaterialError: a vkey or URL that is none, or a key that does not cosign.
    """
    try:
        return client.log_policy(log_vkeys, witness_vkeys, quorum, log_url=log_url, witness_urls=witness_urls)
    except PolicyError as error:
        raise RefusedError(error.what, where=error.where, remedy=error.remedy) from error


def default_floor(peer_policy: str) -> str:
    """The floor under a peer's policies, if none is named: what its log asks for today, without its log lines.

    The peer may ask for more later, but not for less.
    """
    return "".join(
        f"{line}\n" for line in peer_policy.splitlines() if line.strip() and line.split()[0] not in ("log", "#")
    )
