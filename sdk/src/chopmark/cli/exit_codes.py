"""What the exit code of a command means."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `chopmark verify`; of other commands 0 is done, 1 refused, 3 could not try. 2 is also Typer's
    own code for a mistake on the command line, but not of a command that answers with 2 (`AnsweringCommand`)."""

    VALID = 0
    INVALID = 1
    INDETERMINATE = 2
    COULD_NOT_TRY = 3
