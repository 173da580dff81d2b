"""The program `chopmark`: the SDK's own commands, and those of the entry-point group `chopmark.commands`."""

from __future__ import annotations

import io
import sys
import traceback
from importlib.metadata import entry_points, version
from typing import Annotated, Any

import typer
from rich.console import Console

from chopmark.cli.answering_command import AnsweringCommand
from chopmark.cli.exit_codes import ExitCode
from chopmark.cli.inspect import inspect
from chopmark.cli.plain_text import plain
from chopmark.cli.trust import trust
from chopmark.cli.verify import verify
from chopmark.errors import ChopmarkError

COMMAND_GROUP = "chopmark.commands"


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"chopmark {version('chopmark')}")
        raise typer.Exit


def build(wanted: str | None = None) -> typer.Typer:
    """The program, with the commands of every member that is installed, or of the one `wanted` alone.

    A member is imported when its commands are asked for, so that `chopmark verify` waits for none of them.
    """
    app = typer.Typer(
        name="chopmark",
        help="Verify electronic licences, look into them, and run the registry and log behind them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_program)
    app.command(cls=AnsweringCommand)(verify)
    app.command()(inspect)
    app.add_typer(trust, name="trust")
    members = sorted(entry_points(group=COMMAND_GROUP), key=lambda entry: entry.name)
    own = {"verify", "inspect", "trust"}
    for member in members:
        if wanted == member.name or wanted not in own | {entry.name for entry in members}:
            try:
                _add(app, member.name, member.load())
            except ImportError as error:
                # One member that is installed wrongly must not take the others' commands with it.
                typer.echo(f"chopmark: the commands of {member.name!r} cannot be loaded: {error}", err=True)
    return app


def _program(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Print the version, and end.")
    ] = False,
) -> None:
    """Verify electronic licences, look into them, and run the registry and log behind them."""


def _add(app: typer.Typer, name: str, loaded: Any) -> None:
    """Add what a member offers under that name: a group of commands, or one command."""
    if isinstance(loaded, typer.Typer):
        app.add_typer(loaded, name=name)
    else:
        app.command(name)(loaded)


def run() -> None:
    """Run the program; an error of ours becomes one sentence on standard error and exit code 3."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A verdict must come out whatever the terminal can write: a character that it cannot becomes its number.
            stream.reconfigure(errors="backslashreplace")
    try:
        build(sys.argv[1] if len(sys.argv) > 1 else None)()
    except ChopmarkError as error:
        console = Console(stderr=True, highlight=False, emoji=False)
        console.print(plain(f"chopmark: {error}"), style="red", markup=False, soft_wrap=True)
        sys.exit(ExitCode.COULD_NOT_TRY)
    except Exception:
        # A fault of ours: shown whole, but not with Python's own exit code, which here means INVALID.
        traceback.print_exc()
        sys.exit(ExitCode.COULD_NOT_TRY)
