"""Rounds without the wire: one round as pure functions, the simulation around it, and what is remembered."""
