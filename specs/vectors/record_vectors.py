"""Vectors of verification records and of key files."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from chopmark.key_file import ScryptCost, encrypt_key
from chopmark.keys import Ed25519Signer, Es256Signer, MlDsa44Signer, Signer

from specs.vectors.sample_world import INSPECTOR, NOW, DeterministicEs256Signer, SeededRandom
from specs.vectors.vector_file import FORMAT, KEY, SIGNATURE, UNSUPPORTED, VectorFile

Json = dict[str, Any]


def _sentences(zh: str, en: str) -> Json:
    return {"zh-Hans": zh, "en": en}


def _checks() -> list[Json]:
    """Ten checks as a reader meets them; their sentences may be reworded, the numbers and results may not."""
    return [
        {
            "number": number,
            "name": f"check {number}",
            "result": "PASS",
            "reason": "decoded" if number == 0 else f"reason_{number}",
            "message": _sentences("通过", "passed"),
            "age": None,
        }
        for number in range(10)
    ]


def sample_claims() -> Json:
    """The claims of a good record."""
    return {
        "iss": INSPECTOR,
        "iat": NOW,
        "jti": "05" * 16,
        "purpose": "年度检查",
        "verdict": {
            "outcome": "VALID",
            "at": NOW,
            "stale": False,
            "provisional": False,
            "credential_digest": "ab" * 32,
            "issuer": "CN-GD/11440000MB99990015",
            "licence_type": "CN-GD/11100000MB99991003001@1",
            "checks": _checks(),
            "remarks": [
                {"reason": "compare_identity", "message": _sentences("请核对身份证件", "compare the identity document")}
            ],
        },
        "bundles": {"CN-GD": {"seq": 3, "sha256": "cd" * 32}, "CN-SH": {"seq": 2, "sha256": "ef" * 32}},
    }


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def signed_record(signer: Signer, claims: Any, *, header: Mapping[str, Any] | None = None) -> str:
    """A compact JWS of any claims, given as JSON or as bytes; a header member changed to None is left out."""
    names = {"Ed25519": "EdDSA", "ES256": "ES256"}
    kid = signer.public_key.kid.hex()
    members: Json = {"alg": names[signer.public_key.algorithm.text], "kid": kid, "typ": "verification-record+jwt"}
    members = {name: value for name, value in {**members, **(header or {})}.items() if value is not None}
    payload = claims if isinstance(claims, bytes) else _compact(claims)
    body = f"{_encoded(_compact(members))}.{_encoded(payload)}"
    return f"{body}.{_encoded(signer.sign(body.encode()))}"


def record_vectors() -> VectorFile:
    """All vectors of `verification-record.json`."""
    file = VectorFile("verification-record", "specs/verification-record.md")
    random = SeededRandom("chopmark record vectors 1")
    signer = Ed25519Signer.from_private_bytes(random(32))
    ecdsa = DeterministicEs256Signer(random(32))
    claims = sample_claims()

    def given(text: str, by: Signer = signer) -> Json:
        key = by.public_key
        return {"text": text, "algorithm": key.algorithm.text, "public_key": key.raw.hex()}

    def read(claims: Json) -> Json:
        return {
            "inspector": claims["iss"],
            "issued_at": claims["iat"],
            "record_id": claims["jti"],
            "purpose": claims["purpose"],
            "outcome": claims["verdict"]["outcome"],
            "bundles": claims["bundles"],
            "fields": claims.get("fields"),
            "licence_number": claims.get("licence_number"),
        }

    with_fields = {**claims, "fields": {"business_name": "示例餐饮有限公司"}, "licence_number": "1.2.156.3005.2.…"}
    for name, description, of, by in (
        ("ed25519", "signed with Ed25519", claims, signer),
        ("es256", "signed with ES256", claims, ecdsa),
        ("with-fields", "with the fields of the licence, which were asked for", with_fields, signer),
        (
            "unread",
            "of a code that could not be read",
            _changed(claims, "verdict", credential_digest=None, issuer=None, licence_type=None, outcome="INVALID"),
            signer,
        ),
    ):
        file.accept(f"record-{name}", description, "verification_record", given(signed_record(by, of), by), read(of))
    _add_bad_records(file, signer, ecdsa, claims, given)
    return file


def _changed(claims: Json, member: str, **changes: Any) -> Json:
    return {**claims, member: {**claims[member], **changes}}


def _add_bad_records(file: VectorFile, signer: Ed25519Signer, ecdsa: Signer, claims: Json, given: Any) -> None:
    good = signed_record(signer, claims)
    header, payload, signature = good.split(".")

    def signed(**changes: Any) -> str:
        made = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return signed_record(signer, made)

    def judged(**changes: Any) -> str:
        return signed_record(signer, _changed(claims, "verdict", **changes))

    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    flipped = _encoded(raw[:-1] + bytes((raw[-1] ^ 1,)))
    last = signature[-1]
    stray = signature[:-1] + chr(ord(last) + 1)
    checks = _checks()
    unnumbered = [{**checks[0], "number": 1}, *checks[1:]]
    for name, description, text, error in (
        ("signature-bit", "one bit of the signature is another", f"{header}.{payload}.{flipped}", SIGNATURE),
        (
            "another-answer",
            "another answer than was signed",
            f"{header}.{_encoded(_compact(_changed(claims, 'verdict', outcome='INVALID')))}.{signature}",
            SIGNATURE,
        ),
        ("another-key", "signed by another key than it is read under", signed_record(ecdsa, claims), SIGNATURE),
        (
            "alg-of-another-key",
            "a header that names another algorithm",
            signed_record(signer, claims, header={"alg": "ES256"}),
            SIGNATURE,
        ),
        (
            "alg-none",
            "unsigned, and says so",
            f"{_encoded(_compact({'alg': 'none', 'kid': '00' * 8, 'typ': 'verification-record+jwt'}))}.{payload}.",
            SIGNATURE,
        ),
        ("typ", "a token of another type", signed_record(signer, claims, header={"typ": "JWT"}), UNSUPPORTED),
        ("typ-missing", "no type", signed_record(signer, claims, header={"typ": None}), UNSUPPORTED),
        ("kid-missing", "no kid", signed_record(signer, claims, header={"kid": None}), FORMAT),
        (
            "header-more",
            "a header member that is not known",
            signed_record(signer, claims, header={"jku": "https://a.example"}),
            FORMAT,
        ),
        ("two-parts", "no signature", f"{header}.{payload}", FORMAT),
        ("padded", "base64url with padding", f"{header}.{payload}.{signature}==", FORMAT),
        ("stray-bits", "base64url with bits that no byte takes", f"{header}.{payload}.{stray}", FORMAT),
        ("not-json", "claims that are no JSON", signed_record(signer, b"{"), FORMAT),
        (
            "name-twice",
            "a claim that stands twice",
            signed_record(signer, _compact(claims)[:-1] + b',"iat":0}'),
            FORMAT,
        ),
        ("claim-missing", "no purpose", signed(purpose=None), FORMAT),
        ("claim-unknown", "a claim that is not known", signed(exp=NOW), UNSUPPORTED),
        ("purpose-empty", "an empty purpose", signed(purpose=""), FORMAT),
        ("purpose-too-long", "a purpose of 201 characters", signed(purpose="查" * 201), FORMAT),
        ("inspector-form", "an inspector without a region", signed(iss="11310000MB99990113"), FORMAT),
        ("id-short", "an id of 30 digits", signed(jti="05" * 15), FORMAT),
        ("iat-fraction", "a time that is no whole second", signed(iat=NOW + 0.5), FORMAT),
        ("outcome", "an answer that does not exist", judged(outcome="MAYBE"), FORMAT),
        ("nine-checks", "nine checks", judged(checks=checks[:9]), FORMAT),
        ("checks-unnumbered", "checks out of order", judged(checks=unnumbered), FORMAT),
        ("digest-short", "a credential digest of 31 bytes", judged(credential_digest="ab" * 31), FORMAT),
        ("bundle-seq", "a bundle without its number", signed(bundles={"CN-GD": {"sha256": "cd" * 32}}), FORMAT),
        ("bundle-region", "a bundle of no region", signed(bundles={"cn-gd": {"seq": 1, "sha256": "cd" * 32}}), FORMAT),
    ):
        file.refuse(f"record-{name}", description, "verification_record", given(text), error)


def key_file_vectors() -> VectorFile:
    """All vectors of `key-file.json`; their scrypt cost is the lowest, for speed."""
    file = VectorFile("key-file", "specs/key-file.md")
    random = SeededRandom("chopmark key file vectors 1")
    cost = ScryptCost(n=2**10, r=8, p=1)
    phrase = "示例口令 sample passphrase"
    signers = (
        Ed25519Signer.from_private_bytes(random(32)),
        Es256Signer.from_private_bytes(random(32)),
        MlDsa44Signer.from_private_bytes(random(32)),
    )

    def given(text: str) -> dict[str, str]:
        return {"text": text, "passphrase": phrase}

    texts = {}
    for signer in signers:
        algorithm = signer.public_key.algorithm.text
        text = encrypt_key(signer, phrase.encode(), cost=cost, random=random).decode()
        texts[algorithm] = text
        result = {
            "algorithm": algorithm,
            "public_key": signer.public_key.raw.hex(),
            "private": signer.private_bytes().hex(),
        }
        name = f"key-file-{algorithm.lower()}"
        file.accept(name, f"a key of {algorithm}", "key_file", given(text), result)
    good: Json = json.loads(texts["Ed25519"])

    def changed(*path: str, value: Any) -> str:
        document = json.loads(texts["Ed25519"])
        place = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        if value is None:
            del place[path[-1]]
        return json.dumps(document, indent=2) + "\n"

    other = Ed25519Signer.from_private_bytes(random(32)).public_key
    swapped = {**good, "kid": other.kid.hex(), "pub": other.to_json()}
    cipher = bytearray(base64.b64decode(good["cipher"]["text"]))
    cipher[0] ^= 1
    for name, description, document, error in (
        ("public-swapped", "another public key beside the private one", json.dumps(swapped), KEY),
        (
            "text-changed",
            "one bit of what is encrypted is another",
            changed("cipher", "text", value=base64.b64encode(cipher).decode()),
            KEY,
        ),
        ("salt-changed", "another salt", changed("kdf", "salt", value=base64.b64encode(bytes(16)).decode()), KEY),
        ("cost-changed", "another cost than it was made with", changed("kdf", "p", value=2), KEY),
        ("cost-too-high", "a cost that takes more than 256 MiB", changed("kdf", "n", value=2**20), KEY),
        ("cost-too-low", "a cost below 2^10", changed("kdf", "n", value=512), KEY),
        ("cost-not-a-power", "a cost that is no power of two", changed("kdf", "n", value=1025), KEY),
        ("kid", "a kid that is not that of the key", changed("kid", value="00" * 8), FORMAT),
        ("format-v2", "a version that is not known", changed("format", value="chopmark/key-file/v2"), UNSUPPORTED),
        ("alg", "an algorithm that is not known", changed("alg", value="RSA"), UNSUPPORTED),
        ("kdf", "another key derivation", changed("kdf", "name", value="argon2id"), UNSUPPORTED),
        ("cipher", "another cipher", changed("cipher", "name", value="AES-256-GCM"), UNSUPPORTED),
        ("member-missing", "no nonce", changed("cipher", "nonce", value=None), FORMAT),
        ("member-more", "a member that is not known", changed("comment", value="x"), FORMAT),
        (
            "text-short",
            "47 bytes of encrypted text",
            changed("cipher", "text", value=base64.b64encode(bytes(47)).decode()),
            FORMAT,
        ),
        ("not-json", "no JSON", "-----BEGIN PRIVATE KEY-----\n", FORMAT),
    ):
        file.refuse(f"key-file-{name}", description, "key_file", given(document), error)
    wrong = {**given(texts["Ed25519"]), "passphrase": "another"}
    file.refuse("key-file-passphrase", "another passphrase", "key_file", wrong, KEY)
    empty = {**given(texts["Ed25519"]), "passphrase": ""}
    file.refuse("key-file-passphrase-empty", "an empty passphrase", "key_file", empty, KEY)
    return file
