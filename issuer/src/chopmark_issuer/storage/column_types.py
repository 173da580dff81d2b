"""Types of columns that hold the same on SQLite and on PostgreSQL.

An integer of SQLite has 64 bits whatever it is called, and its texts compare byte by byte. PostgreSQL would keep 32,
and compare by the language that the database was made with: other orders, and other answers to `<`.

Migrations use these too, so what they are never changes; SQLite's `INTEGER` as the one primary key is the row's own id.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Integer, String

INTEGER: Final = Integer().with_variant(BigInteger(), "postgresql")
TEXT: Final = String().with_variant(String(collation="C"), "postgresql")
