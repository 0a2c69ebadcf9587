"""Pure. What follows from an attempt: done, wait and try again, take the other way, or give up where people see it."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import assert_never

from churnsignal_alerts.backoff import Backoff
from churnsignal_alerts.delivery import UNCONFIGURED, Delivery, Record, Way
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.outcome import Outcome, Refused, Retry, Sent, Unknown
from churnsignal_alerts.policy import POOL
from churnsignal_alerts.route import Setup

_BROKEN_TRIES = 5
# Nobody asks any more what a message of yesterday looks like.
_EDIT_FOR = timedelta(days=1)


def next_way(delivery: Delivery, setup: Setup) -> Way | None:
    """Return the way after this one: the same person's e-mail, then the catch-all; None when all were tried.

    From a channel that is configured no longer, any other of the same person comes first.
    """
    policy, usable = setup.policy, setup.channels
    catch_all = POOL + policy.catch_all.name
    onward = usable if delivery.channel not in usable else usable & {Channel.EMAIL} if delivery.channel is Channel.SLACK else frozenset()
    for channel, address in _ways_of(delivery.recipient, setup):
        if channel in onward:
            return Way(delivery.recipient, delivery.name, channel, address)
    if delivery.recipient == catch_all:
        return None
    for channel, address in policy.catch_all.ways:
        if channel in usable:
            return Way(catch_all, policy.catch_all.name, channel, address)
    return None


def _ways_of(recipient: str, setup: Setup) -> tuple[tuple[Channel, str], ...]:
    if recipient.startswith(POOL):
        name = recipient.removeprefix(POOL)
        pool = setup.policy.catch_all if name == setup.policy.catch_all.name else setup.policy.pools.get(name)
        return pool.ways if pool else ()
    csm = setup.directory.find(recipient)
    return tuple((channel, address) for channel in Channel if csm and (address := csm.address(channel)))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: how long it took, how long the message has been tried, what the next way would be, and whether that one works now."""

    took_ms: int
    tried_for: timedelta
    way: Way | None
    way_works: bool
    possible_duplicate: bool
    episodes: tuple[str, ...]
    dropped: tuple[int, ...] = ()


def settle(delivery: Delivery, outcome: Outcome, attempt: Attempt, backoff: Backoff) -> Record:
    """Return what to write about the attempt."""
    match outcome:
        case Sent(ref):
            word = "sent possible_duplicate" if attempt.possible_duplicate else "sent"
            return replace(_record("sent", word, "", attempt), ref=ref)
        case Refused(reason) if reason == UNCONFIGURED and attempt.way is None:
            return _later(delivery, reason, None, attempt, backoff, unknown=False)
        case Refused(reason, bounced):
            record = _other_way(reason, attempt) or _record("failed", "failed", reason, attempt)
            return replace(record, refused=reason, bounced=bounced)
        case Retry(reason, after_s):
            return _later(delivery, reason, after_s, attempt, backoff, unknown=False)
        case Unknown(reason):
            return _later(delivery, reason, None, attempt, backoff, unknown=True)
        case _:
            assert_never(outcome)


def settle_broken(delivery: Delivery, reason: str, backoff: Backoff) -> Record:
    """Return what follows when our own code failed over a message: some more tries, then a failure that people see."""
    attempt = Attempt(0, timedelta(0), None, way_works=False, possible_duplicate=delivery.possible_duplicate, episodes=())
    if delivery.attempts >= _BROKEN_TRIES:
        return _record("failed", "failed", f"broken: {reason}", attempt)
    return replace(_record("retry", "retry", f"broken: {reason}", attempt), wait=backoff.wait(delivery.attempts, None), unknown=None)


def settle_edit(delivery: Delivery, outcome: Outcome, took_ms: int, tried_for: timedelta, backoff: Backoff) -> Record:
    """Return what follows from editing an earlier message: one that is gone, or cannot be edited for a day, stays as it is."""
    attempt = Attempt(took_ms, tried_for, None, way_works=False, possible_duplicate=False, episodes=())
    match outcome:
        case Sent():
            return _record("sent", "edited", "", attempt)
        case Retry() | Unknown() if tried_for < _EDIT_FOR:
            return settle(delivery, outcome, attempt, backoff)
        case Refused(reason) | Retry(reason) | Unknown(reason):
            return _record("cancelled", "cancelled", reason, attempt)
        case _:
            assert_never(outcome)


def _later(delivery: Delivery, reason: str, after_s: float | None, attempt: Attempt, backoff: Backoff, *, unknown: bool) -> Record:
    wait = backoff.wait(delivery.attempts, after_s)
    # While the other way is down as well, the message stays with the person whom it is for.
    patience = backoff.patience if attempt.way and attempt.way.recipient == delivery.recipient else backoff.last_resort
    if attempt.way and attempt.way_works and attempt.tried_for + wait > patience:
        moved = _other_way(reason, attempt)
        if moved:
            return moved
    word = "unknown" if unknown else "retry"
    return replace(_record("retry", word, reason, attempt), wait=wait, unknown=unknown or delivery.unknown, pause_s=after_s)


def _other_way(reason: str, attempt: Attempt) -> Record | None:
    if attempt.way is None:
        return None
    way = attempt.way
    detail = f"{reason}; goes by {way.channel} to {way.recipient}"
    return replace(_record("moved", "moved", detail, attempt), reroute=way)


def _record(state: str, outcome: str, detail: str, attempt: Attempt) -> Record:
    return Record(
        state=state, outcome=outcome, detail=detail, took_ms=attempt.took_ms, possible_duplicate=attempt.possible_duplicate,
        episodes=attempt.episodes, dropped=attempt.dropped,
    )  # fmt: skip
