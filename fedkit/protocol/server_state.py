"""The aggregator's step with whatever strategy the config names, and that strategy's memory on disk.

The memory of round n (momentum, second moments) lies beside the round's record. It is written before the global model, so a
step that was cut off is taken again from the memory of the round before, to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedkit.base.files import read_state, write_state
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.paths import AggregatorProject
from fedkit.learning.models import StateDict
from fedkit.learning.strategies.base import Diagnostics, ServerState, Strategy, pack, unpack
from fedkit.learning.strategies.registry import make_strategy
from fedkit.learning.update import Update
from fedkit.privacy.dp.noisy_mean import protected

__all__ = ["next_model", "state_after"]


def next_model(
    place: AggregatorProject, config: FLConfig, updates: Sequence[Update], n: int
) -> tuple[StateDict, Diagnostics]:
    """The global model of round n from these updates, and what the rule says about it. Raises FedkitError."""
    strategy = protected(make_strategy(config), config)
    after, diagnostics = strategy.apply(state_after(place, strategy, n - 1), updates)
    if after.memory:
        write_state(place.memory(n), pack(after.memory))
    return dict(after.model), diagnostics


def state_after(place: AggregatorProject, strategy: Strategy, n: int) -> ServerState:
    """What the aggregator carries after round n (0: before the first), from its files."""
    model = read_state(place.global_model(n))
    state = strategy.init(model)
    if state.memory and n > 0:
        return ServerState(model, unpack(read_state(place.memory(n))))
    return state
