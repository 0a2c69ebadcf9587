"""Flow. Write risk changes and profiles as episodes and notices: all that one batch means, in the caller's transaction."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog
from churnsignal_common.contracts.risk import AccountProfile
from sqlalchemy.ext.asyncio import AsyncConnection

from churnsignal_alerts import sequences, store
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.episodes import Contact, Kind
from churnsignal_alerts.metrics import VERDICTS
from churnsignal_alerts.order import Arranged, Arrived, arrange
from churnsignal_alerts.plan import Plan, Scene, Spent, plan_change, plan_contact, plan_profile, ration, rationed
from churnsignal_alerts.route import Setup, day_of

log = structlog.get_logger()

# What people are told on their days, as far as one transaction has asked: a burst asks once for each of them.
Days = dict[tuple[str, Channel, datetime], Spent]


async def book_changes(connection: AsyncConnection, changes: Sequence[Arrived], setup: Setup, now: datetime) -> Arranged:
    """Apply what is in order, hold what is not; return what became of each."""
    accounts = sorted({one.account for one in changes})
    seen = await sequences.seen(connection, accounts)
    arranged = arrange(changes, seen, await sequences.held(connection, accounts))
    await book_arranged(connection, arranged, setup, now)
    await sequences.hold(connection, arranged.waiting)
    return arranged


async def book_arranged(connection: AsyncConnection, arranged: Arranged, setup: Setup, now: datetime) -> None:
    """Decide and write each change that is ready."""
    accounts = sorted({one.account for one in arranged.ready})
    newest = await store.lock_accounts(connection, accounts) if accounts else {}
    red = set(await store.red_among(connection, {one.change.account.parent for one in arranged.ready} - {None}))
    spent: Days = {}
    for one in arranged.ready:
        scene = Scene(setup, now, frozenset(red))
        plans, verdicts = plan_change(one.change, newest[one.account], scene)
        for plan in plans:
            await write(connection, plan, scene, spent, one.recorded_ms)
            newest[one.account][plan.episode.kind] = plan.episode
            if plan.episode.kind is Kind.RISK:
                (red.add if plan.episode.active else red.discard)(one.account)
        for verdict in verdicts:
            VERDICTS.labels(verdict.name.lower()).inc()
    await store.save_profiles(connection, {one.account: one.change.account for one in arranged.ready}.values())
    await sequences.advance(connection, arranged.last)


async def book_profiles(connection: AsyncConnection, found: Sequence[AccountProfile], setup: Setup, now: datetime) -> None:
    """Keep the profiles; an active episode follows them: to a new owner, into and out of an outage, and to its end."""
    latest = {profile.account: profile for profile in found}
    await store.save_profiles(connection, latest.values())
    red = frozenset(await store.red_among(connection, {profile.parent for profile in found} - {None}))
    spent: Days = {}
    for account, episodes in (await store.lock_accounts(connection, sorted(latest))).items():
        for episode in episodes.values():
            scene = Scene(setup, now, red)
            plan = plan_profile(episode, latest[account], scene)
            if plan is not None:
                await write(connection, plan, scene, spent)


async def book_contacts(connection: AsyncConnection, found: Sequence[Contact], setup: Setup, now: datetime) -> int:
    """Write contacts down, on the timelines of their accounts' active episodes too; return how many were not told before."""
    fresh = 0
    for contact in found:
        touched = await store.save_contact(connection, contact, now)
        fresh += touched is not None
        plans = [
            plan_contact(episode, contact, setup, now) for episode in await store.lock_episodes(connection, touched or []) if episode.active
        ]
        if plans:
            await store.save_plans(connection, plans, now)
    return fresh


async def write(connection: AsyncConnection, plan: Plan, scene: Scene, spent: Days, recorded_ms: int | None = None) -> None:
    """Write a plan, within the day's budget of whoever is told. Replicas that tell one person at the same moment may pass it by one."""
    counted = rationed(plan, scene)
    if counted is not None:
        begin, end = day_of(counted.recipient, counted.due_at)
        day = (counted.recipient.id, counted.channel, begin)
        if day not in spent:
            spent[day] = await store.spent(connection, counted, begin, end)
        plan = ration(plan, counted, spent[day], scene)
        told = next((notice for notice in plan.notices if notice.kind is counted.kind), None)
        if told is not None:
            spent[day] = replace(spent[day], waiting=spent[day].waiting + 1, last=max(told.due_at, spent[day].last or told.due_at))
    await store.save_plans(connection, [plan], scene.now, recorded_ms)
