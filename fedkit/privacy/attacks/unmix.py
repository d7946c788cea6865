"""Dozens of images from the change of one layer: the row space says where they lie, blank paper says which they are.

With fewer training images than hidden units, the change of a first layer and of its bias tells the plane in which all
training images lie (see `first_layer`), for any number of local epochs. A random point of that plane is a grey
mixture. A handwritten digit is ink between 0 and 1 on mostly blank paper, and hardly anything else in the plane is. So
look for a point that is in both sets, by the Douglas-Rachford iteration (Elser et al. 2007, "Searching with iterated
maps"), from many starting points at once. To see a mixture of pictures as sources to be unmixed is Kariyappa et al. 2023,
"Cocktail party attack"; they unmix by independence, we by blank paper. Notebook 08.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedkit.privacy.attacks.first_layer import row_space

__all__ = ["unmix"]


FAINT = 0.12  # ink below this counts as blank while searching
SAME = 8e-3  # mean squared difference below which two finds are one image
OUTSIDE = 0.01  # an image may leave 0..1 by so much
BLANK = 1e-3  # what a blank pixel is rebuilt to, at most
SURPLUS = 60  # blank pixels beyond those that fix a point of the plane anyway
POLISH = 8  # steps
MIXED = 0.02  # a mixture of others is what has no more than this share of it outside of them


def unmix(
    weight: Tensor, bias: Tensor, starts: Tensor, *, steps: int = 300, tolerance: float = 1e-6
) -> Tensor:
    """The training images that can be told apart, [n, D] float64 in no order; [0, D] where there are none.

    weight [H, D], bias [H] : update minus global model. starts float [S, D] or [S, 1, 28, 28], 0 to 1 : pictures to start
    from, such as the aggregator's own test images; each leads to at most one image, often to the same. steps : of the
    search. Needs fewer training images than H; one more, and the plane is the whole space that H rows can span.
    """
    plane = _plane(row_space(weight, bias, tolerance))
    found: list[Tensor] = []
    if plane is None or len(plane.across) >= len(weight) - 1:
        return weight.new_zeros(0, weight.shape[1]).double()
    seen = plane.live
    points = _search(plane, starts.flatten(1)[:, seen], steps)
    waiting = torch.ones(len(points), dtype=torch.bool)
    for number, point in enumerate(points):
        if not waiting[number]:
            continue
        image = _polish(plane, point.double())
        near = (points - point).square().mean(1)
        if image is None:
            waiting &= near > SAME / 4
            continue
        waiting &= (points - image[seen].float()).square().mean(1) > SAME
        found.append(image)
    return _independent(torch.stack(found)) if found else weight.new_zeros(0, len(seen)).double()


@dataclass(frozen=True)
class _Plane:
    """All x = origin + y @ across, with orthonormal rows `across`, origin orthogonal to them; live : pixels that vary."""

    origin: Tensor
    across: Tensor
    live: Tensor


def _plane(basis: Tensor) -> _Plane | None:
    """The points of the row space whose last entry, the bias's, is 1."""
    last = basis[:, -1]
    if len(basis) < 2 or last.norm() < 1e-9:
        return None
    aside = torch.linalg.svd(last[None], full_matrices=True).Vh[1:]
    across = torch.linalg.qr((aside @ basis)[:, :-1].T).Q.T
    origin = (last @ basis)[:-1] / last.square().sum()
    origin = origin - origin @ across.T @ across
    live = (across.norm(dim=0) > 1e-4) | (origin.abs() > 1e-3)
    return _Plane(origin, across, live)


def _search(plane: _Plane, starts: Tensor, steps: int) -> Tensor:
    """Douglas-Rachford from every start: x += P_ink(2 P_plane(x) - x) - P_plane(x). Best points first, [S, live]."""
    across, origin = plane.across[:, plane.live].float(), plane.origin[plane.live].float()

    def onto_plane(x: Tensor) -> Tensor:
        return origin + ((x - origin) @ across.T) @ across

    def onto_ink(x: Tensor) -> Tensor:
        return torch.where(x < FAINT, 0.0, x.clamp(0, 1))

    x = starts.float()
    for _ in range(steps):
        p = onto_plane(x)
        x = x + onto_ink(2 * p - x) - p
    p = onto_plane(x)
    return p[(p - onto_ink(p)).square().mean(1).argsort()]


def _independent(images: Tensor) -> Tensor:
    """Each image once: the most blank first, without those that are mixtures of others before them.

    A mixture of images is blank only where all of them are, so it comes after them.
    """
    images = images[(images.abs() < BLANK).sum(1).argsort(descending=True, stable=True)]
    kept, rest = [], images.clone()
    left = torch.arange(len(images))
    while len(left):
        kept.append(left[0])
        along = rest[0] / rest[0].norm()
        rest = rest - (rest @ along)[:, None] * along
        new = rest.norm(dim=1) > MIXED * images[left].norm(dim=1)
        rest, left = rest[new], left[new]
    return images[torch.stack(kept)]


def _polish(plane: _Plane, point: Tensor) -> Tensor | None:
    """Pull what is nearly blank to exactly blank, by reweighted least squares inside the plane: [D], or None.

    None says that this is no image: it leaves 0..1, or has hardly more blank pixels than any point can be made to have.
    """
    across, origin = plane.across[:, plane.live], plane.origin[plane.live]
    dimensions, wide = len(across), 3e-2
    if int((point.abs() < 0.05).sum()) < dimensions + SURPLUS:
        return None
    where = torch.zeros(dimensions, dtype=point.dtype)
    for _ in range(POLISH):
        weighted = across / (point.square() + wide**2)
        where = torch.linalg.solve(weighted @ across.T, -weighted @ origin)
        point = origin + where @ across
        wide = max(0.3 * wide, 1e-4)
    blank = int((point.abs() < BLANK).sum())
    inside = bool(point.min() > -OUTSIDE) and bool(point.max() < 1 + OUTSIDE)
    return plane.origin + where @ plane.across if inside and blank > dimensions + SURPLUS else None
