"""The log's ML-DSA-44 key, and what was refused of a batch."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them: a log that exists has no such key, and its batches were taken whole."""
    op.add_column("ledger", sa.Column("pq_vkey", sa.String(), nullable=True))
    op.add_column("batch", sa.Column("refused", sa.String(), nullable=False, server_default=""))
