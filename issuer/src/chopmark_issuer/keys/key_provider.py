"""Where private keys are: in this process, or in the signing process, which nobody gets them out of.

    KeyFolder      opens the encrypted key files itself (`chopmark_issuer.keys.keys`)
    RemoteKeys     asks the signing process over its socket (`chopmark_issuer.keys.remote_keys`)

What signs takes a `KeyProvider` and does not know which of them it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from chopmark.keys import Algorithm, Signer

from chopmark_issuer.keys.keys import InventoryUse, KeyFolder
from chopmark_issuer.keys.remote_keys import RemoteKeys
from chopmark_issuer.settings import Settings


class KeyProvider(Protocol):
    """Signs with the keys of a registry, which are named by their `kid` (16 hex digits)."""

    def signer(self, kid: str) -> Signer:
        """What signs with that key.

        Raises:
            StorageError: there is no such key file, or it cannot be read.
            KeyMaterialError: the passphrase does not open it.
            SigningProcessError: the signing process does not answer, or refuses.
        """
        ...

    def sign_all(self, kid: str, messages: Sequence[bytes]) -> list[bytes]:
        """The signatures of that key over messages, in their order.

        Raises:
            StorageError, KeyMaterialError, SigningProcessError: as `signer`.
        """
        ...

    def signing(self, kid: str, messages: Sequence[bytes]) -> AbstractContextManager[Callable[[], list[bytes]]]:
        """Let messages be signed while a `with` block does something else; what it is given answers the signatures.

        Raises:
            StorageError, KeyMaterialError, SigningProcessError: as `signer`, at the latest when it is asked.
        """
        ...

    def generate(
        self, algorithm: Algorithm = Algorithm.ED25519, *, use: InventoryUse = InventoryUse.CREDENTIAL
    ) -> Signer:
        """Make a new key for that use, durable before it is answered.

        Raises:
            RefusedError: an algorithm that does not sign for that use.
            StorageError, SigningProcessError: it cannot be kept.
        """
        ...

    def close(self) -> None:
        """Give up what is open; what is asked afterwards opens it again."""
        ...


def open_keys(settings: Settings) -> KeyProvider:
    """The keys of a registry: the signing process where the settings name its socket, else its key folder."""
    if settings.key_socket is not None:
        return RemoteKeys(settings.key_socket)
    return KeyFolder(settings.keys, settings.passphrase, cost=settings.cost)
