"""All vectors of `verification.json`."""

from __future__ import annotations

from specs.vectors.logging_verdicts import add_authority, add_issuer, add_log
from specs.vectors.material import Material
from specs.vectors.showing_verdicts import add_disclosures, add_holder, add_reading, add_status, add_validity
from specs.vectors.vector_file import VectorFile
from specs.vectors.verdict_stage import Stage


def verdict_vectors(material: Material) -> tuple[VectorFile, dict[str, list[dict[str, object]]]]:
    """The vectors, and the stores that they name as the steps that fill them."""
    stage = Stage(material)
    for add in (add_reading, add_holder, add_issuer, add_disclosures, add_log, add_authority, add_validity, add_status):
        add(stage)
    return stage.file, stage.stores
