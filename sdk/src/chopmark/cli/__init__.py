"""The command line, `chopmark`: one program to which every installed member adds its commands."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; without its extra it names the extra and exits 3."""
    try:
        import rich  # noqa: F401, PLC0415 - only to find out whether the extra is there
        import typer  # noqa: F401, PLC0415
    except ImportError as error:
        sys.stderr.write(f"chopmark: the command line needs {error.name}: pip install 'chopmark[cli]'\n")
        sys.exit(3)
    from chopmark.cli.app import run  # noqa: PLC0415

    run()
