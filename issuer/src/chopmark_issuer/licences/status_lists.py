"""Status lists: which index a credential gets, and the signed tokens that show what every index says.

A department has one open list for each freshness class; an index is drawn at random and never used twice, so that
neighbours tell nothing. Above three quarters a list is closed to new credentials and the next one is opened: random
draws find a free index in four tries at most on average.

A token is signed anew when what it shows changed, or when its age would make verifiers fetch it again. It counts only
with the tlog-proof of its kind-2 entry, so it goes through the outbox like everything else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from chopmark.entries import StatusListEntry
from chopmark.licence_type import FreshnessClass
from chopmark.status import StatusList, StatusListToken
from sqlalchemy import Connection, bindparam, func, insert, select, update

from chopmark_issuer.errors import RefusedError
from chopmark_issuer.keys.key_provider import KeyProvider
from chopmark_issuer.keys.keys import InventoryUse, key_in_use
from chopmark_issuer.storage import outbox
from chopmark_issuer.storage.models import CREDENTIAL, REGION, STATUS_LIST, STATUS_TOKEN

LIST_SIZE: Final = 1 << 20
_FULL: Final = LIST_SIZE * 3 // 4
_HOUR: Final = 3600
_AHEAD: Final = 60
"""Seconds a token may be dated ahead: several in one second must still rise in time."""

# Made once: each transaction that issues asks these, and to put one together takes longer than its answer.
_OPEN_LISTS: Final = select(STATUS_LIST.c.number, STATUS_LIST.c.uri, STATUS_LIST.c.used).where(
    STATUS_LIST.c.department_id == bindparam("department"),
    STATUS_LIST.c.freshness == bindparam("freshness"),
    STATUS_LIST.c.used < _FULL,
)
_USED: Final = select(CREDENTIAL.c.status_index).where(
    CREDENTIAL.c.status_list == bindparam("list"),
    CREDENTIAL.c.status_index.in_(bindparam("indexes", expanding=True)),
)
_USE: Final = (
    update(STATUS_LIST)
    .where(STATUS_LIST.c.number == bindparam("list"))
    .values(used=STATUS_LIST.c.used + bindparam("more"))
)


@dataclass(frozen=True, slots=True)
class Freshness:
    """Seconds after which a list is fetched again, and after which it no longer counts."""

    ttl: int
    lifetime: int


FRESHNESS: Final = {
    FreshnessClass.SAFETY: Freshness(6 * _HOUR, 72 * _HOUR),
    FreshnessClass.TRADE: Freshness(24 * _HOUR, 30 * 24 * _HOUR),
}


@dataclass(frozen=True, slots=True)
class StatusIndex:
    """A place in a status list."""

    list_number: int
    uri: str
    index: int


def reserve(
    connection: Connection,
    department: str,
    freshness: FreshnessClass,
    count: int,
    *,
    at: int,
    random: Callable[[int], bytes],
) -> list[StatusIndex]:
    """Draw unused indexes, in the caller's transaction, which must also write the credentials that use them."""
    drawn: list[StatusIndex] = []
    while len(drawn) < count:
        number, uri, used = _open_list(connection, department, freshness, at)
        wanted = min(count - len(drawn), _FULL - used)
        indexes = _draw(connection, number, wanted, random)
        connection.execute(_USE, {"list": number, "more": len(indexes)})
        drawn.extend(StatusIndex(number, uri, index) for index in indexes)
    return drawn


def _open_list(connection: Connection, department: str, freshness: FreshnessClass, at: int) -> tuple[int, str, int]:
    row = connection.execute(_OPEN_LISTS, {"department": department, "freshness": freshness.value}).first()
    if row is not None:
        return row.number, row.uri, row.used
    number = (connection.execute(select(func.max(STATUS_LIST.c.number))).scalar() or 0) + 1
    host = connection.execute(select(REGION.c.host)).scalar_one()
    uri = f"https://{host}/status/{number}"
    connection.execute(
        insert(STATUS_LIST).values(
            number=number, department_id=department, freshness=freshness.value, uri=uri, used=0, created_at=at
        )
    )
    return number, uri, 0


def _draw(connection: Connection, number: int, count: int, random: Callable[[int], bytes]) -> list[int]:
    found: dict[int, None] = {}
    while len(found) < count:
        missing = count - len(found)
        draw = random(missing * 3)
        candidates = {
            int.from_bytes(draw[offset : offset + 3], "big") % LIST_SIZE for offset in range(0, len(draw), 3)
        } - found.keys()
        candidates -= set(connection.execute(_USED, {"list": number, "indexes": list(candidates)}).scalars())
        found.update(dict.fromkeys(candidates))
    return list(found)


def sign_lists(connection: Connection, keys: KeyProvider, *, at: int) -> int:
    """Sign the lists that need a new token and put their entries into the outbox; answers how many were signed.

    Raises:
        RefusedError: the clock is behind the last token: the time in a list only rises.
        NotFoundError: a department has no status key in use.
    """
    signed = 0
    for row in connection.execute(select(STATUS_LIST).order_by(STATUS_LIST.c.number)).all():
        statuses = _statuses(connection, row.number)
        contents = hashlib.sha256(repr(sorted(statuses.items())).encode("ascii")).digest()
        freshness = FRESHNESS[FreshnessClass(row.freshness)]
        issued_at = at
        last = connection.execute(select(STATUS_TOKEN).where(STATUS_TOKEN.c.list_number == row.number)).first()
        if last is not None:
            if last.contents == contents and at < last.issued_at + freshness.ttl // 2:
                continue
            issued_at = max(at, last.issued_at + 1)
            if issued_at > at + _AHEAD:
                raise RefusedError(
                    f"the last token of {row.uri} is dated {last.issued_at - at} s ahead of the clock",
                    where="status list",
                    remedy="Correct the clock: the time of a list only rises",
                )
        signer = keys.signer(key_in_use(connection, owner=row.department_id, use=InventoryUse.STATUS, at=at).kid)
        token = StatusListToken.issue(
            signer,
            uri=row.uri,
            issued_at=issued_at,
            expires=issued_at + freshness.lifetime,
            ttl=freshness.ttl,
            status_list=StatusList.empty(LIST_SIZE).with_statuses(statuses),
        )
        entry = StatusListEntry(row.department_id, row.uri, token.hash, issued_at).encode()
        values = {
            "issued_at": issued_at,
            "expires": token.expires,
            "contents": contents,
            "token": token.encode(),
            "outbox_id": outbox.enqueue(connection, [entry])[0],
        }
        if last is None:
            connection.execute(insert(STATUS_TOKEN).values(list_number=row.number, **values))
        else:
            connection.execute(update(STATUS_TOKEN).where(STATUS_TOKEN.c.list_number == row.number).values(**values))
        signed += 1
    return signed


def _statuses(connection: Connection, number: int) -> dict[int, int]:
    query = select(CREDENTIAL.c.status_index, CREDENTIAL.c.status).where(
        CREDENTIAL.c.status_list == number, CREDENTIAL.c.status != 0
    )
    return {row.status_index: row.status for row in connection.execute(query)}
