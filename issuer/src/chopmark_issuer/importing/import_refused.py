"""The file of refused rows: the rows as they were, with three columns more that say why.

Encoding and delimiter are those of the imported file, so that the same mapping reads it once its rows are corrected; a
later import leaves the three columns alone. It is written under another name, made durable and renamed when the import
has ended: whoever finds it has all refused rows.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TextIO

from chopmark.errors import StorageError

from chopmark_issuer.importing.csv_file import CsvFile
from chopmark_issuer.importing.import_plan import Refusal

REASONS: Final = ("chopmark_row", "chopmark_column", "chopmark_reason")


class RefusedFile:
    """The file, begun with the first refusal and readable by its owner only; a context manager that closes it."""

    def __init__(self, path: Path, imported: CsvFile, record: Callable[[int], Sequence[str]]) -> None:
        """`path` is where it is written until it is whole; `record` answers a row by its number."""
        self._path = path
        self._header = imported.header
        self._kept = [place for place, column in enumerate(imported.header) if column not in REASONS]
        self._delimiter = imported.delimiter
        self._codec = imported.codec
        self._record = record
        self._file: TextIO | None = None
        self._rows: Any = None

    def __enter__(self) -> RefusedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with suppress(OSError):  # on a full disk closing fails like writing before it, which was told
                self._file.close()

    def add(self, refusals: Sequence[Refusal]) -> None:
        """Write refused rows, with the reasons behind them.

        Raises:
            StorageError: they cannot be written.
        """
        if not refusals:
            return
        try:
            if self._file is None:
                self._begin()
            for refusal in refusals:
                record = self._record(refusal.number)
                kept = (record[place] for place in self._kept)
                reason = (refusal.number, self._encodable(refusal.column), self._encodable(refusal.reason))
                self._rows.writerow([*kept, *reason])
        except OSError as error:
            raise self._failed(error) from error

    def finish(self, path: Path) -> Path | None:
        """Make it durable and give it its name; answers that name, or None where no row was refused.

        Raises:
            StorageError: that cannot be done.
        """
        if self._file is None:
            return None
        try:
            with self._file as file:
                file.flush()
                os.fsync(file.fileno())
            self._path.replace(path)
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._failed(error) from error
        return path

    def _begin(self) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(descriptor, "w", encoding=self._codec, newline="")
        # the writer quotes a value for the line ends named here: a lone CR must not end its row either
        self._rows = csv.writer(self._file, delimiter=self._delimiter, lineterminator="\r\n")
        self._rows.writerow([*(self._header[place] for place in self._kept), *REASONS])

    def _encodable(self, text: str) -> str:
        """A text of ours in characters that the encoding has; what came from the file needs no such care."""
        return text.encode(self._codec, "backslashreplace").decode(self._codec)

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(
            f"the file of refused rows cannot be written: {error.strerror}",
            where=str(self._path.parent),
            remedy="Make room and import the file again: it goes on where it was",
        )
