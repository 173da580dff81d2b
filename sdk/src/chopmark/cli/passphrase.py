"""Where a command finds the passphrase of a key file: never among its arguments, which others on the machine see."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from chopmark.durable_file import read_file
from chopmark.errors import KeyMaterialError, StorageError

VARIABLE = "CHOPMARK_PASSPHRASE"
FILE_VARIABLE = "CHOPMARK_PASSPHRASE_FILE"
_MAX_SIZE = 4096


def read_passphrase(file: Path | None, environment: Mapping[str, str] = os.environ) -> bytes:
    """The passphrase from `file`, else from the file that CHOPMARK_PASSPHRASE_FILE names, else CHOPMARK_PASSPHRASE.

    The newline at the end of a file is not part of it.

    Raises:
        KeyMaterialError: there is none, or it is empty.
        StorageError: the file cannot be read, or there is none; `LimitError` above 4 KiB.
    """
    named = environment.get(FILE_VARIABLE)
    path = file if file is not None else Path(named) if named else None
    if path is None:
        passphrase = environment.get(VARIABLE, "").encode("utf-8", "surrogateescape")
    else:
        data = read_file(path, max_size=_MAX_SIZE)
        if data is None:
            raise StorageError("there is no passphrase file", where=str(path))
        passphrase = data.rstrip(b"\r\n")
    if not passphrase:
        raise KeyMaterialError(
            "no passphrase for the key",
            where=str(path or ""),
            remedy=f"Write it into a file only you can read, and give --passphrase-file or set {FILE_VARIABLE}",
        )
    return passphrase
