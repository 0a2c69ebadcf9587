"""Flow. The one way in for whatever a person or the time does with an episode: locked, decided, written in one transaction."""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from churnsignal_common.clock import Clock
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_alerts import store
from churnsignal_alerts.act import Act, Answer, Command
from churnsignal_alerts.episodes import Contact, Episode
from churnsignal_alerts.metrics import COMMANDS, FEEDBACK, STEPS
from churnsignal_alerts.people import People
from churnsignal_alerts.plan import default_snooze, plan_command, plan_contact, plan_due
from churnsignal_alerts.wake import Wake

log = structlog.get_logger()

# In one transaction: many enough to keep up after an outage, few enough to be short.
_AT_ONCE = 200


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
            if command.act is Act.SNOOZE and command.until is None:
                command = replace(command, until=_tomorrow(default_snooze(command, setup.policy, now)))
            plan, answer = plan_command(episode, command, setup, now)
            if plan is not None:
                await store.save_plan(connection, plan, now)
        COMMANDS.labels(command.act, way, answer.name.lower()).inc()
        if plan is None:
            return answer, episode
        said = command.outcome or command.feedback
        if said:
            FEEDBACK.labels(said).inc()
        log.info("command", episode=episode_id, act=command.act, way=way)
        self._wake.set()
        return answer, plan.episode

    async def note_contact(self, contact: Contact) -> None:
        """Write a contact with an account down, on the timelines of its active episodes too."""
        setup, now = await self._people.setup(), self._clock.now()
        async with self._engine.begin() as connection:
            for ident in await store.save_contact(connection, contact, now):
                episode = await store.lock_episode(connection, ident)
                if episode and episode.active:
                    await store.save_plan(connection, plan_contact(episode, contact, setup, now), now)
        log.info("contact", way=contact.way)

    async def take_due(self) -> bool:
        """Do what is due by itself: snoozes that end, reminders, the next in line. Return whether more may be due."""
        setup, now = await self._people.setup(), self._clock.now()
        done = []
        async with self._engine.begin() as connection:
            due = await store.due_episodes(connection, now, _AT_ONCE)
            for ident in due:
                episode = await store.lock_episode(connection, ident)
                plan = plan_due(episode, setup, now) if episode else None
                if plan is not None:
                    await store.save_plan(connection, plan, now)
                    done += [entry.what for entry in plan.entries]
        for what in done:
            STEPS.labels(what).inc()
        if done:
            log.info("steps_taken", count=len(done))
            self._wake.set()
        return len(due) == _AT_ONCE


def _tomorrow(until: datetime) -> datetime:
    # To the minute, so that two clicks on "tell me tomorrow" are the same command.
    return until.replace(second=0, microsecond=0) + timedelta(minutes=1)
