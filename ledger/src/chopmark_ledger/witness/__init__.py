"""A witness for any logs, and its service."""
