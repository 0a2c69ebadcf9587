"""Door. What the pipeline's own tables say, for tests that hold them against a client's books."""

import asyncio
from collections import Counter

import asyncpg
from aiokafka import TopicPartition
from churnsignal_common.contracts import topics
from churnsignal_common.kafka.client import Brokers, new_consumer, open_admin

USAGE = (topics.USAGE_EVENTS, topics.USAGE_HISTORY, topics.USAGE_UNRESOLVED)


async def end_offsets(told: dict[str, str], *names: str) -> dict[tuple[str, int], int]:
    """Return the end of each partition of the topics, by their names in the table."""
    brokers, prefix = Brokers(told["KAFKA_BOOTSTRAP_SERVERS"], {}), told["CHURNSIGNAL_TOPIC_PREFIX"]
    consumer = new_consumer(brokers, "test", None)
    async with open_admin(brokers, "test") as admin:
        found = await admin.describe_topics([prefix + name for name in names])
    await consumer.start()
    try:
        ends = await consumer.end_offsets([TopicPartition(t["topic"], p["partition"]) for t in found for p in t["partitions"]])
        return {(p.topic.removeprefix(prefix), p.partition): end for p, end in ends.items()}
    finally:
        await consumer.stop()


async def outcomes(database: asyncpg.Connection) -> Counter[str]:
    """Return how many records ended how."""
    return Counter(
        {
            r["outcome"]: r["count"]
            for r in await database.fetch("SELECT outcome, sum(count)::int AS count FROM scoring.v_outcomes GROUP BY 1")
        }
    )


async def until_scored(told: dict[str, str], patience_s: float = 60.0) -> None:
    """Return when scoring has consumed all usage topics and published its outbox, seen twice in a row."""
    database = await asyncpg.connect(told["DATABASE_URL"])
    seen, found = None, "nothing read"
    try:
        async with asyncio.timeout(patience_s):
            while True:
                pending = await database.fetchval("SELECT sum(pending) FROM scoring.v_outbox")
                ends = {key: end for key, end in (await end_offsets(told, *USAGE)).items() if end}
                rows = await database.fetch("SELECT topic, partition, next_offset FROM scoring.v_positions")
                positions = {(r["topic"], r["partition"]): r["next_offset"] for r in rows}
                found = f"pending {pending}, ends {ends}, positions {positions}"
                done = not pending and all(positions.get(key, 0) >= end for key, end in ends.items())
                if done and ends == seen:
                    return
                seen = ends if done else seen
                await asyncio.sleep(0.05)  # looking again at a pipeline that moves
    except TimeoutError:
        raise AssertionError(f"not scored after {patience_s:.0f} s: {found}") from None
    finally:
        await database.close()
