"""Where the operator says that the data of a service is in PostgreSQL: a variable, or a line in the folder's settings.

    CHOPMARK_ISSUER_DATABASE=postgresql+psycopg://chopmark@db.example/registry
    database = "postgresql+psycopg://chopmark@db.example/registry"                  in <data>/issuer.toml

Where both are given they must say the same: a variable that was left in a shell would else lead the commands on one
folder to the data of another. An empty variable says nothing.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chopmark.durable_file import read_file, write_file
from chopmark.errors import FormatError

_MAX_FILE = 64 * 1024
_FIELD = "database"


def read_settings_text(path: Path) -> dict[str, Any] | None:
    """What a file of settings says, unchecked; None where there is none.

    Raises:
        FormatError: it is not TOML.
        StorageError: it cannot be read.
    """
    content = read_file(path, max_size=_MAX_FILE)
    if content is None:
        return None
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FormatError(f"not TOML: {error}", where=str(path)) from error


@dataclass(frozen=True, slots=True)
class DatabaseSetting:
    """The setting of `chopmark <name> serve`, which the commands read too."""

    name: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"CHOPMARK_{self.name.upper()}_DATABASE"

    def file(self, folder: Path) -> Path:
        """The settings of a data folder."""
        return folder / f"{self.name}.toml"

    def of(self, folder: Path) -> str | None:
        """The URL of the database of a folder; None where the data is in the folder itself.

        Raises:
            FormatError: variable and file name two databases, or the file is not what it must be.
            StorageError: the file cannot be read.
        """
        written = (read_settings_text(self.file(folder)) or {}).get(_FIELD)
        return self.agreed(written, self.file(folder))

    def agreed(self, written: object, path: Path | str) -> str | None:
        """What variable and file say together; `written` is what stands in the file at `path`.

        Raises:
            FormatError: they name two databases, or it is no text.
        """
        if written is not None and not isinstance(written, str):
            raise FormatError("not a text", where=f"{path}, {_FIELD}")
        told = os.environ.get(self.variable) or None
        if told is not None and written is not None and told != written:
            raise FormatError(
                f"it names another database than {self.variable}",
                where=str(path),
                remedy="Unset the variable, or take the line out: one of them is that of another folder",
            )
        return told if written is None else written

    def check_can_keep(self, folder: Path, url: str) -> None:
        """See that the settings of a folder can say, or say already, that its data is there.

        Raises:
            FormatError: they name another database or are not TOML, or the URL holds what does not belong into one.
            StorageError: they cannot be read.
        """
        if not all("!" <= character <= "~" for character in url):
            raise FormatError(
                "a space, or a character that is not ASCII",
                where="database URL",
                remedy="Percent-encode what of user and password is no letter or digit",
            )
        if (read_settings_text(self.file(folder)) or {}).get(_FIELD, url) != url:
            raise FormatError(
                "it names another database",
                where=str(self.file(folder)),
                remedy="Take the line out, or name that one",
            )

    def keep(self, folder: Path, url: str) -> None:
        """Let the settings of a folder say that its data is there; only their owner can read them from then on.

        Raises:
            FormatError, StorageError: as `check_can_keep`, or they cannot be written.
        """
        self.check_can_keep(folder, url)
        path = self.file(folder)
        content = read_file(path, max_size=_MAX_FILE) or b""
        if _FIELD not in (read_settings_text(path) or {}):
            # at its beginning: further down it might belong to a table
            quoted = url.replace("\\", "\\\\").replace('"', '\\"')
            content = f'{_FIELD} = "{quoted}"\n'.encode() + content
        write_file(path, content, private=True)
