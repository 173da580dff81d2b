"""Witnesses that run in folders of this machine, each opened when it is first asked to cosign.

Only publishing needs their keys: everything else that reads the region's log gets along without their passphrase.

    FolderWitness(Path("/srv/us-ny/witness"), vkeys, passphrase, clock=clock)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from chopmark.errors import KeyMaterialError
from chopmark_ledger.client import LocalWitness, WitnessAnswer, open_witness


class FolderWitness:
    """The witness in a folder, known by its vkeys (a `WitnessClient`)."""

    def __init__(self, folder: Path, vkeys: Sequence[str], passphrase: bytes, *, clock: Callable[[], int]) -> None:
        self._folder = folder
        self._vkeys = tuple(vkeys)
        self._passphrase = passphrase
        self._clock = clock
        self._open: LocalWitness | None = None

    @property
    def name(self) -> str:
        """The name of its keys, for messages."""
        return self._vkeys[0].partition("+")[0]

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The keys that its cosignatures verify with, of which the policy counts any."""
        return self._vkeys

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Ask it to cosign.

        Raises:
            KeyMaterialError: the passphrase is not that of the witness.
            LedgerError, StorageError: its folder cannot be opened.
        """
        if self._open is None:
            try:
                self._open = open_witness(self._folder, self._passphrase, clock=self._clock)
            except KeyMaterialError as error:
                raise KeyMaterialError(
                    "the passphrase does not open the keys of the witness",
                    where=str(self._folder),
                    remedy="Name the file with its passphrase: --witness-passphrase-file FILE",
                ) from error
        return self._open.add_checkpoint(body)

    def __repr__(self) -> str:
        return f"FolderWitness({str(self._folder)!r})"
