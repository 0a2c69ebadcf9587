"""Root. The devstack's inbox inside the test's own process, over ASGI or over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec
from churnsignal_common.clock import RealClock
from churnsignal_devstack.inbox.act import Alerts
from churnsignal_devstack.inbox.app import InboxSettings, make_app, make_server
from churnsignal_devstack.inbox.faults import Fault, Faults
from churnsignal_devstack.inbox.smtp import serve_smtp
from churnsignal_devstack.inbox.store import Message, Store
from starlette.requests import Request

TOKEN = {"Authorization": "Bearer xoxb-test"}
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Inbox:
    """A running inbox, its insides, and a client of it."""

    http: httpx2.AsyncClient
    store: Store
    faults: Faults
    smtp_port: int = 0

    async def slack(self, method: str, **args: Any) -> Json:
        """Call a Slack method with a JSON body, as the SDK does."""
        answer = await self.http.post(f"/slack/api/{method}", json=args, headers=TOKEN)
        return dict(answer.json())

    async def post(self, *blocks: Json, channel: str = "#cs", text: str = "fallback", **args: Any) -> Json:
        return await self.slack("chat.postMessage", channel=channel, text=text, **({"blocks": list(blocks)} if blocks else {}), **args)

    def fail(self, on: str, kind: str, **rest: Any) -> None:
        self.faults.add([msgspec.convert({"on": on, "kind": kind, **rest}, Fault)])

    @property
    def kept(self) -> list[Message]:
        return list(self.store.messages.values())


def no_connection(_: Request) -> None:
    raise AssertionError("only a real server can cut a connection")


@asynccontextmanager
async def open_inbox(alerts: Alerts | None = None) -> AsyncIterator[Inbox]:
    """Open an inbox over ASGI: fast, but there is no connection to cut."""
    store, faults = Store(RealClock()), Faults()
    app = make_app(store, faults, RealClock(), no_connection, alerts, "http://inbox")
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://inbox") as http:
        yield Inbox(http, store, faults)


@asynccontextmanager
async def listening_inbox(alerts: Alerts | None = None) -> AsyncIterator[Inbox]:
    """Open an inbox that listens on free ports of this machine."""
    store, faults = Store(RealClock()), Faults()
    server = make_server(store, faults, RealClock(), alerts, InboxSettings("127.0.0.1", 0, 0, "http://inbox", "", ""))
    serving = asyncio.create_task(server.serve())
    async with serve_smtp(store, faults, "127.0.0.1", 0) as smtp_port:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            yield Inbox(http, store, faults, smtp_port)
        server.should_exit = True
        await serving
