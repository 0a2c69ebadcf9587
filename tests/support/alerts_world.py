"""Root. Alerts as a process, with an inbox in the test's own process, a clock that the test moves, and Kafka to publish to."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import asyncpg
import httpx2
import msgspec
from churnsignal_common.clock import paused_at
from churnsignal_common.contracts.partitions import partition_of
from churnsignal_common.contracts.risk import AccountProfile, RiskChanged, risk_event
from churnsignal_common.contracts.topics import ACCOUNTS, RISK_CHANGES
from churnsignal_common.kafka.client import Brokers, new_producer, stop_client
from churnsignal_common.runtime.tokens import hash_token
from churnsignal_devstack.inbox.act import Alerts
from churnsignal_devstack.inbox.app import INTERACTION_S
from churnsignal_devstack.inbox.clicks import find_element
from churnsignal_devstack.inbox.store import Message, OpenView
from churnsignal_devstack.services import ServiceProcess

from tests.support.alerts import change
from tests.support.inbox import Inbox, listening_inbox
from tests.support.stack import Stack, service

SECRET = "a-signing-secret"
# A Friday noon in London, when people are at work.
START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PATIENCE_S = 30.0
Json = dict[str, Any]


@dataclass(slots=True)
class World:
    """One alerts service and everything around it."""

    told: dict[str, str]
    inbox: Inbox
    http: httpx2.AsyncClient
    database: "asyncpg.Connection[Any]"
    clock: Path
    process: ServiceProcess
    now: datetime = START
    _producer: Any = None
    _numbers: dict[str, int] = field(default_factory=dict)

    async def publish(self, *changes: RiskChanged) -> None:
        """Put changes on the topic, as scoring does."""
        for one in changes:
            await self.raw(RISK_CHANGES, one.account.account, msgspec.json.encode(risk_event(one)))

    async def publish_profile(self, profile: AccountProfile) -> None:
        await self.raw(ACCOUNTS, profile.account, msgspec.json.encode(profile))

    async def raw(self, topic: str, key: str, value: bytes) -> None:
        if self._producer is None:
            self._producer = new_producer(Brokers(self.told["KAFKA_BOOTSTRAP_SERVERS"], {}), "test")
            await self._producer.start()
        await self._producer.send_and_wait(
            self.told["CHURNSIGNAL_TOPIC_PREFIX"] + topic, value, key=key.encode(), partition=partition_of(key, 8)
        )

    def change(self, account: str, owner: str | None, **fields: Any) -> RiskChanged:
        """Return the account's next change, as of the clock."""
        self._numbers[account] = self._numbers.get(account, 0) + 1
        sequence = fields.pop("sequence", self._numbers[account])
        values: Json = {"as_of": self.now, "profile_name": account.title(), "profile_updated_at": self.now} | fields
        return change(sequence, profile_account=account, profile_owner=owner, **values)

    async def csm(self, ident: str, **fields: Any) -> None:
        body = {"name": ident.title(), "email": f"{ident}@example.com", "slack": f"U0{ident.upper()}", "hours": "always"} | fields
        answer = await self.http.put(f"/v1/csms/{ident}", json={name: value for name, value in body.items() if value is not None})
        assert answer.status_code == 200, answer.text

    def set_clock(self, moment: datetime) -> None:
        """Move everybody's clock."""
        self.now = moment
        paused_at(moment).write(self.clock)

    def advance(self, **span: float) -> None:
        self.set_clock(self.now + timedelta(**span))

    def kept(self, **wanted: Any) -> list[Message]:
        """Return the inbox's messages with these values."""
        return [m for m in self.inbox.kept if all(getattr(m, name) == value for name, value in wanted.items())]

    def to(self, who: str, kind: str | None = None) -> list[Message]:
        """Return what a person got: by Slack user id or e-mail address."""
        return [m for m in self.inbox.kept if m.to == who and kind in (None, m.kind)]

    async def until(self, ready: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
        """Wait until `ready` returns something true, and return that."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            found = ready()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(
            f"not within {patience_s} s; the inbox ends with {[(m.kind, m.to, m.text[:60]) for m in self.inbox.kept[-5:]]}"
        )

    async def quiet(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until everything due was sent."""
        await self.until(self._idle, patience_s)

    async def _idle(self) -> bool:
        due = await self.database.fetchval(
            "SELECT count(*) FROM alerts.notices WHERE state = 'sending' OR (state = 'queued' AND due_at <= $1)", self.now
        )
        return bool(due == 0)

    async def applied(self, account: str, sequence: int) -> None:
        """Wait until the account's change was applied."""

        async def seen() -> bool:
            found = await self.database.fetchval("SELECT sequence FROM alerts.sequences WHERE account = $1", account)
            return found is not None and found >= sequence

        await self.until(seen)

    async def episode(self, account: str) -> Json:
        """Return the account's newest episode with everything about it."""
        found: list[Json] = (await self.http.get("/v1/episodes", params={"account": account})).json()["items"]
        assert found, f"no episode of {account}"
        return dict((await self.http.get(f"/v1/episodes/{found[0]['id']}")).json())

    async def act(self, episode: str, act: str, **body: Any) -> httpx2.Response:
        return await self.http.post(f"/v1/episodes/{episode}/{act}", json=body)

    async def click(self, message: Message, action: str, user: str, chosen: str | None = None) -> httpx2.Response:
        """Click a button of a message, as Slack would tell it."""
        block_id = next(
            str(b["block_id"])
            for b in message.blocks
            if isinstance(b, dict) and find_element(message.blocks, str(b.get("block_id")), action)
        )
        self.inbox.store.user_by_id(user)
        asked = {"message": message.id, "block_id": block_id, "action_id": action, "user": user, "chosen": chosen}
        return await self.inbox.http.post("/act/click", json=asked)

    async def open_window(self, message: Message, action: str, user: str, chosen: str | None = None) -> OpenView:
        """Click what opens a window, and return the window."""
        answer = await self.click(message, action, user, chosen)
        assert answer.status_code == 200, answer.text
        return list(self.inbox.store.views.values())[-1]

    async def submit(self, window: OpenView, **values: Any) -> Json:
        """Fill a window in and send it."""
        answer = await self.inbox.http.post(
            "/act/submit", json={"view": window.id, "values": {name: {name: v} for name, v in values.items()}}
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def slack_post(self, body: bytes, timestamp: str, signature: str) -> httpx2.Response:
        headers = {
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": signature,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return await self.http.post("/slack/interactions", content=body, headers=[(k.encode(), v.encode()) for k, v in headers.items()])

    async def stop_producer(self) -> None:
        if self._producer is not None:
            await stop_client(self._producer)


def form(payload: str) -> bytes:
    return urlencode({"payload": payload}).encode()


def environment(stack: Stack, inbox: Inbox, prefix: str, home: Path, **more: str) -> dict[str, str]:
    """Return what the service is told: this inbox, this clock, one administrator's token."""
    tokens = home / "tokens.toml"
    tokens.write_text(
        f'[admin]\nrole = "admin"\nsha256 = "{hash_token("admin-token")}"\n[rita]\nrole = "reader"\nsha256 = "{hash_token("reader-token")}"\n'
    )
    paused_at(START).write(home / "clock.json")
    return stack.env(stack.create_database("alerts"), prefix) | {
        "SLACK_API_URL": f"{inbox.http.base_url}/slack/api/", "SLACK_BOT_TOKEN": "xoxb-test", "SLACK_SIGNING_SECRET": SECRET,
        "SMTP_URL": f"smtp://127.0.0.1:{inbox.smtp_port}", "ALERT_EMAIL_FROM": "Churnsignal <alerts@churnsignal.test>",
        "CHURNSIGNAL_CLOCK": f"file:{home / 'clock.json'}", "CHURNSIGNAL_TOKENS_FILE": str(tokens), "CHURNSIGNAL_PUBLIC_URL": "http://alerts.test",
        "CHURNSIGNAL_SEND_TIMEOUT_S": "8", "CHURNSIGNAL_GAP_PATIENCE_S": "3", **more,
    }  # fmt: skip


@contextlib.asynccontextmanager
async def open_world(stack: Stack, prefix: str, home: Path, **more: str) -> AsyncIterator[World]:
    """Yield a running world; nothing is left of it afterwards."""
    # Where the service listens is known only when it does.
    slack = Alerts(httpx2.AsyncClient(trust_env=False, timeout=INTERACTION_S), SECRET)
    async with slack.client, listening_inbox(slack) as inbox:
        told = environment(stack, inbox, prefix, home, **more)
        stack.apply_topics(told)
        database = await asyncpg.connect(told["DATABASE_URL"])
        headers = {"Authorization": "Bearer admin-token"}
        try:
            with service("alerts", told, home) as process:
                slack.client.base_url = httpx2.URL(process.url)
                async with httpx2.AsyncClient(base_url=process.url, headers=headers, trust_env=False, timeout=20) as http:
                    world = World(told, inbox, http, database, home / "clock.json", process)
                    try:
                        yield world
                    finally:
                        await world.stop_producer()
        finally:
            await database.close()
            stack.drop_database(told["DATABASE_URL"])
