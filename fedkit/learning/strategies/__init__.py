"""Aggregation rules: how participants' updates become the next global model. One file per family."""

from fedkit.learning.strategies.arithmetic import mixing_weights
from fedkit.learning.strategies.base import LocalRun, LocalTerms, ServerState, Strategy
from fedkit.learning.strategies.fedavg import FedAvg, FedProx, fedavg
from fedkit.learning.strategies.fednova import FedNova
from fedkit.learning.strategies.registry import STRATEGIES, make_strategy
from fedkit.learning.strategies.robust import (
    GeometricMedian,
    Krum,
    Median,
    MultiKrum,
    NormClip,
    TrimmedMean,
)
from fedkit.learning.strategies.scaffold import Scaffold
from fedkit.learning.strategies.server import FedAdagrad, FedAdam, FedAvgM, FedYogi

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
