"""Every random choice comes from (seed, who, when), so that order and parallelism change nothing.

A learner does this: `generator(seed, "alice@example.org", 3)` gives the same shuffles for Alice's round 3,
whoever trains before her and however often the round is repeated.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["derive", "generator"]


def derive(seed: int, *keys: str | int) -> int:
    """An integer in [0, 2**63) that depends on the seed and on every key, in order.

    The keys are hashed (SHA-256), so nearby seeds give unrelated streams.
    """
    digest = hashlib.sha256(json.dumps([seed, *keys]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *keys: str | int) -> torch.Generator:
    """A CPU `torch.Generator` of its own for (seed, *keys)."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *keys))
