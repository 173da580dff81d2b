"""Every error the SDK raises.

    ChopmarkError
    ├── FormatError              bytes or text that are not of the format they claim
    │   ├── LimitError           a size, depth or count above the bound of the format
    │   └── UnsupportedError     well formed, of a version, algorithm or kind this reader does not know
    ├── SignatureError           a signature that does not verify
    ├── ProofError               a Merkle path that leads to another root
    ├── KeyMaterialError         a key that is not one, or is of the wrong kind for its use
    ├── TrustError               trust data that must not be used
    │   ├── RollbackError        older than what the store already holds
    │   ├── FutureDatedError     dated more than an hour ahead of the clock
    │   └── QuorumError          too few witness operators cosigned
    ├── StorageError             a file or folder that cannot be read or written
    │   └── UnreachableError     a source of published files that is away: none of them can be fetched now
    └── MissingExtraError        an optional dependency that is not installed

Each says what was wrong, where, and what to do about it.
"""

from __future__ import annotations


class ChopmarkError(Exception):
    """The root of all errors of the SDK.

    `what` says what was wrong, `where` the place in the input (a path, line, column or byte offset, empty when
    the whole input is meant) and `remedy` what the caller can do (empty when there is nothing to add).
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.remedy[0].upper()}{self.remedy[1:]}" if self.remedy else text


class FormatError(ChopmarkError):
    """Bytes or text that are not of the format they claim to be."""


class LimitError(FormatError):
    """A size, depth or count above the bound that the format sets."""


class UnsupportedError(FormatError):
    """Well formed, but of a version, algorithm or kind that this reader does not know."""


class SignatureError(ChopmarkError):
    """A signature that does not verify under the key it names."""


class ProofError(ChopmarkError):
    """A Merkle path that does not lead from the one hash to the other."""


class KeyMaterialError(ChopmarkError):
    """Key material that is not a key, or a key of the wrong kind for this use."""


class TrustError(ChopmarkError):
    """Trust data (bundle, root epoch, landmark file, status list) that must not be used."""


class RollbackError(TrustError):
    """Trust data older than what the store already holds."""


class FutureDatedError(TrustError):
    """Trust data dated more than an hour ahead of the clock."""


class QuorumError(TrustError):
    """Too few witness operators cosigned a checkpoint."""


class StorageError(ChopmarkError):
    """A file or folder that cannot be read or written."""


class UnreachableError(StorageError):
    """A source of published files that is away: none of them can be fetched now."""


class MissingExtraError(ChopmarkError):
    """A function that needs an optional dependency which is not installed."""
