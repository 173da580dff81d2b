"""The desk of an inspector: asks, verifies, and files a signed record of every inspection.

    desk = InspectionDesk(store, signer, inspector="CN-SH/11310000MB99990113", folder=Path("records"))
    challenge = desk.ask("工地入场核验", "CN-GD/11100000MB99991003002@1", fields=[2])
    …the holder's wallet shows who asks, what for and for which fields, and answers with a code…
    inspection = desk.inspect(code, purpose="工地入场核验", challenge=challenge)
    inspection.verdict.outcome, inspection.path

A presentation that was shown at this desk is not taken a second time. What was shown is remembered in memory, by one
desk, for 150 seconds: another desk, or the same one started anew within that time, does not know of it. Where that
matters, ask a challenge: its answer fits one desk and one question.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from chopmark.challenge import Challenge, create_challenge
from chopmark.errors import FormatError, SignatureError, TrustError
from chopmark.identifiers import region_of
from chopmark.keys import Signer
from chopmark.replay_cache import ReplayCache
from chopmark.trust_store import TrustStore
from chopmark.verdict import Verdict
from chopmark.verification_record import check_purpose, create_record
from chopmark.verifier import DEFAULT_POLICY, VerificationPolicy, Verifier

from chopmark_verifier.enrolment import enrolled_key
from chopmark_verifier.records import RecordFolder

CHALLENGE_LIFETIME = 120
"""Seconds that a holder has to read a challenge and answer it."""


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """One inspection: the verdict, the signed record of it, and the file that holds the record."""

    verdict: Verdict
    record: str
    path: Path


class InspectionDesk:
    """One inspector at work.

    Args:
        store: the inspector's trust store; `inspector` is an organisation of its home region.
        signer: a key that the home bundle enrols for the inspector.
        inspector: the organisation's id.
        folder: where records are filed.
        clock: gives POSIX seconds.
        policy: what the inspector requires of a licence.
        random: gives so many random bytes.
        replay_cache: what was shown lately, where that outlives this desk.
    """

    def __init__(
        self,
        store: TrustStore,
        signer: Signer,
        *,
        inspector: str,
        folder: Path,
        clock: Callable[[], float] = time.time,
        policy: VerificationPolicy = DEFAULT_POLICY,
        random: Callable[[int], bytes] = os.urandom,
        replay_cache: ReplayCache | None = None,
    ) -> None:
        self.store = store
        self.inspector = inspector
        self.records = RecordFolder(folder)
        self._signer = signer
        self._clock = clock
        self._random = random
        self._verifier = Verifier(store, policy=policy, clock=clock, replay_cache=replay_cache)

    def ask(
        self,
        purpose: str,
        licence_type: str,
        fields: Collection[int] = (),
        *,
        lifetime: int = CHALLENGE_LIFETIME,
    ) -> Challenge:
        """Ask the holder of a licence to show it now.

        Args:
            purpose: why, 1 to 200 characters; the holder sees it.
            licence_type: with its schema version.
            fields: ids of the fields that must be disclosed, and no more than needed.
            lifetime: seconds.

        Raises:
            TrustError: the key is not enrolled for this inspector, or the store does not know the licence type.
            FormatError: the purpose is empty or too long, the type has no such field, or nobody could answer,
                because licences of this type are a bearer's.
        """
        at = int(self._clock())
        self._check_enrolled(at)
        check_purpose(purpose)
        self._check_question(licence_type, fields)
        return create_challenge(
            self._signer,
            inspector=self.inspector,
            purpose=purpose,
            licence_type=licence_type,
            fields=fields,
            at=at,
            lifetime=lifetime,
            random=self._random,
        )

    def inspect(
        self,
        shown: str | bytes,
        *,
        purpose: str,
        challenge: Challenge | None = None,
        with_fields: bool = False,
    ) -> Inspection:
        """Verify what was shown, and file the record of it, whatever the verdict.

        An inspection whose record cannot be filed is none: the error is raised in place of the verdict.

        Args:
            shown: the text of a code (`EL1:…`), or the CBOR of a credential or presentation.
            purpose: why; the same that the challenge names.
            challenge: the one that was asked, where one was.
            with_fields: keep the licence's fields and number in the record too.

        Raises:
            TrustError: the key is not enrolled for this inspector.
            FormatError: the purpose is empty or too long, or the challenge is of another inspector, key or purpose.
            StorageError: the record cannot be filed.
        """
        at = int(self._clock())
        self._check_enrolled(at)
        check_purpose(purpose)
        if challenge is not None:
            self._check_challenge(challenge, purpose)
        asked = challenge.text() if challenge is not None else None
        if isinstance(shown, str):
            verdict = self._verifier.verify(shown, challenge=asked)
        else:
            verdict = self._verifier.verify_bytes(shown, challenge=asked)
        record = create_record(
            verdict,
            self._signer,
            inspector=self.inspector,
            purpose=purpose,
            at=at,
            with_fields=with_fields,
            random=self._random,
        )
        return Inspection(verdict, record, self.records.file(record))

    def _check_enrolled(self, at: int) -> None:
        home = self.store.home
        if region_of(self.inspector) != home.region:
            raise TrustError(
                f"the trust store is of {home.region}",
                where=f"inspector {self.inspector}",
                remedy="An inspector works from a store of its own region",
            )
        public_key = self._signer.public_key
        key = enrolled_key(home, self.inspector, public_key.kid, at=at)
        if key.public_key != public_key:
            raise TrustError("another key is enrolled under this kid", where=f"inspector {self.inspector}")

    def _check_question(self, licence_type: str, fields: Collection[int]) -> None:
        where = f"licence type {licence_type[:80]}"
        bundle = self.store.bundle(region_of(licence_type))
        known = bundle.type(licence_type) if bundle is not None else None
        if known is None:
            raise TrustError("the trust store does not know it", where=where, remedy="Update the trust store")
        if known.holder == "bearer":
            raise FormatError(
                "whoever has such a licence may show it, so nobody can answer", where=where, remedy="Inspect without"
            )
        for field in fields:
            if known.field(field) is None:
                raise FormatError(f"it has no field {field}", where=where)

    def _check_challenge(self, challenge: Challenge, purpose: str) -> None:
        # An answer says that the holder read who asks and what for: it serves no other question.
        if challenge.inspector != self.inspector:
            raise FormatError(f"it was asked by {challenge.inspector}, not by this desk", where="challenge")
        if challenge.purpose != purpose:
            raise FormatError("the holder was asked for another purpose", where="challenge")
        try:
            challenge.verify(self._signer.public_key)
        except SignatureError as error:
            raise FormatError("it was asked with another key than this desk's", where="challenge") from error
