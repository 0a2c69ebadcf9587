"""Pure. From a change, a command, a new owner or a time to what must be written: the episode, its timeline, and who is told what and when."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

import msgspec
from churnsignal_common.contracts.risk import AccountProfile, RiskChanged

from churnsignal_alerts.act import Act, Answer, Command, act
from churnsignal_alerts.decide import NOTICES, Verdict, apply, decide, end
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.episodes import DIGESTED, ENDINGS, Contact, Entry, Episode, Kind, NoticeKind, Outcome, State, Task
from churnsignal_alerts.mute import OUTAGE, PAUSED, Mute, mute, of_profile
from churnsignal_alerts.policy import POOL, Policy, Target
from churnsignal_alerts.route import (
    Recipient,
    Routed,
    Setup,
    addressee,
    assigned,
    back_at,
    digest_at,
    due,
    due_day,
    is_urgent,
    later,
    place,
    shared,
    superior,
    usual,
)

_SYSTEM = "churnsignal"
# Only news may be urgent: what was told before waits for working hours.
_FIRST = frozenset({NoticeKind.RISK, NoticeKind.REOPENED})
# What becomes a line of the digest when it need not be a message: what kinds are set to, and what is over somebody's budget.
_LINES = {
    NoticeKind.RISK: NoticeKind.LINE,
    NoticeKind.SUMMARY: NoticeKind.LINE,
    NoticeKind.REOPENED: NoticeKind.LINE,
    NoticeKind.WORSE: NoticeKind.LINE,
    NoticeKind.NUDGE: NoticeKind.LINE,
    NoticeKind.RECOVERY: NoticeKind.NEWS,
    NoticeKind.UNSCORED: NoticeKind.NEWS,
}

# Reminders are few, since they merge, and promised.
_RATIONED = _LINES.keys() - {NoticeKind.SUMMARY, NoticeKind.NUDGE}


@dataclass(frozen=True, slots=True)
class Scene:
    """When something is decided, by which setup, and which accounts among those it may depend on are red themselves."""

    setup: Setup
    now: datetime
    red: frozenset[str] = frozenset()

    def mute(self, episode: Episode) -> Mute | None:
        return mute(episode.kind, episode.change.account, self.setup.silences, self.red, self.now, episode.change.knockout)


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


def plan_change(change: RiskChanged, newest: Mapping[Kind, Episode], scene: Scene) -> tuple[list[Plan], list[Verdict]]:
    """Return a plan for each kind of episode that the change concerns, and every verdict for the metric."""
    plans, verdicts, rules = [], [], scene.setup.policy.rules
    for kind in Kind:
        episode = newest.get(kind)
        verdict = decide(kind, episode, change, scene.now, rules)
        verdicts.append(verdict)
        after = apply(verdict, kind, episode, change, rules.flap_window)
        if after is not None:
            plans.append(_tell(verdict, after, scene))
    return plans, verdicts


def _tell(verdict: Verdict, episode: Episode, scene: Scene) -> Plan:
    setup, now = scene.setup, scene.now
    routed = _routed(episode, setup, now)
    kind = NOTICES.get(verdict)
    if kind is NoticeKind.WORSE and not episode.told:
        # Nobody knows yet than what it is worse.
        kind = NoticeKind.RISK
    kind = _as_line(kind, episode, setup.policy)
    if kind in ENDINGS and kind is not NoticeKind.DIGEST and not setup.policy.recoveries:
        kind = None
    entry = Entry(episode.id, now, _what(verdict, episode), _SYSTEM, verdict.value)
    if verdict is Verdict.HOLD_OPEN:
        return Plan(episode, (entry,), edit=True)
    episode = replace(episode, csm=routed.recipient.id, stands_for=routed.stands_for)
    when = now if kind is None else _due(kind, episode, routed, setup, now)
    if episode.active:
        tasks = episode.tasks if verdict in _AGAIN else _tasks(episode, routed.recipient, setup.policy, now)
        episode = replace(episode, tasks=tasks, muted="", next_at=next_due(episode, routed.recipient, setup.policy, when))
        if quiet := scene.mute(episode):
            return plan_muted(episode, quiet, entry, now)
    elif episode.muted and not episode.told:
        # What nobody was to hear of ends without a word.
        return Plan(replace(episode, muted=""), (entry,), cancel=True)
    number = _round(now) if verdict in _AGAIN else episode.flips
    if kind in ENDINGS and isinstance(setup.policy.recoveries, str):
        routed = place(setup.policy.recoveries, setup)
        when = _due(kind, episode, routed, setup, now) if kind else now
    notices = _notices(episode, kind, number, verdict.value, routed.recipient, routed.why, when) if kind else ()
    return Plan(episode, (entry,), notices, cancel=True, edit=not episode.active or kind is None)


# What is told again within one fall.
_AGAIN = frozenset({Verdict.TELL_WORSE, Verdict.TELL_MORE})


def _as_line(kind: NoticeKind | None, episode: Episode, policy: Policy) -> NoticeKind | None:
    return _LINES.get(kind, kind) if kind and episode.kind in policy.digest_kinds else kind


# In a burst the first message goes at once, and what follows within this time goes together.
BURST = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Spent:
    """What somebody is told on one day by one channel: the messages that have left, the notices that wait to be one, and when the last is due."""

    messages: int
    waiting: int
    last: datetime | None = None

    def turn(self, due_at: datetime) -> datetime:
        """Return when one notice more is told that could be at `due_at`."""
        if self.last is None or self.last == due_at or self.last + BURST <= due_at:
            return due_at
        return self.last if self.last > due_at else self.last + BURST

    def after(self, merge_from: int) -> int:
        """Return how many messages it will be with one notice more."""
        waiting = self.waiting + 1
        return self.messages + (waiting if waiting < merge_from else 1)


def rationed(plan: Plan, scene: Scene) -> Notice | None:
    """Return the notice of a plan that counts against a CSM's budget of the day in which it is due; None: it may go in any case, at once."""
    if scene.setup.policy.budget is None:
        return None
    counted = (n for n in plan.notices if n.kind in _RATIONED and not n.recipient.id.startswith(POOL))
    return next((notice for notice in counted if not (notice.kind in _FIRST and _urgent(plan.episode, scene.setup.policy))), None)


def ration(plan: Plan, counted: Notice, spent: Spent, scene: Scene) -> Plan:
    """Return the plan within the budget: what follows another message too soon waits, what is over the budget is a line of the next digest."""
    policy, episode, entries, kind = scene.setup.policy, plan.episode, plan.entries, counted.kind
    when = spent.turn(counted.due_at)
    if policy.budget is not None and spent.after(policy.merge_from) > policy.budget:
        kind, when = _LINES[kind], digest_at(counted.recipient, counted.due_at, policy.digest)
        why = f"more than {policy.budget} messages a day: a line in the digest"
        entries = (*entries, Entry(episode.id, scene.now, "digested", _SYSTEM, why))
    if episode.next_at is not None:
        episode = replace(episode, next_at=next_due(episode, counted.recipient, policy, when))
    notices = tuple(replace(n, kind=kind, due_at=when) if n.kind is counted.kind else n for n in plan.notices)
    return replace(plan, episode=episode, notices=notices, entries=entries)


def plan_muted(episode: Episode, quiet: Mute, entry: Entry | None, now: datetime) -> Plan:
    """Return an episode that is not told for now; the timeline says why, once.

    Whatever waited is void, so the end of the mute begins anew: with a line to whoever has the episode, and at the first step.
    """
    entries = [entry] if entry else []
    if episode.muted != quiet.by:
        entries.append(Entry(episode.id, now, "muted", _SYSTEM, quiet.why))
    return Plan(replace(episode, muted=quiet.by, next_at=quiet.until, rung=0), tuple(entries), cancel=True)


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
            rungs = policy.rungs(episode.kind)
            return later(asked, since, rungs[episode.rung].after) if episode.rung < len(rungs) else None
        case State.RECOVERED | State.CLOSED:
            return None
        case _:
            assert_never(episode.state)


def _what(verdict: Verdict, episode: Episode) -> str:
    if not episode.active:
        return "ended"
    if verdict in (Verdict.HOLD_OPEN, Verdict.TELL_MORE, Verdict.TELL_WORSE):
        return "worse" if verdict is Verdict.TELL_WORSE else "changed"
    return "reopened" if episode.flips else "opened"


def _routed(episode: Episode, setup: Setup, now: datetime) -> Routed:
    """Return who hears of the episode: whom a person chose, else the pool of its kind, else whoever heard of it before while the owner is the same."""
    same = episode.kind not in setup.policy.kind_pools and episode.change.account.owner == episode.fall.account.owner
    if episode.csm and (episode.pinned or same):
        chosen = assigned(episode.csm, setup, now)
        if chosen:
            return chosen
    return usual(episode.kind, episode.change.account, setup, now)


def _due(kind: NoticeKind, episode: Episode, routed: Routed, setup: Setup, now: datetime) -> datetime:
    if kind in DIGESTED:
        return digest_at(routed.recipient, now, setup.policy.digest)
    if not kind.alone:
        return due(routed.recipient, now + setup.policy.settle, urgent=False)
    return due(routed.recipient, now, urgent=kind in _FIRST and _urgent(episode, setup.policy))


def _urgent(episode: Episode, policy: Policy) -> bool:
    change = episode.change
    return episode.kind.trouble and is_urgent(change.account, change.knockout, change.as_of.date(), policy)


def _notices(
    episode: Episode, kind: NoticeKind, number: int, verdict: str, who: Recipient, route: str, due_at: datetime
) -> tuple[Notice, ...]:
    return tuple(Notice(episode.id, kind, number, verdict, who, channel, address, route, due_at) for channel, address in who.ways)


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
        # Whoever stands in for somebody on leave.
        after = replace(after, csm=routed.recipient.id, stands_for=routed.stands_for)
        since = due(routed.recipient, now, urgent=False)
        why = f"reassigned by {command.by}"
        notices = _notices(after, NoticeKind.MOVED, _round(now), why, routed.recipient, routed.why, since)
        notices += _farewell(after, episode.csm, why, setup, now)
    quiet = command.act in (Act.NOTE, Act.FEEDBACK, Act.TASK)
    # A word about what is muted ends no silence, and leaves the time at which it is looked at again.
    if not after.muted:
        after = replace(after, next_at=next_due(after, routed.recipient, setup.policy, since))
    return Plan(after, (entry,), notices, cancel=not quiet, edit=not quiet), answer


def plan_contact(episode: Episode, contact: Contact, setup: Setup, now: datetime) -> Plan:
    """Return what a contact with the account means for an active episode: somebody is at work, so the next step waits."""
    asked = _routed(episode, setup, now).recipient
    wait = None if episode.next_at is None else next_due(episode, asked, setup.policy, contact.at)
    after = replace(episode, next_at=episode.next_at if wait is None or episode.next_at is None else max(episode.next_at, wait))
    why = f"{contact.way}; {contact.note}" if contact.note else contact.way.value
    return Plan(after, (Entry(episode.id, now, "contact", contact.person, why),))


def plan_due(episode: Episode, scene: Scene) -> Plan | None:
    """Return what happens by itself now: a snooze wakes, what nothing came of is open again, the next in line is told. None: it is not time."""
    setup, now = scene.setup, scene.now
    if episode.next_at is None or now < episode.next_at:
        return None
    same = _routed(episode, setup, now)
    match episode.state:
        case State.SNOOZED:
            woken = replace(episode, state=State.OPEN, until=None, worse_only=False, rung=0)
            return _step(woken, "woke", "the snooze is over", NoticeKind.REMINDER, same, scene)
        case State.ACKNOWLEDGED:
            again = replace(episode, state=State.OPEN, rung=0)
            return _step(again, "unacknowledged", "nothing has happened since", NoticeKind.NUDGE, same, scene)
        case State.OPEN:
            return _escalate(episode, same, scene)
        case State.RECOVERED | State.CLOSED:
            return Plan(replace(episode, next_at=None), ())
        case _:
            assert_never(episode.state)


def _escalate(episode: Episode, same: Routed, scene: Scene) -> Plan:
    setup, now = scene.setup, scene.now
    if quiet := scene.mute(episode):
        return plan_muted(episode, quiet, None, now)
    if episode.muted:
        return _step(episode, "told", "no longer muted", NoticeKind.SUMMARY, same, scene)
    rungs = setup.policy.rungs(episode.kind)
    if episode.rung >= len(rungs):
        return Plan(replace(episode, next_at=None), ())
    target, up = rungs[episode.rung].to, replace(episode, rung=episode.rung + 1)
    if target is Target.OWNER:
        return _step(up, "reminded", "nobody has acted", NoticeKind.NUDGE, same, scene)
    routed, why = _above(target, episode, scene), "nobody has acted"
    further = rungs[up.rung].to if up.rung < len(rungs) else target
    if further not in (Target.OWNER, target) and _above(further, episode, scene).recipient == routed.recipient:
        # One message is both steps: nobody hears the same twice because an account has no manager.
        up, why = replace(up, rung=up.rung + 1), f"nobody has acted; {target} and {further} are the same people"
    return _step(up, "escalated", f"{why}; {routed.why}", NoticeKind.ESCALATED, routed, scene)


def _above(target: Target, episode: Episode, scene: Scene) -> Routed:
    setup, profile = scene.setup, episode.change.account
    if target is Target.MANAGER:
        return superior(profile, episode.csm, setup, scene.now)
    return shared(profile, setup)


def _step(episode: Episode, what: str, why: str, kind: NoticeKind, routed: Routed, scene: Scene) -> Plan:
    """Return a step taken by time: `routed` is told, and their working time runs until the next."""
    entry = Entry(episode.id, scene.now, what, _SYSTEM, why)
    if quiet := scene.mute(episode):
        return plan_muted(episode, quiet, entry, scene.now)
    kind = _as_line(kind, episode, scene.setup.policy) or kind
    when = _due(kind, episode, routed, scene.setup, scene.now)
    after = replace(episode, muted="", next_at=next_due(episode, routed.recipient, scene.setup.policy, when))
    notices = _notices(after, kind, _round(scene.now), why, routed.recipient, routed.why, when)
    return Plan(after, (entry,), notices, edit=kind is not NoticeKind.ESCALATED)


def _detail(command: Command) -> str:
    when = f"{command.until.isoformat()}{' or when it is worse' if command.worse_only else ''}" if command.until else ""
    step = f"step {command.task + 1}" if command.act is Act.TASK else ""
    parts = [when, command.to or "", command.outcome or "", command.feedback or "", step, command.note]
    return "; ".join(part for part in parts if part)


def _round(now: datetime) -> int:
    return int(now.timestamp() * 1000)


def plan_profile(episode: Episode, profile: AccountProfile, scene: Scene) -> Plan | None:
    """Return what an account's new profile means for its episode. None: nothing changes."""
    if episode.active and profile.lifecycle in _GONE:
        over = end(episode, scene.now, _GONE[profile.lifecycle], f"the account is {profile.lifecycle}")
        over = replace(over, muted="", change=msgspec.structs.replace(episode.change, account=profile))
        return Plan(over, (Entry(episode.id, scene.now, "ended", _SYSTEM, over.note),), cancel=True, edit=True)
    return plan_moved(episode, profile, scene) or plan_heard(episode, profile, scene)


# Accounts of which nothing more is to be told, and what that says of their episodes.
_GONE = {"churned": Outcome.CHURNED, "ignored": Outcome.NO_ACTION}


def plan_moved(episode: Episode, profile: AccountProfile, scene: Scene) -> Plan | None:
    """Return what a new owner of the account means for its active episode: each side is told once. None: nothing changes."""
    if not episode.active or episode.pinned or profile.owner == episode.fall.account.owner:
        return None
    setup = scene.setup
    change, fall = (msgspec.structs.replace(one, account=profile) for one in (episode.change, episode.fall))
    after = replace(episode, change=change, fall=fall)
    routed = usual(episode.kind, profile, setup, scene.now)
    if routed.recipient.id == episode.csm:
        return Plan(after, ())
    return _handed(after, routed, "the account has a new owner", scene)


def plan_heard(episode: Episode, profile: AccountProfile, scene: Scene) -> Plan | None:
    """Return what it means for an active episode that its account is paused or goes on, or its sources fell silent or are heard. None: nothing changes.

    What was not told meanwhile is told in one summary afterwards.
    """
    if not episode.active:
        return None
    known = msgspec.structs.replace(episode.change.account, silent_sources=profile.silent_sources, lifecycle=profile.lifecycle)
    after = replace(episode, change=msgspec.structs.replace(episode.change, account=known))
    if episode.muted.startswith((OUTAGE, PAUSED)):
        return Plan(replace(after, next_at=scene.now), ()) if not of_profile(profile) else None
    quiet = scene.mute(after)
    if episode.state is State.OPEN and not episode.muted and quiet and quiet.by == of_profile(profile):
        return plan_muted(after, quiet, None, scene.now)
    return None if known == episode.change.account else Plan(after, ())


def plan_away(episode: Episode, scene: Scene) -> Plan | None:
    """Return what somebody's leave, or their return, means for an active episode: each side is told once. None: nothing changes."""
    setup, now = scene.setup, scene.now
    chosen = episode.stands_for or episode.csm
    routed = assigned(chosen, setup, now) if episode.pinned and chosen else None
    routed = routed or usual(episode.kind, episode.change.account, setup, now)
    if not episode.active or routed.recipient.id == episode.csm:
        return None
    here = episode.csm and assigned(episode.csm, setup, now)
    if episode.state is State.ACKNOWLEDGED and here and here.recipient.id == episode.csm:
        # Whoever is at it goes on.
        return None
    return _handed(episode, routed, "back from leave" if here and here.recipient.id == episode.csm else "on leave", scene)


def _handed(episode: Episode, routed: Routed, why: str, scene: Scene) -> Plan:
    """Return the episode with somebody else: they are told, and so is whoever had heard of it before."""
    kind = NoticeKind.MOVED if episode.told else NoticeKind.RISK
    kind = _as_line(kind, episode, scene.setup.policy) or kind
    when, before = _due(kind, episode, routed, scene.setup, scene.now), episode.csm
    # Whoever was at it hands it over: the new one has not said that they are.
    state = State.OPEN if episode.state is State.ACKNOWLEDGED else episode.state
    after = replace(episode, state=state, csm=routed.recipient.id, stands_for=routed.stands_for, rung=0, muted="")
    entry = Entry(episode.id, scene.now, "moved", _SYSTEM, f"{why}; {routed.why}")
    if after.state is State.OPEN and (quiet := scene.mute(after)):
        return plan_muted(after, quiet, entry, scene.now)
    after = replace(after, next_at=next_due(after, routed.recipient, scene.setup.policy, when))
    notices = () if after.state is State.SNOOZED else _notices(after, kind, _round(scene.now), why, routed.recipient, routed.why, when)
    farewell = _farewell(after, before, why, scene.setup, scene.now)
    return Plan(after, (entry,), notices + farewell, cancel=True, edit=state is not episode.state)


def _farewell(episode: Episode, before: str | None, why: str, setup: Setup, now: datetime) -> tuple[Notice, ...]:
    """Return the line that tells whoever looked after a told episode that somebody else does."""
    who = addressee(before, setup) if before and episode.told else None
    if who is None or who.id == episode.csm:
        return ()
    due_at = back_at(who, setup.directory, now)
    return _notices(episode, NoticeKind.HANDED, _round(now), why, who, "looked after it before", due_at)


def default_snooze(command: Command, policy: Policy, now: datetime) -> datetime:
    """Return when a snooze without a time ends: "tell me tomorrow", or long after when a worse score ends it before."""
    return now + (policy.worse_snooze if command.worse_only else policy.snooze)
