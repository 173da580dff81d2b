"""What OpenAPI says of the log's routes; `specs/openapi/log.json` is made from it by `chopmark log openapi`."""

from __future__ import annotations

from typing import Any

from chopmark_service import problems as common
from chopmark_service.open_api import SECURED, answer, object_schema, route
from chopmark_service.operation import ReadinessText

from chopmark_ledger.batch import MAX_ENTRIES
from chopmark_ledger.publication.cosigning import TROUBLES
from chopmark_ledger.service import problems
from chopmark_ledger.service.entry_requests import MAX_BODY, MAX_NUMBER

DESCRIPTION = """An append-only log of electronic licences: https://c2sp.org/tlog-tiles, written to by authenticated
clients.

A token is a JSON Web Token that the client signs with its own key (EdDSA or ES256) for one request: `iss` and `sub` are
its name, `aud` is the origin of the log, `exp` is at most 300 seconds after `iat`, and `jti` is new each time."""

_COUNT = {"type": "integer", "minimum": 0}
_OPTIONAL_COUNT = {"type": ["integer", "null"], "minimum": 0}
_BATCH = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER, "description": "The client's number for the batch."}
OF_TOKENS = (common.UNAUTHENTICATED, problems.NO_CLIENTS, common.BACK_PRESSURE)


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

ENTRIES = route(
    common.MALFORMED,
    *OF_TOKENS,
    common.TOO_SLOW,
    problems.CONFLICT,
    common.TOO_LARGE,
    common.UNSUPPORTED,
    problems.ALL_REFUSED,
    problems.NOT_HEARD,
    problems.STOPPED,
    common.STORAGE,
    answers={
        200: answer("The entries are durable; with wait=true also published.", object_schema(_TAKEN, _PROOFS)),
        202: answer("With wait=true: the entries are durable and not published yet.", object_schema(_TAKEN)),
    },
    extra={
        **SECURED,
        "requestBody": {
            "required": True,
            "description": f"At most {MAX_BODY:,} bytes.",
            "content": {
                "application/json": {
                    "schema": object_schema(
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

LANDMARK = route(
    *OF_TOKENS,
    common.FORBIDDEN,
    problems.NOT_PUBLISHED,
    problems.STOPPED,
    common.STORAGE,
    answers={
        200: answer(
            "The records that were added; none if nothing was logged since the last.",
            object_schema(
                {
                    "records": {
                        "type": "array",
                        "items": object_schema(
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
    extra=SECURED,
)


def _file(description: str, media_type: str) -> dict[str, Any]:
    binary: dict[str, Any] = {"type": "string"} if media_type.startswith("text/") else {}
    return route(
        common.NOT_FOUND,
        answers={
            200: answer(description, binary, media_type),
            206: answer("The range of it that was asked for.", binary, media_type),
            304: {"description": "It is still the one of If-None-Match."},
            416: {"description": "It has no such range."},
        },
    )


CHECKPOINT = _file("https://c2sp.org/tlog-checkpoint", "text/plain; charset=utf-8")
LANDMARKS = _file("The landmark file: a header of 16 bytes and records of 64.", "application/octet-stream")
TILE = _file("https://c2sp.org/tlog-tiles", "application/octet-stream")

STATUS = route(
    answers={
        200: answer(
            "How the log is.",
            object_schema(
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
                        "items": object_schema(
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
READINESS = ReadinessText(
    "Whether it takes entries. A missing witness quorum does not keep it from that.",
    "It takes entries.",
    "It takes none now.",
    ("stopped", "no_clients", "not_heard", "stopping"),
)
