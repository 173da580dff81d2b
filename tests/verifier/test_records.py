from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chopmark.errors import FormatError, SignatureError, StorageError, TrustError
from chopmark.issuer_key import Revocation, RevocationReason
from chopmark.keys import Ed25519Signer, Signer
from chopmark.verdict import Check, Outcome, Result, Verdict
from chopmark.verification_record import create_record
from chopmark_verifier.enrolment import inspector_of
from chopmark_verifier.records import RecordFolder, read_record, verify_filed

from specs.vectors.sample_world import DAY, INSPECTOR, NOW, SampleWorld

VERDICT = Verdict(Outcome.VALID, tuple(Check(number, Result.PASS, "parsed") for number in range(10)), NOW)


def record(signer: Signer, *, at: int = NOW, inspector: str = INSPECTOR, **options: Any) -> str:
    return create_record(VERDICT, signer, inspector=inspector, purpose="年度检查", at=at, **options)


@pytest.fixture
def signer() -> Signer:
    return Ed25519Signer(bytes(32))


def test_a_record_is_filed_by_its_day_and_id(tmp_path: Path, signer: Signer) -> None:
    text = record(signer, random=lambda size: b"\xab" * size)
    path = RecordFolder(tmp_path / "a" / "records").file(text)
    assert path == tmp_path / "a" / "records" / "2026-11-22" / f"{'ab' * 16}.jwt"
    assert path.read_text() == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_day_is_utc(tmp_path: Path, signer: Signer) -> None:
    folder = RecordFolder(tmp_path)
    midnight = NOW - NOW % DAY
    assert folder.file(record(signer, at=midnight - 1)).parent.name == "2026-11-21"
    assert folder.file(record(signer, at=midnight)).parent.name == "2026-11-22"


def test_a_filed_record_is_never_replaced(tmp_path: Path, signer: Signer) -> None:
    folder = RecordFolder(tmp_path)
    path = folder.file(record(signer, random=bytes))
    before = path.read_bytes()
    with pytest.raises(StorageError, match="filed already"):
        folder.file(record(Ed25519Signer(b"other".ljust(32)), random=bytes))
    assert path.read_bytes() == before


def test_what_is_no_record_is_not_filed(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        RecordFolder(tmp_path).file("eyJ.x.y")
    assert list(tmp_path.iterdir()) == []


def test_records_are_listed_by_time(tmp_path: Path, signer: Signer) -> None:
    folder = RecordFolder(tmp_path)
    times = [NOW + 50, NOW - DAY, NOW, NOW + DAY]
    for at in times:
        folder.file(record(signer, at=at))
    listed = [each.unverified.record.issued_at for each in folder.filed() if each.unverified is not None]
    assert listed == sorted(times)


def test_a_file_that_is_no_record_is_told(tmp_path: Path, signer: Signer) -> None:
    folder = RecordFolder(tmp_path)
    path = folder.file(record(signer))
    (path.parent / "damaged.jwt").write_bytes(b"\xff")
    (path.parent / "large.jwt").write_bytes(b"x" * 100_000)
    (path.parent / f"{'00' * 16}.jwt").write_bytes(path.read_bytes())
    (path.parent / ".half-written.jwt.tmp").write_bytes(b"")
    (path.parent / "notes.txt").write_bytes(b"")
    (tmp_path / "elsewhere").mkdir()
    found = {each.path.name: each.problem for each in folder.filed()}
    assert found.keys() == {path.name, "damaged.jwt", "large.jwt", f"{'00' * 16}.jwt"}
    assert found[path.name] == ""
    assert "not a verification record" in found["damaged.jwt"]
    assert "limit" in found["large.jwt"]
    assert path.stem in found[f"{'00' * 16}.jwt"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        list(RecordFolder(tmp_path / "none").filed())
    with pytest.raises(StorageError, match="no such file"):
        read_record(tmp_path / "none.jwt")


def test_a_filed_record_verifies_with_the_key_in_the_bundle(out: Any) -> None:
    inspection = out.desk().inspect(out.credentials["food"].encode(), purpose="年度检查")
    read = verify_filed(read_record(inspection.path), out.store)
    assert (read.inspector, read.purpose) == (INSPECTOR, "年度检查")


def test_a_record_by_another_key_is_refused(out: Any, signer: Signer) -> None:
    with pytest.raises(TrustError, match="enrols no such key"):
        verify_filed(record(signer), out.store)


def test_a_record_under_the_kid_of_another_key_is_refused(out: Any, signer: Signer) -> None:
    header, payload, _ = record(out.world.inspector_signer).split(".")
    signature = record(signer).split(".")[2]
    with pytest.raises(SignatureError):
        verify_filed(f"{header}.{payload}.{signature}", out.store)


def test_a_credential_key_signs_no_record(out: Any) -> None:
    issuer = "CN-GD/11440000MB99990015"
    text = record(out.world.peer.signers[issuer, "credential"], inspector=issuer)
    with pytest.raises(TrustError, match="for the use `credential`"):
        verify_filed(text, out.store)


def test_a_record_of_a_region_without_a_bundle_is_refused(out: Any, signer: Signer) -> None:
    with pytest.raises(TrustError, match="no bundle of CN-BJ"):
        verify_filed(record(signer, inspector="CN-BJ/X"), out.store)


def test_a_record_dated_outside_the_key_s_window_is_refused(out: Any) -> None:
    for at in (NOW - 400 * DAY, NOW + 10 * 365 * DAY):
        with pytest.raises(TrustError, match="outside its window"):
            verify_filed(record(out.world.inspector_signer, at=at), out.store)


@pytest.mark.parametrize(
    ("reason", "at", "counts"),
    [
        (RevocationReason.SUPERSEDED, NOW - 1, True),
        (RevocationReason.SUPERSEDED, NOW, False),
        (RevocationReason.COMPROMISED, NOW - 1, False),
    ],
)
def test_of_a_revoked_key_what_it_signed_before_counts_unless_it_was_compromised(
    make_field: Any, reason: RevocationReason, at: int, counts: bool
) -> None:
    def revoke(world: SampleWorld) -> None:
        world.home.keys = [replace(key, revoked=Revocation(NOW, reason, ())) for key in world.home.keys]

    field = make_field(revoke)
    text = record(field.world.inspector_signer, at=at)
    if counts:
        assert verify_filed(text, field.store).issued_at == at
    else:
        with pytest.raises(TrustError, match=f"revoked: {reason}"):
            verify_filed(text, field.store)


def test_the_organisation_of_a_key_is_found_in_the_bundle(out: Any, signer: Signer) -> None:
    assert inspector_of(out.store.home, out.world.inspector_signer.public_key) == INSPECTOR
    with pytest.raises(TrustError, match="no such inspector key"):
        inspector_of(out.store.home, signer.public_key)
    issuer_key = out.world.peer.signers["CN-GD/11440000MB99990015", "credential"].public_key
    with pytest.raises(TrustError, match="no such inspector key"):
        inspector_of(out.store.bundle("CN-GD"), issuer_key)
