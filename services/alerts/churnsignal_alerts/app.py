"""Root. Wire alerts: consumer, deliverer, housekeeping and HTTP around one Postgres and one group membership."""

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import aiohttp
import structlog
from aiohttp import ThreadedResolver
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from churnsignal_common.clock import Clock, open_clock
from churnsignal_common.contracts.topics import ACCOUNTS, RISK_CHANGES
from churnsignal_common.kafka.client import brokers_of, new_consumer, stop_client
from churnsignal_common.postgres.engine import open_engine
from churnsignal_common.runtime.health import Dependency, Readiness
from churnsignal_common.runtime.http import draining, serve_http
from churnsignal_common.runtime.tasks import Stop, run_until_stopped
from churnsignal_common.runtime.tokens import Tokens
from sqlalchemy.exc import SQLAlchemyError

from churnsignal_alerts.api.service import Parts, build
from churnsignal_alerts.commands import Desk
from churnsignal_alerts.consume import Consumer, Duty
from churnsignal_alerts.deliver import Deliverer, Out
from churnsignal_alerts.directory import Channel
from churnsignal_alerts.episodes import State
from churnsignal_alerts.links import Links
from churnsignal_alerts.metrics import EPISODES, HELD, QUEUE_AGE, UNCONFIGURED
from churnsignal_alerts.outcome import Sender
from churnsignal_alerts.people import People
from churnsignal_alerts.places import allowed_of
from churnsignal_alerts.policy_file import default_text, parse_policy
from churnsignal_alerts.read import Reader
from churnsignal_alerts.send.email import EmailSender, mailer_of
from churnsignal_alerts.send.slack import SlackSender
from churnsignal_alerts.send.webhook import WebhookSender, keys_of
from churnsignal_alerts.settings import AlertsSettings
from churnsignal_alerts.wake import Wake
from churnsignal_alerts.watchdog import Publisher, Watchdog

log = structlog.get_logger()

_HOUSEKEEPING_S = 1.0
_GAP_EVERY_S = 5


def routing_text(settings: AlertsSettings) -> tuple[str, str]:
    """Return the routing document to start with and its name."""
    path = settings.routing_file
    return (path.read_text(), str(path)) if path else (default_text(), "routing.yaml (shipped)")


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
    UNCONFIGURED.set(0 if senders else 1)
    return senders


async def join(kafka: AIOKafkaConsumer, brokers: Dependency, stop: Stop) -> bool:
    """Join the group, however long Kafka or its topics are away; False when told to stop before."""
    while not stop.is_set():
        try:
            async with asyncio.timeout(20):
                await kafka.start()
        except (KafkaError, OSError, TimeoutError) as error:
            brokers.down(f"{type(error).__name__}: is Kafka up, and has `churnsignal-topics apply` run?")
            log.warning("kafka_not_ready", reason=type(error).__name__)
            await stop.wait(1.0)
        else:
            brokers.up()
            return True
    return False


async def keep_house(
    stop: Stop, desk: Desk, consumer: Consumer, reader: Reader, watchdog: Watchdog, clock: Clock, settings: AlertsSettings
) -> None:
    """Every second: do what is due by itself, move what somebody on leave has, forget what is old, give up gaps, refresh the gauges."""
    turn = 0
    while not await stop.wait(_HOUSEKEEPING_S):
        turn += 1
        try:
            while await desk.take_due() and not stop.is_set():
                continue
            consumer.postgres.up()
            if turn % _GAP_EVERY_S == 0:
                await desk.move_away()
                await desk.prune(timedelta(days=settings.keep_days))
                await consumer.probe()
                await consumer.release_overdue(settings.gap_patience_s)
                await refresh(reader, clock.now())
                await watchdog.turn()
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            consumer.postgres.down(type(error).__name__)
            log.warning("housekeeping_paused", dependency="postgres", reason=type(error).__name__)


async def refresh(reader: Reader, now: datetime) -> None:
    """Set the gauges from Postgres."""
    counts, oldest, held = await reader.gauges(now)
    for state in State:
        EPISODES.labels(state).set(counts.get(state, 0))
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
        kafka = new_consumer(
            brokers_of(settings),
            "churnsignal-alerts",
            settings.topic("churnsignal-alerts"),
            instance=settings.instance,
            session_timeout_ms=int(settings.session_timeout_s * 1000),
        )
        kafka.subscribe([settings.topic(RISK_CHANGES), settings.topic(ACCOUNTS)])
        owner = f"{socket.gethostname()}:{os.getpid()}"
        consumer = Consumer(kafka, engine, people, clock, woken, Duty(owner, settings.topic(RISK_CHANGES)))
        deliverer = Deliverer(engine, people, Out(senders, links, settings.lease_s, settings.sends_per_s), clock, woken)
        desk, reader = Desk(engine, people, clock, woken), Reader(engine)
        nobody = (
            ()
            if senders
            else (
                Dependency("channels", False, "none of SLACK_BOT_TOKEN, SMTP_URL, CHURNSIGNAL_WEBHOOK_SECRETS is set: nobody can be told"),
            )
        )
        readiness = Readiness((consumer.postgres, consumer.brokers, *nobody))
        watchdog = Watchdog(engine, people, desk, Publisher(brokers_of(settings), settings.topic(RISK_CHANGES)), clock)
        slack = senders.get(Channel.SLACK)
        assert slack is None or isinstance(slack, SlackSender)
        app = build(Parts(settings, readiness, desk, reader, people, links, clock, Tokens(settings.tokens_file), slack), deliverer.channels)

        async def consume() -> None:
            try:
                if await join(kafka, consumer.brokers, stop):
                    await consumer.run(stop)
            finally:
                await stop_client(kafka)

        await stack.enter_async_context(draining(readiness, stop))
        return await run_until_stopped(
            stop,
            {
                "consume": consume,
                "deliver": lambda: deliverer.run(stop),
                "house": lambda: keep_house(stop, desk, consumer, reader, watchdog, clock, settings),
                "http": lambda: serve_http(app, settings.host, settings.port("alerts"), stop),
            },
        )
