"""The verifier over HTTP: verdicts on texts beside an empty authenticated POST of the same server, and pictures."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chopmark import qr_text
from chopmark.keys import Ed25519Signer
from chopmark.qr_drawing import draw
from chopmark_service.authentication import make_token
from chopmark_service.json_web_key import to_jwk
from chopmark_verifier.clients import FORMAT
from chopmark_verifier.service import audience_of

from bench.report import MILLI, Group, Table, answer
from bench.rounds import Contender, Series, alternate
from bench.service_process import post, send_all
from specs.vectors.sample_world import DAY, INSPECTOR, NOW, make_world

CLIENTS, REQUESTS = 64, 30
REACH = 0.4
ROUNDS = 5
READERS, PICTURES = 4, 25
CLIENT = "bench"
_START_WITHIN = 60
"""Seconds."""


@dataclass(frozen=True)
class Requests:
    """Makes requests to the verifier, each with a token of its own where it has one."""

    key: Ed25519Signer
    text: str
    ahead: float
    """Seconds by which the clock of the service is ahead: the world of the samples stands at its own moment."""

    def verify(self) -> bytes:
        """A request for a verdict, by a client."""
        return post("/verify", self._body(), token=self._token())

    def verify_openly(self) -> bytes:
        """A request for a verdict, by a stranger."""
        return post("/verify", self._body())

    def empty(self) -> bytes:
        """An authenticated request that asks for nothing."""
        return post("/authentication", b"", token=self._token())

    def picture(self) -> bytes:
        """A request for a verdict on a picture."""
        return post("/verify", draw(self.text).png(), content_type="image/png")

    def _body(self) -> bytes:
        return json.dumps({"text": self.text}).encode()

    def _token(self) -> str:
        now = time.time() + self.ahead
        return make_token(self.key, name=CLIENT, audience=audience_of(INSPECTOR), now=now, lifetime=300)


def measure(folder: Path) -> Group:
    """Measure the service over the sample world, in `folder`."""
    group = Group("The verifier over HTTP")
    folder.mkdir(parents=True)
    world = make_world(filler=1000)
    (credential,) = world.logged(world.issue(world.claims("food")))
    world.store(folder / "trust").put_root("CN-SH", world.home.root_epoch, now=NOW)
    key = Ed25519Signer.generate()
    listed = [{"name": CLIENT, "keys": [to_jwk(key.public_key)]}]
    (folder / "clients.json").write_text(json.dumps({"format": FORMAT, "clients": listed}))
    table = Table(("what", "median", "against", "ratio", "reach", "reached"))
    log = folder / "stderr"
    with log.open("wb") as stderr:
        command = [sys.executable, "-m", "tests.verifier.served_verifier", str(folder), "0"]
        process = subprocess.Popen(command, stderr=stderr)
    try:
        url = _listening(process, log)
        ahead = NOW + 1 - time.time()
        requests = Requests(key, qr_text.encode(credential.encode()), ahead)
        _texts(table, url, requests)
        _pictures(table, url, requests)
    finally:
        process.terminate()
        process.wait(_START_WITHIN)
    group.add(table)
    group.add(
        f"One worker on the same two cores as its {CLIENTS} clients; the service is the real one but for its clock, "
        f"which stands at the moment of the sample world (a status list of an hour, a landmark path of ten hashes, "
        f"{DAY // 3600} h of bundle). Each authenticated request has a signed token of its own, and the empty POST has "
        "the same token checked and does nothing. A stranger's request has none. A picture is a PNG of the code alone, "
        "read by one process under the limits that a picture of a stranger has."
    )
    return group


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + _START_WITHIN
    while True:
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                url: str = json.loads(line)["url"]
                return url
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the service did not start: {log.read_text()}")
        time.sleep(0.01)


def _texts(table: Table, url: str, requests: Requests) -> None:
    slowest: dict[str, list[float]] = {"verify": [], "openly": [], "empty": []}

    def run(name: str, make: Callable[[], bytes], expected: int) -> Callable[[], float]:
        def one() -> float:
            conversations = [[make() for _ in range(REQUESTS)] for _ in range(CLIENTS)]
            seconds, taken = send_all(url, conversations, expected=expected)
            slowest[name].append(taken.samples[int(len(taken.samples) * 0.99)])
            return seconds / (CLIENTS * REQUESTS)

        return one

    verify, openly, empty = alternate(
        [
            Contender("verify", run("verify", requests.verify, 200)),
            Contender("openly", run("openly", requests.verify_openly, 200)),
            Contender("empty", run("empty", requests.empty, 204)),
        ],
        rounds=ROUNDS,
    )
    worst = {name: Series(tuple(times[1:])).median * MILLI for name, times in slowest.items()}
    against = f"an empty authenticated POST: {1 / empty.median:,.0f} requests/s, p99 {worst['empty']:.0f} ms"
    share = _rates(verify).ratio(_rates(empty))
    table.add(
        f"`POST /verify` with text, {CLIENTS} clients",
        f"{1 / verify.median:,.0f} requests/s, p99 {worst['verify']:.0f} ms",
        against,
        f"{share:.2f} ×",
        f"≥ {REACH} ×",
        answer(share >= REACH),
    )
    table.add(
        "the same by strangers, without tokens",
        f"{1 / openly.median:,.0f} requests/s, p99 {worst['openly']:.0f} ms",
        against,
        f"{_rates(openly).ratio(_rates(empty)):.2f} ×",
        "",
        "",
    )


def _rates(seconds: Series) -> Series:
    return Series(tuple(1 / each for each in seconds.samples))


def _pictures(table: Table, url: str, requests: Requests) -> None:
    conversations = [[requests.picture()] * PICTURES for _ in range(READERS)]
    seconds, taken = send_all(url, conversations, expected=200)
    table.add(
        f"`POST /verify` with a picture, {READERS} clients",
        f"{READERS * PICTURES / seconds:,.0f} requests/s, p99 "
        f"{taken.samples[int(len(taken.samples) * 0.99)] * MILLI:.0f} ms",
        "",
        "",
        "",
        "",
    )
