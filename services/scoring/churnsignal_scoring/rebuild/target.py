"""Door. How far a rebuild goes: the positions of a copy, and the closes, records and causes that were decided once."""

from dataclasses import dataclass

import msgspec
from churnsignal_common.contracts.days import DayRecord, day_record_decoder
from churnsignal_common.contracts.partitions import Place
from churnsignal_common.contracts.risk import Cause
from churnsignal_common.postgres.engine import RawConnection

DONE = "SELECT coalesce(max(day), -1) AS day FROM {schema}.closes WHERE stage = 'done'"
CLOSES = """-- the closes after a day, and where each partition was
SELECT day, partition, cause, positions::text AS positions FROM {schema}.closes WHERE stage = 'done' AND day > $1 ORDER BY day, partition"""
RECORDS = "SELECT day, record::text AS record FROM scoring.day_records WHERE day > $1"
POSITIONS = "SELECT topic, partition, first_offset, next_offset FROM {schema}.positions"

_positions = msgspec.json.Decoder(dict[str, int])


@dataclass(frozen=True, slots=True)
class RecordedClose:
    """A partition's close of a day: it closed when it had read this far."""

    partition: int
    cause: Cause
    positions: dict[Place, int]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a rebuild starts and ends. `days` are in order."""

    starts: dict[Place, int]
    ends: dict[Place, int]
    days: dict[int, list[RecordedClose]]
    records: dict[int, DayRecord]

    @property
    def closes(self) -> tuple[int, int]:
        """Return the day before the first close, and the last one."""
        return (min(self.days) - 1, max(self.days)) if self.days else (0, -1)


async def read_target(pg: RawConnection, schema: str, start: str | None, records_before: int) -> Target:
    """Return what to replay from the checkpoint `start` (None: from the beginning) to what `schema` holds."""
    begun = await pg.fetchval(DONE.format(schema=start)) if start else -1
    days: dict[int, list[RecordedClose]] = {}
    for row in await pg.fetch(CLOSES.format(schema=schema), begun):
        positions = {Place(topic, row["partition"]): offset for topic, offset in _positions.decode(row["positions"]).items()}
        days.setdefault(row["day"], []).append(RecordedClose(row["partition"], Cause(row["cause"]), positions))
    rows = await pg.fetch(POSITIONS.format(schema=schema))
    ends = {Place(row["topic"], row["partition"]): row["next_offset"] for row in rows}
    starts = {Place(row["topic"], row["partition"]): row["first_offset"] for row in rows}
    if start:
        starts |= {Place(row["topic"], row["partition"]): row["next_offset"] for row in await pg.fetch(POSITIONS.format(schema=start))}
    first = min(days, default=begun) - records_before
    records = {row["day"]: day_record_decoder.decode(row["record"]) for row in await pg.fetch(RECORDS, first)}
    return Target(starts, ends, days, records)
