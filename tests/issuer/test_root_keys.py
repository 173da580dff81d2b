"""Root epochs of a registry: two keys for each signatory, and epochs of Ed25519 keys alone that go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chopmark.entries import TrustStatementEntry, parse_entry
from chopmark.errors import SignatureError
from chopmark.keys import Algorithm
from chopmark.note import Note, NoteSigner, sign_note
from chopmark.root_epoch import Roots, root_epoch_text
from chopmark_issuer.errors import RefusedError
from chopmark_issuer.keys.keys import InventoryUse, enrol_key, inventory, key_in_use
from chopmark_issuer.publishing.root_keys import begin_epoch, root_epochs, root_signers
from chopmark_issuer.storage import outbox
from chopmark_issuer.storage.models import OUTBOX, ROOT_EPOCH
from sqlalchemy import Connection, insert, select

if TYPE_CHECKING:
    from tests.issuer.conftest import Office

HOST = "cn-gd.example"


def begin(office: Office, connection: Connection, *, count: int = 3, threshold: int = 2) -> Roots:
    return begin_epoch(
        connection, office.keys, region="CN-GD", host=HOST, count=count, threshold=threshold, at=office.now
    )


def begin_with_ed25519_alone(office: Office, connection: Connection, count: int) -> list[NoteSigner]:
    """An epoch as registries made it before signatories had two keys."""
    signers = []
    for position in range(1, count + 1):
        signer = office.keys.generate()
        enrol_key(
            connection,
            signer.public_key,
            owner="CN-GD",
            use=InventoryUse.ROOT,
            not_before=office.now,
            not_after=office.now + 10**8,
        )
        signers.append(NoteSigner(f"{HOST}/root/1-{position}", signer))
    text = root_epoch_text(
        region="CN-GD", epoch=1, issued=office.now, threshold=2, keys=[signer.vkey for signer in signers]
    )
    note = sign_note(text, signers).encode()
    (outbox_id,) = outbox.enqueue(connection, [TrustStatementEntry(note).encode()])
    connection.execute(insert(ROOT_EPOCH).values(epoch=1, note=note, outbox_id=outbox_id))
    return signers


def test_every_signatory_of_an_epoch_has_two_keys_and_signs_with_both(office: Office) -> None:
    with office.database.writing() as connection:
        roots = begin(office, connection)
        keys = inventory(connection, owner="CN-GD", use=InventoryUse.ROOT)
        note = connection.execute(select(ROOT_EPOCH.c.note)).scalar_one()
        signers = root_signers(connection, office.keys)
    assert roots.signatories == tuple(f"{HOST}/root/1-{position}" for position in (1, 2, 3))
    assert [verifier.type for verifier in roots.verifiers] == [0x01, 0xFF] * 3
    assert {key.public_key for key in keys} == {verifier.public_key for verifier in roots.verifiers}
    assert len(Note.parse(note).signatures) == 6
    assert [signer.vkey for signer in signers] == [verifier.vkey for verifier in roots.verifiers]


def test_two_keys_of_one_signatory_do_not_reach_a_threshold_of_two(office: Office) -> None:
    with office.database.writing() as connection:
        roots = begin(office, connection)
        first, first_beside, second, *_ = root_signers(connection, office.keys)
    for signers in ([first, first_beside], [first, first_beside, second]):
        with pytest.raises(SignatureError, match="signed by 1 root signatories"):
            roots.verify_note(sign_note("text\n", signers))


def test_an_epoch_of_ed25519_keys_alone_is_followed_by_one_with_both(office: Office) -> None:
    with office.database.writing() as connection:
        old = begin_with_ed25519_alone(office, connection, 3)
        assert [signer.vkey for signer in root_signers(connection, office.keys)] == [signer.vkey for signer in old]
        new = begin(office, connection)
        epochs = root_epochs(connection)
    assert (new.epoch, len(new.signatories), len(new.verifiers)) == (2, 3, 6)
    assert [len(epochs[number].verifiers) for number in (1, 2)] == [3, 6]


def test_the_largest_epochs_fit_entries_of_the_log(office: Office) -> None:
    with office.database.writing() as connection:
        for _ in range(2):
            begin(office, connection, count=7, threshold=4)
        entries = connection.execute(select(OUTBOX.c.entry)).scalars().all()
        assert len(root_epochs(connection)) == 2
    assert max(map(len, entries)) < 65_536
    assert all(parse_entry(entry) for entry in entries)


@pytest.mark.parametrize(("count", "threshold"), [(2, 3), (2, 0), (8, 4)])
def test_an_epoch_that_cannot_be_makes_no_key(office: Office, count: int, threshold: int) -> None:
    with office.database.writing() as connection:
        before = inventory(connection)
        files = list((office.folder / "keys").iterdir())
        with pytest.raises(RefusedError):
            begin(office, connection, count=count, threshold=threshold)
        assert inventory(connection) == before
    assert list((office.folder / "keys").iterdir()) == files


def test_no_key_of_a_department_is_of_ml_dsa_44(office: Office) -> None:
    for use in (InventoryUse.CREDENTIAL, InventoryUse.STATUS, InventoryUse.INSPECTOR):
        with pytest.raises(RefusedError, match=f"no {use.value} key is of ML-DSA-44"):
            office.keys.generate(Algorithm.ML_DSA_44, use=use)
    with pytest.raises(RefusedError, match="no log key is of ES256"):
        office.keys.generate(Algorithm.ES256, use=InventoryUse.LOG)
    signer = office.keys.generate(Algorithm.ML_DSA_44, use=InventoryUse.LOG)
    with office.database.writing() as connection, pytest.raises(RefusedError, match="no status key is of ML-DSA-44"):
        enrol_key(
            connection,
            signer.public_key,
            owner=office.markets,
            use=InventoryUse.STATUS,
            not_before=office.now,
            not_after=office.now + 1,
        )


def test_the_key_in_use_is_never_the_one_beside_it(office: Office) -> None:
    made = [office.keys.generate(), office.keys.generate(Algorithm.ML_DSA_44, use=InventoryUse.LOG)]
    with office.database.writing() as connection:
        for offset, signer in enumerate(made):
            enrol_key(
                connection,
                signer.public_key,
                owner="CN-GD",
                use=InventoryUse.LOG,
                not_before=office.now + offset - 9,
                not_after=office.now + 9,
            )
        found = key_in_use(connection, owner="CN-GD", use=InventoryUse.LOG, at=office.now)
    assert found.public_key == made[0].public_key
