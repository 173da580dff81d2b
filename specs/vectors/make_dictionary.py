"""Write the preset dictionary of `EL1:` texts, or check the one that the SDK ships.

    python specs/vectors/make_dictionary.py --check
    python specs/vectors/make_dictionary.py --write sdk/src/chopmark/el1.dictionary

The dictionary is fixed for ever: this program documents what it is made of, and reproduces it to the byte. It holds
what credentials of the first licence types have in common: words of their values, then the CBOR that surrounds
values, in the order in which they stand in a credential. What most credentials have stands last, where deflate
refers to it with the fewest bits. Names and addresses of nobody are in it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zlib
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "sdk" / "src" / "chopmark" / "el1.dictionary"
SIZE_LIMIT = 1024

ENGLISH = (
    "Sidewalk Cafe",
    "Laundry",
    "Secondhand Dealer",
    "Home Improvement Contractor",
    "Home Repair",
    "Tobacco Retail",
    "Retail Food Establishment",
    "Retail Sales of Perishable Foods",
    "Limited Business License",
    " SERVICES",
    " CORP.",
    ", INC.",
    " LLC",
    " COURT ST",
    " STREET",
    "BROOKLYN",
    "NEW YORK",
    " W CHICAGO AVE",
    " CHICAGO",
)
"""Words of licences of two cities of the United States, rare ones first."""

CHINESE = (
    "水利水电",
    "公路机电工程",
    "市政公用工程",
    "建筑工程",
    "二级注册建造师",
    "出租汽车",
    "危险",
    "经营性道路旅客运输驾驶员",
    "道路货物运输驾驶员",
    "个体工商户",
    "单位食堂",
    "食品销售经营者",
    "餐饮服务经营者（中型餐馆）",
    "特殊食品销售（保健食品）",
    "糕点类食品制售",
    "自制饮品制售",
    "冷食类热食类食品制售",
    "散装预包装食品销售",
    "分公司",
    "有限公司",
    "上海市浦东新区",
    "广东省广州市",
    "街道路号楼层室",
)
"""Words of licences of the first two Chinese regions."""

STRUCTURE: tuple[bytes | str, ...] = (
    # A key binding token: after the credential typ 294, then the payload with audience, time and challenge.
    b"\x10\x19\x01\x26\xa0\x58\x43\xa3\x03\x78\x18",
    b"\x06\x1a\x6b\x18\x27\x58\x20",
    b"\x10\x19\x01\x26\xa0\x4a\xa2\x03\x61*\x06\x1a\x6b",
    b"\xd2\x84\x59\x04",
    b"\xa3\x01\x28\x0d\xd2\x84\x52\xa3\x01\x32\x04\x48",
    b"\x10\x19\x01\x25\xa2\x11\x83\x58\x26\x83\x50",
    # Claims.
    b"\x59\x01\xd0\xa8\x01\x78\x18CN-SH/11310000",
    "US-NY/",
    "US-IL/",
    "CN-GD/11440000MB2",
    b"\x02\x78\x4e",
    "1.2.156.3005.2.11100000000013338W0",
    ".001.",
    b"\x08\xa1\x01\xa4\x01\x02\x20\x01\x21\x58\x20",
    b"\x22\x58\x20",
    b"\x0b\x78\x1d",
    "@1",
    b"\x19\xff\xff\xa1\x6bstatus_list\xa2\x63idx\x1a\x00",
    b"\x63uri\x78\x1e",
    "https://status.cn-sh.example/",
    "https://cn-gd.example/status/1",
    b"\x3a\x00\x01\x00\x00\xa9\x01\x78",
    b"\x19\x50\xf8\x3b\x83\x58\x20",
    b"\x58\x40",
    # The start: bearer, then holder-bound.
    b"\xd2\x84\x50\xa3\x01\x32\x04\x48",
    b"\x10\x18\x3d\xa1\x3a\x00\x01\x00\x01\x85\x03",
    b"\x10\x19\x01\x25\xa1\x3a\x00\x01\x00\x01\x85\x03\x1a\x00",
    b"\x59\x01\x40",
)
"""What stands around the values."""


def dictionary() -> bytes:
    """Put the dictionary together."""
    fragments = (*ENGLISH, *CHINESE, *STRUCTURE)
    return b"".join(fragment.encode() if isinstance(fragment, str) else fragment for fragment in fragments)


def main() -> int:
    """Write or check; the exit code is 0 when the file shipped is the one made here."""
    parser = argparse.ArgumentParser(description="Write or check the preset dictionary of EL1 texts.")
    parser.add_argument("--write", type=Path, metavar="FILE")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    made = dictionary()
    sys.stdout.write(
        f"{len(made)} bytes of {SIZE_LIMIT}, DICTID {zlib.adler32(made):#010x}, "
        f"SHA-256 {hashlib.sha256(made).hexdigest()}\n"
    )
    if arguments.write is not None:
        arguments.write.write_bytes(made)
    if arguments.check and SHIPPED.read_bytes() != made:
        sys.stdout.write(f"{SHIPPED} differs\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
