"""What the operator of a log says to its service: one object, made at the edge.

Each setting is a flag of `chopmark log serve`, an environment variable, or a line of a TOML file; the first counts:

    --max-unpublished 100000
    CHOPMARK_LOG_MAX_UNPUBLISHED=100000
    max_unpublished = 100000                        in <data>/log.toml, or in the file that --config names

An unknown name is refused, wherever it stands. Relative paths in the file begin at its folder. Passphrases come by
file only; CHOPMARK_PASSPHRASE_FILE names it where nothing else does.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from chopmark.cli.passphrase import FILE_VARIABLE
from chopmark.durable_file import read_file
from chopmark.errors import FormatError, StorageError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from chopmark_ledger.log import LogSettings

PREFIX = "CHOPMARK_LOG_"
FILE_NAME = "log.toml"
_MAX_FILE = 64 * 1024
_Port = Annotated[int, Field(ge=0, le=65_535)]
_Positive = Annotated[int, Field(ge=1)]
_Seconds = Annotated[float, Field(gt=0, le=3600)]

Settings = TypeVar("Settings", bound=BaseModel)


class LogServiceSettings(BaseModel):
    """The settings of `chopmark log serve`; they can be pickled, as they travel to the worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(description="The data folder of the log.")
    policy: Path = Field(description="The tlog-policy that a checkpoint must satisfy, with the witnesses' URLs.")
    passphrase_file: Path = Field(description="A file with the passphrase of the log's keys.")
    host: str = Field(default="127.0.0.1", description="The address to listen at.")
    port: _Port = Field(default=8480, description="The port to listen at; 0 takes a free one.")
    connections: _Positive = Field(default=1024, description="Connections that are served at a time.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is logged."
    )
    database: str | None = Field(
        default=None, description="The URL of a PostgreSQL database, where the log is not in its folder.", repr=False
    )
    max_unpublished: _Positive = Field(
        default=LogSettings().max_unpublished,
        description="Entries that may wait for publication before clients are refused.",
    )
    landmark_interval: _Positive = Field(
        default=LogSettings().landmark_interval,
        description="Seconds after which a landmark interval with entries ends.",
    )
    publication_interval: _Seconds = Field(
        default=0.2, description="Seconds between two publications while entries come in."
    )
    witness_timeout: _Seconds = Field(default=5.0, description="Seconds that a witness may take to answer.")
    wait_timeout: _Seconds = Field(
        default=30.0, description="Seconds that a request with wait=true waits for its publication."
    )
    body_timeout: _Seconds = Field(default=30.0, description="Seconds that the body of a request may take to arrive.")
    body_memory: _Positive = Field(
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


def read_settings_of(
    model: type[Settings], flags: Mapping[str, object], *, name: str, config: Path | None = None
) -> Settings:
    """As `read_settings`, for the settings `model` of `chopmark <name> serve`: the variables begin with
    `CHOPMARK_<NAME>_`, and the file is `<name>.toml`. Its fields `data` and others of the type Path are paths."""
    said: dict[str, Any] = {field: value for field, value in flags.items() if value is not None}
    prefix = f"CHOPMARK_{name.upper()}_"
    _check_environment(model, prefix)
    written = _read_file(model, config, said.get("data") or os.environ.get(f"{prefix}DATA"), f"{name}.toml")
    if "passphrase_file" in model.model_fields and os.environ.get(FILE_VARIABLE):
        written.setdefault("passphrase_file", os.environ[FILE_VARIABLE])

    class Read(model, BaseSettings):  # type: ignore[misc, valid-type]  # a class that is an argument
        model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=prefix)

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
        return model(**Read(**said).model_dump())
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {_sentence(each, prefix)}" for each in error.errors())
        raise FormatError(wrong, where="settings", remedy=f"See chopmark {name} serve --help") from error


def database_of(folder: Path) -> str | None:
    """Where the log of a folder is, as its own `log.toml` says: the URL of its database, None for the folder itself.

    Raises:
        FormatError, StorageError: the file cannot be read, or is not TOML.
    """
    database = os.environ.get(f"{PREFIX}DATABASE") or _read_file(LogServiceSettings, None, folder, FILE_NAME).get(
        "database"
    )
    if database is not None and not isinstance(database, str):
        raise FormatError("not a text", where=f"{folder / FILE_NAME}, database")
    return database


def _sentence(error: Any, prefix: str) -> str:
    if error["type"] == "missing":
        name = str(error["loc"][0])
        return f"must be given, as --{name.replace('_', '-')} or {prefix}{name.upper()}"
    if error["type"] == "extra_forbidden":
        return "there is no such setting"
    message: str = error["msg"]
    return message[0].lower() + message[1:]


def _check_environment(model: type[BaseModel], prefix: str) -> None:
    known = {f"{prefix}{name}".upper() for name in model.model_fields}
    unknown = sorted(name for name in os.environ if name.upper().startswith(prefix) and name.upper() not in known)
    if unknown:
        raise FormatError(f"there is no such setting: {', '.join(unknown)}", where="environment")


def _read_file(model: type[BaseModel], config: Path | None, data: object, file_name: str) -> dict[str, Any]:
    if config is None and not isinstance(data, str | Path):
        return {}
    path = config or Path(str(data)) / file_name
    content = read_file(path, max_size=_MAX_FILE)
    if content is None:
        if config is not None:
            raise StorageError("there is no such file", where=str(path))
        return {}
    try:
        written = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError(f"not TOML: {error}", where=str(path)) from error
    for name, field in model.model_fields.items():
        if Path in (field.annotation, *get_args(field.annotation)) and isinstance(written.get(name), str):
            written[name] = str(path.parent / written[name])
    return written
