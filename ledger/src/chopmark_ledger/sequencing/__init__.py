"""The log itself: one writer that commits entries, the tree they make, and its landmarks."""
