"""Which refused calls were published again. Pre: the new code needs it.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "replays",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, index=True),
        schema="ingest",
    )


def downgrade() -> None:
    op.drop_table("replays", schema="ingest")
