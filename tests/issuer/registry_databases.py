"""PostgreSQL databases for registries: made and migrated once, and emptied for whoever asks next.

To make the tables takes longer than most tests; to delete the few rows that one left takes milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg
from chopmark_issuer.storage.database import open_database
from chopmark_issuer.storage.models import Table

from tests.postgresql import PostgresqlServer, plain


@dataclass
class RegistryDatabases:
    """The databases of one server."""

    server: PostgresqlServer
    free: list[str] = field(default_factory=list)

    def lend(self) -> str:
        """The URL of a database of the newest schema, without any row."""
        if not self.free:
            url = self.server.lend()
            open_database(url).close()
            return url
        url = self.free.pop()
        with psycopg.connect(plain(url)) as connection:
            for table in reversed(Table.metadata.sorted_tables):
                connection.execute(f"DELETE FROM {table.name}".encode())
        return url

    def give_back(self, url: str) -> None:
        """Let the next one have a database, whose user has closed it."""
        self.free.append(url)
