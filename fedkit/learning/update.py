"""What a participant sends: its weights after local training, and what it says about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    pass

__all__ = ["Update"]


@dataclass(frozen=True)
class Update:
    """What a participant sends in a round: its weights (a state dict), and what it says about them.

    num_samples : samples behind it, None where unknown. loss : mean loss of its last local epoch, in nats, or None.
    steps : local steps of SGD behind it, None where unknown. extra : what its strategy sends beside the weights.
    """

    participant: str
    round: int
    state: Mapping[str, Tensor]
    num_samples: int | None = None
    loss: float | None = None
    steps: int | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
