"""FedBN: batch normalisation stays at home.

(Li et al. 2021, "FedBN: federated learning on non-IID features via local batch normalization", arXiv:2102.07623)

Where participants' images look different (another scanner, another light), a batch normalisation layer's statistics and
weights say how the own images look. Averaged, they fit nobody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.learning.models import StateDict
from fedkit.learning.strategies.base import LocalRun
from fedkit.learning.strategies.fedavg import FedAvg

__all__ = ["FedBN"]


@dataclass(frozen=True)
class FedBN(FedAvg):
    """FedAvg of everything but batch normalisation, which each participant keeps   (Li et al. 2021, algorithm 1).

    w_l <- sum_k (n_k / n) w_{k,l}     for every layer l that is no batch normalisation

    Their weights and running statistics never leave a participant: in their place an update carries what the global model
    had, the seed weights'. So does the global model in every round: what the aggregator evaluates is the averaged layers
    with batch normalisation as at the start, and no measure of FedBN. A participant's own model is `begin(global, memory)`,
    the averaged layers with its own; `fk.fine_tune(home=memory)` judges that one.

    Raises FedkitError for a model without batch normalisation (layers with running statistics).
    """

    @property
    def two_sided(self) -> bool:
        """Something is remembered at each participant; what travels beside the weights is empty of meaning."""
        return True

    def beside(self, model: Mapping[str, Tensor]) -> StateDict:
        """A single zero."""
        if not _at_home(model):
            raise FedkitError(
                "is fedbn, and the model has no batch normalisation that could stay at home",
                field="strategy.name",
                remedy="take fedavg, or a model with nn.BatchNorm2d or nn.BatchNorm1d",
            )
        return _nothing()

    def broadcast(self, state: object) -> StateDict:
        """A single zero."""
        return _nothing()

    def begin(self, model: Mapping[str, Tensor], memory: Mapping[str, Tensor]) -> StateDict:
        """The averaged layers with the participant's own batch normalisation; the global model's in its first round."""
        return {name: memory.get(name, value) for name, value in model.items()}

    def report(self, run: LocalRun) -> tuple[StateDict, StateDict]:
        """A single zero, there and here; `divide` says the rest."""
        return _nothing(), _nothing()

    def divide(
        self, model: Mapping[str, Tensor], end: Mapping[str, Tensor]
    ) -> tuple[StateDict, StateDict]:
        """(the update, with the global model's batch normalisation in it; the participant's own, which stays)."""
        kept = {name: end[name] for name in _at_home(model)}
        return {name: model[name] if name in kept else value for name, value in end.items()}, kept


_STATISTICS = "running_mean"


def _at_home(model: Mapping[str, Tensor]) -> list[str]:
    """The names of all that belongs to a layer with running statistics."""
    layers = {name.removesuffix(_STATISTICS) for name in model if name.endswith(_STATISTICS)}
    return [name for name in model if name[: name.rfind(".") + 1] in layers]


def _nothing() -> StateDict:
    return {"nothing": torch.zeros(())}
