"""The promise to SDKs that retry: an event id of a source counts once, whoever took it, whoever died, and however late it comes again."""

import asyncio
import base64
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from churnsignal_devstack.services import free_port_base

from tests.support.books import outcomes, until_scored
from tests.support.load import create_key
from tests.support.plant import Hands, at
from tests.support.stack import service

COPIES = 1_000
DAY = 20_000
pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]


def call(message_id: str, when: datetime, **properties: Any) -> dict[str, Any]:
    who = {"userId": "u", "context": {"groupId": "acme"}, "timestamp": when.isoformat()}
    return {"type": "track", "event": "Report Exported", "messageId": message_id, "properties": properties} | who


class Client:
    """Sends single calls to one replica or another."""

    def __init__(self, http: httpx2.AsyncClient, urls: list[str]) -> None:
        self._http = http
        self._urls = urls

    async def send(self, key: str, body: dict[str, Any], copies: int = 1) -> None:
        """Send so many copies at once, replica by replica in turn; each must be accepted."""
        token = base64.b64encode(f"{key}:".encode()).decode()
        urls = [f"{self._urls[n % len(self._urls)]}/v1/track" for n in range(copies)]
        answers = await asyncio.gather(*(self._http.post(url, json=body, headers={"Authorization": f"Basic {token}"}) for url in urls))
        assert {answer.status_code for answer in answers} == {200}


async def test_an_id_counts_once_over_replicas_restarts_and_midnight(told: dict[str, str], tmp_path: Path) -> None:
    hands = Hands(tmp_path / "clock.json")
    hands.set(DAY, 22)
    told = told | {"CHURNSIGNAL_CLOCK": hands.spec}
    other = told | {"CHURNSIGNAL_PORT_BASE": str(free_port_base())}
    key, elsewhere = create_key(told), create_key(told, source="elsewhere")
    same = call("same", at(DAY, 21.9))
    limits = httpx2.Limits(max_connections=64)
    with (
        service("ingest", told, tmp_path) as first,
        service("ingest", other, tmp_path) as second,
        service("scoring", told, tmp_path) as scoring,
    ):
        async with httpx2.AsyncClient(timeout=30, limits=limits) as http:
            client = Client(http, [first.url, second.url])
            await client.send(key, same, COPIES // 2)
            scoring.kill()
            await client.send(key, same, COPIES // 4)
            scoring.launch()
            await client.send(key, same, COPIES - COPIES // 2 - COPIES // 4)
            await asyncio.to_thread(scoring.wait_ready)

            await client.send(elsewhere, same)
            await client.send(key, call("disputed", at(DAY, 21.9), version=1))
            await client.send(key, call("disputed", at(DAY, 21.9), version=2))
            await until_scored(told)
            hands.set(DAY + 1, 6)
            await client.send(key, same)
            await until_scored(told)
            metrics = (await http.get(f"{scoring.url}/metrics")).text

        database = await asyncpg.connect(told["DATABASE_URL"])
        counted, events = (
            await outcomes(database),
            await database.fetchval("SELECT events_total FROM scoring.accounts WHERE account = 'acme'"),
        )
        await database.close()

    assert {name: count for name, count in counted.items() if count} == {"applied": 3, "duplicate": COPIES, "conflict": 1}
    assert events == 3
    assert 'churnsignal_scoring_events_total{outcome="conflict"} 1.0' in metrics
