from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chopmark import qr_text
from chopmark.bundle_entries import IssuerState, IssuerStatus
from chopmark.challenge import Challenge, create_challenge
from chopmark.errors import FormatError, StorageError, TrustError
from chopmark.issuer_key import KeyUse, Revocation, RevocationReason
from chopmark.keys import Ed25519Signer
from chopmark.presentation import present
from chopmark.verdict import Outcome
from chopmark.verification_record import read_unverified, verify_record
from chopmark_verifier.desk import InspectionDesk

from specs.vectors.sample_world import DAY, INSPECTOR, NOW, SampleWorld

PURPOSE = "工地入场核验"
CONSTRUCTOR = "CN-GD/11100000MB99991003003@1"
FOOD = "CN-GD/11100000MB99991003001@1"


def code(field: Any, kind: str = "constructor", **options: Any) -> str:
    credential = field.credentials[kind]
    shown = present(credential, field.world.holder, at=field.clock.now, **options) if kind != "food" else credential
    return qr_text.encode(shown.encode())


def change_key(**changes: Any) -> Callable[[SampleWorld], None]:
    def change(world: SampleWorld) -> None:
        world.home.keys = [replace(key, **changes) for key in world.home.keys]

    return change


def test_a_licence_is_verified_and_the_record_filed(out: Any) -> None:
    inspection = out.desk().inspect(code(out, "food"), purpose="年度检查")
    assert inspection.verdict.outcome is Outcome.VALID
    assert inspection.path.read_text() == inspection.record
    record = verify_record(inspection.record, out.world.inspector_signer.public_key)
    assert (record.inspector, record.purpose, record.issued_at) == (INSPECTOR, "年度检查", NOW)
    assert record.outcome is Outcome.VALID
    assert record.verdict["credential_digest"] == out.credentials["food"].digest.hex()
    assert set(record.bundles) == {"CN-SH", "CN-GD"}
    assert record.bundles["CN-GD"]["sha256"] == out.store.bundle("CN-GD").digest.hex()


def test_no_datum_of_the_licence_is_filed_unless_asked(out: Any) -> None:
    desk = out.desk()
    text = code(out, disclose=[2, 3, 4])
    plain = read_unverified(desk.inspect(text, purpose=PURPOSE).record).record
    assert plain.fields is None
    assert plain.licence_number is None
    everything = str(plain)
    for value in (
        "示例持证人",
        "440100199001010000",
        "示例建设工程有限公司",
        out.credentials["constructor"].claims.licence_number,
    ):
        assert value not in everything
    asked = desk.inspect(code(out, "food"), purpose=PURPOSE, with_fields=True)
    record = read_unverified(asked.record).record
    assert record.fields is not None
    assert record.fields["business_name"] == "示例餐饮有限公司"
    assert record.licence_number == out.credentials["food"].claims.licence_number


def test_a_refusal_is_recorded_too(out: Any) -> None:
    inspection = out.desk().inspect("EL1:NOT A LICENCE", purpose=PURPOSE)
    assert inspection.verdict.outcome is Outcome.INVALID
    assert read_unverified(inspection.record).record.outcome is Outcome.INVALID
    assert inspection.path.exists()


def test_a_file_is_inspected_as_its_bytes(out: Any) -> None:
    inspection = out.desk().inspect(out.credentials["food"].encode(), purpose=PURPOSE)
    assert inspection.verdict.outcome is Outcome.VALID


def test_an_answered_challenge_is_valid_and_another_answer_is_not(out: Any) -> None:
    desk = out.desk()
    challenge = desk.ask(PURPOSE, "CN-GD/11100000MB99991003002@1", fields=[2])
    challenge.verify(out.world.inspector_signer.public_key)
    assert (challenge.inspector, challenge.purpose, challenge.fields) == (INSPECTOR, PURPOSE, (2,))
    assert challenge.expires == NOW + 120
    answer = code(out, "transport", challenge=challenge, disclose=[2])
    inspection = desk.inspect(answer, purpose=PURPOSE, challenge=challenge)
    assert inspection.verdict.outcome is Outcome.VALID
    assert inspection.verdict.checks[2].reason == "challenge_answered"
    second = desk.ask(PURPOSE, "CN-GD/11100000MB99991003002@1", fields=[2])
    assert desk.inspect(answer, purpose=PURPOSE, challenge=second).verdict.outcome is Outcome.INVALID
    unasked = desk.inspect(code(out, "transport"), purpose=PURPOSE)
    assert unasked.verdict.checks[2].reason == "challenge_required"


def test_a_presentation_is_taken_once_at_one_desk(out: Any) -> None:
    desk, text = out.desk(), code(out)
    assert desk.inspect(text, purpose=PURPOSE).verdict.outcome is Outcome.VALID
    again = desk.inspect(text, purpose=PURPOSE)
    assert again.verdict.checks[2].reason == "replayed"
    # The memory is the desk's own: a new one does not know of it. The module says so.
    assert out.desk().inspect(text, purpose=PURPOSE).verdict.outcome is Outcome.VALID


def test_a_presentation_grows_old_by_the_desk_s_clock(out: Any) -> None:
    desk, text = out.desk(), code(out)
    out.clock.now += 91
    inspection = desk.inspect(text, purpose=PURPOSE)
    assert inspection.verdict.checks[2].reason == "presentation_too_old"
    assert read_unverified(inspection.record).record.issued_at == NOW + 91


def each_way(desk: InspectionDesk, text: str) -> list[Callable[[], object]]:
    return [lambda: desk.ask(PURPOSE, CONSTRUCTOR), lambda: desk.inspect(text, purpose=PURPOSE)]


def test_a_key_that_nobody_enrolled_asks_and_records_nothing(out: Any) -> None:
    stranger = InspectionDesk(
        out.store, Ed25519Signer(bytes(32)), inspector=INSPECTOR, folder=out.records, clock=out.clock
    )
    for act in each_way(stranger, code(out)):
        with pytest.raises(TrustError, match="enrols no such key") as caught:
            act()
        assert "enrol" in caught.value.remedy
    assert not out.records.exists()


@pytest.mark.parametrize(
    ("inspector", "problem"),
    [("CN-SH/11310000MB99990999", "enrols no such key"), ("CN-GD/11440000MB99990015", "trust store is of CN-SH")],
)
def test_a_key_speaks_for_its_own_organisation_only(out: Any, inspector: str, problem: str) -> None:
    for act in each_way(out.desk(inspector=inspector), code(out)):
        with pytest.raises(TrustError, match=problem):
            act()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"use": KeyUse.STATUS}, "for the use `status`"),
        ({"not_after": NOW}, "outside its window"),
        ({"not_before": NOW + 1}, "outside its window"),
        ({"revoked": Revocation(NOW, RevocationReason.SUPERSEDED, ())}, "revoked: superseded"),
        ({"revoked": Revocation(NOW + DAY, RevocationReason.COMPROMISED, ())}, "revoked: compromised"),
    ],
)
def test_a_key_not_in_force_asks_and_records_nothing(make_field: Any, changes: dict[str, Any], problem: str) -> None:
    field = make_field(change_key(**changes))
    for act in each_way(field.desk(), code(field)):
        with pytest.raises(TrustError, match=problem):
            act()
    assert not field.records.exists()


def test_a_key_works_until_it_is_superseded(make_field: Any) -> None:
    field = make_field(change_key(revoked=Revocation(NOW + 1, RevocationReason.SUPERSEDED, ())))
    assert field.desk().inspect(code(field), purpose=PURPOSE).verdict.outcome is Outcome.VALID
    field.clock.now += 1
    with pytest.raises(TrustError, match="superseded"):
        field.desk().inspect(code(field), purpose=PURPOSE)


def test_an_organisation_that_is_suspended_inspects_nothing(make_field: Any) -> None:
    def suspend(world: SampleWorld) -> None:
        states = (world.home.issuers[0].status[0], IssuerStatus(IssuerState.SUSPENDED, NOW - DAY, None))
        world.home.issuers[0] = replace(world.home.issuers[0], status=states)

    field = make_field(suspend)
    for act in each_way(field.desk(), code(field)):
        with pytest.raises(TrustError, match="is suspended"):
            act()


def test_what_nobody_can_answer_is_not_asked(out: Any) -> None:
    desk = out.desk()
    with pytest.raises(FormatError, match="nobody can answer"):
        desk.ask(PURPOSE, FOOD)
    with pytest.raises(FormatError, match="no field 99"):
        desk.ask(PURPOSE, CONSTRUCTOR, fields=[2, 99])
    for unknown in ("CN-GD/11100000MB99991003003@2", "CN-BJ/X@1", "nonsense", ""):
        with pytest.raises(TrustError, match="does not know it"):
            desk.ask(PURPOSE, unknown)


@pytest.mark.parametrize("purpose", ["", "x" * 201, "a\nb"])
def test_every_inspection_names_its_purpose(out: Any, purpose: str) -> None:
    with pytest.raises(FormatError, match="purpose"):
        out.desk().ask(purpose, CONSTRUCTOR)
    with pytest.raises(FormatError, match="purpose"):
        out.desk().inspect(code(out), purpose=purpose)
    assert not out.records.exists()


def challenge_by(out: Any, signer: Any, **changes: Any) -> Challenge:
    values = {"inspector": INSPECTOR, "purpose": PURPOSE, "licence_type": CONSTRUCTOR, "at": NOW, **changes}
    return create_challenge(signer, **values)


def test_a_challenge_serves_the_desk_that_asked_it_and_its_purpose(out: Any) -> None:
    desk, own = out.desk(), out.world.inspector_signer
    for challenge, problem in (
        (challenge_by(out, own, inspector="CN-SH/11310000MB99990999"), "not by this desk"),
        (challenge_by(out, own, purpose="another"), "another purpose"),
        (challenge_by(out, Ed25519Signer(bytes(32))), "another key"),
    ):
        text = code(out, challenge=challenge)
        with pytest.raises(FormatError, match=problem):
            desk.inspect(text, purpose=PURPOSE, challenge=challenge)
    assert not out.records.exists()


@pytest.mark.parametrize("syncs", [0, 1, 2])
def test_an_inspection_that_cannot_be_filed_is_none(out: Any, monkeypatch: pytest.MonkeyPatch, syncs: int) -> None:
    left = iter([None] * syncs)
    sync = os.fsync

    def full(descriptor: int) -> None:
        if next(left, "full") == "full":
            raise OSError(28, "No space left on device")
        sync(descriptor)

    desk = out.desk()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        desk.inspect(code(out, "food"), purpose=PURPOSE)
    assert caught.value.remedy
    assert [path for path in out.records.rglob("*") if path.is_file()] == []


def test_a_folder_that_is_a_file_is_named(out: Any) -> None:
    out.records.write_text("")
    with pytest.raises(StorageError) as caught:
        out.desk().inspect(code(out, "food"), purpose=PURPOSE)
    assert str(out.records) in caught.value.where


def test_a_desk_needs_a_bundle_of_its_region(out: Any, tmp_path: Path) -> None:
    empty = type(out.store).create(tmp_path / "empty", roots=out.world.home.roots)
    desk = InspectionDesk(empty, out.world.inspector_signer, inspector=INSPECTOR, folder=out.records, clock=out.clock)
    with pytest.raises(TrustError):
        desk.inspect(code(out, "food"), purpose=PURPOSE)
