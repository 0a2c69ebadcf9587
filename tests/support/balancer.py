"""Door. A load balancer for TCP as plain ones are: asks /readyz of each replica in turn, and never tries another replica for a connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

LOOK_EVERY_S = 0.1
_LOOK = b"GET /readyz HTTP/1.1\r\nhost: replica\r\nconnection: close\r\n\r\n"


@dataclass(slots=True)
class Balancer:
    """Spreads connections over the replicas at `ports` that say they are ready. `refused` counts those that no replica took."""

    ports: tuple[int, ...]
    ready: list[int] = field(default_factory=list)
    refused: int = 0
    _turn: int = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Yield the URL to send to, once a replica is ready."""
        looks = [asyncio.create_task(self._watch(port)) for port in self.ports]
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            await self.until(lambda: bool(self.ready))
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for look in looks:
                look.cancel()

    async def until(self, true: Callable[[], bool]) -> None:
        """Return when what the balancer sees makes `true` true."""
        async with asyncio.timeout(60):
            while not true():  # noqa: ASYNC110 what is waited for lives in other processes
                await asyncio.sleep(LOOK_EVERY_S)

    async def _watch(self, port: int) -> None:
        while True:
            ready = await _is_ready(port)
            if ready and port not in self.ready:
                self.ready.append(port)
            elif not ready and port in self.ready:
                self.ready.remove(port)
            await asyncio.sleep(LOOK_EVERY_S)  # a balancer's own pace

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._turn += 1
        try:
            port = self.ready[self._turn % len(self.ready)]
            upstream = await asyncio.open_connection("127.0.0.1", port)
        except (OSError, ZeroDivisionError):
            self.refused += 1
            writer.transport.abort()
            return
        await asyncio.gather(pump(reader, upstream[1]), pump(upstream[0], writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until one side is gone."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_LOOK)
            answer = await reader.read(12)
            writer.close()
            return answer.endswith(b"200")
    except (OSError, TimeoutError):
        return False
