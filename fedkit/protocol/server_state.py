"""What the aggregator carries from round to round, on disk: the global model, and the strategy's memory beside it.

The memory of round n (momentum, second moments) lies beside the round's record. Memory first, then the record, then the
global model: a step that was cut off is taken again from the state of the round before, to the same bits.
"""

from __future__ import annotations

from dataclasses import asdict

from fedkit.base.files import read_state, write_json, write_state
from fedkit.datasite.paths import AggregatorProject
from fedkit.learning.strategies.base import ServerState, Strategy, pack, unpack
from fedkit.rounds.history import RoundRecord

__all__ = ["state_after", "write_round"]


def state_after(place: AggregatorProject, strategy: Strategy, n: int) -> ServerState:
    """What the aggregator carries after round n (0: before the first), from its files."""
    model = read_state(place.global_model(n))
    state = strategy.init(model)
    if state.memory and n > 0:
        return ServerState(model, unpack(read_state(place.memory(n))))
    return state


def write_round(place: AggregatorProject, after: ServerState, record: RoundRecord) -> None:
    """End a round: what is carried on from it, in the order that survives being cut off anywhere."""
    if after.memory:
        write_state(place.memory(record.round), pack(after.memory))
    write_json(place.record(record.round), asdict(record))
    write_state(place.global_model(record.round), after.model)
