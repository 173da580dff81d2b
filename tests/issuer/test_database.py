from __future__ import annotations

import stat
import traceback
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from chopmark_issuer.errors import DatabaseError
from chopmark_issuer.storage.bulk_rows import insert_rows
from chopmark_issuer.storage.database import open_database
from chopmark_issuer.storage.models import DEPARTMENT, Table
from sqlalchemy import insert, select, text
from sqlalchemy.exc import SAWarning


@pytest.mark.both_databases
def test_migrations_make_exactly_the_tables_of_the_models(source: Path | str) -> None:
    database = open_database(source)
    with database.reading() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), Table.metadata)
    database.close()
    assert difference == []


def test_a_file_is_written_as_a_registry_must_be(tmp_path: Path) -> None:
    database = open_database(tmp_path / "registry.db")
    with database.reading() as connection:
        pragmas = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")]
        keys = connection.execute(text("PRAGMA foreign_keys")).scalar()
    database.close()
    assert (pragmas, keys) == (["wal", 2], 1)


@pytest.mark.parametrize("table", [table.name for table in Table.metadata.sorted_tables])
def test_a_row_that_leaves_its_id_to_the_database_is_noticed_on_sqlite_too(tmp_path: Path, table: str) -> None:
    """SQLite would give it one, PostgreSQL refuse it; a warning ends a test."""
    chosen = Table.metadata.tables[table]
    ids = [column.name for column in chosen.primary_key]
    others = tuple(column.name for column in chosen.columns if column.name not in ids[-1:])
    database = open_database(tmp_path / "registry.db")
    with pytest.raises(SAWarning, match=f"{table}.{ids[-1]}"), database.writing() as connection:
        insert_rows(connection, chosen, others, [(None,) * len(others)])
    with pytest.raises(SAWarning, match=f"{table}.{ids[-1]}"), database.writing() as connection:
        connection.execute(insert(chosen).values(dict.fromkeys(others)))
    database.close()


def test_the_file_is_private(tmp_path: Path) -> None:
    open_database(tmp_path / "registry.db").close()
    assert stat.S_IMODE((tmp_path / "registry.db").stat().st_mode) == 0o600


@pytest.mark.both_databases
def test_opening_again_keeps_what_was_written_and_a_failed_block_writes_nothing(source: Path | str) -> None:
    values = {"id": "CN-GD/X", "name_zh_hans": "示例", "name_en": "Sample", "created_at": 1}
    database = open_database(source)
    with database.writing() as connection:
        connection.execute(insert(DEPARTMENT).values(**values))

    def write_and_fail() -> None:
        with database.writing() as connection:
            connection.execute(insert(DEPARTMENT).values(**values | {"id": "CN-GD/Y"}))
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    database.close()
    database = open_database(source)
    with database.reading() as connection:
        assert list(connection.execute(select(DEPARTMENT.c.id)).scalars()) == ["CN-GD/X"]
    database.close()


@pytest.mark.both_databases
def test_a_database_of_a_newer_version_is_refused(source: Path | str) -> None:
    database = open_database(source)
    change = text("UPDATE alembic_version SET version_num = :revision")
    with database.writing() as connection:
        ours = connection.scalar(text("SELECT version_num FROM alembic_version"))
        connection.execute(change, {"revision": "9999"})
    with pytest.raises(DatabaseError, match="newer version"):
        open_database(source)
    with database.writing() as connection:
        connection.execute(change, {"revision": ours})
    database.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"not a database, but long enough to be looked at " * 100)
    with pytest.raises(DatabaseError, match="cannot be opened"):
        open_database(path)


def test_a_folder_that_is_not_there_is_told_and_odd_names_are_taken(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="cannot be made"):
        open_database(tmp_path / "nowhere" / "registry.db")
    odd = tmp_path / "100% odd?#name"
    odd.mkdir()
    open_database(odd / "registry.db").close()
    assert (odd / "registry.db").stat().st_size > 0


@pytest.mark.both_databases
def test_errors_hold_no_data_of_holders(source: Path | str) -> None:
    database = open_database(source)
    values = {"id": "a holder's name", "name_zh_hans": "示例", "name_en": "a holder's name", "created_at": 1}

    def write(*rows: dict[str, Any]) -> None:
        with database.writing() as connection:
            for row in rows:
                connection.execute(insert(DEPARTMENT).values(**row))

    for rows, wrong in (([values, values], "department"), ([values | {"name_zh_hans": None}], "name_zh_hans")):
        with pytest.raises(DatabaseError, match=wrong) as caught:
            write(*rows)
        assert "a holder's name" not in "".join(traceback.format_exception(caught.value))
    database.close()
