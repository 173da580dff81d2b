"""Root epochs and the walk from one to the next."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cache

import pytest
from chopmark.bundle_entries import Peer
from chopmark.errors import ChopmarkError, FormatError, SignatureError, TrustError, UnsupportedError
from chopmark.keys import Ed25519Signer, MlDsa44Signer
from chopmark.note import (
    TYPE_COSIGNATURE_ED25519,
    TYPE_COSIGNATURE_ML_DSA_44,
    Note,
    NoteSigner,
    NoteVerifier,
    sign_note,
)
from chopmark.root_epoch import Roots, root_epoch_text
from hypothesis import given
from hypothesis import strategies as st

ISSUED = 1_795_305_600


def root(number: int, host: str = "cn-gd.example") -> NoteSigner:
    return NoteSigner(f"{host}/root/{number}", Ed25519Signer.from_private_bytes(bytes([number]) * 32))


def pq(number: int, seed: int | None = None) -> NoteSigner:
    """The ML-DSA-44 key that stands beside `root(number)`."""
    return NoteSigner(f"cn-gd.example/root/{number}", ml_dsa_44_key(seed or number))


@cache
def ml_dsa_44_key(seed: int) -> MlDsa44Signer:
    return MlDsa44Signer(bytes([seed]) * 32)


A, B, C, D, E = (root(number) for number in range(1, 6))


def text(epoch: int, keys: list[NoteSigner], threshold: int = 2, region: str = "CN-GD", issued: int = ISSUED) -> str:
    return root_epoch_text(
        region=region, epoch=epoch, issued=issued, threshold=threshold, keys=[key.vkey for key in keys]
    )


def signed(epoch: int, keys: list[NoteSigner], signers: list[NoteSigner], threshold: int = 2) -> bytes:
    return sign_note(text(epoch, keys, threshold), signers).encode()


FIRST = signed(1, [A, B, C], [A, B])
SECOND = signed(2, [C, D, E], [A, B, C, D])


def test_the_text_has_its_members_in_the_order_of_the_format() -> None:
    assert text(1, [A], 1) == (
        '{\n "format": "chopmark/root-epoch/v1",\n "region": "CN-GD",\n "epoch": 1,\n'
        ' "issued": "2026-11-22T00:00:00Z",\n "threshold": 1,\n "keys": [\n'
        f'  "{A.vkey}"\n ]\n}}\n'
    )


def test_a_pin_signed_by_its_own_threshold_is_accepted() -> None:
    roots = Roots.pin(FIRST)
    assert (roots.region, roots.epoch, roots.threshold, roots.issued) == ("CN-GD", 1, 2, ISSUED)
    assert roots.host == "cn-gd.example"
    assert [verifier.vkey for verifier in roots.verifiers] == [A.vkey, B.vkey, C.vkey]


def test_a_pin_below_its_threshold_is_refused() -> None:
    with pytest.raises(SignatureError, match="1 root signatories of epoch 1 where 2"):
        Roots.pin(signed(1, [A, B, C], [A]))
    with pytest.raises(SignatureError):
        Roots.pin(signed(1, [A, B, C], [D, E]))


def test_two_signatures_of_one_key_count_once() -> None:
    note = sign_note(text(1, [A, B, C]), [A])
    line = note.encode().decode().splitlines(keepends=True)[-1]
    with suppress(FormatError):
        note = Note.parse(note.encode() + line.encode())
    with pytest.raises(SignatureError, match="1 root signatories"):
        Roots.pin(note.encode())


def test_the_next_epoch_is_accepted_when_both_thresholds_signed() -> None:
    second = Roots.pin(FIRST).advance(SECOND)
    assert second.epoch == 2
    assert second.advance(signed(3, [E], [C, D, E], 1)).threshold == 1


@pytest.mark.parametrize("signers", [[C, D], [A, B], [A, B, C], [B, D, E]])
def test_the_next_epoch_is_refused_below_either_threshold(signers: list[NoteSigner]) -> None:
    with pytest.raises(SignatureError):
        Roots.pin(FIRST).advance(signed(2, [C, D, E], signers))


def test_a_key_of_both_epochs_counts_in_both() -> None:
    assert Roots.pin(FIRST).advance(signed(2, [C, D, E], [A, C, D])).epoch == 2


def test_a_skipped_epoch_is_refused() -> None:
    third = signed(3, [C, D, E], [A, B, C, D])
    with pytest.raises(TrustError, match="the epoch after 1 is 2"):
        Roots.pin(FIRST).advance(third)


@pytest.mark.parametrize("epoch", [1, 4])
def test_an_epoch_seen_before_or_far_ahead_is_refused(epoch: int) -> None:
    second = Roots.pin(FIRST).advance(SECOND)
    with pytest.raises(TrustError):
        second.advance(signed(epoch, [C, D, E], [C, D]))


def test_an_epoch_of_another_region_is_refused() -> None:
    other = sign_note(text(2, [A, B, C], region="CN-SH"), [A, B]).encode()
    with pytest.raises(TrustError, match="not of the region CN-GD"):
        Roots.pin(FIRST).advance(other)


def test_an_epoch_under_another_host_is_refused() -> None:
    keys = [root(1, "cn-sh.example"), root(2, "cn-sh.example")]
    with pytest.raises(TrustError, match=r"host cn-gd\.example"):
        Roots.pin(FIRST).advance(signed(2, keys, [A, B, *keys]))


def test_an_epoch_dated_before_the_last_is_refused() -> None:
    note = sign_note(text(2, [A, B, C], issued=ISSUED - 1), [A, B]).encode()
    with pytest.raises(TrustError, match="dated before epoch 1"):
        Roots.pin(FIRST).advance(note)


@pytest.mark.parametrize(
    ("keys", "threshold", "message"),
    [
        ([A, B], 3, "threshold of 3 of 2"),
        ([A, B], 0, "threshold: 0 is not within"),
        ([], 1, "threshold of 1 of 0"),
        ([A, A], 1, "twice"),
        ([A, pq(1), B, pq(2)], 3, "threshold of 3 of 2 signatories"),
        ([A, pq(1), pq(1)], 1, "twice"),
        ([A, B, pq(3)], 1, "root/3 has an ML-DSA-44 key and no Ed25519 key"),
        ([pq(1)], 1, "no Ed25519 key"),
        ([A, pq(1), pq(1, seed=2)], 1, "two root keys of one algorithm"),
        ([A, NoteSigner(A.name, Ed25519Signer(b"x" * 32))], 1, "two root keys of one algorithm"),
        ([A, pq(1), B, pq(2, seed=1)], 1, "twice"),
        ([A, NoteSigner("cn-gd.example/root/x", Ed25519Signer.from_private_bytes(bytes([1]) * 32))], 1, "twice"),
        ([A, root(2, "cn-sh.example")], 1, "share one host"),
        ([root(1, "CN-GD.example")], 1, "lower case"),
        ([root(1, "")], 1, "lower case"),
    ],
)
def test_keys_that_cannot_be_a_root_are_refused(keys: list[NoteSigner], threshold: int, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        text(1, keys, threshold)


@pytest.mark.parametrize("region", ["", "cn-gd", "CN-GD/1", "CN-"])
def test_an_epoch_of_no_region_is_not_written(region: str) -> None:
    with pytest.raises(FormatError, match="region"):
        text(1, [A], 1, region=region)


def test_a_witness_key_is_no_root_key() -> None:
    for kind, signer in ((TYPE_COSIGNATURE_ED25519, B), (TYPE_COSIGNATURE_ML_DSA_44, pq(1))):
        witness = NoteVerifier(A.name, kind, signer.verifier.public_key)
        with pytest.raises(FormatError, match="witness"):
            root_epoch_text(region="CN-GD", epoch=1, issued=ISSUED, threshold=1, keys=[A.vkey, witness.vkey])


HYBRID_KEYS = [A, pq(1), B, pq(2), C, pq(3)]
HYBRID = signed(1, HYBRID_KEYS, [A, pq(1), B, pq(2)])


def test_a_signatory_of_two_keys_signs_with_both_and_counts_once() -> None:
    roots = Roots.pin(HYBRID)
    assert (roots.threshold, len(roots.verifiers)) == (2, 6)
    assert roots.signatories == (A.name, B.name, C.name)
    for signers in ([A, pq(1)], [A, pq(1), C], [A, pq(1), pq(2)]):
        with pytest.raises(SignatureError, match="signed by 1 root signatories"):
            Roots.pin(signed(1, HYBRID_KEYS, signers))


@pytest.mark.parametrize("signers", [[A, B, C], [pq(1), pq(2), pq(3)], [A, pq(2), C]])
def test_who_signs_with_one_key_of_two_does_not_count(signers: list[NoteSigner]) -> None:
    with pytest.raises(SignatureError, match=r"signed by 0 root signatories.*root/1 signed with one of its two keys"):
        Roots.pin(signed(1, HYBRID_KEYS, signers))


def test_a_bad_line_of_either_key_fails_the_epoch() -> None:
    note = Note.parse(HYBRID)
    for signer in (C, pq(3)):
        line = signer.sign(note.text)
        bad = replace(line, signature=line.signature[:-1] + bytes([line.signature[-1] ^ 1]))
        with pytest.raises(SignatureError, match="known key"):
            Roots.pin(note.with_signature(bad).encode())


def test_signatories_of_one_key_and_of_two_stand_in_one_epoch() -> None:
    keys = [A, B, pq(2), C]
    assert Roots.pin(signed(1, keys, [A, C])).threshold == 2
    assert Roots.pin(signed(1, keys, [A, B, pq(2)])).threshold == 2
    with pytest.raises(SignatureError):
        Roots.pin(signed(1, keys, [A, B]))


def test_a_region_with_ed25519_keys_alone_goes_on_with_both() -> None:
    second = Roots.pin(FIRST).advance(signed(2, [C, pq(3), D, pq(4)], [A, B, C, pq(3), D, pq(4)]))
    assert second.signatories == (C.name, D.name)
    with pytest.raises(SignatureError, match="epoch 2"):
        Roots.pin(FIRST).advance(signed(2, [C, pq(3), D, pq(4)], [A, B, C, D]))
    third = signed(3, [E, pq(5)], [C, pq(3), D, pq(4), E, pq(5)], 1)
    assert second.advance(third).epoch == 3
    with pytest.raises(SignatureError, match="epoch 2"):
        second.advance(signed(3, [E, pq(5)], [C, D, E, pq(5)], 1))


@given(st.sets(st.sampled_from(range(6)), min_size=1))
def test_the_threshold_counts_names_whose_keys_all_signed(which: set[int]) -> None:
    by = [HYBRID_KEYS[number] for number in sorted(which)]
    count = sum({2 * number, 2 * number + 1} <= which for number in range(3))
    if count >= 2:
        assert Roots.pin(signed(1, HYBRID_KEYS, by)).epoch == 1
    else:
        with pytest.raises(SignatureError, match=f"signed by {count} root signatories"):
            Roots.pin(signed(1, HYBRID_KEYS, by))


def forged(old: str, new: str) -> bytes:
    body = text(1, [A, B, C])
    assert old in body
    return sign_note(body.replace(old, new, 1), [A, B]).encode()


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("root-epoch/v1", "root-epoch/v2", UnsupportedError, "root-epoch/v2"),
        ('"epoch": 1', '"epoch": 1, "epoch": 2', FormatError, "'epoch' stands twice"),
        ('"epoch": 1', '"epoch": 1, "valid_for": 3', UnsupportedError, "valid_for"),
        ('"epoch": 1', '"epoch": 1.0', FormatError, "integer"),
        ('"epoch": 1', '"epoch": true', FormatError, "integer"),
        ('"epoch": 1', '"epoch": 0', FormatError, "within"),
        ('"epoch": 1', '"epoch": null', FormatError, "integer"),
        ('"CN-GD"', '"cn-gd"', FormatError, "cn-gd"),
        ("2026-11-22T00:00:00Z", "2026-11-22T00:00:00+00:00", FormatError, "2026"),
        ('"threshold": 2,', "", FormatError, "missing"),
        ('"keys"', '"Keys"', FormatError, "missing"),
    ],
)
def test_a_text_that_is_not_of_the_format_is_refused(
    old: str, new: str, error: type[ChopmarkError], message: str
) -> None:
    with pytest.raises(error, match=message):
        Roots.pin(forged(old, new))


def test_a_peers_pin_starts_a_chain_of_its_own() -> None:
    peer = Peer(
        region="CN-GD",
        epoch=1,
        roots=(A.vkey, B.vkey, C.vkey),
        threshold=2,
        origins=("cn-gd.example/log/2026",),
        policy_floor_text="quorum none\n",
        bundle_url="https://cn-gd.example/bundle.note",
        not_before=0,
        not_after=None,
    )
    roots = Roots.from_peer(peer)
    assert roots.issued is None
    assert roots.advance(SECOND).epoch == 2


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_name(junk: bytes) -> None:
    with pytest.raises(ChopmarkError):
        Roots.pin(junk)


@given(st.data())
def test_an_epoch_with_a_changed_byte_is_refused_or_says_the_same(data: st.DataObject) -> None:
    genuine = Roots.pin(FIRST).advance(SECOND)
    changed = bytearray(SECOND)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(ChopmarkError):
        # a changed name or key id on a signature line makes it one of an unknown key
        assert Roots.pin(FIRST).advance(bytes(changed)) == genuine
