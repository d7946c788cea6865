"""One round: who trains, what each sends, what comes of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fedkit.base.seeds import generator
from fedkit.config.fl_config import FLConfig
from fedkit.privacy.dp.noisy_mean import chosen_in_private

__all__ = ["draw"]


def draw(config: FLConfig, able: Sequence[str], n: int) -> list[str]:
    """Who trains in round n: all that can, or a random `participants_per_round` of them, in the given order."""
    private = chosen_in_private(config, able, n)
    if private is not None:
        return private
    count = config.participants_per_round
    if count is None or count >= len(able):
        return list(able)
    order = torch.randperm(len(able), generator=generator(config.seed, "sample", n)).tolist()
    return [able[position] for position in sorted(order[:count])]
