"""The forms of the names by which trust data refers to regions, issuers, licence types, logs and files."""

from __future__ import annotations

import re

REGION = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?", re.ASCII)
"""ISO 3166-2, or ISO 3166-1 for a national authority."""
ISSUER = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?/[A-Za-z0-9._-]{1,64}", re.ASCII)
"""`<region>/<organisation code>`."""
ORIGIN = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?:/[A-Za-z0-9._~-]+)+", re.ASCII)
"""`<host>/<path>`, no scheme: the first line of a checkpoint."""
HTTPS_URI = re.compile(
    r"https://(?!.*%(?:2[EeFf]|5[Cc]))[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~%-]+)+",
    re.ASCII,
)
"""A static file; no port, query or fragment, so that one resource has one spelling; and no dot segments, nor dots and
slashes in disguise, so that its path stays where it is put."""
TYPE_ID = ISSUER
"""`<region>/<type code>`, without the schema version."""


def region_of(identifier: str) -> str:
    """The region of an issuer or licence type id: what stands before the `/`."""
    return identifier.partition("/")[0]


def host_of(name: str) -> str:
    """The host of a key name, an origin or an https uri: what stands before the first `/` of its path."""
    return name.removeprefix("https://").partition("/")[0]
