"""The real service over a sample world, at the time of its samples.

    python -m tests.verifier.served_verifier DIR PORT

`DIR/trust` is its trust store; `DIR/records` and the inspector's key make it a desk. It says where it listens in its
log, as the command does.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from chopmark_service.server import serve
from chopmark_verifier.desk_keeper import DeskOptions
from chopmark_verifier.service import make_application
from chopmark_verifier.service_settings import VerifierSettings
from fastapi import FastAPI

from specs.vectors.sample_world import NOW, make_world

BEGAN = time.time()


def make(settings: VerifierSettings) -> FastAPI:
    """The application, whose clock began at the moment of the samples."""

    def load_options(told: VerifierSettings) -> DeskOptions | None:
        return DeskOptions(make_world().inspector_signer, told.records) if told.records is not None else None

    return make_application(settings, load_options=load_options, clock=lambda: NOW + time.time() - BEGAN)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    clients = folder / "clients.json"
    serve(
        "tests.verifier.served_verifier:make",
        VerifierSettings(
            trust=folder / "trust",
            refresh=False,
            key=folder / "inspector.key",
            records=folder / "records",
            clients=clients if clients.exists() else None,
            port=int(sys.argv[2]),
            image_processes=1,
        ),
    )
