"""What the registry is told from outside: where its data is and what opens its keys.

The environment is read in `settings_from_environment` only, which the command line calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chopmark.errors import StorageError
from chopmark.key_file import DEFAULT_COST, ScryptCost

from chopmark_issuer.errors import RefusedError

PASSPHRASE = "CHOPMARK_PASSPHRASE"  # noqa: S105 - the name of a variable, not a secret
PASSPHRASE_FILE = "CHOPMARK_PASSPHRASE_FILE"  # noqa: S105 - likewise


@dataclass(frozen=True, slots=True)
class Settings:
    """`data` is the registry's folder; `passphrase` opens its private keys; `cost` is what a new key file costs."""

    data: Path
    passphrase: bytes = field(repr=False)
    cost: ScryptCost = DEFAULT_COST
    witness_passphrase: bytes | None = field(default=None, repr=False)

    @property
    def database(self) -> Path:
        """The registry's database."""
        return self.data / "registry.db"

    @property
    def keys(self) -> Path:
        """Encrypted private keys."""
        return self.data / "keys"

    @property
    def log(self) -> Path:
        """The region's log."""
        return self.data / "log"

    @property
    def public(self) -> Path:
        """What verifiers fetch."""
        return self.data / "public"

    @property
    def vouched(self) -> Path:
        """Landmark files as they were when the region vouched for them."""
        return self.data / "vouched"

    @property
    def imports(self) -> Path:
        """Files of rows that were refused."""
        return self.data / "imports"


def settings_from_environment(data: Path, environment: Mapping[str, str]) -> Settings:
    """Take the passphrase from the file that CHOPMARK_PASSPHRASE_FILE names, or from CHOPMARK_PASSPHRASE.

    Raises:
        RefusedError: neither is set, or it is empty.
        StorageError: the file cannot be read.
    """
    name = environment.get(PASSPHRASE_FILE)
    if name:
        try:
            passphrase = Path(name).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise StorageError(f"the passphrase file cannot be read: {error.strerror}", where=name) from error
    else:
        passphrase = environment.get(PASSPHRASE, "").encode("utf-8", "surrogateescape")
    if not passphrase:
        raise RefusedError(
            "no passphrase for the registry's keys",
            remedy=f"Write one into a file only you can read, and set {PASSPHRASE_FILE} to its path",
        )
    return Settings(data, passphrase)
