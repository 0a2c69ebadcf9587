"""Root. `churnsignal-topics apply|check|table`: make the topics as the table says, or say where the broker differs."""

import asyncio
import sys

import cyclopts
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from pydantic import Field, SecretStr

from churnsignal_common.contracts.generate import topics_table
from churnsignal_common.contracts.topics import TOPICS, USAGE_TOPICS, Topic
from churnsignal_common.kafka.client import brokers_of, open_admin
from churnsignal_common.runtime.settings import CheckpointSettings, read_settings

app = cyclopts.App(name="churnsignal-topics", help="The topics of Churnsignal.\n\nExample: churnsignal-topics apply --replication 3")

_NAME = "churnsignal-topics"
_EXISTS = 36


class TopicSettings(CheckpointSettings):
    """Only the brokers matter here, and how far back a rebuild reads."""

    database_url: SecretStr | None = Field(  # type: ignore[assignment] # topics need no database, and do not mind one
        default=None, alias="DATABASE_URL", description="Not used."
    )


def wanted_configs(topic: Topic, settings: TopicSettings) -> dict[str, str]:
    """Return the table's settings of a topic; calls are kept at least a day longer than the oldest checkpoint, where a rebuild starts."""
    own = topic.configs()
    if topic.name in USAGE_TOPICS:
        needed_h = settings.checkpoint_hours * settings.checkpoints_kept + 24
        own["retention.ms"] = str(max(int(own["retention.ms"]), needed_h * 3_600_000))
    return own


def will_do(key: str, have: str, wanted: str) -> bool:
    """Return whether the broker's value will do: what is kept longer than it must be (-1: for ever) does no harm."""
    return have == wanted or (key == "retention.ms" and (int(have) == -1 or int(have) > int(wanted)))


async def _differences(admin: AIOKafkaAdminClient, topics: dict[str, Topic], settings: TopicSettings) -> list[str]:
    found = {row["topic"]: row for row in await admin.describe_topics(list(topics)) if not row["error_code"]}
    problems = [f"{name}: missing; run `churnsignal-topics apply`" for name in topics if name not in found]
    for name, row in found.items():
        wanted = topics[name].partitions or settings.partitions
        if len(row["partitions"]) != wanted:
            problems.append(
                f"{name}: {len(row['partitions'])} partitions, not {wanted}; the number is for life: set CHURNSIGNAL_PARTITIONS to what is there"
            )
    for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in found]):
        for _code, _message, _kind, name, entries in answer.resources:
            have = {entry[0]: entry[1] for entry in entries}
            for key, value in wanted_configs(topics[name], settings).items():
                if not will_do(key, have[key], value):
                    problems.append(f"{name}: {key} is {have[key]}, not {value}; change it on the broker")
    return problems


async def apply_topics(settings: TopicSettings, replication: int) -> list[str]:
    """Create what is missing; return where what exists differs from the table."""
    topics = {settings.topic(t.name): t for t in TOPICS}
    wanted = [
        NewTopic(name, t.partitions or settings.partitions, replication, topic_configs=wanted_configs(t, settings))
        for name, t in topics.items()
    ]
    async with open_admin(brokers_of(settings), _NAME) as admin:
        answer = await admin.create_topics(wanted)
        refused = [f"{name}: {message or code}" for name, code, message in answer.topic_errors if code not in (0, _EXISTS)]
        return refused or await _settled_differences(admin, topics, settings)


async def _settled_differences(admin: AIOKafkaAdminClient, topics: dict[str, Topic], settings: TopicSettings) -> list[str]:
    """Return the differences once the brokers have told each other of new topics, which takes them up to seconds."""
    problems = await _differences(admin, topics, settings)
    for _ in range(20):
        if not any("missing" in problem for problem in problems):
            break
        await asyncio.sleep(0.25)  # looking again at a cluster that settles
        problems = await _differences(admin, topics, settings)
    return problems


async def check_topics(settings: TopicSettings) -> list[str]:
    """Return where the broker differs from the table."""
    async with open_admin(brokers_of(settings), _NAME) as admin:
        return await _differences(admin, {settings.topic(t.name): t for t in TOPICS}, settings)


def _finish(problems: list[str]) -> None:
    for line in problems:
        print(line, file=sys.stderr)
    raise SystemExit(1 if problems else 0)


def _run(work: object) -> list[str]:
    try:
        return asyncio.run(work)  # type: ignore[arg-type] # a coroutine of the two above
    except (KafkaError, OSError) as error:
        return [f"cannot reach Kafka: {type(error).__name__}; check KAFKA_BOOTSTRAP_SERVERS"]


@app.command
def apply(*, replication: int = 1) -> None:
    """Create the missing topics, and say where those that exist differ from the table.

    Example: churnsignal-topics apply --replication 3

    Parameters
    ----------
    replication
        On how many brokers each record of a new topic lies: 3 wherever a broker may be lost.
    """
    _finish(_run(apply_topics(read_settings(TopicSettings), replication)))


@app.command
def check() -> None:
    """Compare the broker with the table; exit 1 and say what differs. Example: churnsignal-topics check"""
    _finish(_run(check_topics(read_settings(TopicSettings))))


@app.command
def table() -> None:
    """Print the table of topics as Markdown. Example: churnsignal-topics table"""
    print(topics_table(), end="")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
