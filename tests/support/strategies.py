"""Updates of a tiny model, and what a rule makes of them."""

import torch

from fedkit.learning.update import Update

MODEL = {"w": torch.tensor([1.0, -2.0, 0.5]), "b": torch.tensor([0.25]), "n": torch.tensor(7)}


def updates(*rows: list[float], counts: list[int] | None = None) -> list[Update]:
    """Updates whose change from MODEL is a row of four numbers (three for w, one for b)."""
    return [
        Update(
            f"p{k}@example.org",
            1,
            {
                "w": MODEL["w"] + torch.tensor(row[:3]),
                "b": MODEL["b"] + torch.tensor(row[3:]),
                "n": MODEL["n"],
            },
            counts[k] if counts else 10,
        )
        for k, row in enumerate(rows)
    ]


def change(strategy, *rounds: list[Update]) -> torch.Tensor:
    """How far the model has moved after these rounds, float64 [4]."""
    state = strategy.init(MODEL)
    for arrived in rounds:
        state, _ = strategy.apply(state, arrived)
    after = state.model
    assert after["n"] == 7
    assert after["n"].dtype == torch.int64
    assert after["w"].dtype == torch.float32
    moved = [(after[name] - MODEL[name]).double() for name in ("w", "b")]
    return torch.cat(moved)
