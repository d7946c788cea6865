"""The discrete Gaussian against its formula, its coins against exact fractions."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from fedkit.base.errors import FedkitError
from fedkit.privacy.dp.discrete import (
    LARGEST_SIGMA,
    Whole,
    Words,
    _below,
    _exp_minus,
    discrete_gaussian,
)
from fedkit.privacy.dp.noise import Noise, SeededNoise, SystemNoise


def chi_square(drawn: Whole, sigma: int) -> float:
    """The p-value of the counts of single numbers, those with fewer than 8 expected put together."""
    ends = np.arange(-12 * sigma, 12 * sigma + 1)
    weights = np.exp(-(ends.astype(float) ** 2) / (2 * sigma**2))
    expected = len(drawn) * weights / weights.sum()
    counts = np.array([np.count_nonzero(drawn == y) for y in ends])
    assert counts.sum() == len(drawn)
    few = expected < 8
    observed = np.append(counts[~few], counts[few].sum())
    wanted = np.append(expected[~few], expected[few].sum())
    return float(stats.chisquare(observed, wanted).pvalue)


@pytest.mark.parametrize("sigma", [1, 2, 3, 7])
@pytest.mark.parametrize("noise", [SeededNoise(4), SystemNoise()], ids=["seed", "system"])
def test_small_ones_follow_the_formula(sigma: int, noise: Noise) -> None:
    assert chi_square(discrete_gaussian(100_000, sigma, noise.words), sigma) > 1e-6


def test_a_chi_square_sees_what_is_nearly_one() -> None:
    """The test above can fail: rounded Gaussians of sigma 1, as SystemNoise would give them, don't pass."""
    rounded = SeededNoise(4).normal((100_000,), 1.0).round().long().numpy()
    assert chi_square(rounded, 1) < 1e-12


@pytest.mark.parametrize("sigma", [1000, 2**24 - 1, 10**12, LARGEST_SIGMA])
def test_large_ones_are_gaussian_and_do_not_overflow(sigma: int) -> None:
    drawn = discrete_gaussian(50_000, sigma, SeededNoise(9).words)
    assert drawn.dtype == np.int64
    scaled = drawn / sigma
    assert np.abs(scaled).max() < 8
    # a Gaussian's own distribution: steps of 1 / sigma are too fine to be seen
    assert float(stats.kstest(scaled, "norm").pvalue) > 1e-6
    assert len({int(y) % 2 for y in drawn[:100]}) == 2  # the last bit is there, at any size


def test_count_and_order() -> None:
    noise = SeededNoise(1)
    assert [len(discrete_gaussian(n, 5, noise.words)) for n in (0, 1, 2, 1000)] == [0, 1, 2, 1000]
    same = [discrete_gaussian(1000, 5, SeededNoise(1).words) for _ in range(2)]
    assert np.array_equal(*same)
    assert not np.array_equal(*(discrete_gaussian(64, 9, SystemNoise().words) for _ in range(2)))
    halves = np.split(discrete_gaussian(200_000, 1000, SeededNoise(2).words), 20)
    assert np.allclose([half.std() for half in halves], 1000, rtol=0.04)  # first ones as last ones


@pytest.mark.parametrize("sigma", [0, -3, LARGEST_SIGMA + 1])
def test_what_is_no_deviation_is_refused(sigma: int) -> None:
    with pytest.raises(FedkitError, match="no deviation") as caught:
        discrete_gaussian(3, sigma, SeededNoise(1).words)
    assert caught.value.remedy


class _Spent(Exception):
    """A script of words has come to its end."""


def scripted(script: tuple[int, ...]) -> Words:
    left = iter(script)

    def words(count: int) -> Whole:
        given = list(itertools.islice(left, count))
        if len(given) < count:
            raise _Spent
        return np.array(given, np.int64)

    return words


@pytest.mark.parametrize("numerator", [1, 2, 3, 4])
def test_a_coin_of_exp_is_exact(numerator: int) -> None:
    """Over all 4^6 scripts of words of two bits: those that end give exp(-a / 4) up to those that do not, as fractions."""
    yes = unfinished = Fraction(0)
    for script in itertools.product(range(4), repeat=6):
        words = scripted(script)
        try:
            fell = _exp_minus(
                lambda which, w=words: _below(4, 1, w) < numerator, np.arange(1), words
            )
            yes += Fraction(int(fell[0]), 4**6)
        except _Spent:
            unfinished += Fraction(1, 4**6)
    truth = math.exp(-numerator / 4)
    assert float(yes) <= truth <= float(yes + unfinished)
    assert float(unfinished) < 0.2


@pytest.mark.parametrize("end", [1, 2, 3, 5, 8])
def test_whole_numbers_below_an_end_are_all_alike(end: int) -> None:
    """What one word gives, over all words: each number equally often, or drawn again."""
    found = list[int]()
    for word in range(8):
        try:
            found += _below(end, 1, scripted((word,))).tolist()
        except _Spent:
            continue
    assert sorted(set(found)) == list(range(end))
    assert len({found.count(k) for k in range(end)}) == 1
