"""Commands whose exit code answers a question, and so says nothing else."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

from chopmark.cli.exit_codes import ExitCode


class AnsweringCommand(TyperCommand):
    """A command that ends with 2 for INDETERMINATE alone: a mistake on its command line is 3, could not try."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Read the command line; what is wrong with it carries the exit code."""
        try:
            return super().make_context(*arguments, **named)
        except typer.TyperException as error:
            # Typer ends with the code that a mistake carries, 2; the end after --help is none, and stays.
            if not isinstance(error, (typer.Exit, typer.Abort)):
                error.exit_code = ExitCode.COULD_NOT_TRY
            raise
