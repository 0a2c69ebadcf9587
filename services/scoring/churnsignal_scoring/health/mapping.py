"""Pure. What calls mean: raw event names and properties to canonical signals and facts, by configuration."""

from churnsignal_common.contracts.envelope import Envelope
from churnsignal_scoring.health.config.load import MappingConfig
from churnsignal_scoring.health.usage import Usage


class Mapper:
    """Reads calls by one mapping. Calls without interesting properties are looked up by (type, event name)."""

    def __init__(self, config: MappingConfig) -> None:
        self.version: str = config.version

    def usage(self, envelope: Envelope) -> Usage:
        """Return what the call means; raises `msgspec.DecodeError` when the call is no JSON object."""
        raise ValueError(envelope)
