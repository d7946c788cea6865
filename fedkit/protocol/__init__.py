"""The files between datasites: two state machines, what a person approves, and `advance()`, their only verb."""
