"""Checks of notebook 09: clipping, the noisy mean, and a noise multiplier between a promise and a floor."""

from __future__ import annotations

import math
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


_SAME = 1e-6
_SANE = (1e-3, 1e6)


class Noise:
    """Noise that a check can predict: the same numbers in their order, times the standard deviation that was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def normal(self, shape: object = None, std: object = None) -> Tensor:
        """As `normal` of the package's noises."""
        if std is None or isinstance(std, tuple | list):
            raise Wrong("noise.normal takes the shape first, then the standard deviation.")
        if not isinstance(shape, tuple | list):
            raise Wrong(
                "The first thing that noise.normal takes is a shape, such as that of total."
            )
        size, begins = math.prod(shape), self.asked
        self.asked += size
        drawn = _DRAWN.repeat(1 + self.asked // len(_DRAWN))[begins : self.asked]
        return drawn.reshape(tuple(shape)) * number(std)


_DRAWN = torch.tensor([1.0, -1.5, 0.5, 2.0, -0.25], dtype=torch.float64)


def _tensor(got: object, shape: tuple[int, ...], what: str) -> Tensor:
    form = f"{what} should be a tensor of shape {list(shape)}."
    found = tensor(got, wrong=form)
    if found.shape != shape:
        raise Wrong(form)
    return found.double()


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
    if not torch.allclose(got[1], rows[1], atol=_SAME):
        raise Wrong(
            f"A row of norm 0.5 should stay as it is with a clip of 1. {_what_else(got, rows)}"
        )
    norms = got.norm(dim=1)
    if float(norms[0]) > 1.0 + _SAME or float(norms[2]) > 1.0 + _SAME:
        raise Wrong("A row of norm 5 should have norm 1 after a clip of 1, and yours is longer.")
    if not norms[0]:
        raise Wrong("A row of norm 5 is thrown away. It should be cut to norm 1.")
    if not torch.allclose(got[0] / norms[0], torch.tensor([0.6, 0.8]).double(), atol=_SAME):
        raise Wrong("A row that is cut should keep its direction.")
    if float(norms[0]) < 1.0 - _SAME:
        raise Wrong(
            f"A row of norm 5 should have norm 1 after a clip of 1, and yours has {float(norms[0]):.3g}."
        )
    if not torch.equal(got[3].float(), rows[3].float()):
        raise Wrong("A row of zeros should stay as it is; is there a division of 0 by 0?")
    if not torch.allclose(
        _tensor(attempt(rows.clone(), 2.0), (4, 2), "The answer").norm(dim=1)[0],
        torch.tensor(2.0).double(),
        atol=_SAME,
    ):
        raise Wrong("With a clip of 2, a row of norm 5 should have norm 2.")
    return "Whatever stands in a change, one participant now moves the sum by at most the clip."


def _what_else(got: Tensor, rows: Tensor) -> str:
    """Why a short row [2] of those that came back has changed."""
    if torch.allclose(got[1], rows[1] / rows.norm(), atol=_SAME):
        return "Yours is cut by the norm of all rows together; each has its own."
    if torch.allclose(got[1], rows[1] / rows.norm(dim=0), atol=1e-3):
        return "Yours is cut by the norms of columns."
    if float(got[1].norm()) > 0.5 + _SAME:
        return "Yours is longer afterwards."
    return f"Yours has norm {float(got[1].norm()):.3g} afterwards."


@check(
    hint="`noise.normal(total.shape, std)` gives Gaussian numbers. Their standard deviation is "
    "noise_multiplier times clip.",
    takes="changes clip noise_multiplier expected noise",
)
def noisy_mean(attempt: Callable[..., object]) -> str:
    """The noisy mean."""
    rows = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.5]], dtype=torch.float64)
    total = torch.tensor([0.6, 0.8, 0.5], dtype=torch.float64)
    noise, drawn = Noise(), _DRAWN[:3]
    got = _tensor(attempt(rows.clone(), 1.0, 2.0, 4, noise), (3,), "The answer")
    if torch.allclose(got, (total + 2.0 * drawn) / 2):
        raise Wrong("Divide by the number of participants that was given, not by the rows there.")
    if torch.allclose(got, total / 4) or torch.allclose(got, total / 2):
        raise Wrong("That is the mean of the clipped changes; where is the noise?")
    if noise.asked == 0:
        raise Wrong(
            "`noise` was not asked: the numbers have to come from it, so that nobody else can foresee them."
        )
    for other, wrong in (
        (total / 4 + 2.0 * drawn, "The noise belongs on the sum, before it is divided by the number of participants."),
        ((total + drawn) / 4, "The noise is as large as the clip; the noise multiplier is missing."),
        ((total + 4.0 * drawn) / 4, "The noise multiplier is in it twice. noise.normal takes the standard deviation, no "
         "variance."),
        ((total + math.sqrt(2.0) * drawn) / 4, "noise.normal takes the standard deviation itself, not its root."),
        ((total + 0.5 * drawn) / 4, "The noise is divided by the number of participants twice."),
        ((total + 2.0 * drawn) / 16, "The sum is divided by the number of participants twice."),
        ((total - 2.0 * drawn) / 4, "The noise is taken away. As noise it would be as good, but the same numbers are added "
         "everywhere else."),
        (2.0 * drawn / 4, "Only the noise is left; the sum of the changes is gone."),
        ((rows.sum(0) + 2.0 * drawn) / 4, "The noise fits the clip, but the changes are not clipped."),
        ((total + 2.0 * drawn[0]) / 4, "One number of noise goes on all coordinates; each needs a number of its own."),
    ):  # fmt: skip
        if torch.allclose(got, other):
            raise Wrong(wrong)
    if not torch.allclose(got, (total + 2.0 * drawn) / 4):
        raise Wrong(
            "With clip 1 and noise multiplier 2, noise of standard deviation 2 should go on the sum."
        )
    got = _tensor(attempt(rows.clone(), 0.5, 2.0, 4, Noise()), (3,), "The answer")
    if not torch.allclose(got, (torch.tensor([0.3, 0.4, 0.5]).double() + drawn) / 4):
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
    if not _SANE[0] <= noise <= _SANE[1]:
        what = "hardly any noise at all" if noise < 1 else "nothing but noise"
        raise Wrong(f"A noise multiplier of {noise:g} is {what}.")
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
