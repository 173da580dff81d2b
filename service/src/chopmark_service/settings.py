"""What the operator of a service says to it: one typed object, made at the edge.

Each setting is a flag of `chopmark <name> serve`, an environment variable, or a line of a TOML file; the first counts:

    --max-unpublished 100000
    CHOPMARK_LOG_MAX_UNPUBLISHED=100000
    max_unpublished = 100000                        in <data>/log.toml, or in the file that --config names

An unknown name is refused, wherever it stands; an empty variable says nothing. A database that both variable and file
name must be one and the same (`database_setting`). Relative paths in the file begin at its folder. Passphrases come by
file only; CHOPMARK_PASSPHRASE_FILE names it where nothing else does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args

from chopmark.cli.passphrase import FILE_VARIABLE
from chopmark.errors import FormatError, StorageError
from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from chopmark_service.database_setting import DatabaseSetting, read_settings_text

Port: TypeAlias = Annotated[int, Field(ge=0, le=65_535)]
Positive: TypeAlias = Annotated[int, Field(ge=1)]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=3600)]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

Settings = TypeVar("Settings", bound=BaseModel)


def read_settings_of(
    model: type[Settings],
    flags: Mapping[str, object],
    *,
    name: str,
    config: Path | None = None,
    command: str | None = None,
) -> Settings:
    """Put flags, the environment of this process and the file together.

    Args:
        model: the settings of `chopmark <name> serve`; its fields of the type Path are paths.
        flags: what the command line said, by the names of the fields; None counts as not said.
        name: the variables begin with `CHOPMARK_<NAME>_`, and the file is `<name>.toml`.
        config: the file, which must be there; else `<name>.toml` in the folder of the field `data`, where there is one.
        command: the command whose help names the settings, where it is not `<name> serve`.

    Raises:
        FormatError: a setting that is unknown, missing, or not what it must be; all of them are named. Or variable and
            file name two databases.
        StorageError: the file cannot be read, or is missing.
    """
    said: dict[str, Any] = {field: value for field, value in flags.items() if value is not None}
    prefix = f"CHOPMARK_{name.upper()}_"
    _check_environment(model, prefix)
    written = _read_settings_file(model, config, said.get("data") or os.environ.get(f"{prefix}DATA"), f"{name}.toml")
    if "database" in model.model_fields:
        DatabaseSetting(name).agreed(written.get("database"), config or f"{name}.toml")
    if "passphrase_file" in model.model_fields and os.environ.get(FILE_VARIABLE):
        written.setdefault("passphrase_file", os.environ[FILE_VARIABLE])

    class Read(model, BaseSettings):  # type: ignore[misc, valid-type]  # a class that is an argument
        model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=prefix, env_ignore_empty=True)

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
        raise FormatError(
            wrong, where="settings", remedy=f"See chopmark {command or f'{name} serve'} --help"
        ) from error


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


def _read_settings_file(model: type[BaseModel], config: Path | None, data: object, file_name: str) -> dict[str, Any]:
    """What the file of settings says, unchecked: `config`, or that of this name in the folder `data`.

    Raises:
        FormatError: it is not TOML.
        StorageError: it cannot be read, or `config` is missing.
    """
    if config is None and not isinstance(data, str | Path):
        return {}
    path = config or Path(str(data)) / file_name
    written = read_settings_text(path)
    if written is None:
        if config is not None:
            raise StorageError("there is no such file", where=str(path))
        return {}
    for name, field in model.model_fields.items():
        if Path in (field.annotation, *get_args(field.annotation)) and isinstance(written.get(name), str):
            written[name] = str(path.parent / written[name])
    return written
