"""Door. A product backend under test: sends calls at a rate, retries as SDKs do, and keeps books of everything it was told."""

import asyncio
import base64
import itertools
import json
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx2

from tests.support.stack import run

_RETRY = (408, 429, 500, 502, 503, 504)


@dataclass(slots=True)
class Answer:
    """One answer of ingest, as the client saw it."""

    status: int
    took_s: float
    retry_after: str | None
    body: dict[str, Any]


@dataclass(slots=True)
class Books:
    """What was sent and what was answered."""

    sent: list[str] = field(default_factory=list)
    accepted: set[str] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)
    cut: int = 0

    @property
    def refusals(self) -> list[Answer]:
        return [a for a in self.answers if a.status != 200]


@dataclass(slots=True)
class Backend:
    """Sends `batch` calls every `every_s` seconds until stopped, each batch in a task of its own, so that an outage does not slow it down."""

    url: str
    write_key: str
    batch: int = 10
    every_s: float = 0.05
    accounts: int = 50
    patience_s: float = 90.0
    books: Books = field(default_factory=Books)
    _numbers: Any = field(default_factory=itertools.count)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> Books:
        """Send until `stop()`, then until every call is accepted, which may take `patience_s`; return the books."""
        token = base64.b64encode(f"{self.write_key}:".encode()).decode()
        limits = httpx2.Limits(max_connections=100)
        http = httpx2.AsyncClient(base_url=self.url, timeout=20, limits=limits, headers={"Authorization": f"Basic {token}"})
        try:
            async with asyncio.timeout(None) as patience, http, asyncio.TaskGroup() as group:
                while not self._stop.is_set():
                    group.create_task(self._deliver(http, [self._call() for _ in range(self.batch)]))
                    await _wait(self._stop, self.every_s)
                patience.reschedule(asyncio.get_running_loop().time() + self.patience_s)
        except TimeoutError:
            books, last = self.books, self.books.answers[-3:]
            open_ = f"{len(set(books.sent) - books.accepted)} of {len(books.sent)} calls"
            raise AssertionError(
                f"{open_} not accepted {self.patience_s:.0f} s after the last: cut {books.cut}, last answers {last}"
            ) from None
        return self.books

    def stop(self) -> None:
        self._stop.set()

    def _call(self) -> dict[str, Any]:
        number = next(self._numbers)
        call = {"type": "track", "event": "Report Exported", "userId": f"u-{number % (self.accounts * 3)}", "messageId": f"m-{number}"}
        self.books.sent.append(f"m-{number}")
        return call | {"context": {"groupId": f"account-{number % self.accounts}"}}

    async def _deliver(self, http: httpx2.AsyncClient, calls: list[dict[str, Any]]) -> None:
        content = json.dumps({"batch": calls}).encode()
        while True:
            began = monotonic()
            try:
                response = await http.post("/v1/batch", content=content)
            except httpx2.TransportError:
                self.books.cut += 1
                await asyncio.sleep(0.2)  # a client that was cut off waits before it tries again
                continue
            self.books.answers.append(
                Answer(response.status_code, monotonic() - began, response.headers.get("Retry-After"), response.json())
            )
            if response.status_code == 200:
                self.books.accepted.update(call["messageId"] for call in calls)
                return
            assert response.status_code in _RETRY, response.text
            await asyncio.sleep(min(float(response.headers["Retry-After"]), 2.0))  # as SDKs wait, only shorter


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return


def create_key(told: dict[str, str], *arguments: str, source: str = "test") -> str:
    """Return a new write key of `source`, made by the service's own command."""
    made = json.loads(run("ingest", ["keys", "create", "--source", source, *arguments, "--json"], told))
    return str(made.get("write_key") or made["key"])
