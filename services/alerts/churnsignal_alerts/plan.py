"""Pure. From a change, a command, a new owner or a time to what must be written: the episode, its timeline, and who is told what and when."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

import msgspec
from churnsignal_common.contracts.risk import AccountProfile, RiskChanged

from churnsignal_alerts.act import Act, Answer, Command, act
from churnsignal_alerts.decide import NOTICES, Verdict, apply, decide
from churnsignal_alerts.directory import Channel, Directory
from churnsignal_alerts.episodes import Contact, Entry, Episode, Kind, NoticeKind, State, Task
from churnsignal_alerts.policy import Policy, Target
from churnsignal_alerts.route import Recipient, Routed, assigned, due, due_day, is_urgent, later, route, shared, superior

_SYSTEM = "churnsignal"
# Only news may be urgent: what was told before waits for working hours.
_FIRST = frozenset({NoticeKind.RISK, NoticeKind.REOPENED})


@dataclass(frozen=True, slots=True)
class Setup:
    """Who is there and how they are told: the directory, the policy, and the channels that are configured."""

    directory: Directory
    policy: Policy
    channels: frozenset[Channel]


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell one person by one channel, not before `due_at`. `round` tells repeated notices of one kind apart."""

    episode: str
    kind: NoticeKind
    round: int
    verdict: str
    recipient: Recipient
    channel: Channel
    address: str
    route: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write in one transaction. `cancel`: whatever is still queued for the episode is void; `edit`: messages show its new state."""

    episode: Episode
    entries: tuple[Entry, ...]
    notices: tuple[Notice, ...] = ()
    cancel: bool = False
    edit: bool = False


def plan_change(change: RiskChanged, newest: Mapping[Kind, Episode], setup: Setup, now: datetime) -> tuple[list[Plan], list[Verdict]]:
    """Return a plan for each kind of episode that the change concerns, and every verdict for the metric."""
    plans, verdicts = [], []
    for kind in Kind:
        episode = newest.get(kind)
        verdict = decide(kind, episode, change, now, setup.policy.rules)
        verdicts.append(verdict)
        after = apply(verdict, kind, episode, change, setup.policy.rules.flap_window)
        if after is not None:
            plans.append(_tell(verdict, after, setup, now))
    return plans, verdicts


def _tell(verdict: Verdict, episode: Episode, setup: Setup, now: datetime) -> Plan:
    routed = _routed(episode, setup, now)
    if verdict is not Verdict.HOLD_OPEN:
        episode = replace(episode, csm=routed.recipient.id)
    entry = Entry(episode.id, now, _what(verdict, episode), _SYSTEM, verdict.value)
    kind = NOTICES.get(verdict)
    if verdict is Verdict.HOLD_OPEN:
        return Plan(episode, (entry,))
    when = now if kind is None else _due(kind, episode, routed, setup, now)
    if episode.active:
        tasks = episode.tasks if verdict is Verdict.TELL_WORSE else _tasks(episode, routed.recipient, setup.policy, now)
        episode = replace(episode, tasks=tasks, next_at=next_due(episode, routed.recipient, setup.policy, when))
    number = _round(now) if verdict is Verdict.TELL_WORSE else episode.flips
    notices = _notices(episode, kind, number, verdict.value, routed, when) if kind else ()
    return Plan(episode, (entry,), notices, cancel=True, edit=not episode.active)


def _tasks(episode: Episode, who: Recipient, policy: Policy, now: datetime) -> tuple[Task, ...]:
    """Return the steps of the playbook of the episode's kind and segment, with the days by which they are due."""
    books = {book.segment: book.plays for book in policy.playbooks if book.kind is episode.kind}
    plays = books.get(episode.change.account.segment, books.get(None, ()))
    return tuple(Task(dict(play.text), due_day(who, now, play.within_days)) for play in plays)


def next_due(episode: Episode, asked: Recipient, policy: Policy, since: datetime) -> datetime | None:
    """Return when the next thing happens by itself; `since` is when `asked` was last asked, or last did something. None: never."""
    rules = policy.follow_up
    match episode.state:
        case State.SNOOZED:
            return episode.until
        case State.ACKNOWLEDGED:
            return later(asked, since, rules.unacknowledge) if rules.unacknowledge else None
        case State.OPEN:
            return later(asked, since, rules.rungs[episode.rung].after) if episode.rung < len(rules.rungs) else None
        case State.RECOVERED | State.CLOSED:
            return None
        case _:
            assert_never(episode.state)


def _what(verdict: Verdict, episode: Episode) -> str:
    if not episode.active:
        return "ended"
    if verdict in (Verdict.HOLD_OPEN, Verdict.TELL_WORSE):
        return "changed" if verdict is Verdict.HOLD_OPEN else "woke"
    return "reopened" if episode.flips else "opened"


def _routed(episode: Episode, setup: Setup, now: datetime) -> Routed:
    """Return who hears of the episode: whoever heard of it before, while the account has the same owner or a person chose them."""
    same = episode.pinned or episode.change.account.owner == episode.fall.account.owner
    if episode.csm and same:
        chosen = assigned(episode.csm, setup.directory, setup.policy, setup.channels, now)
        if chosen:
            return chosen
    return route(episode.change.account, setup.directory, setup.policy, setup.channels, now)


def _due(kind: NoticeKind, episode: Episode, routed: Routed, setup: Setup, now: datetime) -> datetime:
    if not kind.alone:
        return due(routed.recipient, now + setup.policy.settle, urgent=False)
    return due(routed.recipient, now, urgent=kind in _FIRST and is_urgent(episode.change, setup.policy))


def _notices(episode: Episode, kind: NoticeKind, number: int, verdict: str, routed: Routed, due_at: datetime) -> tuple[Notice, ...]:
    return tuple(
        Notice(episode.id, kind, number, verdict, routed.recipient, channel, address, routed.why, due_at)
        for channel, address in routed.recipient.ways
    )


def plan_command(episode: Episode, command: Command, setup: Setup, now: datetime) -> tuple[Plan | None, Answer]:
    """Return what a person's command writes, None when it changes nothing, and the answer."""
    after, answer = act(episode, command, now)
    if answer is not Answer.DONE:
        return None, answer
    entry = Entry(episode.id, now, command.act.value, command.by, _detail(command))
    notices: tuple[Notice, ...] = ()
    routed = _routed(after, setup, now)
    since = now
    if command.act is Act.REASSIGN:
        since = due(routed.recipient, now, urgent=False)
        notices = _notices(after, NoticeKind.MOVED, _round(now), f"reassigned by {command.by}", routed, since)
    after = replace(after, next_at=next_due(after, routed.recipient, setup.policy, since))
    quiet = command.act in (Act.NOTE, Act.FEEDBACK, Act.TASK)
    return Plan(after, (entry,), notices, cancel=not quiet, edit=not quiet), answer


def plan_contact(episode: Episode, contact: Contact, setup: Setup, now: datetime) -> Plan:
    """Return what a contact with the account means for an active episode: somebody is at work, so the next step waits."""
    asked = _routed(episode, setup, now).recipient
    wait = None if episode.next_at is None else next_due(episode, asked, setup.policy, contact.at)
    after = replace(episode, next_at=episode.next_at if wait is None or episode.next_at is None else max(episode.next_at, wait))
    why = f"{contact.way}; {contact.note}" if contact.note else contact.way.value
    return Plan(after, (Entry(episode.id, now, "contact", contact.person, why),))


def plan_due(episode: Episode, setup: Setup, now: datetime) -> Plan | None:
    """Return what happens by itself now: a snooze wakes, what nothing came of is open again, the next in line is told. None: it is not time."""
    if episode.next_at is None or now < episode.next_at:
        return None
    same = _routed(episode, setup, now)
    match episode.state:
        case State.SNOOZED:
            woken = replace(episode, state=State.OPEN, until=None, worse_only=False, rung=0)
            return _step(woken, "woke", "the snooze is over", NoticeKind.REMINDER, same, setup, now)
        case State.ACKNOWLEDGED:
            again = replace(episode, state=State.OPEN, rung=0)
            return _step(again, "unacknowledged", "nothing has happened since", NoticeKind.NUDGE, same, setup, now)
        case State.OPEN:
            return _escalate(episode, same, setup, now)
        case State.RECOVERED | State.CLOSED:
            return Plan(replace(episode, next_at=None), ())
        case _:
            assert_never(episode.state)


def _escalate(episode: Episode, same: Routed, setup: Setup, now: datetime) -> Plan:
    if episode.rung >= len(setup.policy.follow_up.rungs):
        return Plan(replace(episode, next_at=None), ())
    target, profile = setup.policy.follow_up.rungs[episode.rung].to, episode.change.account
    up = replace(episode, rung=episode.rung + 1)
    match target:
        case Target.OWNER:
            return _step(up, "reminded", "nobody has acted", NoticeKind.NUDGE, same, setup, now)
        case Target.MANAGER:
            routed = superior(profile, episode.csm, setup.directory, setup.policy, setup.channels, now)
        case Target.POOL:
            routed = shared(profile, setup.policy, setup.channels)
        case _:
            assert_never(target)
    return _step(up, "escalated", f"nobody has acted; {routed.why}", NoticeKind.ESCALATED, routed, setup, now)


def _step(episode: Episode, what: str, why: str, kind: NoticeKind, routed: Routed, setup: Setup, now: datetime) -> Plan:
    """Return a step taken by time: `routed` is told, and their working time runs until the next."""
    when = _due(kind, episode, routed, setup, now)
    after = replace(episode, next_at=next_due(episode, routed.recipient, setup.policy, when))
    notices = _notices(after, kind, _round(now), why, routed, when)
    return Plan(after, (Entry(episode.id, now, what, _SYSTEM, why),), notices, edit=what != "escalated")


def _detail(command: Command) -> str:
    when = f"{command.until.isoformat()}{' or when it is worse' if command.worse_only else ''}" if command.until else ""
    step = f"step {command.task + 1}" if command.act is Act.TASK else ""
    parts = [when, command.to or "", command.outcome or "", command.feedback or "", step, command.note]
    return "; ".join(part for part in parts if part)


def _round(now: datetime) -> int:
    return int(now.timestamp() * 1000)


def plan_moved(episode: Episode, profile: AccountProfile, setup: Setup, now: datetime) -> Plan | None:
    """Return what a new owner of the account means for its active episode: the new one is told once. None: nothing changes."""
    if not episode.active or episode.pinned or profile.owner == episode.fall.account.owner:
        return None
    change, fall = (msgspec.structs.replace(one, account=profile) for one in (episode.change, episode.fall))
    after = replace(episode, change=change, fall=fall)
    routed = route(profile, setup.directory, setup.policy, setup.channels, now)
    if routed.recipient.id == episode.csm:
        return Plan(after, ())
    kind = NoticeKind.MOVED if episode.told else NoticeKind.RISK
    when = _due(kind, after, routed, setup, now)
    after = replace(after, csm=routed.recipient.id, rung=0)
    after = replace(after, next_at=next_due(after, routed.recipient, setup.policy, when))
    notices = _notices(after, kind, _round(now), "the account has a new owner", routed, when)
    return Plan(after, (Entry(episode.id, now, "moved", _SYSTEM, routed.why),), notices, cancel=True)


def default_snooze(command: Command, policy: Policy, now: datetime) -> datetime:
    """Return when a snooze without a time ends: "tell me tomorrow", or long after when a worse score ends it before."""
    return now + (policy.worse_snooze if command.worse_only else policy.snooze)
