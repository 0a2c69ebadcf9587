"""Pure. The nouns of alerting: an episode is one account's time in trouble of one kind, a notice tells one person about it."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from churnsignal_common.contracts.risk import RiskChanged


class Kind(StrEnum):
    """What an episode is about."""

    RISK = "risk"
    EARLY_WARNING = "early_warning"


class State(StrEnum):
    """Where an episode stands. The first three are active: at most one such episode per account and kind."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    RECOVERED = "recovered"
    CLOSED = "closed"


ACTIVE = frozenset({State.OPEN, State.ACKNOWLEDGED, State.SNOOZED})


class Outcome(StrEnum):
    """What a person found when closing an episode."""

    SAVED = "saved"
    CHURNED = "churned"
    FALSE_ALARM = "false_alarm"
    NO_ACTION = "no_action"


class NoticeKind(StrEnum):
    """What a notice says. `state` edits an earlier message in place; `summary`, `digest` and `news` are lines of one message.

    The first notice of an episode is `risk`, `summary`, or, when it ended before, `digest`; no episode has two of these in one telling.
    """

    RISK = "risk"
    SUMMARY = "summary"
    DIGEST = "digest"
    NEWS = "news"
    REOPENED = "reopened"
    RECOVERY = "recovery"
    UNSCORED = "unscored"
    REMINDER = "reminder"
    MOVED = "moved"
    STATE = "state"

    @property
    def alone(self) -> bool:
        """Whether it may be a message of its own; the others are always lines of a summary."""
        return self not in (NoticeKind.SUMMARY, NoticeKind.DIGEST, NoticeKind.NEWS)

    @property
    def needs_open(self) -> bool:
        """Whether it asks for action, and so must not be sent once somebody acts or the trouble is over."""
        return self in (NoticeKind.RISK, NoticeKind.SUMMARY, NoticeKind.REOPENED, NoticeKind.REMINDER, NoticeKind.MOVED)


@dataclass(frozen=True, slots=True)
class Episode:
    """One account's time in trouble, from one entry into the band to its end.

    `flips` counts how often it came back, `since` is when it last did. `told` and `over_told`: a notice of it, or of its end, has left
    or is leaving. `pinned`: a person chose the CSM. `fall` is the change with which it last entered the band, `change` is the newest risk change. `by`, `acted_at`, `until`, `outcome` and `note` belong to the last action of a person.
    """

    id: str
    account: str
    kind: Kind
    state: State
    opened_at: datetime
    change: RiskChanged
    fall: RiskChanged
    since: datetime
    flips: int = 0
    told: bool = False
    over_told: bool = False
    ended_at: datetime | None = None
    csm: str | None = None
    pinned: bool = False
    by: str | None = None
    acted_at: datetime | None = None
    until: datetime | None = None
    outcome: Outcome | None = None
    note: str = ""
    score_before: int | None = None

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def name(self) -> str:
        """Return the account's name, or its id when it has none."""
        return self.change.account.name or self.account


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an episode's timeline: what happened, by whom, and why."""

    episode: str
    at: datetime
    what: str
    actor: str
    why: str = ""


def episode_id(account: str, kind: Kind, sequence: int) -> str:
    """Return the id of the episode that the change `sequence` opens: the same in every replay."""
    source = f"{len(account)}:{account}:{kind}:{sequence}".encode()
    return "ep_" + base64.b32encode(hashlib.blake2b(source, digest_size=10).digest()).decode().lower()
