"""A whole batch, exactly: the change of a first layer has low rank, and ReLU makes one of its factors sparse.

For a batch X [b, D] the change is C = Z X, where Z [H, b] holds what each image has done to each hidden unit. Any
factorisation C = L R has Z = L Q for some Q [b, b]. Wherever a unit stays off for an image, Z has a zero; so the columns
q of Q are the directions in which L q has many zeros. Guess b - 1 units that are off for the same image: q is what they
all are orthogonal to (SPEAR: Dimitrov et al. 2024, "Exact gradient inversion of batches in federated learning"). The bias
adds a column of ones to X and so the scale. It works for any number of local epochs in which enough units stay off.
Notebook 08.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["exact_batch"]


_MORE_ZEROS = 3
"""A direction counts once so many more units are off than it was guessed from."""


def exact_batch(
    weight: Tensor,
    bias: Tensor,
    *,
    generator: torch.Generator,
    guesses: int = 60_000,
    tolerance: float = 1e-6,
) -> Tensor:
    """All images of a small batch, [b, D] float64, in no order; empty, [0, D], where the batch can't be told apart.

    weight [H, D], bias [H] : a first layer's gradient, or its change. guesses : sets of b - 1 units that are tried; up to 8
    images need some ten thousands, and every image more doubles it. tolerance : singular values below this times the
    largest are rounding.
    """
    rows = torch.cat([weight, bias[:, None]], 1).double()
    left, values, right = torch.linalg.svd(rows, full_matrices=False)
    rank = int((values > tolerance * values[0]).sum())
    nothing = rows.new_zeros(0, weight.shape[1])
    if rank == len(values) or rank == 0:
        return nothing
    units = left[:, :rank]
    units = units[units.norm(dim=1) > 1e-5]  # a unit that no image moved says nothing
    rounding = max(10 * float(values[rank] / values[rank - 1]), 1e-9)
    directions = _sparsest(units, *_candidates(units, rounding, guesses, generator), rounding)
    if len(directions) < rank:
        return nothing
    images = torch.linalg.solve(directions.T, values[:rank, None] * right[:rank])
    scaled: Tensor = images[:, :-1] / images[:, -1:]
    return scaled


def _candidates(
    units: Tensor, rounding: float, guesses: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Directions [n, b] orthogonal to b - 1 random units each, and how many units each is orthogonal to; most first."""
    rank = units.shape[1]
    directions: list[Tensor] = []
    zeros: list[Tensor] = []
    if rank == 1:
        return units.new_ones(1, 1), torch.tensor([0])
    for start in range(0, guesses, 20_000):
        count = min(20_000, guesses - start)
        chosen = torch.rand(count, len(units), generator=generator).topk(rank - 1).indices
        guess = units[chosen]
        solved = torch.linalg.solve_ex(guess[..., :-1], -guess[..., -1:]).result[..., 0]
        q = torch.cat([solved, solved.new_ones(count, 1)], 1)
        q = q / q.norm(dim=1, keepdim=True)
        off = ((q @ units.T).abs() < rounding).sum(1)
        good = (off >= rank - 1 + _MORE_ZEROS) & q.isfinite().all(1)
        directions.append(q[good])
        zeros.append(off[good])
    order = torch.cat(zeros).argsort(descending=True, stable=True)
    return torch.cat(directions)[order], torch.cat(zeros)[order]


def _sparsest(units: Tensor, directions: Tensor, zeros: Tensor, rounding: float) -> Tensor:
    """The basis with the most zeros: take the best direction that is independent of those taken, again and again.

    A mixture of images is off only where all of them are off, so each image alone comes before its mixtures.
    """
    taken: list[Tensor] = []
    rest = directions.clone()
    while len(directions) and len(taken) < units.shape[1]:
        off = (units @ directions[0]).abs() < rounding
        exact = torch.linalg.svd(units[off], full_matrices=True).Vh[-1]
        taken.append(exact)
        along = rest[0] / rest[0].norm()
        rest = rest - (rest @ along)[:, None] * along
        new = rest.norm(dim=1) > 1e-3
        rest, directions = rest[new], directions[new]
    return torch.stack(taken) if taken else units.new_zeros(0, units.shape[1])
