"""Root epochs: which keys sign for a region, and how many of them must (`specs/root-epoch.md`).

Each epoch is a signed note, `root/<n>`, kept for ever; its text is JSON. It is signed by the thresholds of epoch n−1
and of epoch n itself, so a reader who trusts one epoch walks to each later one, and skips none. The names of all root
keys of a region share the host, which its logs share too.

The threshold counts *signatories*, and a signatory is a key name. Each has an Ed25519 key (type 0x01) and may have an
ML-DSA-44 key beside it (type 0xff), under the same name; whoever has two counts once, and only where both signed. So
the second key adds no vote, and no line can be left out to get by with the weaker algorithm. Sample:

    {
     "format": "chopmark/root-epoch/v1",
     "region": "CN-GD",
     "epoch": 2,
     "issued": "2026-11-22T00:00:00Z",
     "threshold": 2,
     "keys": [
      "cn-gd.example/root/a+1f0e2d3c+AQ…",
      "cn-gd.example/root/a+7c1d0b92+/2Nob3BtYXJrL21sLWRzYS00N…",
      "cn-gd.example/root/b+5a4b3c2d+AQ…"
     ]
    }

    — cn-gd.example/root/a Hw4tPP…
    — cn-gd.example/root/a fB0Lkq…
    — cn-gd.example/root/b WktMPR…
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chopmark import strict
from chopmark.bundle_entries import Peer
from chopmark.closed_object import ClosedObject
from chopmark.errors import FormatError, SignatureError, TrustError, UnsupportedError
from chopmark.identifiers import ORIGIN, REGION, host_of
from chopmark.limits import LIMITS
from chopmark.note import TYPE_ED25519, TYPE_LONG_IDENTIFIER, Note, NoteVerifier

FORMAT: Final = "chopmark/root-epoch/v1"


@dataclass(frozen=True, slots=True)
class Roots:
    """The root keys of one epoch of a region, verified; `issued` is None where only a peer's pin is known.

    `threshold` is how many of the `signatories` must sign, each with every key it has.
    """

    region: str
    epoch: int
    threshold: int
    verifiers: tuple[NoteVerifier, ...]
    issued: int | None = None

    @property
    def host(self) -> str:
        """The host that names this region's keys, logs and status lists."""
        return host_of(self.verifiers[0].name)

    @property
    def signatories(self) -> tuple[str, ...]:
        """The names of the keys, each once: who signs for the region."""
        return tuple(dict.fromkeys(verifier.name for verifier in self.verifiers))

    @classmethod
    def pin(cls, data: bytes) -> Roots:
        """Read the epoch that a verifier pins; it must be signed by its own threshold.

        Where it comes from is the caller's to judge: a pin is where trust begins.

        Raises:
            FormatError: not a root epoch; `UnsupportedError` for another version of the format.
            SignatureError: fewer than `threshold` of its signatories signed.
        """
        note = Note.parse(data)
        roots = _read(note.text)
        roots.verify_note(note)
        return roots

    @classmethod
    def from_peer(cls, peer: Peer) -> Roots:
        """The epoch that a bundle pins for a peer.

        Raises:
            FormatError: keys that are not keys of one region, or a threshold that they cannot reach.
        """
        return _checked(
            region=peer.region,
            epoch=peer.epoch,
            threshold=peer.threshold,
            vkeys=peer.roots,
            issued=None,
            where=f"peer {peer.region}",
        )

    def advance(self, data: bytes) -> Roots:
        """Read the next epoch.

        Raises:
            FormatError: not a root epoch.
            TrustError: of another region, not the very next epoch, or older than this one.
            SignatureError: not signed by the thresholds of both epochs.
        """
        note = Note.parse(data)
        new = _read(note.text)
        where = f"root epoch {new.epoch} of {new.region}"
        if new.region != self.region or new.host != self.host:
            raise TrustError(f"it is not of the region {self.region}, host {self.host}", where=where)
        if new.epoch != self.epoch + 1:
            raise TrustError(
                f"the epoch after {self.epoch} is {self.epoch + 1}",
                where=where,
                remedy="fetch every root epoch in turn; none may be skipped",
            )
        if self.issued is not None and new.issued is not None and new.issued < self.issued:
            raise TrustError(f"it is dated before epoch {self.epoch}", where=where)
        self.verify_note(note)
        new.verify_note(note)
        return new

    def verify_note(self, note: Note) -> None:
        """Check that at least `threshold` of the signatories signed a note, each with every key it has.

        Raises:
            SignatureError: fewer did, or a signature of one of the keys is bad.
        """
        signed = set(note.verify(self.verifiers))
        lacking = {verifier.name for verifier in self.verifiers if verifier not in signed}
        count = sum(name not in lacking for name in self.signatories)
        if count < self.threshold:
            partly = sorted(lacking & {verifier.name for verifier in signed})
            remedy = f"{partly[0]} signed with one of its two keys; both must" if partly else ""
            raise SignatureError(
                f"signed by {count} root signatories of epoch {self.epoch} where {self.threshold} must sign",
                where=f"region {self.region}",
                remedy=remedy,
            )


def root_epoch_text(*, region: str, epoch: int, issued: int, threshold: int, keys: Sequence[str]) -> str:
    """Write the text that the root keys sign with `note.sign_note`.

    Args:
        region: its ISO 3166-2 code.
        epoch: from 1, one higher for each change of keys.
        issued: POSIX seconds.
        threshold: how many of the signatories must sign.
        keys: vkeys of type 0x01, and beside any of them one of type 0xff under the same name.

    Raises:
        FormatError: it would be refused on reading.
    """
    value = {
        "format": FORMAT,
        "region": region,
        "epoch": epoch,
        "issued": strict.time_encode(issued),
        "threshold": threshold,
        "keys": list(keys),
    }
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    _read(text)
    return text


def _checked(*, region: str, epoch: int, threshold: int, vkeys: Sequence[str], issued: int | None, where: str) -> Roots:
    verifiers = tuple(NoteVerifier.from_vkey(vkey) for vkey in vkeys)
    if any(verifier.type not in (TYPE_ED25519, TYPE_LONG_IDENTIFIER) for verifier in verifiers):
        raise FormatError("a root key signs notes (type 0x01 or 0xff); a witness key does not", where=where)
    if len({verifier.public_key for verifier in verifiers}) != len(verifiers):
        raise FormatError("a root key stands twice", where=where)
    ed25519 = [verifier.name for verifier in verifiers if verifier.type == TYPE_ED25519]
    ml_dsa_44 = [verifier.name for verifier in verifiers if verifier.type == TYPE_LONG_IDENTIFIER]
    for names in (ed25519, ml_dsa_44):
        if len(set(names)) != len(names):
            raise FormatError("two root keys of one algorithm under one name", where=where)
    if alone := set(ml_dsa_44) - set(ed25519):
        raise FormatError(f"{min(alone)} has an ML-DSA-44 key and no Ed25519 key", where=where)
    if not 1 <= threshold <= len(ed25519):
        raise FormatError(f"a threshold of {threshold} of {len(ed25519)} signatories", where=where)
    if not all(ORIGIN.fullmatch(verifier.name) for verifier in verifiers):
        raise FormatError("a root key is named <host>/<path>, in lower case", where=where)
    if len({host_of(verifier.name) for verifier in verifiers}) != 1:
        raise FormatError("the names of the root keys do not share one host", where=where)
    return Roots(region, epoch, threshold, verifiers, issued)


def _read(text: str) -> Roots:
    where = "root epoch"
    members = ClosedObject(strict.json_decode(text.encode("utf-8"), where=where, max_size=LIMITS.note_size), "")
    if (name := members.text("format")) != FORMAT:
        raise UnsupportedError(f"the format {name[:60]!r} is not {FORMAT}", where=where)
    region, epoch = members.text("region", pattern=REGION), members.integer("epoch", minimum=1)
    issued, threshold = members.time("issued"), members.integer("threshold", minimum=1)
    keys = members.texts("keys")
    members.close()
    return _checked(region=region, epoch=epoch, threshold=threshold, vkeys=keys, issued=issued, where=where)
