"""Pure. From a change, a command or a new owner to what must be written: the episode, its timeline, and who is told what and when."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
from churnsignal_common.contracts.risk import AccountProfile, RiskChanged

from churnsignal_alerts.act import Act, Answer, Command, act
from churnsignal_alerts.decide import NOTICES, Verdict, apply, decide
from churnsignal_alerts.directory import Channel, Directory
from churnsignal_alerts.episodes import Entry, Episode, Kind, NoticeKind
from churnsignal_alerts.policy import Policy
from churnsignal_alerts.route import Recipient, Routed, assigned, due, is_urgent, route

_SYSTEM = "churnsignal"


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
    if verdict is Verdict.HOLD_OPEN or kind is None:
        return Plan(episode, (entry,), cancel=verdict is not Verdict.HOLD_OPEN, edit=not episode.active)
    notices = _notices(episode, kind, episode.flips, verdict.value, routed, _due(kind, episode, routed, setup, now))
    return Plan(episode, (entry,), notices, cancel=True, edit=not episode.active)


def _what(verdict: Verdict, episode: Episode) -> str:
    if not episode.active:
        return "ended"
    if verdict is Verdict.HOLD_OPEN:
        return "changed"
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
    return due(routed.recipient, now, urgent=kind.needs_open and is_urgent(episode.change, setup.policy))


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
    if command.act is Act.SNOOZE and command.until is not None:
        when = due(routed.recipient, command.until, urgent=False)
        notices = _notices(after, NoticeKind.REMINDER, int(command.until.timestamp()), "the snooze is over", routed, when)
    if command.act is Act.REASSIGN:
        notices = _notices(
            after, NoticeKind.MOVED, _round(now), f"reassigned by {command.by}", routed, due(routed.recipient, now, urgent=False)
        )
    return Plan(after, (entry,), notices, cancel=True, edit=True), answer


def _detail(command: Command) -> str:
    parts = [command.until.isoformat() if command.until else "", command.to or "", command.outcome or "", command.note]
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
    after = replace(after, csm=routed.recipient.id)
    kind = NoticeKind.MOVED if episode.told else NoticeKind.RISK
    notices = _notices(after, kind, _round(now), "the account has a new owner", routed, _due(kind, after, routed, setup, now))
    return Plan(after, (Entry(episode.id, now, "moved", _SYSTEM, routed.why),), notices, cancel=True)


def default_snooze(now: datetime, recipient: Recipient | None, policy: Policy) -> datetime:
    """Return when "tell me tomorrow" is: one snooze from now, moved to the person's next opening."""
    until = now + policy.snooze
    return due(recipient, until, urgent=False) if recipient else until
