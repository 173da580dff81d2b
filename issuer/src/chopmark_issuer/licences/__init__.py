"""Licences and what is done with them, each act in one transaction."""
