"""Flow. The one way in for whatever a person or the time does with an episode: locked, decided, written in one transaction."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from churnsignal_common.clock import Clock
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from churnsignal_alerts import store
from churnsignal_alerts.act import Act, Answer, Command
from churnsignal_alerts.book import Days, book_contacts, write
from churnsignal_alerts.episodes import Contact, Episode
from churnsignal_alerts.learn import reason_of
from churnsignal_alerts.metrics import COMMANDS, FEEDBACK, LEARNT, STEPS
from churnsignal_alerts.mute import Silence, of_silence
from churnsignal_alerts.people import People
from churnsignal_alerts.plan import Plan, Scene, default_snooze, plan_away, plan_command, plan_due
from churnsignal_alerts.route import absent
from churnsignal_alerts.wake import Wake

log = structlog.get_logger()

# In one transaction: many enough to keep up after an outage, few enough to be short.
_AT_ONCE = 200
_SILENCED_AT_ONCE = 5_000
# A person reads no more of what a silence covers.
_SHOWN = 100
Find = Callable[[AsyncConnection, datetime], Awaitable[list[str]]]


class Desk:
    """Runs commands. A command that is repeated, or comes too late, changes nothing and says so."""

    def __init__(self, engine: AsyncEngine, people: People, clock: Clock, woken: Wake) -> None:
        self._engine, self._people, self._clock, self._wake = engine, people, clock, woken

    async def run(self, episode_id: str, command: Command, way: str, once: bytes | None = None) -> tuple[Answer, Episode] | None:
        """Return the answer and the episode as it is now; None when there is no such episode. What was done `once` is not done again."""
        setup, now = await self._people.setup(), self._clock.now()
        async with self._engine.begin() as connection:
            episode = await store.lock_episode(connection, episode_id)
            if episode is None:
                return None
            if once is not None and not await store.first_use(connection, once):
                return Answer.ALREADY, episode
            if (
                command.act is Act.REOPEN
                and (await store.lock_accounts(connection, [episode.account]))[episode.account][episode.kind].id != episode.id
            ):
                # What came after it says how the account is now.
                return Answer.OVER, episode
            if command.act is Act.SNOOZE and command.until is None:
                command = replace(command, until=_tomorrow(default_snooze(command, setup.policy, now)))
            plan, answer = plan_command(episode, command, setup, now)
            if plan is not None:
                await store.save_plans(connection, [plan], now)
        COMMANDS.labels(command.act, way, answer.name.lower()).inc()
        if plan is None:
            return answer, episode
        said = command.outcome or command.feedback
        if said:
            FEEDBACK.labels(said).inc()
            LEARNT.labels(plan.episode.kind, reason_of(plan.episode.kind, plan.episode.fall), said).inc()
        log.info("command", episode=episode_id, act=command.act, way=way)
        self._wake.set()
        return answer, plan.episode

    async def note_contact(self, contact: Contact) -> None:
        """Write a contact with an account down, on the timelines of its active episodes too."""
        setup, now = await self._people.setup(), self._clock.now()
        async with self._engine.begin() as connection:
            await book_contacts(connection, [contact], setup, now)
        log.info("contact", way=contact.way)

    async def take_due(self) -> bool:
        """Do what is due by itself: snoozes that end, reminders, the next in line. Return whether more may be due."""
        return await self._each(lambda connection, now: store.due_episodes(connection, now, _AT_ONCE), plan_due)

    async def prune(self, keep: timedelta) -> None:
        """Delete some of what ended longer ago than `keep`; the rest comes next time."""
        before = self._clock.now() - keep
        async with self._engine.begin() as connection:
            gone = await store.prune(connection, before, _AT_ONCE)
        if gone:
            log.info("pruned", count=gone)

    async def move_away(self) -> bool:
        """Move the episodes of who is on leave, and back of who has returned. Return whether more may have to move."""
        setup, now = await self._people.setup(), self._clock.now()
        gone, here = absent(setup, now)
        return await self._each(lambda connection, _: store.misplaced(connection, gone, here, _AT_ONCE), plan_away)

    async def move_from(self, csm: str) -> None:
        """Move the episodes of a CSM who is not in the directory any more."""
        while await self._each(lambda connection, _: store.misplaced(connection, [csm], [], _AT_ONCE), plan_away):
            continue

    async def _each(self, find: Find, decide: Callable[[Episode, Scene], Plan | None]) -> bool:
        """Decide about each episode found, locked; return whether something changed and there may be more."""
        setup, now = await self._people.setup(), self._clock.now()
        done, spent = [], Days()
        async with self._engine.begin() as connection:
            found = await find(connection, now)
            for ident in found:
                episode = await store.lock_episode(connection, ident)
                if episode is None:
                    continue
                red = await store.red_among(connection, {episode.change.account.parent} - {None})
                scene = Scene(setup, now, frozenset(red))
                plan = decide(episode, scene)
                if plan is not None:
                    await write(connection, plan, scene, spent)
                    done.append(plan.entries[0].what if plan.entries else "waits")
        for what in done:
            STEPS.labels(what).inc()
        if done:
            log.info("steps_taken", count=len(done))
            self._wake.set()
        return bool(done) and len(found) == _AT_ONCE

    async def silence(self, wanted: Silence) -> tuple[Silence, int, list[Episode]]:
        """Silence what fits: nothing about it is told until the end. Return it with how many episodes it covers now, and some of them."""
        now = self._clock.now()
        made = await self._people.put_silence(wanted)
        ids, covered = await store.covered(self._engine, made.matcher, _SHOWN)
        for at in range(0, len(ids), _SILENCED_AT_ONCE):
            async with self._engine.begin() as connection:
                await store.quieten(connection, ids[at : at + _SILENCED_AT_ONCE], of_silence(made), now)
        log.info("silenced", silence=made.id, episodes=len(ids))
        return made, len(ids), covered

    async def covered(self, silence: Silence) -> tuple[int, list[Episode]]:
        """Return how many active episodes a silence fits, and some of them."""
        ids, covered = await store.covered(self._engine, silence.matcher, _SHOWN)
        return len(ids), covered

    async def end_silence(self, ident: int) -> bool:
        """End a silence now: what it covered is looked at again at once. Return whether there was one to end."""
        now = self._clock.now()
        if not await self._people.end_silence(ident, now):
            return False
        async with self._engine.begin() as connection:
            await store.unmute(connection, f"silence:{ident}", now)
        return True


def _tomorrow(until: datetime) -> datetime:
    # To the minute, so that two clicks on "tell me tomorrow" are the same command.
    return until.replace(second=0, microsecond=0) + timedelta(minutes=1)
