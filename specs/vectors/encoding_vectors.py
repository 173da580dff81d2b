"""Vectors of the CBOR profile, of base45 and of the `EL1:` text."""

from __future__ import annotations

from typing import Any

from chopmark import base45, cbor, qr_text
from chopmark.cbor import REDACTED, Tagged

from specs.vectors import deflate
from specs.vectors.sample_world import make_world
from specs.vectors.vector_file import FORMAT, LIMIT, UNSUPPORTED, VectorFile, plain

_READ: list[tuple[str, str, str, Any]] = [
    ("zero", "the smallest integer", "00", 0),
    ("integer-23", "the last integer in the first byte", "17", 23),
    ("integer-24", "the first integer that needs a byte of its own", "1818", 24),
    ("integer-255", "the last integer of one byte", "18ff", 255),
    ("integer-256", "the first integer of two bytes", "190100", 256),
    ("integer-65536", "the first integer of four bytes", "1a00010000", 65536),
    ("integer-2-32", "the first integer of eight bytes", "1b0000000100000000", 2**32),
    ("integer-largest", "2^64 − 1", "1bffffffffffffffff", 2**64 - 1),
    ("integer-minus-1", "the largest negative integer", "20", -1),
    ("integer-minus-24", "the last negative integer in the first byte", "37", -24),
    ("integer-minus-25", "the first that needs a byte of its own", "3818", -25),
    ("integer-minus-257", "the first negative integer of two bytes", "390100", -257),
    ("integer-smallest", "−2^64", "3bffffffffffffffff", -(2**64)),
    ("date-before-1970", "a date is days since 1970-01-01: 1949-10-01 is −7397", "391ce4", -7397),
    ("booleans", "booleans are values", "82f4f5", [False, True]),
    ("empty-strings", "empty bytes and empty text", "824060", [b"", ""]),
    ("text", "UTF-8", "66e8af81e785a7", "证照"),
    ("empty-containers", "an empty array and an empty map", "8280a0", [[], {}]),
    (
        "keys-at-the-borders",
        "map keys in bytewise order: 23, 24, 255, 256, then −1",
        "a5170118180218ff03190100042005",
        {23: 1, 24: 2, 255: 3, 256: 4, -1: 5},
    ),
    ("key-text-after-integer", "an integer key before a text key", "a22001616102", {-1: 1, "a": 2}),
    ("key-simple-59", "simple value 59 as a key", "a20101f83b8141aa", {1: 1, REDACTED: [b"\xaa"]}),
    ("tag-18", "tag 18 around an array of four", "d28440a04040", Tagged([b"", {}, b"", b""])),
    ("depth-8", "eight arrays within each other", "8181818181818180", [[[[[[[[]]]]]]]]),
]

_REFUSE: list[tuple[str, str, str, str]] = [
    ("empty", "no value at all", "", FORMAT),
    ("trailing-byte", "a byte behind the value", "0000", FORMAT),
    ("integer-not-shortest-1", "23 in two bytes", "1817", FORMAT),
    ("integer-not-shortest-2", "255 in three bytes", "1900ff", FORMAT),
    ("integer-not-shortest-4", "65,535 in five bytes", "1a0000ffff", FORMAT),
    ("integer-not-shortest-8", "2^32 − 1 in nine bytes", "1b00000000ffffffff", FORMAT),
    ("negative-not-shortest", "−24 in two bytes", "3817", FORMAT),
    ("bytes-length-not-shortest", "a length of 1 in a byte of its own", "580161", FORMAT),
    ("text-length-not-shortest", "a length of 1 in two bytes", "79000161", FORMAT),
    ("array-length-not-shortest", "a count of 1 in a byte of its own", "980100", FORMAT),
    ("map-length-not-shortest", "a count of 1 in a byte of its own", "b8010101", FORMAT),
    ("keys-out-of-order", "key 2 before key 1", "a202000100", FORMAT),
    ("keys-by-length-first", "−1 before 24: the order of RFC 7049, not of RFC 8949", "a22000181800", FORMAT),
    ("key-twice", "key 1 twice", "a201000101", FORMAT),
    ("key-simple-59-twice", "simple(59) twice", "a2f83b00f83b00", FORMAT),
    ("key-boolean", "true as a key", "a1f500", FORMAT),
    ("key-bytes", "a byte string as a key", "a1416100", FORMAT),
    ("key-array", "an array as a key", "a18000", FORMAT),
    ("key-59", "the integer 59 as a key, which libraries confuse with simple(59)", "a1183b00", FORMAT),
    ("key-not-shortest", "key 1 in two bytes", "a1180100", FORMAT),
    ("key-text-too-long", "a text key of 256 bytes", "a1790100" + "61" * 256 + "00", LIMIT),
    ("float-16", "1.0 in two bytes", "f93c00", FORMAT),
    ("float-32", "100000.0", "fa47c35000", FORMAT),
    ("float-64", "1.1", "fb3ff199999999999a", FORMAT),
    ("null", "null", "f6", FORMAT),
    ("undefined", "undefined", "f7", FORMAT),
    ("simple-59-as-value", "simple(59) anywhere but as a key", "f83b", FORMAT),
    ("simple-58-as-key", "another simple value as a key", "a1f83a00", FORMAT),
    ("simple-24-in-two-bytes", "a simple value that is not CBOR", "f818", FORMAT),
    ("reserved-length", "additional information 28", "1c", FORMAT),
    ("bytes-indefinite", "a byte string of indefinite length", "5f4161ff", FORMAT),
    ("text-indefinite", "a text of indefinite length", "7f6161ff", FORMAT),
    ("array-indefinite", "an array of indefinite length", "9f00ff", FORMAT),
    ("map-indefinite", "a map of indefinite length", "bf0000ff", FORMAT),
    ("break-alone", "a break without an indefinite item", "ff", FORMAT),
    ("tag-0", "a date as text", "c06a323032362d31312d3232", FORMAT),
    ("tag-24", "encoded CBOR", "d8184100", FORMAT),
    (
        "tag-28-shared",
        "a shared value: some readers follow references to it until memory is full",
        "d81c81d81d00",
        FORMAT,
    ),
    ("tag-100", "days since 1970 as a tag", "d8641a00000100", FORMAT),
    ("tag-18-not-shortest", "tag 18 in two bytes", "d8128440a04040", FORMAT),
    ("tag-18-around-three", "tag 18 around an array of three", "d28340a040", FORMAT),
    ("text-not-utf-8", "a byte that begins no character", "61ff", FORMAT),
    ("text-surrogate", "half of a surrogate pair", "63eda080", FORMAT),
    ("text-overlong", "`/` in two bytes", "62c0af", FORMAT),
    ("truncated-integer", "ends within an integer", "1901", FORMAT),
    ("truncated-bytes", "ends within a byte string", "4361", FORMAT),
    ("truncated-array", "ends within an array", "8200", FORMAT),
    ("truncated-map", "ends before the last value of a map", "a101", FORMAT),
    ("count-bomb", "an array of 2^32 − 1 elements announced in five bytes", "9affffffff", FORMAT),
    ("bytes-bomb", "a byte string of 2^63 bytes announced in nine", "5b8000000000000000", FORMAT),
    ("depth-9", "nine arrays within each other", "818181818181818180", LIMIT),
    ("items-2049", "an array of 2,049 elements", "990801" + "00" * 2049, LIMIT),
    ("size-8193", "a byte string that makes 8,193 bytes", "591ffe" + "00" * 8190, LIMIT),
]


def cbor_vectors() -> VectorFile:
    """Single values of the profile, and each way of leaving it."""
    file = VectorFile("cbor", "specs/cbor.md")
    for name, description, encoded, value in _READ:
        if cbor.encode(value).hex() != encoded:
            raise SystemExit(f"cbor {name}: {cbor.encode(value).hex()}")
        file.accept(f"cbor-{name}", description, "cbor", {"hex": encoded}, plain(value))
    for name, description, encoded, error in _REFUSE:
        file.refuse(f"cbor-{name}", description, "cbor", {"hex": encoded}, error)
    return file


def base45_vectors() -> VectorFile:
    """base45, as `EL1:` and `EC1:` texts carry it."""
    file = VectorFile("base45", "specs/qr-text.md")
    for name, data in (
        ("empty", b""),
        ("one-byte", b"A"),
        ("two-bytes", b"AB"),
        ("largest-pair", b"\xff\xff"),
        ("largest-single", b"\xff"),
        ("binary", bytes(range(0, 256, 5))),
    ):
        text = base45.encode(data)
        file.accept(f"base45-{name}", f"{len(data)} bytes", "base45", {"text": text}, data.hex())
    for name, description, text in (
        ("single-character", "one character at the end", "BB8A"),
        ("three-above-65535", "three characters that stand for 65,536", "GGW"),
        ("three-largest", "three characters that stand for 91,124", ":::"),
        ("two-above-255", "two characters that stand for 256", "V5"),
        ("lower-case", "a lower-case letter", "bb8"),
        ("outside-the-alphabet", "an underscore", "B_8"),
        ("not-ascii", "a full-width letter", "ＢB8"),
        ("newline", "a newline at the end", "BB8\n"),
    ):
        file.refuse(f"base45-{name}", description, "base45", {"text": text}, FORMAT)
    return file


def qr_text_vectors() -> VectorFile:
    """Texts of QR codes: complete, of our dictionary, within bounds."""
    file = VectorFile("qr-text", "specs/qr-text.md")
    world = make_world()
    data = world.logged(world.issue(world.claims("food")))[0].encode()
    dictionary = qr_text.DICTIONARY
    stream = deflate.compress(data, dictionary)

    def text(packed: bytes, prefix: str = "EL1:") -> dict[str, str]:
        return {"text": prefix + base45.encode(packed)}

    file.accept("qr-text-credential", "a food business licence", "qr_text", text(stream), data.hex())
    file.accept(
        "qr-text-stored",
        "the same bytes, not compressed: another text of the same credential",
        "qr_text",
        text(deflate.store(data, dictionary)),
        data.hex(),
    )
    for name, description, refused, error in (
        ("later-version", "a text of a version that is not known", text(stream, "EL2:"), UNSUPPORTED),
        ("another-prefix", "a text of another system", text(stream, "HC1:"), FORMAT),
        ("prefix-in-lower-case", "`el1:`", text(stream, "el1:"), FORMAT),
        ("space-before-prefix", "a space before the prefix", text(stream, " EL1:"), FORMAT),
        ("no-prefix", "base45 alone", text(stream, ""), FORMAT),
        ("nothing-behind-prefix", "the prefix alone", {"text": "EL1:"}, FORMAT),
        ("not-base45", "a character outside the alphabet", {"text": "EL1:_"}, FORMAT),
        ("no-dictionary", "a zlib stream without the dictionary", text(deflate.compress(data)), FORMAT),
        (
            "another-dictionary",
            "a zlib stream with another dictionary",
            text(deflate.compress(data, dictionary[1:])),
            FORMAT,
        ),
        ("raw-deflate", "deflate without the zlib frame", text(stream[6:-4]), FORMAT),
        ("trailing-byte", "a byte behind the stream", text(stream + b"\0"), FORMAT),
        ("two-streams", "a second stream behind the first", text(stream + stream), FORMAT),
        ("truncated", "the last byte is missing", text(stream[:-1]), FORMAT),
        ("checksum", "the Adler-32 at the end is wrong", text(stream[:-1] + bytes((stream[-1] ^ 1,))), FORMAT),
        (
            "bomb",
            "inflates to 12,289 bytes, one above the bound",
            text(deflate.compress(bytes(12_289), dictionary)),
            LIMIT,
        ),
        ("too-long", "24,577 characters", {"text": "EL1:" + "0" * 24_573}, LIMIT),
    ):
        file.refuse(f"qr-text-{name}", description, "qr_text", refused, error)
    return file
