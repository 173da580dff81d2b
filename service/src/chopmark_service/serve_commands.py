"""The command `chopmark serve`. Heavy modules are imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The folder of the region.")] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="P", help="The port of the issuer; the log has P+1, the witness P+2, the verifier P+3."
        ),
    ] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="H", help="The address that they listen at.")] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option("--passphrase-file", help="A file with the passphrase; else CHOPMARK_PASSPHRASE_FILE names it."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="The tlog-policy of the log; else DIR/policy.")
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="REGION=URL", help="Where a peer's public files are; again for each."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", metavar="SERVICE", help="keys, witness, log, issuer or verifier: one that runs elsewhere."
        ),
    ] = None,
    hung_after: Annotated[
        float | None,
        typer.Option(help="Seconds without an answer, in tens, after which a service is started anew; 0 for never."),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML; else DIR/region.toml.")
    ] = None,
) -> None:
    """Run a region until SIGTERM or Ctrl-C: signing process, issuer, log, witness and verifier.

    What they say goes to standard error as lines of JSON, each with its service. Each option may also be given as
    CHOPMARK_REGION_<NAME>, or in the file of settings.
    """
    import os  # noqa: PLC0415
    import time  # noqa: PLC0415

    from chopmark.cli.passphrase import FILE_VARIABLE, VARIABLE  # noqa: PLC0415
    from chopmark.errors import FormatError  # noqa: PLC0415

    from chopmark_service import telemetry  # noqa: PLC0415
    from chopmark_service.process_tree import ProcessTree  # noqa: PLC0415
    from chopmark_service.region_tree import (  # noqa: PLC0415
        FILE_NAME,
        RegionSettings,
        addresses,
        check_folder,
        check_passphrase,
        check_settings,
        prepare_trust,
        region_children,
    )
    from chopmark_service.settings import read_settings_of  # noqa: PLC0415

    flags: dict[str, object] = {
        "data": data,
        "port": port,
        "host": host,
        "passphrase_file": passphrase_file,
        "policy": policy,
        "without": without,
        "hung_after": hung_after,
        "log_level": log_level,
    }
    if source:
        pairs = [each.partition("=") for each in source]
        if any(not region or not url for region, _, url in pairs):
            raise FormatError("a source is given as REGION=URL", where="--source")
        flags["sources"] = {region: url for region, _, url in pairs}
    if data is not None and not without and config is None and not (data / FILE_NAME).exists():
        check_folder(data)  # else a wrong folder is told of the settings that are not in it
    settings = read_settings_of(RegionSettings, flags, name="region", config=config, command="serve")
    telemetry.configure_logging(settings.log_level)
    for variable in (VARIABLE, FILE_VARIABLE):
        os.environ.pop(variable, None)  # those that hold keys are told by a flag; the issuer must not know it

    def tell() -> None:
        for each in addresses(settings):
            typer.echo(f"{each.service.value:<9} {each.url}")

    children = region_children(settings)
    check_settings(children)
    check_passphrase(settings)
    if prepare_trust(settings, now=int(time.time())):
        telemetry.get_logger("tree").info("trust_store_made", folder=str(settings.data / "trust"))
    ProcessTree(children, patience=settings.patience, on_running=tell).run()
