"""The region's public folder over HTTP, in the layout of `chopmark.refresh`.

/bundle.note /bundle.tlog-proof
/root/<n>.note                                   never changes
/landmarks/<region>/<number>.landmarks …         only grows: fetch it by range
/status/<number> /status/<number>.tlog-proof
"""

from __future__ import annotations

import re
from typing import Final

from chopmark_service.static_files import BYTES, FOR_EVER, FOR_SECONDS, FileKind

TEXT: Final = "text/plain; charset=utf-8"
STATUS_LIST: Final = "application/statuslist+cwt"
_REGION: Final = r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?"
_NUMBER: Final = r"(?:0|[1-9][0-9]{0,9})"
_KINDS: Final = (
    (re.compile(r"bundle\.(?:note|tlog-proof)", re.ASCII), FileKind(TEXT, FOR_SECONDS)),
    (re.compile(rf"root/{_NUMBER}\.note", re.ASCII), FileKind(TEXT, FOR_EVER)),
    (re.compile(rf"landmarks/{_REGION}/{_NUMBER}\.landmarks", re.ASCII), FileKind(BYTES, FOR_SECONDS)),
    (re.compile(rf"landmarks/{_REGION}/{_NUMBER}\.tlog-proof", re.ASCII), FileKind(TEXT, FOR_SECONDS)),
    (re.compile(rf"status/{_NUMBER}", re.ASCII), FileKind(STATUS_LIST, FOR_SECONDS)),
    (re.compile(rf"status/{_NUMBER}\.tlog-proof", re.ASCII), FileKind(TEXT, FOR_SECONDS)),
)


def kind_of(name: str) -> FileKind | None:
    """How the file of a path is served; None for what is none of a region."""
    return next((kind for form, kind in _KINDS if form.fullmatch(name)), None)
