"""Door. A Postgres that a standby follows, and the address at which clients find whichever of the two serves."""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from churnsignal_devstack import children, ports
from churnsignal_devstack.postgres import Durability, Postgres
from churnsignal_devstack.problems import StackProblem

from tests.support.balancer import pump

PATIENCE_S = 30
# A commit is acknowledged when the standby has it, too: what a failover without loss asks for.
SYNCHRONOUS = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"


class Standby(Postgres):
    """A copy of another server, which streams what is committed there until it is promoted."""

    def __init__(self, source: Postgres, where: Path) -> None:
        super().__init__(where, ports.free_port(), Durability(fsync=False))
        self._source = source.url_of("postgres")
        self._secret = (source.log.parent / "password").read_text()

    def _initdb(self) -> None:
        (self._room / "password").write_text(self._secret)
        self._data.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(self._data, self._account.uid, self._account.gid)
        argv = [str(self._binaries / "bin/pg_basebackup"), "-D", str(self._data), "-d", self._source, "-R", "-c", "fast", "--no-sync"]
        copied = self._room / "pg_basebackup.log"
        if children.run(children.Order(argv, self._env(), copied, self._room, self._account)) != 0:
            raise StackProblem(f"pg_basebackup failed:\n{children.tail(copied)}")


@dataclass
class Pair:
    """The server that serves and its standby. `port` is where clients connect; it leads to the one that serves."""

    serving: Postgres
    where: Path
    port: int = 0
    _standby: Standby | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Pair"]:
        """Yield the pair, with a standby that has everything."""
        # A standby that finds its source away looks again at once.
        self.serving.psql("postgres", "ALTER SYSTEM SET wal_retrieve_retry_interval = '100ms'")
        self._follow()
        server = await asyncio.start_server(self._serve, ports.LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self._cut()
            for one in (self._standby, self.serving):
                _end(one)

    def restart_immediately(self) -> None:
        """Let the server that serves crash and recover."""
        self.serving.restart_immediately()
        self._await_standby()

    async def fail_over(self) -> None:
        """Kill the server that serves, let the standby serve, and give it a standby of its own. Meanwhile clients find nobody."""
        assert self._standby is not None
        await asyncio.to_thread(self._promote)
        self._cut()
        await asyncio.to_thread(self._follow)

    def _promote(self) -> None:
        assert self._standby is not None
        self._await_standby()
        self.serving.kill()
        _end(self.serving)
        self._standby.psql("postgres", "SELECT pg_promote()")
        self.serving = self._standby

    def _follow(self) -> None:
        self._standby = Standby(self.serving, self.where / f"standby-{next(self._numbers)}")
        self._standby.begin()
        self._standby.wait_ready()
        self.serving.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.serving.psql("postgres", "SELECT pg_reload_conf()")
        self._await_standby()

    def _await_standby(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while self.serving.psql("postgres", SYNCHRONOUS) != "1":
            if time.monotonic() > end:
                raise StackProblem(f"the standby does not follow:\n{children.tail(self._standby.log) if self._standby else ''}")
            time.sleep(0.05)

    def _cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(ports.LOOPBACK, self.serving.port)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, back}
        self._open |= both
        await asyncio.gather(pump(reader, back), pump(there, writer))
        self._open -= both


def _end(server: Postgres | None) -> None:
    if server is not None:
        server.stop()
    if isinstance(server, Standby):
        server.clear()
