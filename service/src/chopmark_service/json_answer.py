"""Answers in JSON that nobody keeps: what a service says is of this moment, and for whom it is said to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Response

JSON_TYPE = "application/json"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def encode_json(value: Any) -> bytes:
    """Write JSON without spaces, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer a value."""
    return encoded_answer(encode_json(value), status, headers)


def indented_answer(value: Any) -> Response:
    """Answer a value that people look at too."""
    return encoded_answer(json.dumps(value, ensure_ascii=False, indent=2).encode("utf-8"))


def encoded_answer(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer JSON that is written already."""
    return Response(content, status, {**_HEADERS, **(headers or {})}, JSON_TYPE)
