"""Flow. Tell the story in lock-step: move the clock, send what happened since, wait until the pipeline is at rest, look."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import httpx2
from churnsignal_common.clock import paused_at
from churnsignal_common.contracts.risk import Band, Cause, RiskChangedEvent

from churnsignal_devstack.demo.client import Client
from churnsignal_devstack.demo.report import Notice, Seen, build
from churnsignal_devstack.demo.story import CSMS, Story
from churnsignal_devstack.demo.watch import Watch

# After the close of the day before (2 h of grace), then within the working hours of Tokyo, Berlin and New York.
STEPS = (time(2, 5), time(3, 30), time(10, 30), time(16, 30), time(23, 59, 59))


class Screen(Protocol):
    """Where the demo shows what happens."""

    def stage(self, text: str) -> None: ...
    def day(self, number: int, of: int, today: date, events: int, bands: dict[str, int]) -> None: ...
    def change(self, event: RiskChangedEvent) -> None: ...
    def message(self, message: dict[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Alerts:
    """Where the CSM directory is."""

    url: str
    admin_token: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is told, how fast, and whether somebody asked to stop."""

    days: int
    days_per_second: float
    stopped: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Demo:
    """Everything the demo needs, opened."""

    story: Story
    client: Client
    watch: Watch
    screen: Screen
    clock: Path
    alerts: Alerts
    pace: Pace


async def run(demo: Demo) -> dict[str, Any]:
    """Run the whole story and return the report."""
    began, seen = monotonic(), Seen()
    midnight = datetime.combine(demo.story.start, time(0, 0, 5), UTC)
    _move(demo, midnight)
    await _seat_csms(demo)
    await _import(demo, midnight)
    before = midnight
    for number in range(demo.pace.days):
        day_began = monotonic()
        today = demo.story.start + timedelta(days=number)
        for step in STEPS:
            now = datetime.combine(today, step, UTC)
            await _step(demo, seen, before, now)
            before = now
        demo.screen.day(number + 1, demo.pace.days, today, len(demo.client.books.accepted), _bands(seen))
        if demo.pace.stopped():
            break
        await asyncio.sleep(max(0.0, 1 / demo.pace.days_per_second - (monotonic() - day_began)))
    await _settle(demo, seen, before)
    return build(seen, demo.client.books, monotonic() - began, demo.pace.days)


def _move(demo: Demo, now: datetime) -> None:
    paused_at(now).write(demo.clock)


async def _seat_csms(demo: Demo) -> None:
    demo.screen.stage("seating the customer success managers")
    async with httpx2.AsyncClient(
        base_url=demo.alerts.url, headers={"Authorization": f"Bearer {demo.alerts.admin_token}"}, timeout=15
    ) as http:
        for csm in CSMS:
            response = await http.put(
                f"/v1/csms/{csm['id']}", json={"email": f"{csm['id']}@example.com", **{k: v for k, v in csm.items() if k != "id"}}
            )
            response.raise_for_status()


async def _import(demo: Demo, now: datetime) -> None:
    past = list(demo.story.past())
    demo.screen.stage(f"importing {len(past):,} real events of {len(demo.story.accounts)} accounts through the history lane")
    await demo.client.send(list(demo.story.opening()), now)
    await demo.client.import_(past, now)
    demo.screen.stage("waiting until the history is scored")
    await demo.watch.until_at_rest(now, None, patience_s=120)


async def _step(demo: Demo, seen: Seen, before: datetime, now: datetime) -> None:
    _move(demo, now)
    await demo.client.send(demo.story.between(before, now), now)
    yesterday = now.date() - timedelta(days=1)
    closed = yesterday if yesterday >= demo.story.start and now.time() > time(2) else None
    await demo.watch.until_at_rest(now, None if closed is None else _day_number(closed))
    await _look(demo, seen)


async def _look(demo: Demo, seen: Seen) -> None:
    fresh = await demo.watch.new_changes()
    for at, event in fresh:
        seen.changes.append((at, event))
        demo.screen.change(event)
        if event.data.cause is Cause.EVENT and event.data.to_band is Band.RED:
            _time_change(demo, seen, at, event)
    messages = await demo.watch.messages()
    for message in messages[len(seen.messages) :]:
        demo.screen.message(message)
    seen.messages = messages


def _time_change(demo: Demo, seen: Seen, at: float, event: RiskChangedEvent) -> None:
    """A red by an event is a failed payment here: find the call that we sent for it."""
    sent = [t for i, t in demo.client.books.sent_at.items() if i.startswith(f"pay-{event.subject}-") and t <= at]
    if sent:
        seen.http_to_change_ms.append((at - max(sent)) * 1000)


async def _settle(demo: Demo, seen: Seen, now: datetime) -> None:
    """Let three more days pass without events, so that what waits for working hours is told; then take stock."""
    demo.screen.stage("letting the last messages go out, and checking the books")
    for _ in range(3):
        for step in STEPS:
            now = datetime.combine(now.date() + timedelta(days=step is STEPS[0]), step, UTC)
            await _step(demo, seen, now, now)
    seen.outcomes = await demo.watch.outcomes()
    await demo.watch.ids_on_topics(seen.on_topics.add)
    seen.accounts = (await demo.watch.rows("SELECT count(*) AS count FROM scoring.accounts"))[0]["count"]
    notices = await demo.watch.rows(
        "SELECT episode, channel, kind FROM alerts.v_notices WHERE kind IN ('risk', 'summary', 'line', 'digest')"
    )
    seen.notices = [Notice(str(r["episode"]), r["channel"], r["kind"]) for r in notices]
    seen.red_episodes = {str(r["id"]) for r in await demo.watch.rows("SELECT id FROM alerts.episodes WHERE kind = 'risk'")}
    seen.change_to_notice_ms = await _notice_latencies(demo, seen)


async def _notice_latencies(demo: Demo, seen: Seen) -> list[float]:
    """Return the time from each red-by-event change on the broker to its message in the inbox."""
    at = {event.subject: when for when, event in seen.changes if event.data.cause is Cause.EVENT and event.data.to_band is Band.RED}
    rows = await demo.watch.rows("SELECT id, account FROM alerts.episodes WHERE kind = 'risk'")
    account_of = {str(r["id"]): r["account"] for r in rows}
    found, told = [], set()
    for message in seen.messages:
        account = account_of.get(str(message.get("episode_id")), "")
        # What follows in the same episode, such as its recovery, is not what the change waits for.
        if account in at and account not in told:
            told.add(account)
            received = datetime.fromisoformat(message["received_at"]).timestamp()
            found.append((received - at[account]) * 1000)
    return found


def _day_number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _bands(seen: Seen) -> dict[str, int]:
    last = {event.subject: event.data.to_band.value for _, event in seen.changes}
    return {band.value: sum(b == band.value for b in last.values()) for band in Band}
