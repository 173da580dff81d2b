"""QR codes as SVG: the same modules as in the picture, for whoever reads them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import zxingcpp
from chopmark.errors import LimitError
from chopmark_issuer.qr import draw, draw_svg
from PIL import Image

TEXT = "EL1:" + "7B2 $%*+-./" * 40


def raster(svg: bytes, module: int = 4) -> Image.Image:
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
    (found,) = zxingcpp.read_barcodes(raster(draw_svg(TEXT)))
    assert found.text == TEXT


def test_the_quiet_zone_is_four_modules_and_the_size_that_of_the_picture() -> None:
    svg = draw_svg(TEXT)
    picture = raster(svg, 1)
    assert all(picture.getpixel((x, y)) == 255 for x in range(picture.width) for y in range(4))
    assert picture.width == 17 + 4 * draw(TEXT).version + 8


def test_what_fits_into_no_code_is_refused() -> None:
    for text in ("EL1:é", "el1:", "A" * 5000):
        with pytest.raises(LimitError):
            draw_svg(text)
