"""Door. What ingest counts. Label values come from closed sets: source names that admins gave, reasons, routes."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_FAST = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 6.0)


class Metrics:
    """All metrics of the service, and children that are found without a look-up by label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        self._events = Counter(
            "churnsignal_ingest_events_total", "Calls by source, outcome and reason.", ["source", "outcome", "reason"], registry=registry
        )
        self._requests = Histogram(
            "churnsignal_ingest_request_seconds", "Time to answer a request.", ["route", "status"], registry=registry, buckets=_FAST
        )
        self.clamped = Counter(
            "churnsignal_ingest_clamped_total", "Accepted calls whose time lay in the future.", ["source"], registry=registry
        )
        self.replayed = Counter(
            "churnsignal_ingest_replayed_total", "Refused calls that operators published after a fix.", registry=registry
        )
        self.produce = Histogram(
            "churnsignal_ingest_produce_seconds", "Time from a flush's first record to the brokers' ack.", registry=registry, buckets=_FAST
        )
        self.retries = Histogram(
            "churnsignal_ingest_retry_count",
            "X-Retry-Count of requests: rises early in an outage.",
            registry=registry,
            buckets=(0, 1, 2, 5, 10, 50),
        )
        self.inflight = Gauge("churnsignal_ingest_inflight_bytes", "Bytes between clients and Kafka's ack.", registry=registry)
        self.inflight_share = Gauge(
            "churnsignal_ingest_inflight_share", "The same as a share of its ceiling: at 1 new requests are turned away.", registry=registry
        )
        self._event_counters: dict[tuple[str, str, str], Counter] = {}
        self._request_timers: dict[tuple[str, int], Histogram] = {}

    def events(self, source: str, outcome: str, reason: str, count: int) -> None:
        child = self._event_counters.get((source, outcome, reason))
        if child is None:
            child = self._event_counters[source, outcome, reason] = self._events.labels(source, outcome, reason)
        child.inc(count)

    def request(self, route: str, status: int, seconds: float) -> None:
        child = self._request_timers.get((route, status))
        if child is None:
            child = self._request_timers[route, status] = self._requests.labels(route, str(status))
        child.observe(seconds)
