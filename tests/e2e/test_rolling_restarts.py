"""Two replicas of ingest behind a load balancer are restarted one after the other, under load, and no client notices."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from churnsignal_common.contracts.envelope import envelope_decoder
from churnsignal_common.contracts.topics import USAGE_EVENTS, USAGE_UNRESOLVED
from churnsignal_devstack.services import ServiceProcess, free_port_base
from rudderstack.analytics.client import Client as RudderClient
from segment.analytics.client import Client as SegmentClient

from tests.support.balancer import Balancer
from tests.support.load import Backend, create_key
from tests.support.records import read_records
from tests.support.stack import service

DRAIN_S = 1
pytestmark = pytest.mark.asyncio


@pytest.fixture
def replicas(told: dict[str, str], tmp_path: Path) -> Iterator[tuple[ServiceProcess, ServiceProcess]]:
    def own() -> dict[str, str]:
        return told | {"CHURNSIGNAL_PORT_BASE": str(free_port_base()), "CHURNSIGNAL_DRAIN_S": str(DRAIN_S)}

    with service("ingest", own(), tmp_path) as first, service("ingest", own(), tmp_path) as second:
        yield first, second


class Sdk:
    """An unmodified SDK that sends small batches all the time, and its books."""

    def __init__(self, client: type[SegmentClient | RudderClient], url: str, key: str) -> None:
        self.failed: list[str] = []
        self.ids: list[str] = []
        self._client = client(key, host=url, on_error=self._note, upload_size=5, upload_interval=0.05, max_retries=0, gzip=False)

    def _note(self, error: Exception, items: list[dict[str, str]]) -> None:
        self.failed += [f"{item['messageId']}: {error}" for item in items]

    async def run(self, over: asyncio.Event) -> None:
        while not over.is_set():
            for number in range(10):
                _, message = self._client.track(f"user-{number}", "Login", context={"groupId": number})
                self.ids.append(message["messageId"])
            await asyncio.sleep(0.05)  # a backend's pace
        await asyncio.to_thread(self._client.flush)
        await asyncio.to_thread(self._client.join)


async def _restart(replica: ServiceProcess, balancer: Balancer) -> int | None:
    code = await asyncio.to_thread(replica.stop)
    await balancer.until(lambda: len(balancer.ready) == 1)
    await asyncio.to_thread(replica.start)
    await balancer.until(lambda: len(balancer.ready) == 2)
    return code


async def test_no_client_notices_a_rolling_restart(told: dict[str, str], replicas: tuple[ServiceProcess, ServiceProcess]) -> None:
    key = await asyncio.to_thread(create_key, told)
    balancer = Balancer(tuple(replica.port for replica in replicas))
    async with balancer.listening() as url:
        await balancer.until(lambda: len(balancer.ready) == 2)
        over = asyncio.Event()
        sdks = [Sdk(client, url, key) for client in (SegmentClient, RudderClient)]
        backend = Backend(url, key)
        load = asyncio.gather(backend.run(), *(sdk.run(over) for sdk in sdks))
        await balancer.until(lambda: len(backend.books.accepted) > 100)

        codes = [await _restart(replica, balancer) for replica in replicas]

        over.set()
        backend.stop()
        await load

    assert codes == [0, 0]
    assert [sdk.failed for sdk in sdks] == [[], []]
    assert (backend.books.cut, backend.books.refusals, balancer.refused) == (0, [], 0)
    sent = {identity for sdk in sdks for identity in sdk.ids} | set(backend.books.sent)
    records = await read_records(told, USAGE_EVENTS, USAGE_UNRESOLVED)
    assert sent == {envelope_decoder.decode(record.value).id for record in records}


async def test_a_restart_without_a_second_replica_is_felt_and_loses_nothing(told: dict[str, str], tmp_path: Path) -> None:
    key = await asyncio.to_thread(create_key, told)
    with service("ingest", told, tmp_path) as one:
        balancer = Balancer((one.port,))
        async with balancer.listening() as url:
            backend = Backend(url, key)
            load = asyncio.create_task(backend.run())
            await balancer.until(lambda: len(backend.books.accepted) > 100)

            await asyncio.to_thread(one.stop)
            await balancer.until(lambda: backend.books.cut > 0)

            await asyncio.to_thread(one.start)
            backend.stop()
            books = await load

    assert books.accepted == set(books.sent)
    assert balancer.refused > 0
