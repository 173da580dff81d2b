"""What the operator of a log says to its service: one object, made at the edge.

Each setting is a flag of `chopmark log serve`, an environment variable, or a line of a TOML file; the first counts:

    --max-unpublished 100000
    CHOPMARK_LOG_MAX_UNPUBLISHED=100000
    max_unpublished = 100000                        in <data>/log.toml, or in the file that --config names

An unknown name is refused, wherever it stands. Relative paths in the file begin at its folder. Passphrases come by
file only.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from chopmark.durable_file import read_file
from chopmark.errors import FormatError, StorageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from chopmark_ledger.log import LogSettings

PREFIX = "CHOPMARK_LOG_"
FILE_NAME = "log.toml"
_MAX_FILE = 64 * 1024
_PATHS = ("data", "policy", "passphrase_file")
_Port = Annotated[int, Field(ge=0, le=65_535)]
_Positive = Annotated[int, Field(ge=1)]
_Seconds = Annotated[float, Field(gt=0, le=3600)]


class LogServiceSettings(BaseModel):
    """The settings of `chopmark log serve`; they can be pickled, as they travel to the worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="The data folder of the log.")
    policy: Path = Field(description="The tlog-policy that a checkpoint must satisfy, with the witnesses' URLs.")
    passphrase_file: Path = Field(description="A file with the passphrase of the log's keys.")
    host: str = Field("127.0.0.1", description="The address to listen at.")
    port: _Port = Field(8480, description="The port to listen at; 0 takes a free one.")
    connections: _Positive = Field(1024, description="Connections that are served at a time.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    database: str | None = Field(
        None, description="The URL of a PostgreSQL database, where the log is not in its folder.", repr=False
    )
    max_unpublished: _Positive = Field(
        LogSettings().max_unpublished, description="Entries that may wait for publication before clients are refused."
    )
    landmark_interval: _Positive = Field(
        LogSettings().landmark_interval, description="Seconds after which a landmark interval with entries ends."
    )
    publication_interval: _Seconds = Field(0.2, description="Seconds between two publications while entries come in.")
    witness_timeout: _Seconds = Field(5.0, description="Seconds that a witness may take to answer.")
    wait_timeout: _Seconds = Field(30.0, description="Seconds that a request with wait=true waits for its publication.")
    body_timeout: _Seconds = Field(30.0, description="Seconds that the body of a request may take to arrive.")
    body_memory: _Positive = Field(
        128 * 1024 * 1024, description="Bytes of request bodies that are held at a time, of all requests together."
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
    said: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    _check_environment()
    written = _read_file(config, said.get("data") or os.environ.get(f"{PREFIX}DATA"))

    class Read(LogServiceSettings, BaseSettings):
        model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX)

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no file is read unasked
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, written)

    try:
        return LogServiceSettings(**Read(**said).model_dump())
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {_sentence(each)}" for each in error.errors())
        raise FormatError(wrong, where="settings", remedy="See chopmark log serve --help") from error


def _sentence(error: Any) -> str:
    if error["type"] == "missing":
        name = str(error["loc"][0])
        return f"must be given, as --{name.replace('_', '-')} or {PREFIX}{name.upper()}"
    if error["type"] == "extra_forbidden":
        return "there is no such setting"
    message: str = error["msg"]
    return message[0].lower() + message[1:]


def _check_environment() -> None:
    known = {f"{PREFIX}{name}".upper() for name in LogServiceSettings.model_fields}
    unknown = sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    if unknown:
        raise FormatError(f"there is no such setting: {', '.join(unknown)}", where="environment")


def _read_file(config: Path | None, data: object) -> dict[str, Any]:
    if config is None and not isinstance(data, str | Path):
        return {}
    path = config or Path(str(data)) / FILE_NAME
    content = read_file(path, max_size=_MAX_FILE)
    if content is None:
        if config is not None:
            raise StorageError("there is no such file", where=str(path))
        return {}
    try:
        written = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError(f"not TOML: {error}", where=str(path)) from error
    for name in _PATHS:
        if isinstance(written.get(name), str):
            written[name] = str(path.parent / written[name])
    return written
