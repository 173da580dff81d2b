from __future__ import annotations

import stat
from pathlib import Path

import pytest
from chopmark.errors import FormatError
from chopmark_verifier.errors import SignInError
from chopmark_verifier.sessions import LIFETIME, Sessions, read_passcode

from tests.verifier.conftest import Clock

PASSCODE = "ABCD-EFGH-JKLM-NPQR"


def test_a_passcode_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "records" / "passcode"
    made = read_passcode(path)
    assert read_passcode(path) == made
    assert len(made.replace("-", "")) == 16
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_passcode(tmp_path / "other") != made


def test_a_passcode_that_is_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "passcode").write_text("1234\n")
    with pytest.raises(FormatError, match="16 characters"):
        read_passcode(tmp_path / "passcode")


def test_the_passcode_opens_a_session_however_it_is_typed() -> None:
    sessions = Sessions(PASSCODE, clock=Clock())
    for typed in (PASSCODE, "abcdefghjklmnpqr", " abcd efgh jklm npqr "):
        assert sessions.is_open(sessions.open(typed))
    for wrong in ("", "ABCD-EFGH-JKLM-NPQS", PASSCODE + "A", "密码"):
        with pytest.raises(SignInError):
            sessions.open(wrong)
    assert not sessions.is_open(None)
    assert not sessions.is_open("guess")


def test_a_session_ends_in_time_by_itself_and_when_it_is_told_to() -> None:
    clock = Clock()
    sessions = Sessions(PASSCODE, clock=clock)
    first, second = sessions.open(PASSCODE), sessions.open(PASSCODE)
    sessions.end(first)
    assert not sessions.is_open(first)
    clock.now += LIFETIME - 1
    assert sessions.is_open(second)
    clock.now += 1
    assert not sessions.is_open(second)


def test_sessions_are_bounded_and_the_oldest_gives_way() -> None:
    sessions = Sessions(PASSCODE, clock=Clock())
    first = sessions.open(PASSCODE)
    others = [sessions.open(PASSCODE) for _ in range(1000)]
    assert not sessions.is_open(first)
    assert all(map(sessions.is_open, others))


def test_a_token_is_of_one_session_and_one_process() -> None:
    sessions = Sessions(PASSCODE, clock=Clock())
    first, second = sessions.open(PASSCODE), sessions.open(PASSCODE)
    assert sessions.is_token(first, sessions.token(first))
    assert not sessions.is_token(first, sessions.token(second))
    assert not sessions.is_token(first, "")
    assert not Sessions(PASSCODE, clock=Clock()).is_token(first, sessions.token(first))
