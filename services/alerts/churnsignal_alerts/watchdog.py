"""Flow. Prove on schedule that alerts arrive: a synthetic risk change travels the whole way, from Kafka to the provider's accept."""

import asyncio
from datetime import datetime
from time import monotonic

import msgspec
import structlog
from aiokafka.errors import KafkaError
from churnsignal_common.clock import Clock
from churnsignal_common.contracts.risk import AccountProfile, Band, Cause, RiskChanged, risk_event
from churnsignal_common.kafka.client import Brokers, new_producer, stop_client
from churnsignal_common.runtime.tasks import Stop
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_alerts.act import Act, Command
from churnsignal_alerts.commands import Desk
from churnsignal_alerts.episodes import WATCHDOG
from churnsignal_alerts.metrics import WATCHDOG_LATE
from churnsignal_alerts.people import People

log = structlog.get_logger()

_PUBLISH_S = 10

# All on the database's clock, so that one of the replicas starts each run, and all of them see whether it arrived.
START = text("""
INSERT INTO alerts.watchdog AS w (single, number, started_at, arrived_at) VALUES (true, 1, now(), now() - interval '1 ms')
ON CONFLICT (single) DO UPDATE SET number = w.number + 1, started_at = now() WHERE w.started_at <= now() - make_interval(secs => :every_s)
RETURNING number
""")
# It counts only where it was meant to arrive: by another way it would prove the other way.
ARRIVED = text("""
SELECT e.id FROM alerts.episodes e JOIN alerts.notices n ON n.episode = e.id
WHERE e.account = :account AND e.state = 'open' AND n.state = 'sent' AND n.channel = :channel AND n.address = :address
""")
OPEN = text("SELECT id FROM alerts.episodes WHERE account = :account AND state = 'open'")
NOTE = text("UPDATE alerts.watchdog SET arrived_at = now() WHERE number = :number")
STATE = text(
    "SELECT number, extract(epoch FROM now() - arrived_at)::float8 AS age_s, arrived_at >= started_at AND number > 0 AS here FROM alerts.watchdog"
)


def synthetic(number: int, now: datetime) -> RiskChanged:
    """Return the change of a run: each is an account of its own, so that nothing is repeated or merged with the run before."""
    account = AccountProfile(account=f"{WATCHDOG}:{number}", segment=WATCHDOG, updated_at=now)
    return RiskChanged(
        account=account, sequence=1, from_band=None, to_band=Band.RED, coverage=10_000, drivers=(), scorecard="watchdog", as_of=now, cause=Cause.EVENT
    )  # fmt: skip


class Publisher:
    """Puts a run's change where scoring puts its own. Connects at the first run."""

    def __init__(self, brokers: Brokers, topic: str) -> None:
        self._brokers, self._topic = brokers, topic

    async def publish(self, change: RiskChanged) -> None:
        """Send and wait for the brokers; a connection for each run, as runs are rare."""
        producer = new_producer(self._brokers, "churnsignal-alerts-watchdog")
        try:
            await producer.start()
            await producer.send_and_wait(self._topic, msgspec.json.encode(risk_event(change)), key=change.account.account.encode())
        finally:
            await stop_client(producer)


class Watchdog:
    """Starts runs, ends those that arrived, and says how late the next one is."""

    def __init__(self, engine: AsyncEngine, people: People, desk: Desk, publisher: Publisher, clock: Clock) -> None:
        self._engine, self._people, self._desk, self._publisher, self._clock = engine, people, desk, publisher, clock

    async def turn(self) -> None:
        """Do what is due; nothing without `watchdog` in routing.yaml."""
        policy = (await self._people.setup()).policy
        if WATCHDOG not in policy.pools:
            WATCHDOG_LATE.set(0)
            return
        every_s = policy.watchdog_every.total_seconds()
        await self.start(every_s)
        WATCHDOG_LATE.set(max(0.0, await self.settle() - every_s))

    async def start(self, every_s: float) -> int | None:
        """Start a run if the last one began so long ago, and close the one before, arrived or not; return its number."""
        async with self._engine.begin() as connection:
            row = (await connection.execute(START, {"every_s": every_s})).first()
        if row is None:
            return None
        await self._close(OPEN, {"account": f"{WATCHDOG}:{row.number - 1}"})
        try:
            async with asyncio.timeout(_PUBLISH_S):
                await self._publisher.publish(synthetic(row.number, self._clock.now()))
        except (KafkaError, OSError, TimeoutError) as error:
            log.error("watchdog_not_started", reason=type(error).__name__)
        return int(row.number)

    async def settle(self) -> float:
        """End the run if it arrived; return for how long none has."""
        channel, address = await self._place()
        async with self._engine.connect() as connection:
            state = (await connection.execute(STATE)).first()
        if state is None:
            return 0.0
        if await self._close(ARRIVED, {"account": f"{WATCHDOG}:{state.number}", "channel": channel, "address": address}):
            async with self._engine.begin() as connection:
                await connection.execute(NOTE, {"number": state.number})
            log.info("watchdog_arrived", number=state.number, channel=channel)
            return 0.0
        return float(state.age_s)

    async def _place(self) -> tuple[str, str]:
        setup = await self._people.setup()
        ways = [way for way in setup.policy.pools[WATCHDOG].ways if not setup.channels or way[0] in setup.channels]
        return ways[0] if ways else ("", "")

    async def _close(self, query: TextClause, values: dict[str, str]) -> bool:
        async with self._engine.connect() as connection:
            found = (await connection.execute(query, values)).first()
        if found is None:
            return False
        await self._desk.run(found.id, Command(Act.CLOSE, "watchdog"), "watchdog")
        return True

    async def prove(self, wait_s: float, stop: Stop) -> tuple[bool, float]:
        """Start a run now and wait for it; return whether it arrived, and after how many seconds. A service must be running."""
        began, number = monotonic(), await self.start(0.0)
        while monotonic() - began < wait_s:
            async with self._engine.connect() as connection:
                state = (await connection.execute(STATE)).one()
            if state.number != number or state.here:
                return state.number == number, monotonic() - began
            await stop.wait(0.2)
        return False, monotonic() - began
