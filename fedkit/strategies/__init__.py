"""Aggregation rules: how participants' updates become the next global model. One file per family."""

from fedkit.strategies.base import LocalRun, LocalTerms, ServerState, Strategy
from fedkit.strategies.fedavg import fedavg, mixing_weights
from fedkit.strategies.fednova import FedNova
from fedkit.strategies.registry import STRATEGIES, FedAvg, FedProx, make_strategy
from fedkit.strategies.robust import GeometricMedian, Krum, Median, MultiKrum, NormClip, TrimmedMean
from fedkit.strategies.scaffold import Scaffold
from fedkit.strategies.server import FedAdagrad, FedAdam, FedAvgM, FedYogi

__all__ = [
    "STRATEGIES",
    "FedAdagrad",
    "FedAdam",
    "FedAvg",
    "FedAvgM",
    "FedNova",
    "FedProx",
    "FedYogi",
    "GeometricMedian",
    "Krum",
    "LocalRun",
    "LocalTerms",
    "Median",
    "MultiKrum",
    "NormClip",
    "Scaffold",
    "ServerState",
    "Strategy",
    "TrimmedMean",
    "fedavg",
    "make_strategy",
    "mixing_weights",
]
