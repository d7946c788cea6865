"""What an aggregator holds of one participant's round: the only thing that the attacks of this package may look at.

`evidence(network, email, 1)` reads it from the aggregator's own folder: the global model of the round before, the update,
the config and the model's source. No attack gets anything else. Notebook 08.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from fedkit.base.errors import FedkitError
from fedkit.base.files import is_file, read_bytes, read_json, read_state, sha256_bytes
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.projects import find_project
from fedkit.datasite.round_plan import read_plan
from fedkit.learning.models import StateDict, load_model
from fedkit.learning.strategies.arithmetic import delta

__all__ = ["Evidence", "evidence"]


@dataclass(frozen=True)
class Evidence:
    """One participant's round, as it crossed the wire.

    before : the global model it started from. update : what it sent back. source : the bytes of `model.py`.
    learning_rate, epochs : what the round asked for. num_samples : what the participant says about its
    update, None where it says nothing. sha256 : of the update's file, as the ledger has it.
    """

    participant: str
    round: int
    config: FLConfig
    source: bytes
    before: StateDict
    update: StateDict
    learning_rate: float
    epochs: int
    num_samples: int | None
    sha256: str = ""

    @property
    def change(self) -> StateDict:
        """update - before, float64, for every tensor of floating point numbers."""
        return delta(self.before, self.update)

    @property
    def gradient(self) -> StateDict:
        """-change / learning_rate: the gradient of the loss after one step, the sum of the gradients after more.

        Raises FedkitError where the steps were not those of plain SGD: nothing of the kind follows from them.
        """
        if self.config.optimizer is not None and not self.config.optimizer.plain:
            raise FedkitError(
                f"took steps of {self.config.optimizer.name}, which are not the learning rate times a gradient",
                field="optimizer",
                remedy="take a project with plain SGD",
            )
        return {name: -value / self.learning_rate for name, value in self.change.items()}

    @property
    def steps(self) -> int | None:
        """How many steps of SGD lie between the two: epochs x ceil(samples / batch size), or fewer if it ended early."""
        if self.num_samples is None:
            return None
        return self.epochs * math.ceil(self.num_samples / self.config.batch_size)

    def model(self, state: Mapping[str, Tensor]) -> nn.Module:
        """The project's model with the weights `state`, such as `before` or `update`, to be asked what it thinks."""
        model = load_model(self.source, self.config.model_class_name, task=self.config.task)
        model.load_state_dict(dict(state))
        return model.eval()


class Run(Protocol):
    """Several datasites and who leads them: a `Network`, of which no more than this is needed here."""

    aggregator: str
    sites: dict[str, Datasite]


def evidence(
    where: Datasite | Run, participant: str, round_number: int = 1, project: str | None = None
) -> Evidence:
    """Read from the aggregator's folder what it has of this participant's round.

    where : the aggregator's datasite, or the network that it leads. project : by default the one launched last.
    Raises FedkitError if the round's files are not there.
    """
    site = where if isinstance(where, Datasite) else where.sites[where.aggregator]
    place = find_project(site, project)
    config = FLConfig.load(place.config)
    files = place.global_model(round_number - 1), place.update(participant, round_number)
    for path in files:
        if not is_file(path):
            raise FedkitError(
                "has not arrived",
                file=path,
                remedy="choose a participant and a round whose update is there",
            )
    before, update = map(read_state, files)
    said = read_json(place.update_info(participant, round_number))
    count = said.get("num_samples") if isinstance(said, dict) else None
    plan = read_plan(place, round_number)
    return Evidence(
        participant,
        round_number,
        config,
        read_bytes(place.path / config.model_arch),
        before,
        update,
        plan.learning_rate if plan else config.learning_rate,
        plan.epoch if plan else config.epoch,
        count if isinstance(count, int) and count > 0 else None,
        sha256_bytes(read_bytes(files[1])),
    )
