"""Root. Wire ingest: Postgres, Kafka, rules, HTTP; serve until told to stop, then answer, flush and close in this order."""

import gc
import resource
import secrets
from contextlib import AsyncExitStack
from functools import partial
from time import monotonic

from churnsignal_common.clock import open_clock
from churnsignal_common.contracts.topics import TOPICS, USAGE_REJECTED
from churnsignal_common.kafka.client import await_topics, brokers_of, new_consumer, new_producer
from churnsignal_common.postgres.engine import open_engine
from churnsignal_common.runtime.health import Dependency, Readiness
from churnsignal_common.runtime.http import build_app, draining, serve_http
from churnsignal_common.runtime.tasks import Stop, run_until_stopped
from churnsignal_common.runtime.tokens import Tokens
from prometheus_client import CollectorRegistry

from churnsignal_ingest.api.admin import Behind, add_admin
from churnsignal_ingest.api.edge import GuardedProtocol
from churnsignal_ingest.api.tracking import Inside, Tracking
from churnsignal_ingest.auth.directory import Directory, Rates
from churnsignal_ingest.auth.keys import hasher_of
from churnsignal_ingest.auth.store import SourceStore
from churnsignal_ingest.check import read_account_paths
from churnsignal_ingest.metrics import Metrics
from churnsignal_ingest.publish.coalescer import Coalescer, Pace
from churnsignal_ingest.publish.gate import Gate
from churnsignal_ingest.publish.link import keep_linked
from churnsignal_ingest.rejected.marks import Marks
from churnsignal_ingest.rejected.replay import Replay
from churnsignal_ingest.rejected.topic import RejectedTopic
from churnsignal_ingest.settings import IngestSettings
from churnsignal_ingest.validate.judge import Judge
from churnsignal_ingest.validate.limits import Limits
from churnsignal_ingest.validate.rejudge import Rules

# After the drain: the requests in flight, and the flush to Kafka.
STOP_S = 20.0
_OPEN_FILES = 65_536
ABOUT = "Takes usage events from Segment and RudderStack SDKs and as CloudEvents; a 200 says that Kafka has them."


async def _tried(stop: Stop, *dependencies: Dependency) -> None:
    """Wait for the first word on each dependency, good or bad, so that the first request is not turned away while we connect."""
    while any(dependency.ok is None for dependency in dependencies) and not await stop.wait(0.02):
        pass


def spare_the_collector() -> None:
    """Keep what lives for ever out of garbage collection: a batch makes thousands of short-lived objects, none of them in cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def allow_connections() -> None:
    """Let as many connections in as the machine allows us: the usual soft limit of 1,024 is less than one flood of idle ones."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def run(settings: IngestSettings) -> int:
    """Serve until SIGTERM; return the exit code."""
    allow_connections()
    stop, drained = Stop(), Stop()
    stop.on_signals()
    clock = open_clock(settings.clock, dev=settings.dev)
    kafka, postgres = Dependency("kafka"), Dependency("postgres")
    readiness = Readiness((kafka, postgres), tolerant=True)
    metrics = Metrics(CollectorRegistry())
    paths = read_account_paths(settings.config_dir)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_engine(settings.database_url.get_secret_value(), "ingest", pool=3))
        hasher = hasher_of(settings.signing_keys.get_secret_value())
        store = SourceStore(engine, hasher)
        rates = Rates(settings.source_rate, settings.source_burst)
        directory = Directory(store, hasher, clock, rates, postgres, monotonic, paths)
        judge = Judge(Limits(), directory.paths_at, settings.partitions, partial(secrets.token_hex, 16))
        gate = Gate(settings.inflight_bytes, kafka, monotonic)
        metrics.inflight.set_function(lambda: gate.in_hand)
        metrics.inflight_share.set_function(lambda: gate.in_hand / gate.ceiling_bytes)
        coalescer = Coalescer(gate, Pace(), settings.topic, metrics.produce.observe)

        rest = build_app("ingest", ABOUT, readiness, metrics.registry)
        brokers = brokers_of(settings)
        reader = partial(new_consumer, brokers, "churnsignal-ingest-rejected", None)
        topic = RejectedTopic(reader, settings.topic(USAGE_REJECTED), settings.partitions, dated=settings.clock == "real")
        replay = Replay(
            topic,
            Marks(engine, clock),
            coalescer.publish,
            lambda scope: Rules(judge.limits, directory.paths_at(clock.now()), settings.partitions, directory.suppressed, scope),
        )
        add_admin(rest, Behind(store, Tokens(settings.tokens_file), clock, secrets.token_bytes, replay, metrics))
        inside = Inside(gate, directory, judge, coalescer, clock, monotonic, metrics)
        app = Tracking(inside, rest)

        async def serve() -> None:
            try:
                await _tried(stop, kafka, postgres)
                spare_the_collector()
                async with draining(readiness, stop):
                    port, notice_s = settings.port("ingest"), settings.drain_s
                    await serve_http(app, settings.host, port, stop, protocol=GuardedProtocol, notice_s=notice_s)
            finally:
                drained.set()

        names = [settings.topic(topic.name) for topic in TOPICS if "ingest" in topic.producers]
        topics = partial(await_topics, brokers, "churnsignal-ingest", names, settings.partitions)
        producer = partial(new_producer, brokers, "churnsignal-ingest")
        return await run_until_stopped(
            stop,
            {
                "http": serve,
                "kafka": partial(keep_linked, topics, producer, coalescer, gate, drained),
                "keys": partial(directory.run, drained),
            },
            grace_s=settings.drain_s + STOP_S,
        )
