"""From what is committed to what everybody can verify: files, cosignatures, proofs."""
