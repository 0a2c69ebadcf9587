"""Door. The tables that ordinary queries read, as SQLAlchemy knows them; the migrations own their definition."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("account", Text, primary_key=True),
    Column("partition", Integer, nullable=False),
    Column("first_day", Integer),
    Column("last_active", Integer),
    Column("last_event_us", BigInteger),
    Column("events_total", BigInteger, nullable=False),
    Column("origin", Integer, nullable=False),
    Column("habit", LargeBinary, nullable=False),
    Column("segment", Text, nullable=False),
    Column("rest", LargeBinary, nullable=False),
    Column("profile", JSONB),
    Column("band", Text, nullable=False),
    Column("score", Integer),
    Column("coverage", Integer, nullable=False),
    Column("closed_day", Integer, nullable=False),
    Column("standing", Integer),
    Column("at_risk", BigInteger),
)

owner_history = Table(
    "owner_history",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("account", Text, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("owner", Text),
)

risk_changes = Table(
    "risk_changes",
    metadata,
    Column("account", Text, primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("day", Integer, nullable=False),
    Column("cause", Text, nullable=False),
    Column("from_band", Text),
    Column("to_band", Text, nullable=False),
    Column("body", JSONB, nullable=False),
)

parked = Table(
    "parked",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("received_day", Integer, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
)

positions = Table(
    "positions",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("first_offset", BigInteger, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

retired_sources = Table(
    "retired_sources",
    metadata,
    Column("source", Text, primary_key=True),
    Column("day", Integer, nullable=False),
    Column("author", Text, nullable=False),
    Column("retired_at", TIMESTAMP(timezone=True), nullable=False),
)
