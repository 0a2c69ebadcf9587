"""Flow. The outside that the consumer's flows talk to: the topics, the schema, and the way out."""

from dataclasses import dataclass

from churnsignal_scoring.configs import Configs
from churnsignal_scoring.feed import Feed
from churnsignal_scoring.load import Load
from churnsignal_scoring.relay import Relay
from churnsignal_scoring.store import Store


@dataclass(frozen=True, slots=True)
class Doors:
    """One of each per process."""

    feed: Feed
    store: Store
    load: Load
    relay: Relay
    configs: Configs
