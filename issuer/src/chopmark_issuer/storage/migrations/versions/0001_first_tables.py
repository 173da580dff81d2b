"""The tables of the registry, as the first version had them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from chopmark_issuer.storage.column_types import INTEGER, TEXT

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.create_table(
        "department",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name_zh_hans", TEXT, nullable=False),
        sa.Column("name_en", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_department")),
    )
    op.create_table(
        "import_run",
        sa.Column("id", INTEGER, nullable=False, autoincrement=False),
        sa.Column("file_name", TEXT, nullable=False),
        sa.Column("file_digest", sa.LargeBinary(), nullable=False),
        sa.Column("type_id", TEXT, nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("rows", INTEGER, nullable=False),
        sa.Column("issued", INTEGER, nullable=False),
        sa.Column("changed", INTEGER, nullable=False),
        sa.Column("unchanged", INTEGER, nullable=False),
        sa.Column("refused", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_run")),
    )
    op.create_table(
        "key",
        sa.Column("kid", TEXT, nullable=False),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("use", TEXT, nullable=False),
        sa.Column("algorithm", TEXT, nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_reason", TEXT, nullable=True),
        sa.Column("trusted", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_key")),
    )
    op.create_index("ix_key_owner_use", "key", ["owner", "use"], unique=False)
    op.create_table(
        "licence_type",
        sa.Column("id", INTEGER, nullable=False, autoincrement=False),
        sa.Column("type_id", TEXT, nullable=False),
        sa.Column("schema_version", INTEGER, nullable=False),
        sa.Column("definition", sa.LargeBinary(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_licence_type")),
        sa.UniqueConstraint("type_id", "schema_version", name=op.f("uq_licence_type_type_id_schema_version")),
    )
    op.create_table(
        "outbox_batch",
        sa.Column("number", INTEGER, nullable=False, autoincrement=False),
        sa.Column("size", INTEGER, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_outbox_batch")),
    )
    op.create_table(
        "peer",
        sa.Column("region", TEXT, nullable=False),
        sa.Column("epoch", INTEGER, nullable=False, autoincrement=False),
        sa.Column("roots", TEXT, nullable=False),
        sa.Column("threshold", INTEGER, nullable=False),
        sa.Column("origins", TEXT, nullable=False),
        sa.Column("policy_floor", TEXT, nullable=False),
        sa.Column("bundle_url", TEXT, nullable=False),
        sa.Column("folder", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("region", name=op.f("pk_peer")),
    )
    op.create_table(
        "region",
        sa.Column("id", INTEGER, nullable=False, autoincrement=False),
        sa.Column("region", TEXT, nullable=False),
        sa.Column("name_zh_hans", TEXT, nullable=False),
        sa.Column("name_en", TEXT, nullable=False),
        sa.Column("host", TEXT, nullable=False),
        sa.Column("origin", TEXT, nullable=False),
        sa.Column("log_number", INTEGER, nullable=False),
        sa.Column("log_vkey", TEXT, nullable=False),
        sa.Column("policy", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_region")),
    )
    op.create_table(
        "witness",
        sa.Column("vkey", TEXT, nullable=False),
        sa.Column("folder", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("vkey", name=op.f("pk_witness")),
    )
    op.create_table(
        "department_grant",
        sa.Column("id", INTEGER, nullable=False, autoincrement=False),
        sa.Column("department_id", TEXT, nullable=False),
        sa.Column("type_id", TEXT, nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_department_grant_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_department_grant")),
        sa.UniqueConstraint(
            "department_id", "type_id", "valid_from", name=op.f("uq_department_grant_department_id_type_id_valid_from")
        ),
    )
    op.create_table(
        "department_state",
        sa.Column("id", INTEGER, nullable=False, autoincrement=False),
        sa.Column("department_id", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_department_state_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_department_state")),
        sa.UniqueConstraint("department_id", "since", name=op.f("uq_department_state_department_id_since")),
    )
    op.create_table(
        "licence",
        sa.Column("id", INTEGER, nullable=False, autoincrement=False),
        sa.Column("department_id", TEXT, nullable=False),
        sa.Column("type_id", TEXT, nullable=False),
        sa.Column("identifier", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("current_version", INTEGER, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_licence_department_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_licence")),
        sa.UniqueConstraint("type_id", "identifier", name=op.f("uq_licence_type_id_identifier")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", INTEGER, nullable=False, autoincrement=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("batch_number", INTEGER, nullable=True),
        sa.Column("position", INTEGER, nullable=True),
        sa.Column("log_index", INTEGER, nullable=True),
        sa.ForeignKeyConstraint(["batch_number"], ["outbox_batch.number"], name=op.f("fk_outbox_batch_number")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("batch_number", "position", name=op.f("uq_outbox_batch_number_position")),
    )
    op.create_index(
        "ix_outbox_waiting",
        "outbox",
        ["id"],
        unique=False,
        sqlite_where=sa.text("batch_number IS NULL"),
        postgresql_where=sa.text("batch_number IS NULL"),
    )
    op.create_table(
        "serial",
        sa.Column("department_id", TEXT, nullable=False),
        sa.Column("type_id", TEXT, nullable=False),
        sa.Column("last", INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_serial_department_id")),
        sa.PrimaryKeyConstraint("department_id", "type_id", name=op.f("pk_serial")),
    )
    op.create_table(
        "status_list",
        sa.Column("number", INTEGER, nullable=False, autoincrement=False),
        sa.Column("department_id", TEXT, nullable=False),
        sa.Column("freshness", TEXT, nullable=False),
        sa.Column("uri", TEXT, nullable=False),
        sa.Column("used", INTEGER, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["department_id"], ["department.id"], name=op.f("fk_status_list_department_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_status_list")),
        sa.UniqueConstraint("uri", name=op.f("uq_status_list_uri")),
    )
    op.create_table(
        "act",
        sa.Column("id", INTEGER, nullable=False, autoincrement=False),
        sa.Column("licence_id", INTEGER, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("learned_at", sa.BigInteger(), nullable=False),
        sa.Column("effective_from", sa.BigInteger(), nullable=False),
        sa.Column("applied", sa.Boolean(), nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["licence_id"], ["licence.id"], name=op.f("fk_act_licence_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_act")),
    )
    op.create_index(
        "ix_act_due",
        "act",
        ["effective_from"],
        unique=False,
        sqlite_where=sa.text("NOT applied"),
        postgresql_where=sa.text("NOT applied"),
    )
    op.create_index(op.f("ix_act_licence_id"), "act", ["licence_id"], unique=False)
    op.create_table(
        "bundle",
        sa.Column("sequence", INTEGER, nullable=False, autoincrement=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("outbox_id", INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["outbox_id"], ["outbox.id"], name=op.f("fk_bundle_outbox_id")),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_bundle")),
    )
    op.create_table(
        "imported_row",
        sa.Column("type_id", TEXT, nullable=False),
        sa.Column("row_key", TEXT, nullable=False),
        sa.Column("licence_id", INTEGER, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("sort_key", TEXT, nullable=False),
        sa.Column("contents", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["licence_id"], ["licence.id"], name=op.f("fk_imported_row_licence_id")),
        sa.PrimaryKeyConstraint("type_id", "row_key", name=op.f("pk_imported_row")),
    )
    op.create_index(op.f("ix_imported_row_licence_id"), "imported_row", ["licence_id"], unique=False)
    op.create_table(
        "landmark_vouching",
        sa.Column("origin", TEXT, nullable=False),
        sa.Column("region", TEXT, nullable=False),
        sa.Column("log_number", INTEGER, nullable=False),
        sa.Column("records", INTEGER, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("checkpoint_size", INTEGER, nullable=False),
        sa.Column("witnessed_from", sa.BigInteger(), nullable=False),
        sa.Column("outbox_id", INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["outbox_id"], ["outbox.id"], name=op.f("fk_landmark_vouching_outbox_id")),
        sa.PrimaryKeyConstraint("origin", name=op.f("pk_landmark_vouching")),
    )
    op.create_table(
        "licence_version",
        sa.Column("id", INTEGER, nullable=False, autoincrement=False),
        sa.Column("licence_id", INTEGER, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("number", TEXT, nullable=False),
        sa.Column("schema_version", INTEGER, nullable=False),
        sa.Column("fields", sa.LargeBinary(), nullable=False),
        sa.Column("issued_on", INTEGER, nullable=False),
        sa.Column("first_day", INTEGER, nullable=False),
        sa.Column("last_day", INTEGER, nullable=True),
        sa.Column("begins", sa.BigInteger(), nullable=False),
        sa.Column("ends", sa.BigInteger(), nullable=True),
        sa.Column("supersedes", TEXT, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["licence_id"], ["licence.id"], name=op.f("fk_licence_version_licence_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_licence_version")),
        sa.UniqueConstraint("licence_id", "version", name=op.f("uq_licence_version_licence_id_version")),
    )
    op.create_index(op.f("ix_licence_version_number"), "licence_version", ["number"], unique=False)
    op.create_table(
        "root_epoch",
        sa.Column("epoch", INTEGER, nullable=False, autoincrement=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("outbox_id", INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["outbox_id"], ["outbox.id"], name=op.f("fk_root_epoch_outbox_id")),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_root_epoch")),
    )
    op.create_table(
        "statement",
        sa.Column("id", INTEGER, nullable=False, autoincrement=False),
        sa.Column("sequence", INTEGER, nullable=False, autoincrement=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("outbox_id", INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["outbox_id"], ["outbox.id"], name=op.f("fk_statement_outbox_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement")),
    )
    op.create_index(op.f("ix_statement_sequence"), "statement", ["sequence"], unique=False)
    op.create_table(
        "status_token",
        sa.Column("list_number", INTEGER, nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("contents", sa.LargeBinary(), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("outbox_id", INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["list_number"], ["status_list.number"], name=op.f("fk_status_token_list_number")),
        sa.ForeignKeyConstraint(["outbox_id"], ["outbox.id"], name=op.f("fk_status_token_outbox_id")),
        sa.PrimaryKeyConstraint("list_number", name=op.f("pk_status_token")),
    )
    op.create_table(
        "credential",
        sa.Column("id", INTEGER, nullable=False, autoincrement=False),
        sa.Column("version_id", INTEGER, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("kid", TEXT, nullable=False),
        sa.Column("holder_thumbprint", sa.LargeBinary(), nullable=True),
        sa.Column("status_list", INTEGER, nullable=True),
        sa.Column("status_index", INTEGER, nullable=True),
        sa.Column("status", INTEGER, nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.Column("outbox_id", INTEGER, nullable=False),
        sa.ForeignKeyConstraint(["outbox_id"], ["outbox.id"], name=op.f("fk_credential_outbox_id")),
        sa.ForeignKeyConstraint(["status_list"], ["status_list.number"], name=op.f("fk_credential_status_list")),
        sa.ForeignKeyConstraint(["version_id"], ["licence_version.id"], name=op.f("fk_credential_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credential")),
        sa.UniqueConstraint("digest", name=op.f("uq_credential_digest")),
        sa.UniqueConstraint("outbox_id", name=op.f("uq_credential_outbox_id")),
        sa.UniqueConstraint("status_list", "status_index", name=op.f("uq_credential_status_list_status_index")),
    )
    op.create_index(
        "ix_credential_shown",
        "credential",
        ["status_list", "status"],
        unique=False,
        sqlite_where=sa.text("status <> 0"),
        postgresql_where=sa.text("status <> 0"),
    )
    op.create_index(op.f("ix_credential_version_id"), "credential", ["version_id"], unique=False)
    op.create_table(
        "holder",
        sa.Column("version_id", INTEGER, nullable=False),
        sa.Column("position", INTEGER, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("code", TEXT, nullable=True),
        sa.Column("code_kind", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["version_id"], ["licence_version.id"], name=op.f("fk_holder_version_id")),
        sa.PrimaryKeyConstraint("version_id", "position", name=op.f("pk_holder")),
    )
    op.create_index(op.f("ix_holder_code"), "holder", ["code"], unique=False)
