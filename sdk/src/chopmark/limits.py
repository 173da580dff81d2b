"""Bounds that are checked before anything is allocated, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds, unless said otherwise."""

    credential_size: int = 8 * 1024
    """A credential; a QR of version 40-L holds 2,953 bytes, the rest is for tlog-proofs in files."""
    presentation_size: int = 12 * 1024
    """A credential within a key binding token."""
    cbor_depth: int = 8
    """Nested arrays, maps and tags; a credential uses five."""
    cbor_items: int = 2048
    """Elements of one array or map; no claim set comes near."""
    qr_text_length: int = 24 * 1024
    """Characters of an `EL1:` text: base45 of an incompressible presentation, and some."""
    note_size: int = 4 * 1024 * 1024
    """A signed note; a trust bundle of a large region, or sixteen post-quantum signatures."""
    note_signatures: int = 64
    """Signature lines of one note; the specification asks for at least sixteen."""
    proof_hashes: int = 63
    """Hashes of one Merkle path: a tree has at most 2^63 leaves."""
    landmark_path: int = 10
    """Hashes of a landmark path: an interval ends at each multiple of 1,024."""
    entry_size: int = 65_535
    """A log entry: its length is a uint16 in an entry bundle."""
    status_list_bits: int = 2 * (1 << 20)
    """Bits of an inflated status list: 2^20 entries of two bits."""
    status_token_size: int = 1024 * 1024
    """A status list token as it is stored and fetched."""
    status_lists: int = 4096
    """Status lists that a trust bundle names: four thousand million licences at 2^20 a list."""
    status_lists_size: int = 512 * 1024 * 1024
    """Status lists of one region that are held, as fetched and inflated; a list of 2^20 takes 256 KiB inflated."""
    landmark_file_size: int = 64 * 1024 * 1024
    """A landmark file: a million records."""
    trust_file_size: int = 64 * 1024 * 1024
    """Any file of a trust store."""


LIMITS = Limits()
"""The bounds of suite 1."""
