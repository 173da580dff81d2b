"""The text of a log's witness policy (C2SP tlog-policy), from the keys of the log and of the witnesses.

One group for each operator, known by the host of its witnesses' names, so that the quorum counts operators, not keys.
A log, and a witness, may have an Ed25519 key and an ML-DSA-44 key. Where a log or a witness is served, its lines say
where. Sample of a log that two of two peer regions witness:

    log cn-gd.example/log/2026+0f2a8a8c+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k https://cn-gd.example/log
    witness witness-1 cn-sh.example/witness+d1a2b3c4+BGy… https://cn-sh.example/witness
    witness witness-2 us-il.example/witness+55aa0112+BLp… https://us-il.example/witness
    group operator-1 any witness-1
    group operator-2 any witness-2
    group operators 2 operator-1 operator-2
    quorum operators
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chopmark.identifiers import host_of
from chopmark.note import NoteVerifier
from chopmark.tlog_policy import TlogPolicy

from chopmark_ledger.errors import PolicyError

MAX_WITNESS_KEYS = 2
"""Of one witness: Ed25519 and ML-DSA-44."""


def log_policy(
    log_vkeys: Sequence[str],
    witness_vkeys: Sequence[str],
    quorum: int | None,
    *,
    log_url: str | None = None,
    witness_urls: Mapping[str, str] | None = None,
) -> str:
    """The policy of a log: `quorum` of the operators that run these witnesses, more than half where it is None.

    Args:
        log_vkeys: the keys of the log.
        witness_vkeys: the keys of its witnesses.
        quorum: how many operators must cosign.
        log_url: where the log is served.
        witness_urls: where witnesses are served, by vkey.

    Raises:
        PolicyError: no witness, one of the log's own region, or a quorum that its operators cannot make.
        FormatError, KeyMaterialError: a vkey or URL that is none, or a key that does not cosign.
    """
    operators: dict[str, list[str]] = {}
    for vkey in witness_vkeys:
        operators.setdefault(host_of(NoteVerifier.from_vkey(vkey).name), []).append(vkey)
    own = {host_of(NoteVerifier.from_vkey(vkey).name) for vkey in log_vkeys}
    if not operators or own & operators.keys():
        raise PolicyError(
            "a log needs witnesses, and those of its own region do not count",
            where="witness",
            remedy="Name a witness that another region runs",
        )
    needed = len(operators) // 2 + 1 if quorum is None else quorum
    if not 1 <= needed <= len(operators):
        raise PolicyError(f"{needed} of {len(operators)} operators can not be", where="quorum")
    urls = witness_urls or {}
    lines = [_line("log", vkey, log_url) for vkey in log_vkeys]
    names: dict[str, list[str]] = {host: [] for host in operators}
    for number, (host, vkey) in enumerate(((host, vkey) for host, vkeys in operators.items() for vkey in vkeys), 1):
        lines.append(_line("witness", f"witness-{number}", vkey, urls.get(vkey)))
        names[host].append(f"witness-{number}")
    groups = []
    for number, members in enumerate(names.values(), 1):
        groups.append(f"operator-{number}")
        lines.append(f"group operator-{number} any {' '.join(members)}")
    lines.append(f"group operators {needed} {' '.join(groups)}")
    lines.append("quorum operators")
    text = "\n".join(lines) + "\n"
    TlogPolicy.parse(text)
    return text


def served_policy(log_vkeys: Sequence[str], witnesses: Mapping[str, Sequence[str]], quorum: int | None) -> str:
    """The policy of a log whose witnesses are served.

    Args:
        log_vkeys: the keys of the log.
        witnesses: by URL the keys of the witness that is served there, as `chopmark witness vkeys` prints them.
        quorum: how many operators must cosign, more than half where it is None.

    Raises: as `log_policy`; also PolicyError for a URL with the keys of none, or of several witnesses.
    """
    urls: dict[str, str] = {}
    for url, vkeys in witnesses.items():
        names = {NoteVerifier.from_vkey(vkey).name for vkey in vkeys}
        if len(names) != 1 or len(vkeys) > MAX_WITNESS_KEYS:
            raise PolicyError(
                f"{len(vkeys)} keys under {len(names)} names: not those of one witness",
                where=url,
                remedy="Give what chopmark witness vkeys prints of the witness there",
            )
        for vkey in vkeys:
            if vkey in urls:
                raise PolicyError(f"{urls[vkey]} and {url} have the same key", where=vkey[:200])
            urls[vkey] = url
    return log_policy(log_vkeys, list(urls), quorum, witness_urls=urls)


def _line(*items: str | None) -> str:
    return " ".join(item for item in items if item is not None)
