"""Our log, read by others and by our own commands while entries come in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.our_side import OurLog, our_fsck
from tests.interop.outside_readers import aics_tlog, tessera_fsck, tlog_scales_root

STEP = 700
MAX_STEPS = 500


@contextmanager
def growing(log: OurLog) -> Iterator[None]:
    """Let the log grow, tile by tile, in a thread of its own."""
    stop, failures = threading.Event(), []

    def grow() -> None:
        try:
            for _ in range(MAX_STEPS):
                if stop.is_set():
                    return
                log.grow_to(len(log.entries) + STEP)
        except BaseException as error:
            failures.append(error)

    log.grow_to(max(len(log.entries), 1))
    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures, failures


def test_everybody_finds_it_sound_while_it_grows_and_each_time_larger(log: OurLog, tmp_path: Path) -> None:
    """Partial tiles of a checkpoint may be gone before a reader asks for them: the full ones stand for them."""
    sizes: list[int] = []
    with growing(log):
        for _ in range(3):
            theirs = tessera_fsck(log.url, log.vkey, tmp_path)
            assert theirs.size is not None, theirs.output
            sizes.append(theirs.size)
            ours = our_fsck(log.url, log.vkey, log.pq_vkey)
            assert ours.code == 0, ours.all
            sizes.append(next(int(line.split()[1]) for line in ours.out.splitlines() if line.startswith("size ")))
            assert len(tlog_scales_root(log.url)) == 44
        wanted = ["--tiles", log.url, "--log-key", log.vkey, "--origin", log.origin]
        saved = tmp_path / "old"
        assert aics_tlog("verify-checkpoint", *wanted, "--save-checkpoint", saved)["ok"]
        report = aics_tlog("verify-consistency", *wanted, "--old-checkpoint", saved)
        assert report["ok"]
        sizes += [report["old_size"], report["new_size"]]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
