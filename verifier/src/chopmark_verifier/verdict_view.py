"""A verdict as the page shows it: words instead of codes, in one language, nothing left to decide for a template."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chopmark.cli.plain_text import plain
from chopmark.licence_type import LocalisedText
from chopmark.reasons import Language, duration
from chopmark.strict import time_encode
from chopmark.trust_bundle import TrustBundle
from chopmark.validity import calendar_day
from chopmark.verdict import Outcome, Result, Verdict

from chopmark_verifier.next_steps import next_step

_COPY = frozenset({"copy"})
_WORDS: dict[Language, dict[str, str]] = {
    "zh": {"valid": "有效", "invalid": "无效", "indeterminate": "无法判定", "copy": "这是副本"},
    "en": {"valid": "Valid", "invalid": "Invalid", "indeterminate": "Cannot tell", "copy": "A copy"},
}
_A_COPY: dict[Language, str] = {
    "zh": "无法判定：不能证明是持有人本人在出示",
    "en": "Cannot tell: nothing shows that its holder is the one who shows it",
}
_HEADLINES: dict[str, tuple[str, str]] = {
    "not_a_licence_code": ("这不是电子证照码，或码已损坏", "This is no licence code, or a damaged one"),
    "malformed": ("码中的内容不是完好的证照", "What the code holds is no sound licence"),
    "disclosure_mismatch": ("披露的内容与签名不一致", "What is disclosed is not what was signed"),
    "log_path_wrong": ("登记证明不符", "The proof does not lead to the log"),
}
"""Of reasons whose sentence goes into detail: that stands with the check."""
_NO_RESTRICTION = frozenset({"", "无", "none", "无/none"})
"""What issuers write where nothing is restricted."""
_SKIPPED = "skipped"
_RESULTS: dict[Language, dict[Result, str]] = {
    "zh": {Result.PASS: "通过", Result.FAIL: "不通过", Result.UNKNOWN: "无法确认"},
    "en": {Result.PASS: "passed", Result.FAIL: "failed", Result.UNKNOWN: "not known"},
}


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that the licence says: its label, and the value for people."""

    label: str
    value: str
    restricts: bool = False


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One of the ten checks; `mark` is pass, fail, unknown, or skipped where an earlier one stopped the reading."""

    number: int
    mark: str
    result: str
    name: str
    message: str
    age: str


@dataclass(frozen=True, slots=True)
class Basis:
    """Something that the verdict rests on, and how old it is; `moment` is an RFC 3339 time."""

    what: str
    moment: str
    age: str


@dataclass(frozen=True, slots=True)
class VerdictView:
    """What the page shows. `kind` is valid, invalid, indeterminate or copy: colour, icon and word go by it."""

    kind: str
    outcome: str
    word: str
    sentence: str
    step: str
    remarks: tuple[str, ...]
    title: str
    facts: tuple[Fact, ...]
    checks: tuple[CheckRow, ...]
    passed: int
    judged: str
    bases: tuple[Basis, ...]


def verdict_view(verdict: Verdict, language: Language) -> VerdictView:
    """Put a verdict into the words of one language."""
    deciding = verdict.deciding
    is_copy = verdict.outcome is not Outcome.VALID and deciding.reason in _COPY
    kind = "copy" if is_copy else verdict.outcome.value.lower()
    known = verdict.licence_type if verdict.is_attested else None
    return VerdictView(
        kind,
        verdict.outcome.value,
        _WORDS[language][kind],
        _sentence(verdict, language, is_copy=is_copy),
        next_step(verdict, language),
        tuple(plain(remark.message(language)) for remark in verdict.remarks),
        plain(_in(known.name, language)) if known is not None else "",
        tuple(_facts(verdict, language)),
        tuple(
            CheckRow(
                check.number,
                _SKIPPED if check.reason == "not_reached" else check.result.value.lower(),
                "" if check.reason == "not_reached" else _RESULTS[language][check.result],
                check.name(language),
                plain(check.message(language)),
                duration(check.age, language) if check.age is not None and check.age >= 0 else "",
            )
            for check in verdict.checks
        ),
        sum(check.result is Result.PASS for check in verdict.checks),
        time_encode(verdict.at),
        tuple(_bases(verdict, language)),
    )


def _sentence(verdict: Verdict, language: Language, *, is_copy: bool) -> str:
    if verdict.outcome is Outcome.VALID:
        return ""
    if is_copy:
        return _A_COPY[language]
    deciding = verdict.deciding
    if deciding.reason in _HEADLINES:
        return _HEADLINES[deciding.reason][0 if language == "zh" else 1]
    message = plain(deciding.message(language))
    return message[:1].upper() + message[1:]


def _facts(verdict: Verdict, language: Language) -> Iterator[Fact]:
    credential = verdict.credential
    if credential is None or not verdict.is_attested:
        return
    chinese = language == "zh"
    restricting = {field.id for field in verdict.licence_type.fields if field.restricts} if verdict.licence_type else ()
    for shown in verdict.fields():
        text = "、".join(map(str, shown.value)) if chinese and isinstance(shown.value, list) else shown.text()
        restricts = shown.id in restricting and text.strip().lower() not in _NO_RESTRICTION
        yield Fact(plain(_in(shown.label, language)), plain(text), restricts)
    ends = credential.claims.expires
    no_end = "长期" if chinese else "without an end"
    last_day = no_end if ends is None else calendar_day(ends - 1, verdict.licence_type)
    yield Fact("有效期至" if chinese else "Valid until", last_day)
    undisclosed = "未披露" if chinese else "not disclosed"
    yield Fact("证照编号" if chinese else "Licence number", plain(verdict.licence_number() or undisclosed))
    issuer = verdict.bundle.issuer(credential.claims.issuer) if verdict.bundle is not None else None
    name = _in(issuer.name, language) if issuer is not None else credential.claims.issuer
    yield Fact("发证机关" if chinese else "Issued by", plain(name))


def _bases(verdict: Verdict, language: Language) -> Iterator[Basis]:
    seen: set[str] = set()
    for bundle in (verdict.bundle, verdict.home):
        if bundle is None or bundle.region in seen:
            continue
        seen.add(bundle.region)
        yield Basis(
            _bundle_name(bundle, language), time_encode(bundle.issued), _age(verdict.at - bundle.issued, language)
        )
    status = verdict.checks[9]
    if status.age is not None:
        what = "状态名单" if language == "zh" else "Status list"
        yield Basis(what, time_encode(verdict.at - status.age), _age(status.age, language))


def _bundle_name(bundle: TrustBundle, language: Language) -> str:
    region = _in(bundle.contents.name, language)
    return f"{region}的信任清单" if language == "zh" else f"Trust bundle of {region}"


def _age(seconds: int, language: Language) -> str:
    return duration(max(seconds, 0), language)


def _in(text: LocalisedText, language: Language) -> str:
    return text.zh_hans if language == "zh" else text.en
