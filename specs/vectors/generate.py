"""Write the vector files of this folder, or check that they are what this program writes.

    python -m specs.vectors.generate
    python -m specs.vectors.generate --check

Everything follows from seeds: keys, salts, nonces and even compressed bytes, so that each run writes the same files.
Outcomes are declared here, never asked of the SDK; `tests/specs` runs the vectors against it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from specs.vectors.bundle_vectors import bundle_vectors
from specs.vectors.cosignature_vectors import cosignature_vectors
from specs.vectors.credential_vectors import credential_vectors
from specs.vectors.encoding_vectors import base45_vectors, cbor_vectors, qr_text_vectors
from specs.vectors.log_vectors import entry_vectors, landmark_vectors, tile_vectors
from specs.vectors.material import Material
from specs.vectors.merkle_vectors import merkle_vectors
from specs.vectors.note_vectors import checkpoint_vectors, note_vectors
from specs.vectors.number_vectors import number_vectors
from specs.vectors.policy_vectors import policy_vectors, proof_vectors
from specs.vectors.presentation_vectors import challenge_vectors, presentation_vectors
from specs.vectors.record_vectors import key_file_vectors, record_vectors
from specs.vectors.root_vectors import root_vectors
from specs.vectors.signing_vectors import cose_vectors, key_vectors
from specs.vectors.status_vectors import status_vectors
from specs.vectors.store_vectors import store_vectors
from specs.vectors.vector_file import VectorFile
from specs.vectors.verdict_vectors import verdict_vectors
from specs.vectors.witness_subtree_vectors import witness_subtree_vectors
from specs.vectors.witness_vectors import witness_vectors

FOLDER = Path(__file__).parent
STATELESS = (
    cbor_vectors,
    base45_vectors,
    qr_text_vectors,
    key_vectors,
    cose_vectors,
    credential_vectors,
    presentation_vectors,
    challenge_vectors,
    merkle_vectors,
    tile_vectors,
    entry_vectors,
    landmark_vectors,
    note_vectors,
    checkpoint_vectors,
    cosignature_vectors,
    policy_vectors,
    proof_vectors,
    status_vectors,
    number_vectors,
    root_vectors,
    bundle_vectors,
    record_vectors,
    key_file_vectors,
    witness_vectors,
    witness_subtree_vectors,
)


def generate() -> Iterator[tuple[str, str]]:
    """Make every file: its name and its text."""
    files: list[VectorFile] = [make() for make in STATELESS]
    material = Material()
    files.append(store_vectors(material))
    verdicts, stores = verdict_vectors(material)
    files.append(verdicts)
    pin = files[-2].shared.pop("pin")
    for file in files:
        yield f"{file.name}.json", file.render()
    shared = {"spec": "specs/trust-store.md", "pin": pin, "files": material.files, "stores": stores}
    yield "material.json", json.dumps(shared, ensure_ascii=False, indent=1) + "\n"


def main() -> int:
    """Write or check; the exit code is 0 when the files are those made here."""
    parser = argparse.ArgumentParser(description="Write or check the vector files.")
    parser.add_argument("--check", action="store_true", help="change nothing; answer 1 where a file differs")
    arguments = parser.parse_args()
    made = dict(generate())
    differing = []
    for name, text in made.items():
        path = FOLDER / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        differing.append(name)
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
    stray = sorted(path.name for path in FOLDER.glob("*.json") if path.name not in made)
    verb = "differs" if arguments.check else "written"
    sys.stdout.writelines(f"{name} {verb}\n" for name in differing)
    sys.stdout.writelines(f"{name} is made by nothing here\n" for name in stray)
    return 1 if stray or (arguments.check and differing) else 0


if __name__ == "__main__":
    sys.exit(main())
