"""The commands, and the client that the issuer sees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chopmark.errors import ChopmarkError
from chopmark.strict import base64_encode
from chopmark_ledger import client
from chopmark_ledger.client import witness_vkeys
from chopmark_ledger.commands import log_commands, witness_commands
from typer.testing import CliRunner

if TYPE_CHECKING:
    from tests.ledger.conftest import World

run = CliRunner().invoke


def test_fsck_prints_size_and_root_of_a_sound_log(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 300)
    root = ledger.publish().checkpoint.root
    result = run(log_commands.log, ["fsck", str(world.public), "--vkey", world.vkey])
    assert result.exit_code == 0, result.output
    assert "size 301\n" in result.stdout
    assert f"root {base64_encode(root)}\n" in result.stdout
    assert result.stdout.endswith("sound\n")


def test_fsck_exits_1_and_names_each_damage(world: World) -> None:
    ledger = world.open()
    world.append(ledger, 1, 300)
    ledger.publish()
    (world.public / "tile/0/000").unlink()
    (world.public / "tile/entries/001.p/45").unlink()
    result = run(log_commands.log, ["fsck", str(world.public), "--vkey", world.vkey])
    assert result.exit_code == 1
    assert "damaged: tile/0/000: missing\n" in result.stdout
    assert "damaged: tile/entries/001.p/45: missing\n" in result.stdout
    assert result.stdout.endswith("2 damaged\n")


def test_fsck_paints_nothing_on_the_terminal_that_a_file_name_holds(world: World) -> None:
    ledger = world.open()
    ledger.publish()
    Path(os.fsdecode(os.fsencode(world.public / "tile") + b"/\xff\x1b[2J")).write_bytes(b"x")
    result = run(log_commands.log, ["fsck", str(world.public), "--vkey", world.vkey])
    assert result.exit_code == 0, result.output
    assert "remark: tile/" in result.stderr
    assert "\x1b" not in result.output
    assert "\x1b" not in result.stderr


def test_landmark_ends_an_interval_without_the_key(world: World) -> None:
    ledger = world.open()
    ledger.publish()
    world.append(ledger, 1, 3)
    world.close()
    result = run(log_commands.log, ["landmark", str(world.log_folder)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("landmark [0, 1) ")
    assert result.stdout.endswith("3 entries wait for publication\n")
    assert "nothing was published" in run(log_commands.log, ["landmark", str(world.log_folder)]).stdout
    world.check()


def test_witness_init_prints_the_vkeys_of_the_new_witness(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "witness"
    (tmp_path / "passphrase").write_text("a passphrase of this test\n")
    arguments = ["init", str(folder), "--name", "cn-bj.example/witness", "--log", world.vkey]
    result = run(witness_commands.witness, [*arguments, "--passphrase-file", str(tmp_path / "passphrase")])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == list(witness_vkeys(folder))
    assert result.stdout.startswith("cn-bj.example/witness+")
    client.open_witness(folder, b"a passphrase of this test")
    assert run(witness_commands.witness, ["add-log", str(folder), world.vkey]).exit_code == 0


@pytest.mark.parametrize("variable", ["CHOPMARK_PASSPHRASE", "CHOPMARK_PASSPHRASE_FILE"])
def test_the_passphrase_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("CHOPMARK_PASSPHRASE", "CHOPMARK_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").write_text("secret")
    monkeypatch.setenv(variable, "secret" if variable == "CHOPMARK_PASSPHRASE" else str(tmp_path / "file"))
    assert run(witness_commands.witness, ["init", str(tmp_path / "w"), "--name", "a.example/w"]).exit_code == 0
    client.open_witness(tmp_path / "w", b"secret")


def test_without_a_passphrase_no_witness_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHOPMARK_PASSPHRASE", "CHOPMARK_PASSPHRASE_FILE"):
        monkeypatch.delenv(name, raising=False)
    result = run(witness_commands.witness, ["init", str(tmp_path / "w"), "--name", "a.example/w"])
    assert isinstance(result.exception, ChopmarkError)
    assert not (tmp_path / "w").exists()


def test_the_commands_import_nothing_heavy() -> None:
    code = (
        "import sys, chopmark_ledger.commands.log_commands, chopmark_ledger.commands.witness_commands\n"
        "heavy = {'sqlalchemy', 'sqlmodel', 'alembic', 'pydantic', 'cryptography', 'nacl', 'rich.progress'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_what_the_client_exports_exists() -> None:
    assert all(hasattr(client, name) for name in client.__all__)


def test_a_policy_without_witnesses_publishes_nothing(world: World) -> None:
    world.open().close()
    policy = f"log {world.vkey}\nquorum none\n"
    with client.open_ledger(
        world.log_folder, key=world.key, witnesses=[], policy_text=policy, clock=world.clock
    ) as ledger:
        with pytest.raises(ChopmarkError, match="which do not make the quorum"):
            ledger.publish()
        assert ledger.vkey == world.vkey
        assert ledger.number == 1
        assert ledger.public_folder == world.public
    assert world.check() == 0


def test_a_bad_policy_does_not_keep_the_folder_locked(world: World) -> None:
    with pytest.raises(ChopmarkError):
        client.open_ledger(world.log_folder, key=world.key, witnesses=[], policy_text="rubbish", clock=world.clock)
    world.open()
