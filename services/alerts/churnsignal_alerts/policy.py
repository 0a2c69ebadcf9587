"""Pure. What routing.yaml says, as values: pools, hours, urgent exceptions, when to merge, how long to wait, what follows when nobody acts."""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from enum import StrEnum
from urllib.parse import quote
from zoneinfo import ZoneInfo

from churnsignal_common.catalog.locales import Locale

from churnsignal_alerts.decide import Rules
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.episodes import Kind
from churnsignal_alerts.hours import Hours

# Slack's for a button.
LONGEST_URL = 3_000
# How the id of a pool begins where a CSM could stand.
POOL = "pool:"


@dataclass(frozen=True, slots=True)
class Pool:
    """A shared place to tell: a Slack channel, an e-mail address or a webhook. `hours` None means the deployment's."""

    name: str
    slack: str | None
    email: str | None
    locale: Locale
    zone: ZoneInfo | None = None
    country: str | None = None
    hours: Hours | None = None
    webhook: str | None = None

    @property
    def ways(self) -> tuple[tuple[Channel, str], ...]:
        """Return the addresses, the preferred first."""
        given = ((Channel.SLACK, self.slack), (Channel.EMAIL, self.email), (Channel.WEBHOOK, self.webhook))
        return tuple((channel, address) for channel, address in given if address)


@dataclass(frozen=True, slots=True)
class Urgent:
    """What may be told outside working hours: revenue from `arr` on, a renewal within `renewal_days`, or one of `reasons` (codes)."""

    arr: float | None
    renewal_days: int | None
    reasons: frozenset[str]


class Touch(StrEnum):
    """How accounts of a tier are looked after: by a person, from a pool, or by a machine that a webhook tells."""

    PERSON = "person"
    POOL = "pool"
    WEBHOOK = "webhook"


class Target(StrEnum):
    """Whom a step of escalation tells."""

    OWNER = "owner"
    MANAGER = "manager"
    POOL = "pool"


@dataclass(frozen=True, slots=True)
class Rung:
    """One step when nobody acts: whom to tell, after how much working time of whoever was asked last."""

    to: Target
    after: timedelta


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What happens by itself. `unacknowledge`: working time after which "I'm on it" with nothing after it counts for nothing; None: never."""

    rungs: tuple[Rung, ...]
    unacknowledge: timedelta | None


@dataclass(frozen=True, slots=True)
class Play:
    """One step of a playbook: what to do, by language, within how many working days."""

    text: Mapping[str, str]
    within_days: int


@dataclass(frozen=True, slots=True)
class Playbook:
    """What to do about a kind of episode; `segment` None is for all that have no playbook of their own."""

    kind: Kind
    segment: str | None
    plays: tuple[Play, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """When what can wait is told: on each working day, or weekly on `weekday` (0 = Monday), at a local time; None: when work begins."""

    at: time | None
    weekday: int | None


@dataclass(frozen=True, slots=True)
class Policy:
    """How alerts are routed and paced. `settle` is how long a summary waits for more lines; from `merge_from` on, waiting notices become one message.

    A snooze until it is worse ends after `worse_snooze` at the latest. Of `budget` messages a day and CSM no more is sent; what is over it, and
    the `digest_kinds`, are lines of the digest. `recoveries`: whether the end of trouble is told, or by which pool it is heard.
    """

    catch_all: Pool
    pools: Mapping[str, Pool]
    hours: Hours
    zone: ZoneInfo
    country: str | None
    urgent: Urgent
    rules: Rules
    settle: timedelta
    merge_from: int
    snooze: timedelta
    worse_snooze: timedelta
    follow_up: FollowUp
    playbooks: tuple[Playbook, ...]
    kind_pools: Mapping[Kind, str]
    digest: Digest
    digest_kinds: frozenset[Kind]
    budget: int | None
    recoveries: bool | str
    tiers: Mapping[str, Touch]
    link_valid: timedelta
    account_url: str | None = None
    operator: Pool | None = None
    watchdog_every: timedelta = timedelta(hours=1)

    def rungs(self, kind: Kind) -> tuple[Rung, ...]:
        """Return the steps when nobody acts; about a finding nobody but the owner is asked."""
        return self.follow_up.rungs if kind.trouble else tuple(rung for rung in self.follow_up.rungs if rung.to is Target.OWNER)

    def touch(self, tier: str | None) -> Touch | None:
        """Return how accounts of a tier are looked after; None when nobody said."""
        return self.tiers.get((tier or "").casefold())

    def reaches_somebody(self, channels: Container[Channel]) -> bool:
        """Return whether the catch-all can be told by one of these channels: what finds no other way goes there."""
        return any(channel in channels for channel, _ in self.catch_all.ways)

    def account_link(self, account: str) -> str | None:
        """Return where the account can be opened (a CRM, a console); None when nobody said, or when it would be too long for a button."""
        url = self.account_url.replace("{account}", quote(account, safe="")) if self.account_url else ""
        return url if 0 < len(url) <= LONGEST_URL else None
