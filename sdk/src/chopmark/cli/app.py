"""The program `chopmark`: the SDK's own commands, and those of the entry-point group `chopmark.commands`."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points

import typer
from rich.console import Console

from chopmark.cli.exit_codes import ExitCode
from chopmark.cli.inspect import inspect
from chopmark.cli.trust import trust
from chopmark.cli.verify import verify
from chopmark.errors import ChopmarkError

COMMAND_GROUP = "chopmark.commands"


def build() -> typer.Typer:
    """The whole program, with the commands of every member that is installed."""
    app = typer.Typer(
        name="chopmark",
        help="Verify electronic licences, look into them, and run the registry and log behind them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.command()(verify)
    app.command()(inspect)
    app.add_typer(trust, name="trust")
    for entry_point in sorted(entry_points(group=COMMAND_GROUP), key=lambda entry: entry.name):
        app.add_typer(entry_point.load(), name=entry_point.name)
    return app


def run() -> None:
    """Run the program; an error of ours becomes one sentence on standard error and exit code 3."""
    try:
        build()()
    except ChopmarkError as error:
        Console(stderr=True, highlight=False).print(f"chopmark: {error}", style="red", markup=False)
        sys.exit(ExitCode.COULD_NOT_TRY)
    except BrokenPipeError:
        # The reader of our output is gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.COULD_NOT_TRY)
