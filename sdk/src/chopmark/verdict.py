"""The answer to one inspection: VALID, INVALID or INDETERMINATE, with every check, its reason and its age.

A verdict has no truth value: `if verdict:` raises, because "not valid" and "cannot tell" are different answers
(`specs/verification.md`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from chopmark.reasons import CHECK_NAMES, Details, Language, sentence

if TYPE_CHECKING:
    from chopmark.cbor import Value
    from chopmark.credential import Credential
    from chopmark.licence_type import LicenceType, LocalisedText
    from chopmark.trust_bundle import TrustBundle


class Outcome(StrEnum):
    """The answer as a whole."""

    VALID = "VALID"
    INVALID = "INVALID"
    INDETERMINATE = "INDETERMINATE"


class Result(StrEnum):
    """The answer of one check."""

    PASS = "PASS"  # noqa: S105 - the word for a check that holds, not a secret
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


class Check(NamedTuple):
    """One numbered check of the recipe.

    `number` is 0–9, `reason` a code of `chopmark.reasons`, `details` fill its sentence, `age` is how old in seconds
    the data is that the check relied on, at the time it was asked about (None where nothing ages).
    """

    number: int
    result: Result
    reason: str
    details: Details | None = None
    age: int | None = None

    def name(self, language: Language = "en") -> str:
        """The check's name, as in the recipe."""
        return CHECK_NAMES[self.number][0 if language == "zh" else 1]

    def message(self, language: Language = "en") -> str:
        """What was found, as one sentence."""
        return sentence(self.reason, language, self.details)


class Remark(NamedTuple):
    """Something the inspector should know that decides no check."""

    reason: str
    details: Details | None = None

    def message(self, language: Language = "en") -> str:
        """The remark as one sentence."""
        return sentence(self.reason, language, self.details)


@dataclass(frozen=True, slots=True)
class ShownField:
    """One field of the licence, with the label that the trust bundle gives it."""

    id: int
    name: str
    label: LocalisedText
    kind: str
    value: Value

    def text(self) -> str:
        """The value for people; a date is days since 1970-01-01 on the wire."""
        if self.kind == "date" and isinstance(self.value, int):
            try:
                return (date(1970, 1, 1) + timedelta(days=self.value)).isoformat()
            except OverflowError:
                return f"{self.value} d"
        if isinstance(self.value, list):
            return ", ".join(str(item) for item in self.value)
        return str(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """The answer to one inspection.

    `checks` are the ten checks in order, `at` the POSIX time judged for, `credential` what was read (None when it
    could not be read; trust its content only as far as the checks passed), `licence_type` and `bundle` what the
    trust store holds about it. `provisional` is true only where the policy asked for that word and nothing but
    the proof of logging is missing; such a verdict is INDETERMINATE.
    """

    outcome: Outcome
    checks: tuple[Check, ...]
    at: int
    remarks: tuple[Remark, ...] = ()
    credential: Credential | None = None
    licence_type: LicenceType | None = None
    bundle: TrustBundle | None = None
    home: TrustBundle | None = None
    shown: Mapping[int, Value] = field(default_factory=dict)
    provisional: bool = False

    def __bool__(self) -> NoReturn:
        raise TypeError("a verdict has no truth value: compare verdict.outcome with Outcome.VALID")

    @property
    def stale(self) -> bool:
        """Whether the answer relies on data old enough that the inspector must be told."""
        return any(remark.reason in {"status_stale", "bundle_stale", "bundle_expired"} for remark in self.remarks)

    @property
    def deciding(self) -> Check:
        """The check that decided: the first FAIL, else the first UNKNOWN that says why, else the last."""
        for wanted in (Result.FAIL, Result.UNKNOWN):
            for check in self.checks:
                if check.result is wanted and check.reason != "not_reached":
                    return check
        return self.checks[-1]

    @property
    def is_attested(self) -> bool:
        """Whether a department signed what is shown: what a broken signature covers is anybody's text, and is not to
        be shown as if a department had said it."""
        return (
            self.credential is not None
            and self.checks[4].result is Result.PASS
            and self.checks[5].result is not Result.FAIL
        )

    def fields(self) -> tuple[ShownField, ...]:
        """The fields shown, in the order of the licence type; empty when the type is not known."""
        if self.licence_type is None:
            return ()
        return tuple(
            ShownField(item.id, item.name, item.label, item.kind, self.shown[item.id])
            for item in self.licence_type.fields
            if item.id in self.shown
        )

    def licence_number(self) -> str | None:
        """The licence number, if it is in clear or rightly disclosed."""
        if self.credential is None or self.checks[5].result is Result.FAIL:
            return None
        return self.credential.disclosed_licence_number()

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON values: no field of the licence, so that it can be filed without personal data."""
        return {
            "outcome": self.outcome.value,
            "at": self.at,
            "stale": self.stale,
            "provisional": self.provisional,
            "credential_digest": self.credential.digest.hex() if self.credential is not None else None,
            "issuer": self.credential.claims.issuer if self.credential is not None else None,
            "licence_type": self.credential.claims.licence_type if self.credential is not None else None,
            "checks": [
                {
                    "number": check.number,
                    "name": check.name("en"),
                    "result": check.result.value,
                    "reason": check.reason,
                    "message": {"zh-Hans": check.message("zh"), "en": check.message("en")},
                    "age": check.age,
                }
                for check in self.checks
            ],
            "remarks": [
                {"reason": remark.reason, "message": {"zh-Hans": remark.message("zh"), "en": remark.message("en")}}
                for remark in self.remarks
            ],
        }
