"""Root. Wire alerts: consumer, deliverer, housekeeping and HTTP around one Postgres and one group membership."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import aiohttp
import structlog
from aiohttp import ThreadedResolver
from churnsignal_common.clock import Clock, open_clock
from churnsignal_common.contracts.topics import RISK_CHANGES
from churnsignal_common.kafka.client import brokers_of
from churnsignal_common.kafka.consume import Consume
from churnsignal_common.kafka.feed import Feed, membership_of
from churnsignal_common.postgres.engine import open_engine, ping
from churnsignal_common.runtime.health import Dependency, Readiness
from churnsignal_common.runtime.http import draining, serve_http
from churnsignal_common.runtime.tasks import Stop, run_until_stopped
from churnsignal_common.runtime.tokens import Tokens
from sqlalchemy.exc import SQLAlchemyError

from churnsignal_alerts.api.service import Parts, build
from churnsignal_alerts.check import routing_text
from churnsignal_alerts.commands import Desk
from churnsignal_alerts.consume import TOPICS, Alerting, Duty
from churnsignal_alerts.deliver import Deliverer, Out
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.episodes import State
from churnsignal_alerts.links import Links
from churnsignal_alerts.metrics import EPISODES, HELD, QUEUE_AGE, UNCONFIGURED
from churnsignal_alerts.outcome import Sender
from churnsignal_alerts.people import People
from churnsignal_alerts.places import allowed_of
from churnsignal_alerts.policy_file import parse_policy
from churnsignal_alerts.read import Reader
from churnsignal_alerts.route import Setup
from churnsignal_alerts.send.email import EmailSender, mailer_of
from churnsignal_alerts.send.slack import SlackSender
from churnsignal_alerts.send.webhook import WebhookSender, keys_of
from churnsignal_alerts.settings import AlertsSettings
from churnsignal_alerts.wake import Wake
from churnsignal_alerts.watchdog import Publisher, Watchdog

log = structlog.get_logger()

_HOUSEKEEPING_S = 1.0
_GAP_EVERY_S = 5
# Turns of the gauges between two counts of all episodes.
_COUNT_EVERY = 12


def signing_keys(settings: AlertsSettings) -> list[str]:
    """Return the keys for links, newest first."""
    return [key.strip() for key in settings.signing_keys.get_secret_value().split(",") if key.strip()] if settings.signing_keys else []


async def open_senders(settings: AlertsSettings, clock: Clock, stack: AsyncExitStack) -> dict[Channel, Sender]:
    """Return the channels that the environment configures."""
    senders: dict[Channel, Sender] = {}
    if settings.slack_token:
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=settings.send_timeout_s), connector=aiohttp.TCPConnector(limit=64))
        )
        senders[Channel.SLACK] = SlackSender(settings.slack_token.get_secret_value(), settings.slack_api, session, settings.send_timeout_s)
    if settings.smtp:
        senders[Channel.EMAIL] = EmailSender(mailer_of(settings.smtp.get_secret_value(), settings.sender), clock, settings.send_timeout_s)
    if settings.webhook_secrets:
        keys, allowed = keys_of(settings.webhook_secrets.get_secret_value()), allowed_of(settings.webhook_allow.split(","))
        senders[Channel.WEBHOOK] = WebhookSender(keys, allowed, ThreadedResolver(), clock, settings.send_timeout_s)
    return senders


async def keep_house(
    stop: Stop,
    desk: Desk,
    work: Alerting,
    watchdog: Watchdog,
    gauges: Callable[[int], Awaitable[None]],
    postgres: Dependency,
    settings: AlertsSettings,
) -> None:
    """Every second: do what is due by itself, move what somebody on leave has, forget what is old, give up gaps, refresh the gauges."""
    turn = 0
    while not await stop.wait(_HOUSEKEEPING_S):
        turn += 1
        try:
            while await desk.take_due() and not stop.is_set():
                continue
            postgres.up()
            if turn % _GAP_EVERY_S == 1:
                await desk.move_away()
                await desk.prune(timedelta(days=settings.keep_days))
                await work.release_overdue(settings.gap_patience_s)
                await gauges(turn // _GAP_EVERY_S)
                await watchdog.turn()
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            postgres.down(type(error).__name__)
            log.warning("housekeeping_paused", dependency="postgres", reason=type(error).__name__)


async def refresh(reader: Reader, setup: Setup, now: datetime, turn: int) -> None:
    """Set the gauges; episodes are many, and counted less often."""
    UNCONFIGURED.set(not setup.policy.reaches_somebody(setup.channels))
    if turn % _COUNT_EVERY == 0:
        counts = await reader.counts()
        for state in State:
            EPISODES.labels(state).set(counts.get(state, 0))
    oldest, held = await reader.gauges(now)
    QUEUE_AGE.set(max(0.0, (now - oldest).total_seconds()) if oldest else 0)
    HELD.set(held)


async def run(settings: AlertsSettings) -> int:
    """Serve until SIGTERM; return the exit code."""
    stop, woken, clock = Stop(), Wake(), open_clock(settings.clock, dev=settings.dev)
    stop.on_signals()
    document, name = routing_text(settings)
    parse_policy(document, name)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(settings.database_url.get_secret_value(), "alerts", pool=12))
        senders = await open_senders(settings, clock, stack)
        people = People(engine, document, name, frozenset(senders))
        links = Links(signing_keys(settings), settings.public_url)
        kafka, postgres, consumer = Dependency("kafka"), Dependency("postgres"), Dependency("consumer")
        feed = Feed(brokers_of(settings), membership_of(settings, "churnsignal-alerts", tuple(TOPICS)), kafka)
        work = Alerting(engine, people, clock, woken, Duty(settings.owner, settings.topic_prefix))
        consume = Consume(feed, work, postgres, consumer, lambda: ping(engine))
        deliverer = Deliverer(engine, people, Out(senders, links, settings.lease_s, settings.sends_per_s), clock, woken)
        desk, reader = Desk(engine, people, clock, woken), Reader(engine)
        nobody = (
            ()
            if senders
            else (
                Dependency("channels", False, "none of SLACK_BOT_TOKEN, SMTP_URL, CHURNSIGNAL_WEBHOOK_SECRETS is set: nobody can be told"),
            )
        )
        readiness = Readiness((kafka, postgres, consumer, *nobody))
        watchdog = Watchdog(engine, people, desk, Publisher(brokers_of(settings), settings.topic(RISK_CHANGES)), clock)
        slack = senders.get(Channel.SLACK)
        assert slack is None or isinstance(slack, SlackSender)
        app = build(Parts(settings, readiness, desk, reader, people, links, clock, Tokens(settings.tokens_file), slack), deliverer.channels)

        async def gauges(turn: int) -> None:
            await refresh(reader, await people.setup(), clock.now(), turn)

        await stack.enter_async_context(draining(readiness, stop))
        return await run_until_stopped(
            stop,
            {
                "consume": lambda: consume.run(stop),
                "deliver": lambda: deliverer.run(stop),
                "house": lambda: keep_house(stop, desk, work, watchdog, gauges, postgres, settings),
                "watchdog": lambda: consume.watch(stop),
                "http": lambda: serve_http(app, settings.host, settings.port("alerts"), stop),
            },
        )
