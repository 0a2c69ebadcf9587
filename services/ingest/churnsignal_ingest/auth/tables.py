"""Door. The tables of schema `ingest`: sources, the hashes of their write keys, who is suppressed, and what was replayed."""

from sqlalchemy import BigInteger, Column, DateTime, Float, ForeignKey, Identity, LargeBinary, MetaData, Table, Text

metadata = MetaData(schema="ingest")

sources = Table(
    "sources",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("rate", Float, comment="events a second; null means the deployment's default"),
    Column("burst", Float, comment="events at once; null means the deployment's default"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("disabled_at", DateTime(timezone=True)),
)

write_keys = Table(
    "write_keys",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source_id", BigInteger, ForeignKey("ingest.sources.id"), nullable=False, index=True),
    Column("scope", Text, nullable=False),
    Column("hint", Text, nullable=False, comment="the key's beginning, to recognise it"),
    Column("hash", LargeBinary, nullable=False, unique=True, comment="HMAC-SHA256 under CHURNSIGNAL_SIGNING_KEYS"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), comment="end of a rotation's overlap"),
    Column("revoked_at", DateTime(timezone=True)),
    Column("last_used_at", DateTime(timezone=True)),
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("kind", Text, primary_key=True, comment="user or account"),
    Column("id", Text, primary_key=True, comment="as Kafka's keys spell it"),
    Column("listed_at", DateTime(timezone=True), nullable=False),
    Column("listed_by", Text, nullable=False, comment="the admin token's name"),
    Column(
        "revision",
        BigInteger,
        Identity(always=True),
        nullable=False,
        comment="with the number of rows, tells readers that the list changed",
    ),
)

replays = Table(
    "replays",
    metadata,
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True, comment="of the refused call"),
    Column("at", DateTime(timezone=True), nullable=False, index=True),
)
