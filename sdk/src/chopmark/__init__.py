"""Formats, proofs, trust and offline verification of electronic licences."""
