"""The policy that an operator lets the program write: operators are counted, the log's own region never."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chopmark.cosignature import Cosigner
from chopmark.errors import ChopmarkError, FormatError, KeyMaterialError, StorageError
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.note import NoteSigner
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.commands import log_commands
from chopmark_ledger.errors import FolderError, PolicyError
from chopmark_ledger.publication.cosigning import makes_quorum
from chopmark_ledger.publication.policy_text import log_policy, served_policy
from chopmark_ledger.service.log_setup import init_log
from chopmark_ledger.service.running_log import http_witnesses, read_policy
from typer.testing import CliRunner, Result

from tests.ledger.served_log import CHEAP, PASSPHRASE, ServedLog

ORIGIN = "cn-gd.example/log/2026"
LOG = (NoteSigner(ORIGIN, Ed25519Signer(b"\x0a" * 32)).vkey, Cosigner(ORIGIN, MlDsa44Signer(b"\x0b" * 32)).vkey)


def keys(name: str, seed: int) -> list[str]:
    """The two vkeys of a witness."""
    return [Cosigner(name, kind(bytes([seed]) * 32)).vkey for kind in (Ed25519Signer, MlDsa44Signer)]


SHANGHAI = keys("cn-sh.example/witness", 1)
ILLINOIS = keys("us-il.example/witness", 2)
HAINAN = keys("cn-hi.example/witness", 3)
OWN = keys("cn-gd.example/witness", 4)
URLS = {
    "https://cn-sh.example/witness": SHANGHAI,
    "https://us-il.example/witness": ILLINOIS,
    "https://cn-hi.example/witness": HAINAN,
}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(log_commands.log, ["policy", *map(str, arguments)])


def witness_option(folder: Path, url: str, vkeys: list[str]) -> str:
    file = folder / f"{url.split('/')[2]}.vkeys"
    file.write_text("".join(f"{vkey}\n" for vkey in vkeys))
    return f"{url}={file}"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.upper().startswith("CHOPMARK_"):
            monkeypatch.delenv(name)
    init_log(tmp_path / "log", origin=ORIGIN, number=1, passphrase=PASSPHRASE, cost=CHEAP)
    return tmp_path / "log"


def test_more_than_half_of_the_operators_make_the_quorum_with_either_of_their_keys() -> None:
    policy = TlogPolicy.parse(served_policy(LOG, URLS, None))
    assert [log.verifier.vkey for log in policy.logs] == list(LOG)
    assert makes_quorum(policy, [SHANGHAI[0], ILLINOIS[1]])
    assert not makes_quorum(policy, SHANGHAI), "two keys of one operator are one vote"
    assert {witness.url for witness in policy.witnesses} == set(URLS)


def test_the_quorum_may_be_said() -> None:
    all_three = TlogPolicy.parse(served_policy(LOG, URLS, 3))
    assert not makes_quorum(all_three, [*SHANGHAI, *ILLINOIS])
    assert makes_quorum(all_three, [SHANGHAI[0], ILLINOIS[0], HAINAN[0]])
    for quorum in (0, 4):
        with pytest.raises(PolicyError, match=f"{quorum} of 3"):
            served_policy(LOG, URLS, quorum)


def test_two_witnesses_of_one_host_are_one_operator() -> None:
    second = keys("cn-sh.example/second", 5)
    text = served_policy(LOG, {"https://cn-sh.example/a": SHANGHAI, "https://cn-sh.example/b": second}, None)
    assert "group operator-1 any witness-1 witness-2 witness-3 witness-4\ngroup operators 1 operator-1\n" in text


def test_a_log_without_a_witness_of_another_region_has_no_policy() -> None:
    with pytest.raises(PolicyError, match="do not count"):
        served_policy(LOG, {"https://cn-gd.example/witness": OWN}, None)
    with pytest.raises(PolicyError, match="do not count"):
        served_policy(LOG, {**URLS, "https://cn-gd.example/witness": OWN}, None)
    with pytest.raises(PolicyError, match="needs witnesses"):
        log_policy(LOG, [], None)


def test_the_keys_at_one_url_are_those_of_one_witness() -> None:
    with pytest.raises(PolicyError, match="0 keys"):
        served_policy(LOG, {"https://cn-sh.example/witness": []}, None)
    with pytest.raises(PolicyError, match="4 keys under 2 names"):
        served_policy(LOG, {"https://cn-sh.example/witness": SHANGHAI + ILLINOIS}, None)
    with pytest.raises(PolicyError, match="have the same key"):
        served_policy(LOG, {"https://cn-sh.example/a": SHANGHAI, "https://cn-sh.example/b": SHANGHAI}, None)


def test_keys_that_do_not_cosign_are_refused() -> None:
    other_log = NoteSigner("cn-sh.example/log/2026", Ed25519Signer(b"\x01" * 32)).vkey
    with pytest.raises((FormatError, KeyMaterialError)):
        served_policy(LOG, {"https://cn-sh.example/witness": [other_log]}, None)
    with pytest.raises(FormatError):
        served_policy(LOG, {"https://cn-sh.example/witness": ["no vkey"]}, None)


def test_the_command_writes_a_policy_that_the_log_can_be_served_with(data: Path, tmp_path: Path) -> None:
    options = [option for url, vkeys in URLS.items() for option in ("--witness", witness_option(tmp_path, url, vkeys))]
    made = run(data, *options, "--quorum", "2")
    assert made.exit_code == 0, made.output
    (tmp_path / "policy").write_text(made.stdout)
    policy = read_policy(tmp_path / "policy")
    assert {log.verifier.name for log in policy.logs} == {ORIGIN}
    assert [len(witness.vkeys) for witness in http_witnesses(policy, timeout=1, where="policy")] == [2, 2, 2]


def test_the_command_takes_the_keys_of_a_log_that_is_served_from_its_address(tmp_path: Path) -> None:
    served = ServedLog(tmp_path / "served")
    served.set_up()
    served.start()
    try:
        made = run(served.url, "--witness", witness_option(tmp_path, "https://us-il.example/witness", ILLINOIS))
    finally:
        served.close()
    assert made.exit_code == 0, made.output
    assert {log.verifier.vkey for log in TlogPolicy.parse(made.stdout).logs} == {served.keys.vkey, served.keys.pq_vkey}


def test_the_command_says_what_is_wrong_with_a_witness(data: Path, tmp_path: Path) -> None:
    good = witness_option(tmp_path, "https://us-il.example/witness", ILLINOIS)
    assert run(data).exit_code == 2
    for option in ("https://us-il.example/witness", "https://us-il.example/witness=", "us-il.example=file"):
        assert run(data, "--witness", option).exit_code == 2
    assert run(data, "--witness", good, "--witness", good).exit_code == 2
    assert isinstance(run(data, "--witness", f"https://a.example={tmp_path / 'none'}").exception, StorageError)
    assert isinstance(run(tmp_path / "nowhere", "--witness", good).exception, FolderError)
    (tmp_path / "keys").write_bytes(b"\xff\n")
    wrong = run(data, "--witness", f"https://a.example={tmp_path / 'keys'}").exception
    assert isinstance(wrong, ChopmarkError)
    assert "not a list of vkeys" in str(wrong)
