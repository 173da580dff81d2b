from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from chopmark.errors import ChopmarkError, FormatError, KeyMaterialError, StorageError, UnsupportedError
from chopmark.key_file import ScryptCost, encrypt_key, parse_key_file, read_key_file, write_key_file
from chopmark.keys import Ed25519Signer, Es256Signer, MlDsa44Signer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CHEAP = ScryptCost(n=2**10)
PASSPHRASE = b"a passphrase of this test"
SAMPLE = encrypt_key(Ed25519Signer(bytes(range(32))), PASSPHRASE, cost=CHEAP, random=bytes)


def altered(**changes: Any) -> bytes:
    return json.dumps({**json.loads(SAMPLE), **changes}).encode()


@pytest.mark.parametrize("kind", [Ed25519Signer, Es256Signer, MlDsa44Signer])
def test_a_key_comes_back_under_its_passphrase(kind: Any) -> None:
    signer = kind.generate()
    key_file = parse_key_file(encrypt_key(signer, PASSPHRASE, cost=CHEAP))
    assert key_file.public_key == signer.public_key
    loaded = key_file.load(PASSPHRASE)
    assert loaded.private_bytes() == signer.private_bytes()
    loaded.public_key.verify(b"message", loaded.sign(b"message"))


def test_another_passphrase_is_refused() -> None:
    with pytest.raises(KeyMaterialError, match="passphrase"):
        parse_key_file(SAMPLE).load(b"another passphrase")


def test_an_empty_passphrase_is_refused() -> None:
    with pytest.raises(KeyMaterialError, match="empty"):
        encrypt_key(Ed25519Signer.generate(), b"", cost=CHEAP)


def test_the_private_bytes_do_not_stand_in_the_file() -> None:
    signer = Ed25519Signer.generate()
    data = encrypt_key(signer, PASSPHRASE, cost=CHEAP)
    assert signer.private_bytes() not in data
    assert signer.private_bytes().hex().encode() not in data


def test_the_public_key_cannot_be_exchanged() -> None:
    other = Ed25519Signer.generate().public_key
    with pytest.raises(KeyMaterialError, match="altered"):
        parse_key_file(altered(pub=other.to_json(), kid=other.kid.hex())).load(PASSPHRASE)


@pytest.mark.parametrize(
    "cost",
    [{"n": 2**21}, {"n": 2**20}, {"n": 2**10 - 1}, {"n": 3000}, {"n": 2}, {"r": 0}, {"r": 33}, {"p": 5}, {"p": 0}],
)
def test_a_key_derivation_above_the_bounds_is_refused_before_it_runs(cost: dict[str, int]) -> None:
    kdf = json.loads(SAMPLE)["kdf"]
    with pytest.raises(KeyMaterialError, match="scrypt"):
        parse_key_file(altered(kdf={**kdf, **cost}))


def test_a_lowered_cost_does_not_open_the_key() -> None:
    kdf = json.loads(encrypt_key(Ed25519Signer.generate(), PASSPHRASE, cost=ScryptCost(n=2**11)))["kdf"]
    with pytest.raises(KeyMaterialError, match="altered"):
        parse_key_file(altered(kdf={**kdf, "n": 2**10})).load(PASSPHRASE)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "chopmark/key-file/v2"},
        {"alg": "RSA"},
        {"kdf": {**json.loads(SAMPLE)["kdf"], "name": "pbkdf2"}},
        {"cipher": {**json.loads(SAMPLE)["cipher"], "name": "AES-128-CBC"}},
    ],
)
def test_an_unknown_version_or_algorithm_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        parse_key_file(altered(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 1},
        {"kid": "00" * 8},
        {"extra": 1},
        {"kdf": {**json.loads(SAMPLE)["kdf"], "n": True}},
        {"kdf": []},
        {"pub": 5},
        {"cipher": {**json.loads(SAMPLE)["cipher"], "nonce": "AA=="}},
    ],
)
def test_another_shape_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        parse_key_file(altered(**changes))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(position=st.integers(0, len(SAMPLE) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_changes_nothing(position: int, byte: int) -> None:
    data = SAMPLE[:position] + bytes([byte]) + SAMPLE[position + 1 :]
    try:
        key = parse_key_file(data).load(PASSPHRASE)
    except ChopmarkError:
        return
    assert key.private_bytes() == bytes(range(32))


@given(data=st.binary(max_size=200))
def test_no_other_error_leaves_whatever_the_bytes(data: bytes) -> None:
    with pytest.raises(ChopmarkError):
        parse_key_file(data)


def test_a_key_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    signer = Ed25519Signer.generate()
    path = tmp_path / "log.key"
    write_key_file(path, signer, PASSPHRASE, cost=CHEAP)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key_file(path).load(PASSPHRASE).private_bytes() == signer.private_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["log.key"]


def test_a_key_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    write_key_file(path, Ed25519Signer.generate(), PASSPHRASE, cost=CHEAP)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="exists"):
        write_key_file(path, Ed25519Signer.generate(), PASSPHRASE, cost=CHEAP)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["log.key"]


def test_a_missing_file_or_folder_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        read_key_file(tmp_path / "none.key")
    with pytest.raises(StorageError):
        write_key_file(tmp_path / "none" / "log.key", Ed25519Signer.generate(), PASSPHRASE, cost=CHEAP)


@pytest.mark.parametrize("use", [None, "credential", "log-client"])
def test_a_key_file_says_what_the_key_is_for(use: str | None) -> None:
    data = encrypt_key(Ed25519Signer.generate(), PASSPHRASE, cost=CHEAP, use=use)
    read = parse_key_file(data)
    assert read.use == use
    assert ("use" in json.loads(data)) == (use is not None)
    read.load(PASSPHRASE)


@pytest.mark.parametrize("changes", [{"use": "status"}, {}])
def test_what_a_key_is_for_can_not_be_altered_or_left_out(changes: dict[str, str]) -> None:
    document = json.loads(encrypt_key(Ed25519Signer.generate(), PASSPHRASE, cost=CHEAP, use="credential"))
    del document["use"]
    with pytest.raises(KeyMaterialError, match="altered"):
        parse_key_file(json.dumps({**document, **changes}).encode()).load(PASSPHRASE)


@pytest.mark.parametrize("use", ["", "Credential", "a b", "a" * 41, "-x", "ключ"])
def test_a_use_that_is_no_word_is_neither_written_nor_read(use: str) -> None:
    with pytest.raises(FormatError):
        encrypt_key(Ed25519Signer.generate(), PASSPHRASE, cost=CHEAP, use=use)
    with pytest.raises(FormatError):
        parse_key_file(altered(use=use))
