"""Door. The tables of schema `alerts`, for queries; migrations/ makes them."""

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY

metadata = MetaData(schema="alerts")
_When = DateTime(timezone=True)

profiles = Table(
    "profiles", metadata, Column("account", Text, primary_key=True), Column("profile", LargeBinary), Column("updated_at", _When)
)

csms = Table(
    "csms", metadata, Column("id", Text, primary_key=True), Column("name", Text), Column("email", Text), Column("slack", Text), Column("locale", Text),
    Column("zone", Text), Column("country", Text), Column("hours", Text), Column("workdays", Text), Column("channels", ARRAY(Text)),
    Column("manager", Text), Column("delegate", Text), Column("away_from", Date), Column("away_until", Date), Column("active", Boolean),
)  # fmt: skip

routing = Table(
    "routing",
    metadata,
    Column("version", BigInteger, primary_key=True),
    Column("author", Text),
    Column("at", _When),
    Column("document", Text),
)

episodes = Table(
    "episodes", metadata, Column("id", Text, primary_key=True), Column("account", Text), Column("kind", Text), Column("state", Text),
    Column("opened_at", _When), Column("since", _When), Column("ended_at", _When), Column("flips", Integer), Column("csm", Text),
    Column("pinned", Boolean), Column("acted_by", Text), Column("acted_at", _When), Column("until", _When), Column("outcome", Text),
    Column("note", Text), Column("score_before", Integer), Column("change", LargeBinary), Column("fall", LargeBinary), Column("priority", BigInteger), Column("version", Integer),
    Column("rung", Integer), Column("next_at", _When), Column("worse_only", Boolean), Column("muted", Text), Column("stands_for", Text),
    Column("feedback", Text), Column("tasks", LargeBinary), Column("account_key", Text), Column("segment_key", Text), Column("owner_key", Text),
)  # fmt: skip

silences = Table(
    "silences", metadata, Column("id", BigInteger, primary_key=True), Column("account", Text), Column("segment", Text), Column("owner", Text),
    Column("kind", Text), Column("author", Text), Column("reason", Text), Column("made_at", _When), Column("ends_at", _When),
)  # fmt: skip

contacts = Table(
    "contacts", metadata, Column("id", BigInteger, primary_key=True), Column("account", Text), Column("at", _When), Column("way", Text),
    Column("person", Text), Column("note", Text), Column("author", Text), Column("noted_at", _When), Column("event", Text),
)  # fmt: skip

timeline = Table(
    "timeline", metadata, Column("id", BigInteger, primary_key=True), Column("episode", Text), Column("at", _When), Column("what", Text),
    Column("actor", Text), Column("why", Text),
)  # fmt: skip

notices = Table(
    "notices", metadata, Column("id", BigInteger, primary_key=True), Column("episode", Text), Column("kind", Text), Column("round", BigInteger),
    Column("verdict", Text), Column("recipient", Text), Column("name", Text), Column("channel", Text), Column("address", Text), Column("locale", Text),
    Column("zone", Text), Column("route", Text), Column("created_at", _When), Column("due_at", _When), Column("priority", BigInteger),
    Column("recorded_ms", BigInteger), Column("state", Text), Column("delivery", BigInteger), Column("target", BigInteger), Column("sent_at", _When),
)  # fmt: skip

deliveries = Table(
    "deliveries", metadata, Column("id", BigInteger, primary_key=True), Column("recipient", Text), Column("name", Text), Column("channel", Text),
    Column("address", Text), Column("locale", Text), Column("zone", Text), Column("state", Text), Column("attempts", Integer),
    Column("fence", BigInteger), Column("lease_until", _When), Column("not_before", _When), Column("first_try", _When),
    Column("possible_duplicate", Boolean), Column("unknown", Boolean), Column("ref", Text), Column("accepted_at", _When), Column("episodes", ARRAY(Text)), Column("note", Text),
)  # fmt: skip

attempts = Table(
    "attempts", metadata, Column("id", BigInteger, primary_key=True), Column("delivery", BigInteger), Column("at", _When), Column("channel", Text),
    Column("outcome", Text), Column("detail", Text), Column("took_ms", Integer),
)  # fmt: skip
