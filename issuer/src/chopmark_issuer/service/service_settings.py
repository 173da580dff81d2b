"""What the operator of a registry says to its service; see `chopmark_service.settings` for where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from chopmark_service.database_setting import DatabaseSetting
from chopmark_service.settings import LogLevel, Port, Positive, Seconds, read_settings_of
from pydantic import BaseModel, ConfigDict, Field

DATABASE: Final = DatabaseSetting("issuer")
"""Where the registry of a folder is, for the commands."""


class IssuerServiceSettings(BaseModel):
    """The settings of `chopmark issuer serve`; they can be pickled, as they travel to the worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="The folder of the registry.")
    passphrase_file: Path | None = Field(
        default=None, description="A file with the passphrase of the registry's keys; not with a key socket."
    )
    key_socket: Path | None = Field(
        default=None, description="The socket of the signing process; then this process never holds a private key."
    )
    database: str | None = Field(
        default=None,
        description="The URL of a PostgreSQL database, where the registry is not in its folder.",
        repr=False,
    )
    host: str = Field(default="127.0.0.1", description="The address to listen at.")
    port: Port = Field(default=8470, description="The port to listen at; 0 takes a free one.")
    connections: Positive = Field(default=1024, description="Connections that are served at a time.")
    log_level: LogLevel = Field(default="info", description="The least that is logged.")
    log_patience: Seconds = Field(default=30.0, description="Seconds that the region's log may take to answer.")
    publish_every: Positive = Field(
        default=60, description="Seconds between two looks at whether anything must be published, if nothing changed."
    )
    landmark_every: Positive = Field(
        default=900, description="Seconds after which licences in the log get a landmark, which a QR code needs."
    )
    body_timeout: Seconds = Field(
        default=30.0, description="Seconds that a body may take to arrive; of a stream, between two pieces of it."
    )
    body_memory: Positive = Field(
        default=64 * 1024 * 1024,
        description="Bytes of request bodies that are held at a time, of all together.",
    )
    streams: Positive = Field(default=12, description="Bulk requests at work at a time; of one client a third.")


def read_settings(flags: Mapping[str, object], *, config: Path | None = None) -> IssuerServiceSettings:
    """Put flags, the environment of this process and the file together.

    Args:
        flags: what the command line said, by the names of the fields; None counts as not said.
        config: the file, which must be there; else `issuer.toml` in the data folder, where there is one.

    Raises:
        FormatError: a setting that is unknown, missing, or not what it must be; all of them are named.
        StorageError: the file cannot be read, or is missing.
    """
    return read_settings_of(IssuerServiceSettings, flags, name=DATABASE.name, config=config)
