"""Clients of departments, answers that are kept for requests sent again, and indexes to search licences by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from chopmark_issuer.storage.column_types import INTEGER, TEXT

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.create_table(
        "client",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("department_id", TEXT, nullable=False),
        sa.Column("types", TEXT, nullable=True),
        sa.Column("rights", TEXT, nullable=False),
        sa.Column("keys", TEXT, nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_client_department_id")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_client")),
    )
    op.create_table(
        "kept_answer",
        sa.Column("client", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("part", INTEGER, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("status", INTEGER, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("location", TEXT, nullable=True),
        sa.Column("kept_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client", "key", "part", name=op.f("pk_kept_answer")),
    )
    op.create_index("ix_kept_answer_kept_at", "kept_answer", ["kept_at"], unique=False)
    op.create_index("ix_holder_name", "holder", ["name"], unique=False)
    op.create_index("ix_licence_department_state", "licence", ["department_id", "state"], unique=False)
    op.create_index("ix_licence_department_type", "licence", ["department_id", "type_id"], unique=False)
    op.create_index("ix_licence_department_id", "licence", ["department_id"], unique=False)
