"""`make serve`: two regions of the demo as services that go on running."""
