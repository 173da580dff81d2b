"""`chopmark inspect`: what any of our objects says, without judging it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chopmark.cli.exit_codes import ExitCode
from chopmark.cli.inputs import Input, read_input, shortened
from chopmark.cli.known_fields import KnownTypes
from chopmark.cli.labels import KINDS, VALUES, label
from chopmark.cli.plain_text import plain, plain_json, plain_lines
from chopmark.cli.recognise import Recognised, is_recognisable_text, recognise
from chopmark.cli.verify import choose_language
from chopmark.errors import ChopmarkError, StorageError
from chopmark.reasons import Language

NOT_VERIFIED = {
    "zh": "未验证：仅显示内容，真伪请用 chopmark verify 判断",
    "en": "not verified: this shows what it says, not whether it is true; see chopmark verify",
}
_NAMES_OF_ELEMENTS = ("id", "region", "origin", "uri", "kid", "name")
"""Members by which an element of a list is headed, the first that it has."""
_CHECK = {"number", "result", "message"}
_ROW_WIDTH = 96
"""Columns that a table may want; a narrower terminal folds its words."""


def inspect(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT…", help="A file, a picture, the text of a code, a number, a key, or - ."),
    ],
    trust: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a trust store, by whose licence types fields are named; ./trust if there is one.",
            envvar="CHOPMARK_TRUST",
        ),
    ] = None,
    lang: Annotated[str | None, typer.Option(help="zh or en; your system's language when left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per INPUT.")] = False,
) -> None:
    """Show what a code, credential, note, list, proof, record, number or key says.

    What it is, is told by its content. Nothing is verified: use "chopmark verify" to judge a licence. Personal data
    that the object discloses is shown; with --json as it stands, a date as days since 1970-01-01. Exit code: 0 shown,
    3 could not try.
    """
    language = choose_language(lang)
    # Without emoji=False Rich turns the end of `EL2:abc:` into a picture.
    console = Console(highlight=False, emoji=False)
    errors = Console(stderr=True, highlight=False, emoji=False)
    types = KnownTypes(trust)
    code = ExitCode.VALID
    for argument in inputs:
        try:
            given = _read(argument)
        except ChopmarkError as error:
            errors.print(f"chopmark: {plain(str(error))}", style="red", markup=False, soft_wrap=True)
            code = ExitCode.COULD_NOT_TRY
            continue
        try:
            recognised = recognise(given)
        except ChopmarkError as error:
            errors.print(f"chopmark: {given.name}: {plain(str(error))}", style="red", markup=False, soft_wrap=True)
            code = ExitCode.COULD_NOT_TRY
            continue
        if as_json:
            typer.echo(plain_json(to_json(recognised, given.name)))
        else:
            shown = replace(recognised, content=types.named(recognised.content, language))
            console.print(render(shown, language, title=given.name))
    raise typer.Exit(code)


def to_json(recognised: Recognised, name: str) -> dict[str, Any]:
    """An object as JSON values; absent members are left out."""
    value: dict[str, Any] = {"input": name, "kind": recognised.kind, "verified": False}
    if recognised.carried_by is not None:
        value["carried_by"] = recognised.carried_by
    value["content"] = _present(recognised.content)
    return value


def render(recognised: Recognised, language: Language, *, title: str, standing: Text | None = None) -> Panel:
    """An object for people; `standing` is how far it may be believed, not verified when left out."""
    kind = Text(KINDS[recognised.kind][0 if language == "zh" else 1], style="bold")
    if standing is None:
        standing = Text(NOT_VERIFIED[language], style="yellow")
    content = recognised.content
    if recognised.carried_by is not None:
        content = {**content, "carried_by": recognised.carried_by}
    parts = [kind, standing, Text(""), _members(content, language)]
    return Panel(Group(*parts), title=Text(title), title_align="left")


def _read(argument: str) -> Input:
    try:
        return read_input(argument)
    except StorageError:
        if is_recognisable_text(argument):
            return Input(shortened(argument, 80), argument.strip(), b"")
        raise


def _present(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _present(member) for name, member in value.items() if member is not None}
    return [_present(element) for element in value] if isinstance(value, list) else value


def _members(content: dict[str, Any], language: Language, *, without: str = "") -> RenderableType:
    """Label and value in two columns; an object within stands below its label, further in."""
    parts: list[RenderableType] = []
    table: Table | None = None
    for name, value in content.items():
        if value is None or name == without:
            continue
        if _is_simple(value):
            if table is None:
                table = Table.grid(padding=(0, 2))
                table.add_column(style="dim", no_wrap=True)
                table.add_column(overflow="fold")
                parts.append(table)
            table.add_row(Text(plain(label(name, language))), _simple(value, language))
            continue
        table = None
        heading = label(name, language)
        if isinstance(value, dict):
            parts += [_heading(heading), _indented(_members(value, language))]
        elif name == "checks" and all(element.keys() >= _CHECK for element in value):
            parts += [_heading(heading), _indented(_checks(value, language))]
        elif (rows := _as_rows(value, language)) is not None:
            parts += [_heading(heading), _indented(rows)]
        else:
            for number, element in enumerate(value, 1):
                named = next((each for each in _NAMES_OF_ELEMENTS if isinstance(element.get(each), str | int)), "")
                parts.append(_heading(f"{heading} {number}: {element[named]}" if named else f"{heading} {number}"))
                parts.append(_indented(_members(element, language, without=named)))
    return Group(*parts)


def _as_rows(elements: list[dict[str, Any]], language: Language) -> Table | None:
    """Elements of short values as a table; None where it would not fit."""
    names = list(dict.fromkeys(name for element in elements for name, value in element.items() if value is not None))
    rows = [[element.get(name, "") for name in names] for element in elements]
    if not all(_is_simple(value) and not isinstance(value, list) for row in rows for value in row):
        return None
    cells = [[Text("") if value is None else _simple(value, language) for value in row] for row in rows]
    heads = [Text(plain(label(name, language)), style="dim") for name in names]
    widths = [max(cell.cell_len for cell in column) for column in zip(heads, *cells, strict=True)]
    if sum(widths) + 2 * len(widths) > _ROW_WIDTH or any("\n" in cell.plain for row in cells for cell in row):
        return None
    table = Table.grid(padding=(0, 2))
    for _ in names:
        table.add_column(overflow="fold")
    for row in (heads, *cells):
        table.add_row(*row)
    return table


def _is_simple(value: Any) -> bool:
    """Whether a value stands beside its label: a word, some words, or a name in two languages."""
    if isinstance(value, dict):
        return _is_localised(value) or not value
    return not isinstance(value, list) or not all(isinstance(element, dict) for element in value) or not value


def _is_localised(value: dict[str, Any]) -> bool:
    return value.keys() == {"zh-Hans", "en"} and all(isinstance(each, str) for each in value.values())


def _simple(value: Any, language: Language) -> Text:
    if isinstance(value, bool):
        return Text(("是" if value else "否") if language == "zh" else ("yes" if value else "no"))
    if isinstance(value, dict):
        if _is_localised(value):
            return _simple(value["zh-Hans" if language == "zh" else "en"], language)
        return Text(plain_json(value) if value else "–")
    if isinstance(value, list):
        texts = [_simple(element, language).plain for element in value]
        separator = "\n" if any(len(text) > 40 for text in texts) else ", "
        return Text(separator.join(texts) or "–")
    if isinstance(value, str) and value in VALUES:
        return Text(VALUES[value][0 if language == "zh" else 1], style="italic")
    return Text(plain_lines(str(value).rstrip("\n")))


def _checks(checks: list[dict[str, Any]], language: Language) -> Table:
    table = Table.grid(padding=(0, 2))
    for check in checks:
        message = _simple(check["message"], language)
        named = [Text(plain(str(check.get(name, "")))) for name in ("number", "name", "result")]
        table.add_row(*named, message)
    return table


def _indented(inner: RenderableType) -> Padding:
    return Padding(inner, (0, 0, 0, 2))


def _heading(text: str) -> Text:
    return Text(plain(text), style="bold dim")
