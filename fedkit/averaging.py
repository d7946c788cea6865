"""The aggregator's step with whatever strategy the config names, and that strategy's memory on disk.

The memory of round n (momentum, second moments) lies beside the round's record. It is written before the global model, so a
step that was cut off is taken again from the memory of the round before, to the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from fedkit.base.files import read_state, write_state
from fedkit.boxes import AggregatorProject
from fedkit.config.fl_config import FLConfig
from fedkit.models import StateDict
from fedkit.privacy.dp_aggregate import protected
from fedkit.records import Update
from fedkit.strategies.base import Diagnostics, ServerState, Strategy
from fedkit.strategies.registry import make_strategy

__all__ = ["next_model", "pack", "state_after", "unpack"]

_BETWEEN = "/"


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


def pack(memory: Mapping[str, Mapping[str, Tensor]]) -> StateDict:
    """Named state dicts as one flat state dict."""
    return {
        f"{part}{_BETWEEN}{name}": v for part, state in memory.items() for name, v in state.items()
    }


def unpack(flat: Mapping[str, Tensor]) -> dict[str, StateDict]:
    """The inverse of `pack`."""
    memory: dict[str, StateDict] = {}
    for key, value in flat.items():
        part, _, name = key.partition(_BETWEEN)
        memory.setdefault(part, {})[name] = value
    return memory
