"""What a witness tells Prometheus, beside the metrics of its requests.

chopmark_witness_ready                                     1, or 0 while it cannot do its work
chopmark_witness_logs                                      logs that it knows
chopmark_witness_tree_size{origin}                         size of the last checkpoint cosigned since it started
chopmark_witness_cosigned_seconds{origin}                  when, POSIX seconds
chopmark_witness_evidence_cases{origin, contradiction}     cases kept: `fork` is proof by itself
chopmark_witness_evidence_lost{origin}                     1 where evidence could not be kept
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from chopmark.errors import StorageError
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from chopmark_ledger.witness.witness_folder import OpenedWitness
from chopmark_ledger.witness.witness_state import origin_hash

_PREFIX = "chopmark_witness"


class WitnessCollector(Collector):
    """Looks at a witness whenever the metrics are asked for.

    Args:
        opened: the witness.
        problem: why it cannot do its work; None while it can.
    """

    def __init__(self, opened: OpenedWitness, problem: Callable[[], str | None]) -> None:
        self._opened = opened
        self._problem = problem

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metrics as they are now."""
        logs, store = list(self._opened.logs), self._opened.store
        yield GaugeMetricFamily(f"{_PREFIX}_ready", "1, or 0 while it cannot work.", float(self._problem() is None))
        yield GaugeMetricFamily(f"{_PREFIX}_logs", "Logs that it knows.", len(logs))
        sizes = GaugeMetricFamily(f"{_PREFIX}_tree_size", "Size of the last checkpoint cosigned.", labels=["origin"])
        times = GaugeMetricFamily(f"{_PREFIX}_cosigned_seconds", "When that was, POSIX seconds.", labels=["origin"])
        for origin, state in store.held.items():
            sizes.add_metric([origin], state.size)
            times.add_metric([origin], state.time)
        yield sizes
        yield times
        cases = GaugeMetricFamily(
            f"{_PREFIX}_evidence_cases", "Contradictions kept as evidence.", labels=["origin", "contradiction"]
        )
        lost = GaugeMetricFamily(f"{_PREFIX}_evidence_lost", "Evidence that could not be kept.", labels=["origin"])
        short = {origin_hash(origin)[:16]: origin for origin in logs}
        try:
            counts = Counter(
                (short.get(case.short_hash, case.short_hash), case.contradiction) for case in store.cases()
            )
            for (origin, contradiction), count in counts.items():
                cases.add_metric([origin, contradiction.value], count)
        except StorageError:
            lost.add_metric(["*"], 1)
        for origin in store.lost_evidence:
            lost.add_metric([origin], 1)
        yield cases
        yield lost
