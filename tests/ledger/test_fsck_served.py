"""Checking a log that a process serves, while clients write to it: never a false word, from afar and in its folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.audit.fsck import fsck
from chopmark_ledger.audit.fsck_checkpoint import LogKeys
from chopmark_ledger.audit.http_source import HttpSource
from chopmark_ledger.audit.static_proofs import prove_entry
from chopmark_ledger.audit.tile_source import FolderSource, TileSource
from chopmark_ledger.client import Client

from tests.ledger.served_log import ServedLog

ANYBODY = Client("registry", region="CN-GD")
SIZES = 6
"""How many published sizes are checked, from afar and in the folder in turn."""


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedLog]:
    log = ServedLog(tmp_path_factory.mktemp("served") / "log")
    log.set_up()
    log.start()
    yield log
    log.close()


def test_a_log_in_use_is_sound_whenever_one_looks(served: ServedLog) -> None:
    keys = [served.keys.vkey, served.keys.pq_vkey]
    policy = TlogPolicy.parse(served.policy)
    is_over = threading.Event()
    problems: list[BaseException] = []

    def write() -> None:
        number = 0
        try:
            with served.remote() as ledger:
                while not is_over.is_set():
                    number += 1
                    ledger.submit(ANYBODY, number, served.entries(37 * (number % 9 + 1)))
                    if number % 4 == 0:
                        ledger.landmark_now()
        except BaseException as error:  # told to the test, which fails with it
            problems.append(error)

    with served.remote() as ledger:
        ledger.publish()
    writer = threading.Thread(target=write)
    writer.start()
    sizes: list[int] = []
    try:
        with closing(HttpSource(served.url)) as afar:
            sources: list[TileSource] = [afar, FolderSource(served.public)]
            while len(set(sizes)) < SIZES and writer.is_alive():
                report = fsck(sources[len(sizes) % 2], vkeys=keys, policy=policy)
                assert report.damage == ()
                assert report.is_ours
                sizes.append(report.size or 0)
            proven = prove_entry(afar, sizes[-1] - 1, LogKeys.of(keys, policy=policy))
            assert proven.judged.checkpoint.size >= sizes[-1]
    finally:
        is_over.set()
        writer.join()
    assert problems == []
    assert sizes == sorted(sizes)
