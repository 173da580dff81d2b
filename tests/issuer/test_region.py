from __future__ import annotations

import json
import stat
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from chopmark.challenge import create_challenge
from chopmark.entries import (
    CredentialEntry,
    LandmarkFileEntry,
    StatusListEntry,
    TrustBundleEntry,
    TrustStatementEntry,
    parse_entry,
)
from chopmark.errors import ChopmarkError, KeyMaterialError, QuorumError
from chopmark.issuer_key import RevocationReason
from chopmark.key_file import ScryptCost
from chopmark.keys import Ed25519Signer
from chopmark.licence_type import LocalisedText
from chopmark.note import Note
from chopmark.presentation import present
from chopmark.verdict import Outcome
from chopmark.verifier import Verifier
from chopmark_issuer.catalogue.holders import Holder
from chopmark_issuer.errors import ConflictError, NotFoundError, RefusedError
from chopmark_issuer.keys.keys import InventoryUse
from chopmark_issuer.licences.requests import IssueRequest
from chopmark_issuer.lifecycle import Act
from chopmark_issuer.publishing.policies import default_floor, log_policy
from chopmark_issuer.publishing.root_keys import root_epochs
from chopmark_issuer.qr import draw_credential
from chopmark_issuer.region import Region, RegionPlan
from chopmark_issuer.settings import Settings
from chopmark_issuer.storage import outbox
from chopmark_issuer.storage.models import STATUS_TOKEN
from chopmark_ledger.client import WitnessAnswer, init_witness, log_vkey
from PIL import Image
from sqlalchemy import select

DAY = 86_400


def outcome(world: Any, store: Any, text: str) -> tuple[Outcome, list[str]]:
    verdict = Verifier(store, clock=world.clock).verify(text)
    return verdict.outcome, [check.reason for check in verdict.checks if check.result.name != "PASS"]


@pytest.mark.both_databases
def test_a_licence_of_one_region_verifies_in_the_other_from_its_published_files_alone(world: Any) -> None:
    issued = world.issue_food()
    world.peer_and_publish()
    store = world.store(world.shanghai)
    assert world.refresh(store) == []
    assert outcome(world, store, world.text(issued.number)) == (Outcome.VALID, [])


def test_acts_reach_the_inspector_with_the_next_publication(world: Any) -> None:
    issued = world.issue_food()
    world.peer_and_publish()
    store = world.store(world.shanghai)
    text = world.text(issued.number)
    actor = world.guangdong.actor(world.markets)
    for act, expected in ((Act.SUSPEND, "suspended"), (Act.RETURN, None), (Act.REVOKE, "revoked")):
        world.clock.time += 60
        world.guangdong.registry.record(actor, issued.number, act, at=world.clock())
        world.guangdong.publish()
        world.refresh(store)
        reached, reasons = outcome(world, store, text)
        assert (reached is Outcome.VALID) == (expected is None)
        assert reasons == ([] if expected is None else [expected])


def test_a_bound_licence_verifies_from_the_holders_key_and_answers_a_challenge(world: Any) -> None:
    region = world.guangdong
    issued = region.registry.issue(
        region.actor(world.transport),
        IssueRequest(
            world.driver_type,
            {"name": "示例从业人员", "vehicle_class": "B2"},
            (Holder("示例从业人员"),),
            date(2026, 11, 1),
            date(2032, 10, 31),
            holder_keys=(world.holder_key.public_key,),
        ),
        at=world.clock(),
    )
    world.peer_and_publish()
    store = world.store(region)
    credential = region.with_proofs(region.registry.credentials(issued.number)[0], tlog_proof=True)
    assert credential.landmark_proof is not None
    assert credential.tlog_proof is not None
    inspector = next(key for key in region.keys_of(world.markets) if key.use is InventoryUse.INSPECTOR)
    challenge = create_challenge(
        region.keys.signer(inspector.kid),
        inspector=world.markets,
        purpose="roadside check",
        licence_type=credential.claims.licence_type,
        fields=[1],
        at=world.clock(),
    )
    shown = present(credential, world.holder_key, at=world.clock(), challenge=challenge, disclose=[1])
    verdict = Verifier(store, clock=world.clock).verify_bytes(shown.encode(), challenge=challenge.text())
    assert verdict.outcome is Outcome.VALID, verdict.checks


def test_the_log_holds_every_kind_of_entry_and_no_word_of_a_licence(world: Any) -> None:
    world.issue_food()
    world.peer_and_publish()
    entries = [parse_entry(entry) for entry in world.guangdong.ledger.entries(1, world.guangdong.ledger.size)]
    kinds = {type(entry) for entry in entries}
    assert kinds == {CredentialEntry, StatusListEntry, TrustStatementEntry, TrustBundleEntry, LandmarkFileEntry}
    raw = b"".join(world.guangdong.ledger.entries(0, world.guangdong.ledger.size))
    assert "示例餐饮有限公司".encode() not in raw


@pytest.mark.both_databases
def test_statements_say_what_changed_and_are_signed_by_the_roots(world: Any) -> None:
    world.guangdong.publish()
    world.guangdong.end_grant(world.markets, world.food_type)
    world.clock.time += 5
    world.guangdong.publish()
    entries = [parse_entry(entry) for entry in world.guangdong.ledger.entries(1, world.guangdong.ledger.size)]
    notes = [Note.parse(entry.note) for entry in entries if isinstance(entry, TrustStatementEntry)]
    with world.guangdong.database.reading() as connection:
        roots = root_epochs(connection)[1]
    for note in notes:
        roots.verify_note(note)
        assert len(note.signatures) == len(roots.verifiers) == 2 * len(roots.signatories)
    bundle = Note.parse((world.guangdong.settings.public / "bundle.note").read_bytes())
    assert len(bundle.signatures) == len(roots.verifiers)
    latest = json.loads(notes[-1].text)
    assert latest["format"] == "chopmark/trust-statement/v1"
    assert latest["seq"] == 2
    assert [change["array"] for change in latest["changes"]] == ["grants"]
    assert latest["changes"][0]["entry"]["licence_type"] == world.food_type


@pytest.mark.both_databases
def test_publishing_again_changes_nothing(world: Any) -> None:
    world.issue_food()
    world.peer_and_publish()
    world.guangdong.publish()

    def files() -> dict[Path, bytes]:
        return {
            path: path.read_bytes()
            for folder in (world.guangdong.settings.public, world.guangdong.settings.log / "public")
            for path in folder.rglob("*")
            if path.is_file()
        }

    before = files()
    published = world.guangdong.publish()
    assert (published.entries, published.status_lists, published.bundle, published.files) == (0, 0, None, ())
    assert files() == before


def test_lists_and_bundle_are_signed_anew_before_they_grow_old(world: Any) -> None:
    world.issue_food()
    first = world.guangdong.publish()
    assert (first.status_lists, first.bundle) == (1, 1)
    world.clock.time += DAY
    later = world.guangdong.publish()
    assert (later.status_lists, later.bundle) == (1, 2)


def test_two_lists_in_one_second_still_rise_in_time(world: Any) -> None:
    issued = world.issue_food()
    world.guangdong.publish()
    world.guangdong.registry.record(world.guangdong.actor(world.markets), issued.number, Act.SUSPEND, at=world.clock())
    world.guangdong.publish()
    with world.guangdong.database.reading() as connection:
        assert connection.execute(select(STATUS_TOKEN.c.issued_at)).scalar_one() == world.clock() + 1


class AbsentWitness:
    """A witness that cannot be reached."""

    name = "cn-sh.example/witness"

    def __init__(self, vkey: str) -> None:
        self.vkeys = (vkey,)

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        raise QuorumError("nobody answers")


def test_without_a_quorum_nothing_new_is_published_and_the_next_time_goes_on(world: Any) -> None:
    world.guangdong.publish()
    before = (world.guangdong.settings.public / "bundle.note").read_bytes()
    issued = world.issue_food()
    world.guangdong.close()
    witness = next(line.split()[2] for line in world.guangdong.policy.splitlines() if line.startswith("witness"))
    with Region.open(world.guangdong.settings, clock=world.clock, witnesses=[AbsentWitness(witness)]) as cut_off:
        with pytest.raises(QuorumError):
            cut_off.publish()
        assert (cut_off.settings.public / "bundle.note").read_bytes() == before
        assert not (cut_off.settings.public / "status").exists()
    with Region.open(world.guangdong.settings, clock=world.clock) as region:
        published = region.publish()
        assert "status/1" in published.files
        assert region.registry.credentials(issued.number)[0].log_index is not None


def test_entries_that_the_log_refuses_are_told_and_hold_up_nothing(world: Any) -> None:
    region = world.guangdong
    foreign = CredentialEntry("US-IL/CHICAGO-BACP", b"\x11" * 32).encode()
    with region.database.writing() as connection:
        outbox.enqueue(connection, [foreign, b"junk", foreign])
    issued = world.issue_food()
    published = region.publish()
    assert len(published.problems) == 2
    assert published.problems[0].startswith(
        "the log refuses 2 entries, the first of them credential 1111111111111111 of US-IL/CHICAGO-BACP: "
    )
    assert published.problems[1].startswith("the log refuses 4 bytes that are no entry: ")
    assert region.with_proofs(region.registry.credentials(issued.number)[0]).landmark_proof is not None
    assert region.publish().problems == published.problems, "as long as they are refused"


def test_new_roots_are_followed_by_peers_and_inspectors(world: Any) -> None:
    issued = world.issue_food()
    world.peer_and_publish()
    store = world.store(world.shanghai)
    world.clock.time += 60
    world.guangdong.rotate_roots(count=5, threshold=3)
    world.guangdong.publish()
    world.shanghai.publish()
    assert world.refresh(store) == []
    assert store.roots("CN-GD").epoch == 2
    assert outcome(world, store, world.text(issued.number)) == (Outcome.VALID, [])


def test_a_distrusted_key_counts_below_the_trusted_size_only(world: Any) -> None:
    region = world.guangdong
    below = world.issue_food()
    region.publish()
    size = region.ledger.size
    above = world.issue_food()
    region.publish()
    key = next(key for key in region.keys_of(world.markets) if key.use is InventoryUse.CREDENTIAL)
    world.clock.time += 60
    region.revoke_key(key.kid, RevocationReason.COMPROMISED, trusted_size=size)
    region.add_key(world.markets, InventoryUse.CREDENTIAL)
    world.peer_and_publish()
    store = world.store(world.shanghai)
    assert outcome(world, store, world.text(below.number))[0] is Outcome.VALID
    assert outcome(world, store, world.text(above.number))[0] is Outcome.INVALID
    world.clock.time += 5
    with_new_key = world.issue_food()
    region.publish()
    world.shanghai.publish()
    world.refresh(store)
    assert outcome(world, store, world.text(with_new_key.number)) == (Outcome.VALID, [])


def test_a_code_drawn_as_png_reads_back(world: Any) -> None:
    issued = world.issue_food()
    stored = world.guangdong.registry.credentials(issued.number)[0]
    with pytest.raises(NotFoundError, match="not in the log"):
        world.guangdong.with_proofs(stored)
    with pytest.raises(NotFoundError, match="no landmark"):
        draw_credential(stored.credential)
    world.guangdong.publish()
    picture = draw_credential(world.guangdong.with_proofs(world.guangdong.registry.credentials(issued.number)[0]))
    assert picture.text == world.text(issued.number)
    assert picture.version <= 22
    with Image.open(BytesIO(picture.png())) as image:
        assert [code.text for code in zxingcpp.read_barcodes(image)] == [picture.text]


def test_key_files_are_private_and_never_hold_the_raw_key(world: Any) -> None:
    folder = world.guangdong.settings.keys
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(world.guangdong.settings.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(world.guangdong.settings.database.stat().st_mode) == 0o600
    files = list(folder.iterdir())
    assert len(files) == 2 * 3 + 2 + 2 * 3  # two keys of each root and of the log, three of each of two departments
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        data = path.read_bytes()
        secret = world.guangdong.keys.signer(path.stem).private_bytes()
        assert secret not in data
        assert secret.hex().encode() not in data.lower()
        assert b64encode(secret) not in data
    everything = b"".join(
        path.read_bytes() for path in world.guangdong.settings.data.glob("registry.db*") if path.is_file()
    )
    assert not any(world.guangdong.keys.signer(path.stem).private_bytes() in everything for path in files)


def test_another_passphrase_opens_no_key(world: Any) -> None:
    world.guangdong.close()
    settings = Settings(world.guangdong.settings.data, b"another", world.guangdong.settings.cost)
    with Region.open(settings, clock=world.clock) as region, pytest.raises(KeyMaterialError, match="passphrase"):
        region.publish()


def test_secrets_do_not_show_when_printed(world: Any) -> None:
    settings = Settings(Path("x"), b"hunter2", witness_passphrase=b"hunter3")
    assert "hunter" not in repr(settings) + repr(world.guangdong.keys)


def test_a_region_is_made_once_and_only_with_witnesses_of_others(tmp_path: Path, world: Any) -> None:
    settings = world.guangdong.settings
    plan = RegionPlan("CN-GD", LocalisedText("示例", "Sample"), (tmp_path / "cn-sh-witness",))
    with pytest.raises(ConflictError, match="already"):
        Region.create(settings, plan, clock=world.clock)
    other = Settings(tmp_path / "other", settings.passphrase, settings.cost)
    own_witness = RegionPlan("CN-GD", LocalisedText("示例", "Sample"), (tmp_path / "cn-gd-witness",))
    with pytest.raises(RefusedError, match="its own region"):
        Region.create(other, own_witness, clock=world.clock)
    with pytest.raises(RefusedError, match="code such as"):
        Region.create(other, RegionPlan("Guangdong", LocalisedText("示例", "Sample"), ()), clock=world.clock)
    with pytest.raises(NotFoundError, match="no region"):
        Region.open(Settings(tmp_path / "nowhere", b"x"))


def test_a_peer_must_have_published_and_is_taken_once(world: Any) -> None:
    with pytest.raises(ChopmarkError, match="not published"):
        world.guangdong.add_peer(world.shanghai.settings.data)
    world.shanghai.publish()
    assert world.guangdong.add_peer(world.shanghai.settings.data) == "CN-SH"
    with pytest.raises(ConflictError):
        world.guangdong.add_peer(world.shanghai.settings.data)
    world.guangdong.publish()
    with pytest.raises(RefusedError, match="no peer of itself"):
        world.guangdong.add_peer(world.guangdong.settings.data)


def test_a_peer_that_rewrites_its_landmarks_is_not_vouched_for(world: Any) -> None:
    world.issue_food()
    world.peer_and_publish()
    path = world.guangdong.settings.log / "public" / "landmarks"
    world.issue_food()
    world.guangdong.publish()
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(bytes(data))
    before = (world.shanghai.settings.public / "landmarks" / "CN-GD" / "1.landmarks").read_bytes()
    published = world.shanghai.publish()
    assert any("cn-gd.example/log/2026" in problem for problem in published.problems)
    assert (world.shanghai.settings.public / "landmarks" / "CN-GD" / "1.landmarks").read_bytes() == before


def test_a_peer_that_is_away_does_not_stop_publishing(world: Any) -> None:
    world.peer_and_publish()
    (world.guangdong.settings.public / "bundle.note").unlink()
    published = world.shanghai.publish()
    assert any("peer CN-GD" in problem for problem in published.problems)


def test_an_ended_peering_is_no_longer_vouched_for(world: Any) -> None:
    world.peer_and_publish()
    world.clock.time += 60
    world.shanghai.end_peer("CN-GD")
    world.issue_food()
    world.guangdong.publish()
    assert world.shanghai.publish().vouched == ()
    with pytest.raises(NotFoundError):
        world.shanghai.end_peer("CN-GD")


def test_a_policy_counts_operators_not_keys(tmp_path: Path) -> None:
    vkeys = [
        vkey
        for number, name in enumerate(["a.example/1", "a.example/2", "b.example/1", "c.example/1"])
        for vkey in init_witness(tmp_path / str(number), name=name, passphrase=b"x", cost=ScryptCost(n=2**10))
    ]
    own = log_vkey("d.example/log/2026", Ed25519Signer.generate())
    text = log_policy([own], vkeys, None)
    assert "group operators 2 operator-1 operator-2 operator-3\n" in text
    assert "group operator-1 any witness-1 witness-2 witness-3 witness-4\n" in text, "two witnesses of two keys each"
    assert default_floor(text) == text.partition("\n")[2]
    with pytest.raises(RefusedError, match="4 of 3"):
        log_policy([own], vkeys, 4)
    with pytest.raises(RefusedError, match="needs witnesses"):
        log_policy([own], [], None)


@pytest.mark.parametrize(
    "make",
    [
        lambda region: region.add_department("CN-GD/11440000MB99990015", LocalisedText("示例局", "Sample office")),
        lambda region: region.add_key("CN-GD/11440000MB2D0P8Q30", InventoryUse.STATUS),
        lambda region: region.rotate_roots(),
    ],
)
def test_no_key_is_made_under_a_mistyped_passphrase(world: Any, make: Callable[[Region], object]) -> None:
    settings = world.guangdong.settings
    before = sorted(settings.keys.iterdir())
    with (
        Region.open(replace(settings, passphrase=b"correct hrose"), clock=world.clock) as region,
        pytest.raises(KeyMaterialError, match="no key was made"),
    ):
        make(region)
    assert sorted(settings.keys.iterdir()) == before


@pytest.mark.parametrize("code", ["11440000MB2D0P8Q3X", "11440000MB2", "1144000OMB2D0P8Q30"])
def test_a_department_in_china_needs_a_right_organisation_code(world: Any, code: str) -> None:
    with pytest.raises(RefusedError, match="organisation code") as caught:
        world.guangdong.add_department(f"CN-GD/{code}", LocalisedText("示例局", "Sample office"))
    assert caught.value.where == "department"
