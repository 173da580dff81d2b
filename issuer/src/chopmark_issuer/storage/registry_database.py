"""The database of the registry in a folder, opened where it is the one that is meant."""

from __future__ import annotations

from chopmark_issuer.errors import ConflictError
from chopmark_issuer.settings import DATABASE_FILE, Settings
from chopmark_issuer.storage.database import Database, open_database


def open_registry(settings: Settings, *, create: bool = False) -> Database:
    """Open the registry of a folder, migrated to the newest schema.

    Args:
        settings: say which folder, and where its database is.
        create: make the tables where there are none.

    Raises:
        ConflictError: one is in the folder, and a URL names another: it was meant for another folder, as a variable in
            a shell easily is.
        NotFoundError, MissingExtraError, DatabaseError: as `open_database`.
    """
    if settings.database_url is not None and (settings.data / DATABASE_FILE).exists():
        raise ConflictError(
            f"the folder has a {DATABASE_FILE}, and the URL of another database is given",
            where=str(settings.data),
            remedy="A registry is in one of them and cannot be moved to the other: give the folder of that one",
        )
    return open_database(settings.database, create=create)
