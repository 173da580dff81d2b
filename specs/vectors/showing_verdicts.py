"""Vectors of verdicts about what is shown, to whom and when: checks 0 to 2, 5, 8 and 9, and the clock."""

from __future__ import annotations

from chopmark import base45
from chopmark.cbor import Key, Tagged, Value, encode
from chopmark.challenge import Challenge
from chopmark.claims import Usage
from chopmark.credential import Credential
from chopmark.disclosure import Disclosure
from chopmark.keys import Ed25519Signer
from chopmark.presentation import Presentation, present
from chopmark.qr_text import DICTIONARY, PREFIX

from specs.vectors import deflate
from specs.vectors.material import FETCHED
from specs.vectors.presentation_vectors import resigned, sample_challenge, sign_token
from specs.vectors.sample_world import DAY, INSPECTOR, NOW
from specs.vectors.verdict_stage import WITNESSED, Stage, text_of, unread, verdict

MALFORMED = unread("INVALID", "PASS decoded", "FAIL malformed")
PROVED = {2: "PASS holder_proved"}
ANSWERED = {2: "PASS challenge_answered"}


def add_reading(stage: Stage) -> None:
    """Checks 0 and 1."""
    add, food = stage.add, stage.licences["food"]
    data = food.encode()
    text = text_of(data)
    plain = PREFIX + base45.encode(deflate.compress(data))
    stored = PREFIX + base45.encode(deflate.store(data, DICTIONARY))
    not_a_code = unread("INVALID", "FAIL not_a_licence_code")
    add("bearer", "a food business licence, genuine and current", food, verdict("VALID"))
    add("bearer-stored", "the same bytes in another text", stored, verdict("VALID"))
    add("another-code", "a web address", "https://cn-gd.example/", not_a_code)
    add("empty", "no text", "", not_a_code)
    add(
        "later-version",
        "a code of a later version",
        "EL2:" + text[4:],
        unread("INDETERMINATE", "UNKNOWN newer_code_version"),
    )
    add("no-dictionary", "a zlib stream without the dictionary", plain, not_a_code)
    add(
        "text-character",
        "one character of the text is another",
        text[:-3] + ("0" if text[-3] != "0" else "1") + text[-2:],
        not_a_code,
    )
    add("trailing-byte", "a byte behind the credential", data + b"\0", MALFORMED)
    add("bare-too-large", "a credential above 8 KiB", food.with_tlog_proof(bytes(8_000)), MALFORMED)
    unknown = unread("INDETERMINATE", "PASS decoded", "UNKNOWN unknown_claim")
    retyped = data.replace(b"\x10\x18\x3d", b"\x10\x18\x3e", 1)
    add("typ-unknown", "a kind of credential that is not known", retyped, unknown)
    for name, description in (
        ("claim-unknown", "a private claim that is not known"),
        ("label-unknown", "a protected label that is not known"),
    ):
        add(name, description, stage.licences[name], verdict("INDETERMINATE", {1: "UNKNOWN unknown_claim"}))


def add_holder(stage: Stage) -> None:
    """Check 2: the holder's key, the moment, the challenge."""
    add, world, constructor = stage.add, stage.world, stage.licences["constructor"]
    other = Ed25519Signer.from_private_bytes(b"\x31" * 32)

    def shown(at: int) -> Presentation:
        return present(constructor, world.holder, at=at, disclose=[4])

    fresh = shown(NOW - 5)
    by_other = sign_token(other, constructor.disclosing([4]).sign1.value(), {3: "*", 6: NOW - 5})

    def failed(reason: str, outcome: str = "INVALID") -> dict[str, object]:
        return verdict(outcome, {2: reason})

    add("bound", "a constructor registration, shown by its holder just now", fresh.encode(), verdict("VALID", PROVED))
    add("bound-90-s", "made 90 s ago", shown(NOW - 90).encode(), verdict("VALID", PROVED))
    add("bound-60-s-ahead", "dated 60 s ahead", shown(NOW + 60).encode(), verdict("VALID", PROVED))
    add("bound-91-s", "made 91 s ago", shown(NOW - 91).encode(), failed("FAIL presentation_too_old"))
    add(
        "bound-two-minutes-later",
        "the same code, two minutes later",
        fresh.encode(),
        failed("FAIL presentation_too_old"),
        clock=NOW + 115,
    )
    add("bound-61-s-ahead", "dated 61 s ahead", shown(NOW + 61).encode(), failed("FAIL presentation_ahead"))
    add(
        "bound-copy",
        "a screenshot of the credential, without the holder's key",
        constructor,
        failed("UNKNOWN copy", "INDETERMINATE"),
    )
    add("bound-another-key", "signed by another key than the holder's", by_other, failed("FAIL holder_signature_wrong"))
    add(
        "bound-signature-bit",
        "one bit of the holder's signature is another",
        _flipped(fresh),
        failed("FAIL holder_signature_wrong"),
    )
    earlier = [{"text": text_of(fresh.encode()), "clock": NOW - 4}]
    replayed = failed("FAIL replayed")
    add("bound-replayed", "shown a moment ago already", fresh.encode(), replayed, earlier=earlier)
    add(
        "bound-replayed-malleated",
        "shown already, under the other ECDSA signature",
        resigned(fresh),
        replayed,
        earlier=earlier,
    )
    add(
        "bound-next-code",
        "the next code of the same holder",
        shown(NOW - 4).encode(),
        verdict("VALID", PROVED),
        earlier=earlier,
    )
    add(
        "bearer-again",
        "a bearer licence may be shown again",
        stage.licences["food"],
        verdict("VALID"),
        earlier=[{"text": text_of(stage.licences["food"].encode()), "clock": NOW - 4}],
    )
    required = {"require_challenge": True}
    add(
        "challenge-by-policy",
        "a policy that demands a challenge",
        fresh.encode(),
        failed("UNKNOWN challenge_required", "INDETERMINATE"),
        policy=required,
    )
    optional = {"required": [0, 1, 3, 4, 5, 6, 7, 8, 9]}
    add(
        "copy-by-policy",
        "a policy that does not ask who shows it",
        constructor,
        failed("UNKNOWN copy", "VALID"),
        policy=optional,
    )
    add(
        "paper",
        "the paper form of a personal licence",
        stage.licences["paper"],
        verdict("VALID", {2: "PASS paper_compare_identity"}, "compare_identity"),
    )
    add(
        "bare",
        "a personal licence as a bearer credential: the binding was left out",
        stage.licences["bare"],
        failed("FAIL bearer_form_of_bound_licence"),
    )
    _add_challenges(stage)


def _flipped(token: Presentation) -> bytes:
    sign1 = token.sign1
    changed = sign1.signature[:-1] + bytes((sign1.signature[-1] ^ 1,))
    return encode(Tagged([sign1.protected, {}, sign1.payload, changed]))


def _add_challenges(stage: Stage) -> None:
    add, world, transport = stage.add, stage.world, stage.licences["transport"]
    vct = transport.claims.licence_type
    challenge = sample_challenge(world, vct, (4,))
    another = sample_challenge(world, vct, (4,))
    for_another_type = sample_challenge(world, stage.licences["constructor"].claims.licence_type)

    def answered(to: Challenge, at: int = NOW - 5, disclose: tuple[int, ...] = (4,)) -> bytes:
        return present(transport, world.holder, at=at, challenge=to, disclose=disclose).encode()

    def failed(reason: str, outcome: str = "INVALID") -> dict[str, object]:
        return verdict(outcome, {2: reason})

    text = challenge.text()
    answer = answered(challenge)
    add(
        "challenged",
        "a driver's certificate that answers this challenge",
        answer,
        verdict("VALID", ANSWERED),
        challenge=text,
    )
    add(
        "challenge-fields-withheld",
        "answered, without the field that was asked for",
        answered(challenge, disclose=()),
        verdict("VALID", ANSWERED, "requested_fields_missing"),
        challenge=text,
    )
    add(
        "challenge-demanded",
        "a type that demands a challenge, shown without one",
        present(transport, world.holder, at=NOW - 5).encode(),
        failed("UNKNOWN challenge_required", "INDETERMINATE"),
    )
    add(
        "challenge-not-answered",
        "a challenge was asked, the code is for anybody",
        present(transport, world.holder, at=NOW - 5).encode(),
        failed("FAIL challenge_not_answered"),
        challenge=text,
    )
    add(
        "challenge-another",
        "the answer to another challenge",
        answered(another),
        failed("FAIL challenge_not_answered"),
        challenge=text,
    )
    add(
        "challenge-relayed",
        "the answer to another inspector, none was asked here",
        answer,
        failed("FAIL meant_for_another"),
    )
    add(
        "challenge-expired",
        "answered in time, judged after the challenge had ended",
        answered(challenge, at=challenge.expires - 1),
        failed("FAIL challenge_expired"),
        challenge=text,
        clock=challenge.expires,
    )
    add(
        "challenge-malformed",
        "what was asked is no challenge",
        answer,
        failed("UNKNOWN challenge_malformed", "INDETERMINATE"),
        challenge="EC1:_",
    )
    token = sign_token(
        world.holder, transport.disclosing([4]).sign1.value(), {3: INSPECTOR, 6: NOW - 5, 39: for_another_type.digest}
    )
    add(
        "challenge-for-another-type",
        "an answer to a challenge for another type",
        token,
        failed("FAIL challenge_for_another_type"),
        challenge=for_another_type.text(),
    )
    add(
        "challenge-to-bearer",
        "a challenge, answered with a bearer licence",
        stage.licences["food"],
        failed("FAIL challenge_not_answered"),
        challenge=text,
    )
    add(
        "challenge-paper",
        "the paper form of a type that demands a challenge",
        stage.licences["driver-paper"],
        failed("UNKNOWN challenge_required", "INDETERMINATE"),
    )


def add_disclosures(stage: Stage) -> None:
    """Check 5."""
    add, world, constructor = stage.add, stage.world, stage.licences["constructor"]
    disclosure = constructor.disclosures[2]
    other = Disclosure(disclosure.salt, "另一公司", disclosure.key).encode()

    def shown(credential: Credential, *disclose: int | str) -> bytes:
        return present(credential, world.holder, at=NOW - 5, disclose=disclose).encode()  # type: ignore[arg-type]

    def with_disclosures(*contents: bytes) -> bytes:
        sign1 = constructor.sign1
        unprotected: dict[Key, Value] = {**sign1.unprotected, 17: [*contents]}
        value = Tagged([sign1.protected, unprotected, sign1.payload, sign1.signature])
        return sign_token(world.holder, value, {3: "*", 6: NOW - 5})

    def failed(reason: str, outcome: str = "INVALID") -> dict[str, object]:
        return verdict(outcome, {**PROVED, 5: reason})

    mismatch = failed("FAIL disclosure_mismatch")
    add(
        "disclosed-all",
        "every field that may be hidden is shown",
        shown(constructor, 2, 3, 4),
        verdict("VALID", PROVED),
    )
    add("disclosed-none", "no field that may be hidden is shown", shown(constructor), verdict("VALID", PROVED))
    add("disclosure-changed", "a disclosed value is another than was signed", with_disclosures(other), mismatch)
    add(
        "disclosure-twice",
        "a disclosure stands twice",
        with_disclosures(disclosure.encode(), disclosure.encode()),
        mismatch,
    )
    add(
        "restriction-hidden",
        "a restriction is hidden",
        shown(stage.licences["restriction-hidden"], 4),
        failed("FAIL field_must_be_shown"),
    )
    add(
        "restriction-disclosed",
        "a restriction that was signed to be hidden, and is shown",
        shown(stage.licences["restriction-hidden"], 8),
        failed("FAIL field_must_be_shown"),
    )
    hidden = stage.licences["hidden-number"]
    add("number-hidden", "a type whose number its holder may hide", shown(hidden, 4), verdict("VALID", PROVED))
    add(
        "number-hidden-unallowed",
        "a number is hidden that must be shown",
        shown(stage.licences["hidden-number-unallowed"], 4),
        failed("FAIL number_must_be_shown"),
    )
    for name, description, reason, outcome in (
        ("field-missing", "a restriction was never stated", "FAIL field_must_be_shown", "INVALID"),
        ("field-unknown", "a field that the type does not have", "UNKNOWN field_unknown", "INDETERMINATE"),
        ("field-kind", "a date as text", "FAIL field_of_wrong_kind", "INVALID"),
    ):
        add(name, description, stage.licences[name], verdict(outcome, {5: reason}))


def add_validity(stage: Stage) -> None:
    """Check 8, and the clock."""
    add, licences = stage.add, stage.licences

    def failed(reason: str) -> dict[str, object]:
        return verdict("INVALID", {8: reason})

    add("ends-soon", "a minute before its end", licences["ends-soon"], verdict("VALID"))
    add("expired", "at its end", licences["ends-soon"], failed("FAIL expired"), clock=NOW + 60)
    add(
        "expired-not-then",
        "ended by now, asked as of a minute before",
        licences["ends-soon"],
        verdict("VALID"),
        clock=NOW + 600,
        at=NOW,
    )
    add("begins-later", "not yet valid", licences["begins-later"], failed("FAIL not_yet_valid"))
    add("no-end", "valid without an end", licences["no-end"], verdict("VALID", {8: "PASS no_end_of_validity"}))
    add("copy", "an annotated copy, within its use", licences["copy"], verdict("VALID", None, "restricted_use"))
    add("copy-ended", "an annotated copy, its use has ended", licences["copy-ended"], failed("FAIL usage_expired"))
    before = {8: "FAIL signed_in_future", 9: "UNKNOWN status_list_too_new"}
    add(
        "signed-later",
        "asked as of two hours before it was signed",
        licences["food"],
        verdict("INVALID", before),
        at=WITNESSED - 7200,
    )
    world = stage.world
    claims = world.claims("food", issued_at=NOW - 600, not_before=None, usage=Usage("agent", "代为续证"))
    agent = stage.fresh(world.issue(claims), at=NOW - 300)
    add("agent", "made for an agent", agent, verdict("VALID", None, "made_for_agent", "restricted_use"))
    behind = {7: "UNKNOWN clock_below_floor", 8: "UNKNOWN clock_below_floor", 9: "UNKNOWN clock_below_floor"}
    add(
        "clock-behind",
        "a clock more than five minutes behind a witnessed time",
        licences["food"],
        verdict("INDETERMINATE", behind),
        clock=FETCHED - 301,
    )
    add("clock-little-behind", "a clock five minutes behind", licences["food"], verdict("VALID"), clock=FETCHED - 300)
    revoked = {**behind, 9: "FAIL revoked"}
    add(
        "clock-behind-revoked",
        "a wrong clock makes nothing pass, and nothing fail less",
        licences["revoked"],
        verdict("INVALID", revoked),
        clock=FETCHED - 301,
    )


def add_status(stage: Stage) -> None:
    """Check 9."""
    add, licences, world = stage.add, stage.licences, stage.world
    food = licences["food"]

    def failed(reason: str, outcome: str = "INVALID", *remarks: str) -> dict[str, object]:
        return verdict(outcome, {9: reason}, *remarks)

    for name, description in (
        ("revoked", "revoked"),
        ("suspended", "suspended"),
        ("superseded", "superseded by a newer version"),
    ):
        add(name, description, licences[name], failed(f"FAIL {name}"))
    add("status-missing", "no status, and the type demands one", licences["no-status"], failed("FAIL status_missing"))
    add("status-exempt", "a type without status", licences["exempt"], verdict("VALID", {9: "PASS status_exempt"}))
    add("status-outside", "an index beyond the list", licences["status-outside"], failed("FAIL status_index_outside"))
    add(
        "status-of-other",
        "the list of another department",
        licences["status-of-other"],
        failed("FAIL status_source_unknown"),
    )
    add(
        "status-unnamed",
        "a list that the bundle does not name",
        licences["status-unnamed"],
        failed("FAIL status_source_unknown"),
    )
    stage.stores["no-status"] = [stage.home_bundle, stage.peer_bundle, stage.landmarks]
    absent = failed("UNKNOWN status_list_absent", "INDETERMINATE")
    add("status-absent", "the list is not in the store", food, absent, store="no-status")
    add(
        "status-absent-by-policy",
        "a policy that does not ask for the status",
        food,
        failed("UNKNOWN status_list_absent", "VALID"),
        store="no-status",
        policy={"required": list(range(9))},
    )
    week = FETCHED + 7 * DAY
    add("status-just-fresh", "a list a second under 7 days old", food, verdict("VALID"), clock=week - 1)
    add(
        "status-stale",
        "a list 7 days old: valid, with a remark; the bundles are as old",
        food,
        verdict("VALID", None, "bundle_stale", "bundle_stale", "status_stale"),
        clock=week,
    )
    add(
        "status-old-revoked",
        "an old list still says revoked",
        licences["revoked"],
        failed("FAIL revoked", "INVALID", "bundle_stale", "bundle_stale"),
        clock=week,
    )
    month = FETCHED + 30 * DAY
    too_old = {7: "UNKNOWN bundle_past_hard_stop", 9: "UNKNOWN status_list_too_old"}
    add("status-hard-stop", "list and bundles are 30 days old", food, verdict("INDETERMINATE", too_old), clock=month)
    fresh_bundles = [
        stage.material.bundle(stage.home, "later/cn-sh/bundle", at=month - 60),
        stage.material.bundle(stage.peer, "later/cn-gd/bundle", at=month - 60),
    ]
    stage.stores["old-status"] = [*stage.stores["main"], *fresh_bundles]
    add(
        "status-hard-stop-alone",
        "a list 30 days old under fresh bundles",
        food,
        failed("UNKNOWN status_list_too_old", "INDETERMINATE"),
        clock=month,
        store="old-status",
    )
    add(
        "status-too-new",
        "asked as of two hours before the list",
        food,
        failed("UNKNOWN status_list_too_new", "INDETERMINATE"),
        at=FETCHED - 7200,
    )
    add(
        "status-revoked-later",
        "asked as of before the list that says revoked",
        licences["revoked"],
        failed("UNKNOWN status_list_too_new", "INDETERMINATE"),
        at=FETCHED - 7200,
    )
    late = FETCHED + 3 * DAY
    challenge = sample_challenge(world, licences["transport"].claims.licence_type, at=late - 20)
    answer = present(licences["transport"], world.holder, at=late - 5, challenge=challenge).encode()
    add(
        "safety-hard-stop",
        "a safety type stops at 72 h",
        answer,
        verdict("INDETERMINATE", {**ANSWERED, 9: "UNKNOWN status_list_too_old"}),
        clock=late,
        challenge=challenge.text(),
    )
    day = FETCHED + DAY
    challenge = sample_challenge(world, licences["transport"].claims.licence_type, at=day - 20)
    answer = present(licences["transport"], world.holder, at=day - 5, challenge=challenge).encode()
    add(
        "safety-stale",
        "a safety type is stale at 24 h",
        answer,
        verdict("VALID", ANSWERED, "status_stale"),
        clock=day,
        challenge=challenge.text(),
    )
