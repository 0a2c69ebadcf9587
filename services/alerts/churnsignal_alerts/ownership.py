"""Door. Which replica owns a partition, by an epoch in Postgres, and how far it has read: written with what was read."""

from collections import Counter
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

CLAIM = text("""
INSERT INTO alerts.positions (topic, partition, epoch, owner) VALUES (:topic, :partition, 1, :owner)
ON CONFLICT (topic, partition) DO UPDATE SET epoch = alerts.positions.epoch + 1, owner = excluded.owner
RETURNING epoch, next_offset
""")
# The epoch is checked by the same statement that moves the position: no row comes back when somebody else has taken over.
MOVE = text("""
UPDATE alerts.positions SET next_offset = :next, first_offset = coalesce(first_offset, :first)
WHERE topic = :topic AND partition = :partition AND epoch = :epoch RETURNING epoch
""")
COUNT = text("""
INSERT INTO alerts.outcomes (topic, partition, outcome, count) VALUES (:topic, :partition, :outcome, :count)
ON CONFLICT (topic, partition, outcome) DO UPDATE SET count = alerts.outcomes.count + excluded.count
""")


class Fenced(Exception):
    """Another replica owns the partition now; whatever we decided about it must not be written."""


async def claim(connection: AsyncConnection, topic: str, partition: int, owner: str) -> tuple[int, int | None]:
    """Take the partition over, so that every transaction of an earlier owner fails; return our epoch, and where reading goes on."""
    row = (await connection.execute(CLAIM, {"topic": topic, "partition": partition, "owner": owner})).one()
    return row.epoch, row.next_offset


async def move(connection: AsyncConnection, span: dict[str, Any], outcomes: Counter[str]) -> None:
    """Note that a span of records is done, and what became of them; raises Fenced when the partition is no longer ours."""
    if (await connection.execute(MOVE, span)).first() is None:
        raise Fenced(str(span))
    place = {"topic": span["topic"], "partition": span["partition"]}
    await connection.execute(COUNT, [{**place, "outcome": outcome, "count": count} for outcome, count in outcomes.items()])
