"""Flow. Write risk changes and profiles as episodes and notices: all that one batch means, in the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime

import structlog
from churnsignal_common.contracts.risk import AccountProfile, risk_decoder
from sqlalchemy.ext.asyncio import AsyncConnection

from churnsignal_alerts import sequences, store
from churnsignal_alerts.episodes import Kind
from churnsignal_alerts.metrics import VERDICTS
from churnsignal_alerts.order import Arranged, Arrived, arrange
from churnsignal_alerts.plan import Scene, Setup, plan_change, plan_moved
from churnsignal_alerts.sequences import Held

log = structlog.get_logger()


def arrived(held: Held) -> Arrived:
    """Return a held change as it once came."""
    return Arrived(risk_decoder.decode(held.record).data, held.record, held.recorded_ms)


async def held_changes(connection: AsyncConnection, accounts: list[str]) -> dict[str, list[Arrived]]:
    """Return what waits for an earlier change."""
    return {account: [arrived(one) for one in waiting] for account, waiting in (await sequences.held(connection, accounts)).items()}


async def book_changes(connection: AsyncConnection, changes: Sequence[Arrived], setup: Setup, now: datetime) -> Arranged:
    """Apply what is in order, hold what is not; return what became of each."""
    accounts = sorted({one.account for one in changes})
    seen = await sequences.seen(connection, accounts)
    arranged = arrange(changes, seen, await held_changes(connection, accounts))
    await book_arranged(connection, arranged, setup, now)
    await sequences.hold(connection, [Held(one.account, one.change.sequence, one.record, one.recorded_ms) for one in arranged.waiting])
    return arranged


async def book_arranged(connection: AsyncConnection, arranged: Arranged, setup: Setup, now: datetime) -> None:
    """Decide and write each change that is ready."""
    accounts = sorted({one.account for one in arranged.ready})
    newest = await store.lock_accounts(connection, accounts) if accounts else {}
    red = set(await store.red_among(connection, {one.change.account.parent for one in arranged.ready} - {None}))
    for one in arranged.ready:
        plans, verdicts = plan_change(one.change, newest[one.account], Scene(setup, now, frozenset(red)))
        for plan in plans:
            await store.save_plan(connection, plan, now, one.recorded_ms)
            newest[one.account][plan.episode.kind] = plan.episode
            if plan.episode.kind is Kind.RISK:
                (red.add if plan.episode.active else red.discard)(one.account)
        for verdict in verdicts:
            VERDICTS.labels(verdict.name.lower()).inc()
    await store.save_profiles(connection, {one.account: one.change.account for one in arranged.ready}.values())
    await sequences.advance(connection, arranged.last)


async def book_profiles(connection: AsyncConnection, found: Sequence[AccountProfile], setup: Setup, now: datetime) -> None:
    """Keep the profiles; an active episode of an account with a new owner moves to whoever looks after it now."""
    latest = {profile.account: profile for profile in found}
    await store.save_profiles(connection, latest.values())
    red = frozenset(await store.red_among(connection, {profile.parent for profile in found} - {None}))
    for account, episodes in (await store.lock_accounts(connection, sorted(latest))).items():
        for episode in episodes.values():
            plan = plan_moved(episode, latest[account], Scene(setup, now, red))
            if plan is not None:
                await store.save_plan(connection, plan, now)
