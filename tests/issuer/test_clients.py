"""The clients of a registry's service: what is kept of them, and who may be one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chopmark.errors import KeyMaterialError
from chopmark.keys import Ed25519Signer, Es256Signer, MlDsa44Signer
from chopmark_issuer.commands.issuer_commands import issuer
from chopmark_issuer.errors import ConflictError, FieldError, NotFoundError
from chopmark_issuer.service.clients import (
    ClientTable,
    Right,
    add_client,
    all_clients,
    client_actor,
    make_client,
    remove_client,
)
from chopmark_service.json_web_key import to_jwk
from typer.testing import CliRunner

from tests.issuer.conftest import FOOD, MARKETS, NOW, PERMIT, World

pytestmark = pytest.mark.both_databases

KEYS = [Ed25519Signer.generate().public_key, Es256Signer.generate().public_key]


def test_a_client_comes_back_as_it_was_added(office: Any) -> None:
    narrowed = make_client("stalls", MARKETS, types=[PERMIT], rights=[Right.READ, Right.ISSUE], keys=KEYS)
    wide = make_client("all", MARKETS, rights=Right, keys=[Ed25519Signer.generate().public_key])
    with office.database.writing() as connection:
        for client in (narrowed, wide):
            add_client(connection, client, at=NOW)
        assert all_clients(connection) == [wide, narrowed]
        assert client_actor(connection, narrowed, NOW).types == {PERMIT}
        assert client_actor(connection, wide, NOW).types == {PERMIT, FOOD}
        remove_client(connection, "all")
        assert all_clients(connection) == [narrowed]
        with pytest.raises(NotFoundError, match="no client"):
            remove_client(connection, "all")


def test_a_name_or_a_key_belongs_to_one_client(office: Any) -> None:
    with office.database.writing() as connection:
        add_client(connection, make_client("a", MARKETS, rights=[Right.READ], keys=KEYS), at=NOW)
        with pytest.raises(ConflictError, match="already"):
            add_client(connection, make_client("a", MARKETS, rights=[Right.READ], keys=KEYS), at=NOW)
        add_client(connection, make_client("a", MARKETS, rights=[Right.ISSUE], keys=KEYS), at=NOW, replace=True)
        with pytest.raises(ConflictError, match="same key"):
            add_client(connection, make_client("b", MARKETS, rights=[Right.READ], keys=KEYS[:1]), at=NOW)
        with pytest.raises(NotFoundError, match="no department"):
            add_client(connection, make_client("c", "CN-GD/NONE", rights=[Right.READ], keys=KEYS), at=NOW)
        assert [client.rights for client in all_clients(connection)] == [{Right.ISSUE}]


@pytest.mark.parametrize(
    "changes",
    [{"rights": []}, {"keys": []}, {"name": " "}, {"name": "x" * 101}, {"name": "a\nb"}, {"keys": KEYS[:1] * 0}],
)
def test_a_client_without_name_right_or_key_is_none(changes: dict[str, Any]) -> None:
    with pytest.raises(FieldError):
        make_client(
            changes.get("name", "a"),
            MARKETS,
            rights=changes.get("rights", [Right.READ]),
            keys=changes.get("keys", KEYS),
        )


def test_a_key_of_another_kind_is_refused() -> None:
    with pytest.raises(KeyMaterialError):
        make_client("a", MARKETS, rights=[Right.READ], keys=[MlDsa44Signer.generate().public_key])


def test_a_service_knows_of_a_change_at_its_next_look(office: Any) -> None:
    now = [0.0]
    table = ClientTable(office.database, look_every=0.5, clock=lambda: now[0])
    assert table.find("a") is None
    client = make_client("a", MARKETS, rights=[Right.READ], keys=KEYS)
    with office.database.writing() as connection:
        add_client(connection, client, at=NOW)
    assert table.find("a") is None
    now[0] += 0.5
    found = table.find("a")
    assert found == client
    now[0] += 0.5
    assert table.find("a") is found
    with office.database.writing() as connection:
        remove_client(connection, "a")
    now[0] += 0.5
    assert table.find("a") is None


def test_the_commands_add_list_and_take_away(world: World, tmp_path: Path) -> None:
    data = ["--data", str(world.guangdong.settings.data)]
    jwk = tmp_path / "client.jwk"
    jwk.write_text(json.dumps(to_jwk(KEYS[0])))
    run = CliRunner().invoke
    options = ["--department", MARKETS, "--jwk", str(jwk), "--right", "read", "--right", "issue", "--type", FOOD]
    added = run(issuer, ["add-client", "counter 7", *options, *data])
    assert added.exit_code == 0
    assert added.stdout.startswith("client counter 7 of ")
    assert "POST /authentication" in added.stdout
    listed = run(issuer, ["clients", *data]).output
    assert listed.startswith(f"counter 7: {MARKETS}, read issue; {FOOD}; keys ")
    assert run(issuer, ["add-client", "counter 7", *options, *data]).exit_code == 1
    assert run(issuer, ["add-client", "counter 7", *options, "--replace", *data]).exit_code == 0
    assert run(issuer, ["add-client", "x", *options[:-4], "--right", "all", *data]).exit_code == 2
    assert run(issuer, ["remove-client", "counter 7", *data]).exit_code == 0
    assert run(issuer, ["clients", *data]).output == ""
    assert run(issuer, ["clients", "--data", str(tmp_path / "none")]).exit_code == 1
