"""Where the attacks play: the sample world, what a cheat can make in it, and a verifier that looks at the result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from chopmark import cbor, cose, qr_text
from chopmark.cbor import Key, Value
from chopmark.challenge import Challenge, create_challenge
from chopmark.cose import Sign1
from chopmark.credential import Claims, Credential, Disclosable
from chopmark.entries import CredentialEntry, TrustBundleEntry
from chopmark.issuer_key import Revocation, RevocationReason, TrustedSize
from chopmark.keys import Ed25519Signer, Signer
from chopmark.note import NoteSigner
from chopmark.presentation import TYP as TOKEN_TYP
from chopmark.presentation import Presentation, present
from chopmark.replay_cache import ReplayCache
from chopmark.trust_bundle import IssuerStatus, Log, TrustBundle
from chopmark.trust_store import TrustStore
from chopmark.verdict import Outcome, Result, Verdict
from chopmark.verifier import DEFAULT_POLICY, VerificationPolicy, Verifier

from specs.vectors.sample_log import SampleLog
from specs.vectors.sample_world import CREATED, FOOD_DEPARTMENT, INSPECTOR, NOW, SampleWorld, make_world

HOUR = 3600
DAY = 24 * HOUR
LOGGED = NOW - 10 * DAY
"""When licences are signed and logged, unless a test says otherwise."""

LENIENT = VerificationPolicy(required=frozenset(range(10)) - {2, 9}, accept_provisional=True)
"""The least that a policy can ask for."""


class Encodable(Protocol):
    """A credential, a presentation, or a bare COSE_Sign1."""

    def encode(self) -> bytes: ...


class Stage:
    """A fresh sample world, with the means of an honest issuer, of a holder and of a cheat.

    What goes into logs, bundles and lists is said first; the trust store is made of it at the first look.
    """

    def __init__(self, folder: Path, policy: VerificationPolicy = DEFAULT_POLICY) -> None:
        self.world: SampleWorld = make_world()
        self.policy = policy
        self.thief = Ed25519Signer.from_private_bytes(b"thief" * 6 + b"!!")
        self.folder = folder
        self._stores = count()
        self._store: TrustStore | None = None

    @property
    def log(self) -> SampleLog:
        """The log of the region that issues the licences."""
        return self.world.peer.log

    def credential_key(self, issuer: str = FOOD_DEPARTMENT) -> Signer:
        """A department's real key."""
        return self.world.peer.signers[issuer, "credential"]

    def store(self, **options: Any) -> TrustStore:
        """A trust store of everything as it stands now; later looks use it."""
        self._store = self.world.store(self.folder / f"store {next(self._stores)}", **options)
        return self._store

    # Licences

    def claims(self, kind: str = "food", **changes: Any) -> Claims:
        return self.world.claims(kind, **changes)

    def issue(self, kind: str = "food", *, signer: Signer | None = None, **changes: Any) -> Credential:
        """A licence that is signed and not logged."""
        return self.world.issue(self.claims(kind, **changes), signer=signer)

    def licence(
        self, kind: str = "food", *, logged_at: int = LOGGED, signer: Signer | None = None, **changes: Any
    ) -> Credential:
        """A genuine licence, logged and with the path to its landmark."""
        changes = {"issued_at": logged_at, "not_before": None if kind == "food" else logged_at} | changes
        return self.world.logged(self.issue(kind, signer=signer, **changes), at=logged_at)[0]

    def with_checkpoint(self, credential: Credential, *, at: int = LOGGED, **options: Any) -> Credential:
        """The licence logged now, with a tlog-proof in place of a landmark path."""
        (index,) = self.world.log(credential)
        return credential.with_tlog_proof(self.log.tlog_proof(index, at=at, **options))

    def signed(
        self,
        credential: Credential,
        change: Callable[[dict[Key, Value]], None] = lambda _: None,
        *,
        signer: Signer | None = None,
        protected: Mapping[Key, Value] | None = None,
        unprotected: Mapping[Key, Value] | None = None,
        logged_at: int = LOGGED,
        logged_as: str | None = None,
    ) -> Sign1:
        """Claims that `change` changed, signed with the issuer's real key and logged with a landmark path.

        `protected` and `unprotected` replace or add header labels.
        """
        payload = cbor.decode(credential.sign1.payload)
        assert isinstance(payload, dict)
        change(payload)
        issuer = credential.claims.issuer
        signer = signer or self.credential_key(issuer)
        headers: dict[Key, Value] = {cose.KID: signer.public_key.kid, cose.TYP: credential.kind.value}
        message = cose.sign1(
            signer,
            protected=headers | dict(protected or {}),
            payload=cbor.encode(payload),
            unprotected=dict(credential.sign1.unprotected),
        )
        index = self.log.append(CredentialEntry(logged_as or issuer, message.digest()).encode())
        self.log.landmark(at=logged_at)
        proof: dict[Key, Value] = {cose.LANDMARK_PROOF: self.log.landmark_proof(index).value()}
        return replace(message, unprotected={**message.unprotected, **proof, **(unprotected or {})})

    # What the bundle of the issuer's region says

    def department_is(self, *steps: IssuerStatus) -> None:
        """What becomes of the food department after its beginning."""
        peer = self.world.peer
        peer.issuers = replaced(peer.issuers, 0, status=(*peer.issuers[0].status, *steps))

    def key_is(self, **changes: Any) -> None:
        """What the bundle says of the food department's credential key."""
        self.world.peer.keys = replaced(self.world.peer.keys, 0, **changes)

    def compromised(self, trusted: int) -> Revocation:
        """A revocation that trusts the log below an index."""
        return Revocation(NOW - HOUR, RevocationReason.COMPROMISED, (TrustedSize(self.log.origin, trusted),))

    def second_log(self, *, accepted: bool = True) -> SampleLog:
        """A second log of the issuer's region; whether the home bundle will accept it."""
        peer, home = self.world.peer, self.world.home
        origin = f"{peer.host}/log/2027"
        if accepted:
            floor = peer.log.policy_text.partition("\n")[2]
            home.peers = replaced(home.peers, 0, origins=(peer.log.origin, origin), policy_floor_text=floor)
        return SampleLog(origin, 2, NoteSigner(origin, self.thief), peer.log.witnesses, CREATED)

    def first_log(self, **changes: Any) -> tuple[Log]:
        """What the bundle says of its log, with changes."""
        bundle = self.verifier().store.bundle("CN-GD")
        assert bundle is not None
        return (replace(bundle.logs[0], **changes),)

    def log_entry(self, log: SampleLog) -> Log:
        """What a bundle says of another log."""
        (first,) = self.first_log()
        vkeys = (log.signer.vkey,)
        return replace(first, number=log.number, origin=log.origin, vkeys=vkeys, policy_text=log.policy_text)

    def the_bundle_becomes(self, *, log: SampleLog | None = None, at: int = NOW - HOUR, **changes: Any) -> None:
        """Put the next bundle of the issuer's region into the store; it is logged in `log`."""
        store, peer = self.verifier().store, self.world.peer
        bundle = peer.bundle(at=at, **changes)
        seen = TrustBundle.parse(bundle, roots=peer.roots)
        log = log or peer.log
        index = log.append(TrustBundleEntry(seen.region, seen.seq, seen.digest).encode())
        store.put_bundle(bundle, log.tlog_proof(index, at=at), now=at)

    def refresh_status(self, statuses: dict[str, dict[int, int]] | None = None, *, at: int) -> None:
        """Put new status lists into the store."""
        for token, proof in self.world.status_lists(statuses, at=at):
            self.verifier().store.put_status_list(token, proof, now=at)

    # Holders and inspectors

    def shown(
        self,
        credential: Credential,
        *,
        at: int = NOW,
        challenge: Challenge | None = None,
        disclose: Iterable[Disclosable] = (),
    ) -> Presentation:
        """What the holder's wallet shows."""
        return present(credential, self.world.holder, at=at, challenge=challenge, disclose=disclose)

    def token(
        self,
        credential: Credential | Sign1,
        claims: Mapping[Key, Value] | None = None,
        *,
        signer: Signer | None = None,
        protected: Mapping[Key, Value] | None = None,
        unprotected: Mapping[Key, Value] | None = None,
    ) -> Sign1:
        """A key binding token as a cheat builds it: no rule is kept."""
        message = credential.sign1 if isinstance(credential, Credential) else credential
        return cose.sign1(
            signer or self.world.holder,
            protected={cose.KCWT: message.value(), cose.TYP: TOKEN_TYP, **(protected or {})},
            payload=cbor.encode({3: "*", 6: NOW} if claims is None else dict(claims)),
            unprotected=dict(unprotected or {}),
        )

    def challenge(self, kind: str = "transport", **changes: Any) -> Challenge:
        """What the inspector of the home region asks."""
        values: dict[str, Any] = {
            "inspector": INSPECTOR,
            "purpose": "路面查验",
            "licence_type": self.claims(kind).licence_type,
            "at": NOW,
            "random": self.world.random,
        }
        return create_challenge(changes.pop("signer", self.world.inspector_signer), **(values | changes))

    # The look

    def verifier(
        self,
        *,
        clock: int = NOW,
        store: TrustStore | None = None,
        replay_cache: ReplayCache | None = None,
        policy: VerificationPolicy | None = None,
    ) -> Verifier:
        """A verifier whose clock stands at `clock`."""
        store = store or self._store or self.store()
        return Verifier(store, policy=policy or self.policy, clock=lambda: clock, replay_cache=replay_cache)

    def look(
        self,
        shown: Encodable | bytes,
        *,
        at: int | None = None,
        challenge: Challenge | str | None = None,
        **options: Any,
    ) -> Verdict:
        """Verify the QR text of what is shown."""
        data = shown if isinstance(shown, bytes) else shown.encode()
        return self.look_at(qr_text.encode(data), at=at, challenge=challenge, **options)

    def look_at(
        self, text: str, *, at: int | None = None, challenge: Challenge | str | None = None, **options: Any
    ) -> Verdict:
        """Verify a QR text."""
        asked = challenge.text() if isinstance(challenge, Challenge) else challenge
        return self.verifier(**options).verify(text, at=at, challenge=asked)


def replaced(entries: Sequence[Any], position: int, **changes: Any) -> list[Any]:
    """The entries of a bundle with one of them changed."""
    return [replace(entry, **changes) if place == position else entry for place, entry in enumerate(entries)]


def reason(verdict: Verdict, number: int) -> str:
    """Why a check does not pass; no verdict that is asked is VALID."""
    assert verdict.outcome is not Outcome.VALID
    assert verdict.checks[number].result is not Result.PASS
    return verdict.checks[number].reason
