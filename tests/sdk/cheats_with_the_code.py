"""Cheats with what stands in the code: checks 0, 1, 4 and 5 of the recipe."""

from __future__ import annotations

import zlib
from dataclasses import replace

from chopmark import base45, cose, qr_text
from chopmark.cbor import Key, Value
from chopmark.credential import Credential, issue_credential
from chopmark.entries import CredentialEntry
from chopmark.verdict import Verdict

from specs.vectors.sample_world import FOOD_DEPARTMENT, NOW, TRANSPORT_DEPARTMENT
from tests.sdk.attack_stage import DAY, LOGGED, Stage, replaced
from tests.sdk.cheats import FAIL, UNDATED, UNDECODED, UNKNOWN, UNREAD, caught

# 0 decode


@caught(0, FAIL, "not_a_licence_code", UNDECODED, says="does not begin with EL1:")
def the_code_is_of_something_else(stage: Stage) -> Verdict:
    return stage.look_at("https://cn-gd.example/licences/4711?valid=yes")


@caught(0, FAIL, "not_a_licence_code", UNDECODED, says="does not use the dictionary")
def the_stream_has_no_dictionary(stage: Stage) -> Verdict:
    return stage.look_at(qr_text.PREFIX + base45.encode(zlib.compress(stage.licence().encode(), 9)))


@caught(0, FAIL, "not_a_licence_code", UNDECODED, says="does not use the dictionary")
def the_stream_has_another_dictionary(stage: Stage) -> Verdict:
    deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_DEFAULT_STRATEGY, b"another dictionary")
    stream = deflate.compress(stage.licence().encode()) + deflate.flush()
    return stage.look_at(qr_text.PREFIX + base45.encode(stream))


@caught(0, FAIL, "not_a_licence_code", UNDECODED, says="1 bytes behind the zlib stream")
def bytes_stand_behind_the_stream(stage: Stage) -> Verdict:
    return stage.look_at(qr_text.PREFIX + base45.encode(stream_of(stage) + b"\0"))


@caught(0, FAIL, "not_a_licence_code", UNDECODED, says="bytes behind the zlib stream")
def a_second_stream_stands_behind_the_first(stage: Stage) -> Verdict:
    stream = stream_of(stage)
    return stage.look_at(qr_text.PREFIX + base45.encode(stream + stream))


@caught(0, FAIL, "not_a_licence_code", UNDECODED, says="incomplete")
def the_stream_ends_before_its_checksum(stage: Stage) -> Verdict:
    return stage.look_at(qr_text.PREFIX + base45.encode(stream_of(stage)[:-4]))


@caught(0, FAIL, "not_a_licence_code", UNDECODED, says="more than 12288 bytes")
def the_stream_inflates_without_end(stage: Stage) -> Verdict:
    deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_DEFAULT_STRATEGY, qr_text.DICTIONARY)
    bomb = deflate.compress(stage.licence().encode() + bytes(8 << 20)) + deflate.flush()
    assert len(bomb) < 12_000
    return stage.look_at(qr_text.PREFIX + base45.encode(bomb))


@caught(0, FAIL, "not_a_licence_code", UNDECODED, says="does not begin with EL1:")
def a_space_stands_before_the_code(stage: Stage) -> Verdict:
    return stage.look_at(" " + qr_text.encode(stage.licence().encode()))


@caught(0, UNKNOWN, "newer_code_version", UNDECODED)
def the_code_claims_a_version_to_come(stage: Stage) -> Verdict:
    return stage.look_at(qr_text.encode(stage.licence().encode()).replace("EL1:", "EL2:"))


# 1 parse


@caught(1, FAIL, "malformed", UNREAD, says="not a COSE_Sign1")
def the_bytes_are_no_licence(stage: Stage) -> Verdict:
    return stage.look(b"\xa1\x01\x02")


@caught(1, FAIL, "malformed", UNREAD, says="bytes behind the value")
def bytes_stand_behind_the_licence(stage: Stage) -> Verdict:
    return stage.look(stage.licence().encode() + b"\0")


@caught(1, FAIL, "malformed", UNREAD, says="stands twice")
def a_claim_stands_twice(stage: Stage) -> Verdict:
    licence = stage.licence()
    payload = licence.sign1.payload
    issuer = b"\x01\x78\x18" + FOOD_DEPARTMENT.encode()
    assert payload.startswith(b"\xa8" + issuer)
    return stage.look(real_signature(stage, licence.sign1, b"\xa9" + issuer + payload[1:]))


@caught(1, FAIL, "malformed", UNREAD, says="floating-point")
def the_expiry_is_a_fraction(stage: Stage) -> Verdict:
    licence = stage.issue(expires=NOW + DAY)
    seconds = b"\x04\x1a" + (NOW + DAY).to_bytes(4, "big")
    assert seconds in licence.sign1.payload
    payload = licence.sign1.payload.replace(seconds, b"\x04\xfb\x41\xda\xc0\x00\x00\x00\x00\x00")
    return stage.look(real_signature(stage, licence.sign1, payload))


@caught(1, FAIL, "malformed", UNREAD, says="nested deeper")
def arrays_are_nested_without_end(stage: Stage) -> Verdict:
    return stage.look(real_signature(stage, stage.issue().sign1, b"\x81" * 4000 + b"\x01"))


@caught(1, FAIL, "malformed", UNREAD, says="elements announced")
def an_array_announces_more_than_any_memory_holds(stage: Stage) -> Verdict:
    return stage.look(real_signature(stage, stage.issue().sign1, b"\x9b" + b"\x7f" * 8))


@caught(1, FAIL, "malformed", UNREAD, says="tag other than 18")
def shared_references_blow_up_when_they_are_followed(stage: Stage) -> Verdict:
    bomb = b"\xd8\x1c\x82\x01\x02" + b"\xd8\x1c\x82\xd8\x1d\x00\xd8\x1d\x00" * 40
    return stage.look(real_signature(stage, stage.issue().sign1, b"\xa1\x01" + bomb))


@caught(1, FAIL, "malformed", UNREAD, says="nested deeper")
def a_disclosure_is_a_bomb(stage: Stage) -> Verdict:
    licence = stage.issue("constructor").sign1
    return stage.look(replace(licence, unprotected={cose.SD_CLAIMS: [b"\x81" * 2000 + b"\x01"]}))


@caught(1, FAIL, "malformed", UNREAD, says="salt")
def more_disclosures_than_any_licence_has_fields(stage: Stage) -> Verdict:
    licence = stage.issue("constructor").sign1
    many: list[Value] = [b"\x83\x40\x01\x01"] * 1500
    return stage.look(replace(licence, unprotected={cose.SD_CLAIMS: many}))


@caught(1, FAIL, "malformed", UNREAD, says="above the limit of 8192")
def a_bare_licence_is_as_large_as_a_presentation_may_be(stage: Stage) -> Verdict:
    licence = stage.licence()
    padded: dict[Key, Value] = {**licence.sign1.unprotected, cose.TLOG_PROOF: b"x" * 8000}
    return stage.look(replace(licence.sign1, unprotected=padded))


@caught(1, FAIL, "malformed", UNREAD, says="exactly one COSE_Key")
def the_holders_key_stands_beside_a_second_one(stage: Stage) -> Verdict:
    def add_a_key(payload: dict[Key, Value]) -> None:
        thief: Value = stage.thief.public_key.to_cose()
        confirmation = payload[8]
        assert isinstance(confirmation, dict)
        payload[8] = {**confirmation, 3: thief}

    return stage.look(stage.token(stage.signed(stage.issue("constructor"), add_a_key), signer=stage.thief))


@caught(1, FAIL, "malformed", UNREAD, says="nothing redacted")
def a_bearer_licence_hides_a_field(stage: Stage) -> Verdict:
    constructor = stage.issue("constructor")

    def strip_the_key(payload: dict[Key, Value]) -> None:
        del payload[8]
        payload[7] = bytes(16)

    bearer = stage.signed(constructor, strip_the_key, protected={cose.TYP: 61})
    return stage.look(replace(bearer, unprotected={cose.LANDMARK_PROOF: bearer.unprotected[cose.LANDMARK_PROOF]}))


@caught(1, UNKNOWN, "unknown_claim", says="-70000")
def a_private_claim_is_unknown(stage: Stage) -> Verdict:
    return stage.look(stage.signed(stage.issue(), lambda payload: payload.update({-70000: "void outside CN-GD"})))


@caught(1, UNKNOWN, "unknown_claim", says="valid_for")
def a_claim_named_by_text_is_unknown(stage: Stage) -> Verdict:
    return stage.look(stage.signed(stage.issue(), lambda payload: payload.update({"valid_for": "one week"})))


@caught(1, UNKNOWN, "unknown_claim", says="claim 3")
def an_audience_is_named_that_is_not_this_inspector(stage: Stage) -> Verdict:
    return stage.look(stage.signed(stage.issue(), lambda payload: payload.update({3: "CN-BJ/11110000MB99990013"})))


@caught(1, UNKNOWN, "unknown_claim", says="protected header -70000")
def a_protected_label_is_unknown(stage: Stage) -> Verdict:
    return stage.look(stage.signed(stage.issue(), protected={-70000: 1}))


@caught(1, UNKNOWN, "unknown_claim", says="protected header 2")
def a_critical_header_is_unknown(stage: Stage) -> Verdict:
    return stage.look(stage.signed(stage.issue(), protected={2: [-70000]}))


@caught(1, UNKNOWN, "unknown_claim", says="unprotected header -70000")
def an_unprotected_label_is_unknown(stage: Stage) -> Verdict:
    return stage.look(stage.signed(stage.issue(), unprotected={-70000: 1}))


@caught(1, UNKNOWN, "unknown_claim", says="identifier_list")
def the_status_names_a_second_mechanism(stage: Stage) -> Verdict:
    def add(payload: dict[Key, Value]) -> None:
        status = payload[65535]
        assert isinstance(status, dict)
        payload[65535] = {**status, "identifier_list": {"id": b"\1"}}

    return stage.look(stage.signed(stage.issue(), add))


@caught(1, UNKNOWN, "unknown_claim", says="usage 9")
def the_use_has_a_limit_that_is_unknown(stage: Stage) -> Verdict:
    return stage.look(stage.signed(stage.issue(), lambda payload: payload.update({-65538: {2: "投标", 9: "仅限一次"}})))


@caught(1, UNKNOWN, "unknown_claim", says="heir")
def the_role_is_unknown(stage: Stage) -> Verdict:
    return stage.look(stage.signed(stage.issue(), lambda payload: payload.update({-65538: {1: "heir"}})))


@caught(1, UNKNOWN, "unknown_claim", UNREAD, says="neither 293")
def the_type_of_message_is_unknown(stage: Stage) -> Verdict:
    return stage.look(stage.signed(stage.issue(), protected={cose.TYP: 62}))


@caught(1, UNKNOWN, "unknown_claim", UNREAD, says="not of suite 1")
def the_algorithm_is_unknown(stage: Stage) -> Verdict:
    licence = stage.licence().sign1
    return stage.look(replace(licence, protected=licence.protected.replace(b"\x01\x32", b"\x01\x25")))


# 4 issuer signature


@caught(4, FAIL, "signature_wrong")
def the_signature_is_of_another_key(stage: Stage) -> Verdict:
    licence = stage.licence().sign1
    forged = stage.thief.sign(licence.to_be_signed())
    return stage.look(replace(licence, signature=forged))


@caught(4, FAIL, "signature_wrong", {6: "log_path_wrong"} | UNDATED)
def one_bit_of_a_field_is_changed(stage: Stage) -> Verdict:
    licence = stage.licence().sign1
    return stage.look(replace(licence, payload=licence.payload.replace("中型".encode(), "中垌".encode())))


@caught(4, FAIL, "signature_wrong")
def the_header_names_an_algorithm_that_is_not_the_keys(stage: Stage) -> Verdict:
    licence = stage.issue().sign1
    protected = licence.protected.replace(b"\x01\x32", b"\x01\x28")
    assert protected != licence.protected
    forged = cose.Sign1.from_value(replace(licence, protected=protected).value())
    index = stage.log.append(CredentialEntry(FOOD_DEPARTMENT, forged.digest()).encode())
    stage.log.landmark(at=LOGGED)
    signature = stage.credential_key().sign(forged.to_be_signed())
    proof: dict[Key, Value] = {cose.LANDMARK_PROOF: stage.log.landmark_proof(index).value()}
    return stage.look(replace(forged, signature=signature, unprotected=proof))


# 5 disclosures


@caught(5, FAIL, "disclosure_mismatch")
def the_holder_changes_what_he_discloses(stage: Stage) -> Verdict:
    licence = stage.licence("constructor")
    disclosed = [
        replace(entry, value="示例大型集团公司", _encoded=None) if entry.key == 4 else entry
        for entry in licence.disclosures
    ]
    contents: Value = [entry.encode() for entry in disclosed]
    message = replace(licence.sign1, unprotected={**licence.sign1.unprotected, cose.SD_CLAIMS: contents})
    return stage.look(stage.token(message))


@caught(5, FAIL, "disclosure_mismatch")
def the_holder_adds_a_field_that_nobody_signed(stage: Stage) -> Verdict:
    licence = stage.licence("constructor")
    added = replace(licence.disclosures[0], key=99, _encoded=None).encode()
    contents: Value = [*(entry.encode() for entry in licence.disclosures), added]
    message = replace(licence.sign1, unprotected={**licence.sign1.unprotected, cose.SD_CLAIMS: contents})
    return stage.look(stage.token(message))


@caught(5, UNKNOWN, "field_unknown")
def a_field_is_shown_that_the_type_does_not_have(stage: Stage) -> Verdict:
    fields = dict(stage.claims().fields) | {99: "可经营一切"}
    return stage.look(stage.licence(fields=fields))


@caught(5, FAIL, "field_must_be_shown")
def a_restriction_is_hidden(stage: Stage) -> Verdict:
    licence = stage.world.issue(
        stage.claims("constructor", issued_at=LOGGED, not_before=LOGGED), selective=(2, 3, 4, 8)
    )
    (licence,) = stage.world.logged(licence)
    return stage.look(stage.shown(licence))


@caught(5, FAIL, "field_must_be_shown")
def a_restriction_is_disclosed_that_must_stand_in_clear(stage: Stage) -> Verdict:
    licence = stage.world.issue(
        stage.claims("constructor", issued_at=LOGGED, not_before=LOGGED), selective=(2, 3, 4, 8)
    )
    (licence,) = stage.world.logged(licence)
    return stage.look(stage.shown(licence, disclose=(8,)))


@caught(5, FAIL, "field_must_be_shown")
def a_restriction_is_left_out(stage: Stage) -> Verdict:
    fields = {key: value for key, value in stage.claims().fields.items() if key != 8}
    return stage.look(stage.licence(fields=fields))


@caught(5, FAIL, "field_of_wrong_kind")
def a_restriction_is_no_text(stage: Stage) -> Verdict:
    return stage.look(stage.licence(fields=dict(stage.claims().fields) | {8: False}))


@caught(5, FAIL, "field_of_wrong_kind")
def a_list_holds_something_else_than_texts(stage: Stage) -> Verdict:
    return stage.look(stage.licence(fields=dict(stage.claims().fields) | {6: ["热食类食品制售", 1]}))


@caught(5, FAIL, "field_must_be_shown")
def a_field_that_may_be_missing_is_disclosed_where_it_must_stand_in_clear(stage: Stage) -> Verdict:
    return stage.look(stage.shown(with_an_optional_field_redacted(stage), disclose=(7,)))


@caught(5, FAIL, "number_must_be_shown")
def the_licence_number_is_hidden(stage: Stage) -> Verdict:
    claims = stage.claims("constructor", issued_at=LOGGED, not_before=LOGGED)
    licence = issue_credential(
        stage.credential_key(TRANSPORT_DEPARTMENT), claims, hide_licence_number=True, random=stage.world.random
    )
    (licence,) = stage.world.logged(licence)
    return stage.look(stage.shown(licence))


@caught(5, FAIL, "type_unknown", {2: "type_unknown", 7: "type_unknown", 9: "not_reached"})
def a_schema_version_is_invented(stage: Stage) -> Verdict:
    return stage.look(stage.licence(licence_type=stage.claims().licence_type.replace("@1", "@2")))


@caught(
    5,
    UNKNOWN,
    "bundle_older_than_licence",
    {2: "type_unknown", 7: "bundle_older_than_licence", 9: "not_reached"},
)
def a_type_is_invented_and_the_licence_dated_after_the_bundle(stage: Stage) -> Verdict:
    return stage.look(stage.licence(logged_at=NOW - 60, licence_type=stage.claims().licence_type.replace("@1", "@2")))


def with_an_optional_field_redacted(stage: Stage) -> Credential:
    """A licence whose field 7 its type always shows and does not require, behind a digest all the same."""
    peer = stage.world.peer
    fields = tuple(replace(field, required=field.required and field.id != 7) for field in peer.types[2].fields)
    peer.types = replaced(peer.types, 2, fields=fields)
    claims = stage.claims("constructor", issued_at=LOGGED, not_before=LOGGED)
    return stage.world.logged(stage.world.issue(claims, selective=(2, 3, 4, 7)))[0]


def stream_of(stage: Stage) -> bytes:
    return base45.decode(qr_text.encode(stage.licence().encode()).removeprefix(qr_text.PREFIX))


def real_signature(stage: Stage, message: cose.Sign1, payload: bytes) -> cose.Sign1:
    """The message with any bytes as its payload, signed with the issuer's real key."""
    changed = replace(message, payload=payload)
    return replace(changed, signature=stage.credential_key().sign(changed.to_be_signed()))
