"""Runs migrations on the connection that `chopmark_issuer.storage.database` hands over."""

from alembic import context
from chopmark_issuer.storage.models import Table

context.configure(connection=context.config.attributes["connection"], target_metadata=Table.metadata)
context.run_migrations()
