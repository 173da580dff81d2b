"""Where a registry is kept: tables, migrations, bulk statements, the outbox."""
