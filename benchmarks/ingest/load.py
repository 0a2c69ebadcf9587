"""Door. Closed-loop HTTP load over keep-alive connections, in a process of its own. Run: python -m benchmarks.ingest.load PORT SIZE SECONDS KEY."""

import asyncio
import base64
import itertools
import json
import sys
import time
import uuid
from datetime import UTC, datetime
from typing import cast

import uvloop

CONNECTIONS = {100: 32, 1: 256}
ACCOUNTS = 1000


def call(number: int, now: str) -> dict[str, object]:
    """A track call as segment-python sends it: 370 bytes inside a batch."""
    return {
        "type": "track",
        "event": "Feature Used",
        "messageId": str(uuid.uuid4()),
        "userId": f"user-{number % 5000}",
        "anonymousId": None,
        "timestamp": now,
        "context": {"groupId": f"acct-{number % ACCOUNTS}", "library": {"name": "analytics-python", "version": "2.4.0"}},
        "integrations": {},
        "properties": {"feature": "export", "rows": number % 97, "plan": "pro"},
    }


def requests(size: int, key: str) -> list[bytes]:
    """Whole requests, ready to be written; a few hundred different ones."""
    now = datetime.now(UTC).isoformat()
    auth = base64.b64encode(f"{key}:".encode()).decode()
    made = []
    for number in range(100 if size > 1 else 2000):
        if size > 1:
            path, body = "/v1/batch", json.dumps({"batch": [call(number * size + i, now) for i in range(size)], "sentAt": now})
        else:
            path, body = "/v1/track", json.dumps(call(number, now))
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: analytics-python/2.4.0\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n"
            f"Connection: keep-alive\r\nContent-Type: application/json\r\nAuthorization: Basic {auth}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append((head + body).encode())
    return made


class Client(asyncio.Protocol):
    """One connection: the next request leaves when the last one is answered."""

    def __init__(self, source: "itertools.cycle[bytes]", stats: "Stats") -> None:
        self.source, self.stats = source, stats

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.send()

    def send(self) -> None:
        self.started = time.perf_counter()
        self.transport.write(next(self.source))

    def data_received(self, data: bytes) -> None:
        # Answers are small and whole: head and body may come in two writes, the body ends with a brace.
        if data.startswith(b"HTTP/1.1"):
            self.good = data.startswith(b"HTTP/1.1 200")
        if not data.endswith(b"}"):
            return
        self.stats.note(self.good, time.perf_counter() - self.started)
        if self.stats.over:
            self.transport.close()
        else:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio calls it so
        self.stats.left.discard(self)
        if not self.stats.over:
            self.stats.bad += 1


class Stats:
    def __init__(self) -> None:
        self.good = self.bad = 0
        self.seconds: list[float] = []
        self.over = False
        self.left: set[Client] = set()

    def note(self, good: bool, seconds: float) -> None:
        if good:
            self.good += 1
            self.seconds.append(seconds)
        else:
            self.bad += 1


async def run(port: int, size: int, seconds: float, key: str) -> dict[str, float]:
    stats = Stats()
    source = itertools.cycle(requests(size, key))
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    for _ in range(CONNECTIONS[size]):
        _, client = await loop.create_connection(lambda: Client(source, stats), "127.0.0.1", port)
        stats.left.add(client)
    await asyncio.sleep(seconds)
    stats.over = True
    elapsed = time.monotonic() - began
    for _ in range(300):
        if not stats.left:
            break
        await asyncio.sleep(0.02)
    took = sorted(stats.seconds)
    p99 = took[int(len(took) * 0.99)] * 1000 if took else 0.0
    return {"requests": stats.good, "bad": stats.bad, "seconds": elapsed, "p99_ms": p99}


if __name__ == "__main__":
    port, size, seconds, key = sys.argv[1:]
    print(json.dumps(uvloop.run(run(int(port), int(size), float(seconds), key))))
