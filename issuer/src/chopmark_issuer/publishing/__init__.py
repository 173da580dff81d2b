"""From what the registry holds to what everybody can verify."""
