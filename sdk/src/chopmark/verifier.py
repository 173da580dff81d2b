"""The verification recipe: from the text of a QR code to a verdict, from the trust store alone.

     0  decode the QR text
     1  parse the credential, and the key binding token around it
     2  holder proof: the key in the credential signed a token for this moment, or answered this challenge
     3  issuer key known: the trust bundle of the issuer's region names this key of this issuer
     4  issuer signature
     5  disclosures match what was signed, and nothing that must be shown is hidden
     6  logged, in a log of the issuer's region
     7  the issuer had the authority when it was logged
     8  within its validity period
     9  status

Each check ends PASS, FAIL or UNKNOWN; a check whose input is missing is never PASS. Any FAIL makes the verdict
INVALID; else any UNKNOWN that the policy requires makes it INDETERMINATE; else it is VALID. Check 7 is judged as of
the *witnessed* time of the log entry, never by the issuer's word; 2, 3, 8 and 9 as of the time asked about.

The numbers are the same in the verdict, in `specs/verification.md` and in the tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from chopmark import cbor, cose, qr_text
from chopmark.authority import absent_from_bundle, authority_problem
from chopmark.challenge import Challenge
from chopmark.credential import Credential, Kind
from chopmark.entries import credential_entry
from chopmark.errors import (
    ChopmarkError,
    FormatError,
    LimitError,
    QuorumError,
    SignatureError,
    UnsupportedError,
)
from chopmark.limits import LIMITS
from chopmark.merkle import leaf_hash
from chopmark.presentation import Presentation
from chopmark.reasons import Details, Seconds
from chopmark.replay_cache import ReplayCache
from chopmark.strict import time_encode
from chopmark.tlog_proof import TlogProof
from chopmark.validity import FUTURE_TOLERANCE, check_validity
from chopmark.verdict import Check, Outcome, Remark, Result, Verdict

if TYPE_CHECKING:
    from chopmark.claims import Claims
    from chopmark.landmark import LandmarkProof
    from chopmark.trust_bundle import Key, LicenceType, Log, TrustBundle
    from chopmark.trust_store import TrustStore

HOUR: Final = 3600
DAY: Final = 24 * HOUR

PRESENTATION_MAX_AGE: Final = 90
"""Seconds a key binding token lives: the wallet makes a new one every 30 s."""
PRESENTATION_MAX_AHEAD: Final = 60
"""Seconds a holder's clock may be ahead."""
MOST_NAMED: Final = 8
"""Unknown claims and labels that a message names: a code may hold a thousand."""
CLOCK_TOLERANCE: Final = 300
"""Seconds a device's clock may be behind the witnessed floor before nothing that depends on time passes."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the status list of a licence type may be, in seconds."""

    degrade: int
    hard_stop: int


FRESHNESS: Final = {
    "safety": Freshness(degrade=DAY, hard_stop=3 * DAY),
    "trade": Freshness(degrade=7 * DAY, hard_stop=30 * DAY),
}
BUNDLE_FRESHNESS: Final = Freshness(degrade=7 * DAY, hard_stop=30 * DAY)

OPTIONAL_CHECKS: Final = frozenset({2, 9})
"""The only checks a policy may do without: who shows it, and what happened since."""


@dataclass(frozen=True, slots=True)
class VerificationPolicy:
    """What an inspector requires.

    `required`: numbers of the checks whose UNKNOWN makes the verdict INDETERMINATE; only 2 and 9 may be left out.
    `require_challenge`: ask a challenge even where the type does not demand one. `accept_provisional`: mark a
    verdict as provisional where only the proof of logging is missing and the credential is less than a day old.

    Raises:
        FormatError: `required` leaves out a check that cannot be done without.
    """

    required: frozenset[int] = frozenset(range(10))
    require_challenge: bool = False
    accept_provisional: bool = False

    def __post_init__(self) -> None:
        missing = frozenset(range(10)) - self.required - OPTIONAL_CHECKS
        if missing:
            raise FormatError(
                f"a policy may not leave out the checks {', '.join(map(str, sorted(missing)))}",
                where="VerificationPolicy.required",
                remedy="Only the checks 2 (holder proof) and 9 (status) may be left out",
            )


DEFAULT_POLICY: Final = VerificationPolicy()

_PASS, _FAIL, _UNKNOWN = Result.PASS, Result.FAIL, Result.UNKNOWN
_NOT_REACHED: Final = tuple(Check(number, _UNKNOWN, "not_reached") for number in range(10))
_DECODED: Final = Check(0, _PASS, "decoded")
_PARSED: Final = Check(1, _PASS, "parsed")
_BEARER: Final = Check(2, _PASS, "bearer")
_PAPER: Final = Check(2, _PASS, "paper_compare_identity")
_KEY_KNOWN: Final = Check(3, _PASS, "key_known")
_SIGNATURE_VERIFIES: Final = Check(4, _PASS, "signature_verifies")
_DISCLOSURES_MATCH: Final = Check(5, _PASS, "disclosures_match")


@dataclass(slots=True)
class _Inspection:
    """One run of the recipe: what was read, what was looked up, what was found.

    `clock` is the device's time, `at` the one asked about, `now` the later of the two.
    """

    clock: int
    at: int
    now: int
    challenge: str | None
    checks: list[Check] = field(default_factory=lambda: list(_NOT_REACHED))
    remarks: list[Remark] = field(default_factory=list)
    presentation: Presentation | None = None
    credential: Credential | None = None
    bundle: TrustBundle | None = None
    key: Key | None = None
    licence_type: LicenceType | None = None
    shown: dict[int, cbor.Value] = field(default_factory=dict)
    log: Log | None = None
    log_index: int = -1
    witnessed_time: int | None = None


class Verifier:
    """Verifies presentations and credentials against one trust store.

    `clock` gives POSIX seconds; `replay_cache` is kept as long as the verifier, and may be shared.
    """

    def __init__(
        self,
        store: TrustStore,
        *,
        policy: VerificationPolicy = DEFAULT_POLICY,
        clock: Callable[[], float] = time.time,
        replay_cache: ReplayCache | None = None,
    ) -> None:
        self.store = store
        self.policy = policy
        self._clock = clock
        self._replay_cache = replay_cache if replay_cache is not None else ReplayCache()

    def verify(self, text: str, *, at: int | datetime | None = None, challenge: str | None = None) -> Verdict:
        """Verify the text of a QR code (`EL1:…`).

        `at` is the time to judge for (POSIX seconds or an aware datetime; now when left out): validity, status and
        freshness are judged then, and data that does not cover that time leaves its check UNKNOWN. `challenge` is
        the text (`EC1:…`) of the challenge that this inspector asked.

        Whatever `text` holds, the answer is a verdict; no error is raised for it.
        """
        inspection = self._start(at, challenge)
        try:
            data = qr_text.decode(text)
        except UnsupportedError:
            inspection.checks[0] = Check(0, _UNKNOWN, "newer_code_version")
            return self._conclude(inspection)
        except ChopmarkError as error:
            inspection.checks[0] = Check(0, _FAIL, "not_a_licence_code", {"problem": str(error)})
            return self._conclude(inspection)
        return self._verify(inspection, data)

    def verify_bytes(self, data: bytes, *, at: int | datetime | None = None, challenge: str | None = None) -> Verdict:
        """Verify the CBOR of a credential or presentation, as it stands in a file or a wallet; else as `verify`."""
        return self._verify(self._start(at, challenge), data)

    def _start(self, at: int | datetime | None, challenge: str | None) -> _Inspection:
        clock = int(self._clock())
        if isinstance(at, datetime):
            if at.tzinfo is None:
                raise FormatError("a time without a zone", where="at", remedy="Pass an aware datetime or POSIX seconds")
            at = int(at.timestamp())
        if at is None:
            at = clock
        # A caller that names a later time vouches for it; only an earlier one is a question about the past.
        return _Inspection(clock=clock, at=at, now=max(clock, at), challenge=challenge)

    def _verify(self, inspection: _Inspection, data: bytes) -> Verdict:
        checks = inspection.checks
        checks[0] = _DECODED
        checks[1] = _parse(inspection, data)
        credential = inspection.credential
        if credential is None:
            return self._conclude(inspection)
        checks[3] = self._issuer_key(inspection, credential)
        if inspection.bundle is not None:
            inspection.licence_type = inspection.bundle.type(credential.claims.licence_type)
        checks[4] = _issuer_signature(inspection, credential)
        checks[5] = _disclosures(inspection, credential)
        checks[2] = self._holder_proof(inspection, credential)
        checks[6] = self._logged(inspection, credential)
        checks[7] = self._authority(inspection, credential.claims)
        checks[8] = _validity(inspection, credential.claims)
        checks[9] = self._status(inspection, credential.claims)
        return self._conclude(inspection)

    # 2 holder proof
    def _holder_proof(self, inspection: _Inspection, credential: Credential) -> Check:
        presentation, licence_type = inspection.presentation, inspection.licence_type
        if credential.kind is Kind.BEARER:
            if inspection.challenge is not None or self.policy.require_challenge:
                return Check(2, _FAIL, "challenge_not_answered")
            if inspection.bundle is None:
                return _NOT_REACHED[2]
            if licence_type is None:
                return Check(2, _UNKNOWN, "type_unknown", {"type": credential.claims.licence_type})
            if licence_type.holder == "bearer":
                return _BEARER
            usage = credential.claims.usage
            if usage is not None and usage.medium == "paper":
                if licence_type.challenge:
                    return Check(2, _UNKNOWN, "challenge_required")
                inspection.remarks.append(Remark("compare_identity"))
                return _PAPER
            return Check(2, _FAIL, "bearer_form_of_bound_licence")
        if presentation is None:
            return Check(2, _UNKNOWN, "copy")
        try:
            presentation.verify_binding()
        except SignatureError:
            return Check(2, _FAIL, "holder_signature_wrong")
        age = inspection.at - presentation.issued_at
        if age > PRESENTATION_MAX_AGE:
            details = {"age": str(age), "limit": str(PRESENTATION_MAX_AGE)}
            return Check(2, _FAIL, "presentation_too_old", details, age)
        if age < -PRESENTATION_MAX_AHEAD:
            return Check(2, _FAIL, "presentation_ahead", {"ahead": str(-age)}, age)
        if inspection.challenge is not None:
            problem = _challenge_problem(inspection, presentation, inspection.challenge)
            if problem is not None:
                return problem
            reason = "challenge_answered"
        else:
            if presentation.audience != "*" or presentation.nonce is not None:
                return Check(2, _FAIL, "meant_for_another")
            if self.policy.require_challenge or licence_type is None or licence_type.challenge:
                return Check(2, _UNKNOWN, "challenge_required")
            reason = "holder_proved"
        if inspection.checks[4].result is _PASS:  # so that forgeries cannot fill the cache
            # By the device's clock: a question about another time must not make the cache forget what is shown now.
            refused = self._replay_cache.remember(credential.digest, presentation.token_hash, inspection.clock)
            if refused is not None:
                return Check(2, _FAIL if refused == "replayed" else _UNKNOWN, refused)
        return Check(2, _PASS, reason, None, age)

    # 3 issuer key known
    def _issuer_key(self, inspection: _Inspection, credential: Credential) -> Check:
        claims, region = credential.claims, credential.region
        bundle = self.store.bundle(region)
        if bundle is None:
            return Check(3, _UNKNOWN, "region_unknown", {"region": region})
        peer = self.store.peer(region)
        if peer is not None and not peer.covers(inspection.at):
            return Check(3, _UNKNOWN, "peer_closed", {"region": region})
        inspection.bundle = bundle
        key = bundle.key(claims.issuer, credential.kid)
        if key is None:
            if claims.issued_at > bundle.issued:
                return Check(3, _UNKNOWN, "bundle_older_than_licence")
            if bundle.issuer(claims.issuer) is None:
                return Check(3, _FAIL, "issuer_unknown", {"issuer": claims.issuer})
            return Check(3, _FAIL, "key_unknown", {"kid": credential.kid.hex()})
        inspection.key = key
        if key.use != "credential":
            return Check(3, _FAIL, "key_of_another_use")
        return _KEY_KNOWN

    # 6 logged, in a log of the issuer's region
    def _logged(self, inspection: _Inspection, credential: Credential) -> Check:
        claims, landmark_proof, tlog_proof = credential.claims, credential.landmark_proof, credential.tlog_proof
        if landmark_proof is None and tlog_proof is None:
            return Check(6, _UNKNOWN, "not_shown_logged")
        bundle = inspection.bundle
        if bundle is None:
            return Check(6, _UNKNOWN, "region_unknown", {"region": credential.region})
        leaf = leaf_hash(credential_entry(claims.issuer, credential.digest))
        check = _NOT_REACHED[6]
        if landmark_proof is not None:
            check = self._in_landmark(inspection, claims, bundle, leaf, landmark_proof)
            if check.result is not _UNKNOWN:
                return check
        if tlog_proof is not None:
            check = self._in_checkpoint(inspection, claims, bundle, leaf, tlog_proof)
        return check

    def _in_landmark(
        self, inspection: _Inspection, claims: Claims, bundle: TrustBundle, leaf: bytes, proof: LandmarkProof
    ) -> Check:
        log = bundle.log_by_number(proof.log_number)
        if log is None:
            return absent_from_bundle(6, bundle, claims, "log_unknown")
        record = self.store.landmark(log.origin, proof.start, proof.end)
        if record is None:
            return Check(6, _UNKNOWN, "landmark_unknown")
        try:
            proof.verify(leaf, record)
        except ChopmarkError as error:
            return Check(6, _FAIL, "log_path_wrong", {"problem": str(error)})
        return self._found_in_log(inspection, log, proof.index, record.witnessed_time)

    def _in_checkpoint(
        self, inspection: _Inspection, claims: Claims, bundle: TrustBundle, leaf: bytes, encoded: bytes
    ) -> Check:
        try:
            proof = TlogProof.parse(encoded)
            origin = proof.checkpoint.origin
            log = bundle.log_by_origin(origin)
            if log is None:
                return absent_from_bundle(6, bundle, claims, "log_unknown")
            peer = self.store.peer(bundle.region)
            if peer is not None and origin not in peer.origins:
                return Check(6, _UNKNOWN, "log_not_accepted", {"log": origin})
            witnessed_time = 0
            # Every policy counts: the log's own, and the floor that the home region sets for a peer.
            for policy in self.store.policies(bundle.region, origin):
                witnessed_time = max(witnessed_time, proof.verify(leaf, policy).time)
        except QuorumError:
            return Check(6, _UNKNOWN, "log_quorum_missing")
        except ChopmarkError as error:
            return Check(6, _FAIL, "log_path_wrong", {"problem": str(error)})
        return self._found_in_log(inspection, log, proof.index, witnessed_time)

    def _found_in_log(self, inspection: _Inspection, log: Log, index: int, witnessed_time: int) -> Check:
        if log.final is not None and index >= log.final.size:
            return Check(6, _FAIL, "log_frozen_before")
        # A later checkpoint or landmark shows an old entry too: else its holder would choose the time of check 7.
        landmarks = self.store.landmark_file(log.origin)
        earliest = None if landmarks is None else landmarks.witnessed_time(index)
        if earliest is not None and earliest < witnessed_time:
            witnessed_time = earliest
        if witnessed_time > inspection.now + FUTURE_TOLERANCE:
            return Check(6, _UNKNOWN, "witnessed_in_future")
        inspection.log = log
        inspection.log_index = index
        inspection.witnessed_time = witnessed_time
        return Check(6, _PASS, "logged", {"index": str(index)}, max(inspection.at - witnessed_time, 0))

    # 7 the issuer had the authority when it was logged
    def _authority(self, inspection: _Inspection, claims: Claims) -> Check:
        bundle, key, log = inspection.bundle, inspection.key, inspection.log
        if bundle is None or key is None:
            return _NOT_REACHED[7]
        witnessed = inspection.witnessed_time
        if witnessed is None or log is None:
            return Check(7, _UNKNOWN, "time_of_logging_unknown")
        problem = authority_problem(
            claims,
            bundle,
            key,
            inspection.licence_type,
            witnessed=witnessed,
            entry=(log, inspection.log_index),
        )
        if problem is not None:
            return problem
        return self._bundles_fresh(inspection, bundle)

    def _bundles_fresh(self, inspection: _Inspection, bundle: TrustBundle) -> Check:
        oldest = 0
        home = self.store.home
        for relied_on in (bundle,) if bundle is home else (bundle, home):
            age = inspection.at - relied_on.contents.issued
            oldest = max(oldest, age)
            if age >= BUNDLE_FRESHNESS.degrade:
                if age >= BUNDLE_FRESHNESS.hard_stop:
                    return Check(7, _UNKNOWN, "bundle_past_hard_stop", {"region": relied_on.region}, age)
                details: Details = {"region": relied_on.region, "age": Seconds(age)}
                inspection.remarks.append(Remark("bundle_stale", details))
            if inspection.at >= relied_on.contents.expires:
                inspection.remarks.append(Remark("bundle_expired", {"region": relied_on.region}))
        return Check(7, _PASS, "authorised", None, max(oldest, 0))

    # 9 status
    def _status(self, inspection: _Inspection, claims: Claims) -> Check:
        bundle, licence_type = inspection.bundle, inspection.licence_type
        if bundle is None or licence_type is None:
            return _NOT_REACHED[9]
        reference = claims.status
        if reference is None:
            return Check(9, _FAIL, "status_missing") if licence_type.status else Check(9, _PASS, "status_exempt")
        source = bundle.status_source(reference.uri)
        if source is None:
            return absent_from_bundle(9, bundle, claims, "status_source_unknown")
        if source.issuer != claims.issuer:
            return Check(9, _FAIL, "status_source_unknown")
        token = self.store.status_list(reference.uri)
        if token is None:
            return Check(9, _UNKNOWN, "status_list_absent")
        try:
            value = token.status_list.get(reference.index)
        except FormatError:
            return Check(9, _FAIL, "status_index_outside")
        age = inspection.at - token.issued_at
        # Nothing returns from there, so an old list still says it; of a time before the list it says nothing.
        if value == 1 and (age >= -FUTURE_TOLERANCE or token.issued_at > inspection.now + FUTURE_TOLERANCE):
            return Check(9, _FAIL, "revoked", None, age)
        freshness = FRESHNESS[licence_type.freshness]
        if age >= freshness.hard_stop or inspection.at >= token.expires:
            return Check(9, _UNKNOWN, "status_list_too_old", {"limit": Seconds(freshness.hard_stop)}, age)
        if age < -FUTURE_TOLERANCE:
            return Check(9, _UNKNOWN, "status_list_too_new", None, age)
        if value != 0:
            return Check(9, _FAIL, "suspended" if value == 2 else "superseded", None, age)
        if age >= freshness.degrade:
            inspection.remarks.append(Remark("status_stale", {"age": Seconds(age)}))
        return Check(9, _PASS, "status_valid", None, max(age, 0))

    def _conclude(self, inspection: _Inspection) -> Verdict:
        checks = inspection.checks
        floor = self.store.clock_floor
        if inspection.now < floor - CLOCK_TOLERANCE:
            # A clock known to be wrong proves nothing about age: what depends on it cannot pass.
            for number in (2, 7, 8, 9):
                if checks[number].result is _PASS and not (number == 2 and inspection.presentation is None):
                    checks[number] = Check(number, _UNKNOWN, "clock_below_floor", {"floor": time_encode(floor)})
        outcome = Outcome.VALID
        for check in checks:
            if check.result is _PASS:
                continue
            if check.result is _FAIL:
                outcome = Outcome.INVALID
                break
            if check.number in self.policy.required:
                outcome = Outcome.INDETERMINATE
        credential = inspection.credential
        usage = credential.claims.usage if credential is not None else None
        if usage is not None:
            if usage.role == "agent":
                inspection.remarks.append(Remark("made_for_agent"))
            if usage.purpose is not None:
                inspection.remarks.append(Remark("restricted_use", {"purpose": usage.purpose}))
        provisional = outcome is Outcome.INDETERMINATE and self._provisional(inspection)
        return Verdict(
            outcome,
            tuple(checks),
            inspection.at,
            tuple(inspection.remarks),
            credential,
            inspection.licence_type,
            inspection.bundle,
            self.store.bundle(self.store.home_region),
            inspection.shown,
            provisional,
        )

    def _provisional(self, inspection: _Inspection) -> bool:
        credential, bundle, key = inspection.credential, inspection.bundle, inspection.key
        if not self.policy.accept_provisional or credential is None or bundle is None or key is None:
            return False
        unknown = [check for check in inspection.checks if check.result is _UNKNOWN]
        if not {check.reason for check in unknown} <= {"not_shown_logged", "time_of_logging_unknown"}:
            return False
        # As if it were logged at the time asked: a key known to be stolen must not sign "just now".
        claims, at = credential.claims, inspection.at
        return (
            0 <= at - claims.issued_at <= DAY
            and authority_problem(claims, bundle, key, inspection.licence_type, witnessed=at, entry=None) is None
            and self._bundles_fresh(inspection, bundle).result is _PASS
        )


# 1 parse
def _parse(inspection: _Inspection, data: bytes) -> Check:
    try:
        sign1 = cose.Sign1.parse(data, max_size=LIMITS.presentation_size, where="licence code")
        if Presentation.is_presentation(sign1):
            inspection.presentation = Presentation.from_sign1(sign1)
            credential = inspection.presentation.credential
        else:
            if len(data) > LIMITS.credential_size:
                raise LimitError(f"{len(data)} bytes, above the limit of {LIMITS.credential_size}", where="credential")
            credential = Credential.from_sign1(sign1)
    except UnsupportedError as error:
        return Check(1, _UNKNOWN, "unknown_claim", {"names": str(error)})
    except ChopmarkError as error:
        return Check(1, _FAIL, "malformed", {"problem": str(error)})
    inspection.credential = credential
    if credential.unknown:
        return Check(1, _UNKNOWN, "unknown_claim", {"names": ", ".join(credential.unknown[:MOST_NAMED])})
    return _PARSED


def _challenge_problem(inspection: _Inspection, presentation: Presentation, text: str) -> Check | None:
    try:
        challenge = Challenge.parse_text(text)
    except ChopmarkError as error:
        return Check(2, _UNKNOWN, "challenge_malformed", {"problem": str(error)})
    credential = presentation.credential
    if presentation.audience != challenge.inspector or presentation.nonce != challenge.digest:
        return Check(2, _FAIL, "challenge_not_answered")
    if inspection.at >= challenge.expires:
        return Check(2, _FAIL, "challenge_expired")
    if challenge.licence_type != credential.claims.licence_type:
        return Check(2, _FAIL, "challenge_for_another_type")
    if not set(challenge.fields) <= inspection.shown.keys():
        inspection.remarks.append(Remark("requested_fields_missing"))
    return None


# 4 issuer signature
def _issuer_signature(inspection: _Inspection, credential: Credential) -> Check:
    if inspection.key is None:
        return _NOT_REACHED[4]
    try:
        credential.verify_signature(inspection.key.public_key)
    except ChopmarkError:
        return Check(4, _FAIL, "signature_wrong")
    return _SIGNATURE_VERIFIES


# 5 disclosures match
def _disclosures(inspection: _Inspection, credential: Credential) -> Check:
    claims, licence_type = credential.claims, inspection.licence_type
    try:
        number, shown = credential.disclosed()
    except FormatError as error:
        return Check(5, _FAIL, "disclosure_mismatch", {"problem": str(error)})
    inspection.shown = shown
    bundle = inspection.bundle
    if bundle is None:
        return _NOT_REACHED[5]
    if licence_type is None:
        return absent_from_bundle(5, bundle, claims, "type_unknown", {"type": claims.licence_type})
    fields, clear = licence_type.field_by_id, claims.fields
    for identifier, value in shown.items():
        if identifier not in fields:
            return Check(5, _UNKNOWN, "field_unknown", {"field": str(identifier)})
        known, kind = fields[identifier], type(value)
        if kind is not known.value_type or (kind is list and not known.accepts(value)):
            return Check(5, _FAIL, "field_of_wrong_kind", {"field": known.name})
    for known in licence_type.always_shown:
        # Absent from the clear part: hidden behind a digest, or disclosed from there, or never signed.
        if known.id not in clear and (known.required or known.id in shown):
            return Check(5, _FAIL, "field_must_be_shown", {"field": known.name})
    if number is None and licence_type.number_disclosure == "always":
        return Check(5, _FAIL, "number_must_be_shown")
    return _DISCLOSURES_MATCH


# 8 within its validity period
def _validity(inspection: _Inspection, claims: Claims) -> Check:
    presented = inspection.presentation.issued_at if inspection.presentation is not None else None
    return check_validity(claims, inspection.licence_type, at=inspection.at, presented=presented)
