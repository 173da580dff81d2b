"""Vectors of status lists and of their tokens, and the writer of tokens for all other vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chopmark import cbor
from chopmark.keys import Signer
from chopmark.status import MEDIA_TYPE, StatusListToken

from specs.vectors import deflate
from specs.vectors.sample_world import DAY, FOOD_DEPARTMENT, NOW, make_world
from specs.vectors.signing_vectors import sign_anything
from specs.vectors.vector_file import FORMAT, LIMIT, SIGNATURE, UNSUPPORTED, VectorFile

ENTRIES = 64
URI = "https://cn-gd.example/status/1"
STATUSES = {1: 1, 2: 2, 3: 3, 63: 1}


def packed(statuses: Mapping[int, int], *, bits: int = 2, entries: int = ENTRIES) -> bytes:
    """The bytes of a list, the first entry in the lowest bits of the first byte."""
    data = bytearray((entries * bits + 7) // 8)
    for index, value in statuses.items():
        data[index * bits // 8] |= value << index * bits % 8
    return bytes(data)


def status_token(
    signer: Signer,
    *,
    uri: str,
    at: int,
    expires: int,
    statuses: Mapping[int, int],
    entries: int = ENTRIES,
    claims: Mapping[Any, Any] | None = None,
    protected: Mapping[Any, Any] | None = None,
    unprotected: Mapping[Any, Any] | None = None,
) -> bytes:
    """A signed status list, of two bits an entry, not looked at; a claim or label changed to None is left out."""
    lst = deflate.compress(packed(statuses, entries=entries))
    payload: dict[Any, Any] = {2: uri, 4: expires, 6: at, 65534: DAY, 65533: {"bits": 2, "lst": lst}, **(claims or {})}
    payload = {claim: value for claim, value in payload.items() if value is not None}
    header = {4: signer.public_key.kid, 16: MEDIA_TYPE, **(protected or {})}
    return sign_anything(signer, header, cbor.encode(payload), unprotected)


def status_vectors() -> VectorFile:
    """All vectors of `status-list.json`."""
    file = VectorFile("status-list", "specs/status-list.md")
    _add_lists(file)
    _add_tokens(file)
    return file


def _add_lists(file: VectorFile) -> None:
    def given(bits: Any, lst: Any, **more: Any) -> dict[str, str]:
        return {"hex": cbor.encode({"bits": bits, "lst": lst, **more}).hex()}

    for bits, statuses in (
        (1, {0: 1, 9: 1}),
        (2, {0: 1, 1: 2, 2: 3, 3: 0, 4: 1}),
        (4, {0: 15, 1: 9}),
        (8, {0: 255, 1: 128}),
    ):
        data = packed(statuses, bits=bits, entries=16)
        result = {"bits": bits, "size": 16, "statuses": [[index, value] for index, value in statuses.items()]}
        lst = deflate.compress(data)
        file.accept(f"status-{bits}-bits", f"16 entries of {bits} bits", "status_list", given(bits, lst), result)
    lst = deflate.compress(packed({5: 3}, entries=16))
    draft = b"\xa2\x64bits\x02\x63lst" + cbor.encode(lst)
    file.accept(
        "status-draft-order",
        "`bits` before `lst`, as in the samples of the draft",
        "status_list",
        {"hex": draft.hex()},
        {"bits": 2, "size": 16, "statuses": [[5, 3]]},
    )
    bomb = deflate.compress(bytes(262_145))
    for name, description, value, error in (
        ("3-bits", "entries of 3 bits", given(3, lst), FORMAT),
        ("bits-missing", "no `bits`", {"hex": cbor.encode({"lst": lst}).hex()}, FORMAT),
        ("lst-text", "`lst` as text", given(2, "eNrb"), FORMAT),
        (
            "unknown-member",
            "a member that is not known",
            given(2, lst, aggregation_uri="https://a.example"),
            UNSUPPORTED,
        ),
        ("not-zlib", "`lst` is no zlib stream", given(2, b"no zlib stream"), FORMAT),
        ("truncated", "`lst` without its last byte", given(2, lst[:-1]), FORMAT),
        ("trailing-byte", "a byte behind the stream", given(2, lst + b"\0"), FORMAT),
        ("bomb", "inflates to 262,145 bytes, one above the bound", given(2, bomb), LIMIT),
    ):
        file.refuse(f"status-{name}", description, "status_list", value, error)


def _add_tokens(file: VectorFile) -> None:
    world = make_world()
    signer = world.peer.signers[FOOD_DEPARTMENT, "status"]
    credential_signer = world.peer.signers[FOOD_DEPARTMENT, "credential"]

    def given(data: bytes) -> dict[str, str]:
        return {"hex": data.hex(), "algorithm": "Ed25519", "public_key": signer.public_key.raw.hex()}

    def token(by: Signer = signer, **changes: Any) -> bytes:
        made: dict[str, Any] = {"uri": URI, "at": NOW, "expires": NOW + 30 * DAY, "statuses": STATUSES, **changes}
        return status_token(by, **made)

    good = token()
    read = StatusListToken.parse(good)
    result = {
        "uri": URI,
        "issued_at": NOW,
        "expires": NOW + 30 * DAY,
        "ttl": DAY,
        "size": ENTRIES,
        "statuses": [[0, 0], *([index, value] for index, value in STATUSES.items())],
        "hash": read.hash.hex(),
    }
    file.accept("status-token", "a list of a department", "status_token", given(good), result)
    lst = deflate.compress(packed({}))
    for name, description, data, error in (
        ("signature-bit", "one bit of the signature is another", good[:-1] + bytes((good[-1] ^ 1,)), SIGNATURE),
        ("another-key", "signed by the credential key of the department", token(credential_signer), SIGNATURE),
        ("kid-of-another", "names another key than the one that signed", token(protected={4: bytes(8)}), SIGNATURE),
        (
            "kid-forged",
            "names the status key, signed by another",
            token(credential_signer, protected={4: signer.public_key.kid}),
            SIGNATURE,
        ),
        ("kid-missing", "no kid", token(protected={4: None}), FORMAT),
        ("typ", "the media type of another token", token(protected={16: "application/cwt"}), UNSUPPORTED),
        ("typ-jwt", "the JWT form's type", token(protected={16: "statuslist+jwt"}), UNSUPPORTED),
        ("extra-header", "a label that is not known", token(protected={-65600: 1}), UNSUPPORTED),
        ("unprotected", "an unprotected header that is not empty", token(unprotected={-65600: 1}), UNSUPPORTED),
        ("sub-missing", "no uri", token(claims={2: None}), FORMAT),
        ("sub-http", "a uri without transport security", token(uri="http://cn-gd.example/status/1"), FORMAT),
        ("sub-query", "a uri with a query", token(uri=URI + "?page=1"), FORMAT),
        ("iat-missing", "no time of signing", token(claims={6: None}), FORMAT),
        ("exp-missing", "no end", token(claims={4: None}), FORMAT),
        ("ttl-missing", "no ttl", token(claims={65534: None}), FORMAT),
        ("ttl-0", "a ttl of 0", token(claims={65534: 0}), FORMAT),
        ("expires-when-issued", "ends when it was signed", token(expires=NOW), FORMAT),
        ("extra-claim", "a claim that is not known", token(claims={-65600: 1}), UNSUPPORTED),
        ("1-bit", "entries of one bit", token(claims={65533: {"bits": 1, "lst": lst}}), UNSUPPORTED),
        ("list-missing", "no list", token(claims={65533: None}), FORMAT),
        ("trailing-byte", "a byte behind it", good + b"\0", FORMAT),
    ):
        file.refuse(f"status-token-{name}", description, "status_token", given(data), error)
