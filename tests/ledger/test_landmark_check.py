"""Recomputing a peer's landmark file: what is vouched for, and each way in which it is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from chopmark import merkle
from chopmark.checkpoint import SignedCheckpoint
from chopmark.cosignature import Cosigner
from chopmark.errors import ChopmarkError, ProofError, QuorumError, SignatureError, StorageError
from chopmark.key_file import read_key_file
from chopmark.landmark import LandmarkFile, LandmarkRecord
from chopmark.tlog_policy import TlogPolicy
from chopmark_ledger.audit.landmark_check import recompute_fetched_landmarks
from chopmark_ledger.client import VouchedLandmarks, open_witness, recompute_landmarks

if TYPE_CHECKING:
    from tests.ledger.conftest import World

ORIGIN = "cn-gd.example/log/2026"
PASSPHRASE = b"a passphrase of this test"


def recompute(world: World, vouched: VouchedLandmarks | None = None) -> VouchedLandmarks:
    policies = [TlogPolicy.parse(world.policy)]
    return recompute_landmarks(world.public, origin=ORIGIN, policies=policies, vouched=vouched)


@pytest.fixture
def grown(world: World) -> World:
    ledger = world.open()
    world.append(ledger, 1, 1500)
    ledger.landmark_now()
    world.append(ledger, 2, 20)
    ledger.landmark_now()
    return world


def rewrite(world: World, change: Callable[[list[LandmarkRecord]], list[LandmarkRecord]]) -> None:
    path = world.public / "landmarks"
    file = LandmarkFile.parse(path.read_bytes())
    header = path.read_bytes()[:16]
    path.write_bytes(header + b"".join(record.encode() for record in change(list(file.records))))


def test_a_true_file_is_recomputed_and_gives_what_its_entry_holds(grown: World) -> None:
    vouched = recompute(grown)
    file = LandmarkFile.parse(vouched.data)
    assert vouched.data == (grown.public / "landmarks").read_bytes()
    assert vouched.records == len(file) == 6
    assert vouched.digest == file.prefix_digest(6)
    assert vouched.checkpoint_size == 1521


def test_a_file_that_grew_is_recomputed_from_where_the_last_time_ended(grown: World) -> None:
    before = recompute(grown)
    ledger = grown.open()
    grown.clock.now += 60
    grown.append(ledger, 3, 30)
    ledger.landmark_now()
    after = recompute(grown, before)
    assert after.records > before.records
    assert recompute(grown, after) == after
    assert recompute(grown) == after


@pytest.mark.parametrize("position", range(6))
def test_a_wrong_hash_is_refused_and_its_record_named(grown: World, position: int) -> None:
    def change(records: list[LandmarkRecord]) -> list[LandmarkRecord]:
        records[position] = replace(records[position], hash=bytes(32))
        return records

    rewrite(grown, change)
    with pytest.raises(ProofError, match=f"record {position}:"):
        recompute(grown)


def test_a_record_of_other_entries_is_refused(grown: World) -> None:
    rewrite(grown, lambda records: [*records[:-1], replace(records[-1], hash=records[0].hash)])
    with pytest.raises(ProofError):
        recompute(grown)


def test_a_record_under_a_checkpoint_nobody_saw_is_refused(grown: World) -> None:
    rewrite(grown, lambda records: [*records[:-1], replace(records[-1], checkpoint_size=9999)])
    with pytest.raises(ProofError, match="larger than the published"):
        recompute(grown)


def test_a_record_dated_after_the_published_checkpoint_is_refused(grown: World) -> None:
    later = grown.clock.now + 3600
    rewrite(grown, lambda records: [*records[:-1], replace(records[-1], witnessed_time=later)])
    with pytest.raises(ProofError, match="dated after"):
        recompute(grown)


def test_a_new_record_that_is_dated_back_is_refused(grown: World) -> None:
    day = 86_400
    ledger = grown.open()
    grown.clock.now += day
    grown.submit(ledger, 3, grown.quiet_entries(1))  # published, and no landmark for it yet
    ledger.publish()
    vouched = recompute(grown)
    assert vouched.records == 6
    grown.clock.now += day
    ledger.landmark_now()
    assert recompute(grown, vouched).records > 6
    earlier = grown.clock.now - 2 * day + 100

    def change(records: list[LandmarkRecord]) -> list[LandmarkRecord]:
        return records[:6] + [replace(record, witnessed_time=earlier) for record in records[6:]]

    rewrite(grown, change)
    with pytest.raises(ProofError, match="was not there at the last vouching"):
        recompute(grown, vouched)


def dated(records: list[LandmarkRecord], first: int, time: int) -> list[LandmarkRecord]:
    """The records, those from `first` on with another witnessed time."""
    return records[:first] + [replace(record, witnessed_time=time) for record in records[first:]]


def test_one_witness_that_dates_back_does_not_lower_the_bound_for_later_records(world: World) -> None:
    begin, day = world.clock.now, 86_400
    liar = open_witness(world.folder / "cn-sh", PASSPHRASE, clock=lambda: 1)
    ledger = world.open([liar, *world.witnesses()[1:]])
    world.append(ledger, 1, 20)
    ledger.landmark_now()
    world.clock.now += day
    world.submit(ledger, 2, world.quiet_entries(1))  # published, and no landmark for it yet
    ledger.publish()
    vouched = recompute(world)
    assert vouched.witnessed_from == begin + day
    world.clock.now += day
    ledger.landmark_now()
    assert recompute(world, vouched).records > vouched.records
    rewrite(world, lambda records: dated(records, vouched.records, begin + 100))
    with pytest.raises(ProofError, match="dated before it"):
        recompute(world, vouched)


def test_one_witness_that_dates_ahead_does_not_raise_the_bound(world: World) -> None:
    ledger = world.open(world.witnesses()[1:])
    world.append(ledger, 1, 20)
    ledger.landmark_now()
    later = world.clock.now + 86_400
    key = read_key_file(world.folder / "cn-sh" / "witness.key").load(PASSPHRASE)
    signed = SignedCheckpoint.parse((world.public / "checkpoint").read_bytes())
    lie = Cosigner("cn-sh.example/witness", key).cosign(signed.checkpoint, later)
    (world.public / "checkpoint").write_bytes(signed.with_signature(lie).encode())
    recompute(world)
    rewrite(world, lambda records: dated(records, len(records) - 1, later))
    with pytest.raises(ProofError, match="dated after"):
        recompute(world)


def test_tiles_that_do_not_make_the_root_are_refused_though_no_record_is_new(grown: World) -> None:
    vouched = recompute(grown)
    (grown.public / "tile/0/005.p/241").write_bytes(bytes(241 * 32))
    with pytest.raises(ProofError, match="another root"):
        recompute(grown, vouched)


def test_a_new_record_under_an_older_checkpoint_is_refused(grown: World) -> None:
    ledger = grown.open()
    grown.append(ledger, 3, 400)
    ledger.publish()
    vouched = recompute(grown)
    read = ledger._log.read_nodes

    def change(records: list[LandmarkRecord]) -> list[LandmarkRecord]:
        root = merkle.subtree_root(1521, 1522, read)
        return [*records, LandmarkRecord(1521, 1522, root, 1522, records[-1].witnessed_time)]

    rewrite(grown, change)
    with pytest.raises(ProofError, match="was not there at the last vouching"):
        recompute(grown, vouched)


def test_a_rewritten_record_is_refused_though_its_hash_is_right(grown: World) -> None:
    vouched = recompute(grown)
    rewrite(grown, lambda records: [replace(records[0], witnessed_time=1), *records[1:]])
    with pytest.raises(ProofError, match="have changed"):
        recompute(grown, vouched)


def test_a_file_that_shrank_is_refused(grown: World) -> None:
    vouched = recompute(grown)
    rewrite(grown, lambda records: records[:-1])
    with pytest.raises(ProofError, match="have changed"):
        recompute(grown, vouched)


def test_an_older_checkpoint_than_before_is_refused(grown: World) -> None:
    checkpoint = (grown.public / "checkpoint").read_bytes()
    ledger = grown.open()
    grown.append(ledger, 3, 5)
    ledger.publish()
    vouched = recompute(grown)
    (grown.public / "checkpoint").write_bytes(checkpoint)
    with pytest.raises(ProofError, match="older checkpoint"):
        recompute(grown, vouched)


def test_a_checkpoint_without_the_quorum_is_refused(grown: World) -> None:
    lines = (grown.public / "checkpoint").read_text().splitlines(keepends=True)
    (grown.public / "checkpoint").write_text("".join(lines[:6]))
    with pytest.raises(QuorumError):
        recompute(grown)


def test_the_checkpoint_of_another_log_is_refused(grown: World) -> None:
    policy = TlogPolicy.parse(grown.policy)
    with pytest.raises(ProofError, match="not of"):
        recompute_landmarks(grown.public, origin="cn-sh.example/log/2026", policies=[policy])
    with pytest.raises(ProofError, match="no policy"):
        recompute_landmarks(grown.public, origin=ORIGIN, policies=[])


def test_a_floor_that_is_not_met_refuses_the_file(grown: World) -> None:
    policy = TlogPolicy.parse(grown.policy)
    floor = TlogPolicy.parse(grown.policy.replace("group peers 2 R0 R1 R2", "group peers 3 R0 R1 R2"))
    recompute_landmarks(grown.public, origin=ORIGIN, policies=[policy, floor])
    lines = (grown.public / "checkpoint").read_text().splitlines(keepends=True)
    (grown.public / "checkpoint").write_text("".join(line for line in lines if "us-ny.example" not in line))
    recompute_landmarks(grown.public, origin=ORIGIN, policies=[policy])
    with pytest.raises(QuorumError):
        recompute_landmarks(grown.public, origin=ORIGIN, policies=[policy, floor])


@pytest.mark.parametrize("name", ["tile/0/005.p/241", "tile/1/000.p/5"])
def test_a_tile_that_was_tampered_with_is_refused(grown: World, name: str) -> None:
    path = grown.public / name
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ProofError):
        recompute(grown)


@pytest.mark.parametrize("name", ["checkpoint", "landmarks", "tile/1/000.p/5"])
def test_a_missing_file_is_named(grown: World, name: str) -> None:
    (grown.public / name).unlink()
    with pytest.raises(StorageError):
        recompute(grown)


def test_rubbish_in_any_file_raises_an_error_of_ours(grown: World) -> None:
    for name in ("checkpoint", "landmarks"):
        path = grown.public / name
        good = path.read_bytes()
        for bad in (b"", b"\xff" * 100, good[:-1], good + b"\0"):
            path.write_bytes(bad)
            with pytest.raises(ChopmarkError):
                recompute(grown)
        path.write_bytes(good)
    assert recompute(grown)


def test_a_checkpoint_that_somebody_else_signed_is_refused(grown: World) -> None:
    path = grown.public / "checkpoint"
    path.write_text(path.read_text().replace("1521", "1520"))
    with pytest.raises(SignatureError):
        recompute(grown)


def recompute_fetched(world: World, fetch: Callable[[str], bytes | None]) -> VouchedLandmarks:
    policies = [TlogPolicy.parse(world.policy)]
    return recompute_fetched_landmarks(fetch, where="https://cn-gd.example/log", origin=ORIGIN, policies=policies)


def files(world: World) -> dict[str, bytes]:
    found = (path for path in world.public.glob("**/*") if path.is_file())
    return {path.relative_to(world.public).as_posix(): path.read_bytes() for path in found}


def test_a_file_that_is_fetched_is_recomputed_as_one_in_a_folder(grown: World) -> None:
    assert recompute_fetched(grown, files(grown).get) == recompute(grown)


def test_a_file_that_is_fetched_and_wrong_is_refused(grown: World) -> None:
    rewrite(grown, lambda records: [replace(records[0], hash=bytes(32)), *records[1:]])
    with pytest.raises(ProofError, match="record 0"):
        recompute_fetched(grown, files(grown).get)


def test_a_file_that_cannot_be_fetched_is_named_with_its_log(grown: World) -> None:
    without = {path: data for path, data in files(grown).items() if path != "landmarks"}
    with pytest.raises(StorageError, match=r"https://cn-gd\.example/log, landmarks"):
        recompute_fetched(grown, without.get)


def test_landmarks_published_between_two_fetches_are_recomputed_under_the_newer_checkpoint(grown: World) -> None:
    old = (grown.public / "checkpoint").read_bytes()
    ledger = grown.open()
    grown.append(ledger, 3, 1200)
    ledger.landmark_now()
    now = files(grown)
    shown = [old, now["checkpoint"]]

    def fetch(path: str) -> bytes | None:
        return shown.pop(0) if path == "checkpoint" else now.get(path)

    vouched = recompute_fetched(grown, fetch)
    assert shown == []
    assert vouched.checkpoint_size == 2721
    assert vouched == recompute(grown)
