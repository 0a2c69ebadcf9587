"""Flow. The one way in for whatever a person does with an episode: button, link or API; locked, decided, written in one transaction."""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from churnsignal_common.clock import Clock
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_alerts import store
from churnsignal_alerts.act import Act, Answer, Command, wake
from churnsignal_alerts.episodes import Entry, Episode
from churnsignal_alerts.metrics import COMMANDS, FEEDBACK
from churnsignal_alerts.people import People
from churnsignal_alerts.plan import Plan, default_snooze, plan_command
from churnsignal_alerts.wake import Wake

log = structlog.get_logger()

TO_WAKE = text("SELECT id FROM alerts.episodes WHERE state = 'snoozed' AND until <= :now LIMIT 500")


class Desk:
    """Runs commands. A command that is repeated, or comes too late, changes nothing and says so."""

    def __init__(self, engine: AsyncEngine, people: People, clock: Clock, woken: Wake) -> None:
        self._engine, self._people, self._clock, self._wake = engine, people, clock, woken

    async def run(self, episode_id: str, command: Command, way: str) -> tuple[Answer, Episode] | None:
        """Return the answer and the episode as it is now; None when there is no such episode."""
        setup, now = await self._people.setup(), self._clock.now()
        async with self._engine.begin() as connection:
            episode = await store.lock_episode(connection, episode_id)
            if episode is None:
                return None
            if command.act is Act.SNOOZE and command.until is None:
                command = replace(command, until=_tomorrow(default_snooze(now, None, setup.policy)))
            plan, answer = plan_command(episode, command, setup, now)
            if plan is not None:
                await store.save_plan(connection, plan, now)
        COMMANDS.labels(command.act, way, answer.name.lower()).inc()
        if plan is None:
            return answer, episode
        if command.outcome:
            FEEDBACK.labels(command.outcome).inc()
        log.info("command", episode=episode_id, act=command.act, way=way)
        self._wake.set()
        return answer, plan.episode

    async def wake_snoozed(self) -> None:
        """Open the episodes whose snooze is over; their reminders are queued since they were snoozed."""
        now = self._clock.now()
        async with self._engine.begin() as connection:
            for row in (await connection.execute(TO_WAKE, {"now": now})).all():
                episode = await store.lock_episode(connection, row.id)
                woken = wake(episode, now) if episode else None
                if episode and woken and woken is not episode:
                    entry = Entry(episode.id, now, "woke", "churnsignal", "the snooze is over")
                    await store.save_plan(connection, Plan(woken, (entry,)), now)


def _tomorrow(until: datetime) -> datetime:
    # To the minute, so that two clicks on "tell me tomorrow" are the same command.
    return until.replace(second=0, microsecond=0) + timedelta(minutes=1)
