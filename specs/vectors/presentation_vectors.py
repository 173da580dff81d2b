"""Vectors of key binding tokens and of challenges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chopmark import base45, cbor, cose
from chopmark.cbor import Tagged, Value
from chopmark.challenge import TYP as CHALLENGE_TYP
from chopmark.challenge import Challenge, create_challenge
from chopmark.credential import Credential
from chopmark.keys import Ed25519Signer, Signer
from chopmark.presentation import Presentation, present

from specs.vectors.sample_world import INSPECTOR, NOW, SampleWorld, make_world
from specs.vectors.signing_vectors import malleated_es256, sign_anything
from specs.vectors.vector_file import FORMAT, LIMIT, SIGNATURE, UNSUPPORTED, VectorFile

KBT = 294
PURPOSE = "工地入场核验"


def sign_token(
    signer: Signer,
    credential: Value | None,
    claims: Mapping[Any, Any],
    *,
    typ: object = KBT,
    protected: Mapping[Any, Any] | None = None,
    unprotected: Mapping[Any, Any] | None = None,
) -> bytes:
    """Sign any token around any credential, without looking at it; a label changed to None is left out."""
    header = {cose.KCWT: credential, cose.TYP: typ, **(protected or {})}
    return sign_anything(signer, header, cbor.encode(dict(claims)), unprotected)


def resigned(presentation: Presentation) -> bytes:
    """The same token under the other ECDSA signature that verifies."""
    sign1 = presentation.sign1
    value: list[Value] = [sign1.protected, {}, sign1.payload, malleated_es256(sign1.signature)]
    return cbor.encode(Tagged(value))


def presentation_vectors() -> VectorFile:
    """All vectors of `presentation.json`."""
    file = VectorFile("presentation", "specs/presentation.md")
    world = make_world()
    credential = world.issue(world.claims("constructor"))
    challenge = sample_challenge(world, credential.claims.licence_type, (4,))

    def accept(name: str, description: str, data: bytes) -> None:
        read = Presentation.parse(data)
        result: dict[str, Any] = {
            "audience": read.audience,
            "issued_at": read.issued_at,
            "token_hash": read.token_hash.hex(),
            "credential_digest": read.credential.digest.hex(),
        }
        if read.nonce is not None:
            result["nonce"] = read.nonce.hex()
        file.accept(f"presentation-{name}", description, "presentation", {"hex": data.hex()}, result)

    shown = present(credential, world.holder, at=NOW, disclose=[4])
    accept("unchallenged", "field 4 shown to whom it may concern", shown.encode())
    accept("malleated", "another ECDSA signature over the same token: the same token hash", resigned(shown))
    accept("nothing-disclosed", "nothing of what may be hidden", present(credential, world.holder, at=NOW).encode())
    answer = present(credential, world.holder, at=NOW, challenge=challenge, disclose=[4])
    accept("challenged", "the answer to a challenge", answer.encode())
    _add_refused(file, world, credential)
    return file


def _add_refused(file: VectorFile, world: SampleWorld, credential: Credential) -> None:
    holder, bearer = world.holder, world.issue(world.claims("food"))
    inner = credential.disclosing([]).sign1.value()
    plain: dict[Any, Any] = {3: "*", 6: NOW}
    expires = credential.claims.expires or 0
    other = Ed25519Signer.from_private_bytes(b"\7" * 32)
    token = present(credential, holder, at=NOW)
    large = credential.with_tlog_proof(bytes(12_000)).sign1.value()

    def made(claims: Mapping[Any, Any] | None = None, **options: Any) -> bytes:
        return sign_token(holder, options.pop("credential", inner), claims or plain, **options)

    for name, description, data, error in (
        (
            "another-signer",
            "signed by a key that the credential does not name",
            sign_token(other, inner, plain),
            SIGNATURE,
        ),
        ("signature-bit", "one bit of the signature is another", _flipped(token.encode()), SIGNATURE),
        ("time-changed", "a later time than was signed", _later(token), SIGNATURE),
        (
            "disclosure-added",
            "a disclosure that the holder did not sign",
            _with_disclosure(token, credential),
            SIGNATURE,
        ),
        ("typ", "another typ", made(typ=295), UNSUPPORTED),
        ("typ-missing", "no typ", made(typ=None), UNSUPPORTED),
        ("credential-missing", "no credential", made(credential=None), FORMAT),
        ("credential-bytes", "the credential as a byte string", made(credential=credential.encode()), FORMAT),
        ("bearer-inside", "a bearer credential inside", made(credential=bearer.sign1.value()), FORMAT),
        ("token-inside", "a token inside a token", made(credential=token.sign1.value()), UNSUPPORTED),
        ("extra-header", "a protected label that is not known", made(protected={4: b"kid"}), FORMAT),
        ("unprotected", "an unprotected header that is not empty", made(unprotected={4: b"kid"}), FORMAT),
        ("aud-missing", "no audience", made({6: NOW}), FORMAT),
        ("iat-missing", "no time", made({3: "*"}), FORMAT),
        ("extra-claim", "an exp beside the time", made({**plain, 4: NOW + 60}), FORMAT),
        (
            "aud-form",
            "an audience that is neither * nor an inspector",
            made({3: "everybody", 6: NOW, 39: bytes(32)}),
            FORMAT,
        ),
        ("aud-array", "two audiences", made({3: ["*", INSPECTOR], 6: NOW}), FORMAT),
        ("nonce-without-inspector", "a cnonce for anybody", made({**plain, 39: bytes(32)}), FORMAT),
        ("inspector-without-nonce", "an inspector without a cnonce", made({3: INSPECTOR, 6: NOW}), FORMAT),
        ("nonce-short", "a cnonce of 16 bytes", made({3: INSPECTOR, 6: NOW, 39: bytes(16)}), FORMAT),
        (
            "before-credential",
            "dated before its credential",
            made({3: "*", 6: credential.claims.issued_at - 1}),
            FORMAT,
        ),
        ("after-end", "made when the credential had ended", made({3: "*", 6: expires}), FORMAT),
        ("too-large", "above 12 KiB", made(credential=large), LIMIT),
    ):
        file.refuse(f"presentation-{name}", description, "presentation", {"hex": data.hex()}, error)


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def _later(token: Presentation) -> bytes:
    sign1 = token.sign1
    value: list[Value] = [sign1.protected, {}, cbor.encode({3: "*", 6: NOW + 30}), sign1.signature]
    return cbor.encode(Tagged(value))


def _with_disclosure(token: Presentation, credential: Credential) -> bytes:
    sign1 = token.sign1
    shown = credential.disclosing([3]).sign1.value()
    protected = cbor.encode({**sign1.protected_map, cose.KCWT: shown})
    value: list[Value] = [protected, {}, sign1.payload, sign1.signature]
    return cbor.encode(Tagged(value))


def sample_challenge(
    world: SampleWorld, licence_type: str, fields: tuple[int, ...] = (), *, at: int = NOW - 20
) -> Challenge:
    """A challenge of the home region's inspector."""
    return create_challenge(
        world.inspector_signer,
        inspector=INSPECTOR,
        purpose=PURPOSE,
        licence_type=licence_type,
        fields=fields,
        at=at,
        random=world.random,
    )


def challenge_vectors() -> VectorFile:
    """All vectors of `challenge.json`."""
    file = VectorFile("challenge", "specs/presentation.md")
    world = make_world()
    signer = world.inspector_signer
    vct = world.claims("constructor").licence_type
    challenge = sample_challenge(world, vct, (4, 5))
    without_fields = sample_challenge(world, vct)

    def entered(text: str) -> dict[str, str]:
        key = signer.public_key
        return {"text": text, "algorithm": key.algorithm.text, "public_key": key.raw.hex()}

    for name, description, read in (
        ("two-fields", "asks for the fields 4 and 5", challenge),
        ("no-fields", "asks for no field", without_fields),
    ):
        result = {
            "inspector": read.inspector,
            "purpose": read.purpose,
            "licence_type": read.licence_type,
            "fields": list(read.fields),
            "issued_at": read.issued_at,
            "expires": read.expires,
            "nonce": read.nonce.hex(),
            "digest": read.digest.hex(),
        }
        file.accept(f"challenge-{name}", description, "challenge", entered(read.text()), result)
    claims: dict[Any, Any] = {
        1: INSPECTOR,
        4: NOW + 100,
        6: NOW - 20,
        10: challenge.nonce,
        11: vct,
        -65540: PURPOSE,
        -65541: [4, 5],
    }

    def made(changes: Mapping[Any, Any], **headers: Any) -> str:
        content = {key: value for key, value in {**claims, **changes}.items() if value is not None}
        header = {4: signer.public_key.kid, 16: CHALLENGE_TYP, **headers.get("protected", {})}
        signed = sign_anything(signer, header, cbor.encode(content), headers.get("unprotected"))
        return "EC1:" + base45.encode(signed)

    text = challenge.text()
    changed = made({}).removeprefix("EC1:")
    data = base45.decode(changed)
    for name, description, refused, error in (
        ("later-version", "a text of a version that is not known", "EC2:" + changed, UNSUPPORTED),
        ("another-prefix", "the text of a licence", "EL1:" + changed, FORMAT),
        ("not-base45", "a character outside the alphabet", "EC1:_" + changed, FORMAT),
        ("too-long", "6,149 characters", "EC1:" + "0" * 6145, LIMIT),
        ("trailing-byte", "a byte behind it", "EC1:" + base45.encode(data + b"\0"), FORMAT),
        ("signature-bit", "one bit of the signature is another", "EC1:" + base45.encode(_flipped(data)), SIGNATURE),
        ("typ", "another typ", made({}, protected={16: "application/cwt"}), UNSUPPORTED),
        ("kid-missing", "no kid", made({}, protected={4: None}), FORMAT),
        ("extra-header", "a label that is not known", made({}, protected={-65600: 1}), FORMAT),
        ("unprotected", "an unprotected header that is not empty", made({}, unprotected={-65600: 1}), FORMAT),
        ("inspector-form", "an inspector without a region", made({1: "11310000MB99990113"}), FORMAT),
        ("purpose-missing", "no purpose", made({-65540: None}), FORMAT),
        ("purpose-empty", "an empty purpose", made({-65540: ""}), FORMAT),
        ("purpose-too-long", "a purpose of 201 characters", made({-65540: "核" * 201}), FORMAT),
        ("nonce-short", "a nonce of 15 bytes", made({10: bytes(15)}), FORMAT),
        ("type-form", "a licence type without its schema version", made({11: vct.partition("@")[0]}), FORMAT),
        ("ends-before-it-begins", "exp before iat", made({4: NOW - 21}), FORMAT),
        ("lives-too-long", "more than 15 minutes", made({4: NOW - 20 + 901}), FORMAT),
        ("fields-empty", "an empty array of fields", made({-65541: []}), FORMAT),
        ("fields-descending", "fields out of order", made({-65541: [5, 4]}), FORMAT),
        ("field-twice", "a field that stands twice", made({-65541: [4, 4]}), FORMAT),
        ("extra-claim", "a claim that is not known", made({-65600: 1}), FORMAT),
    ):
        file.refuse(f"challenge-{name}", description, "challenge", entered(refused), error)
    file.refuse(
        "challenge-another-key",
        "signed by another key than the one enrolled",
        "challenge",
        {**entered(text), "public_key": Ed25519Signer.from_private_bytes(b"\7" * 32).public_key.raw.hex()},
        SIGNATURE,
    )
    return file
