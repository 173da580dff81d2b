"""The licence types of a trust store, found by the names that people and requests use."""

from __future__ import annotations

from chopmark.errors import FormatError, TrustError
from chopmark.identifiers import region_of
from chopmark.licence_type import LicenceType
from chopmark.trust_store import TrustStore


def find_type(store: TrustStore, name: str) -> LicenceType:
    """The licence type of that name, of its highest schema version where none is named.

    Raises:
        TrustError: the store does not know it.
    """
    bundle = store.bundle(region_of(name))
    types = bundle.contents.types if bundle is not None else ()
    found = [each for each in types if name in (each.vct, each.id)]
    if not found:
        raise TrustError(
            "the trust store does not know this licence type",
            where=name[:80],
            remedy=f"It knows: {', '.join(each.vct for each in types)}" if types else "Update the trust store",
        )
    return max(found, key=lambda each: each.schema)


def find_field(licence_type: LicenceType, name: int | str) -> int:
    """The id of a field of the type, given by name or id.

    Raises:
        FormatError: it has no such field.
    """
    for field in licence_type.fields:
        if name in (field.id, field.name, str(field.id)):
            return field.id
    known = ", ".join(field.name for field in licence_type.fields)
    raise FormatError(f"the type has no field {str(name)[:40]!r}", where="field", remedy=f"It has: {known}")


def askable_types(store: TrustStore) -> list[LicenceType]:
    """The types that a holder can be asked for, each of its highest schema version, in the order of their regions."""
    found: dict[str, LicenceType] = {}
    for region in store.regions:
        bundle = store.bundle(region)
        for each in bundle.contents.types if bundle is not None else ():
            if each.holder != "bearer" and (each.id not in found or found[each.id].schema < each.schema):
                found[each.id] = each
    return list(found.values())
