"""What OpenAPI says of the verifier's routes; `specs/openapi/verifier.json` is made from it by
`chopmark verifier openapi`. The routes of the page are no interface of programs, and do not stand there.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from chopmark.challenge import MAX_LIFETIME
from chopmark.limits import LIMITS
from chopmark.verification_record import PURPOSE_MAX
from chopmark_service import problems as common
from chopmark_service import telemetry
from chopmark_service.problems import Problem, documented
from fastapi import FastAPI

from chopmark_verifier import problems
from chopmark_verifier.image_pool import ImageLimits
from chopmark_verifier.verify_requests import MAX_BODY, MAX_CHALLENGE, MAX_FIELDS, MIN_LIFETIME

DESCRIPTION = """An inspector's system asks whether a licence is genuine, current and its holder's own. Verdicts rest on
the trust store of this service alone; no registry is asked.

Anybody may ask for a verdict. Records and challenges are for clients: a token is a JSON Web Token that the client signs
with its own key (EdDSA or ES256) for one request: `iss` and `sub` are its name, `aud` is
`verifier of <inspector>`, of the `inspector` in `/status`, unless the operator says otherwise, `exp` is at most 300
seconds after `iat`, and `jti` is new each time."""

_SCHEME = "client"
_NOT_OURS = str(int(HTTPStatus.UNPROCESSABLE_ENTITY))
_SECURED: dict[str, Any] = {"security": [{_SCHEME: []}]}
_MAYBE_SECURED: dict[str, Any] = {"security": [{}, {_SCHEME: []}]}
_COUNT = {"type": "integer", "minimum": 0}
_TIME = {"type": ["integer", "null"], "description": "POSIX seconds."}
_TEXT = {"type": "string"}
_OPTIONAL_TEXT = {"type": ["string", "null"]}
_FLAG = {"type": "boolean"}
_ALWAYS = (common.FAULT,)
_OF_TOKENS = (common.UNAUTHENTICATED, problems.NO_CLIENTS, common.BACK_PRESSURE)
_OF_BODIES = (common.MALFORMED, common.TOO_SLOW, common.TOO_LARGE, common.UNSUPPORTED)


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _answer(description: str, schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _route(
    *problems_: Problem, answers: dict[int | str, dict[str, Any]], extra: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Keyword arguments for a route of FastAPI."""
    responses: dict[int | str, dict[str, Any]] = {**answers, **documented(*problems_, *_ALWAYS)}
    return {"responses": responses, "openapi_extra": extra or {}, "status_code": min(map(int, answers))}


_MESSAGE = {**_object({"zh-Hans": _TEXT, "en": _TEXT}), "description": "The same in both languages."}
_OPTIONAL_MESSAGE = {"oneOf": [{"type": "null"}, _MESSAGE]}
_VERDICT = {
    **_object(
        {
            "outcome": {"enum": ["VALID", "INVALID", "INDETERMINATE"]},
            "at": {"type": "integer", "description": "The time judged for, POSIX seconds."},
            "stale": {**_FLAG, "description": "Whether it rests on data old enough that the inspector must be told."},
            "provisional": _FLAG,
            "credential_digest": {
                "type": ["string", "null"],
                "description": "SHA-256, hexadecimal; null where nothing could be read.",
            },
            "issuer": _OPTIONAL_TEXT,
            "licence_type": _OPTIONAL_TEXT,
            "checks": {
                **_list(
                    _object(
                        {
                            "number": {"type": "integer", "minimum": 0, "maximum": 9},
                            "name": _TEXT,
                            "result": {"enum": ["PASS", "FAIL", "UNKNOWN"]},
                            "reason": {**_TEXT, "description": "A code of specs/verification.md."},
                            "message": _MESSAGE,
                            "age": {
                                "type": ["integer", "null"],
                                "description": "Seconds since the data was made that it rests on.",
                            },
                        }
                    )
                ),
                "minItems": 10,
                "maxItems": 10,
            },
            "remarks": _list(_object({"reason": _TEXT, "message": _MESSAGE})),
        }
    ),
    "description": "As specs/schemas/verdict.schema.json: no field of the licence stands in it.",
}
_LICENCE = _object(
    {
        "type": {**_TEXT, "description": "With its schema version."},
        "name": _OPTIONAL_MESSAGE,
        "issuer": _TEXT,
        "issuer_name": _OPTIONAL_MESSAGE,
        "number": {**_OPTIONAL_TEXT, "description": "null where it is not disclosed."},
        "last_day": {**_OPTIONAL_TEXT, "description": "The last day of its validity; null without an end."},
        "fields": _list(
            _object(
                {
                    "id": _COUNT,
                    "name": _TEXT,
                    "label": _MESSAGE,
                    "kind": {"enum": ["text", "date", "integer", "boolean", "list"]},
                    "value": {"description": "As it stands in the licence; a date is days since 1970-01-01."},
                    "text": {**_TEXT, "description": "The value for people."},
                }
            )
        ),
    }
)
_CODE = "EL1:9DFH8N/2VXMBCMURRLTSBGC0NE06M4HUUGA6%P2P8LX0B699PHQ0R1G6…"
_PURPOSE = {"type": "string", "minLength": 1, "maxLength": PURPOSE_MAX, "description": "Why; a record needs one."}
_OPTIONS: dict[str, dict[str, Any]] = {
    "purpose": _PURPOSE,
    "challenge": {**_TEXT, "maxLength": MAX_CHALLENGE, "description": "The challenge (EC1:…) that was asked."},
    "with_fields": {**_FLAG, "default": False, "description": "Whether the answer shows what the licence says."},
    "record": {**_FLAG, "default": False, "description": "Whether a signed record is filed and answered. For clients."},
    "record_fields": {
        **_FLAG,
        "default": False,
        "description": "Whether the record keeps the licence's fields: personal data.",
    },
}
_SHOWN = {
    "text": {**_TEXT, "description": "The text of a code."},
    "cbor": {
        "type": "string",
        "contentEncoding": "base64",
        "maxLength": LIMITS.presentation_size * 2,
        "description": "A credential or presentation, in place of the text.",
    },
}
_PICTURE = {"schema": {"type": "string", "format": "binary"}}

VERIFY = _route(
    *_OF_BODIES,
    *_OF_TOKENS,
    problems.NO_CODE,
    problems.SEVERAL_CODES,
    problems.UNREADABLE_PICTURE,
    problems.EXHAUSTING_PICTURE,
    problems.NOT_KNOWN,
    problems.NO_DESK,
    common.STORAGE,
    answers={
        200: _answer(
            "The verdict, whatever it is.",
            _object(
                {
                    "verdict": _VERDICT,
                    "decided_by": {**_COUNT, "maximum": 9, "description": "The number of the check that decided."},
                    "licence": {
                        "oneOf": [{"type": "null"}, _LICENCE],
                        "description": "Where it was asked for and a department's signature covers it.",
                    },
                    "record": {
                        "oneOf": [{"type": "null"}, _object({"id": _TEXT, "jwt": _TEXT})],
                        "description": "The record that was filed: specs/verification-record.md.",
                    },
                }
            ),
        )
    },
    extra={
        **_MAYBE_SECURED,
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "schema": schema,
                "description": f"With a picture: {schema['description'][0].lower()}{schema['description'][1:]}",
            }
            for name, schema in _OPTIONS.items()
        ],
        "requestBody": {
            "required": True,
            "description": f"JSON of at most {MAX_BODY:,} bytes, or a picture of at most {ImageLimits().max_size:,} "
            f"bytes and {ImageLimits().max_pixels:,} pixels. With JSON the query is empty.",
            "content": {
                "application/json": {
                    "schema": {
                        **_object({}, {**_SHOWN, **_OPTIONS}),
                        "oneOf": [{"required": ["text"]}, {"required": ["cbor"]}],
                    },
                    "example": {"text": _CODE, "purpose": "年度检查", "with_fields": True},
                },
                "image/png": _PICTURE,
                "image/jpeg": _PICTURE,
            },
        },
    },
)

CHALLENGES = _route(
    *_OF_BODIES,
    *_OF_TOKENS,
    problems.NOT_KNOWN,
    problems.NO_DESK,
    answers={
        200: _answer(
            "The challenge. Nothing of it is remembered: send its text along with what answers it.",
            _object(
                {
                    "challenge": {**_TEXT, "description": "EC1:…"},
                    "inspector": _TEXT,
                    "licence_type": _TEXT,
                    "fields": _list(_COUNT),
                    "expires": {"type": "integer", "description": "POSIX seconds."},
                    "svg": {**_TEXT, "description": "Its QR code as an SVG picture."},
                    "png": {"type": "string", "contentEncoding": "base64", "description": "The same as PNG."},
                }
            ),
        )
    },
    extra={
        **_SECURED,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _object(
                        {
                            "type": {**_TEXT, "description": "The licence type; its highest schema version, or @N."},
                            "purpose": _PURPOSE,
                        },
                        {
                            "fields": {
                                "type": "array",
                                "maxItems": MAX_FIELDS,
                                "items": {"type": ["string", "integer"]},
                                "description": "The fields that must be disclosed, by name or id.",
                            },
                            "lifetime": {
                                "type": "integer",
                                "minimum": MIN_LIFETIME,
                                "maximum": MAX_LIFETIME,
                                "description": "Seconds.",
                            },
                        },
                    ),
                    "example": {
                        "type": "CN-GD/11100000MB99991003002",
                        "purpose": "工地入场核验",
                        "fields": ["holder_name"],
                    },
                }
            },
        },
    },
)

AUTHENTICATION = _route(
    *_OF_TOKENS,
    problems.NO_DESK,
    answers={204: {"description": "The token is that of a client, and used up now."}},
    extra=_SECURED,
)

STATUS = _route(
    answers={
        200: _answer(
            "What verdicts rest on.",
            _object(
                {
                    "home": _TEXT,
                    "at": {"type": "integer", "description": "The time of this service, POSIX seconds."},
                    "clock_floor": {"type": "integer", "description": "It is later than that, POSIX seconds."},
                    "damaged": {**_COUNT, "description": "Objects of the trust store that were left out."},
                    "inspector": {**_OPTIONAL_TEXT, "description": "Who asks and records here; null for nobody."},
                    "regions": _list(
                        _object(
                            {
                                "region": _TEXT,
                                "name": _MESSAGE,
                                "seq": _COUNT,
                                "issued": {"type": "integer", "description": "POSIX seconds; that of the bundle."},
                                "age": {"type": "integer", "description": "Seconds."},
                                "state": {"enum": ["fresh", "refresh_due", "stale", "expired", "hard_stop"]},
                                "logs": _list(
                                    _object(
                                        {
                                            "origin": _TEXT,
                                            "landmarks": _COUNT,
                                            "landmark_end": _COUNT,
                                            "witnessed_time": _TIME,
                                        }
                                    )
                                ),
                                "status_lists": _list(
                                    _object(
                                        {
                                            "uri": _TEXT,
                                            "issuer": _TEXT,
                                            "issued": _TIME,
                                            "age": {"type": ["integer", "null"], "description": "Seconds."},
                                            "expired": _FLAG,
                                        }
                                    )
                                ),
                            }
                        )
                    ),
                    "refresh": {
                        "oneOf": [
                            {"type": "null"},
                            _object(
                                {
                                    "rounds": _COUNT,
                                    "finished": _TIME,
                                    "due": _TIME,
                                    "failing": _FLAG,
                                    "regions": _list(
                                        _object(
                                            {
                                                "region": _TEXT,
                                                "reached": _TIME,
                                                "changed": _TIME,
                                                "problems": _COUNT,
                                            }
                                        )
                                    ),
                                }
                            ),
                        ],
                        "description": "The last refresh; null where another process does that.",
                    },
                }
            ),
        )
    },
)
HEALTH = _route(answers={200: _answer("It answers.", _object({"status": {"const": "ok"}}))})
_READY = _object({"ready": _FLAG, "reasons": _list({"type": "string", "enum": ["no_home_bundle", "no_clients"]})})
READINESS = _route(
    answers={200: _answer("Verdicts can be given.", _READY), 503: _answer("They rest on nothing now.", _READY)}
)
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
