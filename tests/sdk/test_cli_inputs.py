from __future__ import annotations

import io
import json
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import zxingcpp
from chopmark.cli import inputs
from chopmark.cli.inputs import read_input
from chopmark.cli.plain_text import plain, plain_json, plain_lines
from chopmark.errors import ChopmarkError, FormatError, LimitError, StorageError
from chopmark.qr_image import IMAGE_MAX_BYTES, read_qr_texts
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

CODE = "EL1:9DFQ2EPKR0TG2MNN:NBS5"


def picture_of(text: str) -> Image.Image:
    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode).to_image(scale=5)
    return Image.fromarray(code)


def encoded(picture: Image.Image, kind: str) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind)
    return data.getvalue()


PNG = encoded(picture_of(CODE), "PNG")


def test_a_code_is_taken_from_the_command_line() -> None:
    given = read_input(CODE)
    assert (given.text, given.data) == (CODE, b"")


@pytest.mark.parametrize("text", [CODE + "\n", "  " + CODE + "\r\n", CODE.replace("EL1", "EC1"), "EL7:ABC"])
def test_space_around_a_code_does_not_matter(text: str) -> None:
    assert read_input(text).text == text.strip()


def test_a_long_code_is_named_by_its_beginning() -> None:
    given = read_input("EL1:" + "A" * 1000)
    assert given.name == "EL1:" + "A" * 19 + "…"
    assert given.text == "EL1:" + "A" * 1000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_code_in_a_text_file_is_found_whatever_editor_saved_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "code.txt"
    path.write_bytes((CODE + "\r\n").encode(encoding))
    assert read_input(str(path)).text == CODE


def test_other_files_keep_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "licence.cbor"
    path.write_bytes(b"\xd2\x84\x43\xff")
    given = read_input(str(path))
    assert (given.text, given.data, given.name) == (None, b"\xd2\x84\x43\xff", str(path))
    path.write_text("no code", encoding="utf-8")
    assert read_input(str(path)).text is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_code_is_read_from_a_picture(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(encoded(picture_of(CODE), kind))
    assert read_input(str(path)).text == CODE


def test_of_several_codes_in_a_picture_the_licence_code_counts(tmp_path: Path) -> None:
    poster = Image.new("L", (700, 400), 255)
    poster.paste(picture_of("https://shop.example/offer").resize((350, 350)), (10, 10))
    poster.paste(picture_of(CODE), (420, 60))
    assert len(read_qr_texts(encoded(poster, "PNG"), where="poster")) == 2
    path = tmp_path / "poster.png"
    path.write_bytes(encoded(poster, "PNG"))
    assert read_input(str(path)).text == CODE


def test_two_licence_codes_in_one_picture_are_refused_for_either_might_be_meant(tmp_path: Path) -> None:
    other = "EL1:ANOTHER"
    width, height = picture_of(CODE).size
    wall = Image.new("L", (2 * width + 20, height), 255)
    wall.paste(picture_of(CODE), (0, 0))
    wall.paste(picture_of(other).resize((width, height)), (width + 20, 0))
    path = tmp_path / "wall.png"
    path.write_bytes(encoded(wall, "PNG"))
    assert set(read_qr_texts(path.read_bytes(), where="wall")) == {CODE, other}
    with pytest.raises(FormatError, match="2 licence codes in one picture"):
        read_input(str(path))


def test_one_licence_code_that_stands_twice_is_one(tmp_path: Path) -> None:
    width, height = picture_of(CODE).size
    wall = Image.new("L", (2 * width + 20, height), 255)
    for left in (0, width + 20):
        wall.paste(picture_of(CODE), (left, 0))
    path = tmp_path / "wall.png"
    path.write_bytes(encoded(wall, "PNG"))
    assert read_input(str(path)).text == CODE


def test_a_code_on_a_transparent_ground_is_read() -> None:
    black = Image.new("RGBA", picture_of(CODE).size, "black")
    black.putalpha(ImageOps.invert(picture_of(CODE)))
    assert read_qr_texts(encoded(black, "PNG"), where="web.png") == [CODE]


def test_a_picture_without_a_code_is_refused_with_a_remedy() -> None:
    with pytest.raises(FormatError, match="no QR code") as caught:
        read_qr_texts(encoded(Image.new("L", (50, 50), 255), "PNG"), where="photo.png")
    assert caught.value.where == "photo.png"
    assert caught.value.remedy


def test_a_picture_of_too_many_pixels_is_refused_from_its_header() -> None:
    with pytest.raises(LimitError, match="9000 × 9000"):
        read_qr_texts(encoded(Image.new("1", (9_000, 9_000)), "PNG"), where="bomb.png")
    header = (30_000).to_bytes(4, "big") * 2 + b"\x01\x00\x00\x00\x00"
    bomb = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + header + zlib.crc32(b"IHDR" + header).to_bytes(4, "big")
    with pytest.raises(LimitError, match="too many pixels"):
        read_qr_texts(bomb + b"\x00\x00\x00\x00IDAT", where="bomb.png")
    with pytest.raises(LimitError, match="above the limit"):
        read_qr_texts(PNG + bytes(IMAGE_MAX_BYTES), where="large.png")


@settings(max_examples=150)
@given(st.integers(8, len(PNG) - 1), st.binary(max_size=6), st.integers(0, 12))
def test_a_damaged_picture_is_read_or_refused(position: int, inserted: bytes, removed: int) -> None:
    damaged = PNG[:position] + inserted + PNG[position + removed :]
    try:
        texts = read_qr_texts(damaged, where="damaged.png")
    except ChopmarkError:
        return
    assert texts == [CODE]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "sys", SimpleNamespace(stdin=SimpleNamespace(buffer=io.BytesIO(CODE.encode()))))
    given = read_input("-")
    assert (given.name, given.text) == ("standard input", CODE)


@pytest.mark.parametrize("argument", ["no-such-file", ".", "a\0b", "x" * 5000, "EL:", "el1:ABC"])
def test_what_cannot_be_read_is_named_with_a_remedy(
    argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match="cannot be read") as caught:
        read_input(argument)
    assert "EL1:" in caught.value.remedy
    assert len(caught.value.where) <= 200


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="empty"):
        read_input(str(path))


def test_a_file_above_the_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "IMAGE_MAX_BYTES", 100)
    path = tmp_path / "large"
    path.write_bytes(bytes(100))
    assert read_input(str(path)).data == bytes(100)
    path.write_bytes(bytes(101))
    with pytest.raises(LimitError, match="above the limit of 100 bytes"):
        read_input(str(path))


def test_a_name_that_would_move_the_cursor_is_made_plain(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2Jb"
    path.write_bytes(b"x")
    assert read_input(str(path)).name == str(tmp_path / "a\\x1b[2Jb")


@given(st.text(max_size=20))
def test_plain_text_prints_and_keeps_what_prints(text: str) -> None:
    shown = plain(text)
    assert all(character.isprintable() or character in "\u00a0\u3000" for character in shown)
    assert (shown == text) == all(character.isprintable() or character in "\u00a0\u3000" for character in text)


def test_plain_text_names_what_does_not_print() -> None:
    assert plain("a\x1b[2J\x9b\u202e\U000e0041中\u3000文") == "a\\x1b[2J\\x9b\\u202e\\U000e0041中\u3000文"
    assert plain_lines("a\nb\x07") == "a\nb\\x07"


@given(st.recursive(st.text(max_size=6), lambda inner: st.dictionaries(st.text(max_size=4), inner, max_size=3)))
def test_plain_json_prints_on_one_line_and_means_the_same(value: object) -> None:
    text = plain_json(value)
    assert json.loads(text) == value
    assert all(character.isprintable() or character in "\u00a0\u3000" for character in text)
