"""The public folder of a log over HTTP, as https://c2sp.org/tlog-tiles asks.

    /checkpoint                       text/plain, cached for seconds
    /landmarks                        application/octet-stream, cached for seconds; it only grows: fetch it by range
    /tile/<L>/<N>[.p/<W>]             application/octet-stream, cached for ever
    /tile/entries/<N>[.p/<W>]         the same; up to 1 MiB compressed by gzip for who accepts that

How they are served stands in `chopmark_service.static_files`. A partial tile may be gone once the full one stands:
clients fetch that. `deploy/nginx.conf` serves the same folder in the same way.
"""

from __future__ import annotations

from chopmark.errors import FormatError
from chopmark.tiles import parse_tile_path
from chopmark_service.static_files import BYTES, FOR_EVER, FOR_SECONDS, FileKind

_CHECKPOINT = FileKind("text/plain; charset=utf-8", FOR_SECONDS, hashed=True)
_LANDMARKS = FileKind(BYTES, FOR_SECONDS)
_TILE = FileKind(BYTES, FOR_EVER)
_ENTRIES = FileKind(BYTES, FOR_EVER, compressed=True)


def kind_of(name: str) -> FileKind | None:
    """How the file of a path is served, relative to the prefix of the log; None for what is none of a log."""
    if name == "checkpoint":
        return _CHECKPOINT
    if name == "landmarks":
        return _LANDMARKS
    try:
        tile = parse_tile_path(name)
    except FormatError:
        return None
    return _ENTRIES if tile.level is None else _TILE
