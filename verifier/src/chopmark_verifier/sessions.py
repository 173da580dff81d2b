"""Who may record from the page of the service: an inspector that knows its passcode.

The passcode is a file beside the records, made at the first start: 80 random bits, which nobody guesses over a
network, however often. Who enters it gets a session: 32 random bytes in a cookie that scripts cannot read and that
other sites cannot make the browser send (`HttpOnly`, `SameSite=Strict`). The service keeps the SHA-256 of it in memory,
for 12 hours or until it ends.

A form of a session carries a token besides, the HMAC of the session under a key of this process: what another site
makes the browser send does not know it.
"""

from __future__ import annotations

import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from chopmark import strict
from chopmark.durable_file import read_file, write_file
from chopmark.errors import FormatError

from chopmark_verifier.errors import SignInError

LIFETIME: Final = 12 * 3600
"""Seconds of a session: a working day."""
_SESSIONS: Final = 1000
"""Sessions that are kept; with one more the oldest ends."""
_ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without the characters that are mistaken for others: 5 bits each."""
_LENGTH: Final = 16
_GROUP: Final = 4
_MAX_FILE: Final = 200


def read_passcode(path: Path, *, random: Callable[[int], bytes] = os.urandom) -> str:
    """The passcode in a file; made where there is none.

    Raises:
        StorageError: it cannot be read or written.
        FormatError: what stands there is too short to be safe.
    """
    data = read_file(path, max_size=_MAX_FILE)
    if data is None:
        letters = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in random(_LENGTH))
        code = "-".join(letters[begin : begin + _GROUP] for begin in range(0, _LENGTH, _GROUP))
        write_file(path, f"{code}\n".encode("ascii"), private=True)
        return code
    code = data.decode("utf-8", "replace").strip()
    if len(_plain(code)) < _LENGTH:
        raise FormatError(
            f"a passcode has {_LENGTH} characters at least",
            where=str(path),
            remedy="Remove the file: the service makes another",
        )
    return code


class Sessions:
    """The sessions of the page. For one thread.

    Args:
        passcode: what opens one.
        clock: gives POSIX seconds.
        random: gives so many random bytes.
    """

    def __init__(
        self,
        passcode: str,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._passcode = _plain(passcode)
        self._clock = clock
        self._random = random
        self._key = random(32)
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def open(self, passcode: str) -> str:
        """Begin a session; the answer is what its cookie holds.

        Raises:
            SignInError: it is not the passcode.
        """
        if not hmac.compare_digest(_digest(_plain(passcode)), _digest(self._passcode)):
            raise SignInError("not the passcode", where="passcode")
        session = strict.base64url_encode(self._random(32))
        while len(self._ends) >= _SESSIONS:
            self._ends.popitem(last=False)
        self._ends[_digest(session)] = self._clock() + LIFETIME
        return session

    def is_open(self, session: str | None) -> bool:
        """Whether a cookie is that of a session that has not ended."""
        if session is None:
            return False
        ends = self._ends.get(_digest(session))
        return ends is not None and self._clock() < ends

    def end(self, session: str) -> None:
        """End a session."""
        self._ends.pop(_digest(session), None)

    def token(self, session: str) -> str:
        """What forms of this session carry."""
        return strict.base64url_encode(hmac.digest(self._key, session.encode("utf-8", "replace"), "sha256"))

    def is_token(self, session: str, token: str) -> bool:
        """Whether a form is of this session."""
        return hmac.compare_digest(_digest(token), _digest(self.token(session)))


def _plain(passcode: str) -> str:
    """A passcode as it is compared: spaces and dashes are for people, and case is."""
    return "".join(passcode.split()).replace("-", "").upper()


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "replace")).digest()
