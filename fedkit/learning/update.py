"""What a participant sends: its weights after local training, and what it says about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from fedkit.learning.validated import Validated

__all__ = ["Update"]


@dataclass(frozen=True)
class Update:
    """What a participant sends in a round: its weights (a state dict), and what it says about them.

    state : empty where masks hide it. num_samples : samples behind it, None where unknown. loss : mean loss of its last
    local epoch, in nats, or None. steps : local steps of SGD behind it, None where unknown. extra : what its strategy sends
    beside the weights. seconds : of local training, None where unknown. sha256 : of its file, "" where it has none.
    validation : what it measured on samples that it keeps back, None where it keeps none or tells nothing.
    """

    participant: str
    round: int
    state: Mapping[str, Tensor]
    num_samples: int | None = None
    loss: float | None = None
    steps: int | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    seconds: float | None = None
    sha256: str = ""
    validation: Validated | None = None
