"""The codecs alone: base45 of 1,400 characters and CBOR of 1 KB, beside what C libraries take for the same bytes."""

from __future__ import annotations

import base64
import hashlib

import cbor2
from chopmark import base45, cbor

from bench.report import MICRO, Group, add_timing, timing_table
from bench.rounds import Contender, alternate, repeated

BASE45_CHARACTERS = 1_400
BASE45_REACH = 20e-6
CBOR_BYTES = 1_024
CBOR_REACH = 60e-6
ROUNDS = 60
TIMES = 200


def random_bytes(label: str, size: int) -> bytes:
    """Bytes that look random and are the same in each run."""
    return hashlib.shake_128(label.encode()).digest(size)


def sample_claims() -> dict[int, cbor.Encodable]:
    """A claim set of a licence with three redacted fields, whose encoding has exactly `CBOR_BYTES`."""
    fields: dict[object, cbor.Encodable] = {
        1: "示例餐饮有限公司",
        2: "广东省广州市天河区示例路一百二十三号首层",
        3: 20_600,
        4: 22_425,
        5: ["热食类食品制售", "冷食类食品制售", "自制饮品制售"],
        6: True,
        7: -3_652,
        8: "",
        cbor.REDACTED: [random_bytes(f"digest {number}", 32) for number in range(3)],
    }
    claims: dict[int, cbor.Encodable] = {
        1: "CN-GD/11440000MB2D0P8Q3X",
        2: "1.2.156.3005.2.11100000000013338W032.11440000MB2D0P8Q3X.JY14401060123456.001.5",
        4: 1_937_433_600,
        6: 1_795_339_800,
        7: random_bytes("cti", 16),
        8: {1: {1: 2, -1: 1, -2: random_bytes("x", 32), -3: random_bytes("y", 32)}},
        11: "CN-GD/11100000000013338W032@3",
        65535: {"status_list": {"idx": 412_345, "uri": "https://licence.cn-gd.example/status/11440000MB2D0P8Q3X-1"}},
        -65537: fields,
    }
    # One more text fills the kilobyte; being longer than 255 bytes its head has three bytes where "" has one.
    left = CBOR_BYTES - len(cbor.encode(claims)) - 2
    fields[8] = "注" * (left // 3) + "." * (left % 3)
    if len(cbor.encode(claims)) != CBOR_BYTES:
        raise AssertionError("the sample claims do not fill a kilobyte")
    return claims


def measure() -> Group:
    """Measure both codecs, both ways."""
    data = random_bytes("base45", BASE45_CHARACTERS // 3 * 2) + b"\x01"
    text = base45.encode(data)
    if len(text) != BASE45_CHARACTERS:
        raise AssertionError(f"{len(text)} characters")
    base64_text = base64.b64encode(data)
    encoded = cbor.encode(sample_claims())
    value = cbor.decode(encoded)
    same_value = cbor2.loads(encoded)
    if cbor2.dumps(same_value) != encoded:
        raise AssertionError("cbor2 reads or writes the sample otherwise")
    series = alternate(
        [
            Contender("base45.encode", repeated(lambda: base45.encode(data), TIMES)),
            Contender("base45.decode", repeated(lambda: base45.decode(text), TIMES)),
            Contender("base64.b64encode", repeated(lambda: base64.b64encode(data), TIMES)),
            Contender("base64.b64decode", repeated(lambda: base64.b64decode(base64_text), TIMES)),
            Contender("cbor.decode", repeated(lambda: cbor.decode(encoded), TIMES)),
            Contender("cbor.encode", repeated(lambda: cbor.encode(value), TIMES)),
            Contender("cbor2.loads", repeated(lambda: cbor2.loads(encoded), TIMES)),
            Contender("cbor2.dumps", repeated(lambda: cbor2.dumps(same_value), TIMES)),
        ],
        rounds=ROUNDS,
    )
    names = ("encode", "decode")
    table = timing_table()
    for name, ours, base in zip(names, series[0:2], series[2:4], strict=True):
        add_timing(
            table,
            f"base45 {name}, {BASE45_CHARACTERS:,} characters",
            ours,
            scale=MICRO,
            unit="µs",
            against="base64 of the standard library (C)",
            ratio=ours.ratio(base),
            reach="≤ 20 µs",
            reached=ours.median <= BASE45_REACH,
        )
    for name, ours, base in zip(reversed(names), series[4:6], series[6:8], strict=True):
        add_timing(
            table,
            f"CBOR {name}, {CBOR_BYTES:,} bytes",
            ours,
            scale=MICRO,
            unit="µs",
            against="cbor2 (compiled, without the checks of the profile)",
            ratio=ours.ratio(base),
            reach="≤ 60 µs",
            reached=ours.median <= CBOR_REACH,
        )
    group = Group("Codecs")
    group.add(table)
    group.add(
        "The CBOR is the claim set of a holder-bound licence with three redacted fields; a target is reached when the "
        "median is."
    )
    return group
