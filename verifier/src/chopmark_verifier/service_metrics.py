"""The metrics of a verifier at work, `chopmark_verifier_…`.

verdicts_total{outcome}               answers, by outcome
records_total                         records that were filed
challenges_total                      challenges that were asked
pictures_total{result}                pictures that were read: texts, no_code, refused
picture_processes_killed              processes that a picture took with it
bundle_issued_timestamp_seconds{region}   when the trust bundle in use was issued
trust_damaged                         objects of the trust store that were left out
"""

from __future__ import annotations

from collections.abc import Iterable

from chopmark.verdict import Outcome, Verdict
from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from chopmark_verifier.image_pool import ImagePool
from chopmark_verifier.trust_source import TrustSource


class VerifierCounters:
    """What is counted request by request."""

    def __init__(self, registry: CollectorRegistry) -> None:
        verdicts = Counter("chopmark_verifier_verdicts", "Verdicts.", ["outcome"], registry=registry)
        self._verdicts = {outcome: verdicts.labels(outcome.value) for outcome in Outcome}
        pictures = Counter("chopmark_verifier_pictures", "Pictures read.", ["result"], registry=registry)
        self._pictures = {result: pictures.labels(result) for result in ("texts", "no_code", "refused")}
        self._records = Counter("chopmark_verifier_records", "Records filed.", registry=registry)
        self._challenges = Counter("chopmark_verifier_challenges", "Challenges asked.", registry=registry)

    def answered(self, verdict: Verdict, *, recorded: bool) -> None:
        """Count a verdict."""
        self._verdicts[verdict.outcome].inc()
        if recorded:
            self._records.inc()

    def asked(self) -> None:
        """Count a challenge."""
        self._challenges.inc()

    def picture(self, result: str) -> None:
        """Count a picture: texts, no_code or refused."""
        self._pictures[result].inc()


class VerifierCollector(Collector):
    """Reads the state of a verifier each time that it is asked.

    Args:
        trust: its trust store.
        pool: its processes for pictures.
    """

    def __init__(self, trust: TrustSource, pool: ImagePool) -> None:
        self._trust = trust
        self._pool = pool

    def collect(self) -> Iterable[Metric]:
        """The metrics as they are now."""
        store = self._trust.store
        issued = GaugeMetricFamily(
            "chopmark_verifier_bundle_issued_timestamp_seconds", "When the bundle was issued.", labels=["region"]
        )
        for region in store.regions:
            bundle = store.bundle(region)
            if bundle is not None:
                issued.add_metric([region], bundle.issued)
        yield issued
        yield GaugeMetricFamily(
            "chopmark_verifier_trust_damaged", "Objects that were left out.", value=float(len(store.problems))
        )
        yield GaugeMetricFamily(
            "chopmark_verifier_picture_processes_killed",
            "Processes that a picture took with it.",
            value=float(self._pool.killed),
        )
