"""Keys of issuers in a trust bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chopmark.closed_object import ClosedObject
from chopmark.errors import FormatError, UnsupportedError
from chopmark.issuer_key import Key, KeyUse, Revocation, RevocationReason, TrustedSize
from chopmark.keys import Es256Signer, MlDsa44Signer

if TYPE_CHECKING:
    from tests.sdk.conftest import World

REVOKED = Revocation(5, RevocationReason.COMPROMISED, (TrustedSize("cn-gd.example/log/2026", 7),))


def test_a_key_of_each_algorithm_survives_writing_and_reading(world: World) -> None:
    public = Es256Signer.generate().public_key
    key = world.home.key(KeyUse.CREDENTIAL, public_key=public, kid=public.kid, revoked=REVOKED)
    assert Key.from_json(ClosedObject(key.to_json(), "")) == key
    key = world.home.key(KeyUse.INSPECTOR)
    assert Key.from_json(ClosedObject(key.to_json(), "")) == key


def test_a_post_quantum_key_alone_is_not_taken(world: World) -> None:
    public = MlDsa44Signer.generate().public_key
    key = world.home.key(KeyUse.CREDENTIAL, public_key=public, kid=public.kid)
    with pytest.raises(UnsupportedError, match="ML-DSA-44"):
        Key.from_json(ClosedObject(key.to_json(), ""))


def test_a_kid_that_is_not_the_keys_own_is_refused(world: World) -> None:
    key = world.home.key(KeyUse.STATUS, kid=bytes(8))
    with pytest.raises(FormatError, match="the key's own kid is"):
        Key.from_json(ClosedObject(key.to_json(), ""))


def test_an_origin_that_stands_twice_in_a_revocation_is_refused(world: World) -> None:
    revoked = Revocation(5, RevocationReason.SUPERSEDED, REVOKED.trusted * 2)
    with pytest.raises(FormatError, match="twice"):
        Key.from_json(ClosedObject(world.home.key(KeyUse.STATUS, revoked=revoked).to_json(), ""))


def test_a_log_that_is_not_listed_has_no_trusted_size() -> None:
    assert REVOKED.trusted_size("cn-gd.example/log/2026") == 7
    assert REVOKED.trusted_size("cn-gd.example/log/2027") is None


def test_a_key_holds_from_its_beginning_to_before_its_end(world: World) -> None:
    key = world.home.key(KeyUse.STATUS, not_before=10, not_after=20)
    assert [key.covers(time) for time in (9, 10, 19, 20)] == [False, True, True, False]
