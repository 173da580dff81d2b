"""Vectors of trust bundles: what must hold within one, and from one to the next."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from chopmark.bundle_entries import Peer
from chopmark.cosignature import Cosigner
from chopmark.keys import Ed25519Signer
from chopmark.note import Note, NoteSigner, sign_note
from chopmark.strict import time_encode
from chopmark.trust_bundle import TrustBundle

from specs.vectors.ml_dsa_44 import DeterministicMlDsa44Signer
from specs.vectors.sample_world import CREATED, DAY, FOOD_DEPARTMENT, NOW, SampleRegion, SampleWorld, make_world
from specs.vectors.vector_file import FORMAT, ROLLBACK, SIGNATURE, TRUST, UNSUPPORTED, VectorFile

ML_DSA_44 = DeterministicMlDsa44Signer(b"\x0e" * 32)
Json = dict[str, Any]
Change = Callable[[Json], object]


class _Bundles:
    """The bundle of one small region as JSON, to be changed, signed and put into vectors."""

    def __init__(self) -> None:
        world = make_world()
        self.region: SampleRegion = world.peer
        self.other = Ed25519Signer.from_private_bytes(b"\x11" * 32)
        _shrink(world)
        self.note = self.region.bundle(at=NOW).decode()
        self.contents: Json = json.loads(Note.parse(self.note).text)

    def signed(self, change: Change, signers: Sequence[NoteSigner] | None = None) -> str:
        """The bundle after a change, signed by two roots."""
        contents = copy.deepcopy(self.contents)
        change(contents)
        text = json.dumps(contents, ensure_ascii=False, separators=(",", ":")) + "\n"
        return sign_note(text, self.region.root_signers[:2] if signers is None else signers).encode().decode()

    def resigned(self, old: str, new: str) -> str:
        """The bundle with another text, signed by two roots."""
        text = Note.parse(self.note).text
        if old not in text:
            raise SystemExit(f"{old!r} is not in the bundle")
        return sign_note(text.replace(old, new, 1), self.region.root_signers[:2]).encode().decode()


def _shrink(world: SampleWorld) -> None:
    """Leave one department, one type of three fields, and one peer."""
    region, home = world.peer, world.home
    region.issuers, region.grants, region.status_sources = (
        region.issuers[:1],
        region.grants[:1],
        region.status_sources[:1],
    )
    region.keys = [key for key in region.keys if key.issuer == FOOD_DEPARTMENT]
    food = region.types[0]
    region.types = [replace(food, fields=tuple(entry for entry in food.fields if entry.id in (1, 7, 8)))]
    region.peers = [
        Peer(
            "CN-SH",
            1,
            tuple(root.vkey for root in home.root_signers),
            2,
            (home.log.origin,),
            home.log.policy_text,
            f"https://{home.host}/bundle.note",
            CREATED,
            None,
        )
    ]


def _set(*path: str | int, value: Any) -> Change:
    def change(contents: Json) -> None:
        place: Any = contents
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


def _drop(*path: str | int) -> Change:
    def change(contents: Json) -> None:
        place: Any = contents
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


def _twice(array: str) -> Change:
    return lambda contents: contents[array].append(copy.deepcopy(contents[array][0]))


def bundle_vectors() -> VectorFile:
    """All vectors of `trust-bundle.json`."""
    bundles = _Bundles()
    file = VectorFile("trust-bundle", "specs/trust-bundle.md")
    file.shared = {"root_epoch": bundles.region.root_epoch.decode()}
    parsed = TrustBundle.parse(bundles.note.encode(), roots=bundles.region.roots)
    result = {"region": "CN-GD", "seq": 1, "issued": NOW, "epoch": 1, "digest": parsed.digest.hex()}
    file.accept("bundle", "one department, one type, one peer", "trust_bundle", {"text": bundles.note}, result)
    compact = bundles.signed(lambda _: None)
    parsed = TrustBundle.parse(compact.encode(), roots=bundles.region.roots)
    result = {**result, "digest": parsed.digest.hex()}
    file.accept(
        "bundle-other-spacing", "spaces are free; the digest is of the text", "trust_bundle", {"text": compact}, result
    )
    _add_envelopes(file, bundles)
    _add_members(file, bundles)
    _add_names(file, bundles)
    _add_policies(file, bundles)
    _add_ml_dsa_44(file, bundles)
    _add_successors(file, bundles)
    return file


def _add_ml_dsa_44(file: VectorFile, bundles: _Bundles) -> None:
    origin, log = bundles.region.log.origin, bundles.region.log.signer.vkey
    own = Cosigner(origin, ML_DSA_44).vkey
    witness = Cosigner(bundles.region.log.witnesses[0].name, DeterministicMlDsa44Signer(b"\x0f" * 32)).vkey

    def with_keys(*vkeys: str) -> Change:
        """The log with these keys, and its policy with a log line for each; its first operator has a second key."""

        def change(contents: Json) -> None:
            entry = contents["logs"][0]
            policy = entry["policy"].replace(f"log {log}\n", "".join(f"log {vkey}\n" for vkey in vkeys))
            policy = policy.replace("group operator1 any w1", f"witness w1-pq {witness}\ngroup operator1 any w1 w1-pq")
            entry.update(vkeys=list(vkeys), policy=policy)

        return change

    note = bundles.signed(with_keys(log, own))
    parsed = TrustBundle.parse(note.encode(), roots=bundles.region.roots)
    result = {"region": "CN-GD", "seq": 1, "issued": NOW, "epoch": 1, "digest": parsed.digest.hex()}
    file.accept(
        "bundle-two-algorithms",
        "a log and a witness with a key of each algorithm",
        "trust_bundle",
        {"text": note},
        result,
    )
    document = NoteSigner(origin, ML_DSA_44).vkey
    for name, description, change in (
        ("log-ml-dsa-44-alone", "a log without an Ed25519 key", with_keys(own)),
        ("log-document-key", "a key of type ff for a log", with_keys(log, document)),
    ):
        _refuse(file, name, description, bundles.signed(change), FORMAT)


def _refuse(file: VectorFile, name: str, description: str, note: str, error: str) -> None:
    file.refuse(f"bundle-{name}", description, "trust_bundle", {"text": note}, error)


def _add_envelopes(file: VectorFile, bundles: _Bundles) -> None:
    roots = bundles.region.root_signers
    outsider = NoteSigner("cn-gd.example/root/z", bundles.other)
    for name, description, note, error in (
        ("one-signature", "one root signed where two must", bundles.signed(lambda _: None, roots[:1]), SIGNATURE),
        ("one-root-twice", "one root signed twice", _doubled(bundles.signed(lambda _: None, roots[:1])), SIGNATURE),
        ("outsider", "one root and a stranger signed", bundles.signed(lambda _: None, [roots[0], outsider]), SIGNATURE),
        (
            "changed",
            "a text other than was signed",
            bundles.note.replace("示例市场监管局", "示例市场监督局"),
            SIGNATURE,
        ),
        ("another-region", "the bundle of another region", bundles.signed(_set("region", value="CN-GX")), TRUST),
        ("another-epoch", "of a root epoch that is not this one", bundles.signed(_set("epoch", value=2)), TRUST),
    ):
        _refuse(file, name, description, note, error)


def _doubled(note: str) -> str:
    line = note.rstrip("\n").rpartition("\n")[2]
    return note + line + "\n"


def _add_members(file: VectorFile, bundles: _Bundles) -> None:
    signed = bundles.signed
    early, late = time_encode(NOW - 1), time_encode(NOW + 20 * DAY)
    for name, description, note, error in (
        (
            "format-v2",
            "a version that is not known",
            signed(_set("format", value="chopmark/trust-bundle/v2")),
            UNSUPPORTED,
        ),
        ("extra-member", "a member that is not known", signed(_set("notice", value="x")), UNSUPPORTED),
        (
            "extra-member-within",
            "a member of a key that is not known",
            signed(_set("keys", 0, "region", value="CN-GD")),
            UNSUPPORTED,
        ),
        (
            "agreement",
            "an agreement, which version 1 does not have",
            signed(_set("agreements", value=[{}])),
            UNSUPPORTED,
        ),
        ("member-missing", "no logs", signed(_drop("logs")), FORMAT),
        ("null", "null for an absent member", signed(_set("logs", 0, "to", value=None)), FORMAT),
        ("name-twice", "a JSON name that stands twice", bundles.resigned('"seq": 1', '"seq": 1,\n "seq": 1'), FORMAT),
        ("seq-0", "seq 0", signed(_set("seq", value=0)), FORMAT),
        ("seq-text", "seq as text", signed(_set("seq", value="1")), FORMAT),
        ("seq-above-2-53", "a number that JSON readers round", signed(_set("seq", value=2**53)), FORMAT),
        (
            "refresh-before-issued",
            "to be refreshed before it was issued",
            signed(_set("refresh_after", value=early)),
            FORMAT,
        ),
        (
            "refresh-after-expires",
            "expires before it is to be refreshed",
            signed(_set("refresh_after", value=late)),
            FORMAT,
        ),
        (
            "issuer-state",
            "a state that is not known",
            signed(_set("issuers", 0, "status", 0, "state", value="paused")),
            UNSUPPORTED,
        ),
        ("issuer-without-state", "an issuer without a state", signed(_set("issuers", 0, "status", value=[])), FORMAT),
        ("key-use", "a use that is not known", signed(_set("keys", 0, "use", value="any")), UNSUPPORTED),
        ("key-alg", "an algorithm that is not known", signed(_set("keys", 0, "alg", value="RS256")), UNSUPPORTED),
        ("key-kid", "a kid that is not the key's own", signed(_set("keys", 0, "kid", value="00" * 8)), FORMAT),
        (
            "key-window",
            "a window that ends before it begins",
            signed(_set("keys", 0, "not_after", value="2020-01-01T00:00:00Z")),
            FORMAT,
        ),
        ("log-suite", "a suite that is not known", signed(_set("logs", 0, "suite", value=2)), UNSUPPORTED),
        (
            "log-frozen-open",
            "a final size without an end",
            signed(_set("logs", 0, "final", value={"size": 1, "root": "A" * 43 + "="})),
            FORMAT,
        ),
        ("field-59", "a field with the id 59", signed(_set("types", 0, "fields", 0, "id", value=59)), FORMAT),
        ("field-twice", "two fields of one id", signed(_set("types", 0, "fields", 0, "id", value=7)), FORMAT),
        (
            "bearer-selective",
            "a bearer type with a field to hide",
            signed(_set("types", 0, "fields", 0, "disclosure", value="selective")),
            FORMAT,
        ),
        (
            "bearer-challenge",
            "a bearer type that demands a challenge",
            signed(_set("types", 0, "challenge", value=True)),
            FORMAT,
        ),
        ("restriction-selective", "a restriction that may be hidden", signed(_bound_with_hidden_restriction), FORMAT),
        (
            "restriction-optional",
            "a restriction that may be missing",
            signed(_set("types", 0, "fields", 2, "required", value=False)),
            FORMAT,
        ),
        (
            "freshness",
            "a freshness class that is not known",
            signed(_set("types", 0, "freshness", value="never")),
            UNSUPPORTED,
        ),
    ):
        _refuse(file, name, description, note, error)


def _bound_with_hidden_restriction(contents: Json) -> None:
    contents["types"][0]["holder"] = "bound"
    contents["types"][0]["fields"][2]["disclosure"] = "selective"


def _add_names(file: VectorFile, bundles: _Bundles) -> None:
    """Names of another region, names that stand twice, names that lead nowhere."""
    signed = bundles.signed
    elsewhere = "CN-SH/11310000MB99990113"
    key = NoteSigner("cn-sh.example/log/2026", bundles.other).vkey
    for name, description, note in (
        ("issuer-of-another-region", "an issuer of another region", signed(_set("issuers", 0, "id", value=elsewhere))),
        (
            "key-of-another-region",
            "a key of an issuer of another region",
            signed(_set("keys", 0, "issuer", value=elsewhere)),
        ),
        (
            "type-of-another-region",
            "a type of another region",
            signed(_set("types", 0, "id", value="CN-SH/11100000MB99991003001")),
        ),
        (
            "grant-of-another-region",
            "a grant to an issuer of another region",
            signed(_set("grants", 0, "issuer", value=elsewhere)),
        ),
        (
            "status-of-another-region",
            "a status list under another host",
            signed(_set("status_lists", 0, "uri", value="https://cn-sh.example/status/1")),
        ),
        (
            "log-of-another-region",
            "a log under another host",
            signed(lambda contents: contents["logs"][0].update(origin="cn-sh.example/log/2026", vkeys=[key])),
        ),
        ("peer-itself", "the region as its own peer", signed(_set("peers", 0, "region", value="CN-GD"))),
        (
            "peer-origin",
            "a log of a peer under another host",
            signed(_set("peers", 0, "origins", value=["us-il.example/log/2026"])),
        ),
        ("peer-without-log", "a peer without a log", signed(_set("peers", 0, "origins", value=[]))),
        ("issuer-twice", "an issuer that stands twice", signed(_twice("issuers"))),
        ("key-twice", "a key that stands twice", signed(_twice("keys"))),
        ("type-twice", "a type that stands twice", signed(_twice("types"))),
        ("grant-twice", "a grant that stands twice", signed(_twice("grants"))),
        ("log-twice", "a log that stands twice", signed(_twice("logs"))),
        ("peer-twice", "a peer that stands twice", signed(_twice("peers"))),
        ("status-twice", "a status list that stands twice", signed(_twice("status_lists"))),
        ("key-of-two-uses", "one public key as credential and as status key", signed(_key_of_two_uses)),
        ("grant-without-type", "a grant of a type that is not there", signed(_set("types", value=[]))),
        (
            "grant-without-issuer",
            "a grant to an issuer that is not there",
            signed(_set("grants", 0, "issuer", value="CN-GD/1")),
        ),
        (
            "status-signer",
            "a list signed by a credential key",
            signed(lambda contents: contents["status_lists"][0]["signers"][0].update(kid=contents["keys"][0]["kid"])),
        ),
        ("successor", "a successor that is not there", signed(_set("issuers", 0, "successor", value="CN-GD/1"))),
        (
            "trusted-log",
            "a trusted size of a log that is not there",
            signed(_set("keys", 0, "revoked", value=_revoked("cn-gd.example/log/2025"))),
        ),
    ):
        _refuse(file, name, description, note, FORMAT)


def _key_of_two_uses(contents: Json) -> None:
    contents["keys"].append({**contents["keys"][0], "use": "status"})


def _revoked(origin: str, size: int = 10, at: int = NOW - DAY, reason: str = "compromised") -> Json:
    return {"at": time_encode(at), "reason": reason, "trusted": [{"origin": origin, "size": size}]}


def _add_policies(file: VectorFile, bundles: _Bundles) -> None:
    log = bundles.region.log.signer.vkey
    witness = bundles.region.log.witnesses[0].vkey
    own = Cosigner("cn-gd.example/witness", bundles.other).vkey
    below_own = Cosigner("w.cn-gd.example/witness", bundles.other).vkey
    third = Cosigner("us-il.example/witness", bundles.other).vkey
    second_key = Cosigner("cn-sh.example/witness-2", bundles.other).vkey
    alone = f"witness a {witness}\ngroup A any a\n"
    for name, description, policy in (
        ("none", "no witness is asked for", f"log {log}\nquorum none\n"),
        (
            "own-witness",
            "the log's own region counts",
            f"log {log}\n{alone}witness b {own}\ngroup B any b\ngroup g any A B\nquorum g\n",
        ),
        (
            "own-subdomain",
            "a witness under the log's own host counts",
            f"log {log}\n{alone}witness b {below_own}\ngroup B any b\ngroup g any A B\nquorum g\n",
        ),
        ("ungrouped", "a witness that is in no operator's group", f"log {log}\nwitness a {witness}\nquorum a\n"),
        (
            "mixed",
            "one group of two operators",
            f"log {log}\nwitness a {witness}\nwitness b {third}\ngroup g 2 a b\nquorum g\n",
        ),
        (
            "operator-twice",
            "two groups of one operator: keys are counted, not operators",
            f"log {log}\n{alone}witness b {second_key}\ngroup B any b\ngroup g 2 A B\nquorum g\n",
        ),
        (
            "another-log",
            "the key of another log",
            f"log {NoteSigner('cn-gd.example/log/2026', bundles.other).vkey}\n{alone}quorum A\n",
        ),
        ("no-log", "no log at all", f"{alone}quorum A\n"),
        ("malformed", "not a policy", "quorum\n"),
    ):
        _refuse(file, f"policy-{name}", description, bundles.signed(_set("logs", 0, "policy", value=policy)), FORMAT)
    peers_own = Cosigner("cn-sh.example/witness", bundles.other).vkey
    for name, description, floor in (
        ("none", "a floor that asks for no witness", "quorum none\n"),
        (
            "own-witness",
            "a floor that counts the peer's own witness",
            f"witness a {peers_own}\ngroup A any a\nquorum A\n",
        ),
        (
            "another-log",
            "a floor for a log that is not the peer's",
            f"log {log}\nwitness a {third}\ngroup A any a\nquorum A\n",
        ),
    ):
        note = bundles.signed(_set("peers", 0, "policy_floor", value=floor))
        _refuse(file, f"floor-{name}", description, note, FORMAT)


def _next(*changes: Change) -> Change:
    def change(contents: Json) -> None:
        contents["seq"] += 1
        contents["issued"] = time_encode(NOW + DAY)
        contents["refresh_after"] = time_encode(NOW + 2 * DAY)
        for each in changes:
            each(contents)

    return change


def _add_successors(file: VectorFile, bundles: _Bundles) -> None:
    origin = bundles.region.log.origin
    new_grant = {
        "issuer": FOOD_DEPARTMENT,
        "licence_type": bundles.contents["types"][0]["id"],
        "from": time_encode(NOW),
    }
    suspended = {"state": "suspended", "from": time_encode(NOW - DAY)}
    ended = _set("grants", 0, "to", value=time_encode(NOW + 1))
    compromised = _set("keys", 0, "revoked", value=_revoked(origin))

    def pair(old: Change, new: Change) -> dict[str, str]:
        return {"old": bundles.signed(old), "new": bundles.signed(new)}

    def nothing(_: Json) -> None:
        return None

    for name, description, given in (
        ("nothing-new", "nothing but a later time", pair(nothing, _next())),
        ("grant-added", "one more grant", pair(nothing, _next(lambda contents: contents["grants"].append(new_grant)))),
        ("grant-ended", "a grant is closed", pair(nothing, _next(ended))),
        (
            "issuer-suspended",
            "an issuer is suspended, as was learned late",
            pair(nothing, _next(lambda contents: contents["issuers"][0]["status"].append(suspended))),
        ),
        ("key-revoked", "a key is revoked", pair(nothing, _next(compromised))),
        (
            "revocation-stricter",
            "less of a revoked key is trusted",
            pair(compromised, _next(_set("keys", 0, "revoked", value=_revoked(origin, 9)))),
        ),
    ):
        file.accept(f"successor-{name}", description, "bundle_successor", given)
    week = 7 * DAY
    for name, description, given, error in (
        ("same-seq", "the same seq, another content", pair(nothing, ended), ROLLBACK),
        ("lower-seq", "a lower seq", pair(_set("seq", value=5), _next()), ROLLBACK),
        (
            "issued-earlier",
            "a higher seq, issued earlier",
            pair(nothing, _next(_set("issued", value=time_encode(NOW - 1)))),
            ROLLBACK,
        ),
        ("grant-gone", "a grant is gone", pair(nothing, _next(_set("grants", value=[]))), TRUST),
        (
            "type-gone",
            "a type is gone, and its grant",
            pair(nothing, _next(_set("grants", value=[]), _set("types", value=[]))),
            TRUST,
        ),
        (
            "type-changed",
            "a type is another than it was",
            pair(nothing, _next(_set("types", 0, "freshness", value="safety"))),
            TRUST,
        ),
        (
            "key-longer-ago",
            "a key's window begins earlier",
            pair(nothing, _next(_set("keys", 0, "not_before", value=time_encode(CREATED - week)))),
            TRUST,
        ),
        ("revocation-withdrawn", "a revocation is withdrawn", pair(compromised, _next()), TRUST),
        (
            "revocation-milder",
            "more of a revoked key is trusted",
            pair(compromised, _next(_set("keys", 0, "revoked", value=_revoked(origin, 11)))),
            TRUST,
        ),
        (
            "revocation-later",
            "a revocation begins later",
            pair(compromised, _next(_set("keys", 0, "revoked", value=_revoked(origin, at=NOW)))),
            TRUST,
        ),
        (
            "revocation-reason",
            "compromised becomes superseded",
            pair(compromised, _next(_set("keys", 0, "revoked", value=_revoked(origin, reason="superseded")))),
            TRUST,
        ),
        (
            "grant-reopened",
            "a grant that had ended goes on",
            pair(_set("grants", 0, "to", value=time_encode(NOW - DAY)), _next()),
            TRUST,
        ),
        (
            "grant-backdated",
            "a grant ends in the past of the bundle before",
            pair(nothing, _next(_set("grants", 0, "to", value=time_encode(NOW - 1)))),
            TRUST,
        ),
        (
            "issuer-rewritten",
            "what an issuer was is rewritten",
            pair(nothing, _next(_set("issuers", 0, "status", value=[suspended]))),
            TRUST,
        ),
        ("log-origin", "a log gets another origin", pair(nothing, _next(_other_origin)), TRUST),
        ("peer-origin-gone", "a peer's log is gone", pair(_two_origins, _next()), TRUST),
        (
            "status-issuer",
            "a status signer is gone",
            pair(nothing, _next(_set("status_lists", 0, "signers", value=[]))),
            TRUST,
        ),
    ):
        file.refuse(f"successor-{name}", description, "bundle_successor", given, error)


def _other_origin(contents: Json) -> None:
    entry = contents["logs"][0]
    key = NoteSigner("cn-gd.example/log/2027", Ed25519Signer.from_private_bytes(b"\x12" * 32)).vkey
    entry["policy"] = entry["policy"].replace(entry["vkeys"][0], key)
    entry.update(origin="cn-gd.example/log/2027", vkeys=[key])


def _two_origins(contents: Json) -> None:
    contents["peers"][0]["origins"].append("cn-sh.example/log/2027")
