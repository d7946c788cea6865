"""Reading inputs off the gradient of a first linear layer: a division.

For z = W x + b the chain rule gives dL/dW_j = (dL/dz_j) x and dL/db_j = dL/dz_j: one row divided by its bias is the input
(Phong et al. 2018, "Privacy-preserving deep learning via additively homomorphic encryption"). In a batch, each row is a
mixture of the images that its hidden unit answers to; where it answers to one alone, the mixture is that image. Notebook
08 builds `invert_linear` by hand.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["invert_linear", "invert_rows"]


def invert_linear(weight: Tensor, bias: Tensor) -> Tensor:
    """The one input behind a gradient: x = (dL/dW_j) / (dL/db_j), from the unit j with the largest |dL/db_j|.

    weight [H, D], bias [H] : the first layer's gradient, or its change after one step: the learning rate cancels.
    Returns [D], exact up to rounding for a single sample; a mixture for more.
    """
    unit = bias.abs().argmax()
    return weight[unit] / bias[unit]


def invert_rows(weight: Tensor, bias: Tensor, floor: float = 1e-4) -> Tensor:
    """Every row divided by its bias: one candidate a hidden unit, [C, D], the surest first.

    Rows whose |bias| is below `floor` times the largest are left out: there, rounding is all that is left.
    """
    order = bias.abs().argsort(descending=True)
    order = order[bias[order].abs() > floor * bias.abs().max()]
    return weight[order] / bias[order, None]
