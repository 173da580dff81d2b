"""What a check found, as a stable code and a sentence in Chinese and English.

A code never changes its meaning; sentences may be reworded. `{name}` stands for a detail of the check.
What a reader of formats says of a damaged one is a detail in English, for programs: no Chinese sentence has it.
`specs/verification.md` lists them beside the checks that give them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Language = Literal["zh", "en"]

CHECK_NAMES: tuple[tuple[str, str], ...] = (
    ("解码", "decode"),
    ("解析", "parse"),
    ("持有人证明", "holder proof"),
    ("发证密钥", "issuer key"),
    ("发证签名", "issuer signature"),
    ("披露内容", "disclosures"),
    ("已登记", "logged"),
    ("发证权限", "authority"),
    ("有效期", "validity"),
    ("状态", "status"),
)
"""The ten checks of the recipe, by number."""

REASONS: dict[str, tuple[str, str]] = {
    # Any check
    "not_reached": ("前面的检查未通过，未能检查此项", "not reached: an earlier check stopped the reading"),
    "clock_below_floor": (
        "本机时钟早于已见证的时间 {floor}，请校准时钟",
        "this device's clock is behind a witnessed time, {floor}; set the clock",
    ),
    # 0 decode
    "decoded": ("二维码内容可解码", "the code decodes"),
    "not_a_licence_code": ("不是电子证照码", "not a licence code: {problem}"),
    "newer_code_version": ("证照码版本较新，请更新本程序", "a newer version of licence code; update this program"),
    # 1 parse
    "parsed": ("格式正确", "well formed"),
    "malformed": ("格式错误", "malformed: {problem}"),
    "unknown_claim": ("含有本程序不认识的内容", "has content this program does not know: {names}"),
    # 2 holder proof
    "holder_proved": ("持有人刚刚用其密钥签名", "the holder's key signed just now"),
    "challenge_answered": ("持有人当场回应了本次查验", "the holder answered this very inspection"),
    "bearer": ("不记名证照，出示即可", "a bearer licence: no proof by the holder is needed"),
    "paper_compare_identity": ("纸质件：请核对身份证件", "the paper form: compare the identity document"),
    "copy": ("这是副本，不是本人出示：请对方打开动态码", "a copy: ask for the living code"),
    "bearer_form_of_bound_licence": (
        "此类证照须由本人出示，此件却不含持有人密钥",
        "this kind of licence is bound to its holder, yet this credential names no holder key",
    ),
    "holder_signature_wrong": ("持有人签名不符", "the holder's signature does not verify"),
    "presentation_too_old": (
        "此码生成于 {age} 秒前，超过 {limit} 秒：请对方打开动态码",
        "this code was made {age} s ago, more than {limit} s: ask for the living code",
    ),
    "presentation_ahead": (
        "此码的时间比现在晚 {ahead} 秒，请核对双方时钟",
        "this code is dated {ahead} s ahead; compare the clocks",
    ),
    "replayed": ("此码刚刚已出示过：请对方打开新的动态码", "this very code was shown moments ago: ask for a new one"),
    "replay_cache_full": ("近期查验过多，无法排除重放", "too many recent inspections to rule out a replay"),
    "challenge_not_answered": ("未回应本次查验的提问", "it does not answer the challenge of this inspection"),
    "challenge_expired": ("本次查验的提问已过期", "the challenge of this inspection has expired"),
    "challenge_for_another_type": ("提问针对的是另一类证照", "the challenge asked for another type of licence"),
    "challenge_malformed": ("提问格式错误", "the challenge is malformed: {problem}"),
    "challenge_required": (
        "此类证照须当场提问并由持有人回应",
        "this type demands a challenge, answered on the spot",
    ),
    "meant_for_another": ("此码是出示给另一查验者的", "this code was made for another inspector"),
    # 3 issuer key
    "key_known": ("发证机关密钥在信任清单中", "the issuer's key is in the trust bundle"),
    "region_unknown": (
        "信任库中没有地区 {region}，请更新信任库",
        "the trust store holds no bundle of the region {region}; bring it up to date",
    ),
    "peer_closed": ("与地区 {region} 的互认不在有效期内", "the peering with the region {region} is not in force"),
    "issuer_unknown": ("信任清单中没有此发证机关 {issuer}", "no such issuer in the trust bundle: {issuer}"),
    "key_unknown": ("信任清单中没有此密钥 {kid}", "no such key of this issuer in the trust bundle: {kid}"),
    "bundle_older_than_licence": (
        "信任清单早于此证照，请更新信任库",
        "the trust bundle is older than this licence; refresh the trust store",
    ),
    "key_of_another_use": ("此密钥不是用于签发证照的", "this key is not one that signs licences"),
    # 4 issuer signature
    "signature_verifies": ("发证机关签名正确", "the issuer's signature verifies"),
    "signature_wrong": (
        "发证机关签名不符：内容被改动或系伪造",
        "the issuer's signature does not verify: changed or forged",
    ),
    # 5 disclosures
    "disclosures_match": ("披露内容与签名一致", "what is disclosed is what was signed"),
    "disclosure_mismatch": ("披露内容与签名不一致", "a disclosure is not what was signed: {problem}"),
    "type_unknown": ("信任清单中没有此证照类型 {type}", "no such licence type in the trust bundle: {type}"),
    "field_unknown": ("此类证照没有字段 {field}", "this type has no field {field}"),
    "field_must_be_shown": (
        "字段 {field} 必须始终显示，却被隐藏或缺失",
        "the field {field} must always be shown, and is hidden or missing",
    ),
    "field_of_wrong_kind": ("字段 {field} 的内容类型不符", "the field {field} is not of its kind"),
    "number_must_be_shown": ("证照编号必须显示", "the licence number must be shown"),
    # 6 logged
    "logged": ("已登记入账，序号 {index}", "in the log, entry {index}"),
    "not_shown_logged": ("未附登记证明，无法确认已入账", "carries no proof that it was logged"),
    "landmark_unknown": ("信任库中尚无对应的里程碑，请更新", "its landmark is not in the trust store; refresh it"),
    "log_unknown": ("登记账本不属于发证地区", "the log it names is not one of the issuer's region"),
    "log_not_accepted": (
        "本地区尚未认可账本 {log}，请更新信任库",
        "the home region does not accept the log {log} yet; refresh the trust store",
    ),
    "log_path_wrong": ("登记证明不符", "the proof does not lead to the log: {problem}"),
    "log_quorum_missing": ("登记证明缺少足够的见证", "the proof's checkpoint has too few witnesses"),
    "log_frozen_before": ("账本封存后才登记", "logged beyond the final size of a frozen log"),
    "witnessed_in_future": ("见证时间晚于现在，请核对时钟", "its witnessed time is ahead of the clock"),
    # 7 authority
    "authorised": ("发证机关当时有权签发", "the issuer had the authority when it was logged"),
    "time_of_logging_unknown": (
        "登记时间未知，无法判断权限",
        "the time of logging is not known, so authority cannot be judged",
    ),
    "issuer_inactive": ("登记时发证机关状态为{state}", "the issuer was {state} when it was logged"),
    "key_outside_window": ("登记时密钥不在有效期内", "the key was outside its window when it was logged"),
    "key_compromised": (
        "密钥已泄露，此件登记于信任范围之外",
        "the key was compromised, and this entry lies outside what is still trusted",
    ),
    "key_superseded": ("密钥已被替换，此件登记于其后", "the key was superseded before this was logged"),
    "not_granted": ("登记时该机关无权签发此类证照", "the issuer had no grant for this type when it was logged"),
    "log_outside_window": ("登记时账本不在使用期内", "the log was outside its window when this was logged"),
    "issued_far_from_logged": (
        "签发时间与见证时间相差超过 24 小时",
        "signed more than 24 h from the time it was witnessed",
    ),
    "bundle_past_hard_stop": (
        "地区 {region} 的信任清单已超过 30 天未更新，请更新信任库",
        "the trust bundle of {region} is more than 30 days old; bring the trust store up to date",
    ),
    # 8 validity
    "within_validity": ("在有效期内", "within its validity period"),
    "no_end_of_validity": ("长期有效", "valid without an end"),
    "expired": ("已过期，有效期至 {date}", "expired: its last day was {date}"),
    "not_yet_valid": ("自 {date} 起才有效", "valid only from {date}"),
    "signed_in_future": ("签发时间晚于查验时间", "signed later than the time of this check"),
    "usage_expired": ("此加注件的使用期截至 {date}", "the use it was made for ended: its last day was {date}"),
    # 9 status
    "status_valid": ("状态有效", "its status is valid"),
    "status_exempt": ("此类证照无状态名单", "this type has no status list"),
    "status_missing": ("缺少状态引用", "carries no status reference, and its type demands one"),
    "status_source_unknown": (
        "状态名单不属于该发证机关",
        "the status list it names is not one of this issuer",
    ),
    "status_list_absent": ("信任库中没有其状态名单，请更新", "its status list is not in the trust store; refresh it"),
    "status_list_too_old": (
        "状态名单已超过 {limit}未更新，不能据以判断：请更新信任库",
        "the status list is older than {limit}, too old to judge by; bring the trust store up to date",
    ),
    "status_list_too_new": ("状态名单不覆盖所问时间", "the status list does not cover the time asked for"),
    "status_index_outside": ("状态序号超出名单", "its status index lies outside the list"),
    "revoked": ("已被撤销或吊销", "revoked"),
    "suspended": ("已被暂扣", "suspended"),
    "superseded": ("已被新版本取代：请对方出示新证", "superseded by a newer version: ask for that one"),
    # Notes beside the checks
    "status_stale": ("状态名单较旧（{age}），结论以当时为准", "the status list is {age} old; as of then"),
    "bundle_stale": ("地区 {region} 的信任清单较旧（{age}）", "the trust bundle of {region} is {age} old"),
    "bundle_expired": ("地区 {region} 的信任清单已过期", "the trust bundle of {region} has expired"),
    "compare_identity": ("请核对身份证件", "compare the identity document"),
    "requested_fields_missing": ("所要求的字段未全部披露", "not all fields that were asked for are disclosed"),
    "made_for_agent": ("发给代理人使用，并非持有人本人", "made for an agent of the holder, not for the holder"),
    "restricted_use": ("仅限用途：{purpose}", "for one purpose only: {purpose}"),
}
"""Reason code → (zh-Hans, en)."""


Details = Mapping[str, "str | Seconds | StateName"]
"""What fills the placeholders of a sentence."""

_UNITS: Final = {
    "zh": ((86_400, "天"), (3600, "小时"), (60, "分钟"), (1, "秒")),
    "en": ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")),
}


class Seconds(int):
    """A span of time among the details, to be written in the language of the sentence."""


class StateName(str):
    """The state of an issuer among the details, to be written in the language of the sentence."""

    __slots__ = ()


_ISSUER_STATES: Final = {"active": "正常", "suspended": "已暂停", "withdrawn": "已撤销", "unknown": "不明"}


def duration(seconds: int, language: Language = "en") -> str:
    """Seconds as `3 d`, `5 h`, `12 min` or `40 s`, or as `3 天`; rounded down."""
    size, unit = next((pair for pair in _UNITS[language] if seconds >= pair[0]), _UNITS[language][-1])
    return f"{seconds // size} {unit}"


def sentence(code: str, language: Language, details: Details | None = None) -> str:
    """The sentence of a reason code; `details` fill its placeholders."""
    zh, en = REASONS[code]
    filled = {name: _written(value, language) for name, value in (details or {}).items()}
    return (zh if language == "zh" else en).format_map(filled)


def _written(value: str | Seconds | StateName, language: Language) -> str:
    if isinstance(value, Seconds):
        return duration(value, language)
    if isinstance(value, StateName) and language == "zh":
        return _ISSUER_STATES.get(value, value)
    return value
