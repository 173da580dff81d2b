"""Reading of the JSON documents a department hands in: I-JSON, and what their JSON Schema says.

The schemas are shipped in this package and stand, byte for byte the same, in `specs/schemas/`.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from chopmark import strict
from chopmark.errors import FormatError
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from chopmark_issuer.errors import CatalogueError

_MAX_SIZE = 256 * 1024
"""Bytes of a licence type or mapping; one of 200 fields has about 60 KB."""


def read_document(data: bytes, schema: str, *, where: str) -> dict[str, Any]:
    """Read a JSON document and hold it against a schema of this package, `licence-type` or `import-mapping`.

    Raises:
        CatalogueError: not I-JSON, or not what the schema says; `where` names the place in the document.
    """
    try:
        document = strict.json_decode(data, where=where, max_size=_MAX_SIZE)
    except FormatError as error:
        raise CatalogueError(error.what, where=error.where, remedy=error.remedy) from error
    problem = best_match(_validator(schema).iter_errors(document))
    if problem is not None:
        place = problem.json_path.removeprefix("$").removeprefix(".")
        raise CatalogueError(
            _shortened(problem.message),
            where=f"{where}, {place}" if place else where,
            remedy=f"Its form is described in specs/schemas/{schema}.schema.json",
        )
    assert isinstance(document, dict)  # noqa: S101 - every schema of this package says "type": "object"
    return document


@cache
def _validator(schema: str) -> Draft202012Validator:
    text = files("chopmark_issuer.catalogue").joinpath("schemas", f"{schema}.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def _shortened(message: str) -> str:
    return message if len(message) <= 200 else message[:160] + "…"
