"""Sources, their write keys, and who is suppressed. Pre: the new code needs them.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "sources",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("name", sa.Text, sa.CheckConstraint("name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'"), nullable=False, unique=True),
        sa.Column("kind", sa.Text, sa.CheckConstraint("kind IN ('segment', 'rudder')"), nullable=False),
        sa.Column("rate", sa.Float, sa.CheckConstraint("rate > 0")),
        sa.Column("burst", sa.Float, sa.CheckConstraint("burst > 0")),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("disabled_at", moment),
        schema="ingest",
    )
    op.create_table(
        "write_keys",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("source_id", sa.BigInteger, sa.ForeignKey("ingest.sources.id"), nullable=False, index=True),
        sa.Column("scope", sa.Text, sa.CheckConstraint("scope IN ('browser', 'server', 'import')"), nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, sa.CheckConstraint("octet_length(hash) = 32"), nullable=False, unique=True),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment),
        sa.Column("revoked_at", moment),
        sa.Column("last_used_at", moment),
        schema="ingest",
    )
    op.create_table(
        "suppressions",
        sa.Column("kind", sa.Text, sa.CheckConstraint("kind IN ('user', 'account')"), primary_key=True),
        sa.Column("id", sa.Text, sa.CheckConstraint("octet_length(id) BETWEEN 1 AND 255"), primary_key=True),
        sa.Column("listed_at", moment, nullable=False),
        sa.Column("listed_by", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, sa.Identity(always=True), nullable=False),
        schema="ingest",
    )


def downgrade() -> None:
    op.drop_table("suppressions", schema="ingest")
    op.drop_table("write_keys", schema="ingest")
    op.drop_table("sources", schema="ingest")
