"""What a first layer's change gives away: an image, by a division; whether an image was there, by the row space.

For z = W x + b the chain rule gives dL/dW_j = (dL/dz_j) x and dL/db_j = dL/dz_j: one row divided by its bias is the input
(Phong et al. 2018, "Privacy-preserving deep learning via additively homomorphic encryption"). In a batch, each row is a
mixture of the images that its hidden unit answers to; where it answers to one alone, the mixture is that image.

Whatever the number of local epochs, every step moves the layer by a sum of outer products with training images:

    W_after - W_before = sum_i d_i x_i^T

So each training image lies in the row space of the change, and while there are fewer images than hidden units, nearly
nothing else does. With the change of the bias as one more column, each image carries a 1 behind its pixels. The file's
float32 numbers are exact enough to see it: was this image in the training data? Notebook 08 builds `invert_linear` by hand
and puts `row_space_residual` to that test.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from fedkit.base.errors import FedkitError

__all__ = [
    "first_layer",
    "invert_linear",
    "invert_rows",
    "layer_name",
    "row_space",
    "row_space_residual",
]


def first_layer(state: Mapping[str, Tensor], inputs: int = 784) -> tuple[Tensor, Tensor]:
    """(weight [H, inputs], bias [H]) of the first linear layer that sees the sample, from a state or a change.

    inputs : numbers in one sample; 784 of a digit, 30 of a table with thirty columns.
    Raises FedkitError if there is none, such as in a network that begins with a convolution.
    """
    name = layer_name(state, inputs)
    return state[f"{name}weight"], state[f"{name}bias"]


def layer_name(state: Mapping[str, Tensor], inputs: int = 784) -> str:
    """What the names of that layer's tensors begin with, such as "fc1.". Raises FedkitError if there is none."""
    for name, value in state.items():
        if name.endswith("weight") and value.ndim == 2 and value.shape[1] == inputs:
            bias = state.get(name.removesuffix("weight") + "bias")
            if bias is not None and bias.shape == value.shape[:1]:
                return name.removesuffix("weight")
    raise FedkitError(
        f"has no linear layer with {inputs} inputs and a bias",
        field="state",
        remedy="attack this model by optimisation instead",
    )


def invert_linear(weight: Tensor, bias: Tensor) -> Tensor:
    """The one input behind a gradient: x = (dL/dW_j) / (dL/db_j), from the unit j with the largest |dL/db_j|.

    weight [H, D], bias [H] : the first layer's gradient, or its change after one step: the learning rate cancels.
    Returns [D], exact up to rounding for a single sample; a mixture for more, which all rows alike up to a factor rule out.
    """
    unit = bias.abs().argmax()
    return weight[unit] / bias[unit]


def invert_rows(weight: Tensor, bias: Tensor, floor: float = 1e-4) -> Tensor:
    """Every row divided by its bias: one candidate a hidden unit, [C, D], the largest bias first.

    Candidates, no finds: a row is an image where its unit answers to one alone, which two rows that agree can tell, and
    else a blend. Rows whose |bias| is below `floor` times the largest are left out: there, rounding is all that is left.
    """
    order = bias.abs().argsort(descending=True)
    order = order[bias[order].abs() > floor * bias.abs().max()]
    return weight[order] / bias[order, None]


def row_space(weight: Tensor, bias: Tensor | None = None, tolerance: float = 1e-6) -> Tensor:
    """An orthonormal basis [r, D] of the row space of a first layer's change; with a bias, [r, D + 1].

    weight [H, D], bias [H] : update minus global model. r : the singular values above `tolerance` times the largest; those
    below are the rounding of float32. r is the number of training images where there are fewer than hidden units.
    """
    rows = weight if bias is None else torch.cat([weight, bias[:, None]], 1)
    found = torch.linalg.svd(rows.double(), full_matrices=False)
    values: Tensor = found.S
    basis: Tensor = found.Vh
    return basis[values > tolerance * values[0]]


def row_space_residual(
    weight: Tensor, images: Tensor, bias: Tensor | None = None, tolerance: float = 1e-6
) -> Tensor:
    """How much of each image lies outside of the row space of a first layer's change: float64 [N], 0 to 1.

    residual(x) = ||x - P x|| / ||x||, where P projects onto the row space. About 0 says: a training image.
    weight [H, D], bias [H] or None : update minus global model. images [N, ...] with D pixels each.
    """
    basis = row_space(weight, bias, tolerance)
    flat = images.flatten(1).double()
    flat = flat if bias is None else F.pad(flat, (0, 1), value=1.0)
    outside = flat - flat @ basis.T @ basis
    lengths: Tensor = flat.square().sum(1).clamp_min(1e-24)
    return (outside.square().sum(1) / lengths).sqrt()
