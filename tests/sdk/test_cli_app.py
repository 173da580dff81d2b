"""The program around the commands: what it prints to whom, and with which exit code it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint, version

import pytest
from chopmark.cli import app
from chopmark.cli.exit_codes import ExitCode
from chopmark.errors import FormatError
from typer.testing import CliRunner

CHOPMARK = [sys.executable, "-c", "from chopmark.cli import main; main()"]
NUMBER = "1.2.156.3005.2.11100000000013338W032.11220000013544541J.2430599.001.F"


@pytest.mark.parametrize("encoding", ["ascii", "gbk", "latin-1"])
def test_a_terminal_that_cannot_write_a_character_gets_its_number(encoding: str) -> None:
    run = subprocess.run(
        [*CHOPMARK, "inspect", NUMBER, "--lang", "zh"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": encoding},
    )
    assert (run.returncode, run.stderr) == (0, b"")
    assert NUMBER in run.stdout.decode(encoding)


def failing(error: Exception) -> object:
    def command() -> None:
        raise error

    return lambda *_: command


@pytest.mark.parametrize(
    ("error", "told"), [(FormatError("a reason"), "chopmark: a reason\n"), (ValueError("a fault"), "Traceback")]
)
def test_an_error_ends_with_exit_code_3_and_never_with_that_of_a_verdict(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "build", failing(error))
    with pytest.raises(SystemExit) as ended:
        app.run()
    assert ended.value.code == ExitCode.COULD_NOT_TRY
    assert capsys.readouterr().err.startswith(told)


def test_a_member_that_cannot_be_loaded_does_not_take_the_others_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    members = [EntryPoint("broken", "no_such_module:app", app.COMMAND_GROUP)]
    monkeypatch.setattr(app, "entry_points", lambda **_: members)
    program = app.build()
    assert {group.name for group in program.registered_groups} == {"trust"}
    assert "the commands of 'broken' cannot be loaded" in capsys.readouterr().err


def test_a_reader_that_went_away_is_no_traceback() -> None:
    with subprocess.Popen(
        [*CHOPMARK, "inspect", *[NUMBER] * 200], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode != ExitCode.VALID
    assert b"Traceback" not in errors


def test_a_member_may_be_one_command_in_place_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    members = [EntryPoint("dumps", "json:dumps", app.COMMAND_GROUP)]
    monkeypatch.setattr(app, "entry_points", lambda **_: members)
    assert "dumps" in {command.name for command in app.build("dumps").registered_commands}


@pytest.mark.parametrize("arguments", [["verify", "--bogus", "x"], ["verify"], ["inspector", "check", "--bogus"]])
def test_a_mistake_on_the_command_line_is_no_verdict(arguments: list[str]) -> None:
    result = CliRunner().invoke(app.build(), arguments)
    assert result.exit_code == ExitCode.COULD_NOT_TRY
    assert result.stderr.startswith("Usage: ")


def test_help_is_no_mistake() -> None:
    assert CliRunner().invoke(app.build(), ["verify", "--help"]).exit_code == 0


def test_it_says_its_version() -> None:
    result = CliRunner().invoke(app.build(), ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"chopmark {version('chopmark')}\n")
