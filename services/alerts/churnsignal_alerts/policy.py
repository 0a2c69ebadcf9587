"""Pure. What routing.yaml says, as values: pools, hours, urgent exceptions, when to merge and how long to wait."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

from churnsignal_common.catalog.locales import Locale

from churnsignal_alerts.decide import Rules
from churnsignal_alerts.hours import Hours

# Slack's for a button.
LONGEST_URL = 3_000


@dataclass(frozen=True, slots=True)
class Pool:
    """A shared place to tell: a Slack channel, an e-mail address or both. `hours` None means the deployment's."""

    name: str
    slack: str | None
    email: str | None
    locale: Locale
    zone: ZoneInfo | None = None
    country: str | None = None
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Urgent:
    """What may be told outside working hours: revenue from `arr` on, a renewal within `renewal_days`, or one of `reasons` (codes)."""

    arr: float | None
    renewal_days: int | None
    reasons: frozenset[str]


@dataclass(frozen=True, slots=True)
class Policy:
    """How alerts are routed and paced. `settle` is how long a summary waits for more lines; from `merge_from` on, waiting notices become one message."""

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
    link_valid: timedelta
    account_url: str | None = None

    def account_link(self, account: str) -> str | None:
        """Return where the account can be opened (a CRM, a console); None when nobody said, or when it would be too long for a button."""
        url = self.account_url.replace("{account}", quote(account, safe="")) if self.account_url else ""
        return url if 0 < len(url) <= LONGEST_URL else None
