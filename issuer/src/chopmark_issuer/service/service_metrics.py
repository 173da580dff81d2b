"""The metrics of a registry at work, `chopmark_issuer_…`.

waiting_licences                       licences of requests that wait to be written
outbox_entries{state}                  entries that wait for the log, and those that it refuses
work_done_timestamp_seconds{work}      when sending or publishing was last done
work_problem{work}                     1 while something keeps it from that, a log that is away for example
work_problem_since_seconds{work}       how long already
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from chopmark_issuer.service.running_region import RunningRegion
from chopmark_issuer.storage.models import OUTBOX


class RegionCollector(Collector):
    """Reads the state of a running region each time that it is asked.

    Args:
        running: the region.
        clock: answers POSIX seconds.
    """

    def __init__(self, running: RunningRegion, clock: Callable[[], float]) -> None:
        self._running = running
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is, is told when it is collected."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now."""
        running = self._running
        yield GaugeMetricFamily(
            "chopmark_issuer_waiting_licences", "Licences that wait to be written.", value=float(running.queue.waiting)
        )
        with running.region.database.reading() as connection:
            count = select(func.count()).select_from(OUTBOX)
            waiting = connection.execute(count.where(OUTBOX.c.batch_number.is_(None))).scalar_one()
            refused = connection.execute(count.where(OUTBOX.c.refused.is_not(None))).scalar_one()
        outbox = GaugeMetricFamily("chopmark_issuer_outbox_entries", "Entries not in the log yet.", labels=["state"])
        outbox.add_metric(["waiting"], waiting)
        outbox.add_metric(["refused"], refused)
        yield outbox
        done = GaugeMetricFamily("chopmark_issuer_work_done_timestamp_seconds", "When last done.", labels=["work"])
        problem = GaugeMetricFamily("chopmark_issuer_work_problem", "Whether something prevents it.", labels=["work"])
        since = GaugeMetricFamily("chopmark_issuer_work_problem_since_seconds", "How long already.", labels=["work"])
        for name, work in (("outbox", running.outbox), ("publishing", running.publishing)):
            found = work.status()
            if found.done_at is not None:
                done.add_metric([name], found.done_at)
            problem.add_metric([name], found.problem is not None)
            since.add_metric([name], 0.0 if found.since is None else max(self._clock() - found.since, 0.0))
        yield from (done, problem, since)
