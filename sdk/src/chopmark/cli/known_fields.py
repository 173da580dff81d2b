"""The fields of a licence under the names that its type gives them, for people: dates as dates.

On the wire a field has a number, and a date is an integer; only the licence type tells one from the other. It is looked
for in the trust store of whoever asks, for its words alone: nothing is verified by that.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from chopmark.cli.describe import Content
from chopmark.cli.pins import open_store
from chopmark.errors import ChopmarkError
from chopmark.identifiers import region_of
from chopmark.licence_type import LicenceType
from chopmark.reasons import Language
from chopmark.trust_store import TrustStore
from chopmark.verdict import ShownField

DEFAULT_STORE = Path("trust")


class KnownTypes:
    """The licence types of a trust store, which is opened when a type is first looked for.

    Args:
        folder: of the store; the one that lies here, if any, where not given.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def named(self, content: Content, language: Language) -> Content:
        """What an object says, its fields by their labels and as text, where the type of the licence is known.

        Raises:
            ChopmarkError: the store that was given cannot be opened.
        """
        content = {name: self.named(each, language) if name == "credential" else each for name, each in content.items()}
        fields = content.get("fields")
        verdict = content.get("verdict")  # of a record
        vct = (verdict if isinstance(verdict, dict) else content).get("licence_type")
        if not isinstance(fields, dict) or not isinstance(vct, str):
            return content
        known = self._find(vct)
        return content if known is None else {**content, "fields": _named(fields, known, language)}

    def _find(self, vct: str) -> LicenceType | None:
        store = self._store
        bundle = None if store is None else store.bundle(region_of(vct))
        return None if bundle is None else bundle.type(vct)

    @cached_property
    def _store(self) -> TrustStore | None:
        try:
            return open_store(DEFAULT_STORE if self._folder is None else self._folder)
        except ChopmarkError:
            if self._folder is not None:
                raise
            return None


def _named(fields: Content, known: LicenceType, language: Language) -> Content:
    """Credentials name fields by number, records by name."""
    by_key = {key: each for each in known.fields for key in (str(each.id), each.name)}
    named: Content = {}
    for key, value in fields.items():
        field = by_key.get(key)
        if field is None:
            named[key] = value
        else:
            label = field.label.zh_hans if language == "zh" else field.label.en
            named[label] = ShownField(field.id, field.name, field.label, field.kind, value).text()
    return named
