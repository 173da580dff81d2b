"""Two regions with logs, witnesses, bundles, landmarks and status lists, made in memory for the tests of trust data."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from chopmark import merkle
from chopmark.checkpoint import Checkpoint, SignedCheckpoint
from chopmark.cosignature import Cosigner
from chopmark.entries import LandmarkFileEntry, StatusListEntry, TrustBundleEntry
from chopmark.keys import Ed25519Signer
from chopmark.landmark import LandmarkFile, LandmarkRecord
from chopmark.note import NoteSigner, sign_note
from chopmark.root_epoch import Roots, root_epoch_text
from chopmark.status import StatusList, StatusListToken
from chopmark.tlog_proof import TlogProof
from chopmark.trust_bundle import (
    BundleContents,
    Field,
    FieldDisclosure,
    FieldKind,
    FreshnessClass,
    Grant,
    HolderBinding,
    Issuer,
    IssuerState,
    IssuerStatus,
    Key,
    KeyUse,
    LicenceType,
    LocalisedText,
    Log,
    Peer,
    StatusSigner,
    StatusSource,
    TrustBundle,
    sign_trust_bundle,
)

from tests.sdk.attack_stage import Stage

NOW = 1_795_339_800
"""2026-11-22T09:30:00Z."""
DAY = 86_400


def signer(name: str) -> Ed25519Signer:
    """The key of that name, the same in every test."""
    return Ed25519Signer.from_private_bytes(hashlib.sha256(name.encode()).digest())


class TestLog:
    """A log in memory, with the witnesses that cosign it."""

    __test__ = False

    def __init__(self, origin: str, witnesses: list[Cosigner]) -> None:
        self.origin = origin
        self.key = NoteSigner(origin, signer(origin))
        self.witnesses = witnesses
        self.entries: list[bytes] = []

    def append(self, entry: bytes) -> int:
        self.entries.append(entry)
        return len(self.entries) - 1

    def read(self, nodes: list[tuple[int, int]]) -> list[bytes]:
        return [self._node(level, index) for level, index in nodes]

    def _node(self, level: int, index: int) -> bytes:
        if level == 0:
            return merkle.leaf_hash(self.entries[index])
        return merkle.node_hash(self._node(level - 1, 2 * index), self._node(level - 1, 2 * index + 1))

    def checkpoint(self, at: int, *, witnesses: list[Cosigner] | None = None, size: int | None = None) -> bytes:
        size = len(self.entries) if size is None else size
        checkpoint = Checkpoint(self.origin, size, merkle.root(size, self.read))
        signed = SignedCheckpoint.sign(checkpoint, [self.key])
        for witness in self.witnesses if witnesses is None else witnesses:
            signed = signed.with_signature(witness.cosign(checkpoint, at))
        return signed.encode()

    def proof(self, index: int, at: int, *, witnesses: list[Cosigner] | None = None, size: int | None = None) -> bytes:
        size = len(self.entries) if size is None else size
        path = merkle.inclusion_proof(index=index, size=size, read=self.read)
        return TlogProof(index, tuple(path), self.checkpoint(at, witnesses=witnesses, size=size)).encode()

    def log(self, entry: bytes, at: int, **options: Any) -> bytes:
        """Append an entry, and prove it."""
        return self.proof(self.append(entry), at, **options)

    def policy(self, quorum: int = 2) -> str:
        lines = [f"log {self.key.vkey}"]
        lines += [f"witness w{number} {witness.vkey}" for number, witness in enumerate(self.witnesses)]
        lines += [f"group R{number} any w{number}" for number in range(len(self.witnesses))]
        lines.append(f"group peers {quorum} " + " ".join(f"R{number}" for number in range(len(self.witnesses))))
        return "\n".join([*lines, "quorum peers", ""])


class TestRegion:
    """A region with two root keys of which both sign, one log, one department and one licence type."""

    __test__ = False

    def __init__(self, code: str, host: str, witnesses: list[Cosigner]) -> None:
        self.code, self.host = code, host
        self.roots = [NoteSigner(f"{host}/root/{name}", signer(f"{host}/root/{name}")) for name in "ab"]
        self.log = TestLog(f"{host}/log/2026", witnesses)
        self.issuer = f"{code}/11440000000000001X"
        self.type_id = f"{code}/11100000000013338W032"
        self.credential_key = signer(f"{host}/credential")
        self.status_key = signer(f"{host}/status")
        self.uri = f"https://{host}/status/1"
        self.epoch_notes = [self.root_note(1, self.roots, self.roots)]

    def root_note(
        self, epoch: int, keys: list[NoteSigner], signers: list[NoteSigner], *, issued: int = NOW - 30 * DAY
    ) -> bytes:
        text = root_epoch_text(
            region=self.code, epoch=epoch, issued=issued, threshold=len(keys), keys=[key.vkey for key in keys]
        )
        return sign_note(text, signers).encode()

    @property
    def pin(self) -> Roots:
        return Roots.pin(self.epoch_notes[0])

    def log_entry(self, **changes: Any) -> Log:
        entry = Log(
            number=1,
            origin=self.log.origin,
            suite=1,
            vkeys=(self.log.key.vkey,),
            not_before=NOW - 300 * DAY,
            not_after=None,
            final=None,
            policy_text=self.log.policy(),
        )
        return replace(entry, **changes)

    def key(self, use: KeyUse, **changes: Any) -> Key:
        public = {
            KeyUse.CREDENTIAL: self.credential_key,
            KeyUse.STATUS: self.status_key,
            KeyUse.INSPECTOR: signer(f"{self.host}/inspector"),
        }[use].public_key
        entry = Key(
            kid=public.kid,
            issuer=self.issuer,
            use=use,
            public_key=public,
            not_before=NOW - 200 * DAY,
            not_after=NOW + 200 * DAY,
            revoked=None,
        )
        return replace(entry, **changes)

    def licence_type(self, **changes: Any) -> LicenceType:
        entry = LicenceType(
            id=self.type_id,
            schema=1,
            name=LocalisedText("食品经营许可证", "Food business licence"),
            fields=(
                Field(
                    id=1,
                    name="business_name",
                    label=LocalisedText("经营者名称", "Business"),
                    kind=FieldKind.TEXT,
                    disclosure=FieldDisclosure.ALWAYS,
                    required=True,
                    restricts=False,
                ),
            ),
            holder=HolderBinding.BEARER,
            freshness=FreshnessClass.TRADE,
            zone="Asia/Shanghai",
            challenge=False,
            numbering="GB/T 36904",
            status=True,
        )
        return replace(entry, **changes)

    def source(self, **changes: Any) -> StatusSource:
        entry = StatusSource(
            uri=self.uri,
            mirrors=(),
            issuer=self.issuer,
            signers=(StatusSigner(self.status_key.public_key.kid, NOW - 200 * DAY, None),),
            ttl=6 * 3600,
        )
        return replace(entry, **changes)

    def peer_entry(self, floor: str, **changes: Any) -> Peer:
        """What another region's bundle says of this one."""
        entry = Peer(
            region=self.code,
            epoch=1,
            roots=tuple(root.vkey for root in self.roots),
            threshold=2,
            origins=(self.log.origin,),
            policy_floor_text=floor,
            bundle_url=f"https://{self.host}/bundle.note",
            not_before=NOW - 100 * DAY,
            not_after=None,
        )
        return replace(entry, **changes)

    def contents(self, **changes: Any) -> BundleContents:
        contents = BundleContents(
            region=self.code,
            name=LocalisedText("示例", "Sample"),
            seq=1,
            issued=NOW - 3600,
            refresh_after=NOW + DAY,
            expires=NOW + 20 * DAY,
            epoch=1,
            logs=(self.log_entry(),),
            peers=(),
            issuers=(
                Issuer(
                    self.issuer,
                    LocalisedText("示例市场监管局", "Sample market authority"),
                    (IssuerStatus(IssuerState.ACTIVE, NOW - 200 * DAY, None),),
                    None,
                ),
            ),
            keys=(self.key(KeyUse.CREDENTIAL), self.key(KeyUse.STATUS), self.key(KeyUse.INSPECTOR)),
            types=(self.licence_type(),),
            grants=(Grant(self.issuer, self.type_id, NOW - 200 * DAY, None),),
            status_lists=(self.source(),),
        )
        return replace(contents, **changes)

    def bundle(
        self, *, roots: Roots | None = None, signers: list[NoteSigner] | None = None, **changes: Any
    ) -> TrustBundle:
        return sign_trust_bundle(
            self.contents(**changes), roots=roots or self.pin, signers=self.roots if signers is None else signers
        )

    def logged(self, bundle: TrustBundle, *, at: int = NOW - 1800, log: TestLog | None = None) -> tuple[bytes, bytes]:
        """The bundle and the proof of its entry."""
        entry = TrustBundleEntry(bundle.region, bundle.seq, bundle.digest)
        return bundle.data, (log or self.log).log(entry.encode(), at)

    def token(self, statuses: dict[int, int] | None = None, **changes: Any) -> StatusListToken:
        values: dict[str, Any] = {
            "uri": self.uri,
            "issued_at": NOW - 3000,
            "expires": NOW + 30 * DAY,
            "ttl": 6 * 3600,
            "status_list": StatusList.empty(1024).with_statuses(statuses or {}),
        }
        key = changes.pop("signer", self.status_key)
        return StatusListToken.issue(key, **(values | changes))

    def logged_list(
        self, token: StatusListToken, *, at: int = NOW - 1700, issuer: str | None = None, log: TestLog | None = None
    ) -> tuple[bytes, bytes]:
        """The status list and the proof of its entry."""
        entry = StatusListEntry(issuer or self.issuer, token.uri, token.hash, token.issued_at)
        return token.data, (log or self.log).log(entry.encode(), at)


class World:
    """Home is CN-GD; its peer is CN-SH; US-IL runs an independent witness."""

    def __init__(self) -> None:
        self.witnesses = {
            host: Cosigner(f"{host}/witness", signer(f"{host}/witness"))
            for host in ("cn-gd.example", "cn-sh.example", "us-il.example")
        }
        gd, sh, il = self.witnesses.values()
        self.home = TestRegion("CN-GD", "cn-gd.example", [sh, il])
        self.peer = TestRegion("CN-SH", "cn-sh.example", [gd, il])
        self.floor = f"witness gd {gd.vkey}\ngroup R01 any gd\nquorum R01\n"

    def home_bundle(self, **changes: Any) -> TrustBundle:
        return self.home.bundle(**({"peers": (self.peer.peer_entry(self.floor),)} | changes))

    def landmarks(
        self, log: TestLog, count: int = 1, *, number: int = 1, at: int = NOW - 2000, span: int = 4
    ) -> LandmarkFile:
        """A landmark file of `count` records of `span` entries each; the log is filled up to them."""
        while len(log.entries) < count * span:
            log.append(b"entry %d" % len(log.entries))
        file = LandmarkFile.empty(number)
        for position in range(count):
            start, end = position * span, (position + 1) * span
            root = merkle.subtree_root(start, end, log.read)
            file = file.with_records([LandmarkRecord(start, end, root, end, at + position)])
        return file

    def vouched(
        self, file: LandmarkFile, origin: str, *, at: int = NOW - 1500, log: TestLog | None = None
    ) -> tuple[bytes, bytes]:
        """The landmark file and the proof of its entry in a log of the home region."""
        entry = LandmarkFileEntry(origin, len(file), file.prefix_digest(len(file)))
        return file.data, (log or self.home.log).log(entry.encode(), at)


@pytest.fixture
def world() -> World:
    return World()


class Fault(Protocol):
    """Break the n-th call of a function of `os`; tells how often it was called."""

    def __call__(self, name: str, call: int, error: BaseException | None = None) -> list[int]: ...


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    def arm(name: str, call: int, error: BaseException | None = None) -> list[int]:
        genuine = getattr(os, name)
        calls = [0]

        def failing(*arguments: Any, **options: Any) -> Any:
            calls[0] += 1
            if calls[0] == call:
                raise error or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return genuine(*arguments, **options)

        monkeypatch.setattr(os, name, failing)
        return calls

    return arm


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made durable: for tests that make many trust stores and test something else."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def stage(tmp_path: Path, quick_disk: None) -> Stage:
    """The sample world with its verifier, where attacks play."""
    return Stage(tmp_path)
