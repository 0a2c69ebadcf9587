"""Flow. The outside that the consumer's flows talk to: the topics, the schema, and the way out."""

from dataclasses import dataclass
from typing import Protocol

from churnsignal_common.kafka.feed import Feed

from churnsignal_scoring.configs import Configs
from churnsignal_scoring.effects import OutboxRow
from churnsignal_scoring.load import Load
from churnsignal_scoring.store import Store


class WayOut(Protocol):
    """Where committed outbox rows go: to Kafka, or nowhere while the past is replayed."""

    taken: int
    acknowledged: int

    @property
    def has_room(self) -> bool: ...
    def publish(self, rows: list[OutboxRow]) -> None: ...
    def take_published(self) -> list[int]: ...
    def forget(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Doors:
    """One of each per process."""

    feed: Feed
    store: Store
    load: Load
    relay: WayOut
    configs: Configs
