"""`cwt` decoding a COSE_Sign1 as a CWT: parse, verify the Ed25519 signature, check `exp` and `nbf`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cwt  # type: ignore[import-not-found]  # stands in the environment of the peers only

from bench.peers.driver import serve


def prepare(material: dict[str, Any]) -> Callable[[], object]:
    """Take `credential`, `public_key` and `kid` in hexadecimal, and `alg`, the algorithm that the header names."""
    data = bytes.fromhex(material["credential"])
    # kty OKP, kid, alg, crv Ed25519, x
    key = cwt.COSEKey.new(
        {
            1: 1,
            2: bytes.fromhex(material["kid"]),
            3: material["alg"],
            -1: 6,
            -2: bytes.fromhex(material["public_key"]),
        }
    )
    return lambda: cwt.decode(data, key)


if __name__ == "__main__":
    serve(prepare, ("cwt", "cbor2", "cryptography"))
