"""Door. Open-loop load: requests leave when they are due, however slow the answers are, and their time counts from then."""

import asyncio
import itertools
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Told:
    """What the client saw. Latencies are in seconds, from when a request was due."""

    took: list[float] = field(default_factory=list)
    bad: int = 0

    def p99_ms(self) -> float:
        return sorted(self.took)[int(len(self.took) * 0.99)] * 1000


class Line:
    """One keep-alive connection, opened again when it was cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> bool:
        """Return whether the request was answered with 200."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            return head.startswith(b"HTTP/1.1 200")
        except (OSError, asyncio.IncompleteReadError):
            self._streams = None
            return False


async def steady(port: int, requests: list[bytes], per_s: float, seconds: float, lines: int = 32) -> Told:
    """Send so many requests a second for so long; return when all are answered."""
    told, source, free = Told(), itertools.cycle(requests), asyncio.Queue[Line]()
    for _ in range(lines):
        free.put_nowait(Line(port))

    async def send(due: float) -> None:
        line = await free.get()
        good = await line.ask(next(source))
        free.put_nowait(line)
        told.took.append(time.perf_counter() - due)
        told.bad += not good

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(per_s * seconds)):
            due = began + number / per_s
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(send(due))
    return told
