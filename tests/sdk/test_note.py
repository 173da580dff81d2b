from __future__ import annotations

import base64
import contextlib
from hashlib import sha256

import pytest
from chopmark.errors import FormatError, KeyMaterialError, LimitError, SignatureError, UnsupportedError
from chopmark.keys import Ed25519Signer, Es256Signer, MlDsa44Signer
from chopmark.limits import LIMITS
from chopmark.note import Note, NoteSignature, NoteSigner, NoteVerifier, sign_note
from hypothesis import given, settings
from hypothesis import strategies as st

VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SIGNED = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""


def signer(seed: int, name: str = "cn-gd.example/root") -> NoteSigner:
    return NoteSigner(name, Ed25519Signer(bytes([seed]) * 32))


PQ = NoteSigner("cn-gd.example/root", MlDsa44Signer(b"q" * 32))

texts = st.text(
    st.characters(exclude_categories=["Cs"]).filter(lambda character: character >= " " or character == "\n"),
    max_size=60,
).map(lambda text: text + "\n")


def test_the_example_of_the_specification_verifies() -> None:
    note = Note.parse(SIGNED)
    verifier = NoteVerifier.from_vkey(VKEY)
    assert note.text == "This is an example message.\n"
    assert note.verify([verifier]) == (verifier,)
    assert note.encode() == SIGNED.encode()


def test_a_vkey_survives_reading_and_writing() -> None:
    verifier = NoteVerifier.from_vkey(VKEY)
    assert (verifier.name, verifier.key_id.hex(), verifier.type) == ("example.com/foo", "530d903a", 1)
    assert verifier.vkey == VKEY
    assert NoteVerifier.from_vkey(signer(1).vkey) == signer(1).verifier


def test_the_key_id_is_the_hash_of_name_type_and_key() -> None:
    verifier = signer(1, "n").verifier
    assert verifier.key_id == sha256(b"n\n\x01" + verifier.public_key.raw).digest()[:4]


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        VKEY.replace("530d903a", "530D903A"),
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("530d903a", "530d903"),
        VKEY.replace("foo", "fo o"),
        VKEY.replace("foo", "fo\u00a0o"),
        VKEY.replace("foo", "fo\no"),
        VKEY.removeprefix("example.com/foo"),
        VKEY + "=",
        VKEY[:-4],
        VKEY + "\n",
        "n+01020304+",
        "\ud800" + VKEY,
        "x" * 10_000,
    ],
)
def test_a_malformed_vkey_is_refused(vkey: str) -> None:
    with pytest.raises(FormatError):
        NoteVerifier.from_vkey(vkey)


def vkey_of(typed: bytes, name: str = "n") -> str:
    identifier = sha256(name.encode() + b"\n" + typed).hexdigest()[:8]
    return f"{name}+{identifier}+{base64.b64encode(typed).decode()}"


@pytest.mark.parametrize("kind", [0x02, 0x05, 0xFA, 0xFF])
def test_a_signature_type_this_version_does_not_verify_is_unsupported(kind: int) -> None:
    with pytest.raises(UnsupportedError, match=f"{kind:#04x}"):
        NoteVerifier.from_vkey(vkey_of(bytes([kind]) + b"k" * 32))


@pytest.mark.parametrize("name", [b"", b"chopmark", b"chopmark/ml-dsa-45", b"chopmark/ml-dsa-4"])
def test_a_long_type_of_another_name_is_unsupported(name: bytes) -> None:
    with pytest.raises(UnsupportedError, match="0xff"):
        NoteVerifier.from_vkey(vkey_of(b"\xff" + name))


def test_a_vkey_that_holds_no_key_is_refused() -> None:
    for raw in (bytes(32), b"k" * 31, b"k" * 64):
        with pytest.raises(KeyMaterialError):
            NoteVerifier.from_vkey(vkey_of(b"\x01" + raw))
    for prefix in (b"\x06", b"\xffchopmark/ml-dsa-44"):
        for raw in (b"", b"k" * 32, b"k" * 1311, b"k" * 1313):
            with pytest.raises(KeyMaterialError):
                NoteVerifier.from_vkey(vkey_of(prefix + raw))


def test_a_note_signer_takes_no_key_of_a_holder() -> None:
    with pytest.raises(KeyMaterialError, match="ES256"):
        NoteSigner("n", Es256Signer.generate())


def test_a_type_takes_keys_of_its_own_algorithm_only() -> None:
    ed25519, ml_dsa_44 = signer(1).verifier.public_key, PQ.verifier.public_key
    for kind, key in ((0x01, ml_dsa_44), (0x04, ml_dsa_44), (0x06, ed25519), (0xFF, ed25519)):
        with pytest.raises(KeyMaterialError, match=f"{kind:#04x} takes"):
            NoteVerifier("n", kind, key)


def test_an_ml_dsa_44_key_signs_the_text_under_a_type_with_a_name_of_its_own() -> None:
    raw = PQ.verifier.public_key.raw
    assert PQ.verifier.type == 0xFF
    assert PQ.verifier.key_id == sha256(b"cn-gd.example/root\n\xffchopmark/ml-dsa-44" + raw).digest()[:4]
    assert NoteVerifier.from_vkey(PQ.vkey) == PQ.verifier
    line = PQ.sign("text\n")
    PQ.verifier.public_key.verify(b"text\n", line.signature)
    assert len(line.signature) == 2420


def test_both_keys_of_one_name_sign_one_note() -> None:
    note = Note.parse(sign_note("text\n", [signer(1), PQ]).encode())
    assert note.verify([signer(1).verifier, PQ.verifier]) == (signer(1).verifier, PQ.verifier)
    assert note.verify([PQ.verifier]) == (PQ.verifier,)


def test_a_bad_ml_dsa_44_line_fails_a_note_that_an_ed25519_key_signed() -> None:
    note = sign_note("text\n", [signer(1), PQ])
    bad = NoteSignature(PQ.name, PQ.verifier.key_id, bytes(2420))
    with pytest.raises(SignatureError, match="known key"):
        note.with_signature(bad).verify([signer(1).verifier, PQ.verifier])
    assert note.with_signature(bad).verify([signer(1).verifier]) == (signer(1).verifier,)


def test_a_key_that_cosigns_subtrees_has_a_name_whose_length_fits_a_byte() -> None:
    key = PQ.verifier.public_key
    assert NoteVerifier("n" * 255, 0x06, key).vkey
    for name in ("n" * 256, "\u00e9" * 128):
        with pytest.raises(FormatError, match="255 bytes"):
            NoteVerifier(name, 0x06, key)
    assert NoteVerifier("n" * 256, 0xFF, key).vkey


def test_a_text_with_empty_lines_ends_before_the_last_one() -> None:
    text = '{\n\n"a": 1\n\n\n}\n\n'
    note = sign_note(text, [signer(1)])
    parsed = Note.parse(note.encode())
    assert parsed.text == text
    parsed.verify([signer(1).verifier])


@settings(max_examples=100)
@given(texts, st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True))
def test_any_signed_text_is_read_back(text: str, seeds: list[int]) -> None:
    signers = [signer(seed) for seed in seeds]
    note = sign_note(text, signers)
    assert Note.parse(note.encode()) == note
    assert note.verify([each.verifier for each in signers]) == tuple(each.verifier for each in signers)


@settings(max_examples=200)
@given(data=st.data())
def test_a_changed_note_is_refused_or_reads_differently(data: st.DataObject) -> None:
    encoded = bytearray(sign_note("cn-gd.example\n\n示例\n", [signer(1), signer(2)]).encode())
    position = data.draw(st.integers(0, len(encoded) - 1))
    how = data.draw(st.sampled_from(["change", "drop", "insert"]))
    if how == "change":
        encoded[position] ^= data.draw(st.integers(1, 255))
    elif how == "drop":
        del encoded[position]
    else:
        encoded.insert(position, data.draw(st.integers(0, 255)))
    both = [signer(1).verifier, signer(2).verifier]
    try:
        note = Note.parse(bytes(encoded))
        verified = note.verify(both)
    except (FormatError, SignatureError):
        return
    # A changed name or key id makes a line that of an unknown key, which is ignored.
    assert note.encode() == encoded
    assert note.text == "cn-gd.example\n\n示例\n"
    assert len(verified) < 2


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_note_or_a_format_error(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert Note.parse(data).encode() == data


LINE = SIGNED.split("\n")[2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\n\n",
        "text\n",
        "text\n\n",
        f"text\n{LINE}\n",
        f"text\n\n{LINE}",
        f"text\n\n{LINE}\n\n",
        f"text\n\n{LINE}\nmore\n",
        f"\n{LINE}\n",
        f"te\txt\n\n{LINE}\n",
        f"text\r\n\n{LINE}\n",
        f"te\0xt\n\n{LINE}\n",
        f"text\n\n{LINE.replace('—', '-')}\n",
        f"text\n\n{LINE.replace('— ', '—  ')}\n",
        f"text\n\n{LINE} \n",
        f"text\n\n{LINE[:-1]}\n",
        f"text\n\n{LINE.replace('foo ', 'foo  ')}\n",
        f"text\n\n{LINE.replace('foo', 'f+o')}\n",
        "text\n\n" + LINE.replace("foo", "f\u2003o") + "\n",
        "text\n\n— name AAAAAA==\n",
        "text\n\n— name AAAA\n",
        "text\n\n— name AAAAAAB=\n",
        "text\n\n— name \n",
        "text\n\n—  AAAAAAA=\n",
        f"te\ud800xt\n\n{LINE}\n",
    ],
)
def test_a_malformed_note_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Note.parse(text)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    for encoded in (b"t\xff\n\n" + LINE.encode() + b"\n", b"text\n\n\xff" + LINE.encode() + b"\n"):
        with pytest.raises(FormatError, match="UTF-8"):
            Note.parse(encoded)


def test_too_many_signatures_and_too_large_a_note_are_refused() -> None:
    with pytest.raises(LimitError):
        Note.parse("text\n\n" + (LINE + "\n") * (LIMITS.note_signatures + 1))
    with pytest.raises(LimitError):
        Note.parse("x" * (LIMITS.note_size + 1))


def test_sixteen_signatures_are_accepted() -> None:
    signers = [signer(seed) for seed in range(1, 17)]
    assert len(sign_note("text\n", signers).verify([each.verifier for each in signers])) == 16


def test_unknown_keys_are_ignored_even_with_a_shared_name_or_id() -> None:
    note = sign_note("text\n", [signer(1)])
    verifier = signer(1).verifier
    same_name = NoteSignature(verifier.name, b"\0\0\0\0", b"rubbish")
    same_id = NoteSignature("other.example", verifier.key_id, b"rubbish")
    assert note.with_signature(same_name, same_id).verify([verifier]) == (verifier,)


def test_a_known_key_with_a_bad_signature_fails_the_note() -> None:
    note = sign_note("text\n", [signer(1)])
    bad = NoteSignature(signer(2).name, signer(2).verifier.key_id, bytes(64))
    with pytest.raises(SignatureError, match="known key"):
        note.with_signature(bad).verify([signer(1).verifier, signer(2).verifier])
    assert note.with_signature(bad).verify([signer(1).verifier]) == (signer(1).verifier,)


def test_a_good_line_does_not_excuse_a_bad_one_of_the_same_key() -> None:
    note = sign_note("text\n", [signer(1)])
    bad = NoteSignature(signer(1).name, signer(1).verifier.key_id, bytes(64))
    with pytest.raises(SignatureError):
        note.with_signature(bad).verify([signer(1).verifier])


def test_a_note_without_a_known_signature_is_refused() -> None:
    note = sign_note("text\n", [signer(1)])
    for verifiers in ([], [signer(2).verifier]):
        with pytest.raises(SignatureError, match="not signed by any known key"):
            note.verify(verifiers)


def test_a_key_that_signed_twice_counts_once() -> None:
    line = sign_note("text\n", [signer(1)]).encode().decode().split("\n")[2]
    note = Note.parse(f"text\n\n{line}\n{line}\n")
    assert note.verify([signer(1).verifier, signer(1).verifier]) == (signer(1).verifier,)


def test_two_keys_of_one_name_and_id_are_refused() -> None:
    first = signer(1).verifier
    second = signer(2).verifier
    object.__setattr__(second, "key_id", first.key_id)
    with pytest.raises(KeyMaterialError):
        sign_note("text\n", [signer(1)]).verify([first, second])


@pytest.mark.parametrize("text", ["", "text", "te\txt\n", "te\ud800xt\n"])
def test_what_cannot_be_a_note_text_is_not_signed(text: str) -> None:
    with pytest.raises(FormatError):
        sign_note(text, [signer(1)])


def test_a_note_needs_a_signer() -> None:
    with pytest.raises(FormatError):
        sign_note("text\n", [])


key_names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="+"), min_size=1, max_size=40
)


@settings(max_examples=60)
@given(key_names, st.sampled_from([(0x01, 1), (0x04, 1), (0x06, 44), (0xFF, 44)]))
def test_any_vkey_survives_writing_and_reading(name: str, kind: tuple[int, int]) -> None:
    number, algorithm = kind
    verifier = NoteVerifier(name, number, (signer(1) if algorithm == 1 else PQ).verifier.public_key)
    assert NoteVerifier.from_vkey(verifier.vkey) == verifier


BOTH = sign_note("cn-gd.example\n\n示例\n", [signer(1), PQ])


@settings(max_examples=150)
@given(data=st.data())
def test_a_changed_note_of_both_algorithms_is_refused_or_reads_differently(data: st.DataObject) -> None:
    encoded = bytearray(BOTH.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        note = Note.parse(bytes(encoded))
        verified = note.verify([signer(1).verifier, PQ.verifier])
    except (FormatError, SignatureError):
        return
    # A changed name or key id makes a line that of an unknown key, which is ignored.
    assert note.text == BOTH.text
    assert len(verified) < 2
