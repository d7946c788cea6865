"""Aggregation rules: how participants' updates become the next global model. One file per family."""

from fedkit.strategies.base import ServerState, Strategy
from fedkit.strategies.fedavg import fedavg, mixing_weights
from fedkit.strategies.registry import STRATEGIES, FedAvg, FedProx, make_strategy, proximal_mu
from fedkit.strategies.robust import GeometricMedian, Krum, Median, MultiKrum, NormClip, TrimmedMean
from fedkit.strategies.server import FedAdagrad, FedAdam, FedAvgM, FedYogi

__all__ = [
    "STRATEGIES",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgM",
    "FedProx",
    "FedYogi",
    "GeometricMedian",
    "Krum",
    "Median",
    "MultiKrum",
    "NormClip",
    "ServerState",
    "Strategy",
    "TrimmedMean",
    "fedavg",
    "make_strategy",
    "mixing_weights",
    "proximal_mu",
]
