"""Door. What alerts tells Prometheus; label values come from closed sets."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

registry = CollectorRegistry()

CHANGE_TO_NOTICE = Histogram(
    "churnsignal_alerts_change_to_notice_seconds",
    "From a risk change on Kafka to the provider's accept, for notices that were not to wait for working hours.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300),
    registry=registry,
)
DELIVERIES = Counter("churnsignal_alerts_deliveries_total", "Attempts to deliver a message.", ["channel", "outcome"], registry=registry)
CHANGES = Counter(
    "churnsignal_alerts_changes_total", "Records read from Kafka, by what became of them.", ["topic", "outcome"], registry=registry
)
VERDICTS = Counter("churnsignal_alerts_verdicts_total", "Decisions about risk changes, by reason.", ["verdict"], registry=registry)
EPISODES = Gauge("churnsignal_alerts_episodes", "Episodes by state, counted once a minute.", ["state"], registry=registry)
QUEUE_AGE = Gauge(
    "churnsignal_alerts_queue_age_seconds", "How long, in product time, the oldest due notice has been waiting.", registry=registry
)
HELD = Gauge("churnsignal_alerts_held_changes", "Risk changes that wait for an earlier one of their account.", registry=registry)
GAPS = Counter(
    "churnsignal_alerts_sequence_gaps_total", "Times that a missing risk change was given up: a change was lost. Page.", registry=registry
)
UNCONFIGURED = Gauge(
    "churnsignal_alerts_unconfigured_channels",
    "1 while no channel is configured, or none of those is one by which the catch-all can be told.",
    registry=registry,
)
WATCHDOG_LATE = Gauge(
    "churnsignal_alerts_watchdog_late_seconds",
    "By how much the synthetic alert that proves delivery is overdue; 0 without `watchdog` in routing.yaml. Page.",
    registry=registry,
)
FAILED = Counter("churnsignal_alerts_undeliverable_total", "Messages that could not be delivered by any way.", registry=registry)
FEEDBACK = Counter(
    "churnsignal_alerts_feedback_total", "What people said of alerts: outcomes when closing, and feedback.", ["verdict"], registry=registry
)
LEARNT = Counter(
    "churnsignal_alerts_lessons_total",
    "What people said of alerts, by kind and by the reason code for which they were raised.",
    ["kind", "reason", "verdict"],
    registry=registry,
)
STEPS = Counter(
    "churnsignal_alerts_steps_total",
    "What happened to episodes by time: snoozes that woke, reminders, escalations.",
    ["step"],
    registry=registry,
)
COMMANDS = Counter("churnsignal_alerts_commands_total", "What people did with episodes.", ["act", "way", "answer"], registry=registry)
