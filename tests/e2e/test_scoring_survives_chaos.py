"""Two replicas are killed, frozen beyond their session and left by their Postgres, again and again over days; then scoring proves itself.

`CHURNSIGNAL_KILLS` is how many kills (24; the full proof, `make chaos KILLS=1000`, is 1000), `CHURNSIGNAL_SEED` what happens when.
"""

import asyncio
import itertools
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from churnsignal_devstack.postgres import Postgres
from churnsignal_devstack.services import free_port_base

from tests.e2e.test_scoring_proves_itself import prove
from tests.e2e.test_scoring_survives_kills import BATCH_POINTS, CLOSE_POINTS, DAY, DIED, SEED, Lives, calls_of, history
from tests.support.nursery import Child
from tests.support.plant import Hands, Plant, open_plant
from tests.support.stack import Stack, open_stack
from tests.support.standby import Pair

KILLS = int(os.environ.get("CHURNSIGNAL_KILLS", "24"))
PER_DAY = 12 if KILLS < 100 else 40
SESSION_S = 2
LONG_S = SESSION_S + 1.5
SHARES = 20
PATIENCE_S = 600
KILLED = (DIED, -signal.SIGKILL)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A pair of its own: its Postgres is left for a standby."""
    with open_stack({}) as opened:
        yield opened


class Replica:
    """One replica, begun again whenever it ends, as a supervisor would. Each life asks `plan` at which crash point to end; none: \"\"."""

    def __init__(self, told: dict[str, str], log: Path, plan: Callable[[], str]) -> None:
        self.log = log
        self.ends: Counter[int] = Counter()
        self.died_at: Counter[str] = Counter()
        self.away = asyncio.Event()
        self.away.set()
        self._child: Child | None = None
        self._said = 0
        self._lives = Lives(told, log)
        self._keeper = asyncio.create_task(self._keep(plan))

    async def _keep(self, plan: Callable[[], str]) -> None:
        while True:
            await self.away.wait()
            planned, self._said = plan(), self.log.stat().st_size if self.log.exists() else 0
            self._child = await asyncio.to_thread(self._lives.begin, planned)
            code = await self._lives.ended(self._child, 3600)
            self._child = None
            self.ends[code] += 1
            if code == DIED:
                self.died_at[planned.partition(":")[0]] += 1

    @property
    def is_at_work(self) -> bool:
        """Say whether this life has taken over its partitions: before that there is little to break."""
        if self._child is None or not self.log.exists():
            return False
        with self.log.open() as log:
            log.seek(self._said)
            return '"partitions_claimed"' in log.read()

    def send(self, number: signal.Signals) -> None:
        # Between two lives there is nobody to hit.
        if self._child is not None:
            self._child.send_signal(number)

    async def freeze(self) -> None:
        """Stop it where it stands until the other replica has its partitions; then let it go on."""
        self.send(signal.SIGSTOP)
        await asyncio.sleep(LONG_S)
        self.send(signal.SIGCONT)

    async def leave(self) -> None:
        """Kill it, and begin it again when the other replica has its partitions."""
        self.away.clear()
        self.send(signal.SIGKILL)
        await asyncio.sleep(LONG_S)
        self.away.set()

    async def close(self) -> None:
        self._keeper.cancel()
        self._lives.close()
        await asyncio.gather(self._keeper, return_exceptions=True)


class Chaos:
    """What happens to the two replicas and their Postgres. Crash points take their turn while `points` says which; else nothing is planned."""

    def __init__(self, told: dict[str, str], where: Path, pair: Pair, chance: random.Random) -> None:
        self._pair, self._chance = pair, chance
        self._points: Iterator[str] | None = None
        self.harms: Counter[str] = Counter()
        self.replicas = [
            Replica(
                told | {"CHURNSIGNAL_INSTANCE": f"scoring-{n}", "CHURNSIGNAL_PORT_BASE": str(free_port_base())},
                where / f"{n}.log",
                lambda: "" if self._points is None else f"{next(self._points)}:{chance.randint(1, 3)}",
            )
            for n in range(2)
        ]
        self._coming, self._closing = itertools.cycle(BATCH_POINTS), itertools.cycle(CLOSE_POINTS)

    @property
    def kills(self) -> int:
        return sum(replica.ends[code] for replica in self.replicas for code in KILLED)

    async def rage(self, kills: int, *, closing: bool) -> None:
        """Let replicas die at crash points, and each harm happen once or more, until so many more have been killed."""
        until, self._points = self.kills + kills, self._closing if closing else self._coming
        harms = asyncio.create_task(
            self._harms(["freeze", "leave", "restart"] if closing else ["restart Postgres", "freeze", "fail over", "leave"])
        )
        while self.kills < until or not harms.done():
            await asyncio.sleep(self._chance.uniform(0.2, 1.5))
            if working := [replica for replica in self.replicas if replica.is_at_work]:
                await self._harm("kill", self._chance.choice(working))
        await harms
        self._points = None

    async def _harms(self, harms: list[str]) -> None:
        self._chance.shuffle(harms)
        for harm in harms:
            while not (working := [replica for replica in self.replicas if replica.is_at_work]):  # noqa: ASYNC110 what is waited for lives in other processes
                await asyncio.sleep(0.1)
            await self._harm(harm, self._chance.choice(working))

    async def _harm(self, what: str, replica: Replica) -> None:
        self.harms[what] += 1
        match what:
            case "kill":
                replica.send(signal.SIGKILL)
            case "restart":
                replica.send(signal.SIGTERM)
            case "freeze":
                await replica.freeze()
            case "leave":
                await replica.leave()
            case "restart Postgres":
                self._pair.restart_immediately()
            case "fail over":
                self._pair.fail_over()

    async def close(self) -> None:
        for replica in self.replicas:
            await replica.close()


@pytest.mark.asyncio
@pytest.mark.timeout(300 + 20 * KILLS)
async def test_two_replicas_that_are_killed_frozen_and_failed_over_prove_their_scores(stack: Stack, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    hands = Hands(tmp_path / "clock.json")
    hands.set(DAY)
    database = stack.create_database("scoring")
    assert isinstance(stack.postgres, Postgres)
    async with Pair(stack.postgres, tmp_path).listening() as pair:
        told = stack.env(
            database.replace(f":{pair.serving.port}/", f":{pair.port}/"),
            f"chaos{os.getpid()}.",
            CHURNSIGNAL_CLOCK=hands.spec,
            CHURNSIGNAL_BATCH_RECORDS="15",
            CHURNSIGNAL_SESSION_TIMEOUT_S=str(SESSION_S),
        )
        stack.apply_topics(told)
        chaos = Chaos(told, tmp_path, pair, chance)
        try:
            async with open_plant(told) as plant:
                await plant.put(history())
                for day in itertools.count(DAY):
                    await live_through(day, plant, hands, chaos, chance)
                    print(f"day {day - DAY}: {chaos.kills} kills, {dict(chaos.harms)}", flush=True)
                    if chaos.kills >= KILLS:
                        break
                await plant.drained(PATIENCE_S)
                epochs = await plant.value("SELECT sum(epoch) FROM scoring.ownership")
                found = await prove(told, "--from", "beginning")
        finally:
            await chaos.close()
    died_at = sum((replica.died_at for replica in chaos.replicas), Counter[str]())
    fenced = sum(replica.log.read_text().count("belong to another process") for replica in chaos.replicas)
    print(
        f"{chaos.kills} kills, {died_at.total()} of them at {len(died_at)} crash points; {epochs} takeovers of a partition; {fenced} fenced"
    )
    assert found == {}
    assert chaos.harms.keys() >= {"freeze", "leave", "restart", "restart Postgres", "fail over"}


async def live_through(day: int, plant: Plant, hands: Hands, chaos: Chaos, chance: random.Random) -> None:
    """Let a day pass and close while replicas die."""
    hands.set(day)
    calls = calls_of(day, chance)
    raging = asyncio.create_task(chaos.rage(PER_DAY * 3 // 4, closing=False))
    for share in range(SHARES):
        await plant.put(calls[share::SHARES])
        await asyncio.sleep(PER_DAY / SHARES / 2)
    await raging
    await plant.drained(PATIENCE_S)
    hands.set(day + 1, 2.2)
    await chaos.rage(PER_DAY // 4, closing=True)
    await plant.closed(day, PATIENCE_S)
