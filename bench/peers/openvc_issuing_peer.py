"""`openvc-core` signing SD-JWT VCs of the claims of a licence with Ed25519; nothing is stored or logged."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from openvc.keys import Ed25519SigningKey  # type: ignore[import-not-found]  # as in cwt_peer.py
from openvc.proof.sd_jwt import SdJwtVcProofSuite  # type: ignore[import-not-found]  # as in cwt_peer.py

from bench.peers.driver import serve


def prepare(material: dict[str, Any]) -> Callable[[], object]:
    """Take `claims` and `vct`; every operation signs another licence number."""
    suite = SdJwtVcProofSuite()
    issuer = Ed25519SigningKey.generate("issuer-key")
    numbers = count()

    def issue() -> object:
        claims = {**material["claims"], "sub": f"licence {next(numbers)}"}
        return suite.issue(claims, signing_key=issuer, disclosable=[], vct=material["vct"])

    return issue


if __name__ == "__main__":
    serve(prepare, ("openvc-core", "pyjwt", "cryptography"))
