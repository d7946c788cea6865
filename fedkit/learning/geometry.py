"""Updates as arrows: how far they point apart, and the plane in which most of that can be seen.

Notebook 06 draws them: where datasites differ, participants drift away from each other, and their mean is short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fedkit.learning.models import flatten
from fedkit.learning.strategies.arithmetic import mixing_weights
from fedkit.learning.update import Update

__all__ = ["agreement", "changes", "principal_plane"]


def changes(model: Mapping[str, Tensor], updates: Sequence[Update]) -> Tensor:
    """Delta_k = w_k - w of each update as one row, float64 [K, D]."""
    start = flatten(model).double()
    return torch.stack([flatten(update.state).double() - start for update in updates])


def agreement(model: Mapping[str, Tensor], updates: Sequence[Update]) -> float:
    """The share of the way that is left after averaging: ||sum_k p_k Delta_k|| / sum_k p_k ||Delta_k||, in 0..1.

    1 where all changes are the same, 0 where they cancel; p_k is the share of the samples. 1 where nobody moved.
    """
    rows, shares = changes(model, updates), torch.tensor(mixing_weights(updates)).double()
    walked = float(shares @ rows.norm(dim=1))
    return float((shares @ rows).norm()) / walked if walked else 1.0


def principal_plane(rows: Tensor) -> tuple[Tensor, tuple[float, float]]:
    """Coordinates float64 [K, 2] of arrows [K, D] in the plane through the origin that holds most of them.

    The plane is spanned by the first two right singular vectors of `rows`, not centred: the origin is the global model.
    The second value is the share of sum_k ||row_k||^2 that lies along each axis. Axes point to where the mean lies.
    """
    left, values, _ = torch.linalg.svd(rows.double(), full_matrices=False)
    placed = torch.zeros(len(rows), 2, dtype=torch.float64)
    found = (left * values)[:, :2]
    placed[:, : found.shape[1]] = found
    placed *= torch.where(placed.mean(0) < 0, -1.0, 1.0)
    energy = values.square() / values.square().sum().clamp(min=1e-300)
    explained = [*energy[:2].tolist(), 0.0][:2]
    return placed, (explained[0], explained[1])
