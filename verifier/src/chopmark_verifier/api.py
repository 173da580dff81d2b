"""What OpenAPI says of the verifier's routes; `specs/openapi/verifier.json` is made from it by
`chopmark verifier openapi`. The routes of the page are no interface of programs, and do not stand there.
"""

from __future__ import annotations

from typing import Any

from chopmark.challenge import MAX_LIFETIME
from chopmark.limits import LIMITS
from chopmark.verification_record import PURPOSE_MAX
from chopmark_service import problems as common
from chopmark_service.open_api import SCHEME, SECURED, answer, list_schema, object_schema, route
from chopmark_service.operation import ReadinessText

from chopmark_verifier import problems
from chopmark_verifier.image_pool import ImageLimits
from chopmark_verifier.verify_requests import MAX_BODY, MAX_CHALLENGE, MAX_FIELDS, MIN_LIFETIME

DESCRIPTION = """An inspector's system asks whether a licence is genuine, current and its holder's own. Verdicts rest on
the trust store of this service alone; no registry is asked.

Anybody may ask for a verdict. Records and challenges are for clients: a token is a JSON Web Token that the client signs
with its own key (EdDSA or ES256) for one request: `iss` and `sub` are its name, `aud` is
`verifier of <inspector>`, of the `inspector` in `/status`, unless the operator says otherwise, `exp` is at most 300
seconds after `iat`, and `jti` is new each time."""

_MAYBE_SECURED: dict[str, Any] = {"security": [{}, {SCHEME: []}]}
_COUNT = {"type": "integer", "minimum": 0}
_TIME = {"type": ["integer", "null"], "description": "POSIX seconds."}
_TEXT = {"type": "string"}
_OPTIONAL_TEXT = {"type": ["string", "null"]}
_FLAG = {"type": "boolean"}
_OF_TOKENS = (common.UNAUTHENTICATED, problems.NO_CLIENTS, common.BACK_PRESSURE)
OF_TOKEN_CHECK = (*_OF_TOKENS, problems.NO_DESK)
_OF_BODIES = (common.MALFORMED, common.TOO_SLOW, common.TOO_LARGE, common.UNSUPPORTED)


_MESSAGE = {**object_schema({"zh-Hans": _TEXT, "en": _TEXT}), "description": "The same in both languages."}
_OPTIONAL_MESSAGE = {"oneOf": [{"type": "null"}, _MESSAGE]}
_VERDICT = {
    **object_schema(
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
                **list_schema(
                    object_schema(
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
            "remarks": list_schema(object_schema({"reason": _TEXT, "message": _MESSAGE})),
        }
    ),
    "description": "As specs/schemas/verdict.schema.json: no field of the licence stands in it.",
}
_LICENCE = object_schema(
    {
        "type": {**_TEXT, "description": "With its schema version."},
        "name": _OPTIONAL_MESSAGE,
        "issuer": _TEXT,
        "issuer_name": _OPTIONAL_MESSAGE,
        "number": {**_OPTIONAL_TEXT, "description": "null where it is not disclosed."},
        "last_day": {**_OPTIONAL_TEXT, "description": "The last day of its validity; null without an end."},
        "fields": list_schema(
            object_schema(
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

VERIFY = route(
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
        200: answer(
            "The verdict, whatever it is.",
            object_schema(
                {
                    "verdict": _VERDICT,
                    "decided_by": {**_COUNT, "maximum": 9, "description": "The number of the check that decided."},
                    "licence": {
                        "oneOf": [{"type": "null"}, _LICENCE],
                        "description": "Where it was asked for and a department's signature covers it.",
                    },
                    "record": {
                        "oneOf": [{"type": "null"}, object_schema({"id": _TEXT, "jwt": _TEXT})],
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
                        **object_schema({}, {**_SHOWN, **_OPTIONS}),
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

CHALLENGES = route(
    *_OF_BODIES,
    *_OF_TOKENS,
    problems.NOT_KNOWN,
    problems.NO_DESK,
    answers={
        200: answer(
            "The challenge. Nothing of it is remembered: send its text along with what answers it.",
            object_schema(
                {
                    "challenge": {**_TEXT, "description": "EC1:…"},
                    "inspector": _TEXT,
                    "licence_type": _TEXT,
                    "fields": list_schema(_COUNT),
                    "expires": {"type": "integer", "description": "POSIX seconds."},
                    "svg": {**_TEXT, "description": "Its QR code as an SVG picture."},
                    "png": {"type": "string", "contentEncoding": "base64", "description": "The same as PNG."},
                }
            ),
        )
    },
    extra={
        **SECURED,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": object_schema(
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

STATUS = route(
    answers={
        200: answer(
            "What verdicts rest on.",
            object_schema(
                {
                    "home": _TEXT,
                    "at": {"type": "integer", "description": "The time of this service, POSIX seconds."},
                    "clock_floor": {"type": "integer", "description": "It is later than that, POSIX seconds."},
                    "damaged": {**_COUNT, "description": "Objects of the trust store that were left out."},
                    "inspector": {**_OPTIONAL_TEXT, "description": "Who asks and records here; null for nobody."},
                    "regions": list_schema(
                        object_schema(
                            {
                                "region": _TEXT,
                                "name": _MESSAGE,
                                "seq": _COUNT,
                                "issued": {"type": "integer", "description": "POSIX seconds; that of the bundle."},
                                "age": {"type": "integer", "description": "Seconds."},
                                "state": {"enum": ["fresh", "refresh_due", "stale", "expired", "hard_stop"]},
                                "logs": list_schema(
                                    object_schema(
                                        {
                                            "origin": _TEXT,
                                            "landmarks": _COUNT,
                                            "landmark_end": _COUNT,
                                            "witnessed_time": _TIME,
                                        }
                                    )
                                ),
                                "status_lists": list_schema(
                                    object_schema(
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
                            object_schema(
                                {
                                    "rounds": _COUNT,
                                    "finished": _TIME,
                                    "due": _TIME,
                                    "failing": _FLAG,
                                    "regions": list_schema(
                                        object_schema(
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
READINESS = ReadinessText(
    "Whether there is a home bundle that verdicts can rest on.",
    "Verdicts can be given.",
    "They rest on nothing now.",
    ("no_home_bundle", "no_clients"),
)
