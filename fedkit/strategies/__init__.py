"""Aggregation rules: how participants' updates become the next global model. One file per family."""

from fedkit.strategies.fedavg import fedavg, mixing_weights

__all__ = ["fedavg", "mixing_weights"]
