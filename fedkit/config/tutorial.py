"""The tutorial's experiment: who takes part, and the eight keys of its `fl_config.json`. Notebook 02 writes it by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["AGGREGATOR", "PARTICIPANTS", "tutorial_keys", "tutorial_participants"]


AGGREGATOR = "aggregator@example.org"
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")
PARTICIPANTS = tuple(f"{name}@example.org" for name in NAMES[:2])


def tutorial_participants(count: int) -> list[str]:
    """The e-mails of the first `count` participants: alice, bob, ... judy, participant11, ..."""
    more = (f"participant{n}" for n in range(len(NAMES) + 1, count + 1))
    return [f"{name}@example.org" for name in [*NAMES, *more][:count]]


def tutorial_keys(
    participants: Sequence[str] = PARTICIPANTS, aggregator: str = AGGREGATOR
) -> dict[str, Any]:
    """The content of the tutorial's `fl_config.json`, in its order."""
    return {
        "project_name": "MNIST_FL",
        "aggregator": aggregator,
        "participants": list(participants),
        "rounds": 3,
        "model_arch": "model.py",
        "model_weight": "global_model_weight.pt",
        "epoch": 10,
        "learning_rate": 0.1,
    }
