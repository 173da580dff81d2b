"""What a department asks of the registry, and what it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from chopmark.credential import Credential
from chopmark.keys import PublicKey

from chopmark_issuer.catalogue.holders import Holder


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """A new licence: field values by name, its days, its holders, and the keys of holders it is bound to.

    `serial` or `number` may be named as the type's numbering allows; `issued_on` is today where it is left out.
    """

    type_id: str
    fields: Mapping[str, object]
    holders: tuple[Holder, ...]
    first_day: date
    last_day: date | None
    holder_keys: tuple[PublicKey, ...] = ()
    serial: str | None = None
    number: str | None = None
    issued_on: date | None = None


@dataclass(frozen=True, slots=True)
class Amendment:
    """What a renewal or change makes different; what is left out stays as it was, save the end of a renewed term.

    `fields` names the fields that change; None as a value leaves a field out from now on.
    """

    fields: Mapping[str, object] = field(default_factory=dict)
    holders: tuple[Holder, ...] | None = None
    first_day: date | None = None
    last_day: date | None = None
    holder_keys: tuple[PublicKey, ...] | None = None
    issued_on: date | None = None


@dataclass(frozen=True, slots=True)
class IssuedVersion:
    """A version that was just written; its credentials carry no proof of logging yet."""

    licence_id: int
    version: int
    number: str
    credentials: tuple[Credential, ...]
