"""Root. The Postgres and Kafka that a test run uses, and what tests do with them: fresh databases, topics, service processes, faults."""

import asyncio
import contextlib
import itertools
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest
from churnsignal_common.kafka.client import Brokers, open_admin
from churnsignal_devstack.backing import passing
from churnsignal_devstack.postgres import Durability, psql
from churnsignal_devstack.problems import StackProblem
from churnsignal_devstack.services import ServiceProcess, free_port_base

from tests.support.nursery import nursery


class Server(Protocol):
    """A broker or database that a test may hurt."""

    def launch(self) -> None: ...
    def wait_ready(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


class DatabaseServer(Server, Protocol):
    """A database that can also crash and recover in one go."""

    def restart_immediately(self) -> None: ...


@dataclass(slots=True)
class Stack:
    """Addresses of a Postgres and a Kafka, and the servers themselves where a test may hurt them."""

    database_url: str
    bootstrap: str
    servers: tuple[DatabaseServer, Server] | None = None
    _templates: dict[tuple[str, ...], str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def postgres(self) -> DatabaseServer:
        """Return the database server, for a test that hurts it."""
        return self._to_hurt()[0]

    @property
    def kafka(self) -> Server:
        """Return the broker, for a test that hurts it."""
        return self._to_hurt()[1]

    def _to_hurt(self) -> tuple[DatabaseServer, Server]:
        assert self.servers, "others rely on this stack: `from tests.support.stack import stack_to_hurt` gives your module one of its own"
        return self.servers

    def create_database(self, *services: str) -> str:
        """Return the address of a fresh database, migrated for `services`: a copy of a template, so it costs milliseconds."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        template = self._template(services) if services else "template0"
        psql(self.database_url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY WAL_LOG")
        return self._url_of(name)

    def drop_database(self, url: str) -> None:
        """Remove a database and whoever is still connected to it."""
        psql(self.database_url, f"DROP DATABASE IF EXISTS {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def env(self, database_url: str, prefix: str, **more: str) -> dict[str, str]:
        """Return the environment of a service process on this stack; `more` wins."""
        told = {
            "DATABASE_URL": database_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "CHURNSIGNAL_TOPIC_PREFIX": prefix,
            "CHURNSIGNAL_PARTITIONS": "8",
            "CHURNSIGNAL_DRAIN_S": "0",
            "CHURNSIGNAL_PORT_BASE": str(free_port_base()),
            "CHURNSIGNAL_HOST": "127.0.0.1",
            "CHURNSIGNAL_ENV": "dev",
            "CHURNSIGNAL_SIGNING_KEYS": "a-key-for-tests-only",
        }
        return told | more

    def apply_topics(self, told: dict[str, str]) -> None:
        """Create the table of topics under the prefix in `told`."""
        run("common.kafka.topics_cli", ["apply"], told)

    def drop_topics(self, prefix: str) -> None:
        """Remove the topics under `prefix`: hundreds of idle partitions would slow the broker down for the tests to come."""
        # In a thread of its own, because the caller may be inside an event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _delete_topics(self.bootstrap, prefix)).result()

    def close(self) -> None:
        """Remove the templates from a server that outlives us."""
        for name in self._templates.values():
            with contextlib.suppress(Exception):
                psql(self.database_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _template(self, services: tuple[str, ...]) -> str:
        if services not in self._templates:
            name = f"template_{os.getpid()}_{next(self._numbers)}"
            psql(self.database_url, f"CREATE DATABASE {name} TEMPLATE template0")
            for service in services:
                run(service, ["migrate"], self.env(self._url_of(name), ""))
            self._templates[services] = name
        return self._templates[services]

    def _url_of(self, database: str) -> str:
        return f"{self.database_url.rsplit('/', 1)[0]}/{database}"


async def _delete_topics(bootstrap: str, prefix: str) -> None:
    async with open_admin(Brokers(bootstrap, {}), "churnsignal-tests") as admin:
        await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(prefix)])


@contextlib.contextmanager
def open_stack(environment: Mapping[str, str]) -> Iterator[Stack]:
    """Yield a stack: containers when `STACK=containers`, else what the environment names, else our own in a temporary directory."""
    if os.environ.get("STACK") == "containers":
        from tests.support.containers import open_containers

        with open_containers() as stack:
            yield stack
        return
    with passing(Durability(fsync=os.environ.get("STACK_FSYNC") == "1"), environment) as backing:
        servers = (backing.postgres, backing.kafka) if backing.postgres and backing.kafka else None
        stack = Stack(backing.database_url, backing.bootstrap, servers)
        try:
            yield stack
        finally:
            stack.close()


@pytest.fixture(scope="module", name="stack")
def stack_to_hurt(victims: Stack) -> Stack:
    """A Postgres and a Kafka to be killed and frozen, and to be healed again; they take the place of the others where this is imported."""
    return victims


def run(name: str, arguments: Sequence[str], told: Mapping[str, str]) -> str:
    """Run a service's command to its end and return what it printed; its failure is ours."""
    code, said, complaint = nursery().run(name, arguments, told)
    if code != 0:
        raise StackProblem(f"`{name} {' '.join(arguments)}` failed (code {code}):\n{(complaint or said).strip()[-2000:]}")
    return said


class Service(ServiceProcess):
    """A process of one service, started in the time of a fork."""

    def launch(self) -> None:
        self.child = nursery().begin(self.name, self.arguments, self.told, self.log)


@contextlib.contextmanager
def service(name: str, told: dict[str, str], directory: Path) -> Iterator[ServiceProcess]:
    """Yield a ready process of one service; whatever the test did to it, it is gone afterwards."""
    process = Service(name, told, directory / f"{name}-{uuid.uuid4().hex[:6]}.log")
    process.start()
    try:
        yield process
    finally:
        if process.is_alive():
            process.thaw()
            process.stop(10)
