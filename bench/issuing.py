"""Bulk issue from request to log: validate, sign, register, outbox, logged; beside it `openvc-core`, which signs alone.

The signing process, the log and its two witnesses are the real commands. The issuer, which is this process, takes the
licences in chunks, as a stream of requests brings them, and another process empties its outbox. The clock runs from the
first request until the log has answered the last entry.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from chopmark.licence_type import LocalisedText
from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.licences.bulk_issue import issue_all
from chopmark_issuer.licences.requests import IssuedVersion, IssueRequest
from chopmark_issuer.publishing.region_log import LogService, client_name
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.service.service import rarely_collected
from chopmark_issuer.settings import KEY_SOCKET, Settings
from chopmark_issuer.storage.models import OUTBOX
from chopmark_ledger.service.log_clients import add_client, make_client
from sqlalchemy import func, select

from bench.large_log import LargeLog
from bench.peer_process import PeerProcess
from bench.report import Group, Table, answer
from bench.rounds import Contender, alternate
from bench.service_process import ServiceProcess

TYPE = Path(__file__).parents[1] / "examples" / "types" / "food-business.json"
DEPARTMENT = "CN-GD/11440000MB2D0P8Q30"
NAME = LocalisedText("示例市场监督管理局", "Sample market regulator")
CHUNK = 1_000
LICENCES = 25_000
ROUNDS = 3
REACH = 5_000
PEER_ROUND = 500
_LOOK_EVERY = 0.02
"""Seconds: a sender that looks more often would take the time of those that issue."""


def measure(folder: Path) -> Group:
    """Measure the rate of bulk issue, and that of the peer."""
    group = Group("Bulk issue")
    table = Table(("what", "median", "reach", "reached"))
    with _running_region(folder / "bulk-issue") as running, PeerProcess("openvc_issuing_peer", _material()) as peer:
        issued, signed = alternate(
            [Contender("issue", running.round), Contender("peer", peer.round(PEER_ROUND))], rounds=ROUNDS
        )
        title = peer.title()
    rate = 1 / issued.median
    table.add(
        "bulk issue: validate, sign, register, outbox, logged; durable, two processors",
        f"{rate:,.0f} licences/s",
        f"≥ {REACH:,} /s",
        answer(rate >= REACH),
    )
    table.add(
        "`openvc-core`: sign an SD-JWT VC of the same claims, alone", f"{1 / signed.median:,.0f} licences/s", "", ""
    )
    group.add(table)
    group.add(
        f"A round issues {LICENCES:,} food business licences, each of another business, in transactions of {CHUNK:,} "
        "on SQLite; it ends when the log has answered an index for the last one, each step durable before the next "
        "relies on it. The signing process, the log and its two witnesses run by their commands, and the outbox is "
        "emptied by a process of its own, all on the same two processors as the issuer."
    )
    group.add(f"`openvc-core` ({title}) stores and logs nothing, and signs in its own process.")
    return group


@dataclass(slots=True)
class RunningRegion:
    """A region whose keys and log are processes of their own."""

    region: Region
    issued: int = 0

    def round(self) -> float:
        """Issue licences until the log has them all; answers the seconds that one took."""
        chunks = [food_requests(self.issued + start, CHUNK) for start in range(0, LICENCES, CHUNK)]
        self.issued += LICENCES
        gc.freeze()  # a stream holds one chunk; those that wait here are no work for the collector
        with self._sender():
            started = time.perf_counter()
            for chunk in chunks:
                self.issue(chunk)
            self._wait()
            return (time.perf_counter() - started) / LICENCES

    def issue(self, requests: Sequence[IssueRequest]) -> None:
        """Issue one chunk, in a transaction of its own."""
        region = self.region
        actor = region.actor(DEPARTMENT)
        with region.database.writing() as connection:
            outcomes = issue_all(connection, region.keys, actor, requests, at=region.clock(), random=os.urandom)
        if not all(isinstance(outcome, IssuedVersion) for outcome in outcomes):
            raise AssertionError(next(outcome for outcome in outcomes if not isinstance(outcome, IssuedVersion)))

    @contextlib.contextmanager
    def _sender(self) -> Iterator[None]:
        context = multiprocessing.get_context("spawn")
        ready, stop = context.Event(), context.Event()
        sender = context.Process(target=send_until, args=(self.region.settings, ready, stop))
        sender.start()
        ready.wait()
        try:
            yield
        finally:
            stop.set()
            sender.join()

    def _wait(self) -> None:
        last = select(OUTBOX.c.log_index).order_by(OUTBOX.c.id.desc()).limit(1)  # they are sent in this order
        while True:
            with self.region.database.reading() as connection:
                if connection.execute(last).scalar_one() is not None:
                    break
            time.sleep(_LOOK_EVERY)
        with self.region.database.reading() as connection:
            missing = connection.execute(select(func.count()).where(OUTBOX.c.log_index.is_(None))).scalar_one()
        if missing:
            raise AssertionError(f"{missing} licences are not in the log")


def send_until(settings: Settings, ready: Event, stop: Event) -> None:
    """Send what waits in the outbox, again and again: the sender's process."""
    with Region.open(settings) as region:
        region.send()
        ready.set()
        while not stop.is_set():
            if not region.send():
                time.sleep(_LOOK_EVERY)


def food_requests(first: int, count: int) -> list[IssueRequest]:
    """Requests as a department's system makes them, each for another business."""
    return [
        IssueRequest(
            type_id="CN-GD/11100000MB99991003001",
            fields={
                "business_name": f"示例餐饮管理有限公司第{number}分店",
                "organisation_code": "91440000MA5EXAMPX3",
                "legal_representative": f"示例人{number % 1000}",
                "premises": f"示例省示例市示例区示例路{number}号一层",
                "business_kind": "餐饮服务经营者",
                "items": ["热食类食品制售", "冷食类食品制售", "自制饮品制售"],
                "issue_date": date(2026, 11, 22),
                "conditions": "不得经营裱花蛋糕",
            },
            holders=(Holder(f"示例餐饮管理有限公司第{number}分店"),),
            first_day=date(2026, 11, 22),
            last_day=date(2031, 11, 21),
        )
        for number in range(first, first + count)
    ]


@contextlib.contextmanager
def _running_region(folder: Path) -> Iterator[RunningRegion]:
    large = LargeLog.make(folder)
    data = folder / "region"
    data.mkdir(mode=0o700)
    secret = ["--passphrase-file", str(folder / "passphrase")]
    with contextlib.ExitStack() as stack:

        def start(name: str, *arguments: str) -> str:
            return stack.enter_context(ServiceProcess([*arguments, *secret], folder / f"{name}.stderr"))

        urls = [
            start(f"witness-{number}", "witness", "serve", "--data", str(folder / f"witness-{number}"), "--port", "0")
            for number in range(2)
        ]
        (folder / "policy").write_text(large.policy((urls[0], urls[1])))
        log = start("log", "log", "serve", "--data", str(large.data), "--policy", str(folder / "policy"), "--port", "0")
        start("keys", "keys", "serve", "--data", str(data))
        service = LogService(log, (large.vkey, large.pq_vkey), (folder / "policy").read_text())
        settings = Settings(data, b"", key_socket=data / KEY_SOCKET)
        region = stack.enter_context(Region.create(settings, RegionPlan("CN-GD", NAME, log_service=service)))
        key = region.log_client_key
        if key is None:
            raise AssertionError("the log is not served")
        add_client(large.data, make_client(client_name("CN-GD", key), [key], (), "CN-GD"))
        region.add_department(DEPARTMENT, NAME)
        region.add_type(TYPE.read_bytes())
        region.grant(DEPARTMENT, "CN-GD/11100000MB99991003001")
        stack.enter_context(rarely_collected())  # as in the service
        yield RunningRegion(region)


def _material() -> dict[str, Any]:
    """The claims of the first licence, as an SD-JWT VC has them."""
    (request,) = food_requests(0, 1)
    fields = {name: str(value) if isinstance(value, date) else value for name, value in request.fields.items()}
    return {"claims": {"iss": f"https://{DEPARTMENT}", **fields}, "vct": request.type_id}
