"""Pure. The nouns of alerting: an episode is one account's time in trouble of one kind, a notice tells one person about it."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from churnsignal_common.contracts.contact import Way
from churnsignal_common.contracts.risk import RiskChanged


class Kind(StrEnum):
    """What an episode is about."""

    RISK = "risk"
    EARLY_WARNING = "early_warning"
    OPPORTUNITY = "opportunity"
    RENEWAL = "renewal"
    ONBOARDING = "onboarding"

    @property
    def trouble(self) -> bool:
        """Whether the account does badly; the others are findings of the scorecard, which nobody but the owner is asked about."""
        return self in (Kind.RISK, Kind.EARLY_WARNING)


class State(StrEnum):
    """Where an episode stands. The first three are active: at most one such episode per account and kind."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    RECOVERED = "recovered"
    CLOSED = "closed"


# The account ids and the segment of synthetic alerts: they prove that alerts arrive, and concern nobody.
WATCHDOG = "churnsignal:watchdog"
ACTIVE = frozenset({State.OPEN, State.ACKNOWLEDGED, State.SNOOZED})


class Outcome(StrEnum):
    """What a person found when closing an episode."""

    SAVED = "saved"
    CHURNED = "churned"
    FALSE_ALARM = "false_alarm"
    NO_ACTION = "no_action"


class Feedback(StrEnum):
    """What a person says of the alert itself, whatever becomes of the account."""

    USEFUL = "useful"
    FALSE_ALARM = "false_alarm"
    ALREADY_KNOWN = "already_known"


class NoticeKind(StrEnum):
    """What a notice says. `state` edits an earlier message in place; `summary`, `line`, `digest`, `news` and `handed` are lines of one message.

    The first notice of an episode is `risk`, `summary`, `line`, or, when it ended before, `digest`; no episode has two of these in one
    telling. `line`, `digest` and `news` wait for the reader's digest.
    """

    RISK = "risk"
    SUMMARY = "summary"
    LINE = "line"
    DIGEST = "digest"
    NEWS = "news"
    REOPENED = "reopened"
    RECOVERY = "recovery"
    UNSCORED = "unscored"
    REMINDER = "reminder"
    WORSE = "worse"
    NUDGE = "nudge"
    ESCALATED = "escalated"
    MOVED = "moved"
    HANDED = "handed"
    STATE = "state"

    @property
    def alone(self) -> bool:
        """Whether it may be a message of its own; the others are always lines of a summary."""
        return self not in DIGESTED and self not in (NoticeKind.SUMMARY, NoticeKind.HANDED)

    @property
    def needs_open(self) -> bool:
        """Whether it asks for action, and so must not be sent once somebody acts or the trouble is over."""
        return self in CALLS


# What waits for the reader's digest.
DIGESTED = frozenset({NoticeKind.LINE, NoticeKind.DIGEST, NoticeKind.NEWS})
# What asks somebody to act: shown with buttons, edited when the state changes.
CALLS = frozenset(
    {
        NoticeKind.RISK,
        NoticeKind.SUMMARY,
        NoticeKind.LINE,
        NoticeKind.REOPENED,
        NoticeKind.REMINDER,
        NoticeKind.WORSE,
        NoticeKind.NUDGE,
        NoticeKind.ESCALATED,
        NoticeKind.MOVED,
    }
)
# What tells of the end of a fall.
ENDINGS = frozenset({NoticeKind.RECOVERY, NoticeKind.UNSCORED, NoticeKind.DIGEST, NoticeKind.NEWS})


@dataclass(frozen=True, slots=True)
class Task:
    """One step of a playbook as an episode has it. `text` by language."""

    text: dict[str, str]
    due: date
    done_by: str | None = None
    done_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """One account's time in trouble, from one entry into the band to its end.

    `flips` counts how often it came back, `since` is when it last did. `told` and `over_told`: a notice of it, or of its end, has left
    or is leaving. `pinned`: a person chose the CSM. `fall` is the change with which it last entered the band, `change` is the newest risk change. `by`, `acted_at`, `until`, `outcome` and `note` belong to the last action of a person.

    `rung` counts the steps of escalation that were taken, `next_at` is when the next thing is due by itself. `worse_only`: a snooze that
    a worse score ends early. `muted` says what keeps it from being told. `stands_for` is the CSM on leave whose place `csm` takes.
    `touched_at` is when anybody was last in contact with the account.
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
    rung: int = 0
    next_at: datetime | None = None
    worse_only: bool = False
    muted: str = ""
    stands_for: str | None = None
    feedback: Feedback | None = None
    tasks: tuple[Task, ...] = ()
    touched_at: datetime | None = None

    @property
    def active(self) -> bool:
        return self.state in ACTIVE

    @property
    def name(self) -> str:
        """Return the account's name, or its id when it has none."""
        return self.change.account.name or self.account


@dataclass(frozen=True, slots=True)
class Contact:
    """One line of an account's contact log: `person` was in touch at `at`; `author` wrote it down. `event` is the call that told of it."""

    account: str
    at: datetime
    way: Way
    person: str
    note: str
    author: str
    event: str | None = None


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
