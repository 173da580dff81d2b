"""What was fetched last from which URL: its entity tag and its digest, so that it is fetched again only if it changed.

A tag is a hint that saves a transfer, and is believed in nothing: it is sent only where the file that one holds has the
digest that stands beside it. So a file of tags that is lost, damaged or made up costs a transfer or shows one nothing
new, as a source could. Sample of the file `fetched.json` in a trust store:

    {
     "format": "chopmark/fetched/v1",
     "files": [{"url": "https://cn-gd.example/bundle.note", "etag": "\"18b3f-2a4\"", "sha256": "9f86…"}]
    }
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Final

from chopmark import strict
from chopmark.closed_object import ClosedObject
from chopmark.durable_file import held_for_a_moment, read_file, write_file
from chopmark.errors import ChopmarkError, UnsupportedError

FILE_NAME: Final = "fetched.json"
FORMAT: Final = "chopmark/fetched/v1"
_MOST: Final = 10_000
"""Files that are remembered; beyond that the ones fetched longest ago are forgotten."""
_MAX_SIZE: Final = 16 * 1024 * 1024
_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{0,200}"', re.ASCII)
_URL_MAX: Final = 1000


class EntityTags:
    """The tags of files, by URL. For one thread at a time."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}
        self._saved: dict[str, tuple[str, str]] = {}

    @classmethod
    def load(cls, folder: Path) -> EntityTags:
        """The tags kept in a trust store; none where they cannot be read."""
        tags = cls()
        try:
            data = read_file(folder / FILE_NAME, max_size=_MAX_SIZE)
            tags._known = {} if data is None else _parse(data)
        except ChopmarkError:
            tags._known = {}
        tags._saved = dict(tags._known)
        return tags

    def save(self, folder: Path) -> None:
        """Keep the tags in a trust store, if they changed.

        Raises:
            StorageError: they cannot be written.
        """
        if self._known == self._saved:
            return
        files = [{"url": url, "etag": tag, "sha256": digest} for url, (tag, digest) in self._known.items()]
        data = json.dumps({"format": FORMAT, "files": files}, ensure_ascii=False, indent=1) + "\n"
        with held_for_a_moment(folder):
            write_file(folder / FILE_NAME, data.encode("utf-8"))
        self._saved = dict(self._known)

    def of(self, url: str, held: bytes) -> str | None:
        """The tag under which a file was fetched, if it is the one that is held."""
        known = self._known.get(url)
        return known[0] if known is not None and known[1] == sha256(held).hexdigest() else None

    def remember(self, url: str, tag: str | None, data: bytes) -> None:
        """Take note of a file that was fetched; without a tag of the form of RFC 9110 §8.8.3 it is forgotten."""
        self._known.pop(url, None)
        if tag is None or _TAG.fullmatch(tag) is None or len(url) > _URL_MAX:
            return
        self._known[url] = (tag, sha256(data).hexdigest())
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]


def _parse(data: bytes) -> dict[str, tuple[str, str]]:
    members = ClosedObject(strict.json_decode(data, where=FILE_NAME, max_size=_MAX_SIZE), "")
    if (name := members.text("format")) != FORMAT:
        raise UnsupportedError(f"the format {name[:60]!r} is not {FORMAT}", where=FILE_NAME)
    known: dict[str, tuple[str, str]] = {}
    for value, place in members.array("files"):
        entry = ClosedObject(value, place)
        known[entry.text("url")] = (
            entry.text("etag", pattern=_TAG),
            strict.hex_decode(entry.text("sha256"), where=entry.place("sha256"), size=32).hex(),
        )
        entry.close()
    members.close()
    return known
