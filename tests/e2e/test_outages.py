"""Brokers or the database go away under load: clients are told to wait, memory stays flat, and nothing is lost or counted twice.

`OUTAGE_S` makes the outages longer; from 60 on, all three brokers of the cluster are restarted in turn.
"""

import asyncio
import os
from pathlib import Path
from time import monotonic

import asyncpg
import httpx2
import psutil
import pytest
from churnsignal_devstack.kafka import Kafka
from churnsignal_devstack.services import ServiceProcess

from tests.support.books import outcomes, until_scored
from tests.support.brokers import three_brokers
from tests.support.load import Backend, Books, create_key
from tests.support.stack import Stack, run, service, stack_to_hurt  # noqa: F401 takes the place of `stack`

OUTAGE_S = float(os.environ.get("OUTAGE_S", "8"))
pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240 + 4 * OUTAGE_S)]


async def _totals(told: dict[str, str]) -> tuple[int, int]:
    """Return how many calls were applied, and how many the accounts' states have counted."""
    database = await asyncpg.connect(told["DATABASE_URL"])
    try:
        applied = (await outcomes(database))["applied"]
        return applied, await database.fetchval("SELECT coalesce(sum(events_total), 0)::int FROM scoring.accounts")
    finally:
        await database.close()


def _assert_everything_counted_once(books: Books, totals: tuple[int, int]) -> None:
    assert books.accepted == set(books.sent)
    assert totals == (len(books.sent), len(books.sent))


async def test_a_broker_outage_loses_nothing_and_clients_are_told_to_wait(stack: Stack, told: dict[str, str], tmp_path: Path) -> None:
    key = create_key(told)
    with service("ingest", told, tmp_path) as ingest, service("scoring", told, tmp_path):
        backend = Backend(ingest.url, key)
        load = asyncio.create_task(backend.run())
        await asyncio.sleep(2)  # the time under load is what is tested
        accepted_before, memory_before = len(backend.books.accepted), _rss(ingest)

        stack.kafka.kill()
        await asyncio.sleep(OUTAGE_S)
        memory_in_outage = _rss(ingest)
        async with httpx2.AsyncClient(base_url=ingest.url) as http:
            ready = await http.get("/readyz")
            began = monotonic()
            shed = await http.post("/v1/track", content=b"{}", auth=(key, ""))
            shed_s = monotonic() - began
        refusals = list(backend.books.refusals)
        stack.kafka.launch()
        await asyncio.to_thread(stack.kafka.wait_ready)
        await asyncio.sleep(2)  # and the time after it
        backend.stop()
        books = await load
        await until_scored(told)

        assert accepted_before > 0
        assert refusals, "the outage was not felt"
        assert {a.status for a in refusals} <= {429, 503}
        assert all(a.retry_after and int(a.retry_after) >= 1 for a in refusals)
        assert all({"code", "message"} <= set(a.body) for a in refusals)
        assert max(a.took_s for a in books.answers) < 6
        assert books.cut == 0
        assert shed.status_code in (429, 503)
        assert shed_s < 0.5
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded: kafka")
        assert memory_in_outage - memory_before < 40 * 2**20
        _assert_everything_counted_once(books, await _totals(told))


async def test_one_of_three_brokers_may_die_and_all_may_be_restarted(told: dict[str, str], tmp_path: Path) -> None:
    with three_brokers() as brokers:
        told = told | {"KAFKA_BOOTSTRAP_SERVERS": ",".join(broker.bootstrap for broker in brokers)}
        run("common.kafka.topics_cli", ["apply", "--replication", "3"], told)
        key = create_key(told)
        with service("ingest", told, tmp_path) as ingest, service("scoring", told, tmp_path):
            backend = Backend(ingest.url, key)
            load = asyncio.create_task(backend.run())
            await asyncio.sleep(2)  # the time under load is what is tested
            accepted_before = len(backend.books.accepted)

            brokers[0].kill()
            await asyncio.sleep(OUTAGE_S)
            accepted_with_two = len(backend.books.accepted)
            brokers[0].launch()
            await asyncio.to_thread(brokers[0].wait_ready)
            restarted = brokers if OUTAGE_S >= 60 else brokers[1:2]
            for broker in restarted:
                await asyncio.sleep(3)  # until it has caught up, as an operator would wait
                await _restart(broker)
            await asyncio.sleep(2)  # and the time after it
            backend.stop()
            books = await load
            await until_scored(told)

            assert accepted_with_two > accepted_before > 0
            assert {a.status for a in books.refusals} <= {429, 503}
            assert books.cut == 0
            _assert_everything_counted_once(books, await _totals(told))


async def _restart(broker: Kafka) -> None:
    assert broker.child is not None
    before = broker.child.pid
    await asyncio.to_thread(broker.stop)
    broker.begin()
    await asyncio.to_thread(broker.wait_ready)
    assert broker.child.pid != before


async def test_a_database_that_crashes_under_load_loses_nothing(stack: Stack, told: dict[str, str], tmp_path: Path) -> None:
    key = create_key(told)
    with service("ingest", told, tmp_path) as ingest, service("scoring", told, tmp_path) as scoring:
        backend = Backend(ingest.url, key)
        load = asyncio.create_task(backend.run())
        await asyncio.sleep(2)  # the time under load is what is tested
        born_before = _process(scoring).create_time()

        stack.postgres.restart_immediately()
        await asyncio.sleep(2)  # and the time after it
        backend.stop()
        books = await load
        await until_scored(told)

        assert not books.refusals, "ingest needs Postgres only for keys it has not seen"
        assert _process(scoring).create_time() == born_before
        _assert_everything_counted_once(books, await _totals(told))


def _process(of: ServiceProcess) -> psutil.Process:
    assert of.child is not None
    return psutil.Process(of.child.pid)


def _rss(of: ServiceProcess) -> int:
    return int(_process(of).memory_info().rss)
