"""A private key at rest, encrypted under a passphrase: `*.key`, JSON.

Specifications: scrypt, RFC 7914; ChaCha20-Poly1305, RFC 8439.

    {"format": "chopmark/key-file/v1",
     "alg": "Ed25519", "kid": "0f3c…", "pub": "base64", "use": "credential",
     "kdf": {"name": "scrypt", "n": 32768, "r": 8, "p": 1, "salt": "base64, 16 bytes"},
     "cipher": {"name": "ChaCha20-Poly1305", "nonce": "base64, 12 bytes", "text": "base64, 32 + 16 bytes"}}

The encryption key is scrypt of the passphrase (32 bytes); what is encrypted are the 32 private bytes of the signer;
everything outside `cipher` is authenticated with them, so neither the public key nor the cost nor the use can be
altered unnoticed. `use` is a word of whoever made the key for what it may sign, and is left out where nobody asks. The
public half is readable without the passphrase, but is only proven by `load`.

The passphrase is an argument: this module reads no environment. The functions on bytes do no I/O; `write_key_file`
makes the file readable by its owner only and never replaces an existing one.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from chopmark import strict
from chopmark.errors import FormatError, KeyMaterialError, StorageError, UnsupportedError
from chopmark.keys import Ed25519Signer, Es256Signer, MlDsa44Signer, PublicKey, load_signer

FORMAT = "chopmark/key-file/v1"
_CIPHER = "ChaCha20-Poly1305"
_MAX_FILE_SIZE = 16 * 1024
"""An ML-DSA-44 key file has about 2 KiB."""
_MAX_MEMORY = 256 * 1024 * 1024
"""What a key file may make its reader allocate: 128·n·r bytes."""
_MAX_PARALLEL = 4
_USE = re.compile(r"[a-z][a-z-]{0,39}", re.ASCII)
_MIN_N = 2**10
_MAX_N = 2**20

LocalSigner: TypeAlias = Ed25519Signer | Es256Signer | MlDsa44Signer
"""A signer whose private bytes can be had."""


@dataclass(frozen=True, slots=True)
class ScryptCost:
    """How dear one guess of the passphrase is: 128·n·r bytes of memory, n·r·p steps.

    The default takes 32 MiB and about a tenth of a second.

    Raises:
        KeyMaterialError: n is no power of two between 2^10 and 2^20, or the sizes are above the bounds of a reader.
    """

    n: int = 2**15
    r: int = 8
    p: int = 1

    def __post_init__(self) -> None:
        if not _MIN_N <= self.n <= _MAX_N or self.n & (self.n - 1):
            raise KeyMaterialError(f"the scrypt cost n is no power of two from {_MIN_N} to {_MAX_N}", where="kdf.n")
        if not 1 <= self.r <= 32 or 128 * self.n * self.r > _MAX_MEMORY:
            raise KeyMaterialError(
                f"the scrypt cost would take more than {_MAX_MEMORY // 2**20} MiB of memory", where="kdf.r"
            )
        if not 1 <= self.p <= _MAX_PARALLEL:
            raise KeyMaterialError(f"the scrypt parallelisation is not between 1 and {_MAX_PARALLEL}", where="kdf.p")


DEFAULT_COST = ScryptCost()


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key file as read: the public half in clear, the private one still encrypted; `use` is None where none is said.

    What stands in clear is proven only by `load`.
    """

    public_key: PublicKey
    cost: ScryptCost
    salt: bytes
    nonce: bytes
    ciphertext: bytes
    use: str | None = None

    def load(self, passphrase: bytes, *, where: str = "key file") -> LocalSigner:
        """Decrypt the private key and check that it belongs to the public one.

        Raises:
            KeyMaterialError: the passphrase is another one, or the file was altered.
        """
        key = _derive(passphrase, self.salt, self.cost)
        header = _header(self.public_key, self.cost, self.salt, self.use)
        try:
            private = ChaCha20Poly1305(key).decrypt(self.nonce, self.ciphertext, _canonical(header))
        except InvalidTag:
            raise KeyMaterialError(
                "the passphrase does not open this key, or the file was altered",
                where=where,
                remedy="Give the passphrase that the key was made with",
            ) from None
        signer = load_signer(self.public_key.algorithm, private)
        if signer.public_key != self.public_key:
            raise KeyMaterialError("the private key is not that of the public key beside it", where=where)
        return signer


def encrypt_key(
    signer: LocalSigner,
    passphrase: bytes,
    *,
    cost: ScryptCost = DEFAULT_COST,
    use: str | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Make the bytes of a key file.

    Raises:
        KeyMaterialError: an empty passphrase.
        FormatError: a use that is no word.
    """
    if use is not None:
        _check_use(use, "use")
    salt = random(16)
    nonce = random(12)
    header = _header(signer.public_key, cost, salt, use)
    key = _derive(passphrase, salt, cost)
    text = ChaCha20Poly1305(key).encrypt(nonce, signer.private_bytes(), _canonical(header))
    cipher = {"name": _CIPHER, "nonce": strict.base64_encode(nonce), "text": strict.base64_encode(text)}
    return json.dumps({**header, "cipher": cipher}, indent=2).encode("ascii") + b"\n"


def parse_key_file(data: bytes, *, where: str = "key file") -> KeyFile:
    """Read the bytes of a key file; the passphrase is not needed yet.

    Raises:
        FormatError: not a key file; `UnsupportedError` for one of another version, algorithm or cipher.
        KeyMaterialError: the public key is none, or the key derivation would cost more than a reader allows.
    """
    document = strict.json_decode(data, where=where, max_size=_MAX_FILE_SIZE)
    if not isinstance(document, dict) or not isinstance(document.get("format"), str):
        raise FormatError("not a key file", where=where)
    if document["format"] != FORMAT:
        raise UnsupportedError(f"the format is {document['format'][:40]!r}, not {FORMAT!r}", where=where)
    use = document.get("use")
    if "use" in document:
        use = _check_use(_text(document, "use", where), f"{where}, use")
    _members(document, {"format", "alg", "kid", "pub", "kdf", "cipher"} | document.keys() & {"use"}, where)
    kdf = _members(document["kdf"], {"name", "n", "r", "p", "salt"}, f"{where}, kdf")
    cipher = _members(document["cipher"], {"name", "nonce", "text"}, f"{where}, cipher")
    if kdf["name"] != "scrypt":
        raise UnsupportedError("the key derivation is not scrypt", where=f"{where}, kdf.name")
    if cipher["name"] != _CIPHER:
        raise UnsupportedError(f"the cipher is not {_CIPHER}", where=f"{where}, cipher.name")
    public_key = PublicKey.from_json(_text(document, "alg", where), _text(document, "pub", where), where=where)
    if document["kid"] != public_key.kid.hex():
        raise FormatError("the kid is not that of the public key", where=f"{where}, kid")
    cost = ScryptCost(*(_number(kdf, name, f"{where}, kdf") for name in ("n", "r", "p")))
    return KeyFile(
        public_key,
        cost,
        strict.base64_decode(_text(kdf, "salt", where), where=f"{where}, kdf.salt", size=16),
        strict.base64_decode(_text(cipher, "nonce", where), where=f"{where}, cipher.nonce", size=12),
        strict.base64_decode(_text(cipher, "text", where), where=f"{where}, cipher.text", size=48),
        use,
    )


def write_key_file(
    path: Path,
    signer: LocalSigner,
    passphrase: bytes,
    *,
    cost: ScryptCost = DEFAULT_COST,
    use: str | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> None:
    """Write a new key file, mode 0600, durably; its folder must exist.

    Raises:
        StorageError: the file exists already, or cannot be written.
        KeyMaterialError: an empty passphrase.
        FormatError: a use that is no word.
    """
    data = encrypt_key(signer, passphrase, cost=cost, use=use, random=random)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(temporary)  # unlike a rename, it fails where a key file stands already
        finally:
            temporary.unlink()
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as error:
        raise StorageError(
            "the key file exists already", where=str(path), remedy="A key is never replaced: choose another name"
        ) from error
    except OSError as error:
        raise StorageError(f"the key file cannot be written: {error.strerror}", where=str(path)) from error


def read_key_file(path: Path) -> KeyFile:
    """Read a key file; `.load(passphrase)` gives the signer.

    Raises:
        StorageError: it cannot be read.
        FormatError, KeyMaterialError: as `parse_key_file`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_SIZE + 1)
    except OSError as error:
        raise StorageError(f"the key file cannot be read: {error.strerror}", where=str(path)) from error
    return parse_key_file(data, where=str(path))


def _derive(passphrase: bytes, salt: bytes, cost: ScryptCost) -> bytes:
    if not isinstance(passphrase, bytes) or not passphrase:
        raise KeyMaterialError("the passphrase is empty", remedy="Give one of at least 16 random characters")
    return Scrypt(salt=salt, length=32, n=cost.n, r=cost.r, p=cost.p).derive(passphrase)


def _check_use(use: str, where: str) -> str:
    if _USE.fullmatch(use) is None:
        raise FormatError("not a word of up to 40 lower-case letters and hyphens", where=where)
    return use


def _header(public_key: PublicKey, cost: ScryptCost, salt: bytes, use: str | None) -> dict[str, Any]:
    said = {} if use is None else {"use": use}
    return {
        **said,
        "format": FORMAT,
        "alg": public_key.algorithm_text,
        "kid": public_key.kid.hex(),
        "pub": public_key.to_json(),
        "kdf": {"name": "scrypt", "n": cost.n, "r": cost.r, "p": cost.p, "salt": strict.base64_encode(salt)},
    }


def _canonical(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")


def _members(value: Any, names: set[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != names:
        raise FormatError(f"not an object of exactly {', '.join(sorted(names))}", where=where)
    return value


def _text(value: dict[str, Any], name: str, where: str) -> str:
    text = value[name]
    if not isinstance(text, str):
        raise FormatError("not a text", where=f"{where}, {name}")
    return text


def _number(value: dict[str, Any], name: str, where: str) -> int:
    number = value[name]
    if type(number) is not int:
        raise FormatError("not an integer", where=f"{where}, {name}")
    return number
