"""Root. One replay of real events through the scoring engine, told how to disturb it; prints a digest of each close as JSON.

python -m tests.support.replays '{"seed": 1, "batch": 97, "partitions": 4, "copies": 2, "evict": true}'
"""

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import msgspec
import polars as pl
from churnsignal_common.contracts.days import DayRecord
from churnsignal_common.contracts.envelope import Envelope
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.risk import Cause
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.health.days import from_date, open_zone
from churnsignal_scoring.health.state import AccountState
from churnsignal_scoring.policy import load_mapping, load_scorecard

from tests.support.rows import loaded_from

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "tools" / "devstack" / "churnsignal_devstack" / "demo" / "data" / "asf_podlings" / "events.parquet"
FIRST, LAST = datetime(2014, 1, 1, tzinfo=UTC), datetime(2014, 6, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Disturbance:
    """What to do to the calls of a day before they arrive: shuffle by seed, repeat, cut into batches, spread over partitions, evict states.

    `lose` so many calls of the last day: a digest that would not tell proves nothing.
    """

    seed: int | None = None
    batch: int = 10_000
    partitions: int = 1
    copies: int = 1
    evict: bool = False
    lose: int = 0


@dataclass
class Fired:
    """Proof that the disturbance happened."""

    moved: int = 0
    duplicates: int = 0
    batches: int = 0
    evictions: int = 0
    partitions: int = 0
    calls: int = 0


@dataclass
class Partition:
    """What one owner holds: its own engine, its accounts, the ids it has applied."""

    engine: AccountEngine
    states: dict[str, AccountState] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


def days() -> Iterator[tuple[int, list[Envelope]]]:
    """Yield the calls of each day, as ingest would have put them on the topic."""
    frame = pl.read_parquet(EVENTS).with_row_index().filter(pl.col("occurred_at").is_between(FIRST, LAST, closed="left"))
    by_day: dict[int, list[Envelope]] = {}
    for index, account, user, event, at in frame.select("index", "account_id", "user_id", "event", "occurred_at").iter_rows():
        moment = at.astimezone(UTC)
        call = msgspec.Raw(msgspec.json.encode({"type": "track", "event": event}))
        sent = Envelope(id=str(index), source="git", account=account, user=user, occurred_at=moment, received_at=moment, call=call)
        by_day.setdefault(from_date(moment.date()), []).append(sent)
    for day in range(from_date(FIRST.date()), from_date(LAST.date())):
        yield day, by_day.get(day, [])


def disturbed(calls: list[Envelope], how: Disturbance, fired: Fired) -> list[Envelope]:
    """Return the day's calls as they arrive."""
    arriving = calls * how.copies
    if how.seed is not None:
        random.Random(how.seed).shuffle(arriving)
        fired.moved += sum(one is not other for one, other in zip(arriving, calls * how.copies, strict=True))
    return arriving


def consume(partition: Partition, batch: list[Envelope], record: DayRecord | None, closed: int, fired: Fired) -> None:
    """Apply a micro-batch and settle the accounts it touched."""
    touched: dict[str, AccountState] = {}
    for sent in batch:
        if sent.id in partition.seen:
            fired.duplicates += 1
            continue
        partition.seen.add(sent.id)
        assert sent.account is not None
        state = partition.states.setdefault(sent.account, AccountState(sent.account))
        partition.engine.apply(state, sent, partition.engine.mapper.usage(sent))
        touched[sent.account] = state
        fired.calls += 1
    for state in touched.values():
        partition.engine.settle(state, batch[-1].received_at, record, closed, history=False)
    fired.batches += 1


def close(partitions: list[Partition], day: int, before: DayRecord | None) -> tuple[DayRecord, str]:
    """Close the day on all partitions; return its record, and a digest of all states, scores and bands."""
    engine = partitions[0].engine
    parts = [one.engine.partial(one.states.values(), day) for one in partitions]
    sent = sum(state.days.get(day, {}).get("@git", 0) for one in partitions for state in one.states.values())
    record = engine.merge(
        day, parts, {"git": [sent, *[0] * 23]}, {} if before is None else {day - 1: before}, engine.zone.end_of(day) + timedelta(hours=2)
    )
    lines = [msgspec.json.encode(record)]
    everybody = [(account, state, one) for one in partitions for account, state in one.states.items()]
    for account, state, one in sorted(everybody, key=lambda row: row[0]):
        assessment = one.engine.close(state, day, record, Cause.CLOSE).assessment
        state.mark_all()
        lines.append(repr((account, assessment.score, assessment.coverage, assessment.band.value, state.rows())).encode())
        state.clean()
    return record, sha256(b"\n".join(lines)).hexdigest()


def replay(how: Disturbance) -> dict[str, object]:
    """Return the digest of each close, and what fired."""
    fired = Fired()
    partitions = [
        Partition(AccountEngine(Mapper(load_mapping(None)), load_scorecard(None), open_zone("UTC"))) for _ in range(how.partitions)
    ]
    record: DayRecord | None = None
    digests = []
    for day, calls in days():
        arriving = disturbed(calls, how, fired)
        if how.lose and day == from_date(LAST.date()) - 1:
            del arriving[: how.lose]
        for number, partition in enumerate(partitions):
            mine = [sent for sent in arriving if partition_of(str(sent.account), how.partitions) == number]
            for start in range(0, len(mine), how.batch):
                consume(partition, mine[start : start + how.batch], record, day - 1, fired)
                if how.evict:
                    evict(partition, fired)
        record, digest = close(partitions, day, record)
        digests.append(digest)
    fired.partitions = sum(bool(partition.states) for partition in partitions)
    return {"closes": digests, "fired": vars(fired)}


def evict(partition: Partition, fired: Fired) -> None:
    """Write every state and read it back, as after a restart."""
    for account, state in partition.states.items():
        state.mark_all()
        partition.states[account] = loaded_from(state.rows())
        fired.evictions += 1


if __name__ == "__main__":
    print(json.dumps(replay(Disturbance(**json.loads(sys.argv[1])))))
