"""Pure. The demo's report: how the books add up, and each of the six promises that a demo can check."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

from churnsignal_common.contracts.risk import Band, Cause, RiskChanged, RiskChangedEvent

from churnsignal_devstack.demo.books import Sent

WHOLE_STORY_DAYS = 90
_OUTCOMES = ("applied", "duplicate", "conflict", "ignored", "parked", "dead")


@dataclass(frozen=True, slots=True)
class Notice:
    """One row of alerts.v_notices: an episode was told to somebody."""

    episode: str
    channel: str
    kind: str


@dataclass(slots=True)
class Seen:
    """What the demo saw while it ran. `changes` carry the broker's time in seconds."""

    changes: list[tuple[float, RiskChangedEvent]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    red_episodes: set[str] = field(default_factory=set)
    on_topics: set[str] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)
    http_to_change_ms: list[float] = field(default_factory=list)
    change_to_notice_ms: list[float] = field(default_factory=list)
    accounts: int = 0


def build(seen: Seen, books: Sent, seconds: float, days: int) -> dict[str, Any]:
    """Return the report of `surface.md`'s shape; `ok` only if `problems` is empty."""
    changes = [event.data for _, event in seen.changes]
    moves = [change for change in changes if change.from_band is not change.to_band]
    problems = [*_durable(seen, books), *_adds_up(seen, books), *_gapless(changes), *_told_once(seen)]
    # In a few weeks nobody need fall silent.
    problems += _silence(moves) if days >= WHOLE_STORY_DAYS else ()
    return {
        "ok": not problems,
        "seconds": round(seconds, 1),
        "accounts": seen.accounts,
        "events": {
            "sent": len(books.sent),
            "accepted": len(books.accepted),
            "suppressed": books.suppressed,
            "rejected": len(books.rejected),
            **{name: seen.outcomes[name] for name in _OUTCOMES},
        },
        "changes": {band.value: sum(c.to_band is band for c in moves) for band in (Band.RED, Band.YELLOW, Band.GREEN, Band.GREY)},
        "episodes": len(seen.red_episodes),
        "notices": {kind: sum(m["kind"] == kind for m in seen.messages) for kind in ("slack", "email")},
        "latency_ms": {"http_to_change_p99": p99(seen.http_to_change_ms), "change_to_notice_p99": p99(seen.change_to_notice_ms)},
        "problems": problems,
    }


def p99(values: Sequence[float]) -> float | None:
    """Return the 99th percentile (nearest rank), or None of nothing."""
    return round(sorted(values)[min(len(values) - 1, int(len(values) * 0.99))], 1) if values else None


def _durable(seen: Seen, books: Sent) -> Iterable[str]:
    lost = books.accepted - seen.on_topics
    if lost:
        yield f"{len(lost)} accepted calls are on no topic, such as {min(lost)}"


def _adds_up(seen: Seen, books: Sent) -> Iterable[str]:
    total = sum(seen.outcomes[name] for name in _OUTCOMES)
    if total != len(books.accepted):
        yield f"accepted {len(books.accepted)} but applied, duplicate, conflict, ignored, parked and dead sum to {total}"


def _gapless(changes: list[RiskChanged]) -> Iterable[str]:
    by_account: defaultdict[str, list[RiskChanged]] = defaultdict(list)
    for change in changes:
        by_account[change.account.account].append(change)
    for account, found in by_account.items():
        distinct = {c.sequence: c for c in found}
        if sorted(distinct) != list(range(1, len(distinct) + 1)):
            yield f"{account}: sequences {sorted(distinct)} have a gap"
            continue
        ordered = [distinct[n] for n in sorted(distinct)]
        for before, after in pairwise(ordered):
            if before.to_band is not after.from_band:
                yield f"{account}: change {after.sequence} starts from {after.from_band}, not from {before.to_band}"


def _told_once(seen: Seen) -> Iterable[str]:
    told = Counter(n.episode for n in seen.notices)
    for episode in sorted(seen.red_episodes):
        if told[episode] == 0:
            yield f"red episode {episode} was told to nobody"
        if told[episode] > 1:
            yield f"red episode {episode} was told {told[episode]} times"
    kinds = {m["kind"] for m in seen.messages}
    yield from (f"no {kind} message reached the inbox" for kind in ("slack", "email") if kind not in kinds)


def _silence(changes: list[RiskChanged]) -> Iterable[str]:
    week = timedelta(days=7)
    quiet = [c for c in changes if c.to_band is Band.RED and c.cause is Cause.CLOSE and c.last_seen and c.as_of.date() - c.last_seen > week]
    if not quiet:
        yield "no account turned red by silence alone"
