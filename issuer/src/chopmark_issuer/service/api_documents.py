"""What OpenAPI says of the registry's routes; `chopmark issuer openapi` prints `specs/openapi/issuer.json` from it."""

from __future__ import annotations

from typing import Any, Final

from chopmark_service import problems as common
from chopmark_service.open_api import SECURED, answer, list_schema, object_schema, route
from chopmark_service.operation import ReadinessText

from chopmark_issuer.lifecycle import Act, State
from chopmark_issuer.service import problems
from chopmark_issuer.service.api_requests import MAX_BODY, MAX_LINE, MAX_REVOKED
from chopmark_issuer.service.bulk_stream import MAX_LINES, MEDIA_TYPE
from chopmark_issuer.service.idempotency import HEADER
from chopmark_issuer.service.published_files import STATUS_LIST, TEXT
from chopmark_issuer.service.search import MAX_PAGE

DESCRIPTION = """The licence registry of a region: systems of its departments issue licences, change them and read them.

A token is a JSON Web Token that the client signs with its own key (EdDSA or ES256) for one request: `iss` and `sub` are
its name, `aud` is the code of the region, such as `CN-GD`, `exp` is at most 300 seconds after `iat`, and `jti` is new
each time.

A request that writes has an `Idempotency-Key`: the same request under the same key gets the same answer and changes
nothing twice, for 48 hours. Nothing is answered before it is durable. Its entry then goes to the region's log by
itself."""

_NUMBER: Final = "1.2.156.3005.2.11100000MB03271699001.11440000MB2D0P8Q30.0000001.001.N"
_TYPE: Final = "CN-GD/11100000MB03271699001"
_DIGEST: Final = "5f2c1f0a4f8e2f7c9b1d6a3e8c7b5a4f3e2d1c0b9a8f7e6d5c4b3a2918273645"
_TIME: Final = "2026-11-22T02:00:00Z"
_HOLDER: Final = {"name": "示例餐饮有限公司", "code": "91440101MA5EXAMPL0", "code_kind": "001"}
_OF_TOKENS: Final = (
    common.MALFORMED,
    common.UNAUTHENTICATED,
    common.FORBIDDEN,
    common.BACK_PRESSURE,
    common.STORAGE,
)
_OF_BODIES: Final = (common.TOO_SLOW, common.TOO_LARGE, common.UNSUPPORTED)
_OF_WRITING: Final = (
    *_OF_TOKENS,
    *_OF_BODIES,
    problems.NO_AUTHORITY,
    problems.CONFLICT,
    problems.FIELD,
    problems.REFUSED,
    problems.KEY_REUSED,
    problems.SIGNING,
)
_OF_LICENCES: Final = (*_OF_TOKENS, common.NOT_FOUND, problems.CONFLICT)

_TEXT: Final = {"type": "string", "minLength": 1}
_DAY: Final = {"type": "string", "format": "date"}
_MOMENT: Final = {"type": "string", "format": "date-time"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_HEX: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_LOGGED: Final = {
    "description": "The index of its entry in the region's log; false while the log has not answered.",
    "anyOf": [{"const": False}, _COUNT],
}
_STATE: Final = {"type": "string", "enum": [each.value for each in State]}
_SUPERSEDED_BY: Final = {
    **_TEXT,
    "description": "The number that the licence has now, where the one that was asked for belongs to an earlier "
    "version. `state` is that of the licence; a code with the earlier number is no longer good once the newer version "
    "has begun.",
}
_JWK: Final = {
    "type": "object",
    "description": "A public key as a JSON Web Key: OKP with Ed25519, or EC with P-256.",
    "required": ["kty", "crv", "x"],
}


_LOCALISED: Final = object_schema({"zh-Hans": _TEXT, "en": _TEXT})
_HOLDER_SCHEMA: Final = object_schema({"name": _TEXT}, {"code": _TEXT, "code_kind": _TEXT})
_FIELD_VALUE: Final = {
    "description": "As the kind of the field is: a text, a day (2026-11-22), an integer, a boolean, a list of texts."
}
_FIELDS: Final = {"type": "object", "additionalProperties": _FIELD_VALUE, "maxProperties": 500}
_ISSUED: Final = {
    "number": _TEXT,
    "version": {"type": "integer", "minimum": 1},
    "credentials": list_schema(object_schema({"digest": _HEX, "logged": {"const": False}}), minItems=1),
}
_ACTED: Final = {"number": _TEXT, "state": _STATE}
_DAYS: Final = {"issued_on": _DAY, "first_day": _DAY}
_CREDENTIAL_STATE: Final = object_schema(
    {
        "digest": _HEX,
        "status": {"type": "string", "enum": ["valid", "invalid", "suspended", "superseded"]},
        "logged": _LOGGED,
        "issued_at": _MOMENT,
    },
    {
        "status_list": object_schema({"uri": _TEXT, "index": _COUNT}),
        "holder_key": _JWK,
        "withdrawn_at": _MOMENT,
        "refused_by_log": {"type": "string"},
    },
)
_PROBLEM: Final = {"type": "object", "required": ["status", "code", "detail"]}


def _writing(
    body: dict[str, Any], example: Any, description: str, media_type: str = "application/json"
) -> dict[str, Any]:
    return {
        **SECURED,
        "parameters": [
            {
                "name": HEADER,
                "in": "header",
                "required": True,
                "description": "A new one for each request, and the same when a request is sent again; quotes "
                "around it may be left out.",
                "schema": {"type": "string", "pattern": r"^[!#-\[\]-~]{1,128}$"},
                "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
            }
        ],
        "requestBody": {
            "required": True,
            "description": description,
            "content": {media_type: {"schema": body, "example": example}},
        },
    }


_NEW_LICENCE: Final = object_schema(
    {
        "type": _TEXT,
        "fields": _FIELDS,
        "holders": list_schema(_HOLDER_SCHEMA, minItems=1, maxItems=100),
        "first_day": _DAY,
    },
    {
        "last_day": {**_DAY, "description": "The last day it is valid; no end if left out."},
        "holder_keys": list_schema(_JWK, maxItems=32),
        "serial": {**_TEXT, "description": "Where the type is numbered by GB/T 36904; drawn if left out."},
        "number": {**_TEXT, "description": "Where the type has no numbering: the department gives it."},
        "issued_on": {**_DAY, "description": "Today if left out."},
    },
)
_NEW_EXAMPLE: Final = {
    "type": _TYPE,
    "fields": {"business_name": "示例餐饮有限公司", "seats": 40},
    "holders": [_HOLDER],
    "first_day": "2026-11-22",
    "last_day": "2031-11-21",
}
_CHANGED_FIELDS: Final = {
    **_FIELDS,
    "description": "The fields that change; null leaves one out from now on, others stay.",
}
_AMENDED: Final = {
    "fields": _CHANGED_FIELDS,
    "holders": list_schema(_HOLDER_SCHEMA, minItems=1, maxItems=100),
    "holder_keys": list_schema(_JWK, maxItems=32),
    "issued_on": _DAY,
}
_ACT_BODY: Final = {
    "effective_from": {
        **_TEXT,
        "description": "From when it has effect, if not from now: a day (its beginning, in the type's zone) or a time.",
    },
    "reason": {**_TEXT, "maxLength": 500, "description": "Why; kept in the registry, not published."},
}
_ISSUED_EXAMPLE: Final = {"number": _NUMBER, "version": 1, "credentials": [{"digest": _DIGEST, "logged": False}]}
_CREATED: Final = {
    **answer("It is durable, and on its way to the log.", object_schema(_ISSUED), example=_ISSUED_EXAMPLE),
    "headers": {"Location": {"description": "Where the licence is read.", "schema": {"type": "string"}}},
}

ISSUE: Final = route(
    *_OF_WRITING,
    common.NOT_FOUND,
    answers={201: _CREATED},
    extra=_writing(_NEW_LICENCE, _NEW_EXAMPLE, f"The licence, at most {MAX_BODY:,} bytes."),
)

_LINES: Final = {
    "type": "string",
    "description": "A JSON object a line: `line` counts from 1, `status` is what the line alone would have been "
    "answered with; with 201 the members of a single answer, else `problem`. A last line with `ends` tells why the "
    "stream ended before its end: send it again from its beginning, under the same key.",
}
_LINES_EXAMPLE: Final = (
    f'{{"line":1,"status":201,"number":"{_NUMBER}","version":1,'
    f'"credentials":[{{"digest":"{_DIGEST}","logged":false}}]}}\n'
    '{"line":2,"status":422,"problem":{"type":"about:blank","title":"Unprocessable Entity","status":422,'
    '"code":"field","detail":"field business_name: the value is missing"}}\n'
)
ISSUE_MANY: Final = route(
    *_OF_TOKENS,
    common.UNSUPPORTED,
    answers={200: answer("A line for each line.", _LINES, MEDIA_TYPE, _LINES_EXAMPLE)},
    extra=_writing(
        {"type": "string"},
        '{"type":"CN-GD/…","fields":{…},"holders":[{"name":"…"}],"first_day":"2026-11-22"}\n',
        f"Up to {MAX_LINES:,} lines, each a licence as in `POST /licences`, of at most {MAX_LINE:,} bytes.",
        MEDIA_TYPE,
    ),
)
REVOKE_MANY: Final = route(
    *_OF_TOKENS,
    *_OF_BODIES,
    answers={
        200: answer(
            "A line for each number, in their order.",
            _LINES,
            MEDIA_TYPE,
            f'{{"line":1,"status":200,"number":"{_NUMBER}","state":"revoked"}}\n',
        )
    },
    extra=_writing(
        object_schema(
            {"numbers": list_schema({**_TEXT, "maxLength": 200}, minItems=1, maxItems=MAX_REVOKED)},
            {**_ACT_BODY, "type": {**_TEXT, "description": "Where licences of several types have those numbers."}},
        ),
        {"numbers": [_NUMBER], "reason": "the inspection of 2026-11-20"},
        "The numbers, and one reason for all.",
    ),
)
RENEW: Final = route(
    *_OF_WRITING,
    common.NOT_FOUND,
    problems.STATE,
    answers={201: _CREATED},
    extra=_writing(
        object_schema(
            {
                "first_day": _DAY,
                "last_day": {
                    "type": ["string", "null"],
                    "format": "date",
                    "description": "The last day of the new term; null for a licence without an end.",
                },
            },
            _AMENDED,
        ),
        {"first_day": "2031-11-22", "last_day": "2036-11-21"},
        "The new term, and what changes with it.",
    ),
)
CHANGE: Final = route(
    *_OF_WRITING,
    common.NOT_FOUND,
    problems.STATE,
    answers={201: _CREATED},
    extra=_writing(
        object_schema({}, {"first_day": _DAY, "last_day": _DAY, **_AMENDED}),
        {"fields": {"seats": 60}},
        "What changes; the rest stays.",
    ),
)

ACT_SUMMARIES: Final = {
    Act.SUSPEND: "Suspend a licence, until it is returned.",
    Act.RETURN: "Return a suspended licence.",
    Act.REVOKE: "Revoke a licence as a penalty.",
    Act.WITHDRAW: "Withdraw a licence: void from now on.",
    Act.ANNUL: "Annul a licence: void from the beginning.",
    Act.CLOSE: "Close a licence for good.",
}
_REACHED: Final = {
    Act.SUSPEND: State.SUSPENDED,
    Act.RETURN: State.VALID,
    Act.REVOKE: State.REVOKED,
    Act.WITHDRAW: State.WITHDRAWN,
    Act.ANNUL: State.ANNULLED,
    Act.CLOSE: State.CLOSED,
}


def act(kind: Act) -> dict[str, Any]:
    """Keyword arguments for the route of an act."""
    return route(
        *_OF_WRITING,
        common.NOT_FOUND,
        problems.STATE,
        answers={
            200: answer(
                "It is durable; the status list is published within seconds.",
                object_schema(_ACTED),
                example={"number": _NUMBER, "state": _REACHED[kind].value},
            )
        },
        extra=_writing(
            object_schema({}, _ACT_BODY), {"reason": "the inspection of 2026-11-20"}, "`{}`, or when and why."
        ),
    )


_TYPE_SCHEMA: Final = object_schema(
    {
        "id": _TEXT,
        "schema": {"type": "integer", "minimum": 1},
        "name": _LOCALISED,
        "fields": list_schema(
            object_schema(
                {
                    "name": _TEXT,
                    "label": _LOCALISED,
                    "kind": {"enum": ["text", "date", "integer", "boolean", "list"]},
                    "required": {"type": "boolean"},
                    "disclosure": {"enum": ["always", "selective"]},
                },
                {"max_length": _COUNT},
            )
        ),
        "holder": {"enum": ["bound", "bearer"], "description": "Whether a licence names the keys of its holders."},
        "numbering": {"type": "string", "description": "`GB/T 36904`, or another: the department gives the number."},
        "zone": _TEXT,
        "freshness": {"enum": ["safety", "trade"]},
        "status": {"type": "boolean", "description": "Whether its credentials stand in a status list."},
        "granted": {"type": "boolean", "description": "Whether this client may issue it now."},
    }
)
TYPES: Final = route(
    *_OF_TOKENS, answers={200: answer("The types.", object_schema({"types": list_schema(_TYPE_SCHEMA)}))}, extra=SECURED
)
TYPE: Final = route(*_OF_TOKENS, common.NOT_FOUND, answers={200: answer("The type.", _TYPE_SCHEMA)}, extra=SECURED)
_FOUND: Final = answer(
    "Licences in the order they were entered; `next` is the `after` of the next page, if there may be one.",
    object_schema(
        {
            "licences": list_schema(
                object_schema(
                    {
                        "number": _TEXT,
                        "type": _TEXT,
                        "state": _STATE,
                        "version": {"type": "integer", "minimum": 1},
                        **_DAYS,
                        "holders": list_schema(_HOLDER_SCHEMA),
                    },
                    {"last_day": _DAY},
                )
            )
        },
        {"next": {"type": "string"}},
    ),
    example={
        "licences": [
            {
                "number": _NUMBER,
                "type": _TYPE,
                "state": "valid",
                "version": 1,
                "issued_on": "2026-11-22",
                "first_day": "2026-11-22",
                "holders": [_HOLDER],
            }
        ],
        "next": "4711",
    },
)
SEARCH: Final = route(*_OF_TOKENS, answers={200: _FOUND}, extra=SECURED)
SEARCH_HOLDERS: Final = route(
    *_OF_TOKENS,
    *_OF_BODIES,
    problems.REFUSED,
    answers={200: _FOUND},
    extra={
        **SECURED,
        "requestBody": {
            "description": "What is said has to hold together; `{}` finds all.",
            "required": True,
            "content": {
                "application/json": {
                    "schema": object_schema(
                        {},
                        {
                            "number": {**_TEXT, "maxLength": 200},
                            "holder_code": {**_TEXT, "maxLength": 500, "description": "In full."},
                            "holder_name": {
                                "type": "string",
                                "minLength": 2,
                                "maxLength": 500,
                                "description": "The beginning of it.",
                            },
                            "state": _STATE,
                            "type": {**_TEXT, "maxLength": 100},
                            "after": {
                                "type": "string",
                                "pattern": "^[0-9]{1,18}$",
                                "description": "`next` of the page before.",
                            },
                            "limit": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 50},
                        },
                    ),
                    "example": {"holder_code": "91440101MA5EXAMPL0", "state": "valid"},
                }
            },
        },
    },
)
LICENCE: Final = route(
    *_OF_LICENCES,
    answers={
        200: answer(
            "The licence.",
            object_schema(
                {
                    "number": _TEXT,
                    "type": _TEXT,
                    "schema": {"type": "integer", "minimum": 1},
                    "state": _STATE,
                    "version": {"type": "integer", "minimum": 1},
                    **_DAYS,
                    "holders": list_schema(_HOLDER_SCHEMA),
                    "fields": _FIELDS,
                    "credentials": list_schema(_CREDENTIAL_STATE),
                },
                {"last_day": _DAY, "supersedes": _TEXT, "superseded_by": _SUPERSEDED_BY},
            ),
        )
    },
    extra=SECURED,
)
HISTORY: Final = route(
    *_OF_LICENCES,
    problems.FIELD,
    answers={
        200: answer(
            "Its versions and acts, oldest first; `as_of` where a day or moment was named: no `state` where the "
            "licence had not begun then, or was not known.",
            object_schema(
                {
                    "number": _TEXT,
                    "versions": list_schema(
                        object_schema(
                            {
                                "version": {"type": "integer", "minimum": 1},
                                "number": _TEXT,
                                **_DAYS,
                                "recorded_at": _MOMENT,
                            },
                            {"last_day": _DAY, "supersedes": _TEXT},
                        )
                    ),
                    "acts": list_schema(
                        object_schema(
                            {
                                "act": {"enum": [each.value for each in Act]},
                                "version": {"type": "integer", "minimum": 1},
                                "learned_at": _MOMENT,
                                "effective_from": _MOMENT,
                            },
                            {"reason": {"type": "string"}},
                        )
                    ),
                },
                {"as_of": object_schema({"at": _MOMENT, "known_at": _MOMENT}, {"state": _STATE, "version": _COUNT})},
            ),
            example={
                "number": _NUMBER,
                "versions": [
                    {
                        "version": 1,
                        "number": _NUMBER,
                        "issued_on": "2026-11-22",
                        "first_day": "2026-11-22",
                        "recorded_at": _TIME,
                    }
                ],
                "acts": [{"act": "issue", "version": 1, "learned_at": _TIME, "effective_from": _TIME}],
                "as_of": {"at": _TIME, "known_at": _TIME, "state": "valid", "version": 1},
            },
        )
    },
    extra=SECURED,
)
STATUS: Final = route(
    *_OF_LICENCES,
    answers={
        200: answer(
            "Where it stands, and what its status list is to show of each credential.",
            object_schema(
                {
                    "number": _TEXT,
                    "state": _STATE,
                    "version": {"type": "integer", "minimum": 1},
                    "credentials": list_schema(_CREDENTIAL_STATE),
                },
                {"superseded_by": _SUPERSEDED_BY},
            ),
        )
    },
    extra=SECURED,
)


def _proven(description: str, media_type: str) -> dict[str, Any]:
    waiting = object_schema(
        {
            "digest": _HEX,
            "state": {"enum": ["waits_for_log", "waits_for_publication", "waits_for_landmark"]},
        }
    )
    return route(
        *_OF_LICENCES,
        problems.REFUSED,
        problems.LOG_UNAVAILABLE,
        answers={
            200: answer(description, {}, media_type),
            202: answer(
                "It is not there yet: ask again later.", waiting, example={"digest": _DIGEST, "state": "waits_for_log"}
            ),
        },
        extra=SECURED,
    )


CREDENTIAL: Final = _proven("The credential: SD-CWT with all disclosures and proofs.", "application/cwt")
QR_PNG: Final = _proven("The picture.", "image/png")
QR_SVG: Final = _proven("The picture, one unit a module.", "image/svg+xml")


def _file(description: str, *media_types: str, parameters: tuple[str, ...] = ()) -> dict[str, Any]:
    content: dict[str, Any] = {
        each: {"schema": {"type": "string"} if each.startswith("text/") else {}} for each in media_types
    }
    declared = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parameters]
    return route(
        common.NOT_FOUND,
        answers={
            200: {"description": description, "content": content},
            206: {"description": "The range of it that was asked for.", "content": content},
            304: {"description": "It is still the one of If-None-Match."},
            416: {"description": "It has no such range."},
        },
        extra={"parameters": declared} if declared else {},
    )


_BYTES: Final = "application/octet-stream"
TEXT_FILE: Final = _file("The file, as `specs/trust-store.md` lays it out.", TEXT)
ROOT_FILE: Final = _file("The root epoch; it never changes.", TEXT, parameters=("name",))
LANDMARK_FILE: Final = _file("It only grows: fetch it by range.", _BYTES, TEXT, parameters=("region", "name"))
STATUS_FILE: Final = _file("The status list, or its proof.", STATUS_LIST, TEXT, parameters=("name",))

OF_TOKEN_CHECK: Final = (common.UNAUTHENTICATED, common.BACK_PRESSURE, common.STORAGE)
READINESS: Final = ReadinessText(
    "Whether it takes requests. A log that is away does not keep it from that, and is told.",
    "It takes requests.",
    "It takes none now.",
    ("stopping",),
    ("log_away", "not_published"),
)
