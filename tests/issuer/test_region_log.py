"""What a region says of its log, in its own process or served, before anything is sent."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from chopmark.errors import ChopmarkError, FormatError
from chopmark.key_file import ScryptCost, read_key_file
from chopmark.keys import Algorithm, Ed25519Signer, MlDsa44Signer
from chopmark.licence_type import LocalisedText
from chopmark.note import Note, NoteVerifier
from chopmark.root_epoch import Roots
from chopmark.tlog_policy import TlogPolicy
from chopmark.trust_bundle import TrustBundle
from chopmark_issuer.errors import RefusedError
from chopmark_issuer.keys.keys import InventoryUse, inventory
from chopmark_issuer.publishing import region_log
from chopmark_issuer.publishing.policies import log_policy
from chopmark_issuer.publishing.region_log import LogService, client_name, enrolment, served_log
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.settings import Settings
from chopmark_issuer.storage.database import alembic_config, open_database
from chopmark_issuer.storage.models import OUTBOX, REGION
from chopmark_ledger.client import init_witness, log_vkey
from sqlalchemy import create_engine, select, text, update

URL = "http://127.0.0.1:8480"
ORIGIN = "cn-gd.example/log/2026"
KEYS = tuple(log_vkey(ORIGIN, key) for key in (Ed25519Signer(b"\x07" * 32), MlDsa44Signer(b"\x07" * 32)))
WITNESS = "cn-sh.example/witness"
CHEAP = ScryptCost(n=2**10)


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return init_witness(tmp_path_factory.mktemp("of") / "cn-sh", name=WITNESS, passphrase=b"x", cost=CHEAP)


def policy(witness: tuple[str, ...], *, url: str | None = None) -> str:
    return log_policy(KEYS, witness, None, log_url=url, witness_urls=dict.fromkeys(witness, "http://127.0.0.1:8481"))


def served_plan(witness: tuple[str, ...], **changes: Any) -> RegionPlan:
    service = LogService(URL, KEYS, policy(witness))
    return RegionPlan("CN-GD", LocalisedText("示例", "Sample"), log_service=replace(service, **changes))


def test_the_policy_of_a_served_log_says_where_log_and_witnesses_are(witness: tuple[str, ...]) -> None:
    log = served_log(LogService(URL, KEYS, policy(witness)), host=None, created=1)
    parsed = TlogPolicy.parse(log.policy)
    assert [each.url for each in parsed.logs] == [URL, URL]
    assert {each.url for each in parsed.witnesses} == {"http://127.0.0.1:8481"}
    assert (log.origin, log.vkeys, log.url) == (ORIGIN, KEYS, URL)


def test_a_log_that_everybody_else_fetches_elsewhere_keeps_that_address(witness: tuple[str, ...]) -> None:
    public = "https://log.cn-gd.example/2026"
    log = served_log(LogService(URL, KEYS, policy(witness, url=public)), host=None, created=1)
    assert [each.url for each in TlogPolicy.parse(log.policy).logs] == [public, public]
    assert log.url == URL


def test_a_key_that_the_policy_has_no_line_for_gets_one(witness: tuple[str, ...]) -> None:
    lines = policy(witness).splitlines(keepends=True)
    without = "".join(line for line in lines if KEYS[1] not in line)
    log = served_log(LogService(URL, KEYS, without), host=None, created=1)
    assert [each.verifier.vkey for each in TlogPolicy.parse(log.policy).logs] == list(KEYS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vkeys": ()}, "Ed25519 key of the log is missing"),
        ({"vkeys": (KEYS[1],)}, "Ed25519 key of the log is missing"),
        ({"vkeys": (KEYS[0], KEYS[0])}, "one Ed25519 key"),
        ({"vkeys": (KEYS[0],)}, "names another log, or another key"),
        ({"vkeys": ("nonsense",)}, "vkey"),
        ({"vkeys": (log_vkey("CN-GD/log", Ed25519Signer.generate()),)}, "lower case"),
        ({"vkeys": (KEYS[0], log_vkey("us-il.example/log", MlDsa44Signer.generate()))}, "not of the same log"),
        ({"policy": "quorum none\n"}, "asks for no witness"),
        ({"policy": "nonsense\n"}, "does not begin with"),
        ({"url": "file:///etc/passwd"}, "http"),
        ({"url": "http://127.0.0.1:8480/log?x"}, "no `\\?`"),
        ({"url": "http://127.0.0.1:8480/a b"}, "no spaces"),
        ({"url": "http://127.0.0.1:8480/\nquorum none"}, "no spaces"),
        ({"number": 0}, "number"),
    ],
)
def test_a_served_log_that_cannot_be_this_regions_is_refused_and_no_region_made(
    tmp_path: Path, witness: tuple[str, ...], change: dict[str, Any], message: str
) -> None:
    settings = Settings(tmp_path / "data", b"x", CHEAP)
    with pytest.raises(ChopmarkError, match=message):
        Region.create(settings, served_plan(witness, **change))
    with pytest.raises(ChopmarkError, match="no region"):
        Region.open(settings)


def test_a_region_and_its_log_share_one_host(tmp_path: Path, witness: tuple[str, ...]) -> None:
    plan = replace(served_plan(witness), host="us-il.example")
    with pytest.raises(RefusedError, match="not under us-il"):
        Region.create(Settings(tmp_path / "data", b"x", CHEAP), plan)


def test_the_witnesses_of_a_served_log_are_those_of_its_policy(tmp_path: Path, witness: tuple[str, ...]) -> None:
    plan = replace(served_plan(witness), witnesses=(tmp_path,))
    with pytest.raises(RefusedError, match="stand in its policy"):
        Region.create(Settings(tmp_path / "data", b"x", CHEAP), plan)


def test_a_served_log_knows_the_registry_by_a_key_of_its_own(tmp_path: Path, witness: tuple[str, ...]) -> None:
    settings = Settings(tmp_path / "data", b"x", CHEAP)
    with Region.create(settings, served_plan(witness)) as region:
        assert region.host == "cn-gd.example"
        assert not settings.log.exists(), "the log is somewhere else"
        key = region.log_client_key
        assert key is not None
        with region.database.reading() as connection:
            owned = inventory(connection, owner="CN-GD")
        assert {(each.use, each.public_key) for each in owned if each.use is not InventoryUse.ROOT} == {
            (InventoryUse.LOG_CLIENT, key)
        }
        file = settings.keys / f"{key.kid.hex()}.key"
        assert read_key_file(file).load(settings.passphrase).private_bytes() not in file.read_bytes()
        jwk, told = enrolment("CN-GD", key)
        assert set(json.loads(jwk)) == {"kty", "crv", "x", "kid", "alg", "use"}
        assert shlex.split(told) == [
            *("chopmark", "log", "add-client", "LOG_DATA", client_name("CN-GD", key), "--region", "CN-GD", "--jwk", "-")
        ]
        with pytest.raises(RefusedError, match="belongs to the region"):
            region.add_key("CN-GD/11440000MB99990015", InventoryUse.LOG_CLIENT)


def test_a_log_in_the_registrys_process_signs_with_two_keys_that_the_bundle_names(world: Any) -> None:
    region = world.guangdong
    region.publish()
    vkeys = region.log.vkeys
    assert [NoteVerifier.from_vkey(vkey).type for vkey in vkeys] == [0x01, 0x06]
    note = Note.parse(region.ledger.checkpoint())
    verified = note.verify([NoteVerifier.from_vkey(vkey) for vkey in vkeys])
    assert [key.vkey for key in verified] == list(vkeys)
    roots = Roots.pin((region.settings.public / "root" / "1.note").read_bytes())
    bundle = TrustBundle.parse((region.settings.public / "bundle.note").read_bytes(), roots=roots)
    (log,) = bundle.logs
    assert log.vkeys == vkeys
    assert [each.verifier.vkey for each in TlogPolicy.parse(log.policy_text).logs] == list(vkeys)
    with region.database.reading() as connection:
        held = inventory(connection, owner="CN-GD", use=InventoryUse.LOG)
    assert {each.public_key.algorithm for each in held} == {Algorithm.ED25519, Algorithm.ML_DSA_44}
    assert region.log_client_key is None


def test_a_region_made_before_logs_had_two_keys_keeps_working(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = region_log.plan_own

    def with_one_key(*arguments: Any, **named: Any) -> region_log.RegionLog:
        log = made(*arguments, **named)
        lines = [line for line in log.policy.splitlines(keepends=True) if line.split()[1] != log.pq_vkey]
        return replace(log, pq_vkey=None, policy="".join(lines))

    monkeypatch.setattr("chopmark_issuer.region.plan_own", with_one_key)
    settings = Settings(tmp_path / "us-il", b"x", CHEAP, witness_passphrase=world.shanghai.settings.passphrase)
    plan = RegionPlan("US-IL", LocalisedText("示例", "Sample"), (tmp_path / "cn-sh-witness",))
    Region.create(settings, plan, clock=world.clock).close()
    with Region.open(settings, clock=world.clock) as region:
        assert region.publish().bundle == 1
        assert len(Note.parse(region.ledger.checkpoint() or b"").signatures) == 1 + 2, "log, and witness with two keys"
        assert region.log.vkeys == (region.log.vkey,)


def test_a_registry_of_the_first_schema_is_brought_to_this_one_and_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection, connection.begin():
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO region VALUES (1, 'CN-GD', '示例', 'Sample', 'cn-gd.example', 'cn-gd.example/log', 1, "
                "'vkey', 'policy', 7)"
            )
        )
        connection.execute(text("INSERT INTO outbox (id, entry, log_index) VALUES (1, x'61', 5), (2, x'62', NULL)"))
    engine.dispose()
    database = open_database(path)
    with database.reading() as connection:
        log = region_log.RegionLog.of(connection.execute(select(REGION)).one())
        rows = connection.execute(select(OUTBOX.c.id, OUTBOX.c.log_index, OUTBOX.c.refused)).all()
    database.close()
    assert (log.vkeys, log.url) == (("vkey",), None)
    assert [tuple(row) for row in rows] == [(1, 5, None), (2, None, None)]


def test_a_served_log_whose_url_was_lost_is_not_taken_for_one_of_this_process(world: Any) -> None:
    with world.guangdong.database.writing() as connection:
        connection.execute(update(REGION).values(log_url=URL))
    with (
        Region.open(world.guangdong.settings, clock=world.clock) as region,
        pytest.raises(RefusedError, match="log-client"),
    ):
        _ = region.ledger
    with pytest.raises(FormatError, match="not served"):
        region_log.open_served(
            world.guangdong.log,
            Ed25519Signer.generate(),
            world.guangdong.settings,
            region="CN-GD",
            random=bytes,
        )
