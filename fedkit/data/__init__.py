"""Samples: where they come from, how they are dealt out, and how a participant keeps them."""
