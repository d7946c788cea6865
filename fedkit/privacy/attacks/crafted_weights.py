"""A malicious aggregator: seed weights that sort the participant's images into bins, and how to notice them.

Every hidden unit measures the same, the brightness of the image, and unit j fires above the j-th threshold. What two
neighbouring units have learned differs by the images between their thresholds; where that is one image alone, the
difference is that image (Fowl et al. 2022, "Robbing the fed"). No honest training starts so or comes to it, and whoever
looks at the global model of whatever round sees it: all its rows are alike. A seed model can besides be made again from
the approved config's `seed`. Notebook 08.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedkit.base.errors import FedkitError
from fedkit.learning.models import StateDict, seed_weights
from fedkit.privacy.attacks.first_layer import first_layer

__all__ = ["SeedCheck", "check_seed", "crafted_weights", "read_bins"]

_TWIN = 0.9
"""Two units look for the same above this cosine. In models trained honestly, for up to 100 epochs, the largest is 0.75."""
_ALIKE = 0.1
"""A share of such units above this is no accident."""
_MANY = 10
"""Fewer biases may be in order by chance."""
_OFF_LEVEL = 0.12
"""How far a pixel with ink may be from a whole level, in the mean; of a blend it is a quarter."""


def crafted_weights(honest: Mapping[str, Tensor], images: Tensor, seed: int = 0) -> StateDict:
    """Seed weights for the tutorial's model that bin images by brightness.

    honest : fc1.weight [H, 784], fc1.bias [H], fc2.weight [C, H], fc2.bias [C]; gives the shapes. images : of one's own;
    their brightness gives the thresholds, such that each bin gets an equal share of images like them. Raises FedkitError
    where the weights are another model's.
    """
    if set(honest) != {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}:
        raise FedkitError(
            f"has {', '.join(list(honest)[:4])}",
            field="honest",
            remedy="this attack is written for the tutorial's model, fc1 and fc2",
        )
    units, pixels = honest["fc1.weight"].shape
    brightness = images.flatten(1).double().mean(1)
    shares = torch.linspace(0, 1, units + 2, dtype=torch.float64)[1:-1]
    outgoing = torch.randn(
        len(honest["fc2.bias"]), 1, generator=torch.Generator().manual_seed(seed)
    )
    return {
        "fc1.weight": torch.full((units, pixels), 1 / pixels),
        "fc1.bias": -brightness.quantile(shares).float(),
        "fc2.weight": outgoing.repeat(1, units),
        "fc2.bias": torch.zeros_like(honest["fc2.bias"]),
    }


def read_bins(
    weight: Tensor, bias: Tensor, floor: float = 1e-4, levels: int | None = 255
) -> Tensor:
    """One image a bin, [n, D] float64: the difference of neighbouring rows, divided by that of their biases.

    weight [H, D], bias [H] : the first layer's change. Bins that nothing fell into (below `floor` times the largest), and
    mixtures that leave 0..1, are left out. A blend of the images in one bin may stay inside; but where pixels are whole
    numbers of `levels` parts, as in a file of 8 bits, a blend's are not, and it is left out as well. levels=None : all.
    """
    rows, ends = weight.double(), bias.double()
    rows = rows - torch.cat([rows[1:], torch.zeros_like(rows[:1])])
    ends = ends - torch.cat([ends[1:], torch.zeros_like(ends[:1])])
    full = ends.abs() > floor * ends.abs().max()
    images = rows[full] / ends[full, None]
    images = images[(images.amin(1) > -0.01) & (images.amax(1) < 1.01)]
    if levels is None:
        return images
    ink, parts = images > 0.5 / levels, images * levels
    off = torch.where(ink, (parts - parts.round()).abs(), 0.0).sum(1) / ink.sum(1)
    return images[off < _OFF_LEVEL]  # a blank bin is nan, and left out


@dataclass(frozen=True)
class SeedCheck:
    """What can be said about a global model before training on it.

    same_as_seed : is it what the model and the config's seed give, to the last bit? So it can be in round 1 alone.
    alike : the share of hidden units whose row is another one's up to a factor; 0 where units look for things of their own,
    1 where all look for the same. sorted_biases : do the biases go only up or only down?
    """

    same_as_seed: bool
    alike: float
    sorted_biases: bool

    @property
    def suspicious(self) -> bool:
        """Would you ask the aggregator why? That a model is not the seed's is no reason."""
        return self.alike > _ALIKE or self.sorted_biases


def check_seed(
    weights: Mapping[str, Tensor],
    source: bytes | str,
    seed: int,
    class_name: str = "FLModel",
    inputs: int = 784,
) -> SeedCheck:
    """Look at a global model as a participant can: beside the approved `model.py` and the config's seed, row by row.

    weights : the seed weights, or the global model of any later round: an aggregator may send a trap whenever it likes.
    inputs : numbers in one sample. Honest training leaves units apart (`_TWIN`). It finds this attack, in any order of the
    units and beside honest ones; a craftier one hides in weights that look random, and then only `same_as_seed` tells, in
    round 1. Raises FedkitError if the model has no linear first layer.
    """
    expected = seed_weights(source, seed, class_name)
    same = expected.keys() == weights.keys() and all(
        torch.equal(value, weights[name]) for name, value in expected.items()
    )
    rows, biases = first_layer(weights, inputs)
    unit = rows.double() / rows.double().norm(dim=1, keepdim=True).clamp_min(1e-12)
    nearest = (unit @ unit.T).abs().fill_diagonal_(0).amax(1)
    steps, enough = biases.diff(), len(biases) >= _MANY and bool(biases.unique().numel() > 1)
    in_order = enough and bool((steps >= 0).all() or (steps <= 0).all())
    return SeedCheck(same, float((nearest > _TWIN).double().mean()), in_order)
