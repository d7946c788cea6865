"""Checks of notebook 08: one image by a division, and labels counted from the last bias."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fedkit.teaching.check.answers import tensor
from fedkit.teaching.check.attempt import Wrong
from fedkit.teaching.check.base import check


@check(
    hint="For every hidden unit, the row of the weights is the image times one number, and the bias is that number. "
    "Choose a unit in which the number is far from 0.",
    takes="weight bias",
)
def invert_linear(attempt: Callable[..., object]) -> str:
    """One image by a division."""
    # an image of six pixels, and the gradient that a layer of four units gets from it; unit 1 is off
    image = torch.tensor([0.0, 0.2, 0.9, 0.7, 0.0, 0.4])
    bias = torch.tensor([0.01, 0.0, -0.5, 0.2])
    weight = bias[:, None] * image

    def invert(weight: Tensor, bias: Tensor) -> Tensor:
        form = "The answer should be a tensor, one number for each pixel."
        return tensor(attempt(weight, bias), wrong=form).float()

    got = invert(weight.clone(), bias.clone())
    if got.shape == weight.shape:
        raise Wrong("You have divided all rows. One unit's row is enough: which?")
    if got.shape != image.shape:
        raise Wrong(f"The answer should have shape {list(image.shape)}, yours {list(got.shape)}.")
    if not bool(torch.isfinite(got).all()):
        raise Wrong(
            "You have divided by 0: some units are off and their bias has not moved, and some pixels are dark. "
            "What do you divide by?"
        )
    if torch.allclose(got, -image, atol=1e-5):
        raise Wrong(
            "That is the image with the wrong sign. Don't take the size of the bias to divide by."
        )
    if torch.allclose(got, weight[2], atol=1e-5):
        raise Wrong("That is a unit's row as it was sent. What has the image been multiplied with?")
    if not torch.allclose(got, image, atol=1e-5):
        raise Wrong("A row divided by its own bias should be the image; yours is something else.")
    other = torch.tensor([0.3, 0.1, 0.0, 0.8, 0.5, 0.0])
    if not torch.allclose(invert(bias[:, None] * other, bias.clone()), other, atol=1e-5):
        raise Wrong(
            "For one image it is right, for another it is not. Calculate it from what comes in."
        )
    for places in (1, 2, 3):
        if not torch.allclose(invert(weight.roll(places, 0), bias.roll(places)), image, atol=1e-5):
            raise Wrong("With the same units in another order, it is not the image any more.")
    off = weight.clone()
    off[1] = 1e-8 * image.flip(0)
    nearly = bias + torch.tensor([0.0, 2e-9, 0.0, 0.0])
    for places in range(4):
        if not torch.allclose(invert(off.roll(places, 0), nearly.roll(places)), image, atol=1e-5):
            raise Wrong(
                "In a real file, a unit that was off may have moved by rounding; it must not count."
            )
    cancelling = torch.tensor([0.3, 0.0, -0.5, 0.2])  # they add up to zero
    if not torch.allclose(
        invert(cancelling[:, None] * image, cancelling.clone()), image, atol=1e-5
    ):
        raise Wrong("The sum or mean over units may cancel out. One unit's row is enough: which?")
    if not torch.allclose(invert(weight[[0, 1, 3]], bias[[0, 1, 3]]), image, atol=1e-5):
        raise Wrong("Where no bias has moved down, it is not the image any more.")
    for units in ([0, 1, 2, 3], [0, 1, 3]):  # the second time, no bias has moved up
        if not torch.allclose(invert(-0.1 * weight[units], -0.1 * bias[units]), image, atol=1e-5):
            raise Wrong(
                "With the change of one step in the place of the gradient, it is not the image any more."
            )
    return "The row is the image times a number, and the bias is that number. Nothing else protects the image."


@check(
    hint="The bias's gradient is the mean prediction minus the share of each label. Solve that for the share, and "
    "multiply with the number of samples.",
    takes="bias_gradient prediction samples",
)
def count_labels(attempt: Callable[..., object]) -> str:
    """Labels off the bias."""
    shares = torch.tensor([0.5, 0.0, 0.25, 0.25, 0.0])
    prediction = torch.tensor([0.3, 0.2, 0.2, 0.2, 0.1])

    def count(samples: int) -> Tensor:
        form = "The answer should be a tensor with one count for each label."
        got = tensor(attempt(prediction - shares, prediction.clone(), samples), wrong=form)
        if got.shape != shares.shape:
            raise Wrong(form)
        return got.double()

    counts = count(8)
    if torch.allclose(counts, shares.double(), atol=1e-4):
        raise Wrong("Those are shares; 8 samples should give counts that add up to 8.")
    if not torch.allclose(counts, 8 * shares.double(), atol=1e-4):
        said = ", ".join(f"{value:g}" for value in counts.tolist())
        if torch.allclose(counts, -8 * shares.double(), atol=1e-4):
            raise Wrong(
                f"A count can't be below 0; yours are {said}. Which way round is the difference?"
            )
        if bool((counts < 0).any()):
            raise Wrong(
                f"A count can't be below 0; yours are {said}. What belongs to the difference, and what is it "
                "multiplied with?"
            )
        raise Wrong(f"Of 8 samples, 4 have label 0; your counts are {said}.")
    if not torch.allclose(count(4), 4 * shares.double(), atol=1e-4):
        raise Wrong("For 8 samples it is right, for 4 it is not. How many samples are there?")
    return "Each sample pulls its own label's bias down by one part in b; the rest is the prediction, which hardly differs."
