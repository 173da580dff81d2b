"""QR codes: the versions that texts need, and how many captures of 300 pixels zxing-cpp reads.

A capture is made from the drawn code: turned, shrunk so that the code with its quiet zone is 300 pixels wide (the
rest of a turned picture is white paper), with the pixel grid laid at a random place, blurred, noisy, and saved as
JPEG. The random numbers are seeded: the same code gives the same captures.
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass

import zxingcpp
from chopmark.qr_drawing import draw
from PIL import Image, ImageChops, ImageFilter

from bench.report import Group, Table, answer
from bench.samples import Samples

STATIC_REACH = 22
KEY_BOUND_REACH = 24
CAPTURES = 20
CAPTURE_PIXELS = 300
MODULE_PIXELS = 8


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What happens to a capture: degrees, radius of the blur in pixels, σ of the noise in grey levels, JPEG quality."""

    name: str
    angle: float = 0
    blur: float = 0
    noise: float = 0
    quality: int = 0


DISTURBANCES = (
    Disturbance("none"),
    Disturbance("blur of radius 0.5", blur=0.5),
    Disturbance("blur of radius 1", blur=1),
    Disturbance("turned by 7°", angle=7),
    Disturbance("turned by 30°", angle=30),
    Disturbance("noise of σ 12", noise=12),
    Disturbance("noise of σ 35", noise=35),
    Disturbance("JPEG of quality 60", quality=60),
    Disturbance("JPEG of quality 20", quality=20),
    Disturbance("7°, blur 0.5, noise 12 and JPEG 60 together", angle=7, blur=0.5, noise=12, quality=60),
    Disturbance("30°, blur 0.5, noise 12 and JPEG 60 together", angle=30, blur=0.5, noise=12, quality=60),
)


def drawn_code(text: str) -> Image.Image:
    """The product's own drawing of a text, eight pixels a module."""
    return Image.open(io.BytesIO(draw(text).png(module=MODULE_PIXELS))).convert("L")


def capture(drawn: Image.Image, disturbance: Disturbance, numbers: random.Random) -> Image.Image:
    """Look at a drawn code through a bad camera."""
    shift = MODULE_PIXELS * 2
    paper = Image.new("L", (drawn.width + shift, drawn.height + shift), 255)
    paper.paste(drawn, (numbers.randrange(shift), numbers.randrange(shift)))
    turned = paper.rotate(disturbance.angle, Image.Resampling.BICUBIC, expand=True, fillcolor=255)
    scale = CAPTURE_PIXELS / drawn.width
    image = turned.resize((round(turned.width * scale), round(turned.height * scale)), Image.Resampling.BILINEAR)
    if disturbance.blur:
        image = image.filter(ImageFilter.GaussianBlur(disturbance.blur))
    if disturbance.noise:
        image = _noisy(image, disturbance.noise, numbers)
    if disturbance.quality:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=disturbance.quality)
        image = Image.open(file)
        image.load()
    return image


def _noisy(image: Image.Image, sigma: float, numbers: random.Random) -> Image.Image:
    """Add noise; the mean of three even distributions is near enough to a normal one (σ of a byte is 73.9)."""
    layers = [Image.frombytes("L", image.size, numbers.randbytes(image.width * image.height)) for _ in range(3)]
    mean = Image.blend(Image.blend(layers[0], layers[1], 0.5), layers[2], 1 / 3)
    factor = sigma / (73.9 / 3**0.5)
    noise = mean.point([round(128 + (level - 127.5) * factor) for level in range(256)])
    # Black and white leave room for noise on one side only, as in a picture that is not fully exposed.
    faded = image.point([30 + level * 195 // 255 for level in range(256)])
    return ImageChops.add(faded, noise, 1, -128)


def reads(image: Image.Image, text: str) -> bool:
    """Whether zxing-cpp reads exactly `text` from the capture."""
    found = zxingcpp.read_barcodes(image, formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
    return any(code.text == text for code in found)


def decode_rate(drawn: Sequence[tuple[str, Image.Image]], disturbance: Disturbance, *, captures: int) -> float:
    """The share of `captures` of each drawn code that is read."""
    numbers = random.Random(disturbance.name)
    good = sum(reads(capture(image, disturbance, numbers), text) for text, image in drawn for _ in range(captures))
    return good / (len(drawn) * captures)


def measure(samples: Samples) -> Group:
    """The versions of the sample codes, and how well they are read."""
    group = Group("QR codes")
    versions = Table(("code, with a path of 10 hashes", "characters", "version", "reach", "reached"))
    drawn: dict[bool, list[tuple[str, Image.Image]]] = {False: [], True: []}
    for name, key_bound, text in samples.texts:
        reach = KEY_BOUND_REACH if key_bound else STATIC_REACH
        version = draw(text).version
        versions.add(name, f"{len(text):,}", f"{version}-L", f"≤ {reach}-L", answer(version <= reach))
        drawn[key_bound].append((text, drawn_code(text)))
    group.add(versions)
    rates = Table(("captures of 300 pixels, read by zxing-cpp", "static", "key-bound"))
    for disturbance in DISTURBANCES:
        read = [decode_rate(drawn[key_bound], disturbance, captures=CAPTURES) for key_bound in (False, True)]
        rates.add(disturbance.name, *(f"{100 * rate:.0f} %" for rate in read))
    group.add(rates)
    group.add(
        f"Each code of the first table is captured {CAPTURES} times, its quiet zone within the {CAPTURE_PIXELS} "
        "pixels; noise is added to a picture of low contrast. A code counts as read when its text comes out whole."
    )
    return group
