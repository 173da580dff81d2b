"""Requests by which somebody wants the verifier to fall, or to say VALID of what nobody issued.

Each is made from a seed alone, so that one that does harm can be made again.
"""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from chopmark import base45, qr_text
from chopmark.qr_drawing import draw
from chopmark_verifier.verify_requests import unwrapped
from PIL import Image

_STRANGE = "\x00\n \u202e\ufeff\u0660Ａé𐍈<'\"&%+{"
_ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-7", "latin-1", "utf-8-sig", "cp037", "shift_jis")
_NAMES = (
    "text",
    "cbor",
    "purpose",
    "challenge",
    "record",
    "record_fields",
    "with_fields",
    "type",
    "fields",
    "lifetime",
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1e308,
    2**53,
    "",
    "a",
    [],
    {},
    [[]],
    {"text": "a"},
    "EL1:",
    "EC1:",
    "\u0000",
    10**400,
)


@dataclass(frozen=True, slots=True)
class Hostile:
    """One request. `shown` are the bytes that it shows, where it shows a code whole: the genuine ones may be VALID."""

    target: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    shown: bytes | None = None
    text: str | None = None


class Attacker:
    """Makes hostile requests.

    Args:
        genuine: the CBOR of a credential, the text of whose code is VALID.
        copies: CBOR that is not VALID as it stands, for pictures: one that is damaged may still show its code.
    """

    def __init__(self, genuine: bytes, copies: bytes) -> None:
        self._genuine = genuine
        self._text = qr_text.encode(genuine)
        picture = draw(qr_text.encode(copies)).png()
        jpeg = io.BytesIO()
        Image.open(io.BytesIO(picture)).convert("L").save(jpeg, "JPEG", quality=70)
        self._pictures = {"image/png": picture, "image/jpeg": jpeg.getvalue()}

    def request(self, seed: int) -> Hostile:
        """The hostile request of a seed."""
        chance = random.Random(seed)
        kinds: list[tuple[int, Callable[[random.Random], Hostile]]] = [
            (30, self._mutated_text),
            (25, self._mutated_content),
            (10, self._mutated_stream),
            (12, self._odd_json),
            (6, self._deep_json),
            (5, self._odd_encoding),
            (5, self._odd_form),
            (7, self._damaged_picture),
        ]
        (kind,) = chance.choices([make for _, make in kinds], [weight for weight, _ in kinds])
        return kind(chance)

    def _mutated_text(self, chance: random.Random) -> Hostile:
        text = self._text
        for _ in range(chance.randint(1, 4)):
            text = _mutated(chance, text)
        return _of_text(text)

    def _mutated_content(self, chance: random.Random) -> Hostile:
        content = _mutated_bytes(chance, self._genuine)
        if chance.random() < 0.5:
            return _of_text(qr_text.encode(content)) if len(content) < 12_000 else _of_text(self._text * 3)
        body = json.dumps({"cbor": base64.b64encode(content).decode(), "with_fields": True}).encode()
        return Hostile("/verify", body, _JSON, content)

    def _mutated_stream(self, chance: random.Random) -> Hostile:
        stream = base45.decode(self._text.removeprefix("EL1:"))
        match chance.randrange(4):
            case 0:
                stream = _mutated_bytes(chance, stream)
            case 1:
                stream += chance.randbytes(chance.randint(1, 40))
            case 2:
                deflate = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zdict=qr_text.DICTIONARY)
                stream = deflate.compress(bytes(chance.randint(10_000, 1_000_000))) + deflate.flush()
            case _:
                stream = zlib.compress(self._genuine, chance.randint(0, 9))
        return _of_text("EL1:" + base45.encode(stream))

    def _odd_json(self, chance: random.Random) -> Hostile:
        members = [
            f"{json.dumps(chance.choice(_NAMES))}:{json.dumps(chance.choice(_VALUES))}"
            for _ in range(chance.randint(0, 5))
        ]
        target = chance.choice(("/verify", "/challenges", "/verify?record=true", "/verify?%ff"))
        headers = dict(_JSON)
        if chance.random() < 0.2:
            headers["Authorization"] = chance.choice(
                ("Bearer a.b.c", "Bearer " + "e" * 5000, "Bearer ", "\u202e", "Basic eA")
            )
        if chance.random() < 0.2:
            headers["Content-Length"] = chance.choice(("0", "-1", "1e9", str(10**25), "99999", "\u0661", "7"))
        return Hostile(target, ("{" + ",".join(members) + "}").encode(), headers)

    def _deep_json(self, chance: random.Random) -> Hostile:
        opening = chance.choice(("[", '{"a":', '{"text":[', "[[{}],", '{"text":{"text":'))
        depth = chance.randint(50, 65_000 // len(opening))
        body = opening * depth
        if chance.random() < 0.3:
            body = '{"text":' + "9" * chance.randint(1, 60_000) + "}"
        return Hostile(chance.choice(("/verify", "/challenges")), body.encode(), _JSON)

    def _odd_encoding(self, chance: random.Random) -> Hostile:
        document = json.dumps({"text": self._text + "é"}, ensure_ascii=False)
        body = document.encode(chance.choice(_ENCODINGS), "replace")
        if chance.random() < 0.5:
            body = _mutated_bytes(chance, body)
        kind = chance.choice(
            ("application/json", "application/json; charset=utf-16", "application/x-www-form-urlencoded")
        )
        return Hostile("/verify", body, {"Content-Type": kind})

    def _odd_form(self, chance: random.Random) -> Hostile:
        target = chance.choice(("/page/check", "/page/fields", "/page/challenge", "/page/sign-in", "/page/sign-out"))
        form = {
            chance.choice((*_NAMES, "csrf", "passcode", "field-1", "field-\u0661")): _mutated(chance, "EL1:ABCDEF")
            for _ in range(chance.randint(0, 6))
        }
        body = urlencode(form, errors="surrogatepass").encode()
        if chance.random() < 0.3:
            body = _mutated_bytes(chance, body or b"a=b")
        headers = {"Content-Type": "application/x-www-form-urlencoded", "HX-Request": chance.choice(("true", "no"))}
        headers["Cookie"] = chance.choice(
            ("", "chopmark_session=a", "__Host-chopmark_session=a", "chopmark_session=" + quote(_STRANGE), "\x01;=;;")
        )
        headers["Accept-Language"] = chance.choice(("", "zh;q=", "en;q=9e9", ",;,;", "zh-" * 400))
        return Hostile(target, body, headers)

    def _damaged_picture(self, chance: random.Random) -> Hostile:
        kind = chance.choice(tuple(self._pictures))
        data = self._pictures[kind]
        match chance.randrange(5):
            case 0:
                data = data[: chance.randrange(len(data))]
            case 1:
                data = _png_that_lies(chance)
            case 2:
                data = chance.randbytes(chance.randint(0, 3000))
            case _:
                data = data[:40] + _mutated_bytes(chance, data[40:])
        target = chance.choice(("/verify", "/verify?with_fields=true", "/page/check", "/page/check?frame=true"))
        return Hostile(target, data, {"Content-Type": chance.choice((kind, "image/png", "image/jpeg"))})


_JSON = {"Content-Type": "application/json"}


def _of_text(text: str) -> Hostile:
    shown = None
    try:
        shown = qr_text.decode(unwrapped(text))
    except Exception:  # whatever is wrong with it, the service must cope
        shown = None
    body = json.dumps({"text": text}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Hostile("/verify", body, _JSON, shown, text)


def _mutated(chance: random.Random, text: str) -> str:
    place = chance.randrange(len(text) + 1)
    other = chance.choice("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:" if chance.random() < 0.7 else _STRANGE)
    match chance.randrange(7):
        case 0:
            return text[:place] + other + text[place + 1 :]
        case 1:
            return text[:place] + other + text[place:]
        case 2:
            return text[:place] + text[place + chance.randint(1, 9) :]
        case 3:
            return text[:place]
        case 4:
            return text[:place] + text[place:].lower()
        case 5:
            return text[place:] + text[:place]
        case _:
            return text[:3] + str(chance.randint(0, 99)) + text[4:]


def _mutated_bytes(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(len(changed) or 1)
        match chance.randrange(5):
            case 0 if changed:
                changed[place] ^= 1 << chance.randrange(8)
            case 1 if changed:
                changed[place] = chance.randrange(256)
            case 2:
                changed[place:place] = chance.randbytes(chance.randint(1, 8))
            case 3:
                del changed[place : place + chance.randint(1, 8)]
            case _:
                # The heads of CBOR items, which say how long they are.
                changed[place : place + 1] = chance.choice(
                    (b"\x9b" + b"\xff" * 8, b"\x5a\x7f\xff\xff\xff", b"\xbf", b"\x9f")
                )
    return bytes(changed)


def _png_that_lies(chance: random.Random) -> bytes:
    """A PNG whose head, lengths or packed texts say more than there is."""

    def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
        size = len(data) if length is None else length
        return struct.pack(">I", size) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    width, height = (chance.choice((0, 1, 300, 4999, 60_000, 2**31 - 1)) for _ in range(2))
    head = struct.pack(
        ">IIBBBBB", width, height, chance.choice((1, 8, 16)), chance.choice((0, 2, 3, 6)), 0, 0, chance.randrange(2)
    )
    parts = [chunk(b"IHDR", head)]
    if chance.random() < 0.4:
        parts.append(chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(chance.randint(1, 9) * 400_000))))
    if chance.random() < 0.3:
        parts.append(chunk(b"iCCP", b"a\x00\x00" + zlib.compress(bytes(2_000_000))))
    length = chance.choice((None, None, 0, 2**31 - 1))
    parts.append(chunk(b"IDAT", zlib.compress(bytes(chance.randint(0, 500_000))), length))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")
