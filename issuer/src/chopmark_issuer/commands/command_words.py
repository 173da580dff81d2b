"""Words of the command line, read as what they mean for a licence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chopmark.cbor import Value
from chopmark.keys import Algorithm, PublicKey
from chopmark.licence_type import FieldKind

from chopmark_issuer.catalogue.catalogue import CatalogueType
from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.catalogue.terms import calendar_day
from chopmark_issuer.errors import FieldError


def read_fields(licence_type: CatalogueType, texts: Sequence[str]) -> dict[str, object]:
    """Fields given as `NAME=VALUE`, in the kinds of the type; a field of texts may be given again.

    Raises:
        FieldError: a text without a sign, or a field twice that is no list.
    """
    kinds = {entry.name: entry.kind for entry in licence_type.type.fields}
    fields: dict[str, object] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise FieldError("a field is given as NAME=VALUE", where="field")
        kind = kinds.get(name)
        if kind is FieldKind.LIST:
            elements = fields.setdefault(name, [])
            assert isinstance(elements, list)  # noqa: S101 - only this branch writes fields of that kind
            elements.append(value)
            continue
        if name in fields:
            raise FieldError("the field is given twice", where=f"field {name}")
        fields[name] = _value(kind, value)
    return fields


def _value(kind: FieldKind | None, text: str) -> object:
    """A value as the type's kind has it; what does not fit stays text, which the type then refuses by field."""
    if kind is FieldKind.INTEGER and text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 20:
        return int(text)
    if kind is FieldKind.BOOLEAN and text in ("true", "false"):
        return text == "true"
    return text


def read_holders(names: Sequence[str], codes: Sequence[str]) -> tuple[Holder, ...]:
    """Holders by name, each with the `KIND:CODE` at its place, if codes are given at all.

    Raises:
        FieldError: another number of codes, or a code without its kind.
    """
    if codes and len(codes) != len(names):
        raise FieldError("there are not as many codes as holders", where="holder code")
    holders = []
    for position, name in enumerate(names):
        kind, sign, code = codes[position].partition(":") if codes else ("", "", "")
        if codes and not (kind and sign and code):
            raise FieldError("a code is given as KIND:CODE", where="holder code")
        holders.append(Holder(name, code or None, kind or None))
    return tuple(holders)


def read_public_key(text: str) -> PublicKey:
    """A holder's public key given as `ES256:base64` or `Ed25519:base64`.

    Raises:
        FieldError: another algorithm.
        KeyMaterialError, FormatError: it is no key.
    """
    algorithm, _, key = text.partition(":")
    if algorithm not in (Algorithm.ES256.text, Algorithm.ED25519.text):
        raise FieldError("a holder's key is given as ES256:base64 or Ed25519:base64", where="holder key")
    return PublicKey.from_json(algorithm, key, where="holder key")


def describe_fields(licence_type: CatalogueType, fields: Mapping[int, Value]) -> list[tuple[str, str]]:
    """The fields of a licence as its type labels them, for people to read."""
    described = []
    for entry in licence_type.type.fields:
        if entry.id in fields:
            value = fields[entry.id]
            text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
            if entry.kind is FieldKind.DATE and isinstance(value, int):
                text = str(calendar_day(value))
            described.append((f"{entry.label.zh_hans} · {entry.label.en}", text))
    return described
