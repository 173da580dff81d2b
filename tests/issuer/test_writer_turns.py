"""Writers take turns: one that begins again at once does not keep out those who wait."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path
from typing import Any

import pytest
from chopmark_issuer.errors import DatabaseError
from chopmark_issuer.storage.database import open_database
from chopmark_issuer.storage.writer_turns import WriterTurns

from tests.ledger.served_log import until


def test_a_writer_that_writes_again_at_once_lets_another_go_first(tmp_path: Path) -> None:
    turns = WriterTurns(tmp_path / "registry.db", patience=20)
    first, waiting = threading.Event(), threading.Event()
    order: list[str] = []

    def greedy() -> None:
        with turns.taken():
            first.set()
            assert waiting.wait(20)
            order.append("greedy")
        with turns.taken():
            order.append("greedy again")

    def patient() -> None:
        with turns.taken():
            order.append("patient")

    threads = [threading.Thread(target=each) for each in (greedy, patient)]
    threads[0].start()
    assert first.wait(20)  # until then it is the first that holds the place of the next writer
    threads[1].start()
    until(lambda: _waits(tmp_path / "registry.db.next"))
    waiting.set()
    for thread in threads:
        thread.join()
    assert order == ["greedy", "patient", "greedy again"]


def _waits(path: Path) -> bool:
    """Whether somebody holds the place of the next writer."""
    import fcntl

    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_who_waits_too_long_is_told(tmp_path: Path) -> None:
    late = WriterTurns(tmp_path / "registry.db", patience=0)
    with (
        WriterTurns(tmp_path / "registry.db", patience=20).taken(),
        pytest.raises(DatabaseError, match="others have written"),
        late.taken(),
    ):
        pass


def _hold(path: Path, held: Any) -> None:
    with WriterTurns(path, patience=20).taken():
        held.set()
        threading.Event().wait()


def test_a_killed_process_gives_up_its_turn(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "registry.db", held))
    process.start()
    assert held.wait(30)
    process.kill()
    process.join()
    with WriterTurns(tmp_path / "registry.db", patience=0).taken():
        pass


def test_a_transaction_that_fails_gives_up_its_turn(tmp_path: Path) -> None:
    database = open_database(tmp_path / "registry.db")
    with pytest.raises(ValueError, match="no"), database.writing():
        raise ValueError("no")
    with database.writing():
        pass
    database.close()
