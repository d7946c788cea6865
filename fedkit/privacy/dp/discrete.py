"""The discrete Gaussian, exactly: whole numbers y with P[y] ~ exp(-y^2 / (2 sigma^2)), from fair bits and comparisons.

A Gaussian of floating point numbers has holes and odd low bits, and whoever knows them sees through the noise (Mironov
2012; Haney et al. 2022). This one is what its proof is about. Canonne, Kamath and Steinke 2020, "The discrete Gaussian for
differential privacy", algorithms 1 to 3, many numbers at once: no floating point number decides anything, and no product of
two large numbers is ever formed, since exp(-(a + b)) is two coins that both fall right, and so is r / s of 1 / k.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fedkit.base.errors import FedkitError

__all__ = ["LARGEST_SIGMA", "Words", "discrete_gaussian"]


Whole = NDArray[np.int64]
Words = Callable[[int], Whole]
"""count -> so many numbers of 63 fair bits each, int64 [count]."""
Coin = Callable[[Whole], NDArray[np.bool_]]
"""Throws one coin for each of the numbered ones."""

LARGEST_SIGMA = 2**52
"""With it, a number beyond 2^62 has less probability than 2^-1000: none ever overflows."""
_AT_ONCE = 2**20
"""So many tries take some ten MB each array, however large the model is."""


def discrete_gaussian(count: int, sigma: int, words: Words) -> Whole:
    """`count` numbers of the discrete Gaussian N_Z(0, sigma^2), int64 [count]; sigma is a whole number from 1 to 2^52.

    Algorithm 3 with t = sigma: y of the discrete Laplace distribution exp(-|y| / sigma) is kept with probability
    exp(-(|y| - sigma)^2 / (2 sigma^2)). Raises FedkitError for another sigma.
    """
    if not 1 <= sigma <= LARGEST_SIGMA:
        raise FedkitError(
            f"{sigma} is no deviation of discrete noise",
            field="sigma",
            remedy="take a whole number from 1 to 2^52, in steps of the grid",
        )
    kept = [np.empty(0, np.int64)]
    while missing := count - sum(map(len, kept)):
        y = _laplace(min(missing * 9 // 4 + 8, _AT_ONCE), sigma, words)  # nearly half are kept
        times, rest = np.divmod(np.abs(np.abs(y) - sigma), sigma)
        # (q sigma + r)^2 / (2 sigma^2) = q^2 / 2 + q (r / sigma) + (r / sigma)^2 / 2

        def half(which: Whole) -> NDArray[np.bool_]:
            return np.asarray(_below(2, len(which), words) == 0)

        def part(which: Whole, rest: Whole = rest) -> NDArray[np.bool_]:
            return _below(sigma, len(which), words) < rest[which]

        def square(which: Whole, part: Coin = part) -> NDArray[np.bool_]:
            return half(which) & part(which) & part(which)

        stays = np.arange(len(y))
        stays = stays[_exp_minus(square, stays, words)]
        for coin, repeats in ((half, times**2), (part, times)):
            stays = _all_of(coin, repeats, stays, words)
        kept.append(
            y[np.sort(stays)][:missing]
        )  # in the order of trial: what is cut off is not chosen
    return np.concatenate(kept)


def _laplace(tries: int, sigma: int, words: Words) -> Whole:
    """About 6 of 10 tries of the discrete Laplace distribution exp(-|y| / sigma) (algorithm 2 with s = 1)."""
    low = _below(sigma, tries, words)
    own = np.arange(tries)
    low = low[_exp_minus(lambda which: _below(sigma, len(which), words) < low[which], own, words)]
    high, going = np.zeros_like(low), np.arange(len(low))
    while going.size:  # how often exp(-1) comes in a row
        going = going[_exp_minus(lambda which: np.ones(len(which), bool), going, words)]
        high[going] += 1
    size, negative = low + sigma * high, _below(2, len(low), words) == 1
    return np.asarray(
        np.where(negative, -size, size)[~negative | (size > 0)]
    )  # 0 has one sign only


def _all_of(coin: Coin, repeats: Whole, which: Whole, words: Words) -> Whole:
    """Those of `which` for whom exp(-gamma) comes `repeats` times in a row. coin : falls right with probability gamma."""
    done, turn = [which[repeats[which] == 0]], 0
    going = which[repeats[which] > 0]
    while going.size:
        turn += 1
        going = going[_exp_minus(coin, going, words)]
        done.append(going[repeats[going] == turn])
        going = going[repeats[going] > turn]
    return np.concatenate(done)


def _exp_minus(coin: Coin, which: Whole, words: Words) -> NDArray[np.bool_]:
    """For each of `which`, True with probability exp(-gamma), where `coin` falls right with probability gamma <= 1.

    Algorithm 1: the first k at which a coin of gamma / k fails is odd with probability 1 - gamma + gamma^2 / 2! - ...
    """
    odd, going, k = np.zeros(len(which), bool), np.arange(len(which)), 1
    while going.size:
        right = coin(which[going])
        if k > 1:
            right &= _below(k, len(going), words) == 0
        odd[going[~right]] = k % 2 == 1
        going, k = going[right], k + 1
    return odd


def _below(end: int, count: int, words: Words) -> Whole:
    """Each of 0, 1, ..., end - 1 with the same probability, int64 [count]: what reaches `end` is drawn again."""
    bits = (1 << (end - 1).bit_length()) - 1
    drawn = words(count) & bits
    while (again := np.flatnonzero(drawn >= end)).size:
        drawn[again] = words(len(again)) & bits
    return drawn
