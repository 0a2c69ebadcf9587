"""Door. What scoring counts, and under which names."""

from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from churnsignal_scoring.effects import Effects
from churnsignal_scoring.health.days import to_date
from churnsignal_scoring.outcomes import LOST

log = structlog.get_logger()

NAMED = 250
_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
_STEP_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Metrics:
    """One registry per process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"namespace": "churnsignal", "registry": self.registry}
        self.events = Counter("scoring_events", "Records of the usage topics by what became of them.", ["outcome"], **own)
        self.event_to_score = Histogram(
            "scoring_event_to_score_seconds",
            "From the record's time in Kafka to its committed score; the first and last record of each partition in a transaction.",
            buckets=_LATENCY_S,
            **own,
        )
        self.lag = Gauge(
            "scoring_lag_events", "Records that lie before us, by partition, over the three usage topics.", ["partition"], **own
        )
        self.accounts = Gauge("scoring_accounts", "Accounts by band, over all partitions.", ["band"], **own)
        self.changes = Counter("scoring_risk_changes", "Changes of band by the band entered and the cause.", ["to", "cause"], **own)
        self.silent = Gauge("scoring_source_silent", "1 while the newest day record judged the source silent.", ["source"], **own)
        self.steps = Histogram("scoring_batch_seconds", "Time of each step of a transaction.", ["step"], buckets=_STEP_S, **own)
        self.unaccounted = Gauge(
            "pipeline_unaccounted_events", "Records read minus the sum of their outcomes, over all partitions. Must be 0.", **own
        )
        self.braked = Gauge(
            "scoring_partition_braked",
            "1 while a partition is paused after too many records that cannot be processed.",
            ["partition"],
            **own,
        )
        self.lost = Counter("scoring_lost_records", "Records that the brokers deleted before they were read.", **own)
        self.passed_over = Counter(
            "scoring_evaluations_failed", "Accounts that could not be evaluated, live or at a close; band and score stayed.", **own
        )
        self.days_behind = Gauge("scoring_days_behind", "Days that are due and not closed, on this replica's partitions.", **own)
        self.parked_events = Gauge(
            "scoring_parked_events", "Calls that wait for their user's account, on this replica's partitions.", ["source"], **own
        )
        self.parked_share = Gauge(
            "scoring_parked_share",
            "How full the fullest partition's parking of a source is: at 1 further calls are rejected.",
            ["source"],
            **own,
        )
        self.parked_bytes = Gauge("scoring_parked_bytes", "Bytes of the calls that wait for their user's account.", ["source"], **own)
        self.retries = Counter("scoring_transactions_retried", "Transactions that failed and were done again.", **own)
        self.residents = Gauge("scoring_resident_accounts", "Accounts whose state is in memory.", **own)
        self.resident_bytes = Gauge("scoring_resident_bytes", "What these take, about.", **own)


def count_effects(metrics: Metrics, effects: Effects) -> None:
    """Count what a transaction has committed, and log whom it has passed over: mostly all for one reason, so that one of them is told whole."""
    metrics.passed_over.inc(len(effects.passed_over))
    if effects.passed_over:
        _, day, error = effects.passed_over[0]
        names = [one.account for one in effects.passed_over]
        log.error("accounts_passed_over", count=len(names), accounts=names[:NAMED], after_close_of=to_date(day).isoformat(), exc_info=error)
    for (topic, partition, outcome, reason), count in effects.tally.counts.items():
        if reason == LOST:
            metrics.lost.inc(count)
            log.error("records_lost", topic=topic, partition=partition, count=count, why="the broker deleted them before we read them")
        # Un-parking takes back what was counted before; a counter only rises.
        metrics.events.labels(outcome).inc(max(0, count))
    for change in effects.changes:
        if change.from_band is change.to_band:
            continue
        metrics.changes.labels(change.to_band.value, change.cause.value).inc()
