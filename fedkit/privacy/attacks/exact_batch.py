"""A whole batch, exactly: the change of a first layer has low rank, and ReLU makes one of its factors sparse.

For a batch X [b, D] the change is C = Z X, where Z [H, b] holds what each image has done to each hidden unit. Any
factorisation C = L R has Z = L Q for some Q [b, b]. Wherever a unit stays off for an image, Z has a zero; so the columns
q of Q are the directions in which L q has many zeros. Guess b - 1 units that are off for the same image: q is what they
all are orthogonal to (SPEAR: Dimitrov et al. 2024, "Exact gradient inversion of batches in federated learning"). The bias
adds a column of ones to X and so the scale. It works for any number of local epochs in which enough units stay off.

Where the guesses do not suffice, some directions are mixtures, and what follows from them are no images, though each lies
in the row space and some have pixels from 0 to 1. So every image is put to the proof: fed to the global model, it has to
give the very gradient that it was read from. Notebook 08.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fedkit.learning.judging import criterion_of
from fedkit.privacy.attacks.evidence import Evidence
from fedkit.privacy.attacks.first_layer import first_layer, layer_name

__all__ = ["exact_batch"]


_MORE_ZEROS = 3
"""A direction counts once so many more units are off than it was guessed from."""
_RESIDUAL = 5e-5
"""An image whose gradient is so near to what was sent is the one. Rounding leaves less, a mixture a thousand times more."""
_OUTSIDE = 1e-3
"""A pixel may leave 0..1 by so much."""
_KINK = 1e-4
"""A unit so near to its kink may be on or off."""


def exact_batch(
    seen: Evidence,
    *,
    generator: torch.Generator,
    guesses: int = 60_000,
    tolerance: float = 1e-6,
) -> Tensor:
    """The images of a small batch that can be proved, [n, D] float64 in no order; [0, D] where there are none.

    seen : a round of somebody with few images and, at best, one step. guesses : sets of b - 1 units that are tried; up to 8
    images need some ten thousands, and every image more doubles it. tolerance : singular values below this times the
    largest are rounding.

    After one step, an image is proved where the first layer's gradient of its own loss, with some label, is the one that it
    was read from. After more steps, all are where each has moved every unit that it switches on, and none are otherwise.
    Pixels go from 0 to 1. Raises FedkitError if the model has no linear first layer.
    """
    weight, bias = first_layer(seen.change, math.prod(seen.config.task.shape))
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
    scale, images = images[:, -1], images[:, :-1] / images[:, -1:]
    proved = _inside(seen, images)
    moved = left[:, :rank] @ directions.T * scale  # [H, b]: how each one has moved the units
    if seen.steps == 1:
        proved &= _residuals(seen, images, moved) < _RESIDUAL
    else:
        proved &= _switched(seen, images, (moved / scale).abs() > rounding).all() & proved.all()
    found: Tensor = images[proved]
    return found


def _inside(seen: Evidence, images: Tensor) -> Tensor:
    """Are all pixels from 0 to 1? bool [b]; what is no image has no such ends."""
    if len(seen.config.task.shape) != 3:
        return torch.ones(len(images), dtype=torch.bool)
    inside: Tensor = ((images > -_OUTSIDE) & (images < 1 + _OUTSIDE)).all(1)
    return inside


def _residuals(seen: Evidence, images: Tensor, moved: Tensor) -> Tensor:
    """How far is each image's own gradient from what it has moved? float64 [b], 0 to 2, with the label that fits best.

    min_y || g(x, y) / ||g(x, y)|| + m / ||m|| ||, where g is the gradient of the first layer's bias: m = -rate g / b.
    """
    task, model = seen.config.task, seen.model(seen.before).double()
    bias = dict(model.named_parameters())[f"{layer_name(seen.before, images.shape[1])}bias"]
    away = []
    for image, column in zip(images, moved.T, strict=True):
        output = model(image.reshape(1, *task.shape))
        found = [
            torch.autograd.grad(criterion_of(task)(output, label), [bias], retain_graph=True)[0]
            for label in torch.arange(task.outputs)[:, None]
        ]
        own = torch.nn.functional.normalize(torch.stack(found), dim=1)
        away.append((own + column / column.norm()).norm(dim=1).min())
    return torch.stack(away)


def _switched(seen: Evidence, images: Tensor, moved: Tensor) -> Tensor:
    """Has each image moved every unit that it switches on in the global model? bool [b]. Of later steps nobody knows."""
    weight, bias = first_layer(seen.before, images.shape[1])
    at_start = weight.double() @ images.T + bias.double()[:, None]
    met: Tensor = (moved | (at_start < _KINK)).all(0)
    return met


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
