"""QR codes, drawn as PNG and as SVG, for whoever reads them."""

from __future__ import annotations

import re
import sys
from io import BytesIO
from xml.etree import ElementTree

import pytest
import zxingcpp
from chopmark.errors import LimitError, MissingExtraError
from chopmark.qr_drawing import draw
from PIL import Image

TEXT = "EL1:" + "7B2 $%*+-./" * 40


def raster(svg: str, module: int = 4) -> Image.Image:
    """Paint the dark modules of the path."""
    root = ElementTree.fromstring(svg)
    size = int(root.attrib["viewBox"].split()[2])
    path = root[1].attrib["d"]
    runs = re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", path)
    assert "".join(f"M{x} {y}h{length}v1h-{length}z" for x, y, length in runs) == path
    picture = Image.new("L", (size * module, size * module), 255)
    for x, y, length in ((int(x), int(y), int(length)) for x, y, length in runs):
        picture.paste(0, (x * module, y * module, (x + length) * module, (y + 1) * module))
    return picture


def test_a_reader_reads_the_text_from_the_svg() -> None:
    (found,) = zxingcpp.read_barcodes(raster(draw(TEXT).svg()))
    assert found.text == TEXT


@pytest.mark.parametrize("module", [2, 6])
def test_a_reader_reads_the_text_from_the_png(module: int) -> None:
    with Image.open(BytesIO(draw(TEXT).png(module=module))) as picture:
        (found,) = zxingcpp.read_barcodes(picture)
    assert found.text == TEXT


def test_the_picture_is_read_aloud_by_what_the_code_is() -> None:
    assert ElementTree.fromstring(draw(TEXT).svg()).attrib["aria-label"] == "EL1"


def test_the_quiet_zone_is_four_modules_and_the_size_that_of_the_picture() -> None:
    code = draw(TEXT)
    picture = raster(code.svg(), 1)
    assert all(picture.getpixel((x, y)) == 255 for x in range(picture.width) for y in range(4))
    assert picture.width == 17 + 4 * code.version + 8


def test_what_fits_into_no_code_is_refused() -> None:
    for text in ("EL1:é", "el1:", "A" * 5000):
        with pytest.raises(LimitError):
            draw(text)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qrcode", None)
    with pytest.raises(MissingExtraError, match=r"chopmark\[drawing\]"):
        draw(TEXT)
