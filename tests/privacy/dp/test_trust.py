"""The same epsilon for four kinds of trust: amplification against an exact count, and accuracy in the order of trust."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from fedkit.base.errors import FedkitError
from fedkit.data.shards import Shard
from fedkit.privacy.dp.account import Mechanism, epsilon_of
from fedkit.privacy.dp.trust import (
    _noise_shuffled,
    _spilt,
    accuracy_by_trust,
    noise_by_trust,
    shuffled_epsilon,
)
from fedkit.teaching import plots
from tests.support.helpers import mnist

DELTA = 1e-5


def worlds_of(local: float, clones: int) -> tuple[np.ndarray, np.ndarray]:
    """P and Q of the reduction, given how many clones there are."""
    right = math.exp(local) / (math.exp(local) + 1)
    answers = stats.binom.pmf(np.arange(clones + 1), clones, 0.5)
    up, stays = np.append(0, answers), np.append(answers, 0)
    return right * up + (1 - right) * stays, (1 - right) * up + right * stays


@pytest.mark.parametrize(
    ("local", "people", "epsilon"), [(1.0, 60, 0.3), (3.0, 300, 0.9), (2.0, 41, 0.0)]
)
def test_what_shuffling_spills_is_the_sum_over_all_outcomes(
    local: float, people: int, epsilon: float
) -> None:
    """By brute force: every number of clones, every x."""
    weights = stats.binom.pmf(np.arange(people), people - 1, 2 / (math.exp(local) + 1))
    wanted = 0.0
    for clones, weight in enumerate(weights):
        one, other = worlds_of(local, clones)
        wanted += weight * float(np.maximum(one - math.exp(epsilon) * other, 0).sum())
    assert _spilt(local, people, epsilon) == pytest.approx(wanted, rel=1e-9)
    assert _spilt(local, people, local) == 0.0


@pytest.mark.parametrize(
    ("local", "people"), [(0.5, 2_000), (1.0, 10_000), (2.0, 10_000), (3.0, 60_000)]
)
def test_a_shuffled_crowd_hides_what_it_says(local: float, people: int) -> None:
    """Randomised response, counted exactly, spills no more; and the older paper's formula (2021, theorem 3.1) says no less:
    log(1 + (e^l - 1) / (e^l + 1) (8 sqrt(e^l log(4 / delta) / n) + 8 e^l / n))."""
    found, grown = shuffled_epsilon(local, people, DELTA), math.exp(local)
    lie = 1 / (1 + grown)
    others = stats.binom.pmf(np.arange(people), people - 1, lie)
    no, yes = (np.append(others * (1 - p), 0) + np.append(0, others * p) for p in (lie, 1 - lie))
    for a, b in ((no, yes), (yes, no)):
        assert float(np.maximum(a - math.exp(found) * b, 0).sum()) <= DELTA
    clones = 8 * math.sqrt(grown * math.log(4 / DELTA) / people) + 8 * grown / people
    older = math.log1p((grown - 1) / (grown + 1) * clones)
    assert 0 < found < older < local


def test_a_crowd_of_few_hides_little() -> None:
    assert shuffled_epsilon(4.0, 10, DELTA) > 3.5
    assert shuffled_epsilon(1.0, 1, DELTA) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("epsilon", [0.25, 1.0, 2.0, 8.0])
def test_shuffled_gaussians_keep_the_promise(epsilon: float) -> None:
    """Theorem 3.8 the other way round: from the noise to epsilon and delta of a report, to those of the crowd."""
    people = 10_000
    noise = Mechanism(1.0, _noise_shuffled(epsilon, DELTA, people), 1)
    alone = local = epsilon_of(noise, DELTA)
    for _ in range(6):
        spare = (math.exp(epsilon) + 1) * (1 + math.exp(-local) / 2) * people
        local = epsilon_of(noise, DELTA / 2 / spare)
    assert min(alone, shuffled_epsilon(local, people, DELTA / 2)) <= epsilon * 1.002


def test_noise_in_the_order_of_trust() -> None:
    noise = noise_by_trust(1.0, DELTA, 10_000, colluders=3_000)
    assert noise["local"] > noise["shuffled"] > noise["distributed"] > noise["central"]
    assert noise["local"] == pytest.approx(100 * noise["central"])
    assert noise["distributed"] == pytest.approx(noise["central"] / math.sqrt(0.7))
    # for one vector replaced by another, the sum moves by 2 C
    assert epsilon_of(Mechanism(1.0, noise["central"] / 2, 1), DELTA) == pytest.approx(
        1.0, rel=2e-3
    )
    alone = noise_by_trust(4.0, DELTA, 50)
    assert alone["shuffled"] == alone["local"]  # so few hide too little for what delta_0 costs
    with pytest.raises(FedkitError, match="of 50 participants"):
        noise_by_trust(1.0, DELTA, 50, colluders=50)


def small_digits() -> tuple[Shard, Shard]:
    data = mnist()
    images = [
        F.avg_pool2d(x[:, None].float() / 255, 4) for x in (data.train_images, data.test_images)
    ]
    return (images[0], data.train_labels), (images[1], data.test_labels)


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_on_digits_in_the_order_of_trust(seed: int) -> None:
    train, test = small_digits()
    found = accuracy_by_trust(train, test, [1, 8], colluders=3_000, seed=seed)
    assert all(len(row) == 2 for row in found.values())
    assert found["without noise"][0] == pytest.approx(0.784, abs=0.005)
    for k in (0, 1):
        assert found["central"][k] > 0.76
        assert found["distributed"][k] > 0.75
    assert found["local"][0] < 0.25
    assert 0.35 < found["local"][1] < 0.62
    fig = plots.trust_curves([1, 8], found)
    assert [line.get_label() for line in fig.axes[0].lines] == list(found)
    again = accuracy_by_trust(train, test, [1, 8], colluders=3_000, seed=seed)
    assert again == found


def test_a_sum_of_local_noise_is_what_is_drawn_at_once() -> None:
    """400 participants who each add their own: the sum has the spread that `noise_by_trust` names."""
    people, numbers = 400, 500
    std = noise_by_trust(2.0, DELTA, people)["local"]
    each = (
        std
        / math.sqrt(people)
        * torch.randn(people, numbers, generator=torch.Generator().manual_seed(1))
    )
    assert float(each.sum(0).std()) == pytest.approx(std, rel=0.1)


def test_a_picture_needs_a_number_for_each_epsilon() -> None:
    with pytest.raises(FedkitError, match="1 numbers for 'local' and 2 epsilons"):
        plots.trust_curves([1, 2], {"local": [0.3]})
