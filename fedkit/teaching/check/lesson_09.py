"""Checks of notebook 09: clipping, the noisy mean, and a noise multiplier between a promise and a floor."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fedkit.privacy.dp.account import Mechanism, epsilon_of
from fedkit.teaching.check.answers import number, tensor
from fedkit.teaching.check.attempt import Wrong
from fedkit.teaching.check.base import check

TARGET, DELTA, STEPS = 4.0, 1e-4, 8
MOST_NOISE = 4.0
"""Up to here the lesson's experiment stays above its floor; a test holds that over seeds."""


class _Known:
    """Noise that a check can predict: all ones, times the standard deviation that was asked for."""

    def normal(self, shape: torch.Size, std: object) -> Tensor:
        if isinstance(std, tuple | list):
            raise Wrong("noise.normal takes the shape first, then the standard deviation.")
        return torch.full(tuple(shape), number(std), dtype=torch.float64)


def _tensor(got: object, shape: tuple[int, ...], what: str) -> Tensor:
    form = f"{what} should be a tensor of shape {list(shape)}."
    if tensor(got, wrong=form).shape != shape:
        raise Wrong(form)
    return tensor(got, wrong=form).double()


@check(
    hint="Each row is multiplied by min(1, clip / its norm). `torch.clamp(x, max=1)` cuts at 1; "
    "`norms` has one number a row.",
    takes="changes clip",
)
def clip_rows(attempt: Callable[..., object]) -> str:
    """Cutting each change to a norm."""
    rows = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, -10.0], [0.0, 0.0]], dtype=torch.float64)
    kept = rows.clone()
    got = _tensor(attempt(rows, 1.0), (4, 2), "The answer")
    if not torch.equal(rows, kept):
        raise Wrong("Clipping should leave the changes that it was given as they are.")
    if not torch.allclose(got[1], rows[1]):
        raise Wrong("A row of norm 0.5 should stay as it is with a clip of 1.")
    norms = got.norm(dim=1)
    if float(norms[0]) > 1.0 + 1e-9 or float(norms[2]) > 1.0 + 1e-9:
        raise Wrong("A row of norm 5 should have norm 1 after a clip of 1, and yours is longer.")
    if not torch.allclose(got[0], torch.tensor([0.6, 0.8], dtype=torch.float64)):
        raise Wrong("A row that is cut should keep its direction.")
    if not torch.equal(got[3], rows[3]):
        raise Wrong("A row of zeros should stay as it is; is there a division of 0 by 0?")
    if not torch.allclose(
        _tensor(attempt(rows.clone(), 2.0), (4, 2), "The answer").norm(dim=1)[0],
        torch.tensor(2.0).double(),
    ):
        raise Wrong("With a clip of 2, a row of norm 5 should have norm 2.")
    return "Whatever stands in a change, one participant now moves the sum by at most the clip."


@check(
    hint="`noise.normal(total.shape, std)` gives Gaussian numbers. Their standard deviation is "
    "noise_multiplier times clip.",
    takes="changes clip noise_multiplier expected noise",
)
def noisy_mean(attempt: Callable[..., object]) -> str:
    """The noisy mean."""
    rows = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.5]], dtype=torch.float64)
    total = torch.tensor([0.6, 0.8, 0.5], dtype=torch.float64)
    got = _tensor(attempt(rows.clone(), 1.0, 2.0, 4, _Known()), (3,), "The answer")
    if torch.allclose(got, (total + 2.0) / 2):
        raise Wrong("Divide by the number of participants that was given, not by the rows there.")
    if torch.allclose(got, total / 4):
        raise Wrong("That is the mean of the clipped changes; where is the noise?")
    if torch.allclose(got, total / 4 + 2.0):
        raise Wrong(
            "The noise belongs on the sum, before it is divided by the number of participants."
        )
    if torch.allclose(got, (total + 1.0) / 4):
        raise Wrong("The noise is as large as the clip; the noise multiplier is missing.")
    if not torch.allclose(got, (total + 2.0) / 4):
        raise Wrong(
            "With clip 1 and noise multiplier 2, noise of standard deviation 2 should go on the sum."
        )
    got = _tensor(attempt(rows.clone(), 0.5, 2.0, 4, _Known()), (3,), "The answer")
    if not torch.allclose(got, (torch.tensor([0.3, 0.4, 0.5]).double() + 1.0) / 4):
        raise Wrong(
            "Half the clip needs half the noise: its standard deviation is noise_multiplier times clip."
        )
    return (
        "One participant moves the sum by at most the clip, and the noise is made for exactly that."
    )


@check(
    hint="`noise_for(epsilon, delta, sampling_rate, steps)` finds the smallest noise multiplier for "
    "an epsilon of zero-out neighbours."
)
def noise_under_a_floor(answer: object) -> str:
    """Noise between a promise and a floor."""
    noise = number(answer)
    if noise <= 0:
        raise Wrong("A noise multiplier is above 0.")
    spent = epsilon_of(Mechanism(1.0, noise, STEPS), DELTA, "RDP")
    if spent < 50:
        spent = epsilon_of(Mechanism(1.0, noise, STEPS), DELTA)
    if spent > TARGET:
        raise Wrong(
            f"With that noise, epsilon is {spent:.2f} for zero-out neighbours after {STEPS} steps: more than {TARGET:g}."
        )
    if noise > MOST_NOISE:
        raise Wrong(
            f"Epsilon is {spent:.2f} for zero-out neighbours, so the promise is kept with much to spare, "
            "and the accuracy pays for it. Use less noise."
        )
    return (
        "Enough noise for the promise (zero-out neighbours) and no more: what is left over would cost accuracy and buy "
        "nothing you asked for."
    )
