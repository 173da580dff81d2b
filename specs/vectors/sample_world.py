"""Two sample regions, made of SDK functions alone, for the vectors, the tests and the bench.

`CN-SH` is home: its roots are pinned, its log vouches for landmark files. `CN-GD` is its peer and issues the
licences. Every key, salt and nonce comes from one seed and every ECDSA signature is deterministic, so that the same
world comes out each time. Organisations are made up, their codes are right, and nobody is named.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import sha256
from pathlib import Path

from chopmark.bundle_contents import BundleContents
from chopmark.bundle_entries import Grant, Issuer, IssuerState, IssuerStatus, Log, Peer, StatusSigner, StatusSource
from chopmark.cbor import Value
from chopmark.claims import Claims, StatusReference
from chopmark.closed_object import ClosedObject
from chopmark.cosignature import Cosigner
from chopmark.credential import Credential, issue_credential
from chopmark.entries import CredentialEntry, LandmarkFileEntry, StatusListEntry, TrustBundleEntry
from chopmark.issuer_key import Key, KeyUse, Revocation
from chopmark.keys import Algorithm, Ed25519Signer, PublicKey, Signer
from chopmark.licence_number import LicenceNumber
from chopmark.licence_type import LicenceType, LocalisedText
from chopmark.note import Note, NoteSigner, sign_note
from chopmark.root_epoch import Roots, root_epoch_text
from chopmark.status import StatusList, StatusListToken
from chopmark.trust_store import TrustStore
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from specs.vectors.sample_log import SampleLog

DAY = 24 * 3600
NOW = 1_795_339_800
"""2026-11-22T09:30:00Z: the moment of every sample unless it says otherwise."""
CREATED = NOW - 300 * DAY
YEARS = 5 * 365 * DAY

TYPES_FOLDER = Path(__file__).parents[2] / "examples" / "types"
TYPE_AUTHORITY = "11100000MB99991003"
FOOD_DEPARTMENT = "CN-GD/11440000MB99990015"
TRANSPORT_DEPARTMENT = "CN-GD/11440000MB99990028"
INSPECTOR = "CN-SH/11310000MB99990113"
STATUS_SIZE = 4096


class SeededRandom:
    """Bytes that follow from a seed; a stand-in for `os.urandom` where the same bytes must come out each time."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._count = 0

    def __call__(self, size: int) -> bytes:
        """The next `size` bytes."""
        out = b""
        while len(out) < size:
            self._count += 1
            out += sha256(self._seed + self._count.to_bytes(8, "big")).digest()
        return out[:size]


class DeterministicEs256Signer:
    """ES256 with the deterministic nonces of RFC 6979, so that vectors come out the same each time."""

    def __init__(self, seed: bytes) -> None:
        order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
        scalar = int.from_bytes(seed, "big") % (order - 1) + 1
        self._key = ec.derive_private_key(scalar, ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        self.public_key = PublicKey(Algorithm.ES256, numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big"))

    def sign(self, message: bytes) -> bytes:
        """r‖s, 64 bytes."""
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def licence_type(name: str) -> LicenceType:
    """A sample licence type, by its file in `examples/types`, as the bundle states it."""
    definition = json.loads((TYPES_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    del definition["format"]
    for entry in definition["fields"]:
        entry.pop("max_length", None)
    return LicenceType.from_json(ClosedObject(definition, name))


@dataclass(slots=True)
class SampleRegion:
    """One region: roots, log, issuers and keys; `bundle` states them as they stand."""

    region: str
    host: str
    name: LocalisedText
    random: SeededRandom
    root_signers: list[NoteSigner]
    log: SampleLog
    witness: Cosigner
    issuers: list[Issuer] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    types: list[LicenceType] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    status_sources: list[StatusSource] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    signers: dict[tuple[str, str], Signer] = field(default_factory=dict)
    seq: int = 0

    @property
    def root_epoch(self) -> bytes:
        """The first root epoch: two of three keys."""
        text = root_epoch_text(
            region=self.region,
            epoch=1,
            issued=CREATED,
            threshold=2,
            keys=[signer.vkey for signer in self.root_signers],
        )
        return sign_note(text, self.root_signers).encode()

    @property
    def roots(self) -> Roots:
        """The first epoch, pinned."""
        return Roots.pin(self.root_epoch)

    def add_department(self, issuer: str, zh: str, en: str, uses: Sequence[KeyUse]) -> None:
        """Enrol an issuer, active since the region was created, with one key for each use."""
        state = IssuerStatus(IssuerState.ACTIVE, CREATED, None)
        self.issuers.append(Issuer(issuer, LocalisedText(zh, en), (state,), None))
        for use in uses:
            signer = Ed25519Signer.from_private_bytes(self.random(32))
            self.signers[issuer, use.value] = signer
            self.keys.append(Key(signer.public_key.kid, issuer, use, signer.public_key, CREATED, CREATED + YEARS, None))
        if KeyUse.STATUS in uses:
            kid = self.signers[issuer, KeyUse.STATUS.value].public_key.kid
            uri = f"https://{self.host}/status/{len(self.status_sources) + 1}"
            self.status_sources.append(StatusSource(uri, (), issuer, (StatusSigner(kid, CREATED, None),), 24 * 3600))

    def status_uri(self, issuer: str) -> str:
        """The status list of an issuer."""
        return next(source.uri for source in self.status_sources if source.issuer == issuer)

    def revoke_key(self, issuer: str, revocation: Revocation) -> None:
        """Revoke the credential key of an issuer."""
        self.keys = [
            replace(key, revoked=revocation) if (key.issuer, key.use) == (issuer, KeyUse.CREDENTIAL) else key
            for key in self.keys
        ]

    def bundle(self, *, at: int, **changes: object) -> bytes:
        """The trust bundle as things stand, with the next sequence number, signed by two roots.

        `changes` replace what it states; nothing is checked, so that bad bundles can be made too.
        """
        self.seq += 1
        log = Log(
            self.log.number,
            self.log.origin,
            1,
            (self.log.signer.vkey,),
            CREATED,
            None,
            None,
            self.log.policy_text,
        )
        contents = BundleContents(
            region=self.region,
            name=self.name,
            seq=self.seq,
            issued=at,
            refresh_after=at + DAY,
            expires=at + 14 * DAY,
            epoch=1,
            logs=(log,),
            peers=tuple(self.peers),
            issuers=tuple(self.issuers),
            keys=tuple(self.keys),
            types=tuple(self.types),
            grants=tuple(self.grants),
            status_lists=tuple(self.status_sources),
        )
        return sign_note(replace(contents, **changes).text(), self.root_signers[:2]).encode()  # type: ignore[arg-type]

    def log_bundle(self, bundle: bytes, *, at: int) -> bytes:
        """Log a bundle (entry kind 4); the tlog-proof that travels with it."""
        digest = sha256(Note.parse(bundle).text.encode()).digest()
        seq = json.loads(Note.parse(bundle).text)["seq"]
        return self.log.tlog_proof(self.log.append(TrustBundleEntry(self.region, seq, digest).encode()), at=at)

    def log_landmarks(self, log: SampleLog, *, at: int) -> bytes:
        """Vouch in this region's log for a landmark file (entry kind 5); the proof that travels with it."""
        data = log.landmark_file.encode()
        entry = LandmarkFileEntry(log.origin, len(log.records), sha256(data).digest())
        return self.log.tlog_proof(self.log.append(entry.encode()), at=at)

    def status_list(
        self, issuer: str, statuses: dict[int, int], *, at: int, freshness: int = 30 * DAY
    ) -> tuple[bytes, bytes]:
        """Sign and log a status list; the token and the proof of its entry (kind 2)."""
        token = StatusListToken.issue(
            self.signers[issuer, "status"],
            uri=self.status_uri(issuer),
            issued_at=at,
            expires=at + freshness,
            ttl=DAY,
            status_list=StatusList.empty(STATUS_SIZE).with_statuses(statuses),
        )
        entry = StatusListEntry(issuer, token.uri, token.hash, at)
        return token.encode(), self.log.tlog_proof(self.log.append(entry.encode()), at=at)


@dataclass(slots=True)
class SampleWorld:
    """Home, its peer, and the licences that the peer's departments issued."""

    home: SampleRegion
    peer: SampleRegion
    holder: DeterministicEs256Signer
    random: SeededRandom

    @property
    def inspector_signer(self) -> Signer:
        """The key of the inspector that the home region enrolled."""
        return self.home.signers[INSPECTOR, "inspector"]

    def claims(self, kind: str, *, index: int = 0, **changes: object) -> Claims:
        """The claims of a sample licence: `food`, `transport` or `constructor`."""
        issuer = FOOD_DEPARTMENT if kind == "food" else TRANSPORT_DEPARTMENT
        holder_key = None if kind == "food" else self.holder.public_key
        code = {"food": "001", "transport": "002", "constructor": "003"}[kind]
        number = LicenceNumber.build(TYPE_AUTHORITY + code, issuer.partition("/")[2], f"20260000{index:04d}", 1)
        claims = Claims(
            issuer=issuer,
            licence_type=f"CN-GD/{TYPE_AUTHORITY}{code}@1",
            issued_at=NOW - 10 * DAY,
            licence_number=number.text,
            not_before=NOW - 10 * DAY,
            expires=NOW + 3 * 365 * DAY,
            credential_id=self.random(16) if holder_key is None else None,
            holder_key=holder_key,
            status=StatusReference(index, self.peer.status_uri(issuer)),
            fields=FIELDS[kind],
        )
        return replace(claims, **changes)  # type: ignore[arg-type]

    def issue(
        self, claims: Claims, *, signer: Signer | None = None, selective: Sequence[int] | None = None
    ) -> Credential:
        """Sign a credential with the credential key of its issuer (or with `signer`); not logged."""
        if selective is None:
            selective = SELECTIVE if claims.holder_key is not None else ()
        signer = signer or self.peer.signers[claims.issuer, "credential"]
        return issue_credential(signer, claims, selective=selective, random=self.random)

    def log(self, *credentials: Credential) -> list[int]:
        """Append the entries of credentials to the peer's log; no landmark yet."""
        return [self.peer.log.append(CredentialEntry(c.claims.issuer, c.digest).encode()) for c in credentials]

    def logged(self, *credentials: Credential, at: int = NOW - 10 * DAY) -> list[Credential]:
        """Append credentials to the peer's log, end a landmark, and attach to each its path."""
        indexes = self.log(*credentials)
        self.peer.log.landmark(at=at)
        return [
            credential.with_landmark_proof(self.peer.log.landmark_proof(index))
            for credential, index in zip(credentials, indexes, strict=True)
        ]

    def status_lists(
        self, statuses: dict[str, dict[int, int]] | None = None, *, at: int = NOW - 3600
    ) -> list[tuple[bytes, bytes]]:
        """A fresh list of each department, with its proof; `statuses` by issuer, else all valid."""
        return [
            self.peer.status_list(issuer, (statuses or {}).get(issuer, {}), at=at, freshness=freshness)
            for issuer, freshness in ((FOOD_DEPARTMENT, 30 * DAY), (TRANSPORT_DEPARTMENT, 30 * DAY))
        ]

    def store(
        self,
        folder: Path,
        *,
        at: int = NOW - 3600,
        bundle_at: int | None = None,
        statuses: dict[str, dict[int, int]] | None = None,
        status_at: int | None = None,
        without: Iterable[str] = (),
    ) -> TrustStore:
        """A trust store in `folder` with all of it as it stands; `without` leaves out `landmarks` or `status`."""
        bundle_at = at if bundle_at is None else bundle_at
        store = TrustStore.create(folder, roots=self.home.roots)
        bundle = self.home.bundle(at=bundle_at)
        store.put_bundle(bundle, self.home.log_bundle(bundle, at=at), now=at)
        bundle = self.peer.bundle(at=bundle_at)
        store.put_bundle(bundle, self.peer.log_bundle(bundle, at=at), now=at)
        if "landmarks" not in without:
            store.put_landmarks(
                self.peer.log.landmark_file.encode(),
                self.home.log_landmarks(self.peer.log, at=at),
                origin=self.peer.log.origin,
                now=at,
            )
        if "status" not in without:
            for token, proof in self.status_lists(statuses, at=at if status_at is None else status_at):
                store.put_status_list(token, proof, now=at)
        return store


def _days(year: int, month: int, day: int) -> int:
    return (date(year, month, day) - date(1970, 1, 1)).days


SELECTIVE = (2, 3, 4)
"""Ids of the fields that a holder of either personal type may withhold."""

FIELDS: dict[str, dict[int, Value]] = {
    "food": {
        1: "示例餐饮有限公司",
        2: "91440101MA9999001E",
        3: "示例负责人",
        4: "广东省广州市天河区示例路100号首层",
        5: "餐饮服务经营者（中型餐馆）",
        6: ["热食类食品制售", "冷食类食品制售", "自制饮品制售"],
        7: _days(2026, 11, 12),
        8: "不得经营生食类食品",
    },
    "transport": {
        1: "示例持证人",
        2: "440100199001010000",
        3: _days(1990, 1, 1),
        4: "广东省广州市天河区示例路200号",
        5: ["道路货物运输驾驶员"],
        6: "B2",
        7: _days(2026, 11, 12),
        8: "无",
    },
    "constructor": {
        1: "示例持证人",
        2: "440100199001010000",
        3: _days(1990, 1, 1),
        4: "示例建设工程有限公司",
        5: "一级",
        6: ["建筑工程", "机电工程"],
        7: _days(2026, 11, 12),
        8: "无",
    },
}


def make_world(*, filler: int = 0) -> SampleWorld:
    """The world at `NOW`: both regions created, departments enrolled, types granted; nothing issued yet.

    `filler` entries go into the peer's log beforehand, for longer landmark paths.
    """
    random = SeededRandom("chopmark sample world 1")

    def signer() -> Ed25519Signer:
        return Ed25519Signer.from_private_bytes(random(32))

    hosts = {"CN-SH": "cn-sh.example", "CN-GD": "cn-gd.example"}
    names = {"CN-SH": LocalisedText("上海市", "Shanghai"), "CN-GD": LocalisedText("广东省", "Guangdong")}
    witnesses = {region: Cosigner(f"{host}/witness", signer()) for region, host in hosts.items()}
    regions = {}
    for region, host in hosts.items():
        other = next(name for name in hosts if name != region)
        origin = f"{host}/log/2026"
        log = SampleLog(origin, 1, NoteSigner(origin, signer()), [witnesses[other]], CREATED)
        roots = [NoteSigner(f"{host}/root/{letter}", signer()) for letter in "abc"]
        regions[region] = SampleRegion(region, host, names[region], random, roots, log, witnesses[region])
    home, peer = regions["CN-SH"], regions["CN-GD"]
    home.add_department(INSPECTOR, "上海市示例执法总队", "Sample enforcement corps of Shanghai", [KeyUse.INSPECTOR])
    uses = [KeyUse.CREDENTIAL, KeyUse.STATUS]
    peer.add_department(FOOD_DEPARTMENT, "广东省示例市场监管局", "Sample market regulator of Guangdong", uses)
    peer.add_department(TRANSPORT_DEPARTMENT, "广东省示例交通建设局", "Sample transport bureau of Guangdong", uses)
    peer.types = [licence_type(n) for n in ("food-business", "road-transport-practitioner", "constructor-registration")]
    peer.grants = [
        Grant(FOOD_DEPARTMENT, peer.types[0].id, CREATED, None),
        Grant(TRANSPORT_DEPARTMENT, peer.types[1].id, CREATED, None),
        Grant(TRANSPORT_DEPARTMENT, peer.types[2].id, CREATED, None),
    ]
    home.peers = [
        Peer(
            "CN-GD",
            1,
            tuple(root.vkey for root in peer.root_signers),
            2,
            (peer.log.origin,),
            peer.log.policy_text,
            f"https://{peer.host}/bundle.note",
            CREATED,
            None,
        )
    ]
    for number in range(filler):
        peer.log.append(CredentialEntry(FOOD_DEPARTMENT, sha256(b"filler %d" % number).digest()).encode())
    return SampleWorld(home, peer, DeterministicEs256Signer(random(32)), random)
