"""The keys as one transaction of several requests asks for them: a signing process that is away is waited for once.

Each wait takes seconds, within the writing transaction; what one of its requests found out holds for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from chopmark.keys import Algorithm, Signer

from chopmark_issuer.errors import SigningProcessError
from chopmark_issuer.keys.key_provider import KeyProvider
from chopmark_issuer.keys.keys import InventoryUse


class TransactionKeys:
    """Keys that are given up for the rest of a transaction once they did not answer; a `KeyProvider`.

    Args:
        keys: what signs.
    """

    def __init__(self, keys: KeyProvider) -> None:
        self._keys = keys
        self._away: SigningProcessError | None = None

    def signer(self, kid: str) -> Signer:
        """As `KeyProvider.signer`."""
        with self._asked():
            return self._keys.signer(kid)

    def sign_all(self, kid: str, messages: Sequence[bytes]) -> list[bytes]:
        """As `KeyProvider.sign_all`."""
        with self._asked():
            return self._keys.sign_all(kid, messages)

    def signing(self, kid: str, messages: Sequence[bytes]) -> AbstractContextManager[Callable[[], list[bytes]]]:
        """As `KeyProvider.signing`."""

        @contextmanager
        def signing() -> Iterator[Callable[[], list[bytes]]]:
            with self._asked(), self._keys.signing(kid, messages) as signatures:
                yield signatures

        return signing()

    def generate(
        self, algorithm: Algorithm = Algorithm.ED25519, *, use: InventoryUse = InventoryUse.CREDENTIAL
    ) -> Signer:
        """As `KeyProvider.generate`."""
        with self._asked():
            return self._keys.generate(algorithm, use=use)

    def close(self) -> None:
        """Nothing: the keys are their owner's."""

    @contextmanager
    def _asked(self) -> Iterator[None]:
        if self._away is not None:
            raise SigningProcessError(self._away.what, where=self._away.where, remedy=self._away.remedy)
        try:
            yield
        except SigningProcessError as error:
            self._away = error
            raise
