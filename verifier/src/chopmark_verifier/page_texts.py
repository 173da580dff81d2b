"""The words of the page, in Chinese and English; those of a verdict come from `verdict_view`."""

from __future__ import annotations

from typing import Final

from chopmark.reasons import Language

_TEXTS: Final[dict[str, tuple[str, str]]] = {
    "title": ("证照查验", "Licence check"),
    "tagline": ("一扫便知：真实、有效、属本人", "One scan: genuine, current, and the holder's own?"),
    "other_language": ("English", "中文"),
    "skip": ("跳到结果", "Skip to the result"),
    "check_heading": ("查验", "Check"),
    "camera": ("用相机扫码", "Scan a code"),
    "camera_stop": ("停止", "Stop"),
    "camera_looking": ("正在寻找证照码……请对准并靠近", "Looking for a code… hold it close and steady"),
    "camera_denied": (
        "无法使用相机：请在浏览器中允许，或选择图片",
        "No camera: allow it in the browser, or open a picture",
    ),
    "picture": ("选择图片", "Open a picture"),
    "picture_hint": ("或把图片拖到这里、粘贴到这里（PNG、JPEG）", "or drop or paste one here (PNG, JPEG)"),
    "picture_reading": ("正在读取图片……", "Reading the picture…"),
    "picture_kind": ("未查验：只支持 PNG 和 JPEG 图片", "Not checked: only PNG and JPEG pictures can be read"),
    "no_purpose": ("未查验：请填写查验事由", "Not checked: name the purpose"),
    "no_text": ("未查验：没有证照码", "Not checked: there is no code"),
    "text_label": ("或粘贴证照码文字", "Or paste the text of a code"),
    "text_placeholder": ("EL1:…", "EL1:…"),
    "check": ("查验", "Check"),
    "checking": ("正在查验……", "Checking…"),
    "no_connection": (
        "未查验：连接不上查验服务，请稍后再试",
        "Not checked: the service cannot be reached; try again",
    ),
    "unreachable": ("连接不上查验服务，请稍后再试", "The service cannot be reached; try again"),
    "result_heading": ("结果", "Result"),
    "empty": ("结果会显示在这里。", "The result appears here."),
    "empty_hint": (
        "请持有人打开钱包出示动态码；纸质证照直接扫描其二维码。",
        "Ask the holder to show the living code in the wallet; of a paper licence, scan the code on it.",
    ),
    "next": ("下一步", "What to do"),
    "says": ("证照内容", "What the licence says"),
    "restricts": ("限制", "restricts"),
    "checks": ("十项检查", "The ten checks"),
    "passed_of": ("项通过", "passed"),
    "age": ("数据时间：{age}前", "data {age} old"),
    "as_of": ("判定时间", "Judged at"),
    "basis": ("依据", "Rests on"),
    "old": ("{age}前", "{age} old"),
    "recorded": ("已留存签名记录", "Signed record filed"),
    "record_label": ("记录", "Record"),
    "not_recorded": ("未留存记录", "Not recorded"),
    "next_scan": ("查验下一件", "Check another"),
    "record_heading": ("留存记录", "Keep a record"),
    "purpose": ("查验事由", "Purpose"),
    "purpose_hint": (
        "必填，200 字以内，会写入记录；当场提问时会显示给持有人",
        "Required, at most 200 characters; it is recorded, and shown to the holder where a challenge is asked",
    ),
    "purpose_example": ("例如：年度检查", "Such as: yearly inspection"),
    "record": ("留存签名记录", "File a signed record"),
    "record_fields": ("记录中包含证照内容（个人信息）", "Keep the licence's fields in it (personal data)"),
    "ask_heading": ("请持有人当场出示", "Ask the holder to show it now"),
    "ask_hint": (
        "生成提问码，由持有人的钱包扫描；其回应只对这一次有效。",
        "Makes a challenge for the holder's wallet; the answer fits this one question only.",
    ),
    "ask_type": ("证照类型", "Licence type"),
    "ask_fields": ("需要看到的内容", "What must be shown"),
    "ask": ("生成提问码", "Make a challenge"),
    "asked": ("请持有人用钱包扫描", "Let the holder's wallet scan this"),
    "asked_for": ("事由：", "Purpose: "),
    "ask_ends": ("剩余", "ends in"),
    "ask_ended": ("已过期，请重新生成", "expired: make another"),
    "ask_cancel": ("放弃此提问", "Drop this challenge"),
    "ask_text": ("提问码文字", "Its text"),
    "sign_in": ("查验员登录", "Inspector sign-in"),
    "sign_in_hint": (
        "登录后可留存签名记录、当场提问。口令由本服务的管理者提供。",
        "Signed in, you can file records and ask challenges. The operator of this service has the passcode.",
    ),
    "passcode": ("口令", "Passcode"),
    "enter": ("登录", "Sign in"),
    "leave": ("退出", "Sign out"),
    "signed_in_as": ("查验机构", "Inspecting for"),
    "offline": ("仅凭本机信任库判断，不向登记机关查询。", "Judged by the trust store here; no registry is asked."),
    "home": ("本地区", "Home region"),
    "error_heading": ("没有结果", "No result"),
}

_PROBLEMS: Final[dict[str, tuple[str, str]]] = {
    "no_code": (
        "图片里没有找到二维码。请靠近一些、光线充足、对焦清晰，再拍一次。",
        "No code was found in the picture. Take it again: closer, well lit and sharp.",
    ),
    "no_text": (
        "没有证照码：请粘贴证照码文字，或用相机、图片。",
        "There is no code: paste the text of one, or use the camera or a picture.",
    ),
    "several_codes": (
        "图片里有不止一个证照码，无法确定是哪一个。请只拍要查验的那一个。",
        "There are several licence codes in the picture. Take one of the code that you mean.",
    ),
    "unreadable_picture": (
        "这不是可以读取的 PNG 或 JPEG 图片，或者文件已损坏。",
        "This is no PNG or JPEG picture, or a damaged one.",
    ),
    "exhausting_picture": (
        "读取这张图片耗费过多，已中止。请换一张只有证照码的图片。",
        "Reading this picture took too much, and was stopped. Take another, of the code alone.",
    ),
    "too_large": ("图片或文字太大了。", "The picture or text is too large."),
    "unsupported_media_type": ("只支持 PNG 和 JPEG 图片。", "Only PNG and JPEG pictures can be read."),
    "back_pressure": ("现在查验的人太多，请稍等再试。", "Too much waits just now: try again in a moment."),
    "too_slow": ("上传太慢，已中止，请再试一次。", "It took too long to arrive: try again."),
    "malformed": ("填写的内容有误：{detail}", "What was entered is not right: {detail}"),
    "not_known": ("信任库不认识它，或查验密钥现在不在登记之列：{detail}", "The trust store does not know it: {detail}"),
    "no_desk": (
        "本服务现在不能提问，也不能留存记录。请联系管理者。",
        "This service can file no records and ask no challenges now. Ask its operator.",
    ),
    "storage": (
        "记录没有保存，因此也没有结果。请再试一次，并告知管理者。",
        "The record could not be filed, so there is no result. Try again, and tell the operator.",
    ),
    "sign_in": ("口令不对，请再试一次。", "That is not the passcode."),
    "session": (
        "登录已失效，或请求不是来自本页面。请重新登录。",
        "The session has ended, or the request is not of this page. Sign in again.",
    ),
    "unauthenticated": ("请先登录。", "Sign in first."),
    "fault": ("服务出错了，请告知管理者。", "A fault of the service: tell its operator."),
}


def texts(language: Language) -> dict[str, str]:
    """All words of the page."""
    return {name: each[0 if language == "zh" else 1] for name, each in _TEXTS.items()}


def problem_text(code: str, detail: str, language: Language) -> str:
    """What went wrong, by the code of a problem."""
    zh, en = _PROBLEMS.get(code, _PROBLEMS["fault"])
    return (zh if language == "zh" else en).replace("{detail}", detail)


def problem_codes() -> frozenset[str]:
    """The problems that have words."""
    return frozenset(_PROBLEMS)
