"""`chopmark verify`: the verdict on licence codes, from a trust store alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chopmark.claims import LATEST
from chopmark.cli.exit_codes import ExitCode
from chopmark.cli.inputs import Input, read_input
from chopmark.cli.pins import open_store
from chopmark.cli.plain_text import plain, plain_json
from chopmark.errors import ChopmarkError, FormatError
from chopmark.reasons import Language, duration
from chopmark.strict import decimal, time_decode, time_encode
from chopmark.validity import calendar_day
from chopmark.verdict import Outcome, Result, Verdict
from chopmark.verifier import Verifier

_STYLE = {Outcome.VALID: "bold green", Outcome.INVALID: "bold red", Outcome.INDETERMINATE: "bold yellow"}
_OUTCOME_TEXT = {
    "zh": {Outcome.VALID: "有效", Outcome.INVALID: "无效", Outcome.INDETERMINATE: "无法判定"},
    "en": {outcome: outcome.value for outcome in Outcome},
}
_MARK = {Result.PASS: ("✔", "green"), Result.FAIL: ("✘", "red"), Result.UNKNOWN: ("?", "yellow")}
_EXIT = {
    Outcome.VALID: ExitCode.VALID,
    Outcome.INVALID: ExitCode.INVALID,
    Outcome.INDETERMINATE: ExitCode.INDETERMINATE,
}
_SEVERITY = (ExitCode.VALID, ExitCode.INDETERMINATE, ExitCode.INVALID, ExitCode.COULD_NOT_TRY)


_COSE_SIGN1 = b"\xd2"
"""CBOR tag 18: how a credential or presentation in a file begins."""


def verify(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT…", help="Text of a code (EL1:…), a file or picture of one, or - .")
    ],
    trust: Annotated[Path, typer.Option(help="Folder of the trust store.", envvar="CHOPMARK_TRUST")] = Path("trust"),
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Judge for this time: 2026-11-22T09:30:00Z, or POSIX seconds.")
    ] = None,
    challenge: Annotated[
        str | None, typer.Option(metavar="C", help="The challenge (EC1:…) you asked, or a file of it.")
    ] = None,
    lang: Annotated[str | None, typer.Option(help="zh or en; your system's language when left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per INPUT, without licence fields.")] = False,
) -> None:
    """Say whether licences are genuine, current and the holder's own.

    Needs no network: everything comes from the trust store. Exit code: 0 VALID, 1 INVALID, 2 INDETERMINATE (cannot
    tell), 3 could not try; with several INPUTs the worst of them.
    """
    language = choose_language(lang)
    verifier = Verifier(open_store(trust))
    moment = read_time(at) if at is not None else None
    asked = _read_challenge(challenge) if challenge is not None else None
    console, errors = Console(highlight=False, emoji=False), Console(stderr=True, highlight=False, emoji=False)
    worst = ExitCode.VALID
    for argument in inputs:
        try:
            given = read_input(argument)
            verdict = _verdict(verifier, given, moment, asked)
        except ChopmarkError as error:
            errors.print(plain(f"chopmark: {error}"), style="red", markup=False, soft_wrap=True)
            worst = ExitCode.COULD_NOT_TRY
            continue
        worst = max(worst, _EXIT[verdict.outcome], key=_SEVERITY.index)
        if as_json:
            typer.echo(plain_json({"input": given.name, **verdict.to_json()}))
        else:
            console.print(render(verdict, language, title=given.name))
    raise typer.Exit(worst)


def choose_language(lang: str | None) -> Language:
    """`zh` or `en`: as asked, else as the system's locale says."""
    if lang is None:
        locale = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
        return "zh" if locale.startswith("zh") else "en"
    if lang in {"zh", "zh-Hans", "zh-CN"}:
        return "zh"
    if lang == "en":
        return "en"
    raise FormatError(f"no language {lang!r} here", where="--lang", remedy="Use zh or en")


def read_time(text: str) -> int:
    """A time on the command line: RFC 3339 with Z, or POSIX seconds."""
    if text.isascii() and text.isdecimal():
        return decimal(text, where="--at", maximum=LATEST)
    return time_decode(text, where="--at")


def _read_challenge(argument: str) -> str:
    if argument.startswith("EC1:"):
        return argument
    given = read_input(argument)
    if given.text is None:
        raise FormatError("holds no challenge (EC1:…)", where=argument)
    return given.text


def _verdict(verifier: Verifier, given: Input, at: int | None, challenge: str | None) -> Verdict:
    if given.text is not None:
        return verifier.verify(given.text, at=at, challenge=challenge)
    if not given.data.startswith(_COSE_SIGN1):
        raise FormatError(
            "neither a licence code nor a picture of one",
            where=given.name,
            remedy="Give a PNG or JPEG picture, or a file that holds the text of a code (EL1:…)",
        )
    return verifier.verify_bytes(given.data, at=at, challenge=challenge)


def render(verdict: Verdict, language: Language, *, title: str) -> Panel:
    """A verdict for people: the answer first, what the licence says, then every check with its reason and age."""
    style = _STYLE[verdict.outcome]
    head = Text(_OUTCOME_TEXT[language][verdict.outcome], style=style)
    if verdict.outcome is not Outcome.VALID:
        head.append("  " + plain(verdict.deciding.message(language)), style="none")
    parts: list[Any] = [head]
    parts.extend(Text("· " + plain(remark.message(language)), style="yellow") for remark in verdict.remarks)
    facts = _facts(verdict, language)
    if facts.row_count:
        parts += [Text(""), facts]
    parts += [Text(""), _checks(verdict, language)]
    foot = ("判定时间 " if language == "zh" else "as of ") + time_encode(verdict.at)
    return Panel(Group(*parts), title=Text(plain(title)), subtitle=Text(foot), border_style=style, title_align="left")


def _facts(verdict: Verdict, language: Language) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    credential = verdict.credential
    if credential is None or not verdict.is_attested:
        return table
    chinese = language == "zh"
    if verdict.licence_type is not None:
        name = verdict.licence_type.name
        _add_fact(table, "证照类型" if chinese else "licence", name.zh_hans if chinese else name.en)
    issuer = verdict.bundle.issuer(credential.claims.issuer) if verdict.bundle is not None else None
    if issuer is not None:
        name = issuer.name
        _add_fact(
            table,
            "发证机关" if chinese else "issuer",
            f"{name.zh_hans if chinese else name.en} ({credential.claims.issuer})",
        )
    number = verdict.licence_number()
    _add_fact(table, "证照编号" if chinese else "number", number or ("未披露" if chinese else "not disclosed"))
    ends = credential.claims.expires
    no_end = "长期" if chinese else "no end"
    last_day = no_end if ends is None else calendar_day(ends - 1, verdict.licence_type)
    table.add_row("有效期至" if chinese else "valid until", last_day)
    for shown in verdict.fields():
        label = shown.label
        _add_fact(table, label.zh_hans if chinese else label.en, shown.text())
    return table


def _add_fact(table: Table, label: str, value: str) -> None:
    # As `Text`: in a bare string Rich would obey what stands in square brackets.
    table.add_row(Text(plain(label)), Text(plain(value)))


def _checks(verdict: Verdict, language: Language) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="dim")
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(justify="right", style="dim", no_wrap=True)
    for check in verdict.checks:
        mark, style = _MARK[check.result]
        age = duration(check.age, language) if check.age is not None and check.age >= 0 else ""
        table.add_row(
            str(check.number), Text(mark, style=style), check.name(language), Text(plain(check.message(language))), age
        )
    return table
