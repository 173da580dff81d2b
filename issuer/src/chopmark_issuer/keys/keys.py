"""The key inventory: public keys in the database, private ones as encrypted files, one use each.

    <data>/keys/<kid>.key     mode 0600, in a folder of mode 0700 (chopmark.key_file); its `use` is a word below

Uses: `credential`, `status` and `inspector` keys belong to a department; `root` keys (trust bundle, root epochs) and
the `log` keys to the region, or in place of these a `log-client` key, by which a served log knows the registry. Status
keys are never credential keys: who can suspend must not be able to issue. An ML-DSA-44 key stands beside the Ed25519
key of a root signatory or of the log, and is used for nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from chopmark.errors import StorageError
from chopmark.issuer_key import Revocation, RevocationReason, TrustedSize
from chopmark.key_file import DEFAULT_COST, LocalSigner, ScryptCost, read_key_file, write_key_file
from chopmark.keys import Algorithm, Ed25519Signer, Es256Signer, MlDsa44Signer, PublicKey
from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from chopmark_issuer.errors import ConflictError, NotFoundError, RefusedError
from chopmark_issuer.storage.models import KEY

_GENERATORS: Mapping[Algorithm, Callable[[], LocalSigner]] = {
    Algorithm.ED25519: Ed25519Signer.generate,
    Algorithm.ES256: Es256Signer.generate,
    Algorithm.ML_DSA_44: MlDsa44Signer.generate,
}


class InventoryUse(StrEnum):
    """What a key of the inventory may sign."""

    CREDENTIAL = "credential"
    STATUS = "status"
    INSPECTOR = "inspector"
    ROOT = "root"
    LOG = "log"
    LOG_CLIENT = "log-client"


REGION_USES = frozenset({InventoryUse.ROOT, InventoryUse.LOG, InventoryUse.LOG_CLIENT})
"""The uses of keys that are the region's; all others are a department's."""

_ALGORITHMS: Mapping[InventoryUse, frozenset[Algorithm]] = {
    use: frozenset(
        (Algorithm.ED25519, Algorithm.ML_DSA_44)
        if use in (InventoryUse.ROOT, InventoryUse.LOG)
        else (Algorithm.ED25519, Algorithm.ES256)
    )
    for use in InventoryUse
}


@dataclass(frozen=True, slots=True)
class InventoryKey:
    """A public key of the inventory and its window, POSIX seconds."""

    owner: str
    use: InventoryUse
    public_key: PublicKey
    not_before: int
    not_after: int
    revoked: Revocation | None

    @property
    def kid(self) -> str:
        """16 hex digits."""
        return self.public_key.kid.hex()


class KeyFolder:
    """The private keys of a registry, each opened once and kept in memory.

    Whoever has it has the keys. A process that answers strangers has `RemoteKeys` instead.
    """

    def __init__(self, folder: Path, passphrase: bytes, *, cost: ScryptCost = DEFAULT_COST) -> None:
        self._folder = folder
        self._passphrase = passphrase
        self._cost = cost
        self._open: dict[str, tuple[LocalSigner, InventoryUse | None]] = {}

    def generate(
        self, algorithm: Algorithm = Algorithm.ED25519, *, use: InventoryUse = InventoryUse.CREDENTIAL
    ) -> LocalSigner:
        """Make a new key and write its file, durably, before it is used for anything.

        Raises:
            RefusedError: an algorithm that does not sign for that use.
            StorageError: it cannot be written.
        """
        _check_algorithm(algorithm, use)
        signer = _GENERATORS[algorithm]()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"the key folder cannot be made: {error.strerror}", where=str(self._folder)) from error
        kid = signer.public_key.kid.hex()
        path = self._folder / f"{kid}.key"
        write_key_file(path, signer, self._passphrase, cost=self._cost, use=use.value)
        self._open[kid] = signer, use
        return signer

    def signer(self, kid: str) -> LocalSigner:
        """The private key of that kid.

        Raises:
            StorageError: there is no such file, or it cannot be read.
            KeyMaterialError: the passphrase is another one.
        """
        return self._opened(kid)[0]

    @contextmanager
    def signing(self, kid: str, messages: Sequence[bytes]) -> Iterator[Callable[[], list[bytes]]]:
        """Sign messages when they are asked for within the `with` block; see `KeyProvider.signing`."""
        yield lambda: self.sign_all(kid, messages)

    def use_of(self, kid: str) -> InventoryUse | None:
        """What the key of that kid was made for; None where its file does not say.

        Raises:
            StorageError, KeyMaterialError: as `signer`.
        """
        return self._opened(kid)[1]

    def check_passphrase(self) -> None:
        """Open one of the keys, if there is any, so that no new one is ever encrypted under a mistyped passphrase.

        Raises:
            StorageError: it cannot be read.
            KeyMaterialError: the passphrase is another one.
        """
        kid = min((path.stem for path in self._folder.glob("*.key")), default=None)
        if kid is not None:
            self.signer(kid)

    def sign_all(self, kid: str, messages: Sequence[bytes]) -> list[bytes]:
        """The signatures of that key over messages, in their order.

        Raises:
            StorageError, KeyMaterialError: as `signer`.
        """
        sign = self.signer(kid).sign
        return [sign(message) for message in messages]

    def close(self) -> None:
        """Forget the keys that are open."""
        self._open.clear()

    def _opened(self, kid: str) -> tuple[LocalSigner, InventoryUse | None]:
        found = self._open.get(kid)
        if found is None:
            path = self._folder / f"{kid}.key"
            file = read_key_file(path)
            use = next((each for each in InventoryUse if each.value == file.use), None)
            found = self._open[kid] = file.load(self._passphrase, where=str(path)), use
        return found

    def __repr__(self) -> str:
        return f"KeyFolder({str(self._folder)!r})"


def enrol_key(
    connection: Connection, public_key: PublicKey, *, owner: str, use: InventoryUse, not_before: int, not_after: int
) -> InventoryKey:
    """Take a public key into the inventory.

    Raises:
        RefusedError: the window ends before it begins, or the algorithm does not sign for that use.
        ConflictError: the key is there already: a key has one owner and one use.
    """
    _check_algorithm(public_key.algorithm, use)
    if not_after <= not_before:
        raise RefusedError("the key's window ends before it begins", where=public_key.kid.hex())
    kid = public_key.kid.hex()
    if connection.execute(select(KEY.c.kid).where(KEY.c.kid == kid)).first() is not None:
        raise ConflictError("the key is in the inventory already", where=kid, remedy="Make a new key for every use")
    connection.execute(
        insert(KEY).values(
            kid=kid,
            owner=owner,
            use=use.value,
            algorithm=public_key.algorithm.text,
            public_key=public_key.raw,
            not_before=not_before,
            not_after=not_after,
        )
    )
    return InventoryKey(owner, use, public_key, not_before, not_after, None)


def inventory(
    connection: Connection, *, owner: str | None = None, use: InventoryUse | None = None
) -> list[InventoryKey]:
    """The keys of an owner and use, or all, oldest first."""
    asked = {"owner": owner, "use": None if use is None else use.value}
    wanted = {name: value for name, value in asked.items() if value is not None}
    return [_key(row) for row in connection.execute(_keys_by(*wanted), wanted)]


@lru_cache(maxsize=4)
def _keys_by(*columns: str) -> Select[Any]:
    """The keys with given values in some columns, of which `owner` is indexed: one statement that left open which are
    given could not use that."""
    asked = (KEY.c[name] == bindparam(name) for name in columns)
    return select(KEY).where(*asked).order_by(KEY.c.not_before, KEY.c.kid)


def key_in_use(connection: Connection, *, owner: str, use: InventoryUse, at: int) -> InventoryKey:
    """The newest key of that owner and use that may sign at that time, the one beside it (ML-DSA-44) left out.

    Raises:
        NotFoundError: there is none.
    """
    for key in reversed(inventory(connection, owner=owner, use=use)):
        if key.public_key.algorithm is Algorithm.ML_DSA_44:
            continue
        if key.not_before <= at < key.not_after and (key.revoked is None or at < key.revoked.at):
            return key
    raise NotFoundError(
        f"{owner} has no {use.value} key in use", remedy="Add one, or wait until the window of the new one begins"
    )


def revoke_key(connection: Connection, kid: str, revocation: Revocation) -> None:
    """End a key before its time; what it signed counts only below the trusted sizes.

    Raises:
        NotFoundError: no such key.
        ConflictError: it was revoked already, otherwise.
    """
    row = connection.execute(select(KEY).where(KEY.c.kid == kid)).first()
    if row is None:
        raise NotFoundError("there is no such key", where=kid)
    known = _key(row).revoked
    if known is not None:
        if known != revocation:
            raise ConflictError("the key was revoked already, with another time, reason or trusted size", where=kid)
        return
    trusted = json.dumps([[entry.origin, entry.size] for entry in revocation.trusted])
    connection.execute(
        update(KEY)
        .where(KEY.c.kid == kid)
        .values(revoked_at=revocation.at, revoked_reason=revocation.reason.value, trusted=trusted)
    )


def _check_algorithm(algorithm: Algorithm, use: InventoryUse) -> None:
    if algorithm not in _ALGORITHMS[use]:
        known = " or ".join(sorted(each.text for each in _ALGORITHMS[use]))
        raise RefusedError(f"no {use.value} key is of {algorithm.text}", where="algorithm", remedy=f"Use {known}")


def _key(row: Row[tuple[object, ...]]) -> InventoryKey:
    values = row._mapping
    algorithm = next(entry for entry in Algorithm if entry.text == values["algorithm"])
    revoked = None
    if values["revoked_at"] is not None:
        trusted = tuple(TrustedSize(origin, size) for origin, size in json.loads(values["trusted"]))
        revoked = Revocation(values["revoked_at"], RevocationReason(values["revoked_reason"]), trusted)
    return InventoryKey(
        values["owner"],
        InventoryUse(values["use"]),
        PublicKey(algorithm, values["public_key"]),
        values["not_before"],
        values["not_after"],
        revoked,
    )
