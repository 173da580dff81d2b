"""A log of a few entries, made with nothing of ours: RFC 6962 word by word, Ed25519 by PyNaCl, notes as text.

What it asks a witness is therefore not what our own code thinks that a log asks.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from hashlib import sha256

import nacl.signing


def base64_text(data: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(data).decode("ascii")


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1 over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return sha256(b"\x01" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def consistency(leaves: Sequence[bytes], old: int) -> list[bytes]:
    """PROOF(m, D[n]) of RFC 6962 §2.1.2 over leaf hashes."""
    return _subproof(old, leaves, whole=True) if 0 < old < len(leaves) else []


def _subproof(old: int, leaves: Sequence[bytes], *, whole: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [tree_hash(leaves)]
    split = _split(len(leaves))
    if old <= split:
        return [*_subproof(old, leaves[:split], whole=whole), tree_hash(leaves[split:])]
    return [*_subproof(old - split, leaves[split:], whole=False), tree_hash(leaves[:split])]


def _split(size: int) -> int:
    split = 1
    while split * 2 < size:
        split *= 2
    return split


def subtree_consistency(leaves: Sequence[bytes], start: int, end: int) -> list[bytes]:
    """SUBTREE_PROOF(start, end, D_n) of draft-ietf-plants-merkle-tree-certs §4.4.1."""
    return _subtree_subproof(start, end, leaves, whole=True)


def _subtree_subproof(start: int, end: int, leaves: Sequence[bytes], *, whole: bool) -> list[bytes]:
    if start == 0 and end == len(leaves):
        return [] if whole else [tree_hash(leaves)]
    split = _split(len(leaves))
    if end <= split:
        return [*_subtree_subproof(start, end, leaves[:split], whole=whole), tree_hash(leaves[split:])]
    if split <= start:
        rest = _subtree_subproof(start - split, end - split, leaves[split:], whole=whole)
        return [*rest, tree_hash(leaves[:split])]
    rest = _subtree_subproof(0, end - split, leaves[split:], whole=False)
    return [*rest, tree_hash(leaves[:split])]


class NaiveKey:
    """An Ed25519 log key; `type_byte` is its signature type, 0x01 for a log's."""

    def __init__(self, name: str, seed: bytes) -> None:
        self.name = name
        self._key = nacl.signing.SigningKey(seed)
        public = b"\x01" + bytes(self._key.verify_key)
        self.key_id = sha256(name.encode() + b"\n" + public).digest()[:4]
        self.vkey = f"{name}+{self.key_id.hex()}+{base64_text(public)}"
        self.skey = f"PRIVATE+KEY+{name}+{self.key_id.hex()}+{base64_text(bytes([1]) + seed)}"
        """As golang.org/x/mod/sumdb/note spells a private key."""

    def line(self, text: str) -> str:
        """The signature line below a text."""
        return f"— {self.name} {base64_text(self.key_id + self._key.sign(text.encode()).signature)}\n"


class NaiveLog:
    """A log of `size` entries that can be told apart by `seed`."""

    def __init__(self, key: NaiveKey, size: int, seed: bytes = b"") -> None:
        self.key = key
        self.leaves = [sha256(b"\x00" + seed + b"%d" % number).digest() for number in range(size)]

    def text(self, size: int, *, extension: str = "") -> str:
        """The three lines of the checkpoint of a size, and an extension line."""
        return f"{self.key.name}\n{size}\n{base64_text(tree_hash(self.leaves[:size]))}\n{extension}"

    def checkpoint(self, size: int, *more: NaiveKey, extension: str = "") -> str:
        """A checkpoint that the log and further keys signed."""
        text = self.text(size, extension=extension)
        return text + "\n" + "".join(key.line(text) for key in (self.key, *more))

    def proof(self, old: int, size: int) -> list[str]:
        """The lines of a consistency proof."""
        return [base64_text(each) for each in consistency(self.leaves[:size], old)]

    def request(self, old: int, size: int) -> bytes:
        """An add-checkpoint request in order."""
        return request(f"old {old}", self.proof(old, size), self.checkpoint(size))


def request(first: str, proof: Sequence[str], checkpoint: str) -> bytes:
    """The body of a request, whatever its parts say."""
    return ("\n".join([first, *proof]) + "\n\n" + checkpoint).encode()
