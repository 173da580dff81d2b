"""Where each region's published files are: as an operator named it, else as the home bundle says."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from chopmark.client.bounded_http import Bounds
from chopmark.client.entity_tags import EntityTags
from chopmark.client.published_files import BOUNDS, VISIT_SECONDS, PublishedFiles
from chopmark.errors import FormatError, StorageError

_BUNDLE: Final = "/bundle.note"


class RegionSources:
    """The sources of one round of `chopmark.refresh.refresh_all`, to which `source_of` is handed.

    The URLs are those that the caller named and those in the home bundle, which the home region's roots signed.

    Args:
        urls: URL prefixes by region.
        tags: what was fetched before.
        bounds: the time for one file.
        seconds: for all requests to one region together.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        *,
        tags: EntityTags,
        bounds: Bounds = BOUNDS,
        seconds: float = VISIT_SECONDS,
    ) -> None:
        self._urls = dict(urls)
        self._tags = tags
        self._bounds = bounds
        self._seconds = seconds
        self._lock = threading.Lock()
        self._opened: dict[str, PublishedFiles] = {}
        self._is_given_up = False

    def source_of(self, region: str, bundle_url: str | None) -> PublishedFiles:
        """The source of a region.

        Raises:
            StorageError: neither the caller nor the home bundle names one.
            FormatError: the URL is no prefix, or the bundle's is not of the published layout.
        """
        url = self._urls.get(region) or _prefix(region, bundle_url)
        source = PublishedFiles(url, tags=self._tags, bounds=self._bounds, seconds=self._seconds)
        with self._lock:
            self._opened[region] = source
            if self._is_given_up:
                source.give_up()
        return source

    def url_of(self, region: str) -> str | None:
        """The URL prefix that a region was visited under."""
        source = self._opened.get(region)
        return None if source is None else source.url

    def give_up(self) -> None:
        """Ask for nothing more, in whatever thread; the request that is on its way ends in its own time."""
        with self._lock:
            self._is_given_up = True
            for source in self._opened.values():
                source.give_up()

    def close(self) -> None:
        """Close the connections."""
        for source in self._opened.values():
            source.close()


def _prefix(region: str, bundle_url: str | None) -> str:
    if bundle_url is None:
        raise StorageError(
            f"no source is named for the home region {region}",
            remedy="Name it: REGION=URL",
        )
    if not bundle_url.endswith(_BUNDLE):
        raise FormatError(f"the bundle's url does not end in {_BUNDLE}", where=bundle_url)
    return bundle_url.removesuffix(_BUNDLE)
