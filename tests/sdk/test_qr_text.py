from __future__ import annotations

import hashlib
import runpy
import zlib
from pathlib import Path

import pytest
from chopmark import base45, qr_text
from chopmark.cbor import encode as encode_cbor
from chopmark.errors import FormatError, LimitError, StorageError, UnsupportedError
from chopmark.limits import LIMITS
from chopmark.presentation import present
from chopmark.qr_text import DICTIONARY, DICTIONARY_ID, PREFIX, decode, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.vectors.sample_world import NOW, make_world

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
SAMPLE = encode_cbor(
    {
        1: "CN-GD/11440000MB2D0P8Q3X",
        2: "1.2.156.3005.2.11100000000013338W032.11440000MB2D0P8Q3X.JY14401060012345.001.K",
        65535: {"status_list": {"idx": 70_000, "uri": "https://status.cn-gd.example/1"}},
        -65537: {1: "示例餐饮有限公司", 2: "广东省广州市示例路一号", 3: 20_779},
    }
)


def packed(data: bytes, dictionary: bytes = DICTIONARY, *, level: int = 9, window_bits: int = 15) -> bytes:
    deflater = zlib.compressobj(level, zlib.DEFLATED, window_bits, zdict=dictionary)
    return deflater.compress(data) + deflater.flush()


def as_text(stream: bytes) -> str:
    return PREFIX + base45.encode(stream)


def test_the_dictionary_is_fixed_for_ever() -> None:
    assert len(DICTIONARY) <= 1024
    assert zlib.adler32(DICTIONARY) == DICTIONARY_ID == 0xB768F5BC
    assert hashlib.sha256(DICTIONARY).hexdigest() == "bc712e60162a5ee4ef4cd3fef1ad0cf33c2b6fabfa25b6ddf3ff37964d35bb92"


def test_the_program_that_made_the_dictionary_makes_it_again() -> None:
    program = runpy.run_path(str(Path(__file__).parents[2] / "specs" / "vectors" / "make_dictionary.py"))
    assert program["dictionary"]() == DICTIONARY


def test_a_damaged_dictionary_file_is_refused_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda path: DICTIONARY[:-1])
    with pytest.raises(StorageError, match="Install the chopmark package again"):
        runpy.run_path(qr_text.__file__)


def test_a_missing_dictionary_file_is_refused_at_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path) -> bytes:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "read_bytes", missing)
    with pytest.raises(StorageError, match="cannot be read"):
        runpy.run_path(qr_text.__file__)


def test_a_text_written_before_is_read_for_ever() -> None:
    text = (
        "EL1:9DFH8N/2VXMBCMURRLTSBGC0NE06M4HUUGA6%P2P8LX0B699PHQ0R1G6Q7IRIO24+2F67 2QL8BBZPO99K GP2EMHQ/AQD+T"
        "NQM.L3 2RJJL+HL%72R+L%N2%YQ-QIAX1H-S*P51BLK40%-0X4"
    )
    assert decode(text) == SAMPLE


def test_a_text_begins_with_its_version_and_is_alphanumeric_mode_only() -> None:
    text = encode(SAMPLE)
    assert text.startswith("EL1:")
    assert set(text) <= set(ALPHABET)


def test_the_stream_names_the_dictionary() -> None:
    stream = base45.decode(encode(SAMPLE)[len(PREFIX) :])
    assert stream[:6] == b"\x78\xf9" + DICTIONARY_ID.to_bytes(4, "big")


def test_the_dictionary_halves_what_licences_have_in_common() -> None:
    assert len(packed(SAMPLE)) < 0.6 * len(zlib.compress(SAMPLE, 9))


def test_several_texts_may_stand_for_the_same_bytes() -> None:
    texts = {as_text(packed(SAMPLE, level=level)) for level in (0, 1, 9)} | {as_text(packed(SAMPLE, window_bits=12))}
    assert len(texts) == 4
    assert {decode(text) for text in texts} == {SAMPLE}


@pytest.mark.parametrize("text", ["EL2:" + encode(SAMPLE)[4:], "EL0:", "EL10:AB", "EL01:"])
def test_another_version_is_told_apart_from_rubbish(text: str) -> None:
    with pytest.raises(UnsupportedError, match=text.partition(":")[0]):
        decode(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "EL",
        "EL1",
        "el1:" + encode(SAMPLE)[4:],
        " " + encode(SAMPLE),
        "\ufeff" + encode(SAMPLE),
        "EC1:AB",
        "HC1:" + encode(SAMPLE)[4:],
        "ELx:",
        "EL٣:",
        "https://licence.example/",
        "\ud800",
    ],
)
def test_a_text_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="does not begin with EL1:"):
        decode(text)


def test_spaces_and_line_ends_around_a_text_are_refused() -> None:
    for behind in ("\n", "\r\n", " ", "00"):
        with pytest.raises(FormatError):
            decode(encode(SAMPLE) + behind)


def test_a_stream_too_short_for_its_header_is_refused() -> None:
    for size in range(6):
        with pytest.raises(FormatError):
            decode(as_text(packed(SAMPLE)[:size]))


def test_a_stream_without_dictionary_is_refused() -> None:
    with pytest.raises(FormatError, match="dictionary"):
        decode(as_text(zlib.compress(SAMPLE, 9)))


def test_a_stream_without_dictionary_that_starts_like_one_is_refused() -> None:
    """The four bytes after the header equal DICTID, but FDICT is not set: the text is data that happens to match."""
    stream = b"\x78\xda" + DICTIONARY_ID.to_bytes(4, "big") + packed(SAMPLE)[6:]
    with pytest.raises(FormatError, match="dictionary"):
        decode(as_text(stream))


def test_a_stream_with_another_dictionary_is_refused() -> None:
    for other in (b"other", DICTIONARY[:-1], DICTIONARY[1:]):
        with pytest.raises(FormatError, match="dictionary"):
            decode(as_text(packed(SAMPLE, other)))


def test_a_raw_or_gzip_stream_is_refused() -> None:
    for window_bits in (-15, 31):
        deflater = zlib.compressobj(9, zlib.DEFLATED, window_bits)
        with pytest.raises(FormatError):
            decode(as_text(deflater.compress(SAMPLE) + deflater.flush()))


def test_a_stream_cut_anywhere_is_refused() -> None:
    stream = packed(SAMPLE)
    for size in range(len(stream)):
        with pytest.raises(FormatError):
            decode(as_text(stream[:size]))


def test_bytes_behind_the_stream_are_refused() -> None:
    for behind in (b"\x00", b"\x00\x00", packed(SAMPLE)):
        with pytest.raises(FormatError, match="behind"):
            decode(as_text(packed(SAMPLE) + behind))


def test_a_wrong_checksum_is_refused() -> None:
    stream = packed(SAMPLE)
    with pytest.raises(FormatError, match="damaged"):
        decode(as_text(stream[:-1] + bytes((stream[-1] ^ 1,))))


def test_what_inflates_beyond_a_presentation_is_refused() -> None:
    most = bytes(LIMITS.presentation_size)
    assert decode(encode(most)) == most
    with pytest.raises(LimitError):
        decode(as_text(packed(most + b"\x00")))
    with pytest.raises(LimitError):
        decode(as_text(packed(bytes(10_000_000))))


def test_what_no_reader_takes_is_not_written() -> None:
    with pytest.raises(LimitError):
        encode(bytes(LIMITS.presentation_size + 1))


def test_an_incompressible_presentation_fits_the_bound_of_a_text() -> None:
    noise = b"".join(hashlib.sha256(bytes((high, low))).digest() for high in range(2) for low in range(192))
    assert len(noise) == LIMITS.presentation_size
    text = encode(noise)
    assert len(text) <= LIMITS.qr_text_length
    assert decode(text) == noise


def test_a_text_above_its_bound_is_refused_before_it_is_read() -> None:
    with pytest.raises(LimitError, match="characters"):
        decode(PREFIX + "0" * LIMITS.qr_text_length)


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_survive(data: bytes) -> None:
    assert decode(encode(data)) == data


@settings(max_examples=200)
@given(st.data())
def test_a_changed_character_is_refused_or_leaves_the_bytes_equal(draw: st.DataObject) -> None:
    text = encode(SAMPLE)
    position = draw.draw(st.integers(0, len(text) - 1))
    changed = text[:position] + draw.draw(st.sampled_from(ALPHABET)) + text[position + 1 :]
    try:
        read = decode(changed)
    except FormatError:
        return
    assert read == SAMPLE


@settings(max_examples=200)
@given(st.one_of(st.text(max_size=30), st.text(ALPHABET, max_size=60).map(lambda text: PREFIX + text)))
def test_any_text_is_refused_without_a_crash(text: str) -> None:
    with pytest.raises(FormatError):
        decode(text)


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_any_stream_behind_the_right_header_is_refused_or_read(body: bytes) -> None:
    header = b"\x78\xf9" + DICTIONARY_ID.to_bytes(4, "big")
    try:
        data = decode(as_text(header + body))
    except FormatError:
        return
    assert body[-4:] == zlib.adler32(data).to_bytes(4, "big")


def test_credentials_presentations_and_challenges_give_their_own_text() -> None:
    world = make_world()
    credential = world.issue(world.claims("constructor"))
    presentation = present(credential, world.holder, at=NOW, challenge=None, disclose=())
    assert qr_text.decode(credential.text()) == credential.encode()
    assert qr_text.decode(presentation.text()) == presentation.encode()
