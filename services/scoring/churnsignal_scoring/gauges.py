"""Flow. What is measured by asking Postgres now and then: accounts by band, silent sources, records without an outcome."""

from churnsignal_common.contracts.risk import Band
from churnsignal_common.postgres.failures import put_off
from churnsignal_common.runtime.tasks import Stop
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from churnsignal_scoring.memory import Memory
from churnsignal_scoring.metrics import Metrics
from churnsignal_scoring.tables import accounts, outcomes, positions
from churnsignal_scoring.unresolved import Filled

EVERY_S = 5.0


class Gauges:
    """Counts over all partitions; each replica shows the same."""

    def __init__(self, engine: AsyncEngine, metrics: Metrics, memory: Memory) -> None:
        self._engine = engine
        self._metrics = metrics
        self._ledger = memory.ledger
        self._resolver = memory.resolver

    async def run(self, stop: Stop) -> None:
        while not stop.is_set():
            with put_off("gauges_not_refreshed"):
                await self.refresh()
            await stop.wait(EVERY_S)

    async def refresh(self) -> None:
        async with self._engine.connect() as connection:
            bands: dict[str, int] = dict(
                (await connection.execute(select(accounts.c.band, func.count()).group_by(accounts.c.band))).tuples().all()
            )
            read = select(func.coalesce(func.sum(positions.c.next_offset - positions.c.first_offset), 0)).scalar_subquery()
            told = select(func.coalesce(func.sum(outcomes.c.count), 0)).scalar_subquery()
            # One statement, one snapshot: the two sums belong together.
            missing = (await connection.execute(select(read - told))).scalar_one()
        for band in Band:
            self._metrics.accounts.labels(band.value).set(bands.get(band.value, 0))
        self._metrics.unaccounted.set(float(missing))
        parked: dict[str, Filled] = {}
        shares: dict[str, float] = {}
        for (_, source), filled in self._resolver.parked.items():
            parked[source] = parked.get(source, Filled()).plus(*filled)
            shares[source] = max(shares.get(source, 0.0), self._resolver.parking.fullness(filled))
        for gauge in (self._metrics.parked_events, self._metrics.parked_bytes, self._metrics.parked_share):
            gauge.clear()
        for source, filled in parked.items():
            self._metrics.parked_events.labels(source).set(filled.calls)
            self._metrics.parked_bytes.labels(source).set(filled.size)
            self._metrics.parked_share.labels(source).set(shares[source])
        newest = max(self._ledger.records, default=None)
        if newest is not None:
            self._metrics.silent.clear()
            for source, verdict in self._ledger.records[newest].sources.items():
                self._metrics.silent.labels(source).set(1 if verdict.silent else 0)
