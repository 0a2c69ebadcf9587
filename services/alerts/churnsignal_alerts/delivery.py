"""Pure. One message on its way: what is leased, what an attempt came to, and the way after this one."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from churnsignal_alerts.directory import Channel

# What is said of a channel that nobody has configured here, while something waits for it.
UNCONFIGURED = "not configured"


@dataclass(frozen=True, slots=True)
class Way:
    """Another way to tell the same: to whom, by which channel, at which address."""

    recipient: str
    name: str
    channel: Channel
    address: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """A place that refused for good; `address` is `*` for all of a channel. `bounced`: mail to it came back, so it is spared."""

    channel: Channel
    address: str
    name: str
    reason: str
    bounced: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message under our lease. `unknown`: an earlier attempt may have reached the provider. `note`: what it says to the operator.

    `key` is what the provider knows it by, the same at every attempt, whatever of its content is void by then.
    """

    id: int
    fence: int
    recipient: str
    name: str
    channel: Channel
    address: str
    locale: str
    zone: str
    attempts: int
    first_try: datetime
    unknown: bool
    possible_duplicate: bool
    key: str
    note: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What became of an attempt. `state` is the delivery's next state; `wait` only for retry; `reroute` moves its notices to another way.

    `unknown` None: whether the provider has it is as the mark says.
    """

    state: str
    outcome: str
    detail: str
    took_ms: int
    ref: str | None = None
    wait: timedelta | None = None
    unknown: bool | None = False
    possible_duplicate: bool = False
    pause_s: float | None = None
    reroute: Way | None = None
    dropped: tuple[int, ...] = ()
    episodes: tuple[str, ...] = ()
    refused: str | None = None
    bounced: bool = False
