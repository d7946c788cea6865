"""What the aggregator carries from round to round, on disk: the global model, and the strategy's memory beside it.

The memory of round n (momentum, second moments) lies beside the round's record. Memory first, then the record, then the
global model: a step that was cut off is taken again from the state of the round before, to the same bits.
"""

from __future__ import annotations

from fedkit.learning.strategies.base import ServerState, pack, unpack
from fedkit.protocol.project import AtAggregator
from fedkit.rounds.history import RoundRecord

__all__ = ["state_after", "write_round"]


def state_after(at: AtAggregator, n: int) -> ServerState:
    """What the aggregator carries after round n (0: before the first), from its files."""
    model = at.read_state(at.place.global_model(n))
    state = at.strategy.init(model)
    if state.memory and n > 0:
        return ServerState(model, unpack(at.read_state(at.place.memory(n))))
    return state


def write_round(at: AtAggregator, after: ServerState, record: RoundRecord) -> None:
    """End a round: what is carried on from it, in the order that survives being cut off anywhere."""
    if after.memory:
        at.write_state(at.place.memory(record.round), pack(after.memory))
    at.write_json(at.place.record(record.round), record.to_dict())
    at.write_state(at.place.global_model(record.round), after.model)
