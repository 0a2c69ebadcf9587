"""Door. What scoring reads from the environment, once, at start."""

from pathlib import Path

from churnsignal_common.runtime.settings import CheckpointSettings, ConsumerSettings
from pydantic import Field


class ScoringSettings(ConsumerSettings, CheckpointSettings):
    """Scoring's own fields beside those of every service."""

    close_grace_s: float = Field(
        default=7200.0,
        ge=0,
        le=43_200,
        alias="CHURNSIGNAL_CLOSE_GRACE",
        description="Seconds after the end of a day before it closes; late calls of the day still count in it.",
    )
    close_patience_s: float = Field(
        default=120.0,
        ge=1,
        alias="CHURNSIGNAL_CLOSE_PATIENCE_S",
        description="Real seconds that a day's record waits for a stuck partition before it is made without it.",
    )
    batch_records: int = Field(
        default=20_000,
        ge=1,
        le=50_000,
        alias="CHURNSIGNAL_BATCH_RECORDS",
        description="Most records in one transaction; reached only behind a backlog, where bigger ones cost less per record.",
    )
    resident_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=100_000,
        alias="CHURNSIGNAL_RESIDENT_BYTES",
        description="Bytes of memory for accounts, half of it for the busiest ones as they are and half for quiet ones packed: about 100,000 accounts of "
        "20 users and a month's use. Only the accounts of the transaction at hand may go beyond it; others are read from Postgres when needed.",
    )
    resident_ids: int = Field(
        default=8_000_000,
        ge=10_000,
        alias="CHURNSIGNAL_RESIDENT_IDS",
        description="Event ids kept in memory for dedup, at 12 bytes each; older days are read from Postgres when needed.",
    )
    parked_per_source: int = Field(
        default=200_000,
        ge=0,
        alias="CHURNSIGNAL_PARKED_PER_SOURCE",
        description="Calls of unknown users kept per source until a link to an account arrives; those beyond are rejected as parking_full.",
    )
    parked_bytes_per_source: int = Field(
        default=256 * 1024 * 1024,
        ge=0,
        alias="CHURNSIGNAL_PARKED_BYTES_PER_SOURCE",
        description="The same in bytes. Both are shared out evenly among the partitions.",
    )
    parked_days: int = Field(
        default=30, ge=1, alias="CHURNSIGNAL_PARKED_DAYS", description="Days after which a parked call is rejected as parked_too_long."
    )
    score_history_months: int = Field(
        default=25,
        ge=2,
        alias="CHURNSIGNAL_SCORE_HISTORY_MONTHS",
        description="Months of closed scores to keep, with the day records and changes of band that explain them.",
    )
    poison_brake: int = Field(
        default=100,
        ge=1,
        alias="CHURNSIGNAL_POISON_BRAKE",
        description="Records in a row that cannot be processed before a partition is paused for a minute, and counted.",
    )

    @property
    def mapping(self) -> Path | None:
        return self._config("mapping.yaml")

    @property
    def scorecard(self) -> Path | None:
        return self._config("scorecard.yaml")

    def _config(self, name: str) -> Path | None:
        # A folder that holds only some of the files leaves the others at the shipped defaults.
        file = self.config_dir / name if self.config_dir is not None else None
        return file if file is not None and file.exists() else None
