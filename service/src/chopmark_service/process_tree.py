"""A tree of processes: services that belong together, run as one.

    parent      this process: starts the children in order, each once those that it needs are ready; passes on what
                they say; stops them in reverse order on SIGTERM, SIGINT or SIGHUP
    children    see `chopmark_service.child_process`; each names those that it needs

A child that ends is started anew, at once after it ran well for a while, else after a pause that doubles each time. The
others go on meanwhile: each of them must bear that another one is away, and a tree changes nothing about that. Before a
child comes again, all that is left of it is killed, since it may hold a port or a lock.

A child that hangs, so that it answers nothing for a long time, is killed and started anew (`child_watch`).

A child that ends by itself before it was ever ready cannot be started: the tree ends with its reason. One that lives
and is not ready is waited for, for a while; then those that need it are started without it, as a log may have to wait
for the witness of somebody else.

On SIGTERM each child gets its time to finish; what has not ended then is killed, and at a second signal everything is.
Nothing that a service acknowledged is lost by that. When the parent itself is killed, the kernel kills the children
(`chopmark_service.child_launcher`), and their workers end with them (`chopmark_service.server`). Processes whose parent
died are handed to the tree, which reaps them: none stays as a zombie, even where the tree is process 1 of a container.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from chopmark_service import telemetry
from chopmark_service.child_process import AnswersReady, Child, ChildProcess
from chopmark_service.child_watch import ChildWatch
from chopmark_service.errors import ChildFailedError

_BECOME_REAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""
_LOOK_EVERY = 0.05
_LOOK_SELDOM = 1.0
"""Seconds between two looks at a child that is not ready yet; one that may take hours costs less."""
_REST = 60.0
_KILLED_WITHIN = 5.0
"""Seconds that a killed process may take to be gone; one that waits for a dead disk takes longer."""
_LAST_READS = 8
"""Reads of what a child left when it ended: a pipe holds as much as one of them, and a worker may write on."""
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a tree waits, in seconds.

    Args:
        ready: for a child to be ready, before the next ones are started without it.
        settled: that a child ran ready, after which its earlier ends are forgotten.
        first_pause: before a child is started anew that ended before it had settled; doubled each time.
        longest_pause: the most that this becomes.
        ask_every: between two asks whether a child still answers, and for each answer.
        hung_asks: how many asks in a row, of which none was answered, make one that hangs; 0 for never.
        stop: for each child to end after SIGTERM.
    """

    ready: float = 30.0
    settled: float = 5.0
    first_pause: float = 0.25
    longest_pause: float = 30.0
    ask_every: float = 10.0
    hung_asks: int = 6
    stop: float = 30.0


@dataclass(slots=True)
class _Place:
    """The place of a child in the tree: its process, while it has one, and what became of earlier ones."""

    child: Child
    process: ChildProcess | None = None
    ready_since: float | None = None
    was_ever_ready: bool = False
    ends: int = 0
    start_at: float | None = None
    look_at: float | None = None
    patient_until: float = 0.0
    """Until when others wait for it, and it is looked at often."""
    watch: ChildWatch | None = None
    """Sees whether it hangs, from when it is ready."""
    is_told: bool = False
    """Whether it was said that it is not ready."""
    left: list[ChildProcess] = field(default_factory=list)
    """Processes that have ended and whose groups may not be gone."""
    gone_at: float = 0.0
    """When they count as gone whatever is seen: their numbers may be those of others by then."""


class ProcessTree:
    """Children that run together.

    Args:
        children: in the order in which they are started.
        patience: how long to wait for what.
        output: the file descriptor that all lines go to.
        on_running: called once, when all were started.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        patience: Patience | None = None,
        output: int = 2,
        on_running: Callable[[], None] = lambda: None,
    ) -> None:
        self._places = [_Place(child) for child in children]
        self._patience = Patience() if patience is None else patience
        self._output = output
        self._on_running = on_running
        self._selector = selectors.DefaultSelector()
        self._signals = 0
        self._failed: ChildFailedError | None = None
        self._logger = telemetry.get_logger("tree")

    def run(self) -> None:
        """Run until a signal says to stop, in the main thread of the process.

        Raises:
            ChildFailedError: a child cannot be started; all others are stopped again.
        """
        _become_reaper()
        with self._selector, self._woken_by_signals():
            try:
                self._check_places()
                self._start_all()
                if self._goes_on:
                    self._logger.info("running", pid=os.getpid())
                    self._on_running()
                while self._goes_on:
                    self._turn()
            finally:
                self._stop_all()
        if self._failed is not None:
            raise self._failed

    @property
    def _goes_on(self) -> bool:
        return self._signals == 0 and self._failed is None

    def _check_places(self) -> None:
        """See that nobody answers where the children will: what he answers would be taken for theirs."""
        for place in self._places:
            if self._goes_on and place.child.ready.look():
                self._failed = ChildFailedError(
                    f"cannot start: somebody answers at {place.child.ready.place} already",
                    where=place.child.name,
                    remedy="End that, or choose another place",
                )

    def _start_all(self) -> None:
        """Start each child once those that it needs are ready, and wait for the last ones."""
        for place in self._places:
            self._wait_for([each for each in self._places if each.child.name in place.child.needs])
            if not self._goes_on:
                return
            self._start(place)
        self._wait_for(self._places)

    def _wait_for(self, needed: Sequence[_Place]) -> None:
        """Wait until these are ready, or were given their time to be."""
        while self._goes_on:
            now = time.monotonic()
            if not any(each.ready_since is None and now < each.patient_until for each in needed):
                break
            self._turn()
        for place in needed:
            if self._goes_on and place.ready_since is None and not place.was_ever_ready and not place.is_told:
                self._logger.warning("not_ready", child=place.child.name, seconds=self._patience.ready)
                place.is_told = True

    def _turn(self) -> None:
        """Wait until something happens, and deal with all that did."""
        for key, _ in self._selector.select(self._until_next()):
            if key.data is None:
                os.read(key.fd, 4096)  # a signal; its handler has run
            else:
                self._pass_on(key.data)
        self._reap()
        now = time.monotonic()
        for place in self._places:
            if place.start_at is not None and now >= place.start_at and self._goes_on:
                place.left = [process for process in place.left if not process.is_gone()]
                if not place.left or now >= place.gone_at:
                    self._start_anew(place)
            if place.look_at is not None and now >= place.look_at:
                self._look_at(place)
            if place.watch is not None and place.watch.is_hung:
                self._end_hung(place)

    def _start_anew(self, place: _Place) -> None:
        if place.child.ready.look():
            self._logger.error("taken", child=place.child.name, by_somebody_at=place.child.ready.place)
            place.start_at = time.monotonic() + self._patience.longest_pause
        else:
            self._start(place)

    def _look_at(self, place: _Place) -> None:
        """See whether a child is ready."""
        is_ready = place.child.ready.look()
        now = time.monotonic()
        if is_ready:
            place.ready_since, place.look_at, place.was_ever_ready = now, None, True
            self._logger.info("ready", child=place.child.name)
            ready, patience = place.child.ready, self._patience
            if isinstance(ready, AnswersReady) and patience.hung_asks:
                place.watch = ChildWatch(ready, every=patience.ask_every, most=patience.hung_asks)
        else:
            place.look_at = now + (_LOOK_EVERY if now < place.patient_until else _LOOK_SELDOM)

    def _end_hung(self, place: _Place) -> None:
        """Kill a child that answers no longer; that it ended is noted as of any other."""
        assert place.process is not None  # noqa: S101 - a watch is closed when its process ends
        _close_watch(place)
        self._logger.error("hung", child=place.child.name, pid=place.process.pid)
        place.process.kill()

    def _until_next(self) -> float:
        """Seconds until there is something to do of which no signal tells."""
        due = [at for place in self._places for at in (place.start_at, place.look_at) if at is not None]
        rest = min(_REST, self._patience.ask_every)
        return min(rest, max(_LOOK_EVERY / 2, min(due) - time.monotonic())) if due else rest

    def _start(self, place: _Place) -> None:
        now = time.monotonic()
        place.start_at = place.ready_since = None
        place.look_at, place.patient_until = now + _LOOK_EVERY, now + self._patience.ready
        try:
            place.process = ChildProcess(place.child)
        except OSError as error:  # no memory, say, or too many processes
            self._logger.error("not_started", child=place.child.name, reason=error.strerror)
            place.start_at, place.look_at = now + self._patience.longest_pause, None
            return
        self._selector.register(place.process.output, selectors.EVENT_READ, place.process)
        self._logger.info("started", child=place.child.name, pid=place.process.pid)

    def _pass_on(self, process: ChildProcess) -> None:
        """Write what a child said to the output of the tree."""
        lines, goes_on = process.read_lines()
        if lines:
            self._write(b"\n".join(lines) + b"\n")
        if not goes_on:
            self._selector.unregister(process.output)
            process.close()

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more: that is no reason to stop
            while data:
                data = data[os.write(self._output, data) :]

    def _reap(self) -> None:
        """Take note of every process that has ended: children, and what they left."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            place = next((each for each in self._places if each.process and each.process.pid == ended.si_pid), None)
            if place is not None and place.process is not None:
                place.process.kill()  # its group, while its number cannot be that of anybody else
            _, status = os.waitpid(ended.si_pid, 0)
            if place is not None:
                self._note_end(place, os.waitstatus_to_exitcode(status))

    def _note_end(self, place: _Place, code: int) -> None:
        process, place.process = place.process, None
        assert process is not None  # noqa: S101 - it has just ended
        place.left.append(process)
        place.look_at = None
        _close_watch(place)
        for _ in range(_LAST_READS):
            if process.is_open:
                self._pass_on(process)
        if process.is_open:  # a worker of it still has the other end, for a moment
            self._selector.unregister(process.output)
            process.close()
        if not self._goes_on:
            return
        # What one said last that was killed is not why it ended.
        name, reason = place.child.name, process.reason() if code >= 0 else f"killed by signal {-code}"
        if not place.was_ever_ready and code >= 0:
            self._failed = ChildFailedError(f"cannot start: {reason or f'it ended with code {code}'}", where=name)
            return
        now = time.monotonic()
        place.gone_at = now + _KILLED_WITHIN
        has_settled = place.ready_since is not None and now - place.ready_since >= self._patience.settled
        place.ends = 0 if has_settled else place.ends + 1
        pause = 0.0
        if place.ends:
            pause = min(self._patience.first_pause * 2.0 ** min(place.ends - 1, 30), self._patience.longest_pause)
        place.start_at = now + pause
        place.ready_since = None
        self._logger.error("ended", child=name, pid=process.pid, code=code, reason=reason, again_in=pause)

    def _stop_all(self) -> None:
        """Stop every child, the newest first, and leave no process behind."""
        told = self._signals
        self._logger.info("stopping")
        for place in reversed(self._places):
            place.start_at = None
            if place.process is None:
                continue
            _close_watch(place)
            place.process.terminate()
            end = time.monotonic() + self._patience.stop
            while place.process is not None and time.monotonic() < end and self._signals <= max(told, 1):
                self._wait_for_end(end)
            if place.process is not None:
                self._logger.warning("killed", child=place.child.name, pid=place.process.pid)
                place.process.kill()
        end = time.monotonic() + _KILLED_WITHIN
        while time.monotonic() < end and not self._is_empty():
            self._wait_for_end(min(end, time.monotonic() + _LOOK_EVERY))
        self._logger.info("stopped")

    def _wait_for_end(self, end: float) -> None:
        for key, _ in self._selector.select(max(0.0, end - time.monotonic())):
            if key.data is None:
                os.read(key.fd, 4096)
            else:
                self._pass_on(key.data)
        self._reap()

    def _is_empty(self) -> bool:
        for place in self._places:
            place.left = [process for process in place.left if not process.is_gone()]
        return all(place.process is None and not place.left for place in self._places)

    @contextlib.contextmanager
    def _woken_by_signals(self) -> Iterator[None]:
        """Count what says to stop; let the ends of children wake the tree too."""

        def stop(number: int, _: object) -> None:
            del number
            self._signals += 1

        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        handlers = {signal.SIGCHLD: lambda *_: None, **dict.fromkeys(_STOPPING, stop)}
        former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        woken = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self._selector.register(read, selectors.EVENT_READ, None)
        try:
            yield
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in former.items():
                signal.signal(number, handler)
            os.close(read)
            os.close(write)


def _close_watch(place: _Place) -> None:
    if place.watch is not None:
        place.watch.close()
        place.watch = None


def _become_reaper() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_BECOME_REAPER, 1, 0, 0, 0)
