"""A region under half of the load that it can bear: its memory and its open files stay what they are.

CHOPMARK_SOAK says for how many seconds; ten minutes tell what a few seconds cannot. `pytest -rP` shows the report.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import urllib3

from examples.serve.first_requests import path
from tests.tree.served_region import ServedRegion, served_region, until

SECONDS = float(os.environ.get("CHOPMARK_SOAK", "6"))
LONG = 300
"""From so many seconds on the second half has nothing in it that only fills once, such as the memory of tokens."""
SERVICES = ("keys", "witness", "log", "issuer", "verifier")
SENDERS = 4
MEASURED = 3.0
VERIFIED = 4
"""One licence in so many is verified too."""
MEMORY = 8 * 2**20 if SECONDS >= LONG else 48 * 2**20
FILES = 4
_MEBIBYTE = 2**20


@dataclass
class Load:
    """Clients that issue and verify, all they can or so many times a second."""

    region: ServedRegion
    credential: bytes
    rate: float | None = None
    issued: int = 0
    wrong: list[str] = field(default_factory=list)
    ends: bool = False
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def run(self, seconds: float) -> float:
        """Ask for so many seconds; answers how many licences were issued in each."""
        self.issued, self.ends = 0, False
        began = time.monotonic()
        threads = [threading.Thread(target=self._ask, args=(number, began)) for number in range(SENDERS)]
        for thread in threads:
            thread.start()
        threading.Event().wait(seconds)
        self.ends = True
        for thread in threads:
            thread.join()
        return self.issued / (time.monotonic() - began)

    def _ask(self, sender: int, began: float) -> None:
        number = 0
        while not self.ends and not self.wrong:
            number += 1
            if self.rate is not None:
                due = began + number * SENDERS / self.rate
                threading.Event().wait(max(0.0, due - time.monotonic()))
            try:
                self._ask_once(f"{began}-{sender}-{number}", verified=number % VERIFIED == 0)
            except (urllib3.exceptions.HTTPError, AssertionError) as error:
                self.wrong.append(f"{type(error).__name__}: {error}")

    def _ask_once(self, key: str, *, verified: bool) -> None:
        answer = self.region.issue(key)
        with self.mutex:
            self.issued += 1
            if answer.status != 201:
                self.wrong.append(f"{answer.status} {answer.data.decode()}")
        if verified and self.region.verdict(self.credential)["outcome"] != "VALID":
            self.wrong.append("a licence is not found valid")


@dataclass
class Watch:
    """What the processes take, looked at again and again: by the name and number of each, (bytes, files) in time."""

    region: ServedRegion
    taken: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    ends: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """Look until the end."""
        processes = {
            f"{name} {'leader' if place == 0 else 'worker'}": pid
            for name in SERVICES
            for place, pid in enumerate(self.region.processes(name)[:2])
        }
        assert self.region.process is not None
        processes["tree"] = self.region.process.pid
        while not self.ends.wait(SECONDS / 100):
            for name, pid in processes.items():
                self.taken.setdefault(name, []).append(
                    (resident(pid), sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))
                )

    def growth(self) -> dict[str, tuple[int, int, int, int]]:
        """Of each process bytes and files after half of the time, and in the end."""
        found = {}
        for name, taken in self.taken.items():
            tenth = max(1, len(taken) // 10)
            middle, end = taken[len(taken) // 2 :][:tenth], taken[-tenth:]
            found[name] = (*(int(median(each[place] for each in part)) for part in (middle, end) for place in (0, 1)),)
        return {name: (values[0], values[2], values[1], values[3]) for name, values in found.items()}


def resident(pid: int) -> int:
    """The bytes of a process that are in memory, without those that it shares with its files."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def test_memory_and_files_stay_what_they_are_under_half_load(tmp_path: Path) -> None:
    with served_region(tmp_path / "gd") as region:
        region.start()
        number = region.issue("first").json()["number"]
        until(lambda: region.ask("GET", f"{path(number)}/credential").status == 200)
        credential = region.ask("GET", f"{path(number)}/credential").data
        until(lambda: region.verdict(credential)["outcome"] == "VALID")
        load = Load(region, credential)
        most = load.run(MEASURED)
        load.rate = most / 2
        watch = Watch(region)
        watching = threading.Thread(target=watch.look)
        watching.start()
        rate = load.run(SECONDS)
        watch.ends.set()
        watching.join()
        assert not load.wrong, load.wrong[:3]
        assert region.stop() == 0
        assert not [line for line in region.lines if line["event"] == "ended"]

    growth = watch.growth()
    print(f"{rate:.0f} licences/s for {SECONDS:.0f} s, of {most:.0f} at most; at half time → in the end")
    for name, (before, after, files_before, files_after) in growth.items():
        memory = f"{before / _MEBIBYTE:7.1f} → {after / _MEBIBYTE:7.1f} MiB"
        print(f"{name:<16} {memory}  {files_before:4} → {files_after:4} files")
    for name, (before, after, files_before, files_after) in growth.items():
        assert after - before <= MEMORY, f"{name} takes more and more memory"
        assert files_after - files_before <= FILES, f"{name} opens more and more files"
