"""Pure. The product's own variables: one environment may serve all processes, so each of them knows all names and refuses the others."""

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

PREFIX = "CHURNSIGNAL_"
SETTINGS = frozenset(
    [
        "ALERTS_KEEP_DAYS",
        "BATCH_RECORDS",
        "CHECKPOINTS_KEPT",
        "CHECKPOINT_HOURS",
        "CLOCK",
        "CLOSE_GRACE",
        "CLOSE_PATIENCE_S",
        "CONFIG_DIR",
        "DAY_ZONE",
        "DRAIN_S",
        "ENV",
        "GAP_PATIENCE_S",
        "HOST",
        "INGEST_INFLIGHT_BYTES",
        "INSTANCE",
        "LEASE_S",
        "LOG_FORMAT",
        "LOG_LEVEL",
        "PARKED_BYTES_PER_SOURCE",
        "PARKED_DAYS",
        "PARKED_PER_SOURCE",
        "PARTITIONS",
        "POISON_BRAKE",
        "PORT_BASE",
        "PUBLIC_URL",
        "RESIDENT_BYTES",
        "RESIDENT_IDS",
        "SCORE_HISTORY_MONTHS",
        "SENDS_PER_S",
        "SEND_TIMEOUT_S",
        "SESSION_TIMEOUT_S",
        "SIGNING_KEYS",
        "SOURCE_BURST",
        "SOURCE_RATE",
        "TOKENS_FILE",
        "TOPIC_PREFIX",
        "WEBHOOK_ALLOW",
        "WEBHOOK_SECRETS",
    ]
)
"""Of all services; a test holds them against what the services read."""
SURROUNDINGS = frozenset(
    [
        "ADMIN_TOKEN",
        "ALERTS_PORT",
        "ALERTS_URL",
        "CACHE_DIR",
        "CONSOLE_PORT",
        "CONSOLE_URL",
        "CRASH_AT",
        "DEVSTACK_DIR",
        "INBOX_HOST",
        "INBOX_PORT",
        "INBOX_SMTP_PORT",
        "INBOX_URL",
        "INGEST_PORT",
        "INGEST_URL",
        "KILLS",
        "SCORING_PORT",
        "SCORING_URL",
        "SEED",
        "SERVICE",
        "VERSION",
        "WRITE_KEY",
    ]
)
"""What the devstack tells clients, what containers and tests are started with."""
# What Kubernetes tells every pod of a Service whose name begins with ours.
_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)$")
_LINK = ("tcp://", "udp://")


def unknown(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that bears our name and that nothing reads."""
    for name, value in sorted(environment.items()):
        if not name.startswith(PREFIX) or _SERVICE_LINK.search(name) or value.startswith(_LINK):
            continue
        short = name.removeprefix(PREFIX)
        if short not in SETTINGS | SURROUNDINGS and short.removesuffix("_FILE") not in SETTINGS:
            yield f"{name}: there is no such setting. {_advice(short, SETTINGS)}"


def _advice(short: str, names: Iterable[str]) -> str:
    near = get_close_matches(short, sorted(names), n=1, cutoff=0.75)
    return f"Did you mean {PREFIX}{near[0]}?" if near else "Remove it; docs/configuration.md lists all of them."
