"""What is shown to an inspector of Shanghai, honestly and not: each case with the verdict it must get."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import urllib3
from chopmark import qr_text
from chopmark.challenge import Challenge, create_challenge
from chopmark.checkpoint import Checkpoint
from chopmark.credential import Credential
from chopmark.errors import RollbackError
from chopmark.issuer_key import RevocationReason
from chopmark.keys import Es256Signer, Signer
from chopmark.note import NoteSigner, sign_note
from chopmark.presentation import present
from chopmark.trust_store import TrustStore
from chopmark.verdict import Outcome
from chopmark_issuer.keys.keys import InventoryUse
from chopmark_issuer.lifecycle import Act
from chopmark_issuer.region import Region
from chopmark_ledger.publication.witness_client import HttpWitness
from chopmark_ledger.service.running_log import KEY_NAME, load_key

from examples.demo import licences
from examples.demo.processes import ServiceError, Services
from examples.demo.regions import CONSTRUCTOR, GUANGDONG, SHANGHAI, Place

DAY = 24 * 3600
VALID, INVALID, INDETERMINATE = Outcome.VALID, Outcome.INVALID, Outcome.INDETERMINATE
_STATUS_WITHIN = 30.0
PURPOSE = "跨省执法检查 cross-province inspection"


@dataclass(frozen=True, slots=True)
class Case:
    """Something shown: the text of its code, the time it is inspected at, the verdict due and the check that tells."""

    name: str
    zh: str
    en: str
    text: str
    at: int
    expected: Outcome
    check: int
    reason: str
    challenge: str | None = None


@dataclass(frozen=True, slots=True)
class Outage:
    """A log without its witness: what it had committed and published then, the problem that it told of, how many
    seconds after the witness was back everything was published, and the code of a licence issued meanwhile."""

    committed: int
    published: int
    problem: str
    waited: float
    code: str


@dataclass(slots=True)
class Story:
    """All that happens before the inspection, and what it leaves to show."""

    guangdong_place: Place
    shanghai_place: Place
    services: Services
    clock: Callable[[], int]
    holder: Es256Signer = field(default_factory=Es256Signer.generate)
    credentials: dict[str, Credential] = field(default_factory=dict)
    old_bundle: tuple[bytes, bytes] = (b"", b"")

    @property
    def guangdong(self) -> Region:
        """The region that issues."""
        return self.guangdong_place.region

    @property
    def shanghai(self) -> Region:
        """The region that inspects."""
        return self.shanghai_place.region

    @property
    def today(self) -> date:
        """The day of the story."""
        return date(1970, 1, 1) + timedelta(days=self.clock() // DAY)

    def issue(self) -> None:
        """The departments do their work: issue, suspend, revoke, and replace a key that was stolen."""
        region = self.guangdong
        before = licences.issue_food(region, self.today)
        region.publish()
        public = region.settings.public
        self.old_bundle = ((public / "bundle.note").read_bytes(), (public / "bundle.tlog-proof").read_bytes())

        # The food regulator's first key is stolen, and the access of its own system to the log with it. What stood in
        # the log before then stays good, by its index.
        stolen_kid, stolen = licences.credential_signer(region, GUANGDONG.food)
        region.revoke_key(stolen_kid, RevocationReason.COMPROMISED, trusted_size=_published(region).size)
        region.add_key(GUANGDONG.food, InventoryUse.CREDENTIAL)

        genuine = licences.issue_food(region, self.today)
        revoked, suspended = licences.issue_food(region, self.today), licences.issue_food(region, self.today)
        short = licences.issue_food(region, self.today, last_day=self.today)
        personal = licences.issue_personal(region, self.today, self.holder, safety=False)
        safety = licences.issue_personal(region, self.today, self.holder, safety=True)
        actor = region.actor(GUANGDONG.food)
        region.registry.record(actor, revoked.number, Act.REVOKE, at=self.clock())
        region.registry.record(actor, suspended.number, Act.SUSPEND, at=self.clock())
        region.publish()
        for name, issued in {
            "below": before,
            "genuine": genuine,
            "revoked": revoked,
            "suspended": suspended,
            "expired": short,
            "personal": personal,
            "safety": safety,
        }.items():
            self.credentials[name] = licences.shown(region, issued)

        _, current = licences.credential_signer(region, GUANGDONG.food)
        like = self.credentials["genuine"]
        self.credentials["unlogged"] = licences.sign_beside_registry(current, like, issued_at=self.clock())
        forged = licences.sign_beside_registry(stolen, like)
        beyond = licences.sign_beside_registry(
            current,
            like,
            licence_type=f"CN-GD/{CONSTRUCTOR}@1",
            holder_key=self.holder.public_key,
            fields=self.credentials["personal"].disclosed_fields(),
        )
        with self.guangdong_place.as_food_system(GUANGDONG.food) as log:
            self.credentials["above"] = licences.log_beside_registry(region, log, forged, 1)
            self.credentials["not-granted"] = licences.log_beside_registry(region, log, beyond, 2)
        region.publish()
        self.shanghai.publish()

    def cases(self, inspector_signer: Signer) -> list[Case]:
        """What is shown now; presentations are made for this moment."""
        now = self.clock()
        personal, safety = self.credentials["personal"], self.credentials["safety"]

        def code(name: str) -> str:
            return qr_text.encode(self.credentials[name].encode())

        def challenge(at: int) -> str:
            asked = create_challenge(
                inspector_signer,
                inspector=SHANGHAI.transport,
                purpose=PURPOSE,
                licence_type=safety.claims.licence_type,
                fields=[5, 6, 8],
                at=at,
            )
            return asked.text()

        def presented(credential: Credential, at: int, asked: str | None = None) -> str:
            shown = present(
                credential, self.holder, at=at, challenge=Challenge.parse_text(asked) if asked else None, disclose=()
            )
            return qr_text.encode(shown.encode())

        living = presented(personal, now)
        asked, later = challenge(now), now + 4 * DAY
        asked_later = challenge(later)
        granted = present(self.credentials["not-granted"], self.holder, at=now, challenge=None, disclose=())

        def case(
            name: str,
            zh: str,
            en: str,
            text: str,
            expected: tuple[Outcome, int, str],
            *,
            at: int = now,
            asked: str | None = None,
        ) -> Case:
            return Case(name, zh, en, text, at, *expected, asked)

        return [
            case("genuine", "真实的食品经营许可证", "a genuine food licence", code("genuine"), (VALID, 2, "bearer")),
            case(
                "presentation",
                "持有人刚生成的动态码",
                "a living code of its holder",
                living,
                (VALID, 2, "holder_proved"),
            ),
            case(
                "challenge",
                "回应了当场提问的从业资格证",
                "an answered challenge",
                presented(safety, now, asked),
                (VALID, 2, "challenge_answered"),
                asked=asked,
            ),
            case(
                "later",
                "同一动态码，两分钟后",
                "the same living code two minutes later",
                living,
                (INVALID, 2, "presentation_too_old"),
                at=now + 120,
            ),
            case(
                "screenshot",
                "没有持有人密钥的截图",
                "a screenshot, without the holder's key",
                qr_text.encode(personal.disclosing(()).encode()),
                (INDETERMINATE, 2, "copy"),
            ),
            case(
                "changed",
                "改动了一个比特",
                "one changed bit",
                _one_bit_changed(self.credentials["genuine"]),
                (INVALID, 4, "signature_wrong"),
            ),
            case(
                "unlogged",
                "真密钥签发，从未入账",
                "signed with the real key, never logged",
                code("unlogged"),
                (INDETERMINATE, 6, "not_shown_logged"),
            ),
            case(
                "not-granted",
                "该机关无权签发的类型",
                "a type this department may not issue",
                qr_text.encode(granted.encode()),
                (INVALID, 7, "not_granted"),
            ),
            case(
                "below",
                "失信密钥，被盗前入账",
                "a distrusted key, logged before the theft",
                code("below"),
                (VALID, 7, "authorised"),
            ),
            case(
                "above",
                "失信密钥，被盗后入账",
                "a distrusted key, logged after the theft",
                code("above"),
                (INVALID, 7, "key_compromised"),
            ),
            case("revoked", "已吊销", "revoked", code("revoked"), (INVALID, 9, "revoked")),
            case("suspended", "已暂扣", "suspended", code("suspended"), (INVALID, 9, "suspended")),
            case(
                "expired",
                "已过期，两天后查验",
                "expired, inspected two days later",
                code("expired"),
                (INVALID, 8, "expired"),
                at=now + 2 * DAY,
            ),
            case(
                "stale",
                "安全类证照，状态名单四天未更新",
                "four days without a fresh status list",
                presented(safety, later, asked_later),
                (INDETERMINATE, 9, "status_list_too_old"),
                at=later,
                asked=asked_later,
            ),
        ]

    def roll_back(self, store: TrustStore) -> str:
        """Offer the store the bundle of before the theft; the answer is why it was refused."""
        try:
            store.put_bundle(*self.old_bundle, now=self.clock())
        except RollbackError as error:
            return str(error)
        raise AssertionError("an older bundle was taken")

    def fork(self, folder: Path, secret: bytes) -> tuple[int, list[Path]]:
        """Show the other region's witness a second history of the log, signed with the log's own key; the answer is its
        status and the evidence that it keeps in its folder."""
        region, witness = self.guangdong, self.shanghai_place
        size = _published(region).size
        other = Checkpoint(region.origin, size, sha256(b"another history").digest())
        log_key = load_key(self.guangdong_place.log_folder / KEY_NAME, secret)
        note = sign_note(other.body(), [NoteSigner(region.origin, log_key)])
        asked = HttpWitness(witness.witness.url, witness.witness_vkeys)
        answer = asked.add_checkpoint(b"old %d\n\n" % size + note.encode())
        asked.close()
        return answer.status, sorted((folder / "evidence").glob("*/*.note"))

    def outage(self) -> Outage:
        """Kill the witness of the log and issue a licence meanwhile; then let the witness come back."""
        region, witness = self.guangdong, self.shanghai_place.witness
        self.services.kill(witness)
        issued = licences.issue_food(region, self.today)
        region.send()
        told = self._status_when(lambda status: status["problem"] is not None)
        self.services.start(witness)
        self.services.wait_until_ready(witness)
        back = time.monotonic()
        self._status_when(lambda status: status["published"] >= told["committed"])
        waited = time.monotonic() - back
        region.publish()
        self.shanghai.publish()
        code = qr_text.encode(licences.shown(region, issued).encode())
        return Outage(told["committed"], told["published"], told["problem"], waited, code)

    def _status_when(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What the log says of itself, once that holds."""
        end = time.monotonic() + _STATUS_WITHIN
        while True:
            answer = urllib3.request("GET", f"{self.guangdong_place.log.url}/status", timeout=5.0, retries=False)
            status: dict[str, Any] = answer.json()
            if holds(status):
                return status
            if time.monotonic() > end:
                raise ServiceError(f"the log goes on to say {status}")
            time.sleep(0.05)


def _published(region: Region) -> Checkpoint:
    """The published checkpoint of the region's log."""
    note = region.ledger.checkpoint()
    assert note is not None  # noqa: S101 - the region has published
    return Checkpoint.parse(note)


def _one_bit_changed(credential: Credential) -> str:
    """The code of a credential with the last bit of one digit of its organisation code turned."""
    data = bytearray(credential.encode())
    place = data.index(licences.ORGANISATION.encode("ascii"))
    data[place + 1] ^= 1
    return qr_text.encode(bytes(data))
