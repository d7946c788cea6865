"""Things that go wrong for real, and what became of each update."""
