"""The ledger's services over HTTP: batches, single entries beside an empty authenticated POST, and a witness."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from chopmark import merkle
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.keys import Ed25519Signer
from chopmark.note import NoteSigner
from chopmark.strict import base64_encode
from chopmark_ledger.service.entry_requests import encode_request
from chopmark_ledger.service.log_clients import add_client, make_client
from chopmark_service.authentication import make_token

from bench.large_log import ISSUER, ORIGIN, SIZE, WITNESSES, LargeLog, entries
from bench.report import MILLI, Group, Table, answer
from bench.rounds import Contender, Series, alternate
from bench.service_process import ServiceProcess, post, send_all

BATCH, BATCHES, SENDERS = 1_000, 40, 4
HTTP_REACH = 25_000
CLIENTS, REQUESTS = 64, 20
SINGLE_REACH = 0.4
ROUNDS = 5
LOGS, CHECKPOINTS = 8, 250
WITNESS_REACH = 500
CLIENT = "bench"


class Requests:
    """Makes requests to the log, each with a token of its own and each batch with a number of its own."""

    def __init__(self, first: int) -> None:
        self.key = Ed25519Signer.generate()
        self._next = first

    def entries(self, count: int) -> bytes:
        """A batch of new entries."""
        self._next += 1
        return post("/entries", encode_request(self._next, entries(self._next, count)), token=self._token())

    def empty(self) -> bytes:
        """An authenticated request that asks for nothing."""
        return post("/authentication", b"", token=self._token())

    def _token(self) -> str:
        return make_token(self.key, name=CLIENT, audience=ORIGIN, now=time.time())


def measure(large: LargeLog) -> Group:
    """Measure the services of a log of a million entries, and of its witnesses."""
    group = Group("The ledger over HTTP")
    large.grow(SIZE)
    requests = Requests(10**9)
    add_client(large.data, make_client(CLIENT, [requests.key.public_key], [ISSUER], None))
    table = Table(("what", "median", "against", "ratio", "reach", "reached"))
    folder = large.folder
    with _witness(large, 0) as first, _witness(large, 1) as second:
        (folder / "policy").write_text(large.policy((first, second)))
        options = ["--data", str(large.data), "--policy", str(folder / "policy"), "--port", "0"]
        secret = ["--passphrase-file", str(folder / "passphrase"), "--max-unpublished", str(10**9)]
        with ServiceProcess(["log", "serve", *options, *secret], folder / "log.stderr") as url:
            _batches(table, url, requests)
            _single(table, url, requests)
    _witnessing(table, folder)
    group.add(table)
    group.add(
        f"Each service is its real command, a process of its own on the same two cores as its clients. Batches: "
        f"{SENDERS} clients, each sends the next batch of {BATCH:,} when the last one is answered, which is after its "
        f"commit; publication runs, with two witnesses over HTTP. Single entries: {CLIENTS} clients, each request with "
        "a signed token of its own; the empty POST has the same token checked and does nothing. Witness: checkpoints "
        "with consistency proofs, each cosigned with Ed25519 and ML-DSA-44 once the state is on the disk. A single log "
        "sends each once the one before is answered, so its row shows how long one takes, not what a witness can do."
    )
    return group


def _witness(large: LargeLog, number: int) -> ServiceProcess:
    folder = large.folder / f"witness-{number}"
    options = ["--data", str(folder), "--name", WITNESSES[number], "--port", "0"]
    secret = ["--passphrase-file", str(large.folder / "passphrase")]
    return ServiceProcess(["witness", "serve", *options, *secret], large.folder / f"witness-{number}.stderr")


def _batches(table: Table, url: str, requests: Requests) -> None:
    def run() -> float:
        conversations = [[requests.entries(BATCH) for _ in range(BATCHES // SENDERS)] for _ in range(SENDERS)]
        seconds, _ = send_all(url, conversations, expected=200)
        return seconds / (BATCH * BATCHES)

    (ours,) = alternate([Contender("batches", run)], rounds=ROUNDS)
    rate = 1 / ours.median
    table.add(
        f"`POST /entries`, batches of {BATCH:,}",
        f"{rate:,.0f} entries/s",
        "",
        "",
        f"≥ {HTTP_REACH:,} /s",
        answer(rate >= HTTP_REACH),
    )


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
            Contender("single", run("single", lambda: requests.entries(1), 200)),
            Contender("empty", run("empty", requests.empty, 204)),
        ],
        rounds=ROUNDS,
    )
    share = Series(tuple(1 / each for each in single.samples)).ratio(Series(tuple(1 / each for each in empty.samples)))
    worst = {name: Series(tuple(times[1:])).median * MILLI for name, times in slowest.items()}
    table.add(
        f"`POST /entries` of one entry, {CLIENTS} clients",
        f"{1 / single.median:,.0f} requests/s, p99 {worst['single']:.0f} ms",
        f"an empty authenticated POST: {1 / empty.median:,.0f} requests/s, p99 {worst['empty']:.0f} ms",
        f"{share:.2f} ×",
        f"≥ {SINGLE_REACH} ×",
        answer(share >= SINGLE_REACH),
    )


def _witnessing(table: Table, folder: Path) -> None:
    passphrase = folder / "passphrase"
    signers = [NoteSigner(f"log-{number}.example/log", Ed25519Signer.generate()) for number in range(LOGS)]
    for name, logs in (("one log", 1), (f"{LOGS} logs at once", LOGS)):
        place = folder / f"witness-of-{logs}"
        options = ["--data", str(place), "--name", "cn-sh.example/witness", "--port", "0"]
        named = [part for signer in signers[:logs] for part in ("--log", signer.vkey)]
        secret = ["--passphrase-file", str(passphrase)]
        service = ServiceProcess(["witness", "serve", *options, *named, *secret], folder / f"witness-of-{logs}.stderr")
        conversations = [_history(signer) for signer in signers[:logs]]
        with service as url:
            seconds, _ = send_all(url, [conversation[:10] for conversation in conversations], expected=200)
            seconds, taken = send_all(url, [conversation[10:] for conversation in conversations], expected=200)
        rate = len(taken.samples) / seconds
        table.add(
            f"witness, {name}",
            f"{rate:,.0f} checkpoints/s, p99 {taken.samples[int(len(taken.samples) * 0.99)] * MILLI:.1f} ms",
            "",
            "",
            f"≥ {WITNESS_REACH} /s" if logs > 1 else "",
            answer(rate >= WITNESS_REACH) if logs > 1 else "",
        )


def _history(signer: NoteSigner) -> list[bytes]:
    """Requests that lead a witness from nothing through ever larger checkpoints of a log."""
    step = 37
    rows = [[sha256(b"%d" % number).digest() for number in range(step * (CHECKPOINTS + 10))]]
    while len(rows[-1]) > 1:
        pairs = iter(rows[-1][: len(rows[-1]) & ~1])
        rows.append([merkle.node_hash(left, right) for left, right in zip(pairs, pairs, strict=True)])

    def read(nodes: list[tuple[int, int]]) -> list[bytes]:
        return [rows[level][index] for level, index in nodes]

    requests, old = [], 0
    for size in range(step, step * (CHECKPOINTS + 10) + 1, step):
        checkpoint = Checkpoint(signer.name, size, merkle.root(size, read))
        proof = merkle.consistency_proof(size1=old, size2=size, read=read) if old else []
        head = "\n".join([f"old {old}", *map(base64_encode, proof), "", ""]).encode()
        body = head + SignedCheckpoint.sign(checkpoint, [signer]).encode()
        requests.append(post("/add-checkpoint", body, content_type="text/plain"))
        old = size
    return requests
