"""Checking a log, ours or anybody's, from its static files alone."""
