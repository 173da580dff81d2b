"""A verdict as JSON text: what `json.dumps(verdict.to_json())` writes, in a third of the time.

Of ten checks most are found the same way in every verdict, and their two sentences with them: such a check is written
once and kept, up to where its age stands.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from chopmark.verdict import Check, Result, Verdict


def dumps(value: Any) -> str:
    """JSON in the form that the service answers: compact, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def verdict_json(verdict: Verdict) -> str:
    """Write `verdict.to_json()`."""
    checks = ",".join(
        [
            f"{_up_to_age(check.number, check.result, check.reason)}{'null' if check.age is None else check.age}}}"
            if check.details is None
            else dumps(check_json(check))
            for check in verdict.checks
        ]
    )
    credential = verdict.credential
    digest, issuer, licence_type = "null", "null", "null"
    if credential is not None:
        digest = f'"{credential.digest.hex()}"'
        issuer, licence_type = dumps(credential.claims.issuer), dumps(credential.claims.licence_type)
    remarks = [
        {"reason": remark.reason, "message": {"zh-Hans": remark.message("zh"), "en": remark.message("en")}}
        for remark in verdict.remarks
    ]
    return (
        f'{{"outcome":"{verdict.outcome.value}","at":{verdict.at},"stale":{_flag(verdict.stale)},'
        f'"provisional":{_flag(verdict.provisional)},"credential_digest":{digest},"issuer":{issuer},'
        f'"licence_type":{licence_type},"checks":[{checks}],"remarks":{dumps(remarks) if remarks else "[]"}}}'
    )


def check_json(check: Check) -> dict[str, Any]:
    """A check as JSON values, as it stands in `Verdict.to_json`."""
    return {
        "number": check.number,
        "name": check.name("en"),
        "result": check.result.value,
        "reason": check.reason,
        "message": {"zh-Hans": check.message("zh"), "en": check.message("en")},
        "age": check.age,
    }


@lru_cache(maxsize=1024)  # ten checks, three results, a hundred reasons: what is impossible of it never comes
def _up_to_age(number: int, result: Result, reason: str) -> str:
    return dumps(check_json(Check(number, result, reason))).removesuffix("null}")


def _flag(value: bool) -> str:
    return "true" if value else "false"
