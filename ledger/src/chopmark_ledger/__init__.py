"""The append-only log of electronic licences: sequencing, tiles, checkpoints, landmarks, witness."""
