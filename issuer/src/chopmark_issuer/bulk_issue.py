"""Issuing of many licences in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from chopmark_issuer.database import Database
from chopmark_issuer.departments import Actor
from chopmark_issuer.errors import RefusedError
from chopmark_issuer.requests import IssuedVersion, IssueRequest


def issue_all(
    connection: Connection,
    keys: Any,
    actor: Actor,
    requests: Sequence[IssueRequest],
    *,
    at: int,
    random: Callable[[int], bytes],
) -> list[IssuedVersion | RefusedError]:
    """Issue licences; a request that is refused spoils no other."""
    from pathlib import Path  # noqa: PLC0415

    from chopmark_issuer.registry import Registry  # noqa: PLC0415

    registry = Registry(Database(connection.engine, Path()).joined(connection), keys, random=random)
    outcomes: list[IssuedVersion | RefusedError] = []
    for request in requests:
        try:
            outcomes.append(registry.issue(actor, request, at=at))
        except RefusedError as error:
            outcomes.append(error)
    return outcomes
