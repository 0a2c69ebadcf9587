"""Pure. The one table of topics: name, key, retention, cleanup, who writes and who reads."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import msgspec

from churnsignal_common.contracts.contact import Contacted
from churnsignal_common.contracts.days import DayRecord
from churnsignal_common.contracts.envelope import Envelope, Rejected
from churnsignal_common.contracts.risk import AccountProfile, RiskChangedEvent

USAGE_EVENTS = "usage.events.v1"
USAGE_HISTORY = "usage.history.v1"
USAGE_UNRESOLVED = "usage.unresolved.v1"
USAGE_REJECTED = "usage.rejected.v1"
ACCOUNTS = "accounts.v1"
SCORING_DAYS = "scoring.days.v1"
RISK_CHANGES = "risk.changes.v1"
CONTACTS = "contacts.v1"
# Partitioned alike, so that one owner reads all that concerns an account.
USAGE_TOPICS = (USAGE_EVENTS, USAGE_HISTORY, USAGE_UNRESOLVED)


@dataclass(frozen=True, slots=True)
class Topic:
    """One row. `partitions` None means the deployment's number, which is for life: keys must stay where they are."""

    name: str
    key: str
    value: type[msgspec.Struct]
    about: str
    cleanup: Literal["delete", "compact"]
    retention: timedelta | None
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    partitions: int | None = None

    def configs(self) -> dict[str, str]:
        """Return the broker's settings for this topic."""
        keep = {} if self.retention is None else {"retention.ms": str(int(self.retention / timedelta(milliseconds=1)))}
        return {"cleanup.policy": self.cleanup, "max.message.bytes": "1048588", "message.timestamp.type": "CreateTime", **keep}


TOPICS: tuple[Topic, ...] = (
    Topic(
        USAGE_EVENTS,
        "account id",
        Envelope,
        "Calls of live traffic, and commands, by account.",
        "delete",
        timedelta(days=30),
        ("ingest", "scoring"),
        ("scoring",),
    ),
    Topic(
        USAGE_HISTORY,
        "account id",
        Envelope,
        "Imported history by account; read only while the live topic has no lag, never alerts anyone.",
        "delete",
        timedelta(days=30),
        ("ingest", "scoring"),
        ("scoring",),
    ),
    Topic(
        USAGE_UNRESOLVED,
        "user id, else anonymous id",
        Envelope,
        "Calls whose account must be found by their user, and links of users to accounts.",
        "delete",
        timedelta(days=30),
        ("ingest", "scoring"),
        ("scoring",),
    ),
    Topic(
        USAGE_REJECTED,
        "source",
        Rejected,
        "What was refused or could not be processed, with its reason.",
        "delete",
        timedelta(days=14),
        ("ingest", "scoring"),
        ("ingest",),
    ),
    Topic(
        ACCOUNTS,
        "account id",
        AccountProfile,
        "The full profile of each account, when it changes; also when a silent source freezes it, and when it thaws.",
        "compact",
        None,
        ("scoring",),
        ("alerts",),
    ),
    Topic(
        SCORING_DAYS,
        "day",
        DayRecord,
        "What needed more than one partition, decided once a day: norms, and which sources were silent.",
        "compact",
        None,
        ("scoring",),
        ("scoring",),
        1,
    ),
    Topic(
        RISK_CHANGES,
        "account id",
        RiskChangedEvent,
        "Each change of an account's band, once, in order, with its reasons; and the synthetic ones of the watchdog of alerts.",
        "delete",
        timedelta(days=30),
        ("scoring", "alerts"),
        ("alerts",),
    ),
    Topic(
        CONTACTS,
        "account id",
        Contacted,
        "Contacts with accounts that calls tell of, for the contact log.",
        "delete",
        timedelta(days=30),
        ("scoring",),
        ("alerts",),
    ),
)
