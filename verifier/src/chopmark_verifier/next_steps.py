"""What an inspector does next, by what decided a verdict: one sentence in Chinese and English.

A verdict says what was found; somebody at a gate wants to know what to do. Reasons without a sentence of their own
have that of their outcome.
"""

from __future__ import annotations

from typing import Final

from chopmark.reasons import Language
from chopmark.verdict import Outcome, Verdict

_LIVING_CODE: Final = (
    "请持有人打开钱包出示动态码，再扫一次。不要接受截图、照片或复印件。",
    "Ask the holder to open the wallet and show the living code, then scan again. Accept no screenshot, photo or copy.",
)
_ASK: Final = (
    "此类证照须当场提问：登录后生成提问码，请持有人扫描，再查验其回应。",
    "This type needs a challenge: sign in, make one, let the holder scan it, then check the answer.",
)
_REFRESH: Final = (
    "本机的信任数据不足以判断。请更新信任库后再查；急需时通过发证机关的其他途径核实。",
    "The trust data here is not enough to tell. Bring it up to date and check again, or ask the issuer another way.",
)
_CLOCK: Final = (
    "请先校准本机和对方设备的时钟，再查一次。",
    "Set the clocks of this machine and of the holder's device.",
)
_FORGED: Final = (
    "按伪造处理：不予认可，留存记录，并报告发证机关。",
    "Treat it as forged: do not accept it, keep a record, and report it to the issuer.",
)
_NOT_IN_FORCE: Final = (
    "证照是真的，但现在不能使用：不予认可。持有人可向发证机关查询原因。",
    "It is genuine but not in force now: do not accept it. The holder can ask the issuer why.",
)
_AGAIN: Final = (
    "请确认扫描的是证照码，光线充足、码面完整，再扫一次。",
    "Make sure that it is the licence's code, well lit and whole, and scan it again.",
)

_BY_REASON: Final[dict[str, tuple[str, str]]] = {
    **dict.fromkeys(("copy", "presentation_too_old", "replayed", "bearer_form_of_bound_licence"), _LIVING_CODE),
    **dict.fromkeys(("challenge_required", "challenge_expired", "meant_for_another"), _ASK),
    "challenge_not_answered": (
        "它没有回应本次提问：请持有人重新扫描提问码；若查验的是另一件证照，请先放弃提问。",
        "It does not answer what was asked: let the holder scan it again, or drop it to check another licence.",
    ),
    **dict.fromkeys(
        (
            "region_unknown",
            "bundle_older_than_licence",
            "landmark_unknown",
            "log_not_accepted",
            "log_unknown",
            "type_unknown",
            "status_list_absent",
            "status_list_too_old",
            "status_list_too_new",
            "bundle_past_hard_stop",
        ),
        _REFRESH,
    ),
    **dict.fromkeys(
        ("clock_below_floor", "presentation_ahead", "witnessed_in_future", "signed_in_future"),
        _CLOCK,
    ),
    **dict.fromkeys(
        (
            "signature_wrong",
            "holder_signature_wrong",
            "disclosure_mismatch",
            "log_path_wrong",
            "key_unknown",
            "issuer_unknown",
            "key_of_another_use",
            "key_compromised",
            "not_granted",
        ),
        _FORGED,
    ),
    **dict.fromkeys(("revoked", "suspended", "expired", "not_yet_valid", "usage_expired"), _NOT_IN_FORCE),
    "superseded": (
        "此证已有新版本：请持有人出示新证。",
        "There is a newer version of this licence: ask the holder for that one.",
    ),
    "not_a_licence_code": _AGAIN,
    "malformed": _AGAIN,
    "newer_code_version": (
        "本程序版本较旧，读不了这种码：请更新程序。",
        "This program is too old for this code: update it.",
    ),
    "compare_identity": (
        "请核对持有人的身份证件与下列内容是否一致。",
        "Compare the holder's identity document with what stands below.",
    ),
}
_BY_OUTCOME: Final[dict[Outcome, tuple[str, str]]] = {
    Outcome.VALID: (
        "请核对下列内容与眼前的人、场所和事项是否相符。",
        "Compare what stands below with the person, the place and the matter before you.",
    ),
    Outcome.INVALID: (
        "不予认可。展开下方的检查项可看到原因，并可留存记录。",
        "Do not accept it. The checks below say why; keep a record.",
    ),
    Outcome.INDETERMINATE: (
        "既不能认定有效，也不能认定无效：不要据此放行，请换一种方式核实。",
        "Neither valid nor invalid can be told: do not rely on it, and verify another way.",
    ),
}


def next_step(verdict: Verdict, language: Language) -> str:
    """What to do after a verdict."""
    reason = verdict.deciding.reason
    if verdict.outcome is Outcome.VALID:
        remarks = {remark.reason for remark in verdict.remarks}
        reason = "compare_identity" if "compare_identity" in remarks else ""
    zh, en = _BY_REASON.get(reason, _BY_OUTCOME[verdict.outcome])
    return zh if language == "zh" else en


def reasons_with_a_step() -> frozenset[str]:
    """The reasons that have a sentence of their own."""
    return frozenset(_BY_REASON)
