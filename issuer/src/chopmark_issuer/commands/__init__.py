"""The commands `chopmark issuer …` and `chopmark keys …`."""
