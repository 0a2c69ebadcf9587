"""Door. What ingest reads from the environment, once."""

from churnsignal_common.runtime.settings import ServiceSettings
from pydantic import Field, SecretStr, field_validator


class IngestSettings(ServiceSettings):
    """Beside what all services have: how much may be in hand, and what sources may send unless they have rates of their own."""

    signing_keys: SecretStr = Field(
        alias="CHURNSIGNAL_SIGNING_KEYS",
        description="Comma separated secrets of 16 characters or more (first signs, all verify); write keys are stored hashed under them.",
    )
    inflight_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=8 * 1024 * 1024,
        alias="CHURNSIGNAL_INGEST_INFLIGHT_BYTES",
        description="Bytes between clients and Kafka's ack before new requests are turned away with 429. The process grows by at most four times this, and by 16 KB per open connection.",
    )
    source_rate: float = Field(
        default=20_000,
        gt=0,
        alias="CHURNSIGNAL_SOURCE_RATE",
        description="Events a second that a source may send to each replica, unless it has a rate of its own.",
    )
    source_burst: float = Field(
        default=100_000,
        gt=0,
        alias="CHURNSIGNAL_SOURCE_BURST",
        description="Events that a source may send to each replica at once, unless it has its own.",
    )

    drain_s: float = Field(
        default=5.0,
        ge=0,
        le=60,
        alias="CHURNSIGNAL_DRAIN_S",
        description="Seconds after SIGTERM in which calls are still taken while /readyz says `draining`: longer than two looks of your load balancer.",
    )

    @field_validator("signing_keys")
    @classmethod
    def _are_long(cls, value: SecretStr) -> SecretStr:
        parts = [part.strip() for part in value.get_secret_value().split(",") if part.strip()]
        if not parts or any(len(part) < 16 for part in parts):
            raise ValueError("each key needs 16 characters or more, for example from `openssl rand -hex 32`")
        return value
