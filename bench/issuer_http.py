"""The registry over HTTP: single licences beside an empty authenticated POST, look-ups in a large registry, and a bulk
revocation until its status lists are published."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from chopmark.key_file import ScryptCost
from chopmark.keys import Ed25519Signer
from chopmark.licence_type import LocalisedText
from chopmark.status import StatusListToken
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.service.clients import Right, add_client, make_client
from chopmark_issuer.settings import Settings
from chopmark_issuer.storage.models import ACT, CREDENTIAL, HOLDER, LICENCE, LICENCE_VERSION, OUTBOX, STATUS_LIST
from chopmark_ledger.client import init_witness
from chopmark_service.authentication import make_token
from sqlalchemy import Connection, func, insert, select, text

from bench.report import MILLI, Group, Table, answer
from bench.rounds import Contender, Series, alternate
from bench.service_process import ServiceProcess, send_all

CLIENTS, REQUESTS = 64, 20
SINGLE_REACH = 0.4
ROUNDS = 5
LICENCES = 1_000_000
LOOKUPS = 2_000
LOOKUP_REACH = 0.010
REVOKED = 100_000
REVOKE_REACH = 60
PASSPHRASE = b"a passphrase of this bench"
CHEAP = ScryptCost(n=2**10)
REGION = "US-IL"
DEPARTMENT = "US-IL/SPRINGFIELD-1"
TYPE = "US-IL/stall-permit"
CLIENT = "bench"
_TYPE_FILE = {
    "format": "chopmark/licence-type/v1",
    "id": TYPE,
    "schema": 1,
    "name": {"zh-Hans": "摊位许可证", "en": "Stall permit"},
    "fields": [
        {
            "id": 1,
            "name": "business_name",
            "label": {"zh-Hans": "名称", "en": "Business"},
            "kind": "text",
            "disclosure": "always",
            "required": True,
            "restricts": False,
        }
    ],
    "holder": "bearer",
    "freshness": "trade",
    "zone": "America/Chicago",
    "challenge": False,
    "numbering": "none",
    "status": True,
}


class Requests:
    """Makes requests to the registry, each with a token of its own, and each that writes with a key of its own."""

    def __init__(self) -> None:
        self.key = Ed25519Signer.generate()
        self._made = 0

    def licence(self) -> bytes:
        """A new licence."""
        self._made += 1
        return self._request("POST", "/licences", self.body(f"HTTP {self._made}"))

    def empty(self) -> bytes:
        """An authenticated request that asks for nothing."""
        return self._request("POST", "/authentication", b"")

    def lookup(self, number: str) -> bytes:
        """A search by number."""
        return self._request("GET", f"/licences/{number}", b"")

    def headers(self) -> dict[str, str]:
        """The headers of a request that writes."""
        self._made += 1
        token = make_token(self.key, name=CLIENT, audience=REGION, now=time.time())
        return {
            "Content-Type": "application/json",
            "Idempotency-Key": f"key-{self._made}",
            "Authorization": f"Bearer {token}",
        }

    @staticmethod
    def body(number: str) -> bytes:
        """The body of a request for a licence."""
        document = {
            "type": TYPE,
            "fields": {"business_name": "Example Foods"},
            "holders": [{"name": "Example Foods"}],
            "first_day": "2026-01-01",
            "last_day": "2036-12-31",
            "number": number,
        }
        return json.dumps(document).encode()

    def _request(self, method: str, path: str, body: bytes) -> bytes:
        headers = {"Host": "localhost", "Content-Length": str(len(body)), **self.headers()}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body


def measure(folder: Path) -> Group:
    """Measure the service of a registry of a million licences."""
    group = Group("The registry over HTTP")
    table = Table(("what", "median", "against", "ratio", "reach", "reached"))
    data = folder / "issuer-http"
    requests = Requests()
    _make_region(folder, data, requests)
    (folder / "passphrase").write_bytes(PASSPHRASE + b"\n")
    options = ["--data", str(data), "--port", "0", "--passphrase-file", str(folder / "passphrase")]
    with ServiceProcess(["issuer", "serve", *options], folder / "issuer.stderr") as url:
        _single(table, url, requests)
    _fill(data)
    with ServiceProcess(["issuer", "serve", *options], folder / "issuer.stderr") as url:
        _lookups(table, url, requests)
        _revoke(table, url, requests, data / "public" / "status" / "2")
    group.add(table)
    group.add(
        "The service is its real command, on the same two cores as its clients; its log runs in its own process, with "
        f"one witness. Single licences: {CLIENTS} clients, each request with a signed token of its own, answered once "
        "it is durable; the empty POST has the same token checked and does nothing. Look-ups: one after the other, of "
        f"licences drawn from {LICENCES:,}, most of them put there by SQL. Revocation: one request for {REVOKED:,} "
        "of them, from its first byte until the status list in the public folder shows it."
    )
    return group


def _make_region(folder: Path, data: Path, requests: Requests) -> None:
    witness = folder / "issuer-http-witness"
    init_witness(witness, name="us-ny.example/witness", passphrase=PASSPHRASE, cost=CHEAP)
    plan = RegionPlan(REGION, LocalisedText("示例", "Sample"), (witness,))
    with Region.create(Settings(data, PASSPHRASE, CHEAP), plan) as region:
        region.add_department(DEPARTMENT, LocalisedText("示例局", "Sample office"))
        region.add_type(json.dumps(_TYPE_FILE).encode())
        region.grant(DEPARTMENT, TYPE)
        client = make_client(CLIENT, DEPARTMENT, rights=Right, keys=[requests.key.public_key])
        with region.database.writing() as connection:
            add_client(connection, client, at=region.clock())
        region.publish()


def _single(table: Table, url: str, requests: Requests) -> None:
    slowest: dict[str, list[float]] = {"single": [], "empty": []}

    def run(name: str, make: Callable[[], bytes], expected: int) -> Callable[[], float]:
        def one() -> float:
            conversations = [[make() for _ in range(REQUESTS)] for _ in range(CLIENTS)]
            seconds, taken = send_all(url, conversations, expected=expected)
            slowest[name].append(taken.samples[int(len(taken.samples) * 0.99)])
            return seconds / (CLIENTS * REQUESTS)

        return one

    single, empty = alternate(
        [
            Contender("single", run("single", requests.licence, 201)),
            Contender("empty", run("empty", requests.empty, 204)),
        ],
        rounds=ROUNDS,
    )
    share = Series(tuple(1 / each for each in single.samples)).ratio(Series(tuple(1 / each for each in empty.samples)))
    worst = {name: Series(tuple(times[1:])).median * MILLI for name, times in slowest.items()}
    table.add(
        f"`POST /licences`, {CLIENTS} clients",
        f"{1 / single.median:,.0f} licences/s, p99 {worst['single']:.0f} ms",
        f"an empty authenticated POST: {1 / empty.median:,.0f} requests/s, p99 {worst['empty']:.0f} ms",
        f"{share:.2f} ×",
        f"≥ {SINGLE_REACH} ×",
        answer(share >= SINGLE_REACH),
    )


def _post(url: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=10 * REVOKE_REACH)
    connection.request("POST", path, body, headers)
    answered = connection.getresponse()
    content = answered.read()
    connection.close()
    if answered.status != HTTPStatus.OK:
        raise RuntimeError(f"{answered.status} {content[:300]!r}")
    return content


def _fill(data: Path) -> None:
    """Put licences into the registry until there are a million: the rows of one that was issued, renumbered."""
    with Region.open(Settings(data, PASSPHRASE, CHEAP)) as region, region.database.writing() as connection:
        there = connection.execute(select(func.count()).select_from(LICENCE)).scalar_one()
        _copy(connection, LICENCES - there)


def _copy(connection: Connection, count: int) -> None:
    """Copy the rows of the newest licence `count` times; none of the copies waits for the log."""
    list_ = connection.execute(select(STATUS_LIST)).mappings().one()
    connection.execute(
        insert(STATUS_LIST).values({**list_, "number": 2, "uri": f"{list_['uri'][:-1]}2", "used": REVOKED})
    )
    last = {
        table.name: int(connection.execute(select(func.max(table.c.id))).scalar_one())
        for table in (LICENCE, LICENCE_VERSION, CREDENTIAL, OUTBOX, ACT)
    }
    shown = {
        LICENCE.name: {"id": "{licence} + n", "identifier": "'COPY ' || n"},
        LICENCE_VERSION.name: {
            "id": "{licence_version} + n",
            "licence_id": "{licence} + n",
            "number": "'COPY-' || n",
        },
        HOLDER.name: {"version_id": "{licence_version} + n"},
        OUTBOX.name: {
            "id": "{outbox} + n",
            "entry": "randomblob(60)",
            "batch_number": "NULL",
            "position": "NULL",
            "log_index": "NULL",
            "refused": "NULL",
        },
        CREDENTIAL.name: {
            "id": "{credential} + n",
            "version_id": "{licence_version} + n",
            "digest": "randomblob(32)",
            "status_index": f"CASE WHEN n <= {REVOKED} THEN n END",
            "status_list": f"CASE WHEN n <= {REVOKED} THEN 2 END",
            "outbox_id": "{outbox} + n",
        },
        ACT.name: {"id": "{act} + n", "licence_id": "{licence} + n"},
    }
    counting = f"WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {count})"
    for table in (LICENCE, LICENCE_VERSION, HOLDER, OUTBOX, CREDENTIAL, ACT):
        changed = {name: value.format(**last) for name, value in shown[table.name].items()}
        columns = [f'"{column.name}"' for column in table.columns]
        values = [changed.get(column.name, f'"{column.name}"') for column in table.columns]
        key = "version_id" if table is HOLDER else "id"
        newest = last[LICENCE_VERSION.name] if table is HOLDER else last[table.name]
        connection.execute(
            text(
                f"INSERT INTO {table.name} ({', '.join(columns)}) {counting} "
                f"SELECT {', '.join(values)} FROM {table.name}, counted WHERE {table.name}.{key} = {newest}"
            )
        )
    connection.execute(
        text(
            "UPDATE outbox SET batch_number = (SELECT max(number) FROM outbox_batch), "
            f"position = id, log_index = id WHERE id > {last[OUTBOX.name]}"
        )
    )


def _lookups(table: Table, url: str, requests: Requests) -> None:
    step = LICENCES // (2 * LOOKUPS)
    wanted = [requests.lookup(f"COPY-{1 + number * step}") for number in range(LOOKUPS)]
    _, taken = send_all(url, [wanted], expected=200)
    p99 = taken.samples[int(len(taken.samples) * 0.99)]
    table.add(
        f"`GET /licences/{{number}}` of {LICENCES:,}",
        f"{taken.median * MILLI:.1f} ms, p99 {p99 * MILLI:.1f} ms",
        "",
        "",
        f"p99 ≤ {LOOKUP_REACH * MILLI:.0f} ms",
        answer(p99 <= LOOKUP_REACH),
    )


def _revoke(table: Table, url: str, requests: Requests, published: Path) -> None:
    numbers = [f"COPY-{number}" for number in range(1, REVOKED + 1)]
    body = json.dumps({"numbers": numbers, "reason": "the bench"}).encode()
    began = time.monotonic()
    answered_lines = _post(url, "/licences/revoke", body, requests.headers())
    if answered_lines.count(b'"state":"revoked"') != REVOKED:
        raise RuntimeError(f"not all were revoked: {answered_lines[:300]!r}")
    answered = time.monotonic() - began
    while True:
        if published.exists() and StatusListToken.parse(published.read_bytes()).status_list.get(REVOKED):
            break
        if time.monotonic() - began > 10 * REVOKE_REACH:
            raise RuntimeError("the status list is not published")
        time.sleep(0.05)
    seconds = time.monotonic() - began
    table.add(
        f"`POST /licences/revoke` of {REVOKED:,}, until the status list shows it",
        f"{seconds:.1f} s, answered after {answered:.1f} s",
        "",
        "",
        f"≤ {REVOKE_REACH} s",
        answer(seconds <= REVOKE_REACH),
    )
