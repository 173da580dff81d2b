"""Private keys: in this process, or in one of their own that signs over a socket."""
