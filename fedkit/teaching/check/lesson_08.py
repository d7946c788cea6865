"""Checks of notebook 08: one image by a division, and labels counted from the last bias."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fedkit.teaching.check.base import Wrong, check


def _first_layer() -> tuple[Tensor, Tensor, Tensor]:
    """An image of six pixels, and the gradient that a layer of four units gets from it; unit 1 is off."""
    image = torch.tensor([0.0, 0.2, 1.0, 0.7, 0.0, 0.4])
    errors = torch.tensor([0.01, 0.0, -0.5, 0.2])
    return image, errors[:, None] * image, errors


@check(
    hint="For every hidden unit, the row of the weights is the image times one number, and the bias is that number. "
    "Choose a unit in which the number is far from 0."
)
def invert_linear(attempt: Callable[..., object]) -> str:
    """One image by a division."""
    image, weight, bias = _first_layer()
    got = attempt(weight.clone(), bias.clone())
    if not isinstance(got, Tensor):
        raise Wrong("The answer should be a tensor, one number for each pixel.")
    if got.shape == weight.shape:
        raise Wrong("You have divided all rows. One unit's row is enough: which?")
    if got.shape != image.shape:
        raise Wrong(f"The answer should have shape {list(image.shape)}, yours {list(got.shape)}.")
    if not bool(torch.isfinite(got).all()):
        raise Wrong("You have divided by 0: some units are off and their bias has not moved.")
    if torch.allclose(got, -image, atol=1e-5):
        raise Wrong(
            "That is the image with the wrong sign. Don't take the size of the bias to divide by."
        )
    if torch.allclose(got, weight[2], atol=1e-5):
        raise Wrong("That is a unit's row as it was sent. What has the image been multiplied with?")
    if not torch.allclose(got, image, atol=1e-5):
        raise Wrong("A row divided by its own bias should be the image; yours is something else.")
    steps = attempt(-0.1 * weight, -0.1 * bias)
    if not isinstance(steps, Tensor) or not torch.allclose(steps, image, atol=1e-5):
        raise Wrong(
            "With the change of one step in the place of the gradient, it is not the image any more."
        )
    return "The row is the image times a number, and the bias is that number. Nothing else protects the image."


@check(
    hint="The bias's gradient is the mean prediction minus the share of each label. Solve that for the share, and "
    "multiply with the number of samples."
)
def count_labels(attempt: Callable[..., object]) -> str:
    """Labels off the bias."""
    shares = torch.tensor([0.5, 0.0, 0.25, 0.25, 0.0])
    prediction = torch.tensor([0.3, 0.2, 0.2, 0.2, 0.1])
    got = attempt(prediction - shares, prediction, 8)
    if not isinstance(got, Tensor) or got.shape != shares.shape:
        raise Wrong("The answer should be a tensor with one count for each label.")
    counts = got.double()
    if torch.allclose(counts, shares.double(), atol=1e-4):
        raise Wrong("Those are shares; 8 samples should give counts that add up to 8.")
    if not torch.allclose(counts, 8 * shares.double(), atol=1e-4):
        said = ", ".join(f"{value:g}" for value in counts.tolist())
        if bool((counts < 0).any()):
            raise Wrong(
                f"A count can't be below 0; yours are {said}. Which way round is the difference?"
            )
        raise Wrong(f"Of 8 samples, 4 have label 0; your counts are {said}.")
    return "Each sample pulls its own label's bias down by one part in b; the rest is the prediction, which hardly differs."
