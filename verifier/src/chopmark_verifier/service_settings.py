"""What the operator of a verifier says to its service; see `chopmark_service.settings` for where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from chopmark.errors import FormatError
from chopmark_service.settings import LogLevel, Port, Positive, Seconds, read_settings_of
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode

from chopmark_verifier.image_pool import ImageLimits

NAME = "verifier"
PASSCODE_NAME = "passcode"


class VerifierSettings(BaseModel):
    """The settings of `chopmark verifier serve`; they can be pickled, as they travel to the worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trust: Path = Field(description="The folder of the trust store.")
    roots: Path | None = Field(default=None, description="The pinned root epoch; else the one that lies in the folder.")
    source: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="REGION=URL: where the public files of a region are; several, with spaces between."
    )
    refresh_interval: Seconds = Field(default=900.0, description="Seconds between two refreshes at most.")
    refresh: bool = Field(default=True, description="Whether the service brings the trust store up to date itself.")
    key: Path | None = Field(default=None, description="The inspector's key, for challenges and records.")
    passphrase_file: Path | None = Field(default=None, description="A file with the passphrase of the key.")
    records: Path | None = Field(default=None, description="The folder of the records.")
    clients: Path | None = Field(default=None, description="The list of systems that may ask and record.")
    audience: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None,
        description="What tokens of clients name in `aud`; else `verifier of` the inspector's organisation.",
    )
    passcode_file: Path | None = Field(
        default=None, description="The passcode of the page; made where it is missing, in the folder of the records."
    )
    host: str = Field(default="127.0.0.1", description="The address to listen at.")
    port: Port = Field(default=8490, description="The port to listen at; 0 takes a free one.")
    connections: Positive = Field(default=1024, description="Connections that are served at a time.")
    log_level: LogLevel = Field(default="info", description="The least that is logged.")
    body_timeout: Seconds = Field(default=30.0, description="Seconds that the body of a request may take to arrive.")
    body_memory: Positive = Field(
        default=128 * 1024 * 1024, description="Bytes of request bodies that are held at a time, of all requests."
    )
    image_processes: Positive = Field(
        default=ImageLimits().processes, description="Processes that read pictures at a time."
    )
    image_memory: Positive = Field(
        default=ImageLimits().memory, description="Bytes of address space of a process that reads pictures."
    )
    image_seconds: Seconds = Field(default=ImageLimits().seconds, description="Seconds that a picture may take.")

    @field_validator("source", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @property
    def image_limits(self) -> ImageLimits:
        """What reading pictures may take."""
        return ImageLimits(memory=self.image_memory, seconds=self.image_seconds, processes=self.image_processes)

    @property
    def passcode_path(self) -> Path | None:
        """Where the passcode of the page stands; None where nobody can sign in, because nothing is recorded."""
        if self.key is None or self.records is None:
            return None
        return self.passcode_file if self.passcode_file is not None else self.records / PASSCODE_NAME

    def sources(self) -> dict[str, str]:
        """Region → URL prefix of its public files.

        Raises:
            FormatError: not of the form REGION=URL, or a region stands twice.
        """
        found: dict[str, str] = {}
        for each in self.source:
            region, equals, url = each.partition("=")
            if not region or not equals or not url.startswith(("http://", "https://")):
                raise FormatError(
                    f"{each[:80]!r} is not of the form REGION=URL", where="source", remedy="Such as CN-GD=https://…"
                )
            if region in found:
                raise FormatError(f"{region[:20]} stands twice", where="source")
            found[region] = url
        return found


def read_settings(flags: Mapping[str, object], *, config: Path | None = None) -> VerifierSettings:
    """Put flags, the environment of this process and the file together.

    Args:
        flags: what the command line said, by the names of the fields; None counts as not said.
        config: a file of settings, where there is one.

    Raises:
        FormatError: a setting that is unknown, missing, or not what it must be; all of them are named.
        StorageError: the file cannot be read, or is missing.
    """
    settings = read_settings_of(VerifierSettings, flags, name=NAME, config=config)
    settings.sources()
    if settings.key is not None and settings.records is None:
        raise FormatError(
            "with a key there must be a folder for its records",
            where="settings, records" if config is None else str(config),
            remedy="Give --records DIR" if config is None else 'Add the line: records = "records"',
        )
    if settings.key is None and (settings.records or settings.clients or settings.audience or settings.passcode_file):
        raise FormatError(
            "records, clients, their audience and a passcode need the inspector's key", where="settings, key"
        )
    return settings
