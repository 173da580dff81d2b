"""The metrics of a log at work, `chopmark_log_…`.

entries_total{outcome}        entries taken or refused, of all batches answered (a batch sent again counts again)
commit_seconds                from a batch's arrival to its commit
committed_entries, published_entries, unpublished_entries, waiting_entries, landmark_end
published_timestamp_seconds   when the published checkpoint was published
problem                       1 while something keeps the log from publishing, a missing quorum for example
problem_since_seconds         how long
stopped                       1 once the log stopped and an operator must look
witness_up{witness}           1 if its last answer was well
witness_size{witness}         the size that it holds, by its last answer
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from chopmark_ledger.batch import BatchAnswer
from chopmark_ledger.service.running_log import RunningLog

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class LogCounters:
    """What is counted request by request."""

    def __init__(self, registry: CollectorRegistry) -> None:
        entries = Counter("chopmark_log_entries", "Entries of answered batches.", ["outcome"], registry=registry)
        self._taken = entries.labels("taken")
        self._refused = entries.labels("refused")
        self._commit = Histogram(
            "chopmark_log_commit_seconds", "From arrival to commit.", registry=registry, buckets=_BUCKETS
        )

    def answered(self, answer: BatchAnswer, seconds: float) -> None:
        """Count a batch that was taken, in whole or in part."""
        self._taken.inc(len(answer.indexes) - len(answer.refused))
        if answer.refused:
            self._refused.inc(len(answer.refused))
        self._commit.observe(seconds)

    def refused(self, entries: int) -> None:
        """Count a batch of which nothing was taken."""
        self._refused.inc(entries)


class LogCollector(Collector):
    """Reads the state of a running log each time that it is asked.

    Args:
        running: the log.
        clock: answers POSIX seconds.
    """

    def __init__(self, running: RunningLog, clock: Callable[[], float]) -> None:
        self._running = running
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now."""
        running = self._running
        found = running.loop.status()
        published = found.published
        yield _gauge("committed_entries", "Entries that are durable.", found.committed)
        yield _gauge("published_entries", "Entries of the published checkpoint.", published)
        yield _gauge("unpublished_entries", "Entries that wait for publication.", found.committed - published)
        yield _gauge("waiting_entries", "Entries that wait for their commit.", running.sequencer.waiting_entries)
        yield _gauge("landmark_end", "Entries that landmarks cover.", found.landmark_end)
        if found.published_at is not None:
            yield _gauge("published_timestamp_seconds", "When it was published.", found.published_at)
        stopped = running.log.stopped_by is not None
        yield _gauge("problem", "Whether something keeps it from publishing.", stopped or found.problem is not None)
        since = 0.0 if found.since is None else max(self._clock() - found.since, 0.0)
        yield _gauge("problem_since_seconds", "How long already.", since)
        yield _gauge("stopped", "Whether an operator must look.", stopped)
        up = GaugeMetricFamily("chopmark_log_witness_up", "Whether its last answer was well.", labels=["witness"])
        size = GaugeMetricFamily("chopmark_log_witness_size", "The size that it holds.", labels=["witness"])
        for each in found.witnesses:
            up.add_metric([each.name], each.problem is None and each.at is not None)
            if each.size is not None:
                size.add_metric([each.name], each.size)
        yield up
        yield size


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"chopmark_log_{name}", meaning, value=float(value))
