from __future__ import annotations

import hashlib
import hmac
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import jwt
import pytest
from chopmark.cbor import Value
from chopmark.closed_object import ClosedObject
from chopmark.credential import Claims, Credential, Usage, issue_credential
from chopmark.errors import (
    ChopmarkError,
    FormatError,
    KeyMaterialError,
    LimitError,
    MissingExtraError,
    SignatureError,
    UnsupportedError,
)
from chopmark.keys import Ed25519Signer, Es256Signer, MlDsa44Signer, Signer
from chopmark.licence_type import LicenceType
from chopmark.strict import base64url_decode, base64url_encode
from chopmark.verdict import Check, Outcome, Remark, Result, Verdict
from chopmark.verification_record import (
    RECORD_MAX,
    VerificationRecord,
    create_record,
    read_unverified,
    verify_record,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

NOW = 1_795_339_800
INSPECTOR = "CN-SH/11310000MB99990113"
HOLDER = "示例餐饮有限公司"
NUMBER = "1.2.156.3005.2.11100000000013338W032.11220000013544541J.2430599.001.F"
ED25519 = Ed25519Signer(bytes(range(32)))
ES256 = Es256Signer(bytes(range(1, 33)))
SIGNERS: list[Signer] = [ED25519, ES256]

LICENCE_TYPE = LicenceType.from_json(
    ClosedObject(
        {
            "id": "CN-GD/11100000000013338W032",
            "schema": 1,
            "name": {"zh-Hans": "食品经营许可证", "en": "Food business licence"},
            "fields": [
                {
                    "id": number,
                    "name": name,
                    "label": {"zh-Hans": name, "en": name},
                    "kind": kind,
                    "disclosure": "always",
                    "required": False,
                    "restricts": False,
                }
                for number, name, kind in ((1, "business_name", "text"), (2, "seats", "integer"), (3, "scope", "list"))
            ],
            "holder": "bearer",
            "freshness": "trade",
            "zone": "Asia/Shanghai",
            "challenge": False,
            "numbering": "GB/T 36904",
            "status": False,
        },
        "",
    )
)


def credential(fields: dict[int, Value]) -> Credential:
    claims = Claims(
        issuer="CN-GD/11440000MB99990015",
        licence_type=LICENCE_TYPE.vct,
        issued_at=NOW - 3600,
        licence_number=NUMBER,
        usage=Usage(purpose=f"供{HOLDER}办理年检"),
        fields=fields,
    )
    return issue_credential(Ed25519Signer(b"issuer".ljust(32)), claims)


def bundle(region: str, seq: int) -> Any:
    return SimpleNamespace(region=region, seq=seq, digest=hashlib.sha256(region.encode()).digest())


def verdict(fields: dict[int, Value] | None = None, results: dict[int, Result] | None = None) -> Verdict:
    fields = fields if fields is not None else {1: HOLDER, 2: 80451}
    results = results or {}
    failed = Result.FAIL in results.values()
    return Verdict(
        outcome=Outcome.INVALID if failed else Outcome.VALID,
        checks=tuple(
            Check(
                number, results.get(number, Result.PASS), "signature_wrong" if number in results else "parsed", None, 60
            )
            for number in range(10)
        ),
        at=NOW,
        remarks=(Remark("restricted_use", {"purpose": f"供{HOLDER}办理年检"}),),
        credential=credential(fields),
        licence_type=LICENCE_TYPE,
        bundle=bundle("CN-GD", 7),
        home=bundle("CN-SH", 3),
        shown=fields,
    )


def record(signer: Signer = ED25519, *, of: Verdict | None = None, purpose: str = "年度检查", **options: Any) -> str:
    return create_record(
        verdict() if of is None else of, signer, inspector=INSPECTOR, purpose=purpose, at=NOW, **options
    )


def parts(text: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    header, payload, signature = (base64url_decode(part, where="test") for part in text.split("."))
    return json.loads(header), json.loads(payload), signature


def signed(
    header: dict[str, Any] | bytes, claims: dict[str, Any] | bytes, sign: Callable[[bytes], bytes] = ED25519.sign
) -> str:
    """A compact JWS of any content."""
    raw = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    message = ".".join(map(base64url_encode, raw))
    return f"{message}.{base64url_encode(sign(message.encode()))}"


def resigned(claims: dict[str, Any] | bytes) -> str:
    return signed(parts(record())[0], claims)


@pytest.mark.parametrize("signer", SIGNERS, ids=["Ed25519", "ES256"])
def test_a_record_verifies_and_comes_back(signer: Signer) -> None:
    given_verdict = verdict()
    read = verify_record(record(signer, of=given_verdict, random=lambda size: b"\x05" * size), signer.public_key)
    assert read.inspector == INSPECTOR
    assert read.issued_at == NOW
    assert read.record_id == "05" * 16
    assert read.purpose == "年度检查"
    assert read.outcome is Outcome.VALID
    assert given_verdict.credential is not None
    assert read.verdict["credential_digest"] == given_verdict.credential.digest.hex()
    assert [check["number"] for check in read.verdict["checks"]] == list(range(10))
    assert {check["age"] for check in read.verdict["checks"]} == {60}
    assert read.bundles == {
        "CN-SH": {"seq": 3, "sha256": hashlib.sha256(b"CN-SH").hexdigest()},
        "CN-GD": {"seq": 7, "sha256": hashlib.sha256(b"CN-GD").hexdigest()},
    }


def test_another_jwt_library_reads_the_record() -> None:
    public_key = Ed25519PublicKey.from_public_bytes(ED25519.public_key.raw)
    claims = jwt.decode(record(), public_key, algorithms=["EdDSA"], options={"verify_iat": False})
    assert claims["purpose"] == "年度检查"
    assert jwt.get_unverified_header(record()) == {
        "alg": "EdDSA",
        "kid": ED25519.public_key.kid.hex(),
        "typ": "verification-record+jwt",
    }


@pytest.mark.parametrize("signer", SIGNERS, ids=["Ed25519", "ES256"])
def test_no_datum_of_the_licence_is_recorded_unless_asked(signer: Signer) -> None:
    text = record(signer)
    header, claims, _ = parts(text)
    everything = json.dumps([header, claims], ensure_ascii=False)
    assert HOLDER not in everything
    assert NUMBER not in everything
    assert "80451" not in everything
    read = verify_record(text, signer.public_key)
    assert read.fields is None
    assert read.licence_number is None


def test_fields_and_number_are_recorded_when_asked() -> None:
    read = verify_record(record(with_fields=True), ED25519.public_key)
    assert read.fields == {"business_name": HOLDER, "seats": 80451}
    assert read.licence_number == NUMBER


@pytest.mark.parametrize("check", [4, 5])
@pytest.mark.parametrize("result", [Result.FAIL, Result.UNKNOWN])
def test_fields_that_nobody_signed_are_not_recorded(check: int, result: Result) -> None:
    read = verify_record(record(of=verdict(results={check: result}), with_fields=True), ED25519.public_key)
    assert read.fields is None
    assert read.licence_number is None


def test_field_values_that_json_has_not_are_recorded_as_text() -> None:
    fields: dict[int, Value] = {1: "\x00\u2028", 2: 2**64 - 1, 3: [b"\xff", {"a": -(2**60)}, True]}
    read = verify_record(record(of=verdict(fields), with_fields=True), ED25519.public_key)
    assert read.fields == {
        "business_name": "\x00\u2028",
        "seats": "18446744073709551615",
        "scope": ["ff", {"a": "-1152921504606846976"}, True],
    }


def test_a_verdict_about_nothing_readable_is_recorded() -> None:
    empty = replace(verdict(results={1: Result.FAIL}), credential=None, licence_type=None, bundle=None, shown={})
    read = verify_record(record(of=empty, with_fields=True), ED25519.public_key)
    assert read.outcome is Outcome.INVALID
    assert read.verdict["credential_digest"] is None
    assert list(read.bundles) == ["CN-SH"]


@pytest.mark.parametrize("purpose", ["", "a" * 201, "two\nlines", "\x1b[2J", "\u202e", "\ud800", "\x00"])
def test_a_purpose_is_1_to_200_printable_characters(purpose: str) -> None:
    with pytest.raises(FormatError, match="purpose of 1 to 200") as caught:
        record(purpose=purpose)
    assert caught.value.remedy
    claims = parts(record())[1]
    if purpose != "\ud800":
        with pytest.raises(FormatError, match="purpose of 1 to 200"):
            verify_record(resigned(claims | {"purpose": purpose}), ED25519.public_key)


def test_the_longest_purpose_is_taken() -> None:
    assert verify_record(record(purpose="查" * 200), ED25519.public_key).purpose == "查" * 200


@pytest.mark.parametrize(
    ("inspector", "at"), [("nobody", NOW), ("CN-SH/", NOW), ("", NOW), (INSPECTOR, -1), (INSPECTOR, 2**60)]
)
def test_what_would_be_refused_on_reading_is_not_signed(inspector: str, at: int) -> None:
    with pytest.raises(FormatError):
        create_record(verdict(), ED25519, inspector=inspector, purpose="x", at=at)


def test_a_record_that_would_be_too_large_is_not_signed() -> None:
    with pytest.raises(LimitError):
        record(of=verdict({1: "\x00" * 7000, 3: ["\x00" * 3000]}), with_fields=True)


@pytest.mark.parametrize("signer", SIGNERS, ids=["Ed25519", "ES256"])
def test_a_tampered_payload_is_refused(signer: Signer) -> None:
    header, payload, signature = record(signer, of=verdict(results={9: Result.FAIL})).split(".")
    claims = base64url_decode(payload, where="test").replace(b'"INVALID"', b'"VALID"')
    with pytest.raises(SignatureError):
        verify_record(f"{header}.{base64url_encode(claims)}.{signature}", signer.public_key)


@settings(max_examples=200)
@given(st.data())
def test_any_change_of_a_character_is_refused(data: st.DataObject) -> None:
    text = record(random=bytes)
    position = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.sampled_from("AZaz09-_.= +\n").filter(lambda other: other != text[position]))
    with pytest.raises(ChopmarkError):
        verify_record(text[:position] + character + text[position + 1 :], ED25519.public_key)


@pytest.mark.parametrize("suffix", ["=", "==", "\n", ".", " ", ".e30"])
def test_a_record_has_one_spelling(suffix: str) -> None:
    with pytest.raises(FormatError):
        verify_record(record() + suffix, ED25519.public_key)
    with pytest.raises(FormatError):
        verify_record(record().replace(".", suffix + ".", 1), ED25519.public_key)


def test_another_key_is_refused_even_under_the_same_kid() -> None:
    other = Ed25519Signer(b"other".ljust(32))
    with pytest.raises(SignatureError, match="names the key"):
        verify_record(record(), other.public_key)
    header, claims, _ = parts(record())
    with pytest.raises(SignatureError, match="does not verify"):
        verify_record(signed(header, claims, other.sign), ED25519.public_key)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS256", "ES256", "RS256", "eddsa", "Ed25519"])
def test_another_algorithm_than_the_key_s_own_is_refused(algorithm: str) -> None:
    header, claims, signature = parts(record())
    header["alg"] = algorithm
    for sign in (ED25519.sign, lambda _: b"", lambda _: signature):
        with pytest.raises(SignatureError):
            verify_record(signed(header, claims, sign), ED25519.public_key)


def test_the_public_key_is_no_secret_to_sign_with() -> None:
    header, claims, _ = parts(record())
    header["alg"] = "HS256"
    for secret in (ED25519.public_key.raw, ED25519.public_key.to_json().encode()):
        forged = signed(header, claims, partial(hmac.digest, secret, digest="sha256"))
        with pytest.raises(SignatureError):
            verify_record(forged, ED25519.public_key)


def test_an_unsigned_record_is_refused() -> None:
    header, claims, _ = parts(record())
    with pytest.raises(SignatureError):
        verify_record(signed(header, claims, lambda _: b""), ED25519.public_key)


def test_a_signature_of_the_other_algorithm_is_refused() -> None:
    header, claims, _ = parts(record(ES256))
    with pytest.raises(SignatureError):
        verify_record(signed(header, claims, ED25519.sign), ES256.public_key)


@pytest.mark.parametrize("typ", ["JWT", "verification-record", "vc+sd-jwt", "", None, 1])
def test_another_type_of_token_is_refused(typ: object) -> None:
    header, claims, _ = parts(record())
    with pytest.raises(UnsupportedError, match="verification-record"):
        verify_record(signed({**header, "typ": typ}, claims), ED25519.public_key)


@pytest.mark.parametrize(
    "more", [{"crit": ["b64"], "b64": False}, {"jku": "https://x.example/k"}, {"jwk": {}}, {"kid": 5}, {"alg": []}]
)
def test_another_header_is_refused(more: dict[str, Any]) -> None:
    header, claims, _ = parts(record())
    with pytest.raises(FormatError):
        verify_record(signed({**header, **more}, claims), ED25519.public_key)


def test_a_header_that_names_a_member_twice_is_refused() -> None:
    header, claims, _ = parts(record())
    twice = json.dumps(header).replace("{", '{"alg": "none", ', 1).encode()
    with pytest.raises(FormatError, match="twice"):
        verify_record(signed(twice, claims), ED25519.public_key)


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("iss", "somebody"),
        ("iss", 1),
        ("iat", "1795339800"),
        ("iat", True),
        ("iat", -1),
        ("iat", 1.5),
        ("jti", "0A" * 16),
        ("jti", "05" * 15),
        ("jti", "../../x"),
        ("purpose", None),
        ("verdict", []),
        ("verdict", {}),
        ("bundles", {"CN-GD": {"seq": 1}}),
        ("bundles", {"../x": {"seq": 1, "sha256": "00" * 32}}),
        ("bundles", {"CN-GD": {"seq": "1", "sha256": "00" * 32}}),
        ("bundles", {"CN-GD": {"seq": 1, "sha256": "00"}}),
        ("fields", []),
        ("licence_number", 7),
        ("exp", NOW),
    ],
)
def test_a_claim_of_another_kind_or_name_is_refused(claim: str, value: object) -> None:
    claims = parts(record())[1]
    assert verify_record(resigned(claims), ED25519.public_key)
    with pytest.raises(FormatError, match=claim):
        verify_record(resigned({**claims, claim: value}), ED25519.public_key)


@pytest.mark.parametrize("claim", ["iss", "iat", "jti", "purpose", "verdict", "bundles"])
def test_a_missing_claim_is_named(claim: str) -> None:
    claims = parts(record())[1]
    del claims[claim]
    with pytest.raises(FormatError, match=claim):
        verify_record(resigned(claims), ED25519.public_key)


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "valid"},
        {"outcome": ["VALID"]},
        {"at": None},
        {"credential_digest": "00"},
        {"credential_digest": 5},
        {"issuer": 5},
        {"checks": []},
        {"checks": [5] * 10},
        {"remarks": None},
        {"remarks": [{}]},
        {"remarks": [{"reason": "x", "message": {"en": "x"}}]},
        {"remarks": [{"reason": "x", "message": {"en": "x", "zh-Hans": 5}}]},
    ],
)
def test_a_verdict_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    claims = parts(record())[1]
    with pytest.raises(FormatError, match="verdict"):
        verify_record(resigned({**claims, "verdict": {**claims["verdict"], **change}}), ED25519.public_key)


def test_a_check_out_of_its_place_is_refused() -> None:
    claims = parts(record())[1]
    claims["verdict"]["checks"].reverse()
    with pytest.raises(FormatError, match="check 0"):
        verify_record(resigned(claims), ED25519.public_key)


def test_a_claim_that_stands_twice_is_refused() -> None:
    payload = json.dumps(parts(record())[1]).replace("{", '{"purpose": "another", ', 1)
    with pytest.raises(FormatError, match="twice"):
        verify_record(resigned(payload.encode()), ED25519.public_key)


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"\xff", b"[" * 9000, b'{"iat": 1e999}'])
def test_a_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(FormatError):
        verify_record(resigned(payload), ED25519.public_key)


def test_a_text_above_the_bound_is_refused_before_it_is_read() -> None:
    with pytest.raises(LimitError):
        verify_record("." * (RECORD_MAX + 1), ED25519.public_key)


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b", "é.é.é", "e30.e30.", "\ud800.a.b"])
def test_what_is_no_jws_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        verify_record(text, ED25519.public_key)


def test_a_post_quantum_key_signs_no_record() -> None:
    signer = MlDsa44Signer(bytes(32))
    with pytest.raises(KeyMaterialError, match="ML-DSA-44"):
        record(signer)
    with pytest.raises(KeyMaterialError, match="ML-DSA-44"):
        verify_record(record(), signer.public_key)


def test_an_unverified_reading_says_which_key_to_look_up() -> None:
    text = record(ES256)
    unverified = read_unverified(text)
    assert unverified.kid == ES256.public_key.kid
    assert unverified.algorithm == "ES256"
    assert unverified.record == verify_record(text, ES256.public_key)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = record()
    for module in [name for name in sys.modules if name == "jwt" or name.startswith("jwt.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(MissingExtraError, match="PyJWT") as caught:
        record()
    assert "chopmark[records]" in caught.value.remedy
    with pytest.raises(MissingExtraError, match="PyJWT"):
        verify_record(text, ED25519.public_key)
    assert isinstance(read_unverified(text).record, VerificationRecord)


@settings(max_examples=100)
@given(st.text(alphabet=cast("Any", st.characters(max_codepoint=0x2030)), max_size=60))
def test_any_text_is_a_record_or_a_named_error(text: str) -> None:
    with pytest.raises(ChopmarkError):
        read_unverified(text)
