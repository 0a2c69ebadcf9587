"""Door. Accounts that live in a real database without Kafka: calls applied and days closed in this process, each day from what is stored."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from churnsignal_common.clock import Clock
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_common.postgres.engine import open_engine
from churnsignal_scoring.conclude import Conclude
from churnsignal_scoring.configs import Configs
from churnsignal_scoring.effects import Effects
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.days import open_zone
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.ledger import Closing, Ledger
from churnsignal_scoring.load import Load
from churnsignal_scoring.months import make_months
from churnsignal_scoring.ownership import Ownership
from churnsignal_scoring.policy import load_mapping, load_scorecard, read_seeds
from churnsignal_scoring.queries import Queries
from churnsignal_scoring.residents import Resident
from churnsignal_scoring.store import Store
from sqlalchemy.ext.asyncio import AsyncEngine

ZONE = open_zone("UTC")


class Moment(Clock):
    """The time of what happens."""

    def __init__(self) -> None:
        self.at = ZONE.start_of(0)

    def now(self) -> datetime:
        return self.at


@dataclass
class Town:
    """One partition's accounts. `day` is the last one closed."""

    database: AsyncEngine
    configs: Configs
    engine: AccountEngine
    store: Store
    clock: Moment
    day: int

    @property
    def queries(self) -> Queries:
        return Queries(self.database)

    @property
    def load(self) -> Load:
        return Load(self.database)

    async def live(self, *days: Iterable[Envelope]) -> None:
        """Apply the calls of each next day in one batch, and close it two hours after its end."""
        for calls in days:
            await self.batch(calls)
            self.day += 1
            await self._close()

    async def batch(self, calls: Iterable[Envelope]) -> None:
        """Apply calls between closes; the last one is now."""
        given = list(calls)
        if not given:
            return
        self.clock.at = given[-1].occurred_at
        effects, ledger, found = await self._begin(sorted({call.account or "" for call in given}))
        for call in given:
            usage = self.engine.usage(call)
            self.engine.apply(found[call.account or ""].state, call, usage)
        conclude = Conclude(self.engine, ledger)
        for resident in found.values():
            conclude.settle(resident, effects, effects.now, history=False)
        await self.store.save(effects)

    async def _begin(self, names: list[str]) -> tuple[Effects, Ledger, dict[str, Resident]]:
        """Return what a process knows that has just started: all of it read from the database."""
        async with self.store.transaction() as pg:
            self.store.ownership.epochs = await self.store.ownership.claim(pg, [0])
            policy = await self.configs.claim(pg)
        self.engine.adopt(policy)
        ledger = Ledger({0: Closing(self.day - 1, self.day)}, await self.load.records(0, self.day))
        stored = {resident.state.account: resident for resident in await self.load.residents(names)}
        found = {name: stored.get(name) or Resident(AccountState(name), 0, self.day) for name in names}
        return Effects(self.clock.at, ZONE.day_of(self.clock.at), {0}), ledger, found

    async def _close(self) -> None:
        self.clock.at = ZONE.end_of(self.day) + timedelta(hours=2)
        async with self.store.transaction() as pg:
            await make_months(pg, self.day, 99)
        names = [resident.state.account for resident in await self.load.residents_after("", 1000)]
        effects, ledger, found = await self._begin(names)
        partial = self.engine.partial([one.state for one in found.values()], self.day)
        record = self.engine.merge(self.day, [partial], {}, ledger.records, self.clock.at)
        effects.record = (self.day, msgspec.json.encode(record))
        ledger.learn(self.day, record)
        conclude = Conclude(self.engine, ledger)
        for resident in found.values():
            conclude.close(resident, effects)
        await self.store.save(effects)


@contextlib.asynccontextmanager
async def open_town(url: str, day: int) -> AsyncIterator[Town]:
    """Yield a town on a migrated, empty database, under the configuration that we ship, with every day until `day` closed."""
    async with open_engine(url, "scoring") as database:
        configs = Configs(database, read_seeds(None, None).values())
        await configs.seed(ZONE.start_of(day))
        engine = AccountEngine(Mapper(load_mapping(None)), load_scorecard(None), ZONE)
        yield Town(database, configs, engine, Store(database, Ownership("town")), Moment(), day)
