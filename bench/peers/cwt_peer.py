"""`cwt` decoding COSE_Sign1 messages as CWTs: parse, verify the Ed25519 signature, check `exp` and `nbf`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import cwt  # type: ignore[import-not-found]  # stands in the environment of the peers only

from bench.peers.driver import serve

LEEWAY = 100 * 365 * 24 * 3600
"""`cwt` knows no other time than the clock's; the samples are of one day, whatever the clock says."""


def prepare(material: dict[str, Any]) -> Callable[[], object]:
    """Take `credentials`, `public_key` and `kid` in hexadecimal, and `alg`, the algorithm that the headers name."""
    next_credential = cycle([bytes.fromhex(credential) for credential in material["credentials"]]).__next__
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
    decode = cwt.CWT.new(leeway=LEEWAY).decode
    return lambda: decode(next_credential(), key)


if __name__ == "__main__":
    serve(prepare, ("cwt", "cbor2", "cryptography"))
