"""The tables, the migrations that make them, and the constant that spares Alembic."""

from __future__ import annotations

from pathlib import Path

import chopmark_ledger
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from chopmark_ledger.database import SCHEMA_REVISION, Database
from chopmark_ledger.models import LedgerModel
from sqlalchemy import text


def test_the_migrations_make_the_tables_of_the_models(tmp_path: Path) -> None:
    database = Database(tmp_path / "ledger.db")
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, LedgerModel.metadata) == []
    database.close()


def test_the_newest_migration_is_the_one_that_opening_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(chopmark_ledger.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA_REVISION]


def test_commits_are_durable_before_they_answer(tmp_path: Path) -> None:
    database = Database(tmp_path / "ledger.db")
    with database.write() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
    database.close()


def test_a_block_that_raises_commits_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "ledger.db")
    try:
        with database.write() as connection:
            connection.execute(text("INSERT INTO entry VALUES (0, x'00')"))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM entry")) == 0
    database.close()
