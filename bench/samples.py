"""What is verified: credentials of the sample world in a log of 1,024 entries, so that each path has ten hashes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chopmark import qr_text
from chopmark.challenge import Challenge, create_challenge
from chopmark.credential import Credential, Usage
from chopmark.entries import CredentialEntry
from chopmark.keys import PublicKey
from chopmark.landmark import LandmarkRecord
from chopmark.merkle import leaf_hash, subtree_root
from chopmark.presentation import Presentation, present
from chopmark.trust_store import TrustStore

from specs.vectors.sample_world import (
    DAY,
    INSPECTOR,
    NOW,
    SELECTIVE,
    DeterministicEs256Signer,
    SampleWorld,
    make_world,
)

PATH_HASHES = 10
HASH_SIZE = 32
LOG_SIZE = 1 << PATH_HASHES
COUNT = 60
"""Distinct credentials of each kind, and holders: what is verified next was never seen by this process before."""


@dataclass(frozen=True, slots=True)
class LoggedCredential:
    """A credential with its path, and what the raw primitives need of both."""

    credential: Credential
    issuer_key: PublicKey
    leaf: bytes
    siblings: tuple[bytes, ...]

    @classmethod
    def of(cls, credential: Credential, issuer_key: PublicKey) -> LoggedCredential:
        """Take apart a credential with a landmark proof.

        Raises:
            AssertionError: its path has not ten hashes.
        """
        proof = credential.landmark_proof
        if proof is None or len(proof.hashes) != HASH_SIZE * PATH_HASHES:
            raise AssertionError("a path of another length")
        hashes = proof.hashes
        siblings = tuple(hashes[start : start + HASH_SIZE] for start in range(0, len(hashes), HASH_SIZE))
        entry = CredentialEntry(credential.claims.issuer, credential.digest).encode()
        return cls(credential, issuer_key, leaf_hash(entry), siblings)


@dataclass(frozen=True, slots=True)
class Samples:
    """A trust store on disk with the root that it is pinned to, credentials, and presentations of each for `NOW`.

    `bearer` are food business licences; `bound` are constructor registrations of as many holders, with three fields
    redacted; `presentations` shows each, all fields disclosed, without a challenge.
    """

    folder: Path
    root_file: Path
    store: TrustStore
    bearer: tuple[LoggedCredential, ...]
    bound: tuple[LoggedCredential, ...]
    presentations: tuple[Presentation, ...]
    texts: tuple[tuple[str, bool, str], ...]
    """Name, whether key-bound, and text of one code of every kind."""


def make_samples(folder: Path) -> Samples:
    """Make the sample world and open its trust store, in `folder`."""
    holders = [DeterministicEs256Signer(bytes([number + 1]) * 32) for number in range(COUNT)]
    world = make_world(filler=LOG_SIZE - 1 - 2 * COUNT - 2)
    bearer = [world.issue(world.claims("food", index=number)) for number in range(COUNT)]
    bound = [
        world.issue(world.claims("constructor", index=number, holder_key=holder.public_key))
        for number, holder in enumerate(holders)
    ]
    transport = world.issue(world.claims("transport", index=COUNT, holder_key=holders[0].public_key))
    paper = world.issue(
        world.claims(
            "constructor",
            index=COUNT + 1,
            holder_key=None,
            credential_id=world.random(16),
            usage=Usage(None, None, None, "paper"),
        )
    )
    logged = _logged(world, [*bearer, *bound, transport, paper])
    bearer, bound, (transport, paper) = logged[:COUNT], logged[COUNT : 2 * COUNT], logged[2 * COUNT :]
    store = world.store(folder / "trust")
    root_file = folder / "root-1.note"
    root_file.write_bytes(world.home.root_epoch)

    def taken_apart(credential: Credential) -> LoggedCredential:
        return LoggedCredential.of(credential, world.peer.signers[credential.claims.issuer, "credential"].public_key)

    presentations = tuple(
        present(credential, holder, at=NOW, disclose=SELECTIVE)
        for credential, holder in zip(bound, holders, strict=True)
    )
    answered = [
        present(credential, holders[0], at=NOW, challenge=_challenge(world, credential), disclose=SELECTIVE)
        for credential in (bound[0], transport)
    ]
    codes = (
        ("food business licence", False, bearer[0].encode()),
        ("constructor registration on paper", False, paper.encode()),
        ("constructor registration, copied without its holder's key", False, bound[0].disclosing(()).encode()),
        ("constructor registration, nothing disclosed", True, present(bound[0], holders[0], at=NOW).encode()),
        ("constructor registration, all disclosed", True, presentations[0].encode()),
        ("constructor registration, all disclosed, challenge answered", True, answered[0].encode()),
        ("practitioner certificate, all disclosed, challenge answered", True, answered[1].encode()),
    )
    return Samples(
        store.folder,
        root_file,
        store,
        tuple(map(taken_apart, bearer)),
        tuple(map(taken_apart, bound)),
        presentations,
        tuple((name, key_bound, qr_text.encode(data)) for name, key_bound, data in codes),
    )


def _logged(world: SampleWorld, credentials: list[Credential]) -> list[Credential]:
    """Log credentials and attach their paths to one landmark over all 1,024 entries.

    A log that ends its intervals by the rules covers them with two subtrees, so that its paths have nine hashes at
    most; the format allows ten.
    """
    log = world.peer.log
    indexes = world.log(*credentials)
    root = subtree_root(0, LOG_SIZE, log.read)
    log.records.append(LandmarkRecord(0, LOG_SIZE, root, LOG_SIZE, NOW - 10 * DAY))
    log.landmark_size = log.size
    return [
        credential.with_landmark_proof(log.landmark_proof(index))
        for credential, index in zip(credentials, indexes, strict=True)
    ]


def _challenge(world: SampleWorld, credential: Credential) -> Challenge:
    return create_challenge(
        world.inspector_signer,
        inspector=INSPECTOR,
        purpose="路面检查 roadside inspection",
        licence_type=credential.claims.licence_type,
        fields=SELECTIVE,
        at=NOW,
        random=world.random,
    )
