from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from chopmark.errors import StorageError
from chopmark_issuer.errors import ConflictError
from chopmark_issuer.storage import outbox
from chopmark_issuer.storage.database import Database
from chopmark_issuer.storage.models import OUTBOX, OUTBOX_BATCH
from chopmark_ledger.batch import BatchAnswer
from chopmark_ledger.errors import BatchRefusedError, RefusedEntry
from sqlalchemy import func, select, update

pytestmark = pytest.mark.both_databases


class Ledger:
    """Takes batches as a log does, and loses its answer, or the batch, as often as a test wants."""

    def __init__(self, *, lost_answers: int = 0, lost_batches: int = 0) -> None:
        self.entries: list[bytes] = []
        self.batches: dict[int, tuple[list[bytes], list[int]]] = {}
        self.lost_answers = lost_answers
        self.lost_batches = lost_batches

    def submit(self, number: int, entries: Sequence[bytes]) -> list[int]:
        if self.lost_batches:
            self.lost_batches -= 1
            raise StorageError("the log is away")
        known = self.batches.get(number)
        if known is None:
            indexes = list(range(len(self.entries) + len(entries) - 1, len(self.entries) - 1, -1))
            self.entries.extend(reversed(entries))
            self.batches[number] = (list(entries), indexes)
        else:
            assert known[0] == list(entries), "another body under the number of an earlier batch"
        if self.lost_answers:
            self.lost_answers -= 1
            raise StorageError("the answer was lost")
        return self.batches[number][1]


def put(database: Database, *entries: bytes) -> list[int]:
    with database.writing() as connection:
        return outbox.enqueue(connection, entries)


def indexes(database: Database, ids: list[int]) -> dict[int, int]:
    with database.reading() as connection:
        return outbox.log_indexes(connection, ids)


def test_each_entry_gets_the_index_that_the_log_gave_it(office: Any) -> None:
    ledger = Ledger()
    ids = put(office.database, b"a", b"b", b"c")
    assert outbox.flush(office.database, ledger.submit, at=1) == 3
    assert [ledger.entries[indexes(office.database, ids)[row]] for row in ids] == [b"a", b"b", b"c"]


def test_a_lost_answer_is_asked_for_again_and_nothing_enters_twice(office: Any) -> None:
    ledger = Ledger(lost_answers=2)
    ids = put(office.database, b"a", b"b")
    for _ in range(2):
        with pytest.raises(StorageError, match="answer was lost"):
            outbox.flush(office.database, ledger.submit, at=1)
        ids += put(office.database, b"later")
    outbox.flush(office.database, ledger.submit, at=2)
    assert sorted(ledger.entries) == [b"a", b"b", b"later", b"later"]
    assert sorted(indexes(office.database, ids).values()) == [0, 1, 2, 3]
    assert outbox.flush(office.database, ledger.submit, at=3) == 0


def test_what_the_log_did_not_take_waits(office: Any) -> None:
    ledger = Ledger(lost_batches=1)
    ids = put(office.database, b"a")
    with pytest.raises(StorageError, match="away"):
        outbox.flush(office.database, ledger.submit, at=1)
    assert indexes(office.database, ids) == {}
    assert outbox.flush(office.database, ledger.submit, at=2) == 1


def test_a_crash_after_the_answer_and_before_it_is_noted_sends_the_same_batch_again(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger()
    ids = put(office.database, b"a", b"b")

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(outbox, "update_rows", crash)
    # the first update gives the batch its contents, so that crash comes before anything was sent
    with pytest.raises(KeyboardInterrupt):
        outbox.flush(office.database, ledger.submit, at=1)
    assert ledger.entries == []
    monkeypatch.undo()

    def submit_then_crash(number: int, entries: Sequence[bytes]) -> list[int]:
        ledger.submit(number, entries)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outbox.flush(office.database, submit_then_crash, at=1)
    put(office.database, b"c")
    outbox.flush(office.database, ledger.submit, at=2)
    assert sorted(ledger.entries) == [b"a", b"b", b"c"]
    assert len(indexes(office.database, ids)) == 2


def test_much_is_sent_in_several_batches(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "BATCH_SIZE", 4)
    ledger = Ledger()
    put(office.database, *(bytes([number]) for number in range(10)))
    assert outbox.flush(office.database, ledger.submit, at=1) == 10
    assert [len(entries) for entries, _ in ledger.batches.values()] == [4, 4, 2]


def test_a_batch_whose_contents_changed_is_not_sent(office: Any) -> None:
    ledger = Ledger(lost_batches=1)
    put(office.database, b"a")
    with pytest.raises(StorageError):
        outbox.flush(office.database, ledger.submit, at=1)
    with office.database.writing() as connection:
        connection.execute(update(OUTBOX).values(entry=b"b"))
    with pytest.raises(ConflictError, match="no longer holds"):
        outbox.flush(office.database, ledger.submit, at=2)
    assert ledger.entries == []


def test_an_answer_of_another_length_is_refused(office: Any) -> None:
    put(office.database, b"a", b"b")
    with pytest.raises(ConflictError, match="answered 1 indexes for 2"):
        outbox.flush(office.database, lambda number, entries: [7], at=1)
    with office.database.reading() as connection:
        assert connection.execute(select(OUTBOX_BATCH.c.answered_at)).scalar_one() is None


class Choosy(Ledger):
    """A log that refuses some entries, and tells the index of the others."""

    def __init__(self, *refused: bytes) -> None:
        super().__init__()
        self.refused = set(refused)

    def submit(self, number: int, entries: Sequence[bytes]) -> list[int]:
        bad = tuple(RefusedEntry(place, "not allowed") for place, entry in enumerate(entries) if entry in self.refused)
        good = [entry for entry in entries if entry not in self.refused]
        if not good:
            raise BatchRefusedError(bad)
        indexes = iter(super().submit(number, good))
        if not bad:
            return list(indexes)
        answered = tuple(None if entry in self.refused else next(indexes) for entry in entries)
        raise BatchRefusedError(bad, answer=BatchAnswer(answered, bad))


def reasons(database: Database) -> list[tuple[str, int, bytes]]:
    with database.reading() as connection:
        return [(each.reason, each.count, each.first) for each in outbox.refused_entries(connection)]


def test_a_refused_entry_keeps_the_reason_and_its_neighbours_their_indexes(office: Any) -> None:
    ledger = Choosy(b"bad", b"worse")
    ids = put(office.database, b"a", b"bad", b"b", b"worse")
    assert outbox.flush(office.database, ledger.submit, at=1) == 2
    found = indexes(office.database, ids)
    assert {ledger.entries[index] for index in found.values()} == {b"a", b"b"}
    assert set(found) == {ids[0], ids[2]}
    assert reasons(office.database) == [("not allowed", 2, b"bad")]


def test_a_batch_that_is_refused_whole_holds_up_nothing(office: Any) -> None:
    ledger = Choosy(b"bad")
    put(office.database, b"bad")
    assert outbox.flush(office.database, ledger.submit, at=1) == 0
    ids = put(office.database, b"a")
    assert outbox.flush(office.database, ledger.submit, at=2) == 1
    assert set(indexes(office.database, ids)) == set(ids)
    assert reasons(office.database) == [("not allowed", 1, b"bad")]


def test_what_was_refused_is_sent_once_with_each_flush_until_the_log_takes_it(office: Any) -> None:
    ledger = Choosy(b"bad")
    ids = put(office.database, b"bad")
    for at in range(3):
        assert outbox.flush(office.database, ledger.submit, at=at) == 0
    with office.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(OUTBOX_BATCH)).scalar_one() == 3
    ledger.refused.clear()
    assert outbox.flush(office.database, ledger.submit, at=4) == 1
    assert reasons(office.database) == []
    assert set(indexes(office.database, ids)) == set(ids)


def test_a_lost_answer_about_refused_entries_is_asked_for_again_with_the_same_batch(office: Any) -> None:
    ledger = Choosy(b"bad")
    put(office.database, b"a", b"bad")
    outbox.flush(office.database, ledger.submit, at=1)
    sent: list[tuple[int, list[bytes]]] = []

    def lose(number: int, entries: Sequence[bytes]) -> list[int]:
        sent.append((number, list(entries)))
        raise StorageError("the answer was lost")

    put(office.database, b"b")
    for _ in range(2):
        with pytest.raises(StorageError):
            outbox.flush(office.database, lose, at=2)
    assert sent[0] == sent[1]
    assert sorted(sent[0][1]) == [b"b", b"bad"]
    assert outbox.flush(office.database, ledger.submit, at=3) == 1
    assert sorted(ledger.entries) == [b"a", b"b"]


@pytest.mark.parametrize(
    "error",
    [
        BatchRefusedError((RefusedEntry(0, "no"),)),
        BatchRefusedError((RefusedEntry(7, "no"),)),
        BatchRefusedError((RefusedEntry(0, "no"),), answer=BatchAnswer((None, None), ())),
        BatchRefusedError((RefusedEntry(0, "no"),), answer=BatchAnswer((3, 4), ())),
        BatchRefusedError((RefusedEntry(0, "no"),), answer=BatchAnswer((None,), ())),
    ],
)
def test_an_answer_that_leaves_an_entry_in_doubt_is_refused(office: Any, error: BatchRefusedError) -> None:
    put(office.database, b"a", b"b")

    def submit(number: int, entries: Sequence[bytes]) -> list[int]:
        raise error

    with pytest.raises(ConflictError, match="for 2 entries"):
        outbox.flush(office.database, submit, at=1)
    with office.database.reading() as connection:
        assert connection.execute(select(OUTBOX_BATCH.c.answered_at)).scalar_one() is None


def test_a_batch_is_bounded_in_bytes_too_and_one_large_entry_still_goes(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BATCH_BYTES", 10)
    ledger = Ledger()
    put(office.database, b"a" * 6, b"b" * 4, b"c", b"d" * 30, b"e")
    assert outbox.flush(office.database, ledger.submit, at=1) == 5
    assert [[len(entry) for entry in entries] for entries, _ in ledger.batches.values()] == [[6, 4], [1], [30], [1]]
