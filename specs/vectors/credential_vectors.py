"""Vectors of credentials: both kinds, their claims, headers, disclosures and proofs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chopmark import cbor, cose
from chopmark.cbor import REDACTED, Key, Tagged, Value
from chopmark.claims import Claims, Usage, write_claims
from chopmark.credential import Credential, issue_credential
from chopmark.disclosure import Disclosure
from chopmark.keys import MlDsa44Signer, Signer

from specs.vectors.sample_world import FOOD_DEPARTMENT, NOW, TRANSPORT_DEPARTMENT, SampleWorld, make_world
from specs.vectors.signing_vectors import sign_anything
from specs.vectors.vector_file import FORMAT, LIMIT, SIGNATURE, UNSUPPORTED, VectorFile, plain

BEARER, BOUND = 61, 293


def sign_claims(
    signer: Signer,
    payload: Mapping[Any, Any] | bytes,
    typ: object,
    *,
    protected: Mapping[Any, Any] | None = None,
    unprotected: Mapping[Any, Any] | None = None,
) -> bytes:
    """Sign any claims under any headers, without looking at them; `protected` replaces or adds labels."""
    header = {cose.KID: signer.public_key.kid, cose.TYP: typ, **(protected or {})}
    return sign_anything(signer, header, payload if isinstance(payload, bytes) else cbor.encode(payload), unprotected)


def described(credential: Credential) -> dict[str, Any]:
    """What a reader must read from a credential."""
    claims = credential.claims
    result: dict[str, Any] = {
        "kind": credential.kind.name.lower(),
        "issuer": claims.issuer,
        "licence_type": claims.licence_type,
        "issued_at": claims.issued_at,
        "digest": credential.digest.hex(),
        "fields": plain(credential.disclosed_fields()),
        "unknown": len(credential.unknown),
    }
    number = credential.disclosed_licence_number()
    if number is not None:
        result["licence_number"] = number
    return result


class _Writer:
    """Writes credentials of one world, good and bad."""

    def __init__(self, file: VectorFile) -> None:
        self.file = file
        self.world: SampleWorld = make_world()
        self.food_signer = self.world.peer.signers[FOOD_DEPARTMENT, "credential"]
        self.transport_signer = self.world.peer.signers[TRANSPORT_DEPARTMENT, "credential"]
        self.food = self.world.claims("food")
        self.constructor = self.world.claims("constructor")

    def accept(self, name: str, description: str, data: bytes, signer: Signer | None = None) -> None:
        result = described(Credential.parse(data))
        self.file.accept(f"credential-{name}", description, "credential", self._input(data, signer), result)

    def refuse(self, name: str, description: str, data: bytes, error: str, signer: Signer | None = None) -> None:
        self.file.refuse(f"credential-{name}", description, "credential", self._input(data, signer), error)

    def bearer(self, changes: Mapping[Any, Any] | None = None, **headers: Any) -> bytes:
        """A food licence whose claims are changed; a change to None leaves the claim out."""
        payload = _changed(write_claims(self.food), changes or {})
        return sign_claims(self.food_signer, payload, BEARER, **headers)

    def bound(self, changes: Mapping[Any, Any] | None = None, **headers: Any) -> bytes:
        """A constructor registration in clear, whose claims are changed."""
        payload = _changed(write_claims(self.constructor), changes or {})
        return sign_claims(self.transport_signer, payload, BOUND, **headers)

    def issued(self, claims: Claims | None = None, **options: Any) -> Credential:
        """A constructor registration as it is issued."""
        return issue_credential(self.transport_signer, claims or self.constructor, random=self.world.random, **options)

    def _input(self, data: bytes, signer: Signer | None) -> dict[str, str]:
        if signer is None:
            return {"hex": data.hex()}
        key = signer.public_key
        return {"hex": data.hex(), "algorithm": key.algorithm.text, "public_key": key.raw.hex()}


def _changed(payload: Mapping[Key, Value], changes: Mapping[Any, Any]) -> dict[Any, Any]:
    merged: dict[Any, Any] = {**payload, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def credential_vectors() -> VectorFile:
    """All vectors of `credential.json`."""
    file = VectorFile("credential", "specs/credential.md")
    writer = _Writer(file)
    _add_good(writer)
    _add_unknown(writer)
    _add_bad_headers(writer)
    _add_bad_claims(writer)
    _add_bad_redaction(writer)
    _add_bad_disclosures(writer)
    return file


def _add_good(writer: _Writer) -> None:
    world = writer.world
    bearer = world.issue(writer.food)
    writer.accept("bearer", "a food business licence", bearer.encode(), writer.food_signer)
    bound = world.issue(writer.constructor)
    for name, description, credential in (
        ("bound-all-disclosed", "as issued: every disclosure", bound),
        ("bound-one-disclosed", "field 4 alone", bound.disclosing([4])),
        ("bound-none-disclosed", "nothing of what may be hidden", bound.disclosing([])),
    ):
        writer.accept(name, description, credential.encode(), writer.transport_signer)
    hidden = writer.issued(selective=(2,), hide_licence_number=True)
    writer.accept("bound-number-hidden", "the licence number is hidden", hidden.disclosing([2]).encode())
    writer.accept("bound-number-disclosed", "the licence number is disclosed", hidden.disclosing(["sub"]).encode())
    writer.accept("bound-nothing-redacted", "holder-bound, all in clear", writer.bound())
    logged = world.logged(bearer)[0]
    writer.accept("with-landmark-proof", "with the path to its landmark", logged.encode())
    proof = world.peer.log.tlog_proof(1, at=NOW - 10 * 86_400)
    writer.accept("with-tlog-proof", "with a tlog-proof, as files carry it", bearer.with_tlog_proof(proof).encode())
    paper = replace(
        world.claims("constructor", holder_key=None, credential_id=world.random(16)),
        usage=Usage(medium="paper"),
    )
    writer.accept("paper", "the paper form of a personal licence: bearer, medium `paper`", world.issue(paper).encode())
    copy = replace(writer.food, usage=Usage("copy", "投标 2026-118", NOW + 30 * 86_400, "electronic"))
    writer.accept("annotated-copy", "a copy for one purpose until a date", world.issue(copy).encode())
    writer.accept("no-end", "without exp, nbf and status", writer.bearer({4: None, 5: None, 65535: None}))
    writer.accept("begins-later", "a bearer licence signed before it begins", writer.bearer({5: NOW + 86_400}))
    writer.accept("field-before-1970", "a date before 1970, a negative number", writer.bearer({-65537: {7: -7397}}))


def _add_unknown(writer: _Writer) -> None:
    """What a reader does not know is read and named: the verdict over it is INDETERMINATE, never VALID."""
    for name, description, data in (
        ("unknown-claim", "a private claim that is not known", writer.bearer({-65600: "?"})),
        ("unknown-claim-text", "a claim with a text key", writer.bearer({"https://other.example/claim": 1})),
        ("unknown-protected", "a protected label that is not known", writer.bearer(protected={-65600: 1})),
        ("unknown-unprotected", "an unprotected label that is not known", writer.bearer(unprotected={-65600: 1})),
        ("unknown-crit", "crit (2): a demand to understand something", writer.bearer(protected={2: [-65600]})),
        ("unknown-role", "a role that is not known", writer.bearer({-65538: {1: "tenant"}})),
        ("unknown-medium", "a medium that is not known", writer.bearer({-65538: {4: "stone"}})),
        ("unknown-usage-member", "a limit that is not known", writer.bearer({-65538: {1: "copy", 5: "CN-BJ"}})),
        (
            "unknown-status-member",
            "a status mechanism beside the list",
            writer.bearer({65535: {"status_list": {"idx": 0, "uri": "https://cn-gd.example/status/1"}, "other": 1}}),
        ),
    ):
        writer.accept(name, description, data)


def _add_bad_headers(writer: _Writer) -> None:
    food = writer.food_signer
    good = writer.bearer()
    flipped = good[:-1] + bytes((good[-1] ^ 1,))
    writer.refuse("signature-bit", "one bit of the signature is another", flipped, SIGNATURE, food)
    changed = good.replace("示例负责人".encode(), "示例冒名人".encode())
    writer.refuse("field-changed", "a name is another than was signed", changed, SIGNATURE, food)
    writer.refuse("signed-by-another", "signed by another key than it names", good, SIGNATURE, writer.transport_signer)
    for name, description, data, error in (
        ("typ-unknown", "a typ that is not known", sign_claims(food, write_claims(writer.food), 262), UNSUPPORTED),
        ("typ-text", "the typ as a media type", sign_claims(food, write_claims(writer.food), "cwt"), UNSUPPORTED),
        ("typ-missing", "no typ", writer.bearer(protected={16: None}), UNSUPPORTED),
        ("typ-bound-without-cnf", "says holder-bound, names no holder key", _retyped(writer, BOUND), FORMAT),
        ("typ-bearer-with-cnf", "says bearer, names a holder key", writer.bearer({8: _cnf(writer)}), FORMAT),
        ("kid-missing", "no kid", writer.bearer(protected={4: None}), FORMAT),
        ("kid-short", "a kid of 7 bytes", writer.bearer(protected={4: bytes(7)}), FORMAT),
        ("kid-text", "a kid that is text", writer.bearer(protected={4: "01234567"}), FORMAT),
        ("untagged", "without tag 18", good[1:], FORMAT),
        ("trailing-byte", "a byte behind it", good + b"\0", FORMAT),
        ("too-large", "8,193 bytes", writer.bearer(unprotected={-65539: bytes(8193 - len(good) - 8)}), LIMIT),
        ("disclosures-empty", "an empty array of disclosures", writer.bound(unprotected={17: []}), FORMAT),
        ("disclosures-of-bearer", "a bearer credential with a disclosure", _bearer_with_disclosure(writer), FORMAT),
        ("tlog-proof-empty", "an empty tlog-proof", writer.bearer(unprotected={-65539: b""}), FORMAT),
        ("tlog-proof-text", "a tlog-proof that is text", writer.bearer(unprotected={-65539: "c2sp.org"}), FORMAT),
        ("landmark-proof-short", "a landmark proof of four", writer.bearer(unprotected={-65538: [1, 0, 1, 0]}), FORMAT),
    ):
        writer.refuse(name, description, data, error)


def _retyped(writer: _Writer, typ: int) -> bytes:
    return sign_claims(writer.food_signer, write_claims(writer.food), typ)


def _cnf(writer: _Writer) -> dict[int, Any]:
    return {1: writer.world.holder.public_key.to_cose()}


def _bearer_with_disclosure(writer: _Writer) -> bytes:
    return writer.bearer(unprotected={17: [Disclosure(bytes(16), "x", 2).encode()]})


def _add_bad_claims(writer: _Writer) -> None:
    holder = writer.world.holder.public_key.to_cose()
    ml_dsa = MlDsa44Signer.from_private_bytes(bytes(32)).public_key.to_cose()
    iat = writer.food.issued_at
    bearer: list[tuple[str, str, Mapping[Any, Any]]] = [
        ("iss-missing", "no issuer", {1: None}),
        ("iss-without-region", "an issuer without its region", {1: "11440000MB99990015"}),
        ("iss-lower-case", "a region in lower case", {1: "cn-gd/11440000MB99990015"}),
        ("sub-missing", "no licence number", {2: None}),
        ("sub-empty", "an empty licence number", {2: ""}),
        ("sub-control-character", "a newline in the licence number", {2: "1.2\n3"}),
        ("sub-too-long", "a licence number of 201 characters", {2: "1" * 201}),
        ("iat-missing", "no time of signing", {6: None}),
        ("iat-text", "a time as text", {6: "2026-11-22"}),
        ("iat-year-10000", "a time that cannot be written", {6: 253_402_300_800}),
        ("exp-boolean", "true for a time", {4: True}),
        ("nbf-after-exp", "begins when it ends", {5: iat, 4: iat}),
        ("cti-missing", "a bearer credential without cti: its digest could be guessed", {7: None}),
        ("cti-short", "a cti of 15 bytes", {7: bytes(15)}),
        ("vct-missing", "no licence type", {11: None}),
        ("vct-without-schema", "a licence type without its schema version", {11: "CN-GD/11100000MB99991003001"}),
        ("vct-schema-0", "schema version 0", {11: "CN-GD/11100000MB99991003001@0"}),
        ("status-empty", "a status without a list", {65535: {}}),
        (
            "status-index-negative",
            "a negative index",
            {65535: {"status_list": {"idx": -1, "uri": "https://a.example/1"}}},
        ),
        ("status-uri-missing", "a status without a uri", {65535: {"status_list": {"idx": 0}}}),
        ("fields-empty", "an empty map of fields", {-65537: {}}),
        ("field-id-text", "a field with a text key", {-65537: {"name": "x"}}),
        ("field-tagged", "a signed message as the value of a field", {-65537: {1: Tagged([b"", {}, b"", b""])}}),
        ("field-partly-redacted", "a digest inside a field", {-65537: {1: {REDACTED: [bytes(32)]}}}),
        ("usage-empty", "an empty usage", {-65538: {}}),
        ("usage-purpose-too-long", "a purpose of 201 characters", {-65538: {2: "用" * 201}}),
    ]
    for name, description, changes in bearer:
        writer.refuse(name, description, writer.bearer(changes), FORMAT)
    bound: list[tuple[str, str, Mapping[Any, Any], str]] = [
        ("cnf-missing", "a holder-bound credential without a key", {8: None}, FORMAT),
        ("cnf-two-members", "a key and a kid", {8: {1: holder, 3: b"kid"}}, FORMAT),
        ("cnf-kid-only", "a kid instead of a key", {8: {3: b"kid"}}, FORMAT),
        ("cnf-private", "a private key", {8: {1: {**holder, -4: bytes(32)}}}, FORMAT),
        ("cnf-ml-dsa", "a holder key of ML-DSA-44", {8: {1: ml_dsa}}, UNSUPPORTED),
        ("bound-nbf-after-iat", "holder-bound: begins after it was signed", {5: iat + 1}, FORMAT),
        ("bound-exp-at-iat", "holder-bound: signed when it had ended", {4: iat, 5: iat - 1}, FORMAT),
    ]
    for name, description, changes, error in bound:
        writer.refuse(name, description, writer.bound(changes), error)
    data = sign_claims(writer.food_signer, b"\xa2\x01\x60\x01\x60", BEARER)
    writer.refuse("claim-twice", "a claim that stands twice", data, FORMAT)
    writer.refuse("claims-array", "claims that are no map", sign_claims(writer.food_signer, b"\x80", BEARER), FORMAT)


def _add_bad_redaction(writer: _Writer) -> None:
    fields = dict(writer.constructor.fields.items())
    bound: list[tuple[str, str, Mapping[Any, Any]]] = [
        ("digests-empty", "an empty array of digests", {-65537: {**fields, REDACTED: []}}),
        ("digest-short", "a digest of 31 bytes", {-65537: {**fields, REDACTED: [bytes(31)]}}),
        ("digest-twice", "a digest that stands twice", {-65537: {**fields, REDACTED: [bytes(32), bytes(32)]}}),
        (
            "digest-in-two-places",
            "one digest for a claim and a field",
            {2: None, REDACTED: [bytes(32)], -65537: {REDACTED: [bytes(32)]}},
        ),
        (
            "two-claims-redacted",
            "two redacted claims, where only sub may be",
            {2: None, REDACTED: [bytes(32), b"\1" * 32]},
        ),
        ("sub-redacted-and-clear", "sub in clear and redacted", {REDACTED: [bytes(32)]}),
    ]
    for name, description, changes in bound:
        writer.refuse(name, description, writer.bound(changes), FORMAT)
    bearer: list[tuple[str, str, Mapping[Any, Any]]] = [
        ("bearer-field-redacted", "a bearer credential with a redacted field", {-65537: {REDACTED: [bytes(32)]}}),
        ("bearer-number-redacted", "a bearer credential with a redacted number", {2: None, REDACTED: [bytes(32)]}),
    ]
    for name, description, changes in bearer:
        writer.refuse(name, description, writer.bearer(changes), FORMAT)


def _add_bad_disclosures(writer: _Writer) -> None:
    """Well-formed credentials whose disclosures are not what was signed: refused when they are opened."""
    bound = writer.world.issue(writer.constructor)
    contents = [disclosure.encode() for disclosure in bound.disclosures]
    second = bound.disclosures[1]
    payload, signature = bound.sign1.payload, bound.sign1.signature

    def shown(disclosures: list[bytes]) -> bytes:
        return cbor.encode(Tagged([bound.sign1.protected, {17: [*disclosures]}, payload, signature]))

    clear = {key: value for key, value in writer.constructor.fields.items() if key != 5}
    twice = Disclosure(bytes(16), "二级", 5)
    in_clear = writer.bound(
        {-65537: {**clear, 5: "一级", REDACTED: [twice.digest()]}}, unprotected={17: [twice.encode()]}
    )
    claim = Disclosure(bytes(16), "CN-GD/other@1", 11)
    other_claim = writer.bound({2: None, REDACTED: [claim.digest()]}, unprotected={17: [claim.encode()]})
    for name, description, data in (
        ("disclosure-value", "another value than was signed", shown([replace_value(second, "1949-10-01").encode()])),
        ("disclosure-key", "the value under another field", shown([Disclosure(second.salt, second.value, 6).encode()])),
        ("disclosure-salt", "another salt", shown([Disclosure(bytes(16), second.value, second.key).encode()])),
        ("disclosure-twice", "a disclosure that stands twice", shown([contents[0], contents[0]])),
        ("disclosure-of-clear-field", "a disclosure of a field that stands in clear too", in_clear),
        ("disclosure-of-another-claim", "a redacted claim other than sub", other_claim),
        ("disclosure-not-bytes", "a disclosure that is no byte string", _unwrapped(bound)),
        ("disclosure-two-elements", "the draft's form for array elements", shown([cbor.encode([bytes(16), "x"])])),
        ("disclosure-decoy", "the draft's decoy, a salt alone", shown([cbor.encode([bytes(16)])])),
        ("disclosure-salt-short", "a salt of 15 bytes", shown([cbor.encode([bytes(15), "x", 2])])),
        ("disclosure-key-text", "a text key", shown([cbor.encode([bytes(16), "x", "2"])])),
        (
            "disclosure-not-shortest",
            "CBOR outside the profile in a disclosure",
            shown([b"\x83\x50" + bytes(16) + b"\x61\x78\x18\x02"]),
        ),
        (
            "disclosure-nested",
            "a redacted part inside a disclosure",
            shown([cbor.encode([bytes(16), {REDACTED: [bytes(32)]}, 2])]),
        ),
    ):
        writer.refuse(name, description, data, FORMAT)


def replace_value(disclosure: Disclosure, value: Value) -> Disclosure:
    """The disclosure with another value."""
    return Disclosure(disclosure.salt, value, disclosure.key)


def _unwrapped(credential: Credential) -> bytes:
    disclosure = credential.disclosures[0]
    entry: list[Value] = [disclosure.salt, disclosure.value, disclosure.key]
    sign1 = credential.sign1
    return cbor.encode(Tagged([sign1.protected, {17: [entry]}, sign1.payload, sign1.signature]))
