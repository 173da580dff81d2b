"""What the operator of a log says to its service; see `chopmark_service.settings` for where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chopmark_service.database_setting import DatabaseSetting
from chopmark_service.settings import (
    LogLevel,
    Port,
    Positive,
    Seconds,
    read_settings_of,
)
from pydantic import BaseModel, ConfigDict, Field

from chopmark_ledger.sequencing.log import LogSettings

DATABASE = DatabaseSetting("log")
"""Where the log of a folder is, for the commands."""


class LogServiceSettings(BaseModel):
    """The settings of `chopmark log serve`; they can be pickled, as they travel to the worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="The data folder of the log.")
    policy: Path = Field(description="The tlog-policy that a checkpoint must satisfy, with the witnesses' URLs.")
    passphrase_file: Path = Field(description="A file with the passphrase of the log's keys.")
    host: str = Field(default="127.0.0.1", description="The address to listen at.")
    port: Port = Field(default=8480, description="The port to listen at; 0 takes a free one.")
    connections: Positive = Field(default=1024, description="Connections that are served at a time.")
    log_level: LogLevel = Field(default="info", description="The least that is logged.")
    database: str | None = Field(
        default=None, description="The URL of a PostgreSQL database, where the log is not in its folder.", repr=False
    )
    max_unpublished: Positive = Field(
        default=LogSettings().max_unpublished,
        description="Entries that may wait for publication before clients are refused.",
    )
    landmark_interval: Positive = Field(
        default=LogSettings().landmark_interval,
        description="Seconds after which a landmark interval with entries ends.",
    )
    publication_interval: Seconds = Field(
        default=0.2, description="Seconds between two publications while entries come in."
    )
    witness_timeout: Seconds = Field(default=5.0, description="Seconds that a witness may take to answer.")
    wait_timeout: Seconds = Field(
        default=30.0, description="Seconds that a request with wait=true waits for its publication."
    )
    body_timeout: Seconds = Field(default=30.0, description="Seconds that the body of a request may take to arrive.")
    body_memory: Positive = Field(
        default=128 * 1024 * 1024,
        description="Bytes of request bodies that are held at a time, of all requests together.",
    )
    hear_witnesses_first: bool = Field(
        default=False,
        description="Whether entries are taken only once a quorum of witnesses was heard after the start.",
    )

    @property
    def log(self) -> LogSettings:
        """What the log itself is told."""
        return LogSettings(max_unpublished=self.max_unpublished, landmark_interval=self.landmark_interval)


def read_settings(flags: Mapping[str, object], *, config: Path | None = None) -> LogServiceSettings:
    """Put flags, the environment of this process and the file together.

    Args:
        flags: what the command line said, by the names of the fields; None counts as not said.
        config: the file, which must be there; else `log.toml` in the data folder, where there is one.

    Raises:
        FormatError: a setting that is unknown, missing, or not what it must be; all of them are named.
        StorageError: the file cannot be read, or is missing.
    """
    return read_settings_of(LogServiceSettings, flags, name="log", config=config)
