"""The desk of an inspector: challenges, verification and the signed records of it."""
