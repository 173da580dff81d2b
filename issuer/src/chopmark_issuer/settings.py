"""What the registry is told from outside: where its data is and what opens its keys.

Made at the edge, by the command line or a service, and passed in: nothing here reads the environment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chopmark.key_file import DEFAULT_COST, ScryptCost

DATABASE_FILE = "registry.db"
"""Within the registry's folder: the registry, unless it is in PostgreSQL."""
KEY_FOLDER = "keys"
"""Within the registry's folder: the encrypted private keys."""
KEY_SOCKET = "keys.sock"
"""Within the registry's folder: where the signing process listens, unless it is told another place."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`data` is the registry's folder; `passphrase` opens its private keys; `cost` is what a new key file costs.

    `witness_passphrase` opens the witnesses that run in folders of this machine, where it is another one.
    `key_socket` is where the signing process listens; with it no private key is ever loaded in this process, and the
    passphrase is not needed. `log_patience` is how many seconds to wait for a served log to answer, and to publish.
    `database_url` is where the registry is, if not in a file of the folder; it may hold a password.
    """

    data: Path
    passphrase: bytes = field(repr=False)
    cost: ScryptCost = DEFAULT_COST
    witness_passphrase: bytes | None = field(default=None, repr=False)
    log_patience: float = 60.0
    key_socket: Path | None = None
    database_url: str | None = field(default=None, repr=False)

    @property
    def database(self) -> Path | str:
        """The registry's database: a file, or the URL of a PostgreSQL database."""
        return self.data / DATABASE_FILE if self.database_url is None else self.database_url

    @property
    def keys(self) -> Path:
        """Encrypted private keys."""
        return self.data / KEY_FOLDER

    @property
    def log(self) -> Path:
        """The region's log, where it runs in the registry's own process."""
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
