"""Which mapping is in force when, for ingest. Pre: ingest reads it when it is there.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        "CREATE VIEW scoring.v_mappings AS SELECT a.id, a.version, a.effective_from, c.text "
        "FROM scoring.activations a JOIN scoring.configs c ON c.kind = a.kind AND c.version = a.version WHERE a.kind = 'mapping'"
    )


def downgrade() -> None:
    op.execute("DROP VIEW scoring.v_mappings")
