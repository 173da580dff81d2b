"""The commands `chopmark verifier …`. Heavy modules are imported when a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

verifier = typer.Typer(
    help="Verify licences for others, over HTTP and on a page.", no_args_is_help=True, rich_markup_mode=None
)


@verifier.callback()
def _verifier() -> None:
    """Verify licences for others, over HTTP and on a page."""


@verifier.command()
def serve(
    trust: Annotated[Path | None, typer.Option("--trust", metavar="DIR", help="Folder of the trust store.")] = None,
    roots: Annotated[
        Path | None, typer.Option("--roots", metavar="FILE", help="The pinned root epoch; else that of the folder.")
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="REGION=URL", help="Where a region's public files are; repeatable."),
    ] = None,
    refresh: Annotated[
        bool | None, typer.Option("--refresh/--no-refresh", help="Keep the trust store up to date, or let others.")
    ] = None,
    refresh_interval: Annotated[float | None, typer.Option(help="Seconds between two refreshes at most.")] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="The inspector's key, for records and challenges.")
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option("--passphrase-file", help="Its passphrase; else CHOPMARK_PASSPHRASE_FILE names the file."),
    ] = None,
    records: Annotated[Path | None, typer.Option("--records", metavar="DIR", help="Folder of the records.")] = None,
    clients: Annotated[
        Path | None, typer.Option("--clients", metavar="FILE", help="The systems that may record and ask.")
    ] = None,
    audience: Annotated[
        str | None, typer.Option("--audience", metavar="A", help="What their tokens name in `aud`; else its inspector.")
    ] = None,
    passcode_file: Annotated[
        Path | None, typer.Option("--passcode-file", metavar="FILE", help="Of the page; else DIR/passcode of records.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="H", help="The address to listen at.")] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="P", help="The port; 0 takes a free one.")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML.")] = None,
    connections: Annotated[int | None, typer.Option(help="Connections that are served at a time.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    body_timeout: Annotated[float | None, typer.Option(help="Seconds that a body may take to arrive.")] = None,
    body_memory: Annotated[int | None, typer.Option(help="Bytes of bodies held at a time.")] = None,
    image_processes: Annotated[int | None, typer.Option(help="Processes that read pictures at a time.")] = None,
    image_memory: Annotated[int | None, typer.Option(help="Bytes that each of them may take.")] = None,
    image_seconds: Annotated[float | None, typer.Option(help="Seconds that a picture may take.")] = None,
    check_settings: Annotated[
        bool, typer.Option("--check-settings", hidden=True, help="Check the settings, and end.")
    ] = False,
) -> None:
    """Serve verdicts, and a page, until SIGTERM or Ctrl-C.

    Each option may also be given as CHOPMARK_VERIFIER_<NAME>, or in the file of settings.
    """
    flags = dict(locals())
    from chopmark_service.server import serve as serve_application  # noqa: PLC0415

    from chopmark_verifier.service_settings import read_settings  # noqa: PLC0415
    from chopmark_verifier.sessions import read_passcode  # noqa: PLC0415
    from chopmark_verifier.starting import check_can_run  # noqa: PLC0415

    flags.pop("config")
    flags.pop("check_settings")
    flags["source"] = tuple(source) if source else None
    settings = read_settings(flags, config=config)
    if check_settings:
        return
    check_can_run(settings)
    if settings.passcode_path is not None:
        passcode = read_passcode(settings.passcode_path)
        # A terminal is the operator's; what is kept of other outputs may be anybody's to read.
        shown = passcode if sys.stdout.isatty() else f"in {settings.passcode_path}"
        typer.echo(f"passcode of the page: {shown}")
    serve_application(
        "chopmark_verifier.service:make_application", settings, connections=settings.connections, stop_within=30
    )


@verifier.command()
def openapi() -> None:
    """Print what the verifier's service offers, as an OpenAPI document."""
    from chopmark_verifier.service import openapi_document  # noqa: PLC0415

    typer.echo(openapi_document(), nl=False)
