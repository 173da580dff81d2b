"""Many licences in one request: a line for each line, and the same again after a break."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from chopmark.errors import FormatError
from chopmark.keys import Ed25519Signer
from chopmark_issuer.errors import DatabaseError, NotFoundError
from chopmark_issuer.service import bulk_stream, service_writing
from chopmark_issuer.service.bulk_stream import BulkStream, LinesResponse
from chopmark_issuer.service.clients import Right, make_client, remove_client
from chopmark_issuer.service.commit_queue import CommitQueue
from chopmark_issuer.service.idempotency import Answer
from chopmark_service.errors import BackpressureError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.issuer.conftest import MARKETS, World
from tests.issuer.issuer_service import Service, food, serving
from tests.ledger.asgi import ask

MEDIA_TYPE = "application/x-ndjson"


def line(**changes: Any) -> bytes:
    return json.dumps(food(**changes), ensure_ascii=False).encode()


async def count(service: Service) -> int:
    total, target = 0, "/licences?limit=200"
    while target:
        page = (await service.get(target)).json()
        total += len(page["licences"])
        target = f"/licences?limit=200&after={page['next']}" if "next" in page else ""
    return total


@pytest.mark.both_databases
def test_a_bad_line_spoils_no_neighbour(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            answers = await service.bulk(
                [
                    line(),
                    b"{",
                    line(fields={}),
                    b"",
                    b"\r",
                    line(type="CN-GD/none"),
                    b"x" * 70_000,
                    b'{"type": 1, "type": 2}',
                    line(),
                ]
            )
            assert [each["line"] for each in answers] == list(range(1, 8))
            assert [each["status"] for each in answers] == [201, 400, 422, 404, 413, 400, 201]
            codes = [each["problem"]["code"] for each in answers if "problem" in each]
            assert codes == ["malformed", "field", "not_found", "too_large", "malformed"]
            numbers = [each["number"] for each in answers if each["status"] == 201]
            found = (await service.get("/licences")).json()["licences"]
            assert [each["number"] for each in found] == numbers

    asyncio.run(run())


@pytest.mark.both_databases
def test_the_same_stream_again_gets_the_same_answer_and_issues_nothing_twice(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            lines = [line() for _ in range(20)] + [b"no line"]
            first = await service.bulk(lines, key="stream")
            assert await service.bulk(lines, key="stream") == first
            assert await count(service) == 20
            (refused,) = await service.bulk([line(), *lines], key="stream")
            assert (refused["line"], refused["status"], refused["ends"]) == (1, 422, True)
            assert refused["problem"]["code"] == "key_reused"
            assert await count(service) == 20

    asyncio.run(run())


def test_another_stream_under_the_same_key_is_told_where_it_begins_to_differ(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            lines = [b"no line"] * 700
            await service.bulk(lines, key="stream")
            *_, refused = await service.bulk([*lines[:600], b"another"], key="stream")
            assert (refused["line"], refused["problem"]["code"]) == (501, "key_reused")
            assert "lines 501 to 601 are not those that were sent first" in refused["problem"]["detail"]

    asyncio.run(run())


def test_a_stream_that_breaks_off_goes_on_when_it_is_sent_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_stream, "PART_LINES", 4)

    async def run() -> None:
        async with serving(world) as service:
            lines = [line(fields={"business_name": f"店 {number}"}) for number in range(10)]
            body = b"\n".join(lines)
            headers = {"Content-Type": MEDIA_TYPE, "Idempotency-Key": "stream"}
            broken: list[bytes] = []

            async def receive() -> dict[str, Any]:
                if not broken:
                    broken.append(body)
                    return {"type": "http.request", "body": body[:-40], "more_body": True}
                return {"type": "http.disconnect"}

            answered = b""

            async def send(message: Any) -> None:
                nonlocal answered
                answered += message.get("body", b"")

            scope = {
                "type": "http",
                "method": "POST",
                "path": "/licences/bulk",
                "raw_path": b"/licences/bulk",
                "query_string": b"",
                "headers": [
                    (name.lower().encode(), value.encode())
                    for name, value in {**headers, **service.token("office")}.items()
                ],
                "client": None,
                "server": None,
                "scheme": "http",
                "http_version": "1.1",
                "root_path": "",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "state": {},
            }
            await service.application(scope, receive, send)
            told = [json.loads(each) for each in answered.splitlines()]
            assert [each["status"] for each in told] == [201] * 8 + [400]
            assert (told[-1]["ends"], told[-1]["line"]) == (True, 9)
            assert await count(service) == 8
            again = await service.bulk(lines, key="stream")
            assert again[:8] == told[:8]
            assert [each["status"] for each in again] == [201] * 10
            assert await count(service) == 10

    asyncio.run(run())


def test_a_client_that_is_removed_issues_nothing_more_within_its_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_stream, "PART_LINES", 2)

    async def run() -> None:
        async with serving(world) as service:
            commit = CommitQueue._commit

            def then_removed(queue: CommitQueue, tasks: Any) -> Any:
                outcomes = commit(queue, tasks)
                with suppress(NotFoundError), service.region.database.writing() as connection:
                    remove_client(connection, "office")
                return outcomes

            monkeypatch.setattr(CommitQueue, "_commit", then_removed)
            answers = await service.bulk([line() for _ in range(6)])
            assert [each["status"] for each in answers] == [201, 201, 403]
            assert (answers[-1]["line"], answers[-1]["ends"]) == (3, True)
            assert answers[-1]["problem"]["code"] == "forbidden"
            monkeypatch.undo()
            service.add_client()
            assert await count(service) == 2

    asyncio.run(run())


def test_parts_are_durable_before_their_lines_are_answered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_stream, "PART_LINES", 2)

    async def run() -> None:
        async with serving(world) as service:
            commits: list[int] = []
            commit = CommitQueue._commit

            def second_fails(queue: CommitQueue, tasks: Any) -> Any:
                commits.append(len(tasks))
                if len(commits) == 2:
                    raise DatabaseError("the disk is full", where="/secret/place")
                return commit(queue, tasks)

            monkeypatch.setattr(CommitQueue, "_commit", second_fails)
            answers = await service.bulk([line() for _ in range(6)], key="stream")
            assert [each["status"] for each in answers] == [201, 201, 503]
            assert (answers[-1]["line"], answers[-1]["ends"]) == (3, True)
            assert "/secret" not in json.dumps(answers)
            monkeypatch.undo()
            monkeypatch.setattr(bulk_stream, "PART_LINES", 2)
            again = await service.bulk([line() for _ in range(6)], key="stream")
            assert again[:2] == answers[:2]
            assert await count(service) == 6

    asyncio.run(run())


def test_a_fault_in_an_earlier_part_is_told_from_its_first_line_on() -> None:
    async def told(fault: Exception, *, body_breaks: bool) -> Any:
        answered: list[bytes] = []
        written: list[Any] = []

        async def send(message: Any) -> None:
            answered.append(message.get("body", b""))

        async def body() -> Any:
            yield [b"1", b"2"]
            yield [b"3", b"4"]
            if body_breaks:
                raise FormatError("the body broke off")
            yield [b"5", b"6"]

        async def write(task: Any) -> Answer:
            written.append(task)
            if len(written) == 2:
                raise fault
            return Answer(200, b"")

        async def kept(_: Any) -> bytes:
            return b""

        async def make(place: Any, _first: int, _lines: Any) -> Any:
            return place

        client = make_client("office", MARKETS, rights=Right, keys=[Ed25519Signer.generate().public_key])
        stream = BulkStream(client, "key", b"", write, kept, lambda: False)
        working = asyncio.ensure_future(stream.work(body(), make, lambda _: b""))
        with suppress(KeyError):
            await LinesResponse(stream.answers(), working, seconds=5)({}, kept, send)  # type: ignore[arg-type]
        (last,) = [json.loads(each) for each in answered if each]
        return last

    async def run() -> None:
        for fault, code in ((KeyError("a bug"), "fault"), (DatabaseError("full"), "storage")):
            for body_breaks in (True, False):
                last = await told(fault, body_breaks=body_breaks)
                assert (last["line"], last["ends"], last["problem"]["code"]) == (3, True, code)

    asyncio.run(run())


def test_a_stream_ends_with_who_asked_for_it_even_before_the_first_line(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            streams = service.application.state.service.streams
            scope = {
                "type": "http",
                "method": "POST",
                "path": "/licences/bulk",
                "raw_path": b"/licences/bulk",
                "query_string": b"",
                "headers": [
                    (name.lower().encode(), value.encode())
                    for name, value in {
                        "Content-Type": MEDIA_TYPE,
                        "Idempotency-Key": "gone",
                        **service.token("office"),
                    }.items()
                ],
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "state": {},
                "http_version": "1.1",
                "root_path": "",
                "scheme": "http",
            }

            async def receive() -> dict[str, Any]:
                await asyncio.Event().wait()
                raise AssertionError

            held: list[int] = []

            async def send(_: Any) -> None:
                held.append(streams.held)
                raise OSError("the client left")

            with suppress(OSError):
                await service.application(scope, receive, send)
            await asyncio.sleep(0)
            assert held[0] == 1
            assert streams.held == 0

    asyncio.run(run())


def test_more_lines_than_one_request_may_have_are_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_stream, "PART_LINES", 4)
    monkeypatch.setattr(bulk_stream, "MAX_LINES", 6)

    async def run() -> None:
        async with serving(world) as service:
            answers = await service.bulk([line() for _ in range(9)])
            assert [(each["line"], each["status"]) for each in answers] == [
                *((number, 201) for number in range(1, 7)),
                (7, 413),
            ]
            assert [each["status"] for each in await service.bulk([line() for _ in range(6)])] == [201] * 6

    asyncio.run(run())


def test_a_client_that_does_not_read_keeps_nothing_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_stream, "PART_LINES", 2)

    async def run() -> None:
        async with serving(world) as service:
            body = b"\n".join(line() for _ in range(12))
            parts: list[bytes] = [body[start : start + 500] for start in range(0, len(body), 500)]
            reads, all_read = 0, asyncio.Event()
            answered = b""

            async def receive() -> dict[str, Any]:
                nonlocal reads
                reads += 1
                if reads == len(parts):
                    all_read.set()
                return {"type": "http.request", "body": parts[reads - 1], "more_body": reads < len(parts)}

            async def send(message: Any) -> None:
                nonlocal answered
                await all_read.wait()  # it sends its whole body before it looks at any answer
                answered += message.get("body", b"")

            headers = {"content-type": MEDIA_TYPE, "idempotency-key": "stream", **service.token("office")}
            scope = {
                "type": "http",
                "method": "POST",
                "path": "/licences/bulk",
                "raw_path": b"/licences/bulk",
                "query_string": b"",
                "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "state": {},
                "http_version": "1.1",
                "root_path": "",
                "scheme": "http",
            }
            await asyncio.wait_for(service.application(scope, receive, send), 60)
            assert [json.loads(each)["status"] for each in answered.splitlines()] == [201] * 12

    asyncio.run(run())


def test_one_client_has_a_third_of_the_streams(world: World) -> None:
    async def run() -> None:
        async with serving(world, streams=3) as service:
            ending = asyncio.Event()

            async def wait_forever(*_: Any) -> Any:
                await ending.wait()
                return {"type": "http.disconnect"}

            token = service.token("office")
            scope_headers = {"Content-Type": MEDIA_TYPE, "Idempotency-Key": "slow", **token}
            slow = asyncio.ensure_future(
                ask(service.application, "POST", "/licences/bulk", headers=scope_headers, body=[b"{}", None])
            )
            while service.application.state.service.streams.held == 0:
                await asyncio.sleep(0)
            refused = await service.post("/licences/bulk", line(), media_type=MEDIA_TYPE)
            assert (refused.status, refused.json()["code"]) == (429, "back_pressure")
            assert "retry-after" in refused.headers
            other = service.add_client("other")
            assert (await service.bulk([line()], client=other))[0]["status"] == 201
            slow.cancel()
            await asyncio.wait({slow})
            while service.application.state.service.streams.held:
                await asyncio.sleep(0)
            assert (await service.bulk([line()]))[0]["status"] == 201

    asyncio.run(run())


def test_a_full_queue_turns_a_single_request_away_and_lets_a_stream_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_stream, "_TRY_AGAIN_EVERY", 0)

    async def run() -> None:
        async with serving(world) as service:
            submit = service.running.queue.submit
            full = [True, True, True]

            def sometimes_full(task: Any) -> Any:
                if full:
                    full.pop()
                    raise BackpressureError("4,000 licences wait", retry_after=1)
                return submit(task)

            monkeypatch.setattr(service.running.queue, "submit", sometimes_full)
            refused = await service.post("/licences", food())
            assert (refused.status, refused.headers["retry-after"]) == (429, "1")
            assert (await service.bulk([line()]))[0]["status"] == 201

    asyncio.run(run())


def test_another_media_type_or_a_missing_key_is_refused(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            assert (await service.post("/licences/bulk", line())).status == 415
            assert (await service.post("/licences/bulk", line(), key=None, media_type=MEDIA_TYPE)).status == 400
            assert (await service.post("/licences", food(), key=None)).json()["code"] == "malformed"

    asyncio.run(run())


@pytest.mark.both_databases
def test_many_are_revoked_at_once_each_judged_by_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_stream, "PART_LINES", 3)
    monkeypatch.setattr(service_writing, "_RETRY_AFTER", 5)

    async def run() -> None:
        async with serving(world) as service:
            numbers = [each["number"] for each in await service.bulk([line() for _ in range(7)])]
            old = numbers[0]
            new = (await service.post(f"/licences/{old}/change", {"fields": {"seats": 1}})).json()["number"]
            await service.post(f"/licences/{numbers[1]}/close")
            wanted = [old, new, *numbers[1:4], "none", numbers[3], *numbers[4:]]
            body = {"numbers": wanted, "reason": "one reason for all"}
            answer = await service.post("/licences/revoke", body, key="revoke")
            told = [json.loads(each) for each in answer.body.splitlines()]
            assert [each["number"] for each in told] == wanted
            statuses = [each["status"] for each in told]
            assert statuses == [409, 200, 409, 200, 200, 404, 409, 200, 200, 200]
            for number in (new, *numbers[2:]):
                status = (await service.get(f"/licences/{number}/status")).json()
                assert (status["state"], status["credentials"][0]["status"]) == ("revoked", "invalid")
            assert (await service.get(f"/licences/{numbers[1]}/status")).json()["state"] == "closed"
            again = await service.post("/licences/revoke", body, key="revoke")
            assert again.body == answer.body
            other = await service.post("/licences/revoke", {"numbers": wanted}, key="revoke")
            assert json.loads(other.body)["problem"]["code"] == "key_reused"

    asyncio.run(run())


def test_a_bulk_revocation_does_what_single_ones_do(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            reasons = {"effective_from": "2026-11-21T00:00:00Z", "reason": "r"}
            numbers = [each["number"] for each in await service.bulk([line() for _ in range(4)])]
            await service.post(f"/licences/{numbers[0]}/suspend", {"effective_from": "2026-11-10"})
            await service.post(f"/licences/{numbers[1]}/suspend", {"effective_from": "2026-11-21T12:00:00Z"})
            single = await service.post(f"/licences/{numbers[2]}/revoke", reasons)
            many = await service.post("/licences/revoke", {"numbers": [*numbers[:2], numbers[3]], **reasons})
            assert single.json()["state"] == "revoked"
            assert [json.loads(each)["state"] for each in many.body.splitlines()] == ["revoked"] * 3
            histories = [(await service.get(f"/licences/{each}/history")).json()["acts"][-1] for each in numbers[2:]]
            assert histories[0] == histories[1]
            early = await service.post("/licences/revoke", {"numbers": numbers, "effective_from": "2026-10-01"})
            assert {json.loads(each)["status"] for each in early.body.splitlines()} == {409}
            wrong = await service.post("/licences/revoke", {"numbers": numbers[:1], "effective_from": "nevertheless"})
            assert json.loads(wrong.body)["status"] == 400

    asyncio.run(run())


@pytest.mark.parametrize(
    "body",
    [{}, {"numbers": []}, {"numbers": [1]}, {"numbers": [""]}, {"numbers": ["1"], "why": "x"}, {"numbers": "1"}],
)
def test_a_list_of_another_form_is_refused(body: dict[str, Any]) -> None:
    from chopmark_issuer.service.api_requests import read_revocation

    with pytest.raises(FormatError):
        read_revocation(json.dumps(body).encode())


def test_a_list_without_end_is_refused_before_it_becomes_objects() -> None:
    from chopmark.errors import LimitError
    from chopmark_issuer.service.api_requests import read_revocation

    for numbers in (b"1," * 500_000, b'"1",' * 100_001):
        with pytest.raises(LimitError, match="more than 100,000"):
            read_revocation(b'{"numbers":[' + numbers + b'"1"]}')


_LINES = st.lists(
    st.one_of(
        st.just(line()), st.just(line(fields={})), st.binary(max_size=20).map(lambda data: data.replace(b"\n", b" "))
    ),
    max_size=12,
)


def test_whatever_the_lines_are_each_gets_one_answer_and_the_same_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_stream, "PART_LINES", 3)

    async def run() -> None:
        async with serving(world, streams=100) as service:

            async def check(lines: list[bytes], cut: int) -> None:
                key = service.new_key()
                body = b"".join(each + b"\n" for each in lines)
                first = await service.post("/licences/bulk", [body[:cut], body[cut:]], key=key, media_type=MEDIA_TYPE)
                told = [json.loads(each) for each in first.body.splitlines()]
                lines = [each for each in lines if each not in {b"", b"\r"}]
                assert [each["line"] for each in told] == list(range(1, len(lines) + 1))
                for sent, answered in zip(lines, told, strict=True):
                    assert (answered["status"] == 201) == (sent == line())
                again = await service.post("/licences/bulk", body, key=key, media_type=MEDIA_TYPE)
                assert again.body == first.body

            loop = asyncio.get_running_loop()

            @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
            @given(_LINES, st.integers(0, 300))
            def examples(lines: list[bytes], cut: int) -> None:
                asyncio.run_coroutine_threadsafe(check(lines, cut), loop).result(30)

            await loop.run_in_executor(None, examples)

    asyncio.run(run())


def test_rights_are_checked_before_any_line_is_read(world: World) -> None:
    async def run() -> None:
        async with serving(world) as service:
            reader = service.add_client("reader", rights=(Right.READ,))
            answer = await service.post("/licences/bulk", line(), client=reader, media_type=MEDIA_TYPE)
            assert (answer.status, answer.json()["code"]) == (403, "forbidden")

    asyncio.run(run())


def test_a_service_that_is_about_to_stop_ends_a_stream_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_stream, "PART_LINES", 2)

    async def run() -> None:
        async with serving(world) as service:
            issuer_service = service.application.state.service
            make = service_writing._issue_task

            def stop_in_the_second(*arguments: Any) -> Any:
                if arguments[2] == 3:
                    issuer_service.stopping.set()
                return make(*arguments)

            monkeypatch.setattr(service_writing, "_issue_task", stop_in_the_second)
            answers = await service.bulk([line() for _ in range(8)], key="stream")
            assert [each["status"] for each in answers] == [201] * 4 + [503]
            assert (answers[-1]["line"], answers[-1]["problem"]["code"]) == (5, "stopping")
            ready = await service.get("/readyz", client=None)
            assert (ready.status, ready.json()["reasons"]) == (503, ["stopping"])
            issuer_service.stopping.clear()
            monkeypatch.setattr(service_writing, "_issue_task", make)
            assert [each["status"] for each in await service.bulk([line() for _ in range(8)], key="stream")] == [
                201
            ] * 8

    asyncio.run(run())
