"""Door. Send calls to ingest as an SDK would, stamping simulated times, and keep our own list of what was accepted."""

import asyncio
import base64
from datetime import datetime
from typing import Any

import httpx2
import msgspec
from churnsignal_common.clock import RealClock

from churnsignal_devstack.demo.books import Sent
from churnsignal_devstack.demo.story import Call, iso

BATCH = 100
IMPORT_BATCH = 1000
_PATIENCE_S = 60.0


def _real_s() -> float:
    return RealClock().now().timestamp()


class Refused(Exception):
    """Ingest refused a whole batch for good."""


class Client:
    """One product backend with one write key."""

    def __init__(self, url: str, write_key: str) -> None:
        token = base64.b64encode(f"{write_key}:".encode()).decode()
        self._http = httpx2.AsyncClient(base_url=url, timeout=15, headers={"Authorization": f"Basic {token}"})
        self.books = Sent()

    async def close(self) -> None:
        await self._http.aclose()

    async def send(self, calls: list[Call], now: datetime) -> None:
        """Send `calls` in order through the live lane."""
        for start in range(0, len(calls), BATCH):
            await self._post("/v1/batch", calls[start : start + BATCH], now)

    async def import_(self, calls: list[Call], now: datetime) -> None:
        """Send `calls` through the history lane, four batches at a time."""
        gate = asyncio.Semaphore(4)

        async def one(part: list[Call]) -> None:
            async with gate:
                await self._post("/v1/import", part, now)

        async with asyncio.TaskGroup() as group:
            for start in range(0, len(calls), IMPORT_BATCH):
                group.create_task(one(calls[start : start + IMPORT_BATCH]))

    async def _post(self, path: str, calls: list[Call], now: datetime) -> None:
        ids = [str(call["messageId"]) for call in calls]
        self.books.sent.update(ids)
        began = _real_s()
        self.books.sent_at.update(dict.fromkeys(ids, began))
        body = msgspec.json.encode({"batch": calls, "sentAt": iso(now)})
        answer = await self._patiently(path, body, began)
        refused = {str(r["messageId"]): str(r["reason"]) for r in answer.get("rejected", ())}
        self.books.rejected |= refused
        self.books.suppressed += int(answer.get("suppressed", 0))
        self.books.accepted.update(i for i in ids if i not in refused)

    async def _patiently(self, path: str, body: bytes, began: float) -> dict[str, Any]:
        """Retry as SDKs do: on 429, 5xx and broken connections, after Retry-After, for a minute."""
        while True:
            try:
                response = await self._http.post(path, content=body)
                if response.status_code == 200:
                    answer: dict[str, Any] = response.json()
                    return answer
                if response.status_code not in (408, 429, 500, 502, 503, 504):
                    raise Refused(f"ingest answered {response.status_code}: {response.text[:300]}")
                wait_s = float(response.headers.get("Retry-After", 1))
            except httpx2.TransportError:
                wait_s = 0.5
            if _real_s() - began > _PATIENCE_S:
                raise Refused(f"ingest took nothing for {_PATIENCE_S:.0f} s")
            await asyncio.sleep(wait_s)
