"""How Alembic reaches the database: over the connection that `chopmark_ledger.storage.database` hands it."""

from alembic import context

from chopmark_ledger.storage.models import LedgerModel

context.configure(connection=context.config.attributes["connection"], target_metadata=LedgerModel.metadata)
context.run_migrations()
