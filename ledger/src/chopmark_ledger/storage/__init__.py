"""Where a log is kept: tables, statements, and how SQLite and PostgreSQL are used."""
