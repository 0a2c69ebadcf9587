"""Root. Wire scoring: policy, Postgres, Kafka, the consumer loop, HTTP; on the way out finish the batch, publish, leave, close."""

import gc
import uuid
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

from churnsignal_common.clock import Clock, open_clock
from churnsignal_common.contracts.topics import USAGE_TOPICS
from churnsignal_common.kafka.client import brokers_of
from churnsignal_common.kafka.consume import Consume
from churnsignal_common.kafka.feed import Feed, membership_of
from churnsignal_common.mapping.mapper import Mapper
from churnsignal_common.postgres.engine import open_engine, ping
from churnsignal_common.runtime.health import Dependency, Readiness
from churnsignal_common.runtime.http import build_app, draining, serve_http
from churnsignal_common.runtime.tasks import Stop, run_until_stopped
from churnsignal_common.runtime.tokens import Tokens

from churnsignal_scoring.api import Inside, add_api
from churnsignal_scoring.apply import Apply
from churnsignal_scoring.batch import Batch
from churnsignal_scoring.brake import Brake
from churnsignal_scoring.closes import CloseRules, Closes
from churnsignal_scoring.conclude import Conclude
from churnsignal_scoring.configs import Configs
from churnsignal_scoring.consume import Core, Scoring
from churnsignal_scoring.dedup import Seenlog
from churnsignal_scoring.doors import Doors
from churnsignal_scoring.effects import Effects
from churnsignal_scoring.engine import AccountEngine
from churnsignal_scoring.follow import Follow
from churnsignal_scoring.gauges import Gauges
from churnsignal_scoring.health.days import DayZone, open_zone
from churnsignal_scoring.load import Load
from churnsignal_scoring.memory import Memory
from churnsignal_scoring.metrics import Metrics
from churnsignal_scoring.ownership import Ownership
from churnsignal_scoring.policy import load_mapping, load_scorecard, read_seeds
from churnsignal_scoring.queries import Queries
from churnsignal_scoring.rebuild.daily import Daily
from churnsignal_scoring.relay import Relay
from churnsignal_scoring.residents import Residents
from churnsignal_scoring.resolve import Links
from churnsignal_scoring.settings import ScoringSettings
from churnsignal_scoring.sources import Sources
from churnsignal_scoring.sources_api import add_sources
from churnsignal_scoring.store import Store
from churnsignal_scoring.takeover import Takeover
from churnsignal_scoring.tidy import Keep, Tidy
from churnsignal_scoring.unresolved import Parking, Unresolved

COPY_S = 3600.0
ABOUT = "Keeps a health score per account, explains it, and publishes each change of risk once."


def _new_id() -> str:
    return uuid.uuid4().hex  # noqa: TID251 a root may draw ids


def new_engine(settings: ScoringSettings, zone: DayZone) -> AccountEngine:
    """Return an engine that goes by the files until it has read what is in force."""
    return AccountEngine(Mapper(load_mapping(settings.mapping)), load_scorecard(settings.scorecard), zone)


def _effects(clock: Clock, zone: DayZone) -> Effects:
    now = clock.now()
    return Effects(now, zone.day_of(now))


def new_memory(settings: ScoringSettings) -> Memory:
    links = Links()
    parking = Parking(settings.parked_per_source, settings.parked_bytes_per_source, settings.partitions)
    return Memory(Seenlog(settings.resident_ids), Residents(settings.resident_bytes), links, Unresolved(links, parking))


def assemble(settings: ScoringSettings, engine: AccountEngine, doors: Doors, memory: Memory, metrics: Metrics, clock: Clock) -> Core:
    """Wire the steps: for serving, and for a rebuild beside the live tables."""
    effects = partial(_effects, clock, engine.zone)
    conclude = Conclude(engine, memory.ledger)
    apply = Apply(engine, memory.residents, memory.ledger, conclude, settings.partitions)
    batch = Batch(doors, memory, apply, metrics, settings.partitions, effects)
    rules = CloseRules(timedelta(seconds=settings.close_grace_s), settings.close_patience_s, settings.partitions)
    tidy = Tidy(Keep(settings.score_history_months, settings.parked_days), settings.partitions, doors.store, doors.load, memory)
    closes = Closes(doors, rules, memory, conclude, tidy, metrics, effects)
    return Core(batch, closes, Takeover(engine, settings.partitions, clock, doors, memory))


def _spare_the_collector() -> None:
    # A micro-batch makes tens of thousands of objects and no cycles; at the default threshold the collector would look
    # through all of them again and again, which costs a third of the loop's time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


async def run(settings: ScoringSettings) -> int:
    """Serve until SIGTERM; return the exit code."""
    _spare_the_collector()
    stop, consumed = Stop(), Stop()
    stop.on_signals()
    clock, zone, brokers = open_clock(settings.clock, dev=settings.dev), open_zone(settings.day_zone), brokers_of(settings)
    seeds = read_seeds(settings.mapping, settings.scorecard)
    engine, asked = new_engine(settings, zone), new_engine(settings, zone)
    kafka, postgres, consumer = Dependency("kafka"), Dependency("postgres"), Dependency("consumer")
    readiness = Readiness((kafka, postgres, consumer))
    metrics, memory = Metrics(), new_memory(settings)
    async with AsyncExitStack() as stack:
        pool = partial(open_engine, settings.database_url.get_secret_value(), "scoring")
        # Requests, and the long copy, never keep the loop and its watch waiting for a connection.
        database = await stack.enter_async_context(pool(pool=4))
        asked_for = await stack.enter_async_context(pool(pool=4))
        copier = await stack.enter_async_context(pool(pool=1, command_timeout_s=COPY_S))
        store = Store(database, Ownership(settings.owner))
        feed = Feed(brokers, membership_of(settings, "churnsignal-scoring", USAGE_TOPICS), kafka)
        load, relay = Load(database), Relay(brokers, settings.topic_prefix, kafka)
        configs = Configs(database, seeds.values())
        doors = Doors(feed, store, load, relay, configs)
        core = assemble(settings, engine, doors, memory, metrics, clock)
        brake = Brake(feed, metrics, settings.poison_brake)
        work = Scoring(doors, core, memory, metrics, brake, settings.batch_records)
        consume = Consume(feed, work, postgres, consumer, partial(ping, database))

        http = build_app("scoring", ABOUT, readiness, metrics.registry)
        tokens = Tokens(settings.tokens_file)
        add_api(http, Inside(Queries(asked_for), Load(asked_for), asked, relay, tokens, clock, _new_id, settings.partitions, configs))
        add_sources(http, Sources(database), tokens, clock, zone)

        async def serve() -> None:
            async with draining(readiness, stop):
                await serve_http(http, settings.host, settings.port("scoring"), stop)

        async def consume_then_release() -> None:
            # The relay outlives the loop, so that what the last transaction wrote is published before we leave.
            try:
                await consume.run(stop)
            finally:
                consumed.set()

        return await run_until_stopped(
            stop,
            {
                "http": serve,
                "consume": consume_then_release,
                "relay": partial(relay.run, consumed),
                "config files": partial(Follow(configs, clock, settings.mapping, settings.scorecard, seeds).run, stop),
                "gauges": partial(Gauges(database, metrics, memory).run, stop),
                "watchdog": partial(consume.watch, stop),
                "checkpoints": partial(Daily(copier, settings.checkpoint_hours, settings.checkpoints_kept).run, stop),
            },
        )
