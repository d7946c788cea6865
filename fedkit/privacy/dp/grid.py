"""Noise with a proof for what a computer calculates: whole numbers in, discrete Gaussian noise, one scaling at the end.

Proofs about Gaussian noise are about real numbers; sums of floating point numbers and their noise have low bits that tell
more (Mironov 2012; Haney et al. 2022; Casacuberta et al. 2022). With `secure_noise` each contribution is cut to norm C and
put on a grid of steps C / 2^24, rounded towards 0, which lengthens no vector; sums of such are whole numbers below 2^53, so
exact in any order; on top comes the discrete Gaussian of `discrete.py`, and whatever is calculated from that is
post-processing (Kairouz, Liu, Steinke 2021, "The distributed discrete Gaussian mechanism", algorithm 1, without rotation).

Why the accounts of Gaussian noise hold for it, with sampling and over steps, is one more line. Take continuous noise of
deviation sqrt(sigma^2 - 16), and round it at random to the discrete Gaussian of deviation 4 around it. That is
post-processing; and what comes out has, number by number, the probabilities of N_Z(0, sigma^2) up to a factor
1 +- 4 exp(-2 pi^2 16), which is 1 +- 10^-136 (Peikert 2010, "An efficient and parallel Gaussian sampler for lattices",
theorem 3.1): less than 10^-100 for any number of weights and steps. Clipping at C (1 - 2^-20) pays for the 16, and for the
last bits of the norm. What is not covered: the time that all this takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fedkit.base.distribution import need_privacy
from fedkit.base.errors import FedkitError
from fedkit.learning.models import StateDict
from fedkit.learning.strategies.arithmetic import delta, stack, unstack
from fedkit.privacy.dp.discrete import LARGEST_SIGMA, discrete_gaussian
from fedkit.privacy.dp.noise import Noise
from fedkit.privacy.secagg.fixedpoint import FRACTION_BITS

__all__ = ["GRID", "grid_mean", "grid_optimizer", "masked_share", "noise_in_steps", "on_grid"]


GRID = 2**24
"""Steps in a clipping norm: rounding costs less than 1 / 100,000 of it in a model of 100,000 weights."""

_SLACK = 2.0**-20
_MARGIN = 4
"""The deviation to which continuous noise is rounded, in the proof above."""
_LEAST, _MOST = 2_000 * _MARGIN, LARGEST_SIGMA // 64
"""Of the noise's deviation, in steps: sqrt(sigma^2 - 16) is then more than sigma (1 - 2^-22)."""


def on_grid(norms: Tensor, rows: Tensor, clip: float, steps: float = GRID) -> Tensor:
    """Rows cut to L2 norm `clip` and rounded towards 0 to multiples of clip / steps; in steps, float64 [K, ...].

    norms : of whole rows, float64 [K], of which `rows` [K, ...] may be a part. Each whole row of steps has a norm of at
    most steps (1 - 2^-21), whatever stands in it; one with a number that is none is 0.
    """
    factor = steps * (1 - _SLACK) / norms.clamp_min(clip)
    factor = factor.view(-1, *[1] * (rows.dim() - 1))
    return torch.where(norms.isfinite().view_as(factor), (rows.double() * factor).trunc(), 0.0)


def noise_in_steps(
    shape: tuple[int, ...], noise_multiplier: float, noise: Noise, steps: float = GRID
) -> Tensor:
    """Discrete Gaussian noise for sums whose terms have a norm of at most `steps`, float64, whole numbers.

    Raises FedkitError where its deviation is so small that the 16 counts, or too large for whole numbers of 53 bits.
    """
    sigma = _sigma(noise_multiplier, steps)
    drawn = discrete_gaussian(math.prod(shape), sigma, noise.words)
    return torch.from_numpy(drawn).double().view(shape)


def _sigma(noise_multiplier: float, steps: float) -> int:
    sigma = math.ceil(noise_multiplier * steps)
    if not _LEAST <= sigma <= _MOST:
        raise FedkitError(
            f"makes noise of {sigma:,} steps of the grid; between {_LEAST:,} and {_MOST:,} are allowed",
            field="dp",
            remedy="take another noise multiplier, or another clip",
        )
    return sigma


def grid_mean(
    changes: Tensor, clip: float, noise_multiplier: float, expected: float, noise: Noise
) -> Tensor:
    """`noisy_mean` on the grid: (sum_k of clipped rows + noise) / expected, [D]. changes : float64 [K, D]."""
    total = on_grid(changes.norm(dim=1), changes, clip).sum(dim=0)
    total = total + noise_in_steps(tuple(total.shape), noise_multiplier, noise)
    return total * (clip / GRID) / expected


def masked_share(
    before: Mapping[str, Tensor],
    trained: Mapping[str, Tensor],
    clip: float,
    noise_multiplier: float,
    shares: int,
    noise: Noise,
    participants: int,
) -> StateDict:
    """`share_of_noise` for a sum under masks: its change cut to norm C in steps of 2^-32, the masks' own, plus its share.

    The arguments are as there, but what is given back is float64, which holds such steps exactly: what is masked is a whole
    number, and the sum of such is exact. The sum of K discrete Gaussians of sigma is N_Z(0, K sigma^2) up to a factor
    exp(+-tau) a weight, tau = 10 sum_{k < K} exp(-2 pi^2 sigma^2 k / (k + 1)) (Kairouz, Liu, Steinke 2021, theorem 1):
    with sigma at least 8,000 steps, nothing. participants : how many are added up at most. Raises FedkitError where a sum
    could wrap around; whether it could depends on nothing that is private.
    """
    one = 2.0**FRACTION_BITS
    multiplier = noise_multiplier / math.sqrt(shares)
    start = {k: (v.double() * one).round() for k, v in before.items() if v.is_floating_point()}
    held = max((float(v.abs().max()) for v in start.values() if v.numel()), default=0.0)
    most = (
        held + clip * one + 40 * _sigma(multiplier, clip * one)
    )  # 40 : never in the age of the world
    room = min(2.0**53, 2.0**63 / participants)
    if not most < room:
        raise FedkitError(
            f"needs {most:.3g} steps of 2^-{FRACTION_BITS} for weights, clip and noise; there are {room:.3g}",
            field="dp",
            why=f"The sum of {participants} such updates could wrap around, and the noise with it",
            remedy="take a smaller clip, less noise, or a model with smaller weights",
        )
    change = delta(before, trained)
    rows = stack([change])
    row = on_grid(rows.norm(dim=1), rows, clip, clip * one)[0]
    row = row + noise_in_steps(tuple(row.shape), multiplier, noise, clip * one)
    moved = unstack(row, change)
    return {k: (start[k] + moved[k]) / one if k in start else v for k, v in before.items()}


def grid_optimizer(noise: Noise) -> Any:
    """The class of Opacus' optimiser with sums and noise on the grid, made here since Opacus is slow to import.

    `add` takes each image on its own: what a batched product calculates for one image
    differs in its last bits with the number of the others, and then they would tell of it too.
    """
    need_privacy()
    from opacus.optimizers import DPOptimizer

    class OnGrid(DPOptimizer):  # type: ignore[misc]
        def add(self) -> None:
            """Put the gradient of the last image to the sum."""
            for p in self.params:
                if p.grad_sample is None:  # the image did not use it
                    p.grad_sample = p.new_zeros(1, *p.shape)
            self.clip_and_accumulate()
            for p in self.params:
                p.grad_sample = None

        def clip_and_accumulate(self) -> None:
            """To the sum, in steps, those of all images in `grad_sample`."""
            samples = [sample.cpu() for sample in self.grad_samples]
            squares = [s.double().flatten(1).square().sum(1) for s in samples]
            norms = torch.stack(squares).sum(0).sqrt()
            for p, sample in zip(self.params, samples, strict=True):
                before = 0.0 if p.summed_grad is None else p.summed_grad
                p.summed_grad = before + on_grid(norms, sample, self.max_grad_norm).sum(0)

        def add_noise(self) -> None:
            """Noise in steps, then back to numbers: rounded once."""
            for p in self.params:
                drawn = noise_in_steps(tuple(p.shape), self.noise_multiplier, noise)
                p.grad = ((p.summed_grad + drawn) * (self.max_grad_norm / GRID)).to(p)

    return OnGrid
