"""`openvc-core` verifying an SD-JWT VC with key binding: both signatures, digests, times, audience and nonce.

It issues and presents the SD-JWT itself, from the claims of the credential that it stands beside. Left out, as it is
not part of this call: whether the issuer is trusted, the status, and any log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openvc.keys import Ed25519SigningKey, P256SigningKey  # type: ignore[import-not-found]  # as in cwt_peer.py
from openvc.proof.sd_jwt import SdJwtVcProofSuite  # type: ignore[import-not-found]  # as in cwt_peer.py

from bench.peers.driver import serve

AUDIENCE = "https://inspector.cn-sh.example"
NONCE = "5f0d6b2e9c"
RUN = 24 * 3600


def prepare(material: dict[str, Any]) -> Callable[[], object]:
    """Take `claims`, `vct` and `disclosable`, the names of the claims that are selectively disclosed."""
    suite = SdJwtVcProofSuite()
    issuer = Ed25519SigningKey.generate("issuer-key")
    holder = P256SigningKey.generate("holder-key")
    issued = suite.issue(
        material["claims"],
        signing_key=issuer,
        disclosable=material["disclosable"],
        holder_jwk=holder.public_jwk(),
        vct=material["vct"],
    )
    presentation = suite.create_presentation(issued, holder_key=holder, audience=AUDIENCE, nonce=NONCE)
    public_key = issuer.public_jwk()

    def verify() -> object:
        verified = suite.verify(
            presentation,
            public_key_jwk=public_key,
            audience=AUDIENCE,
            nonce=NONCE,
            require_key_binding=True,
            expected_vct=material["vct"],
            kb_max_age_s=RUN,
        )
        if not verified.key_bound:
            raise AssertionError("not key bound")
        return verified

    return verify


if __name__ == "__main__":
    serve(prepare, ("openvc-core", "pyjwt", "cryptography"))
