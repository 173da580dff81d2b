"""Alembic migrations of the ledger's database, run when a log is created or opened."""
