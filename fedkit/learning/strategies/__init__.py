"""Aggregation rules: how participants' updates become the next global model. One file per family."""
