"""The ledger in process: appending beside publication, commit to published, opening, memory, fsck."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path
from statistics import median

from chopmark_ledger.audit.fsck import fsck

from bench.large_log import SIZE, LargeLog, entries
from bench.peer_process import PeerProcess
from bench.report import MILLI, Group, Table, answer
from bench.rounds import Contender, Series, alternate

FLAT_SIZE = 5_000_000
BATCH = 1_000
BATCHES = 50
ROUNDS = 5
APPEND_REACH = 50_000
STEADY_RATE, STEADY_SECONDS, STEADY_BATCH = 5_000, 10, 50
PUBLISHED_REACH = 1.0
OPEN_REACH, MEMORY_REACH = 1.0, 200 * 10**6
FLAT = 1.25
"""How many times as much still counts as flat."""
FSCK_REACH = 200_000
ENTRY_SIZE = len(entries(0, 1)[0])

OPENING = """
import json, sys, time
from pathlib import Path
from bench.large_log import LargeLog, resident_bytes
from chopmark_ledger.client import system_clock
from chopmark_ledger.sequencing.log import Log
large = LargeLog(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
large.witnesses()
before = resident_bytes()
started = time.perf_counter()
running = large.run()
ready = time.perf_counter() - started
assert running.loop.wait_for(running.log.size, 30)
print(json.dumps([ready, resident_bytes(), before]))
running.close()
"""


def measure(large: LargeLog) -> Group:
    """Measure on a log of a million entries; it has five million afterwards."""
    group = Group("The ledger")
    large.grow(SIZE)
    table = Table(("what", "median", "against", "ratio", "reach", "reached"))
    _append(table, large)
    _published(table, large)
    opened = {SIZE: _opening(large)}
    _fsck(table, large)
    large.grow(FLAT_SIZE)
    opened[FLAT_SIZE] = _opening(large)
    _opened(table, opened)
    group.add(table)
    group.add(
        f"The log has {SIZE:,} entries of {ENTRY_SIZE} bytes, and some from the measurements before, on SQLite and "
        f"local files, synced. Appending: batches of {BATCH:,}, each durable before the next is sent, while the "
        "publication loop runs in the same process with two witnesses, each with both keys. `pymerkle` hashes as many "
        "entries into a tree in memory, and stores nothing. Opening: from `Log.open` until entries are taken, in a "
        "process that has imported everything; memory is that of the process then, the interpreter and all imports "
        "included. fsck: every file of the folder, one run; the raw primitive is one SHA-256 for each entry and each "
        "node, in a loop."
    )
    return group


def _append(table: Table, large: LargeLog) -> None:
    running = large.run()
    try:

        def run() -> float:
            batches = [large.batch(BATCH) for _ in range(BATCHES)]
            started = time.perf_counter()
            for batch in batches:
                running.sequencer.submit(batch).result()
            return (time.perf_counter() - started) / (BATCH * BATCHES)

        material = {"entries": SIZE // 10, "batch": BATCH, "size": ENTRY_SIZE}
        with PeerProcess("pymerkle_peer", material) as peer:
            peer_round = peer.round(BATCHES)
            ours, theirs = alternate(
                [Contender("append", run), Contender("pymerkle", lambda: peer_round() / BATCH)], rounds=ROUNDS
            )
            title = peer.title()
        assert running.loop.wait_for(running.log.size, 60)
    finally:
        running.close()
    rate = 1 / ours.median
    table.add(
        f"append, {SIZE:,} entries in the log",
        f"{rate:,.0f} entries/s",
        f"`pymerkle` in memory ({title}): {1 / theirs.median:,.0f} entries/s",
        f"{1 / ours.ratio(theirs):.2f} ×",
        f"≥ {APPEND_REACH:,} /s",
        answer(rate >= APPEND_REACH),
    )


def _published(table: Table, large: LargeLog) -> None:
    running = large.run()
    waits: list[float] = []
    done = threading.Semaphore(0)
    count = STEADY_RATE * STEADY_SECONDS // STEADY_BATCH
    batches = [large.batch(STEADY_BATCH) for _ in range(count)]

    def watch(size: int, committed: float) -> None:
        def note(_: object) -> None:
            waits.append(time.perf_counter() - committed)
            done.release()

        running.loop.subscribe(size).add_done_callback(note)

    try:
        started = time.perf_counter()
        for number, batch in enumerate(batches):
            due = started + number * STEADY_BATCH / STEADY_RATE
            time.sleep(max(0, due - time.perf_counter()))
            indexes = running.sequencer.submit(batch).result().indexes
            watch(max(index for index in indexes if index is not None) + 1, time.perf_counter())
        rate = count * STEADY_BATCH / (time.perf_counter() - started)
        for _ in range(count):
            assert done.acquire(timeout=60)
    finally:
        running.close()
    waits.sort()
    worst = waits[int(len(waits) * 0.99)]
    table.add(
        f"commit to published, two witnesses, {rate:,.0f} entries/s",
        f"{median(waits) * MILLI:.0f} ms, p99 {worst * MILLI:.0f} ms",
        "",
        "",
        f"p99 ≤ {PUBLISHED_REACH * MILLI:,.0f} ms at {STEADY_RATE:,} /s",
        answer(worst <= PUBLISHED_REACH and rate >= 0.98 * STEADY_RATE),
    )


def _opening(large: LargeLog) -> tuple[float, int]:
    """Seconds to open, and bytes of memory then: the median of five processes."""
    command = [sys.executable, "-c", OPENING, str(large.folder), large.vkey, large.pq_vkey]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(ROUNDS)
    ]
    return median(run[0] for run in runs), int(median(run[1] for run in runs))


def _opened(table: Table, opened: dict[int, tuple[float, int]]) -> None:
    base = opened[SIZE]
    for size, (seconds, memory) in opened.items():
        is_flat = seconds <= max(FLAT * base[0], base[0] + 0.05) and memory <= FLAT * base[1]
        table.add(
            f"opened until ready, {size:,} entries",
            f"{seconds * MILLI:.0f} ms, {memory / 10**6:.0f} MB",
            "" if size == SIZE else f"{SIZE:,} entries",
            "" if size == SIZE else f"{seconds / base[0]:.2f} ×, {memory / base[1]:.2f} ×",
            f"≤ {OPEN_REACH * MILLI:,.0f} ms, ≤ {MEMORY_REACH // 10**6} MB" + ("" if size == SIZE else ", flat"),
            answer(seconds <= OPEN_REACH and memory <= MEMORY_REACH and is_flat),
        )


def _fsck(table: Table, large: LargeLog) -> None:
    public: Path = large.data / "public"
    size = 0

    def check() -> float:
        nonlocal size
        started = time.perf_counter()
        report = fsck(public, vkeys=(large.vkey, large.pq_vkey))
        assert report.is_sound, report.damage
        assert report.size is not None
        size = report.size
        return (time.perf_counter() - started) / size

    some = entries(1, 100_000)

    def hash_alone() -> float:
        node = bytes(65)
        started = time.perf_counter()
        for entry in some:
            sha256(b"\0" + entry).digest()
            sha256(node).digest()
        return (time.perf_counter() - started) / len(some)

    ours, raw = alternate([Contender("fsck", check), Contender("sha256", hash_alone)], rounds=3)
    rate = 1 / ours.median
    table.add(
        f"fsck, {size:,} entries",
        f"{rate:,.0f} entries/s",
        f"the hashes alone: {1 / raw.median:,.0f} entries/s",
        f"{_slower(ours, raw):.2f} ×",
        f"≥ {FSCK_REACH:,} /s",
        answer(rate >= FSCK_REACH),
    )


def _slower(ours: Series, raw: Series) -> float:
    return ours.ratio(raw)
