"""The frames of the signing process: what is written comes back, and what is none is refused."""

from __future__ import annotations

import contextlib

import pytest
from chopmark import cbor
from chopmark.errors import ChopmarkError, FormatError, LimitError
from chopmark.keys import Algorithm, Ed25519Signer, MlDsa44Signer
from chopmark_issuer.keys.signing_frames import (
    HEAD_SIZE,
    MAX_FRAME,
    MAX_MESSAGES,
    GenerateRequest,
    PublicKeyRequest,
    Refusal,
    RefusalKind,
    Signatures,
    SignRequest,
    body_size,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from hypothesis import example, given
from hypothesis import strategies as st

kids = st.binary(min_size=8, max_size=8).map(bytes.hex)
requests = st.one_of(
    st.builds(SignRequest, kids, st.lists(st.binary(max_size=600), min_size=1, max_size=30).map(tuple)),
    st.builds(PublicKeyRequest, kids),
    st.builds(GenerateRequest, st.sampled_from(Algorithm), st.text(max_size=20)),
)
texts = st.text(st.characters(codec="utf-8"), max_size=60)
answers = st.one_of(
    st.integers(1, 90).flatmap(
        lambda size: st.builds(
            Signatures, st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=20).map(tuple)
        )
    ),
    st.sampled_from([Ed25519Signer(bytes(32)).public_key, MlDsa44Signer(bytes(32)).public_key]),
    st.builds(Refusal, st.sampled_from(RefusalKind), texts, texts, texts),
)
WRONG_REQUESTS = [
    b"",
    b"\x00",
    b"\xff" * 40,
    cbor.encode([]),
    cbor.encode({1: 2}),
    cbor.encode([4, bytes(8)]),
    cbor.encode([2, bytes(7)]),
    cbor.encode([2, bytes(8), 1]),
    cbor.encode([True, bytes(8), b"\0\0\0\1", b"x"]),
    cbor.encode([1, bytes(8), b"", b""]),
    cbor.encode([1, bytes(8), b"\0\0\0", b""]),
    cbor.encode([1, bytes(8), b"\0\0\0\2", b"x"]),
    cbor.encode([1, bytes(8), b"\0\0\0\0", b"x"]),
    cbor.encode([1, bytes(8), b"\xff\xff\xff\xff", b"x"]),
    cbor.encode([1, bytes(8), bytes(4 * (MAX_MESSAGES + 1)), b""]),
    cbor.encode([1, "00" * 8, b"\0\0\0\1", b"x"]),
    cbor.encode([3, -7, "credential"]),
    cbor.encode([3, -19, b"credential"]),
    cbor.encode([2, bytes(8)]) + b"\0",
]


def body(frame: bytes) -> bytes:
    assert body_size(frame[:HEAD_SIZE]) == len(frame) - HEAD_SIZE
    return frame[HEAD_SIZE:]


@given(requests)
@example(SignRequest("00" * 8, (b"",)))
@example(SignRequest("00" * 8, (b"", b"x", b"")))
def test_a_request_comes_back_as_it_was(request_: SignRequest | PublicKeyRequest | GenerateRequest) -> None:
    assert decode_request(body(encode_request(request_))) == request_


@given(answers)
def test_an_answer_comes_back_as_it_was(answer: Signatures | Refusal) -> None:
    assert decode_answer(body(encode_answer(answer))) == answer


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused_and_nothing_else(data: bytes) -> None:
    for decode in (decode_request, decode_answer):
        with contextlib.suppress(ChopmarkError):
            decode(data)


@pytest.mark.parametrize("data", WRONG_REQUESTS)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_request(data)


@pytest.mark.parametrize(
    "data",
    [cbor.encode([1, 0, b""]), cbor.encode([1, 64, b""]), cbor.encode([1, 64, bytes(65)]), cbor.encode([0, "x"])],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_answer(data)


def test_a_size_beyond_the_bound_is_refused_before_anything_is_read() -> None:
    assert body_size(MAX_FRAME.to_bytes(4, "big")) == MAX_FRAME
    with pytest.raises(LimitError):
        body_size((MAX_FRAME + 1).to_bytes(4, "big"))
    with pytest.raises(FormatError):
        body_size(bytes(4))


def test_more_than_a_frame_holds_is_not_written() -> None:
    with pytest.raises(LimitError):
        encode_request(SignRequest("00" * 8, (b"",) * (MAX_MESSAGES + 1)))
    with pytest.raises(LimitError):
        encode_request(SignRequest("00" * 8, (bytes(MAX_FRAME),)))
    with pytest.raises(LimitError):
        encode_request(SignRequest("00" * 8, ()))


@pytest.mark.parametrize("kid", ["", "00", "zz" * 8, "0" * 17, "AA" * 8, "../../etc/passwd"])
def test_a_kid_is_sixteen_hex_digits(kid: str) -> None:
    with pytest.raises(FormatError):
        encode_request(PublicKeyRequest(kid))


def test_as_many_signatures_as_a_request_asks_fit_into_an_answer() -> None:
    answer = Signatures((bytes(Algorithm.ML_DSA_44.signature_size),) * MAX_MESSAGES)
    assert len(decode_answer(body(encode_answer(answer))).signatures) == MAX_MESSAGES  # type: ignore[union-attr]


def test_a_refusal_with_a_path_that_is_no_text_is_written_all_the_same() -> None:
    refusal = decode_answer(body(encode_answer(Refusal(RefusalKind.STORAGE, "x" * 5000, "/\udcff"))))
    assert isinstance(refusal, Refusal)
    assert (len(refusal.what), refusal.where) == (400, "/?")
