"""What OpenAPI says of the log's routes; `specs/openapi/log.json` is made from it by `chopmark log openapi`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from chopmark_service import telemetry
from fastapi import FastAPI

from chopmark_ledger.batch import MAX_ENTRIES
from chopmark_ledger.publication.cosigning import TROUBLES
from chopmark_ledger.service import problems
from chopmark_ledger.service.entry_requests import MAX_BODY, MAX_NUMBER
from chopmark_ledger.service.problems import documented

DESCRIPTION = """An append-only log of electronic licences: https://c2sp.org/tlog-tiles, written to by authenticated
clients.

A token is a JSON Web Token that the client signs with its own key (EdDSA or ES256) for one request: `iss` and `sub` are
its name, `aud` is the origin of the log, `exp` is at most 300 seconds after `iat`, and `jti` is new each time."""

_SCHEME = "client"
_NOT_OURS = str(int(HTTPStatus.UNPROCESSABLE_ENTITY))
_SECURED: dict[str, Any] = {"security": [{_SCHEME: []}]}
_COUNT = {"type": "integer", "minimum": 0}
_OPTIONAL_COUNT = {"type": ["integer", "null"], "minimum": 0}
_BATCH = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER, "description": "The client's number for the batch."}
_ALWAYS = (problems.FAULT,)
_OF_TOKENS = (problems.UNAUTHENTICATED, problems.NO_CLIENTS, problems.BACK_PRESSURE)


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def _answer(description: str, schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _route(
    *problems_: problems.Problem, answers: dict[int | str, dict[str, Any]], extra: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Keyword arguments for a route of FastAPI."""
    responses: dict[int | str, dict[str, Any]] = {**answers, **documented(*problems_, *_ALWAYS)}
    return {"responses": responses, "openapi_extra": extra or {}, "status_code": min(map(int, answers))}


_TAKEN = {
    "batch": _BATCH,
    "indexes": {
        "type": "array",
        "items": _OPTIONAL_COUNT,
        "description": "The index of each entry in the log, in the order sent; null for those that were refused.",
    },
    "refused": problems.REFUSED_SCHEMA,
}
_PROOFS = {
    "proofs": {
        "type": "array",
        "items": {"type": ["string", "null"]},
        "description": "With wait=true: the c2sp.org/tlog-proof of each entry.",
    }
}

ENTRIES = _route(
    problems.MALFORMED,
    *_OF_TOKENS,
    problems.TOO_SLOW,
    problems.CONFLICT,
    problems.TOO_LARGE,
    problems.UNSUPPORTED,
    problems.ALL_REFUSED,
    problems.NOT_HEARD,
    problems.STOPPED,
    problems.STORAGE,
    answers={
        200: _answer("The entries are durable; with wait=true also published.", _object(_TAKEN, _PROOFS)),
        202: _answer("With wait=true: the entries are durable and not published yet.", _object(_TAKEN)),
    },
    extra={
        **_SECURED,
        "requestBody": {
            "required": True,
            "description": f"At most {MAX_BODY:,} bytes.",
            "content": {
                "application/json": {
                    "schema": _object(
                        {
                            "batch": _BATCH,
                            "entries": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": MAX_ENTRIES,
                                "items": {"type": "string", "contentEncoding": "base64"},
                            },
                        }
                    )
                }
            },
        },
    },
)

LANDMARK = _route(
    *_OF_TOKENS,
    problems.FORBIDDEN,
    problems.NOT_PUBLISHED,
    problems.STOPPED,
    problems.STORAGE,
    answers={
        200: _answer(
            "The records that were added; none if nothing was logged since the last.",
            _object(
                {
                    "records": {
                        "type": "array",
                        "items": _object(
                            {
                                "start": _COUNT,
                                "end": _COUNT,
                                "hash": {"type": "string", "contentEncoding": "base64"},
                                "checkpoint_size": _COUNT,
                                "witnessed_time": _COUNT,
                            }
                        ),
                    }
                }
            ),
        )
    },
    extra=_SECURED,
)

AUTHENTICATION = _route(
    *_OF_TOKENS, answers={204: {"description": "The token is that of a client, and used up now."}}, extra=_SECURED
)


def _file(description: str, media_type: str) -> dict[str, Any]:
    binary: dict[str, Any] = {"type": "string"} if media_type.startswith("text/") else {}
    return _route(
        problems.NOT_FOUND,
        answers={
            200: _answer(description, binary, media_type),
            206: _answer("The range of it that was asked for.", binary, media_type),
            304: {"description": "It is still the one of If-None-Match."},
            416: {"description": "It has no such range."},
        },
    )


CHECKPOINT = _file("https://c2sp.org/tlog-checkpoint", "text/plain; charset=utf-8")
LANDMARKS = _file("The landmark file: a header of 16 bytes and records of 64.", "application/octet-stream")
TILE = _file("https://c2sp.org/tlog-tiles", "application/octet-stream")

STATUS = _route(
    answers={
        200: _answer(
            "How the log is.",
            _object(
                {
                    "origin": {"type": "string"},
                    "number": _COUNT,
                    "vkeys": {"type": "array", "items": {"type": "string"}},
                    "committed": _COUNT,
                    "published": _COUNT,
                    "published_at": {**_OPTIONAL_COUNT, "description": "POSIX seconds."},
                    "waiting": {**_COUNT, "description": "Entries that wait for their commit."},
                    "landmark_end": {**_COUNT, "description": "Entries that landmarks cover."},
                    "problem": {
                        "enum": [None, "no_quorum", "unable", "stopped"],
                        "description": "What keeps it from publishing: too few witnesses answer; something on its "
                        "machine; it stopped, and its operator must look.",
                    },
                    "since": {**_OPTIONAL_COUNT, "description": "POSIX seconds; when the problem began."},
                    "witnesses": {
                        "type": "array",
                        "items": _object(
                            {
                                "name": {"type": "string"},
                                "size": _OPTIONAL_COUNT,
                                "at": {**_OPTIONAL_COUNT, "description": "POSIX seconds; its last answer."},
                                "problem": {
                                    "enum": [None, *TROUBLES],
                                    "description": "; ".join(f"{each}: {what}" for each, what in TROUBLES.items()),
                                },
                            }
                        ),
                    },
                }
            ),
        )
    },
)
HEALTH = _route(answers={200: _answer("It answers.", _object({"status": {"const": "ok"}}))})
_READY = _object(
    {
        "ready": {"type": "boolean"},
        "reasons": {
            "type": "array",
            "items": {"type": "string", "enum": ["stopped", "no_clients", "not_heard", "stopping"]},
        },
    }
)
READINESS = _route(answers={200: _answer("It takes entries.", _READY), 503: _answer("It takes none now.", _READY)})
METRICS = _route(answers={200: _answer("Metrics.", {"type": "string"}, telemetry.METRICS_TYPE)})


def describe_tokens(application: FastAPI) -> None:
    """Add the scheme by which clients authenticate to what the application says of itself."""
    generate = application.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes[_SCHEME] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        document["components"].pop("schemas", None)  # of errors that this service answers otherwise
        for methods in document["paths"].values():
            for operation in methods.values():
                if "HTTPValidationError" in str(operation["responses"].get(_NOT_OURS)):
                    del operation["responses"][_NOT_OURS]
        return document

    application.openapi = openapi  # type: ignore[method-assign] # the way FastAPI names for extending it
