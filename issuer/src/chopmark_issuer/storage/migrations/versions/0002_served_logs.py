"""Logs that are served: where, and their second key; entries that a log refused, with the reason."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from chopmark_issuer.storage.column_types import TEXT

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.add_column("region", sa.Column("log_pq_vkey", TEXT, nullable=True))
    op.add_column("region", sa.Column("log_url", TEXT, nullable=True))
    op.add_column("outbox", sa.Column("refused", TEXT, nullable=True))
    op.create_index(
        "ix_outbox_refused",
        "outbox",
        ["id"],
        unique=False,
        sqlite_where=sa.text("refused IS NOT NULL"),
        postgresql_where=sa.text("refused IS NOT NULL"),
    )
