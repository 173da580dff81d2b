"""Filed records in front of people: a list of them, and one in full."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chopmark.cli.describe import verification_record
from chopmark.cli.inspect import render, to_json
from chopmark.cli.plain_text import plain
from chopmark.cli.recognise import Recognised
from chopmark.reasons import Language
from chopmark.strict import time_encode
from chopmark.verdict import Outcome
from chopmark.verification_record import read_unverified
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chopmark_verifier.records import FiledRecord

_STYLE = {Outcome.VALID: "green", Outcome.INVALID: "red", Outcome.INDETERMINATE: "yellow"}
_HEADS = {
    "zh": ("时间", "结论", "用途", "发证机关", "证照类型", "记录"),
    "en": ("time", "outcome", "purpose", "issuer", "licence type", "record"),
}
_VERIFIED = {"zh": "签名已验证：由登记的查验密钥签署", "en": "verified: signed by an enrolled inspector key"}


def filed_table(filed: Iterable[FiledRecord], language: Language) -> Group:
    """One line for each record; below them the files that are none, with what is wrong."""
    table = Table(box=None)
    for head in _HEADS[language]:
        table.add_column(head, overflow="fold")
    problems = []
    for each in filed:
        if each.unverified is None or each.problem:
            problems.append(Text(f"✘ {plain(str(each.path))}: {plain(each.problem)}", style="red"))
            continue
        record = each.unverified.record
        table.add_row(
            time_encode(record.issued_at),
            Text(record.outcome.value, style=_STYLE[record.outcome]),
            Text(plain(record.purpose)),
            Text(plain(record.verdict.get("issuer") or "–")),
            Text(plain(record.verdict.get("licence_type") or "–")),
            Text(record.record_id),
        )
    return Group(table, *problems)


def filed_json(filed: FiledRecord) -> dict[str, Any]:
    """One record of a list as JSON values."""
    value: dict[str, Any] = {"path": str(filed.path), "verified": False}
    if filed.problem:
        value["problem"] = filed.problem
    if filed.unverified is not None:
        record = filed.unverified.record
        value |= {
            "record_id": record.record_id,
            "inspector": record.inspector,
            "issued_at": time_encode(record.issued_at),
            "outcome": record.outcome.value,
            "purpose": record.purpose,
            "issuer": record.verdict.get("issuer"),
            "licence_type": record.verdict.get("licence_type"),
        }
    return value


def record_panel(text: str, language: Language, *, title: str) -> Panel:
    """A record that was verified, for people."""
    standing = Text(_VERIFIED[language], style="green")
    return render(_recognised(text), language, title=plain(title), standing=standing)


def record_json(text: str) -> dict[str, Any]:
    """A record that was verified, as JSON values."""
    recognised = _recognised(text)
    return {**to_json(recognised, recognised.content["record_id"]), "verified": True}


def _recognised(text: str) -> Recognised:
    return Recognised("verification-record", verification_record(read_unverified(text)))
