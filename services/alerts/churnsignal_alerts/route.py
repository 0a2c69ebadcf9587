"""Pure. Who is told, by which channel and when: owner > delegate while away > manager > segment pool > catch-all. Never nobody."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from churnsignal_common.catalog.locales import Locale
from churnsignal_common.contracts.risk import AccountProfile, RiskChanged, at_risk

from churnsignal_alerts.directory import Channel, Csm, Directory, zone_of
from churnsignal_alerts.episodes import Kind
from churnsignal_alerts.hours import ALWAYS, Hours, after_working, holiday_calendar, next_digest, next_opening, working_day
from churnsignal_alerts.mute import Silence
from churnsignal_alerts.policy import POOL, Digest, Policy, Pool, Touch

_CHAIN = 5
# Nobody in touch for so long makes an account half as urgent again.
_LONELY_DAYS = 60
_ON_LEAVE = "on leave"


@dataclass(frozen=True, slots=True)
class Setup:
    """Who is there and how they are told: the directory, the policy, the channels that are configured, and what is silenced."""

    directory: Directory
    policy: Policy
    channels: frozenset[Channel]
    silences: tuple[Silence, ...] = ()

    @property
    def usable(self) -> frozenset[Channel]:
        """Return the channels to choose from: with none configured all count, and notices wait for one."""
        return self.channels or frozenset(Channel)


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

    @property
    def stands_for(self) -> str | None:
        """Return the CSM on leave whose place the recipient takes."""
        return next((step.who for step in self.steps if step.why == _ON_LEAVE), None)


def route(profile: AccountProfile, setup: Setup, now: datetime) -> Routed:
    """Return who is told about an account."""
    steps: list[Step] = []
    match setup.policy.touch(profile.tier):
        case Touch.POOL:
            steps.append(Step("tier", profile.tier or "", False, "accounts of this tier go to their pool"))
            return Routed(_pool(profile.segment, setup, steps), tuple(steps))
        case Touch.WEBHOOK:
            return Routed(_machine(profile, setup, steps), tuple(steps))
        case Touch.PERSON | None:
            pass
    person = _person(profile.owner, setup, now, steps) or _pool(profile.segment, setup, steps)
    return Routed(person, tuple(steps))


def usual(kind: Kind, profile: AccountProfile, setup: Setup, now: datetime) -> Routed:
    """Return who is told of a kind of episode while nobody was chosen: the pool of the kind, else as for the account."""
    pool = setup.policy.kind_pools.get(kind)
    return place(pool, setup) if pool else route(profile, setup, now)


def assigned(csm: str, setup: Setup, now: datetime) -> Routed | None:
    """Return the route to a CSM whom a person chose, or None when the directory cannot reach anyone in their line."""
    steps: list[Step] = []
    person = _person(csm, setup, now, steps)
    return Routed(person, tuple(steps)) if person else None


def superior(profile: AccountProfile, csm: str | None, setup: Setup, now: datetime) -> Routed:
    """Return who is above whoever looks after the account; where nobody is, its pool: a step of escalation is never left out."""
    steps: list[Step] = []
    if setup.policy.touch(profile.tier) is Touch.WEBHOOK:
        return shared(profile, setup)
    below = setup.directory.find(csm) or setup.directory.find(profile.owner)
    for other in _line(below, "manager", setup.directory) if below else []:
        if found := _try("manager", other, setup, now, steps):
            return Routed(found, tuple(steps))
    return Routed(_pool(profile.segment, setup, steps), tuple(steps))


def shared(profile: AccountProfile, setup: Setup) -> Routed:
    """Return the pool of the account."""
    steps: list[Step] = []
    to_machines = setup.policy.touch(profile.tier) is Touch.WEBHOOK
    found = _machine(profile, setup, steps) if to_machines else _pool(profile.segment, setup, steps)
    return Routed(found, tuple(steps))


def _machine(profile: AccountProfile, setup: Setup, steps: list[Step]) -> Recipient:
    """Return the webhook of the segment or of the catch-all; where neither has one that works, their people: never nobody."""
    for pool in (setup.policy.pools.get(profile.segment or ""), setup.policy.catch_all):
        ways = _pool_ways(pool, setup.usable & {Channel.WEBHOOK}) if pool else ()
        if pool and ways:
            steps.append(Step("tier", profile.tier or "", True, f"accounts of this tier go to the webhook of {pool.name}"))
            return _recipient(pool, ways, setup.policy)
    steps.append(Step("tier", profile.tier or "", False, "accounts of this tier go to a webhook, and none is configured"))
    return _pool(profile.segment, setup, steps)


def _person(owner: str | None, setup: Setup, now: datetime, steps: list[Step]) -> Recipient | None:
    if not owner:
        steps.append(Step("owner", "", False, "the account has no owner"))
        return None
    csm = setup.directory.find(owner)
    if csm is None:
        steps.append(Step("owner", owner, False, "not in the directory of CSMs"))
        return None
    line = [("owner", csm), *((link, other) for link in ("delegate", "manager") for other in _line(csm, link, setup.directory))]
    seen: set[str] = set()
    for rule, other in line:
        if other.id not in seen:
            seen.add(other.id)
            if found := _try(rule, other, setup, now, steps):
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


def _try(rule: str, csm: Csm, setup: Setup, now: datetime, steps: list[Step]) -> Recipient | None:
    ways = _ways(csm, setup.usable)
    why = ""
    if not csm.active:
        why = "deactivated"
    elif csm.away_on(now.astimezone(zone_of(csm.zone, setup.policy.zone)).date()):
        why = _ON_LEAVE
    elif not ways:
        why = "no address on a channel that is configured"
    steps.append(Step(rule, csm.id, not why, why or "reachable"))
    return None if why else _of(csm, ways, setup.policy)


def _of(csm: Csm, ways: tuple[tuple[Channel, str], ...], policy: Policy) -> Recipient:
    zone = zone_of(csm.zone, policy.zone)
    return Recipient(csm.id, csm.name, ways, csm.locale, zone, csm.country or policy.country, csm.hours or policy.hours)


def addressee(ident: str, setup: Setup) -> Recipient | None:
    """Return one CSM or pool as such, on leave or not; None for who is not there any more."""
    if ident.startswith(POOL):
        return place(ident.removeprefix(POOL), setup).recipient
    csm = setup.directory.csms.get(ident)
    ways = _ways(csm, setup.usable) if csm and csm.active else ()
    return _of(csm, ways, setup.policy) if csm and ways else None


def absent(setup: Setup, now: datetime) -> tuple[list[str], list[str]]:
    """Return who is on leave or deactivated, and who is there."""
    gone: list[str] = []
    here: list[str] = []
    for csm in setup.directory.csms.values():
        away = not csm.active or csm.away_on(now.astimezone(zone_of(csm.zone, setup.policy.zone)).date())
        (gone if away else here).append(csm.id)
    return gone, here


def back_at(recipient: Recipient, directory: Directory, now: datetime) -> datetime:
    """Return when the recipient is at work again: after their leave, at the next opening."""
    csm = directory.csms.get(recipient.id)
    if csm and csm.away_until and csm.away_on(now.astimezone(recipient.zone).date()):
        now = datetime.combine(csm.away_until + timedelta(days=1), time(0), recipient.zone).astimezone(UTC)
    return due(recipient, now, urgent=False)


def place(name: str, setup: Setup) -> Routed:
    """Return the pool of that name, else the catch-all."""
    steps: list[Step] = []
    return Routed(_pool(name, setup, steps), tuple(steps))


def _ways(csm: Csm, usable: frozenset[Channel]) -> tuple[tuple[Channel, str], ...]:
    wanted = [(c, address) for c in csm.channels if c in usable and (address := csm.address(c))]
    # A preference that cannot be met must not silence the person: any other address will do.
    other = [(c, address) for c in Channel if c in usable and (address := csm.address(c))]
    return tuple(wanted or other[:1])


def _pool(segment: str | None, setup: Setup, steps: list[Step]) -> Recipient:
    policy = setup.policy
    pool = policy.pools.get(segment or "")
    if pool:
        ways = _pool_ways(pool, setup.usable)
        why = "pool of the segment" if ways else "no address on a channel that is configured"
        steps.append(Step("segment", pool.name, bool(ways), why))
        if ways:
            return _recipient(pool, ways, policy)
    else:
        steps.append(Step("segment", segment or "", False, "no pool for this segment"))
    ways = _pool_ways(policy.catch_all, setup.usable) or _pool_ways(policy.catch_all, frozenset(Channel))
    steps.append(Step("catch-all", policy.catch_all.name, True, "nobody else could be reached"))
    return _recipient(policy.catch_all, ways, policy)


def _pool_ways(pool: Pool, usable: frozenset[Channel]) -> tuple[tuple[Channel, str], ...]:
    return tuple(way for way in pool.ways if way[0] in usable)[:1]


def _recipient(pool: Pool, ways: tuple[tuple[Channel, str], ...], policy: Policy) -> Recipient:
    zone = pool.zone or policy.zone
    return Recipient(POOL + pool.name, pool.name, ways, pool.locale, zone, pool.country or policy.country, pool.hours or policy.hours)


def due(recipient: Recipient, now: datetime, *, urgent: bool) -> datetime:
    """Return when the recipient may be told: now when urgent or at work, else at the next opening. Queued, never dropped."""
    if urgent:
        return now
    return next_opening(now, recipient.hours, recipient.zone, holiday_calendar(recipient.country))


def digest_at(recipient: Recipient, now: datetime, digest: Digest) -> datetime:
    """Return the recipient's next digest: at the hour asked for, or when their work begins."""
    opening = time(9) if recipient.hours == ALWAYS else recipient.hours.start
    return next_digest(now, digest.at or opening, digest.weekday, recipient.hours, recipient.zone, holiday_calendar(recipient.country))


def day_of(recipient: Recipient, moment: datetime) -> tuple[datetime, datetime]:
    """Return when the recipient's day around a moment begins and ends."""
    day = moment.astimezone(recipient.zone).date()
    begin, end = (datetime.combine(day + timedelta(days=n), time(0), recipient.zone).astimezone(UTC) for n in (0, 1))
    return begin, end


def later(recipient: Recipient, start: datetime, span: timedelta) -> datetime:
    """Return when `span` of the recipient's working time has passed."""
    return after_working(start, span, recipient.hours, recipient.zone, holiday_calendar(recipient.country))


def due_day(recipient: Recipient, now: datetime, days: int) -> date:
    """Return the recipient's day that is so many working days ahead."""
    return working_day(now.astimezone(recipient.zone).date(), days, recipient.hours, holiday_calendar(recipient.country))


def is_urgent(account: AccountProfile, knockout: str | None, day: date, policy: Policy) -> bool:
    """Return whether trouble of the account may be told outside working hours; `knockout` is the fact that made it, if one did."""
    rule = policy.urgent
    if rule.arr is not None and account.arr is not None and account.arr >= rule.arr:
        return True
    if rule.renewal_days is not None and account.renewal_on is not None:
        left = (account.renewal_on - day).days
        if 0 <= left <= rule.renewal_days:
            return True
    return knockout is not None and knockout in rule.reasons


def priority(change: RiskChanged, touched_at: datetime | None) -> int:
    """Return the order of the list: revenue at risk, more of it the nearer the renewal and the longer nobody has been in touch.

    Accounts without a known revenue come after.
    """
    account = change.account
    lonely = _LONELY_DAYS if touched_at is None else min(_LONELY_DAYS, max(0, (change.as_of - touched_at).days))
    risk = at_risk(account.arr, change.score_after, account.renewal_on, change.as_of.date())
    return risk * (2 * _LONELY_DAYS + lonely) // (2 * _LONELY_DAYS)
