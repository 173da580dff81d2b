"""The commands `chopmark log …` and `chopmark witness …`."""
