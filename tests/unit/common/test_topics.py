"""What the brokers must be told of a topic, and which of their answers will do."""

from datetime import timedelta

import pytest
from churnsignal_common.contracts.topics import TOPICS, USAGE_EVENTS, USAGE_REJECTED, Topic
from churnsignal_common.kafka.topics_cli import TopicSettings, wanted_configs, will_do

BY_NAME = {topic.name: topic for topic in TOPICS}


@pytest.mark.parametrize(
    ("topic", "kept", "days"),
    [(BY_NAME[USAGE_EVENTS], 2, 30), (BY_NAME[USAGE_EVENTS], 45, 46), (BY_NAME[USAGE_REJECTED], 45, 14)],
)
def test_calls_are_kept_longer_than_the_oldest_checkpoint_from_which_a_rebuild_reads_on(topic: Topic, kept: int, days: int) -> None:
    settings = TopicSettings.model_validate({"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "CHURNSIGNAL_CHECKPOINTS_KEPT": kept})

    assert wanted_configs(topic, settings)["retention.ms"] == str(timedelta(days=days) // timedelta(milliseconds=1))


@pytest.mark.parametrize(
    ("key", "have", "fits"),
    [
        ("retention.ms", "1000", True),
        ("retention.ms", "1001", True),
        ("retention.ms", "-1", True),
        ("retention.ms", "999", False),
        ("max.message.bytes", "1001", False),
    ],
)
def test_what_is_kept_longer_than_it_must_be_does_no_harm(key: str, have: str, fits: bool) -> None:
    assert will_do(key, have, "1000") is fits
