"""What a service says of its routes in OpenAPI: the words that the documents of all services are made of.

FastAPI reads nothing from bodies and answers here, as they are parsed strictly by hand; so each route names its schemas
and problems itself:

    ROUTE = route(NOT_FOUND, answers={200: answer("The licence.", object_schema({"number": TEXT}))}, extra=SECURED)

    @application.get("/licences/{number}", **ROUTE)
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI

from chopmark_service.problems import FAULT, Problem, documented

SCHEME: Final = "client"
"""The name of the scheme by which clients authenticate."""
SECURED: Final[dict[str, Any]] = {"security": [{SCHEME: []}]}
"""The `extra` of a route that is for clients."""
_NOT_OURS: Final = str(int(HTTPStatus.UNPROCESSABLE_ENTITY))


def object_schema(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """The schema of an object that has no other members than these."""
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def list_schema(items: dict[str, Any], **bounds: int) -> dict[str, Any]:
    """The schema of a list; `bounds` are `minItems` and `maxItems`."""
    return {"type": "array", "items": items, **bounds}


def answer(
    description: str, schema: dict[str, Any], media_type: str = "application/json", example: Any = None
) -> dict[str, Any]:
    """What is said of an answer with a body."""
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"description": description, "content": {media_type: content}}


def route(
    *problems: Problem, answers: dict[int | str, dict[str, Any]], extra: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Keyword arguments for a route of FastAPI; the problems that any route may end in need no naming."""
    responses: dict[int | str, dict[str, Any]] = {**answers, **documented(*dict.fromkeys((*problems, FAULT)))}
    return {"responses": responses, "openapi_extra": extra or {}, "status_code": min(map(int, answers))}


def describe_tokens(application: FastAPI) -> None:
    """Add the scheme by which clients authenticate to what the application says of itself, and take away what FastAPI
    adds of errors that a service of ours answers otherwise."""
    generate = application.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes[SCHEME] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        document["components"].pop("schemas", None)
        for methods in document["paths"].values():
            for operation in methods.values():
                if "HTTPValidationError" in str(operation["responses"].get(_NOT_OURS)):
                    del operation["responses"][_NOT_OURS]
        return document

    application.openapi = openapi  # type: ignore[method-assign] # the way FastAPI names for extending it


def openapi_text(application: FastAPI) -> str:
    """What an application offers, as an OpenAPI document: JSON, indented, with a newline at its end."""
    return json.dumps(application.openapi(), indent=2, ensure_ascii=False) + "\n"
