"""Two replicas are killed, frozen beyond their session and left by their Postgres, again and again over days; then scoring proves itself.

`CHURNSIGNAL_KILLS` is how many kills (24; the full proof, `make chaos KILLS=1000`, is 1000), `CHURNSIGNAL_SEED` what happens when.
"""

import asyncio
import contextlib
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
from tests.support.plant import Hands, Plant, open_plant, ticks
from tests.support.stack import Stack, open_stack
from tests.support.standby import Pair

KILLS = int(os.environ.get("CHURNSIGNAL_KILLS", "24"))
PER_DAY = 12 if KILLS < 100 else 40
COMING = PER_DAY * 3 // 4
SESSION_S = 2
LONG_S = SESSION_S + 1.5
ZOMBIE_S = 1.0
PATIENCE_S = 600
# To one replica. A close goes on with the other.
LATE_HARMS = ("freeze", "leave", "restart")
HARMS = ("restart Postgres", "fail over", *LATE_HARMS)
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
        self._frozen = False
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
        """Say whether this life has taken over its partitions: before that there is little to break. A frozen one is to wake as a zombie."""
        if self._child is None or self._frozen or not self.log.exists():
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
        self._frozen = True
        await asyncio.sleep(LONG_S)
        self.send(signal.SIGCONT)
        await asyncio.sleep(ZOMBIE_S)
        self._frozen = False

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
        self.news = asyncio.Event()
        self.replicas = [
            Replica(
                told | {"CHURNSIGNAL_INSTANCE": f"scoring-{n}", "CHURNSIGNAL_PORT_BASE": str(free_port_base())},
                where / f"{n}.log",
                self._plan,
            )
            for n in range(2)
        ]
        self._coming, self._closing = itertools.cycle(BATCH_POINTS), itertools.cycle(CLOSE_POINTS)
        self._early, self._late = (
            itertools.cycle(chance.sample(HARMS, len(HARMS))),
            itertools.cycle(chance.sample(LATE_HARMS, len(LATE_HARMS))),
        )

    @property
    def kills(self) -> int:
        return sum(replica.ends[code] for replica in self.replicas for code in KILLED)

    async def rage(self, kills: int) -> None:
        """Let replicas die at crash points, and a harm happen for every third, until so many more have been killed."""
        until, self._points = self.kills + kills, self._coming
        harms = asyncio.create_task(self._harms(kills // 3))
        while self.kills < until or not harms.done():
            await self._strike()
        await harms

    async def rage_while(self, closing: "asyncio.Task[None]") -> None:
        """Let replicas die at the steps of a close, and one harm happen, until it is over."""
        self._points = self._closing
        # None goes on that was to die elsewhere.
        for replica in self.replicas:
            await self._harm("kill", replica)
        await self._harm(next(self._late), await self._one())
        while not closing.done():
            await self._strike()
        self._points = None

    def _plan(self) -> str:
        if self._points is None:
            return ""
        # What a close passes, it passes once a life.
        return f"{next(self._points)}:{1 if self._points is self._closing else self._chance.randint(1, 3)}"

    async def _strike(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.2, 1.5))
        if working := [replica for replica in self.replicas if replica.is_at_work]:
            await self._harm("kill", self._chance.choice(working))

    async def _harms(self, number: int) -> None:
        for harm in itertools.islice(self._early, number):
            self.news.clear()
            # In the midst of a batch, as far as that can be hit from outside: who is frozen there writes on as a zombie.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), SESSION_S)
                await asyncio.sleep(self._chance.uniform(0, 0.06))
            await self._harm(harm, await self._one())

    async def _one(self) -> Replica:
        """Return one of the replicas that are at work, as soon as there is one."""
        while not (working := [replica for replica in self.replicas if replica.is_at_work]):  # noqa: ASYNC110 what is waited for lives in other processes
            await asyncio.sleep(0.05)
        return self._chance.choice(working)

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
                await asyncio.to_thread(self._pair.restart_immediately)
            case "fail over":
                await self._pair.fail_over()

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
            CHURNSIGNAL_BATCH_RECORDS="5",
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
                    if chaos.kills >= KILLS and day > DAY:
                        break
                await plant.drained(PATIENCE_S)
                epochs = await plant.value("SELECT sum(epoch) FROM scoring.ownership")
                found = await prove(told, "--from", "beginning")
        finally:
            await chaos.close()
    died_at = sum((replica.died_at for replica in chaos.replicas), Counter[str]())
    fenced = sum(replica.log.read_text().count("belong to another process") for replica in chaos.replicas)
    print(
        f"seed {SEED}: {chaos.kills} kills, {died_at.total()} of them at {len(died_at)} crash points; {epochs} takeovers of a partition; {fenced} fenced"
    )
    assert found == {}
    ends = sum((replica.ends for replica in chaos.replicas), Counter[int]())
    assert ends.keys() <= {*KILLED, 0, 1}
    # Some are killed as they end.
    assert ends[1] <= fenced, "nobody ends by itself who is not fenced"
    assert chaos.harms.keys() == {"kill", *HARMS}


async def live_through(day: int, plant: Plant, hands: Hands, chaos: Chaos, chance: random.Random) -> None:
    """Let a day pass and close while replicas die."""
    hands.set(day)
    calls, begun = calls_of(day, chance), chaos.kills
    raging = asyncio.create_task(chaos.rage(COMING))
    for share in range(COMING):
        # So that each life finds something to do.
        await plant.put(calls[share::COMING])
        chaos.news.set()
        async for _ in ticks(PATIENCE_S, f"another has died on day {day - DAY}"):
            if chaos.kills > begun + share:
                break
    await raging
    await plant.drained(PATIENCE_S)
    hands.set(day + 1, 2.2)
    await chaos.rage_while(asyncio.create_task(plant.closed(day, PATIENCE_S)))
