"""Door. The only place that builds Kafka clients: safe settings, bounded stops. aiokafka's defaults lose data."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer import fetcher
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from aiokafka.helpers import create_ssl_context

from churnsignal_common.runtime.settings import ServiceSettings
from churnsignal_common.runtime.tasks import Stop

log = structlog.get_logger()

RETRY_S = 0.5
_DESCRIBE_S = 5.0
Client = TypeVar("Client", AIOKafkaProducer, AIOKafkaConsumer)


@dataclass(frozen=True, slots=True)
class Brokers:
    """How to reach the brokers."""

    servers: str
    security: dict[str, Any]


def brokers_of(settings: ServiceSettings) -> Brokers:
    """Return the brokers that the environment names."""
    protocol = settings.kafka_security_protocol
    security: dict[str, Any] = {"security_protocol": protocol}
    if protocol.startswith("SASL"):
        password = settings.kafka_sasl_password
        security |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": password.get_secret_value() if password else None,
        }
    if protocol.endswith("SSL"):
        security["ssl_context"] = _ssl(settings)
    return Brokers(settings.kafka, security)


def _ssl(settings: ServiceSettings) -> ssl.SSLContext:
    files = (settings.kafka_ssl_cafile, settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
    cafile, certfile, keyfile = (str(path) if path else None for path in files)
    context: ssl.SSLContext = create_ssl_context(cafile=cafile, certfile=certfile, keyfile=keyfile)
    return context


class _Records(fetcher.PartitionRecords):  # type: ignore[misc] # aiokafka is untyped
    """Hands records on as they were parsed, with offset, timestamp, key, value and headers: copying each into a dataclass costs more than parsing it."""

    def _consumer_record(self, _place: object, record: object) -> object:
        return record


fetcher.PartitionRecords = _Records


def new_producer(brokers: Brokers, client_id: str) -> AIOKafkaProducer:
    """Return a producer that acks on all replicas, fails within 5 s, and never blocks for ever.

    Not idempotent: an idempotent aiokafka send never times out, and a sequence error wedges it until rebuilt. A send that
    failed may still have been written; duplicates are absorbed by scoring's dedup and by sequences.
    """
    return AIOKafkaProducer(
        bootstrap_servers=brokers.servers, client_id=client_id, acks="all", enable_idempotence=False, compression_type="zstd",
        request_timeout_ms=5000, retry_backoff_ms=50, max_batch_size=768 * 1024, max_request_size=1024 * 1024, linger_ms=0,
        metadata_max_age_ms=30_000, **brokers.security,
    )  # fmt: skip


def new_consumer(
    brokers: Brokers, client_id: str, group: str | None, *, instance: str | None = None, session_timeout_ms: int = 10_000
) -> AIOKafkaConsumer:
    """Return a consumer whose truth is elsewhere: it never commits, never skips to the end, and fetches in small buffers.

    With `group`, topics of equal partition count are assigned alike (range), so that partition p of each goes to one member.
    """
    return AIOKafkaConsumer(
        bootstrap_servers=brokers.servers, client_id=client_id, group_id=group, group_instance_id=instance, enable_auto_commit=False,
        auto_offset_reset="none" if group is None else "earliest", isolation_level="read_uncommitted", session_timeout_ms=session_timeout_ms,
        heartbeat_interval_ms=min(3000, session_timeout_ms // 3), rebalance_timeout_ms=60_000, max_poll_interval_ms=300_000,
        partition_assignment_strategy=(RangePartitionAssignor,), fetch_max_bytes=5 * 1024 * 1024, max_partition_fetch_bytes=512 * 1024,
        fetch_max_wait_ms=100, request_timeout_ms=15_000, metadata_max_age_ms=30_000, retry_backoff_ms=50, **brokers.security,
    )  # fmt: skip


@asynccontextmanager
async def open_admin(brokers: Brokers, client_id: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """Yield a started admin client; its answers carry error codes that the caller must read."""
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers.servers, client_id=client_id, request_timeout_ms=15_000, **brokers.security)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def stop_client(client: AIOKafkaProducer | AIOKafkaConsumer, timeout_s: float = 8.0) -> None:
    """Stop `client` within the time. aiokafka's stop may hang while brokers are away, and may leak a CancelledError nobody asked for."""
    task = asyncio.current_task()
    try:
        async with asyncio.timeout(timeout_s):
            await client.stop()
    except TimeoutError:
        log.warning("kafka_client_stop_timed_out", client=type(client).__name__, timeout_s=timeout_s)
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
        log.warning("kafka_client_stop_leaked_cancel", client=type(client).__name__)


async def connect(new: Callable[[], Client], stop: Stop, away: Callable[[str], None], timeout_s: float) -> Client | None:
    """Return a started client, a new one for each try, however long the brokers are away; None when told to stop first."""
    while not stop.is_set():
        client = new()
        try:
            async with asyncio.timeout(timeout_s):
                await client.start()
            return client
        except (KafkaError, OSError, TimeoutError) as error:
            away(type(error).__name__)
            log.warning("kafka_away", client=type(client).__name__, error=type(error).__name__)
            await stop_client(client, 2.0)
            await stop.wait(RETRY_S)
    return None


async def await_topics(
    brokers: Brokers, client_id: str, topics: Sequence[str], partitions: int, stop: Stop, away: Callable[[str], None]
) -> bool:
    """Wait until the topics are there and as wide as we believe; return False when told to stop first. `away` hears why we wait."""
    said = ""
    while not stop.is_set():
        problem = await topics_problem(brokers, client_id, topics, partitions)
        if not problem:
            return True
        away(problem)
        if problem != said:
            log.warning("waiting_for_topics", reason=problem)
        said = problem
        await stop.wait(RETRY_S)
    return False


async def topics_problem(brokers: Brokers, client_id: str, topics: Sequence[str], partitions: int) -> str:
    """Return why `topics` cannot be used, or nothing. With another number of partitions than theirs, records would lie where nobody looks for them."""
    try:
        async with asyncio.timeout(_DESCRIBE_S), open_admin(brokers, f"{client_id}-start") as admin:
            rows = await admin.describe_topics(list(topics))
    except (KafkaError, OSError, TimeoutError) as error:
        return f"cannot reach Kafka ({type(error).__name__}): check KAFKA_BOOTSTRAP_SERVERS"
    found = {row["topic"]: len(row["partitions"]) for row in rows if not row["error_code"]}
    missing = [name for name in topics if name not in found]
    if missing:
        return f"topics are missing: {', '.join(missing)}: run `churnsignal-topics apply`"
    wrong = [f"{name} has {count}" for name, count in found.items() if count != partitions]
    return f"CHURNSIGNAL_PARTITIONS is {partitions}, but {', '.join(wrong)}" if wrong else ""


__all__ = [
    "Brokers", "ConsumerRebalanceListener", "await_topics", "brokers_of", "connect", "new_consumer", "new_producer", "open_admin", "stop_client", "topics_problem",
]  # fmt: skip
