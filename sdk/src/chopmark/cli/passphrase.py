"""Where a command finds the passphrase of a key file: never among its arguments, which others on the machine see."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from chopmark.errors import KeyMaterialError, LimitError, StorageError

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
        try:
            with path.open("rb") as stream:  # a pipe will do as well
                data = stream.read(_MAX_SIZE + 1)
        except OSError as error:
            raise StorageError(f"the passphrase cannot be read: {error.strerror}", where=str(path)) from error
        if len(data) > _MAX_SIZE:
            raise LimitError(f"above the limit of {_MAX_SIZE} bytes for a passphrase", where=str(path))
        passphrase = data.rstrip(b"\r\n")
    if not passphrase:
        raise KeyMaterialError(
            "no passphrase for the key",
            where=str(path or ""),
            remedy=f"Write it into a file only you can read, and give --passphrase-file or set {FILE_VARIABLE}",
        )
    return passphrase
