"""A registry in PostgreSQL: one writer after the other, readers of one state, and a server that goes away."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

import psycopg
import pytest
from chopmark.keys import Ed25519Signer
from chopmark_issuer.errors import DatabaseError, NotFoundError
from chopmark_issuer.licences.requests import IssuedVersion
from chopmark_issuer.region import Region
from chopmark_issuer.service.clients import Right, add_client, make_client
from chopmark_issuer.service.commit_queue import CommitQueue, Issued, IssueTask, QueueLimits
from chopmark_issuer.service.idempotency import Answer, RequestKey, request_digest
from chopmark_issuer.settings import Settings
from chopmark_issuer.storage import postgresql_engine
from chopmark_issuer.storage.database import Database, open_database
from chopmark_issuer.storage.models import DEPARTMENT, LICENCE_VERSION, OUTBOX
from chopmark_issuer.storage.outbox import enqueue
from chopmark_issuer.storage.row_ids import next_id
from chopmark_ledger.storage.database import Database as LogDatabase
from sqlalchemy import Connection, Engine, event, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from tests.issuer.conftest import MARKETS, NOW, World, furnished
from tests.issuer.issuer_service import food, serving
from tests.ledger.served_log import until
from tests.postgresql import PostgresqlServer, plain, running_server


@pytest.fixture
def backend() -> str:
    return "postgresql"


@pytest.fixture
def url(source: Path | str) -> str:
    assert isinstance(source, str)
    return source


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    yield opened
    opened.close()


def encode_one(issued: Issued) -> Answer:
    (outcome,) = issued
    assert isinstance(outcome, IssuedVersion)
    return Answer(201, outcome.number.encode())


def count(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(OUTBOX)).scalar_one())


def put(database: Database) -> None:
    with database.writing() as connection:
        enqueue(connection, [b"entry"])


def end_sessions(url: str) -> None:
    """End every session of a database, as an administrator, a network or a server does that starts anew."""
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def waits_for_lock(url: str) -> bool:
    with psycopg.connect(plain(url)) as connection:
        waiting = connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return waiting.fetchone() == (1,)


def test_every_number_has_64_bits_every_text_sorts_by_bytes_and_no_id_is_the_servers(database: Database) -> None:
    columns = text(
        "SELECT DISTINCT data_type, collation_name, column_default, is_identity FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND table_name <> 'alembic_version'"
    )
    with database.reading() as connection:
        found = {tuple(row) for row in connection.execute(columns)}
    kinds = {("bigint", None), ("character varying", "C"), ("bytea", None), ("boolean", None)}
    assert found == {(*kind, None, "NO") for kind in kinds}


def test_who_writes_second_waits_and_sees_what_the_first_wrote(url: str, database: Database) -> None:
    second = open_database(url)
    drawn: list[int] = []

    def write() -> None:
        with second.writing() as connection:
            drawn.append(next_id(connection, OUTBOX))

    with database.writing() as connection:
        thread = threading.Thread(target=write)
        thread.start()
        until(lambda: waits_for_lock(url))
        (row_id,) = enqueue(connection, [b"entry"])
    thread.join(20)
    second.close()
    assert drawn == [row_id + 1]


def test_who_reads_waits_for_nobody_and_sees_one_state_throughout(database: Database) -> None:
    query = select(func.count()).select_from(OUTBOX)
    with database.writing() as writing:
        enqueue(writing, [b"entry"])
        with database.reading() as reading:
            assert reading.execute(query).scalar_one() == 0
            put_later = threading.Thread(target=put, args=(database,))
            put_later.start()
            writing.commit()
            put_later.join(20)
            assert reading.execute(query).scalar_one() == 0
            with (
                pytest.raises(DatabaseError, match="ReadOnlySqlTransaction"),
                database.reading() as other,
            ):
                enqueue(other, [b"entry"])
    assert count(database) == 2


def test_who_waits_too_long_is_told(url: str, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_engine, "_SESSION", "SET lock_timeout = '1ms'")
    late = open_database(url)
    with database.writing(), pytest.raises(DatabaseError, match="others have written for 60 s"), late.writing():
        pass
    put(late)
    late.close()


def test_what_the_database_does_not_take_is_taken_back_alone(database: Database) -> None:
    values = {"id": "CN-GD/X", "name_zh_hans": "示例", "name_en": "Sample", "created_at": 1}
    with database.writing() as connection:
        joined = database.joined(connection)
        connection.execute(insert(DEPARTMENT).values(**values))

        def write_twice() -> None:
            with joined.writing() as part:
                enqueue(part, [b"entry"])
                part.execute(insert(DEPARTMENT).values(**values))

        with pytest.raises(IntegrityError):
            write_twice()
        connection.execute(insert(DEPARTMENT).values(**values | {"id": "CN-GD/Y"}))
    with database.reading() as connection:
        assert list(connection.execute(select(DEPARTMENT.c.id).order_by(DEPARTMENT.c.id)).scalars()) == [
            "CN-GD/X",
            "CN-GD/Y",
        ]
    assert count(database) == 0


def test_registries_in_schemas_of_one_database_do_not_hold_each_other_up(url: str) -> None:
    names = ("one", "two")
    with psycopg.connect(plain(url)) as connection:
        for name in names:
            connection.execute(f"CREATE SCHEMA {name}".encode())
    one, two = (open_database(f"{url}&options=-csearch_path%3D{name}") for name in names)
    with one.writing() as connected:
        enqueue(connected, [b"entry"])
        put(two)
        put(two)
    assert (count(one), count(two)) == (1, 2)
    for each in (one, two):
        each.close()
    with psycopg.connect(plain(url)) as connection:
        for name in names:
            connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


def test_a_database_of_another_program_is_left_alone(postgresql: PostgresqlServer) -> None:
    lent = postgresql.lend()
    LogDatabase(lent).close()
    with pytest.raises(DatabaseError, match="the tables of another program are in it"):
        open_database(lent)
    postgresql.give_back(lent)


def test_an_empty_database_holds_no_region_and_gets_no_tables_by_a_look(
    postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    lent = postgresql.lend()
    for _ in range(2):
        with pytest.raises(NotFoundError, match=r"database test_\d+ on .*: there is no region"):
            Region.open(Settings(tmp_path, b"", database_url=lent))
    postgresql.give_back(lent)


@pytest.mark.parametrize("wrong", ["nonsense", "sqlite:///registry.db", "mysql://root:secret@host/name"])
def test_what_is_no_url_is_refused_and_not_repeated(wrong: str) -> None:
    with pytest.raises(DatabaseError, match="not the URL of a PostgreSQL database") as caught:
        open_database(wrong)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_away_and_a_user_without_a_schema_are_told_without_the_password(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(DatabaseError, match=r"database name on .*: the database cannot be opened") as caught:
        open_database(f"postgresql+psycopg://user:secret@/name?host={tmp_path}")
    assert "secret" not in str(caught.value)
    with pytest.raises(DatabaseError, match="no schema to work in"):
        open_database(f"{url}&options=-csearch_path%3Dnowhere")


def test_after_the_sessions_ended_the_next_transaction_works_and_the_one_under_way_is_lost(
    url: str, database: Database
) -> None:
    put(database)
    end_sessions(url)
    assert count(database) == 1

    def write_and_lose() -> None:
        with database.writing() as connection:
            enqueue(connection, [b"lost"])
            end_sessions(url)
            enqueue(connection, [b"lost too"])

    with pytest.raises(DatabaseError, match=r"database test_\d+ on .*: the database cannot be used"):
        write_and_lose()
    put(database)
    assert count(database) == 2


def test_a_connection_that_breaks_in_a_commit_leaves_open_what_was_done(url: str, database: Database) -> None:
    def break_it(connection: Connection) -> None:
        if connection.get_isolation_level() == "READ COMMITTED":
            end_sessions(url)

    event.listen(Engine, "commit", break_it)
    try:
        with pytest.raises(DatabaseError, match=r"in the middle of a commit.*Look whether it was done"):
            put(database)
    finally:
        event.remove(Engine, "commit", break_it)
    put(database)


def test_a_commit_is_durable_whatever_the_user_is_set_to(postgresql: PostgresqlServer, url: str) -> None:
    off = f"{url}&options=-csynchronous_commit%3Doff"
    opened = open_database(off)
    with opened.writing() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"
    opened.close()


def test_a_nul_character_is_bad_input_on_every_way_to_the_database(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            assert (await service.post("/licences", food())).status == 201
            for target in ("/licences/%00", "/licences/a%00/history", "/licences?number=%00", "/licences?type=a%00"):
                assert (await service.get(target)).status == 400, target
            assert (await service.get("/types/CN-GD/\0")).status == 400
            for member in ("number", "holder_code", "holder_name", "type"):
                assert (await service.post("/licences/search", {member: "ab\0"})).status == 400, member
            assert (await service.post("/licences", food(type="CN-GD/\0"))).status == 400
            assert (await service.post("/licences/revoke", {"numbers": ["a", "\0"]})).status == 400
            lines = [json.dumps(each).encode() for each in (food(type="\0"), food())]
            assert [line["status"] for line in await service.bulk(lines, key="bulk")] == [400, 201]

    asyncio.run(run())


def test_a_killed_server_loses_nothing_acknowledged_and_what_is_sent_again_is_done_once(tmp_path: Path) -> None:
    client = make_client("office", MARKETS, rights=Right, keys=[Ed25519Signer.generate().public_key])
    with running_server() as server, furnished(server.lend(), tmp_path) as office:
        with office.database.writing() as connection:
            add_client(connection, client, at=NOW)
        queue = CommitQueue(office.database, office.keys, clock=lambda: NOW, limits=QueueLimits(group=2))

        def send(number: int) -> Future[Answer]:
            key = RequestKey(client.owner, f"key-{number}", 0, request_digest(b"%d" % number))
            return queue.submit(IssueTask(client, key, (office.food(),), encode_one))

        futures = {number: send(number) for number in range(40)}
        wait(futures.values(), timeout=30, return_when=FIRST_COMPLETED)
        server.kill()
        wait(futures.values(), timeout=60)
        failed = {number: future.exception() for number, future in futures.items() if future.exception() is not None}
        assert failed
        assert {type(error) for error in failed.values()} == {DatabaseError}
        server.start_again()
        answers = {number: future.result() for number, future in futures.items() if number not in failed}
        answers |= {number: future.result(60) for number, future in {each: send(each) for each in failed}.items()}
        queue.close()
        with office.database.reading() as connection:
            kept = set(connection.execute(select(LICENCE_VERSION.c.number)).scalars())
        assert {answer.body.decode() for answer in answers.values()} == kept
        assert len(kept) == len(futures)
