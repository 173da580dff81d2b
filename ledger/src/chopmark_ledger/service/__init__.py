"""The log over HTTP: its service, how that is operated, and the client that uses it."""
