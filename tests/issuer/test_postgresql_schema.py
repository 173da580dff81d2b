"""A registry in PostgreSQL is in one schema, whatever path leads there, and one service runs on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from chopmark.durable_file import write_file
from chopmark_issuer.errors import ConflictError, DatabaseError
from chopmark_issuer.service.running_region import check_can_run, open_running_region
from chopmark_issuer.service.service_settings import IssuerServiceSettings
from chopmark_issuer.storage import postgresql_engine
from chopmark_issuer.storage.database import open_database
from chopmark_issuer.storage.models import DEPARTMENT
from chopmark_service import telemetry
from sqlalchemy import insert, make_url, text

from tests.issuer.conftest import PASSPHRASE, World
from tests.postgresql import PostgresqlServer, plain


@pytest.fixture
def backend() -> str:
    return "postgresql"


@pytest.fixture
def url(postgresql: PostgresqlServer) -> Iterator[str]:
    """An empty database, in which a test may make schemas."""
    lent = postgresql.lend()
    yield lent
    with psycopg.connect(plain(lent)) as connection:
        connection.execute("DROP SCHEMA IF EXISTS other, postgres CASCADE")
    postgresql.give_back(lent)


def execute(url: str, statement: str) -> None:
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute(statement.encode())


def held_locks(url: str) -> set[int]:
    with psycopg.connect(plain(url)) as connection:
        rows = connection.execute(
            "SELECT (CAST(classid AS bigint) << 32) | CAST(objid AS bigint) FROM pg_locks WHERE locktype = 'advisory' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).fetchall()
    return {key for (key,) in rows}


def test_a_path_that_comes_to_the_tables_only_after_another_schema_is_refused(url: str) -> None:
    open_database(url).close()
    execute(url, "CREATE SCHEMA other")
    with pytest.raises(DatabaseError, match=r"the tables are in the schema public, .* is other.*search_path%3Dpublic"):
        open_database(f"{url}&options=-csearch_path%3Dother,public")
    open_database(f"{url}&options=-csearch_path%3Dpublic,other").close()


def test_a_schema_that_is_made_meanwhile_changes_nothing_for_who_has_the_registry_open(url: str) -> None:
    first = open_database(url)
    execute(url, "CREATE SCHEMA postgres")  # the user's own, which comes first in the path that is the default
    with pytest.raises(DatabaseError, match="the tables are in the schema public"):
        open_database(url)
    second = open_database(f"{url}&options=-csearch_path%3Dpublic")
    first._opened.engine.dispose()  # what it opens from now on would come to the other schema
    with first.writing() as connection:
        assert connection.scalar(text("SELECT current_schemas(false)")) == ["public"]
        (key,) = held_locks(url)
    with second.writing():
        assert held_locks(url) == {key}
    for each in (first, second):
        each.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "EUC_CN"])
def test_a_database_that_cannot_hold_every_character_is_refused(postgresql: PostgresqlServer, encoding: str) -> None:
    name = f"encoded_{encoding.lower()}"
    postgresql.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    other = postgresql.uri.replace("/postgres?", f"/{name}?")
    assert other != postgresql.uri
    with pytest.raises(DatabaseError, match=f"the database holds texts as {encoding}.*ENCODING 'UTF8'"):
        open_database(other)


def test_a_server_that_only_reads_is_refused(url: str) -> None:
    with pytest.raises(DatabaseError, match="session is read-only"):
        open_database(f"{url}&options=-cdefault_transaction_read_only%3Don")


def test_texts_travel_as_utf_8_whatever_the_url_says(url: str) -> None:
    database = open_database(f"{url}&client_encoding=latin1")
    with database.reading() as connection:
        assert connection.scalar(text("SELECT CAST(:name AS text)"), {"name": "示例\U0010fffd"}) == "示例\U0010fffd"
    database.close()


def test_of_an_error_no_value_is_kept(url: str) -> None:
    database = open_database(url)

    def failing(statement: str) -> str:
        with pytest.raises(DatabaseError) as caught, database.writing() as connection:
            connection.execute(text(statement), {"name": "Zhang San"})
        assert "Zhang" not in str(caught.value) + str(caught.value.__cause__)
        return str(caught.value)

    assert "InvalidTextRepresentation, SQLSTATE 22P02" in failing("SELECT CAST(CAST(:name AS text) AS bigint)")
    values = {"id": "Zhang San", "name_zh_hans": "示例", "name_en": "Sample", "created_at": 1}
    with database.writing() as connection:
        connection.execute(insert(DEPARTMENT).values(**values))
    with pytest.raises(DatabaseError) as caught, database.writing() as connection:
        connection.execute(insert(DEPARTMENT).values(**values))
    assert "UniqueViolation, SQLSTATE 23505, table department, constraint pk_department" in str(caught.value)
    assert "Zhang" not in str(caught.value)
    database.close()


def test_who_stands_still_within_a_transaction_holds_up_the_others_for_some_minutes_only(url: str) -> None:
    database = open_database(url)
    with database.writing() as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "5min"
    database.close()


@pytest.fixture
def settings(world: World, tmp_path: Path) -> IssuerServiceSettings:
    world.guangdong.close()
    write_file(tmp_path / "passphrase", PASSPHRASE + b"\n", private=True)
    return IssuerServiceSettings(
        data=world.guangdong.settings.data,
        passphrase_file=tmp_path / "passphrase",
        database=world.guangdong.settings.database_url,
    )


@pytest.mark.parametrize("terse", [False, True])
def test_a_service_tells_once_that_the_server_s_own_log_repeats_values(
    settings: IssuerServiceSettings, capsys: pytest.CaptureFixture[str], terse: bool
) -> None:
    assert settings.database is not None
    telemetry.configure_logging()
    name = make_url(settings.database).database
    with psycopg.connect(plain(settings.database), autocommit=True) as connection:
        for said in ("log_error_verbosity = terse", "log_min_error_statement = panic") if terse else ():
            connection.execute(f"ALTER DATABASE {name} SET {said}".encode())
        try:
            open_running_region(settings).close()
        finally:
            connection.execute(f"ALTER DATABASE {name} RESET ALL".encode())
    assert capsys.readouterr().err.count("log_error_verbosity = terse") == (0 if terse else 1)


def test_a_second_service_in_a_copy_of_the_folder_is_kept_out(
    settings: IssuerServiceSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_engine, "_ENDING", 0)
    shutil.copytree(settings.data, tmp_path / "copy")
    copied = settings.model_copy(update={"data": tmp_path / "copy"})
    running = open_running_region(settings)
    for start in (check_can_run, open_running_region):
        with pytest.raises(ConflictError, match=r"runs on this registry already, chopmark issuer, process \d+ on"):
            start(copied)
    running.close()
    check_can_run(copied)
    open_running_region(copied).close()


def test_a_service_whose_right_the_server_forgot_takes_it_again_unless_another_one_has_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_engine, "_ENDING", 0)
    first, second = open_database(url), open_database(url)
    hold = first.hold_for_service()
    assert hold is not None

    def lose() -> None:
        execute(
            url,
            "SELECT pg_terminate_backend(pid, 20000) FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )

    hold.keep()
    lose()
    hold.keep()
    with pytest.raises(ConflictError):
        second.hold_for_service()
    lose()
    other = second.hold_for_service()
    assert other is not None
    for _ in range(2):
        with pytest.raises(ConflictError, match="a service runs on this registry already"):
            hold.keep()
    other.release()
    hold.keep()
    hold.release()
    hold.release()
    for each in (first, second):
        each.close()


def test_a_service_waits_for_one_that_is_about_to_end(url: str) -> None:
    database = open_database(url)
    hold = database.hold_for_service()
    assert hold is not None
    with psycopg.connect(plain(url), autocommit=True) as connection:
        (key,) = held_locks(url)
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    again = database.hold_for_service()
    assert again is not None
    assert held_locks(url) == {key}
    for each in (hold, again):
        each.release()
    database.close()
