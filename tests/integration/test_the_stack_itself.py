"""Root. The devstack's Postgres and Kafka as other tests rely on them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import psutil
import pytest
from churnsignal_devstack import ports
from churnsignal_devstack.postgres import psql

from tests.support.devstack import until
from tests.support.nursery import nursery
from tests.support.stack import Stack, run, stack_to_hurt  # noqa: F401 takes the place of `stack`

HOLDER = """
import os, sys
from churnsignal_devstack.backing import passing
from churnsignal_devstack.postgres import Durability
with passing(Durability(fsync=False), {}) as backing:
    print(backing.postgres.port, backing.kafka.port, backing.postgres.child.pid, backing.kafka.child.pid, backing.kafka.log.parent.parent, flush=True)
    sys.stdin.read()
"""


async def _count(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))
    finally:
        await connection.close()


@pytest.mark.asyncio
async def test_a_fresh_database_is_empty(database_url: str) -> None:
    assert await _count(database_url) == 0


def test_postgres_comes_back_after_an_immediate_restart(stack: Stack, database_url: str) -> None:
    stack.postgres.restart_immediately()

    assert asyncio.run(_count(database_url)) == 0


def test_a_commit_survives_a_kill_of_the_server_right_after_it(stack: Stack, database_url: str) -> None:
    psql(database_url, "CREATE TABLE kept (n int)")
    psql(database_url, "INSERT INTO kept SELECT generate_series(1, 1000)")

    stack.postgres.kill()
    stack.postgres.launch()
    stack.postgres.wait_ready()

    assert psql(database_url, "SELECT count(*) FROM kept") == "1000"
    assert psql(database_url, "SHOW synchronous_commit") == "on"


def test_the_broker_comes_back_after_a_kill(stack: Stack) -> None:
    stack.kafka.kill()
    stack.kafka.launch()
    stack.kafka.wait_ready()

    assert ports.answers(int(stack.bootstrap.rsplit(":", 1)[1]))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_a_parent_that_was_ended(how: signal.Signals) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert holder.stdout is not None
    *numbers, directory = holder.stdout.readline().split()
    postgres_port, kafka_port, *pids = map(int, numbers)
    assert ports.answers(postgres_port)
    assert ports.answers(kafka_port)

    os.kill(holder.pid, how)
    holder.wait(30)

    deadline = time.monotonic() + 15
    while (any(map(psutil.pid_exists, pids)) or Path(directory).exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, pids))
    assert not Path(directory).exists()
    assert not ports.answers(postgres_port)
    assert not ports.answers(kafka_port)


def test_topics_are_applied_under_the_prefix_and_a_second_time_changes_nothing(stack: Stack, database_url: str, topic_prefix: str) -> None:
    told = stack.env(database_url, topic_prefix)

    stack.apply_topics(told)
    stack.apply_topics(told)

    run("common.kafka.topics_cli", ["check"], told)
    stack.drop_topics(topic_prefix)
    # The broker forgets them a moment later.
    until(lambda: "missing" in nursery().run("common.kafka.topics_cli", ["check"], told)[2])
