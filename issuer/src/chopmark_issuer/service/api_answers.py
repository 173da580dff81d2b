"""What a registry's service answers, as JSON: licences, their history, where their credentials stand.

    {"number": "1.2.156.3005.2.…", "type": "CN-GD/…W032", "state": "valid", "version": 1, "issued_on": "2026-11-22",
     "first_day": "2026-11-22", "last_day": "2031-11-21", "holders": [{"name": "示例餐饮有限公司"}], …}

What has no value is left out. `logged` is the index of a credential's entry in the region's log, or false while the log
has not answered. Answers that are kept for requests sent again (`issued`, `acted`) hold no data of holders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from chopmark.cbor import Value
from chopmark.licence_type import FieldKind
from chopmark.strict import time_encode
from chopmark_service.json_web_key import to_jwk

from chopmark_issuer.catalogue.catalogue import CatalogueType
from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.catalogue.terms import calendar_day
from chopmark_issuer.licences.records import StoredCredential, Version
from chopmark_issuer.licences.requests import IssuedVersion
from chopmark_issuer.lifecycle import Standing, State
from chopmark_issuer.service.search import ActOfLicence, Found


def path_of(number: str) -> str:
    """Where a licence is found, by its number."""
    return f"/licences/{quote(number, safe='')}"


def issued(version: IssuedVersion) -> dict[str, Any]:
    """A version that was just written: its credentials are on their way to the log."""
    return {
        "number": version.number,
        "version": version.version,
        "credentials": [{"digest": each.digest.hex(), "logged": False} for each in version.credentials],
    }


def acted(number: str, state: State) -> dict[str, Any]:
    """What an act on a licence led to."""
    return {"number": number, "state": state.value}


def found(licence: Found) -> dict[str, Any]:
    """A licence as a search shows it."""
    return {
        "number": licence.number,
        "type": licence.type_id,
        "state": licence.state.value,
        "version": licence.version,
        **_days(licence.issued_on, licence.first_day, licence.last_day),
        "holders": [_holder(each) for each in licence.holders],
    }


def licence(
    licence_type: CatalogueType,
    state: State,
    version: Version,
    holders: Sequence[Holder],
    credentials: Sequence[StoredCredential],
    *,
    newest: str,
) -> dict[str, Any]:
    """A licence in full, as one of its versions says; `licence_type` has the schema of that version, and `newest` is
    the number of the newest one."""
    return {
        **numbered(version, newest=newest),
        "type": licence_type.type.id,
        "schema": version.schema_version,
        "state": state.value,
        "version": version.version,
        **_days(version.issued_on, version.first_day, version.last_day),
        "holders": [_holder(each) for each in holders],
        "fields": _fields(licence_type, version.fields),
        "credentials": [credential(each) for each in credentials],
        **({} if version.supersedes is None else {"supersedes": version.supersedes}),
    }


def numbered(version: Version, *, newest: str) -> dict[str, str]:
    """The number of a version, and the one that superseded it: it comes before the state, which is that of the licence,
    whatever number it has by now."""
    return {"number": version.number} | ({} if newest == version.number else {"superseded_by": newest})


def credential(stored: StoredCredential) -> dict[str, Any]:
    """Where a credential stands: what its status list shows, and its place in the log."""
    shown: dict[str, Any] = {
        "digest": stored.credential.digest.hex(),
        "status": stored.status.name.lower(),
        "logged": False if stored.log_index is None else stored.log_index,
        "issued_at": time_encode(stored.issued_at),
    }
    claims = stored.credential.claims
    if claims.status is not None:
        shown["status_list"] = {"uri": claims.status.uri, "index": claims.status.index}
    if claims.holder_key is not None:
        shown["holder_key"] = to_jwk(claims.holder_key)
    if stored.withdrawn_at is not None:
        shown["withdrawn_at"] = time_encode(stored.withdrawn_at)
    if stored.refused is not None:
        shown["refused_by_log"] = stored.refused
    return shown


def history(versions: Sequence[Version], acts: Sequence[ActOfLicence]) -> dict[str, Any]:
    """The versions of a licence, and what happened to it, oldest first."""
    return {
        "number": versions[-1].number,
        "versions": [
            {
                "version": each.version,
                "number": each.number,
                **_days(each.issued_on, each.first_day, each.last_day),
                "recorded_at": time_encode(each.created_at),
                **({} if each.supersedes is None else {"supersedes": each.supersedes}),
            }
            for each in versions
        ],
        "acts": [
            {
                "act": each.kind,
                "version": each.version,
                "learned_at": time_encode(each.learned_at),
                "effective_from": time_encode(each.effective_from),
                **({} if each.reason is None else {"reason": each.reason}),
            }
            for each in acts
        ],
    }


def as_of(standing: Standing | None, *, moment: int, known_at: int) -> dict[str, Any]:
    """What a licence was at a moment, as was known at another; no state where it had not begun or was not known."""
    shown: dict[str, Any] = {"at": time_encode(moment), "known_at": time_encode(known_at)}
    if standing is not None:
        shown |= {"state": standing.state.value, "version": standing.version}
    return shown


def licence_type(entry: CatalogueType, *, granted: bool) -> dict[str, Any]:
    """A licence type: what a caller has to say of a licence of it, and whether this one may issue it now."""
    return {
        "id": entry.type.id,
        "schema": entry.type.schema,
        "name": entry.type.name.to_json(),
        "fields": [
            {
                "name": each.name,
                "label": each.label.to_json(),
                "kind": each.kind.value,
                "required": each.required,
                "disclosure": each.disclosure.value,
                **({"max_length": entry.max_lengths[each.id]} if each.id in entry.max_lengths else {}),
            }
            for each in entry.type.fields
        ],
        "holder": entry.type.holder.value,
        "numbering": entry.type.numbering,
        "zone": entry.type.zone,
        "freshness": entry.type.freshness.value,
        "status": entry.type.status,
        "granted": granted,
    }


def _days(issued_on: int, first_day: int, last_day: int | None) -> dict[str, str]:
    shown = {"issued_on": str(calendar_day(issued_on)), "first_day": str(calendar_day(first_day))}
    return shown if last_day is None else {**shown, "last_day": str(calendar_day(last_day))}


def _holder(holder: Holder) -> dict[str, str]:
    members = {"name": holder.name, "code": holder.code, "code_kind": holder.code_kind}
    return {name: value for name, value in members.items() if value is not None}


def _fields(entry: CatalogueType, fields: Mapping[int, Value]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for each in entry.type.fields:
        if each.id in fields:
            value = fields[each.id]
            is_day = each.kind is FieldKind.DATE and isinstance(value, int)
            shown[each.name] = str(calendar_day(value)) if is_day else value  # type: ignore[arg-type]
    return shown
