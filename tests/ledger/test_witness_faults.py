"""A witness whose system calls fail, each once: what it answered is never forgotten, and no fork of it is cosigned."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chopmark.errors import ChopmarkError
from chopmark_ledger.witness.witness_folder import OpenedWitness, add_log, init_witness, open_witness

from tests.ledger.sample_witness import CHEAP, NAME, NOW, ORIGIN, PASSPHRASE, FakeLog

CALLS = [
    (os, "open", errno.EMFILE),
    (os, "write", errno.ENOSPC),
    (os, "fsync", errno.EIO),
    (os, "replace", errno.EIO),
    (os, "mkdir", errno.EROFS),
    (os, "stat", errno.EIO),
    (os, "listdir", errno.EIO),
    (io, "open", errno.EIO),
]
SIZES = (7, 9, 300)
MAIN, FORK = FakeLog(), FakeLog("fork")
REQUESTS = {(old, size): MAIN.request(old, size) for old in (0, *SIZES) for size in SIZES if old <= size}
FORKED = {(old, size): FORK.request(old, size) for old in (0, *SIZES) for size in (*SIZES, 301) if old <= size}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "witness"
    init_witness(folder, NAME, PASSPHRASE, logs=MAIN.vkeys, cost=CHEAP)
    return folder


class Once:
    """Lets one call fail: the `which`-th of its name; counts them. Nothing is synced, to save the time."""

    def __init__(self, module: object, name: str, number: int, which: int) -> None:
        self._module, self._name, self._number, self._which = module, name, number, which
        self._real: Callable[..., object] = getattr(module, name)
        self.calls = 0

    def call(self, *arguments: object, **named: object) -> object:
        self.calls += 1
        if self.calls == self._which:
            raise OSError(self._number, os.strerror(self._number))
        return None if self._name == "fsync" else self._real(*arguments, **named)

    @contextmanager
    def failing(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: None)
            patch.setattr(self._module, self._name, self.call)
            yield


def work(opened: OpenedWitness) -> tuple[int, set[bytes]]:
    """Go on after every error of ours: grow, show to monitors, refuse forks. Answers the largest size that was
    cosigned, and every checkpoint that was shown."""
    cosigned, shown = 0, set()
    for size in SIZES:
        for requests in (REQUESTS, FORKED):
            if requests is FORKED and not cosigned:
                continue  # either history may be the first
            try:
                answer = opened.witness.add_checkpoint(requests[cosigned, size], NOW)
                if answer.status == 200:
                    assert requests is REQUESTS, "a fork was cosigned"
                    cosigned = size
                elif answer.status == 409:  # it is held, though the answer never came
                    assert int(answer.body) > cosigned
                    cosigned = int(answer.body)
                note = opened.store.checkpoint(ORIGIN)
                if note is not None:
                    shown.add(note)
            except ChopmarkError:
                continue
    return cosigned, shown


@pytest.mark.parametrize(("module", "name", "number"), CALLS, ids=[name for _, name, _ in CALLS])
def test_nothing_is_forgotten_whichever_call_fails(
    template: Path, tmp_path: Path, module: object, name: str, number: int
) -> None:
    which = 0
    while True:
        which += 1
        folder = tmp_path / str(which)
        shutil.copytree(template, folder)
        fault = Once(module, name, number, which)
        opened = open_witness(folder, PASSPHRASE)
        with fault.failing():
            cosigned, shown = work(opened)
        if fault.calls < which:
            break
        again = open_witness(folder, PASSPHRASE)
        held = again.store.look(ORIGIN)
        assert held.size >= cosigned
        assert held.size == 0 or held.root == MAIN.root(held.size)
        assert all(held.note == note or int(note.split(b"\n")[1]) <= held.size for note in shown)
        if held.size:
            assert again.witness.add_checkpoint(FORKED[held.size, 301], NOW).status == 422
        assert again.witness.add_checkpoint(MAIN.request(held.size, 301), NOW).status == 200
        shutil.rmtree(folder)
    assert which > 1, "the call is not made at all"


@pytest.mark.parametrize(("module", "name", "number"), CALLS[:5], ids=[name for _, name, _ in CALLS[:5]])
def test_a_log_is_added_whole_or_not_at_all_whichever_call_fails(
    template: Path, tmp_path: Path, module: object, name: str, number: int
) -> None:
    other = FakeLog(origin="cn-bj.example/log/2026")
    which = 0
    while True:
        which += 1
        folder = tmp_path / str(which)
        shutil.copytree(template, folder)
        fault = Once(module, name, number, which)
        opened = open_witness(folder, PASSPHRASE)
        with fault.failing():
            try:
                add_log(folder, other.vkey)
                added = True
            except ChopmarkError:
                added = False
        assert list(opened.logs) in ([ORIGIN, other.origin], [ORIGIN])
        assert not added or other.origin in opened.logs
        assert opened.logs.problem is None
        add_log(folder, other.vkey)
        assert open_witness(folder, PASSPHRASE).witness.add_checkpoint(other.request(0, 3), NOW).status == 200
        if fault.calls < which:
            break
