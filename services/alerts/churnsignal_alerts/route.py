"""Pure. Who is told, by which channel and when: owner > delegate while away > manager > segment pool > catch-all. Never nobody."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from churnsignal_common.catalog.locales import Locale
from churnsignal_common.contracts.risk import AccountProfile, RiskChanged

from churnsignal_alerts.directory import Channel, Csm, Directory, zone_of
from churnsignal_alerts.hours import Hours, after_working, holiday_calendar, next_opening, working_day
from churnsignal_alerts.policy import Policy, Pool

_CHAIN = 5


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was looked at, and why it was taken or passed over."""

    rule: str
    who: str
    taken: bool
    why: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who is told: a CSM (by id) or a pool (`pool:<name>`), and how to reach and address them. `ways` is never empty."""

    id: str
    name: str
    ways: tuple[tuple[Channel, str], ...]
    locale: Locale
    zone: ZoneInfo
    country: str | None
    hours: Hours


@dataclass(frozen=True, slots=True)
class Routed:
    """The decision and how it came about."""

    recipient: Recipient
    steps: tuple[Step, ...]

    @property
    def why(self) -> str:
        return next(f"{step.rule}: {step.why}" for step in self.steps if step.taken)


def route(profile: AccountProfile, directory: Directory, policy: Policy, channels: frozenset[Channel], now: datetime) -> Routed:
    """Return who is told about an account. `channels` are the configured ones; with none, both count, and notices wait for one."""
    usable = channels or frozenset(Channel)
    steps: list[Step] = []
    person = _person(profile.owner, directory, policy, usable, now, steps)
    if person:
        return Routed(person, tuple(steps))
    return Routed(_pool(profile.segment, policy, usable, steps), tuple(steps))


def assigned(csm: str, directory: Directory, policy: Policy, channels: frozenset[Channel], now: datetime) -> Routed | None:
    """Return the route to a CSM whom a person chose, or None when the directory cannot reach anyone in their line."""
    steps: list[Step] = []
    person = _person(csm, directory, policy, channels or frozenset(Channel), now, steps)
    return Routed(person, tuple(steps)) if person else None


def superior(
    profile: AccountProfile, csm: str | None, directory: Directory, policy: Policy, channels: frozenset[Channel], now: datetime
) -> Routed:
    """Return who is above whoever looks after the account; where nobody is, its pool: a step of escalation is never left out."""
    usable, steps = channels or frozenset(Channel), list[Step]()
    below = directory.find(csm) or directory.find(profile.owner)
    for other in _line(below, "manager", directory) if below else []:
        if found := _try("manager", other, policy, usable, now, steps):
            return Routed(found, tuple(steps))
    return Routed(_pool(profile.segment, policy, usable, steps), tuple(steps))


def shared(profile: AccountProfile, policy: Policy, channels: frozenset[Channel]) -> Routed:
    """Return the pool of the account."""
    steps: list[Step] = []
    return Routed(_pool(profile.segment, policy, channels or frozenset(Channel), steps), tuple(steps))


def _person(
    owner: str | None, directory: Directory, policy: Policy, usable: frozenset[Channel], now: datetime, steps: list[Step]
) -> Recipient | None:
    if not owner:
        steps.append(Step("owner", "", False, "the account has no owner"))
        return None
    csm = directory.find(owner)
    if csm is None:
        steps.append(Step("owner", owner, False, "not in the directory of CSMs"))
        return None
    seen: set[str] = set()
    found = _try("owner", csm, policy, usable, now, steps)
    if found:
        return found
    seen.add(csm.id)
    for rule, links in (("delegate", _line(csm, "delegate", directory)), ("manager", _line(csm, "manager", directory))):
        for other in links:
            if other.id not in seen:
                seen.add(other.id)
                found = _try(rule, other, policy, usable, now, steps)
                if found:
                    return found
    return None


def _line(csm: Csm, link: str, directory: Directory) -> list[Csm]:
    """Return the chain of delegates or managers, bounded so that a ring ends."""
    found: list[Csm] = []
    here: Csm | None = csm
    for _ in range(_CHAIN):
        here = directory.find(getattr(here, link))
        if here is None or here in found:
            break
        found.append(here)
    return found


def _try(rule: str, csm: Csm, policy: Policy, usable: frozenset[Channel], now: datetime, steps: list[Step]) -> Recipient | None:
    zone = zone_of(csm.zone, policy.zone)
    ways = _ways(csm, usable)
    why = ""
    if not csm.active:
        why = "deactivated"
    elif csm.away_on(now.astimezone(zone).date()):
        why = "on leave"
    elif not ways:
        why = "no address on a channel that is configured"
    steps.append(Step(rule, csm.id, not why, why or "reachable"))
    if why:
        return None
    return Recipient(csm.id, csm.name, ways, csm.locale, zone, csm.country or policy.country, csm.hours or policy.hours)


def _ways(csm: Csm, usable: frozenset[Channel]) -> tuple[tuple[Channel, str], ...]:
    wanted = [(c, address) for c in csm.channels if c in usable and (address := csm.address(c))]
    # A preference that cannot be met must not silence the person: any other address will do.
    other = [(c, address) for c in Channel if c in usable and (address := csm.address(c))]
    return tuple(wanted or other[:1])


def _pool(segment: str | None, policy: Policy, usable: frozenset[Channel], steps: list[Step]) -> Recipient:
    pool = policy.pools.get(segment or "")
    if pool:
        ways = _pool_ways(pool, usable)
        steps.append(
            Step("segment", pool.name, bool(ways), "pool of the segment" if ways else "no address on a channel that is configured")
        )
        if ways:
            return _recipient(pool, ways, policy)
    else:
        steps.append(Step("segment", segment or "", False, "no pool for this segment"))
    ways = _pool_ways(policy.catch_all, usable) or _pool_ways(policy.catch_all, frozenset(Channel))
    steps.append(Step("catch-all", policy.catch_all.name, True, "nobody else could be reached"))
    return _recipient(policy.catch_all, ways, policy)


def _pool_ways(pool: Pool, usable: frozenset[Channel]) -> tuple[tuple[Channel, str], ...]:
    return tuple(way for way in pool.ways if way[0] in usable)[:1]


def _recipient(pool: Pool, ways: tuple[tuple[Channel, str], ...], policy: Policy) -> Recipient:
    zone = pool.zone or policy.zone
    return Recipient(f"pool:{pool.name}", pool.name, ways, pool.locale, zone, pool.country or policy.country, pool.hours or policy.hours)


def due(recipient: Recipient, now: datetime, *, urgent: bool) -> datetime:
    """Return when the recipient may be told: now when urgent or at work, else at the next opening. Queued, never dropped."""
    if urgent:
        return now
    return next_opening(now, recipient.hours, recipient.zone, holiday_calendar(recipient.country))


def later(recipient: Recipient, start: datetime, span: timedelta) -> datetime:
    """Return when `span` of the recipient's working time has passed."""
    return after_working(start, span, recipient.hours, recipient.zone, holiday_calendar(recipient.country))


def due_day(recipient: Recipient, now: datetime, days: int) -> date:
    """Return the recipient's day that is so many working days ahead."""
    return working_day(now.astimezone(recipient.zone).date(), days, recipient.hours, holiday_calendar(recipient.country))


def is_urgent(change: RiskChanged, policy: Policy) -> bool:
    """Return whether the change may be told outside working hours."""
    rule, account = policy.urgent, change.account
    if rule.arr is not None and account.arr is not None and account.arr >= rule.arr:
        return True
    if rule.renewal_days is not None and account.renewal_on is not None:
        left = (account.renewal_on - change.as_of.date()).days
        if 0 <= left <= rule.renewal_days:
            return True
    return change.knockout is not None and change.knockout in rule.reasons


def priority(change: RiskChanged) -> int:
    """Return the order of the list: revenue at risk, more of it the nearer the renewal; accounts without a known revenue come after."""
    account = change.account
    at_risk = 10_000 - (change.score_after if change.score_after is not None else 5_000)
    nearness = 0
    if account.renewal_on is not None:
        nearness = max(0, 180 - max(0, (account.renewal_on - change.as_of.date()).days))
    money = min(int(account.arr or 0), 10**12)
    return (money * at_risk + at_risk) * (180 + nearness) // 180
