"""fedkit: learn federated learning by running it, between datasites that are folders."""

__version__ = "0.1.0"
