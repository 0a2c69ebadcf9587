"""Root. Wires the inbox: one HTTP application over one store, and the settings it is started with."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import uvicorn
from churnsignal_common.clock import Clock, RealClock
from starlette.applications import Starlette
from starlette.requests import Request

from churnsignal_devstack.inbox.act import Acts, Alerts
from churnsignal_devstack.inbox.faults import Faults
from churnsignal_devstack.inbox.pages import Pages
from churnsignal_devstack.inbox.slack_http import Cut, SlackHttp
from churnsignal_devstack.inbox.slack_methods import SlackMethods
from churnsignal_devstack.inbox.smtp import serve_smtp
from churnsignal_devstack.inbox.store import Store

MAX_BODY = 16 << 20
INTERACTION_S = 3.0


@dataclass(frozen=True, slots=True)
class InboxSettings:
    """What the environment says. Without alerts' address and secret, buttons explain that instead of acting."""

    host: str
    port: int
    smtp_port: int
    public_url: str
    alerts_url: str
    signing_secret: str


def read_settings() -> InboxSettings:
    """Read the environment, once."""
    port = int(os.environ.get("CHURNSIGNAL_INBOX_PORT", "8025"))
    return InboxSettings(
        host=os.environ.get("CHURNSIGNAL_INBOX_HOST", "127.0.0.1"),
        port=port,
        smtp_port=int(os.environ.get("CHURNSIGNAL_INBOX_SMTP_PORT", "1025")),
        public_url=os.environ.get("CHURNSIGNAL_INBOX_URL", f"http://127.0.0.1:{port}"),
        alerts_url=os.environ.get("CHURNSIGNAL_ALERTS_URL", ""),
        signing_secret=os.environ.get("SLACK_SIGNING_SECRET") or _from_file("SLACK_SIGNING_SECRET_FILE"),
    )


def _from_file(name: str) -> str:
    return Path(os.environ[name]).read_text().strip() if name in os.environ else ""


def make_app(store: Store, faults: Faults, clock: Clock, cut: Cut, alerts: Alerts | None, public_url: str) -> Starlette:
    """Return the application; `cut` ends the connection of a request without an answer."""
    methods = SlackMethods(store, public_url)
    slack = SlackHttp(store, methods, faults, cut)
    acts = Acts(store, methods, clock, alerts)
    pages = Pages(store, faults, acts=alerts is not None)
    return Starlette(routes=[*slack.routes(), *acts.routes(), *pages.routes()], max_body_size=MAX_BODY)


@asynccontextmanager
async def open_alerts(settings: InboxSettings) -> AsyncIterator[Alerts | None]:
    """Open the way to the alerts service, if both of what it needs are known."""
    if not (settings.alerts_url and settings.signing_secret):
        yield None
        return
    async with httpx2.AsyncClient(base_url=settings.alerts_url, timeout=INTERACTION_S, trust_env=False) as client:
        yield Alerts(client, settings.signing_secret)


def make_server(store: Store, faults: Faults, clock: Clock, alerts: Alerts | None, settings: InboxSettings) -> uvicorn.Server:
    """Return the server of the application, which can cut its own connections."""

    def cut(request: Request) -> None:
        for connection in server.server_state.connections:
            if getattr(connection, "client", None) == request.scope["client"]:
                connection.transport.abort()

    app = make_app(store, faults, clock, cut, alerts, settings.public_url)
    config = uvicorn.Config(app, settings.host, settings.port, http="h11", ws="none", lifespan="off", log_level="warning")
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    return server


async def run(settings: InboxSettings) -> None:
    """Serve until told to stop."""
    # Slack and mail live in real time, also while the product's own clock runs fast.
    clock = RealClock()
    store, faults = Store(clock), Faults()
    async with AsyncExitStack() as stack:
        alerts = await stack.enter_async_context(open_alerts(settings))
        await stack.enter_async_context(serve_smtp(store, faults, settings.host, settings.smtp_port))
        await make_server(store, faults, clock, alerts, settings).serve()
